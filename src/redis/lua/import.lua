-- Moves a session in. ARGV: 3 user, 4 idle_ms, 5 expires_at_ms, 6 generation or 0, 7 the record, 8... names and values of
-- fields. No limit is looked at: nobody is logged out.
-- Returns 1, also where that very session is there already, without a name by which it could be found; -1: past its
-- absolute expiry; or REFUSED (generation), OVER (it was made before everybody's sessions were ended) or EXISTS: another
-- session has this selector.
local user, idle, expires, record = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[7]
local u, now, there = index_of(user), time(), redis.call('HGET', session, 'v')
if not u then return no_epoch() end
if is_over(record) then return redis.status_reply('OVER') end
if expires <= now then return -1 end
if there then
  local same = is_record(there) and not is_rotated(there) and
    matches(there, string.sub(record, VERIFIER_HASH, VERIFIER_HASH + 31))
  if not same then return redis.status_reply('EXISTS') end
  if is_over(there) then return redis.status_reply('OVER') end
end
if not there and ARGV[6] ~= '0' and not is_generation(ARGV[6], user) then return redis.status_reply('REFUSED') end
for _, z in ipairs({u, base .. 'a'}) do redis.call('ZCARD', z) end -- of the wrong type: an error, in time
if not there then
  redis.call('HSET', session, 'v', record, 'x', string.format('%s %s %s', ARGV[4], ARGV[5], user), unpack(ARGV, 8))
end
local expiry = math.min(now + idle, expires)
live_for(selector, there and redis.call('HGET', session, 's'), expiry)
index(user, now, expiry, struct.unpack('<i8', record, CREATED))
forget_dead()
remember_peak(now)
return 1
