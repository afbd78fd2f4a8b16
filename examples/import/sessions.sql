-- SPDX-License-Identifier: MIT
-- Sessions of a table, as lines of JSON for `latchkey import`:
--
--   psql -X -qAt -v FETCH_COUNT=10000 -f sessions.sql shop | latchkey import --progress --end -
--
-- -X leaves out what ~/.psqlrc says, -At prints the text as it is (COPY would double every backslash), FETCH_COUNT fetches it piece by piece. The order lets
-- --state go on where it was.
--
-- Adapt the names in this one line. The columns may be of any type that fits:
--   id          text, uuid or bytea: what the store looked up
--   user_id     a number, text or uuid. NULL: nobody is logged in, and the session is left out
--   created_at  timestamptz, timestamp or date; NULL: not known
--   expires_at  the same. NULL: no end is known, so lifetime_ms counts, from now; infinity: ten years
--   data        anything, bytea included, up to 64 KiB; NULL: nothing
-- Times without a zone are read as the database's own (`show timezone`), and that is said. Where the application writes
-- another one, such as UTC, add -v zone=UTC.
\set sessions 'select id, user_id, role, created_at, expires_at, data from sessions'

\set ON_ERROR_STOP on
\set QUIET on
\timing off
\pset format unaligned
\pset tuples_only on
set client_encoding = 'UTF8';
\if :{?zone}
    set time zone :'zone';
\endif
begin isolation level repeatable read read only; -- all of it at one moment

select count(*) filter (where user_id is null) as nobodys,
       count(*) filter (where id is null and user_id is not null) as nameless,
       count(*) filter (where id is not null and user_id is not null and (expires_at is null or expires_at > now())) as written,
       count(*) filter (where octet_length(data::text) > 65536 and pg_typeof(data)::text <> 'bytea'
                           or octet_length(data::text) > 131074) as large,
       coalesce(bool_or(pg_typeof(created_at)::text = 'timestamp without time zone'
                        or pg_typeof(expires_at)::text = 'timestamp without time zone'), false) as zoneless,
       current_setting('timezone') as zone_read
from (:sessions) s
\gset
select :nobodys > 0 as has_nobodys, :nameless > 0 as has_nameless, :large > 0 as has_large
\gset
\if :zoneless
    \warn sessions.sql: created_at or expires_at has no time zone, and is read as :zone_read: if that is wrong, stop, and add -v zone=...
\endif
\if :has_nobodys
    \warn sessions.sql: :nobodys sessions have no user: nobody is logged in there, and they are left out
\endif
\if :has_nameless
    \warn sessions.sql: :nameless sessions have no id, and are skipped
\endif
\if :has_large
    \warn sessions.sql: :large sessions have more than 64 KiB of data, and move without it
\endif

select json_build_object('begin', 'sessions.sql');
select json_build_object(
    'token', case when pg_typeof(id)::text = 'bytea'
        then json_build_object('base64', translate(encode(id::text::bytea, 'base64'), E'\n', '')) else to_json(id::text) end,
    'user_id', case when is_number then user_id::text end,
    'user', case when not is_number then user_id::text end,
    'role', role::text,
    'created_at_ms', case when isfinite(created_at) then greatest(floor(extract(epoch from created_at::timestamptz) * 1000), 0)::bigint end,
    'expires_at_ms', case when isfinite(expires_at) then floor(extract(epoch from expires_at::timestamptz) * 1000)::bigint
        when expires_at is not null then floor(extract(epoch from now() + interval '3649 days') * 1000)::bigint end,
    'fields', json_build_object('data', case
        when pg_typeof(data)::text <> 'bytea' and octet_length(data::text) <= 65536 then to_json(data::text)
        when pg_typeof(data)::text = 'bytea' and octet_length(data::text) <= 131074
            then json_build_object('base64', translate(encode(data::text::bytea, 'base64'), E'\n', '')) end))
from (:sessions) s, lateral (select case when user_id::text ~ '^(0|[1-9][0-9]{0,19})$'
    then user_id::text::numeric <= 18446744073709551615 else false end as is_number) n
where id is not null and user_id is not null and (expires_at is null or expires_at > now())
order by created_at, id;
select json_build_object('end', json_build_object('sessions', :written, 'skipped', :nameless));
commit;
