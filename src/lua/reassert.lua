-- Ends those sessions of this partition that were ended before and exist all the same: this server lost it, or was
-- promoted without it. ARGV: 2... their selectors; KEYS[1] is the first one's. Returns how many there were.
local ended = 0
for i = 2, #ARGV do
  local key = base .. 's:' .. ARGV[i]
  if redis.call('EXISTS', key) == 1 then
    local f = redis.pcall('HMGET', key, 'v', 'x', 'f')
    local _, _, user = parse(f[2])
    if is_rotated(f[1]) then drop(ARGV[i], f[3]) else finish({ARGV[i]}, user) end
    ended = ended + 1
  end
end
return ended
