-- A user's sessions, the last used first. Changes nothing. KEYS[1] is the caller's session, or none. ARGV: 3 user, 4 how many
-- at most.
-- Returns how many there are, and the selector of the caller's; then for each its selector, its record, when it idles out, and
-- when it was last used.
local u, reply = index_of(ARGV[3]), {0, selector}
if not u then return no_cutoff() end
local asks = try('HMGET', session, 'v', 'f')
if is_rotated(asks[1]) then reply[2] = family(asks[2], -1)[1] or selector end
local living, left = {}, {}
for _, one in ipairs(call('ZRANGE', u, 0, -1)) do
  left[one] = call('PTTL', base .. 's:' .. one)
  if left[one] ~= -2 then living[#living + 1] = one end -- else idled out, deleted by hand, or lost
end
table.sort(living, function(a, b) return left[a] > left[b] end)
for i = 1, math.min(#living, tonumber(ARGV[4])) do
  local one = living[i]
  local v = try('HGET', base .. 's:' .. one, 'v')
  if not is_record(v) then v = '' end -- damaged; and it may be of any size
  reply[#reply + 1] = one
  reply[#reply + 1] = v
  reply[#reply + 1] = now + left[one]
  reply[#reply + 1] = tonumber(call('ZSCORE', base .. 'a', one) or now)
end
reply[1] = #living
return reply
