-- A user's sessions, the last used first. Changes nothing. KEYS[1] is the caller's session, or none. ARGV: 3 user, 4 how many
-- at most, 5 where to begin in the user's index: '', or what an earlier run returned, 6 only those that idle out later than this.
-- It looks at a thousand at most, so that many sessions of one user do not stop Redis.
-- Returns how many of them are alive, the selector of the caller's, and where a run for the rest is to begin ('': there is none); then for
-- each its selector, its record, when it idles out, and when it was last used. Or CHANGED: the place where it is to begin is gone, so what
-- the runs before it returned may be returned again.
local u, most, later = index_of(ARGV[3]), 1000, tonumber(ARGV[6])
if not u then return no_cutoff() end
local reply = {0, selector, ''}
-- The absolute ends are needed only if there are more names than are looked at.
local names = ARGV[5] == '' and call('ZRANGE', u, 0, most - 1) or {}
if ARGV[5] ~= '' or #names == most then
  local list, score, before, gone = part(u, ARGV[5], most)
  if gone then return redis.status_reply('CHANGED') end
  names = {}
  for i = ARGV[5] == '' and 1 or 3, #list, 2 do names[#names + 1] = list[i] end
  if #list == 2 * most then reply[3] = next_part(list, #list - 1, score, before) end
end
local asks = try('HMGET', session, 'v', 'f')
if is_rotated(asks[1]) then reply[2] = family(asks[2], -1)[1] or selector end
local living, left = {}, {}
for _, one in ipairs(names) do
  left[one] = call('PTTL', base .. 's:' .. one)
  if left[one] ~= -2 then living[#living + 1] = one end -- else idled out, deleted by hand, or lost
end
table.sort(living, function(a, b) return left[a] > left[b] end)
for i = 1, math.min(#living, tonumber(ARGV[4])) do
  local one = living[i]
  if now + left[one] <= later then break end
  local v = try('HGET', base .. 's:' .. one, 'v')
  if not is_record(v) then v = '' end -- damaged; and it may be of any size
  reply[#reply + 1] = one
  reply[#reply + 1] = v
  reply[#reply + 1] = now + left[one]
  reply[#reply + 1] = tonumber(call('ZSCORE', base .. 'a', one) or now)
end
reply[1] = #living
return reply
