-- Ends the session. ARGV: 3 the verifier's hash, 4 '1' where this caller's L1 held the whole token: then it is announced
-- even if Redis lost it or what it holds is damaged, since other instances may hold it too; 5, if given, the user whose
-- session it must be.
-- Returns 1, or 0: not found.
local f, held = redis.pcall('HMGET', session, 'v', 'x'), ARGV[4] == '1'
if f.err and not held then return f end
local v, _, _, user = f[1], parse(f[2])
if v and #v ~= RECORD_SIZE and not held then return damaged() end
if v and #v == RECORD_SIZE and not matches(v, ARGV[3]) then return 0 end
if not v and not held then return 0 end
if ARGV[5] and user ~= ARGV[5] then return 0 end
finish({selector}, user)
return v and 1 or 0
