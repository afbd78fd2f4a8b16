-- Ends the session. ARGV: 3 the verifier's hash, 4 '1' where this caller's L1 held the whole token: then it is announced
-- even if Redis lost it or what it holds is damaged, since other instances may hold it too; 5, if given, the user whose
-- session it must be.
-- Returns 1, or 0: not found; or, where others ended with it (an old token is the session's as well), all of them.
local f, held = redis.pcall('HMGET', session, 'v', 'x', 'f'), ARGV[4] == '1'
if f.err and not held then return f end
local v, _, _, user = f[1], parse(f[2])
if v and not is_record(v) and not held then return damaged() end
if v and is_record(v) and not matches(v, ARGV[3]) then return 0 end
if not v and not held then return 0 end
if is_rotated(v) then
  local heir = family(f[3], -1)[1]
  _, _, user = parse(heir and redis.call('HGET', base .. 's:' .. heir, 'x'))
end
if ARGV[5] and user ~= ARGV[5] then return 0 end
local ended = finish({selector}, user)
if #ended > 1 then return table.concat(ended, ' ') end
return v and 1 or 0
