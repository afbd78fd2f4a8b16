-- Says that the session was used. ARGV: 3 the verifier's hash, or ''.
-- Returns 2: moved; 1: it was moved less than a twelfth of idle_ms ago; 0: not found; -1: past its absolute expiry.
local v, idle, expires, user = load(ARGV[3])
if not v then return idle or 0 end
local now = time()
local expiry, left = math.min(now + idle, expires), redis.call('PTTL', session)
if expires <= now then return -1 end
if left >= 0 and (left * 12 > idle * 11 or now + left >= expires) then return 1 end
live_for(selector, redis.call('HGET', session, 's'), expiry)
index(user, now, expiry, struct.unpack('<i8', v, CREATED))
return 2
