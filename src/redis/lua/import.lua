-- Moves a session in. ARGV: 3 user, 4 idle_ms, 5 expires_at_ms, 6 generation or 0, 7 the record, 8 the number of the last revocation when
-- it was not there yet, 9 until when one that was made since then has not idled out, 10... names and values of fields; before them, if the
-- user has a name, "n" and its hash. The limits are not applied, so no user is logged out.
-- Returns 1, also if that very session is there already, without a name by which it could be found; -1: it is past its
-- absolute expiry; or REFUSED (generation, or it has ended meanwhile), CHANGED (it is not known whether it has), OVER (it was made before all
-- sessions were ended) or EXISTS: another session has this selector.
local user, idle, expires, record = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[7]
local u, there, hash = index_of(user), call('HGET', session, 'v'), string.sub(record, AT_VERIFIER_HASH, AT_VERIFIER_HASH + 31)
if not u then return no_cutoff() end
if is_over(record) then return redis.status_reply('OVER') end
if expires <= now then return -1 end
if there then
  local same = is_record(there) and not is_rotated(there) and matches(there, hash)
  if not same then return redis.status_reply('EXISTS') end
  if is_over(there) then return redis.status_reply('OVER') end
end
local count, name = count_of(user), ARGV[10] == 'n' and ARGV[11]
if name and is_anothers(user, name) then return redis.status_reply('NAME') end
local next = (count or -1) + 1
if not there and ARGV[6] ~= '0' and not is_generation(ARGV[6], next) then return redis.status_reply('REFUSED') end
-- This may arrive long after it was sent, or beside another import of the same session: that one was made then, and may have ended since.
if not there and now >= tonumber(ARGV[9]) then return redis.status_reply('CHANGED') end
local from, top = (tonumber(ARGV[8]) or 0) + 1, next_number()
local log = not there and top ~= from and try('XRANGE', base .. 'r', text(from) .. '-0', '+') or {}
if not there and top ~= from and (not log[1] or log[1][1] ~= text(from) .. '-0') then return redis.status_reply('CHANGED') end
for _, entry in ipairs(log) do
  if string.find(entry[2][2], selector, 1, true) then return redis.status_reply('REFUSED') end
end
local names = call('ZCARD', u) -- of the wrong type: an error, in time; so below
local active = call('ZCARD', base .. 'a')
if not there then
  call('HSET', session, 'v', record, 'x', string.format('%s %s %s', ARGV[4], ARGV[5], user), 'g', text(count or 0), unpack(ARGV, name and 12 or 10))
end
if (count or 0) > 0 then live_until(base .. 'g:' .. user, expires, ARGV[5]) end -- revoke_user.lua
if name then
  call('SET', name_key(user), name, 'NX', 'PXAT', ARGV[5])
  live_until(name_key(user), expires, ARGV[5])
end
local expiry = math.min(now + idle, expires)
local until_then = ms_text(expiry)
call('PEXPIREAT', session, until_then)
index(u, false, nil, expiry, until_then, ARGV[5], struct.unpack('<i8', record, AT_CREATED))
forget_some(u, names == 0, active)
remember_peak(there and active or active + 1)
return 1
