-- Makes again what was made before and may be lost: this server came back without it, or was promoted without it, or its data
-- set was replaced. ARGV: 2... a selector of a session that was ended: if it exists, it is ended; a selector, ":" and the
-- number of its last change: if that change is not known here, the session is ended, since what is held here is older; or
-- "*" and a cut-off, with zeros in front: all sessions were ended then, and if this server does not know of it, all are ended,
-- including those that were made here since; or, as the last one, "#" and a number that was known before: if this server's number is
-- lower, it counts on from beyond that one. So a data set that comes back later has a lower number, and is told as well; and every other
-- instance sees a gap that the log does not explain. KEYS[1] is the first one's.
-- Returns how many were ended.
local ended = 0

-- Is that change in this server's history? The session keeps the numbers of its last ones; the log, which is short, also has older ones.
local function knows(number, one)
  local numbers = try('HGET', base .. 's:' .. one, 'c')
  if type(numbers) == 'string' and string.find(' ' .. numbers .. ' ', ' ' .. number .. ' ', 1, true) then return true end
  local id = number .. '-0'
  local entry = try('XRANGE', base .. 'r', id, id)[1]
  return entry and entry[2][4] == '2' and string.find(entry[2][2], one, 1, true)
end

-- Looked at before the ends: those may lead back to the very number that was known, and an instance that was away meanwhile would see no gap.
local least, number = tonumber(string.match(ARGV[#ARGV], '^#(%d+)$')), try('GET', base .. 'q') or '0'
local lower = least and (type(number) ~= 'string' or (tonumber(number) or 0) < least)

for i = 2, least and #ARGV - 1 or #ARGV do
  local ms, one = string.match(ARGV[i], '^%*0*(%d+)$'), string.sub(ARGV[i], 1, 20)
  local told = ms_of(ms)
  local key, change = base .. 's:' .. one, string.match(ARGV[i], ':(%d+)$')
  if told then
    if (cutoff or 0) < told then
      end_everyone(told)
      ended = ended + 1
    end
  elseif call('EXISTS', key) == 1 and not (change and knows(change, one)) then
    local f = try('HMGET', key, 'v', 'x', 'f')
    local _, _, user = parse(f[2])
    if change and is_rotated(f[1]) then drop(one, f[3]) -- its session has a selector of its own, which is told by itself
    else
      if is_rotated(f[1]) then user = owner_of(f[3]) end -- exchanged here in the meantime: it has not ended less for that
      finish({one}, user)
    end
    ended = ended + 1
  end
end
if lower then try('SET', base .. 'q', text(least + 1000)) end
return ended
