-- SPDX-License-Identifier: MIT
-- Sessions of a table, as lines of JSON for `latchkey import`:
--
--   psql -qAt -v FETCH_COUNT=10000 -f sessions.sql shop | latchkey import --progress -
--
-- -At prints the text as it is (COPY would double every backslash), FETCH_COUNT fetches it piece by piece. The order lets
-- --state go on where it was. Adapt the names; a NULL is as good as left out.
select json_build_object(
    'token', id,
    'user_id', user_id,
    'role', role,
    'created_at_ms', (extract(epoch from created_at) * 1000)::bigint,
    'expires_at_ms', (extract(epoch from expires_at) * 1000)::bigint,
    'fields', json_build_object('data', data::text))
from sessions
where expires_at > now()
order by created_at, id;
