-- Moves a session in. ARGV: 3 user, 4 idle_ms, 5 expires_at_ms, 6 generation or 0, 7 the record, 8... names and values of
-- fields. No limit is looked at: nobody is logged out.
-- Returns 1, also where that very session is there already, without a name by which it could be found; -1: past its
-- absolute expiry; or REFUSED (generation) or EXISTS: another session has this selector.
local user, idle, expires, record = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[7]
local u, now, there = base .. 'u:' .. user, time(), redis.call('HGET', session, 'v')
if expires <= now then return -1 end
if there then
  local same = is_record(there) and not is_rotated(there) and
    matches(there, string.sub(record, VERIFIER_HASH, VERIFIER_HASH + 31))
  if not same then return redis.status_reply('EXISTS') end
end
if not there and ARGV[6] ~= '0' then
  local moved = redis.call('GET', base .. 'g:' .. user) -- as text, see create.lua
  if text((tonumber(moved or '0') or -1) + 1) ~= ARGV[6] then return redis.status_reply('REFUSED') end
end
for _, z in ipairs({u, base .. 'a'}) do redis.call('ZCARD', z) end -- of the wrong type: an error, in time
if not there then
  redis.call('HSET', session, 'v', record, 'x', string.format('%s %s %s', ARGV[4], ARGV[5], user), unpack(ARGV, 8))
end
local expiry = math.min(now + idle, expires)
redis.call('PEXPIREAT', session, text(expiry))
index(user, now, expiry)
forget_dead()
remember_peak(now)
return 1
