-- Records that the session was used. ARGV: 3 the verifier's hash, or ''; 4, if given, that the indexes must name it in any case.
-- Returns 2: moved; 1: it was moved less than a twelfth of idle_ms ago; 0: not found; -1: past its absolute expiry.
local v, idle, expires, user, _, absolute = load(ARGV[3])
if not v then return idle or 0 end
if expires <= now then return -1 end
local expiry, left = math.min(now + idle, expires), call('PTTL', session)
if left >= 0 and not ARGV[4] and (left * 12 > idle * 11 or now + left >= expires) then return 1 end
local until_then = ms_text(expiry)
call('PEXPIREAT', session, until_then)
index(index_of(user), false, nil, expiry, until_then, absolute, struct.unpack('<i8', v, AT_CREATED))
return 2
