-- Ends the session. ARGV: 3 the verifier's hash, 4 '1' where this caller's L1 held the whole token: then it is announced
-- even if Redis lost it, since other instances may hold it too.
-- Returns 1, or 0: not found.
local v, idle, _, user = load(ARGV[3])
if not v and idle then return idle end
if not v and (ARGV[4] ~= '1' or redis.call('EXISTS', session) == 1) then return 0 end
finish(selector, user)
return v and 1 or 0
