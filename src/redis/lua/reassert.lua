-- Ends those sessions of this partition that were ended before and exist all the same: this server lost it, or was
-- promoted without it. ARGV: 2... their selectors, or "*" and an epoch, with zeros in front: then all were ended, and if
-- this server does not know of it, all are, those included that were made here since. KEYS[1] is the first one's.
-- Returns how many there were.
local ended = 0
for i = 2, #ARGV do
  local told, key = ms_of(string.match(ARGV[i], '^%*0*(%d+)$')), base .. 's:' .. ARGV[i]
  if told then
    if (epoch() or 0) < told then
      end_everyone(told)
      ended = ended + 1
    end
  elseif redis.call('EXISTS', key) == 1 then
    local f = redis.pcall('HMGET', key, 'v', 'x', 'f')
    local _, _, user = parse(f[2])
    if is_rotated(f[1]) then user = owner_of(f[3]) end -- exchanged here in the meantime: it has not ended less for that
    finish({ARGV[i]}, user)
    ended = ended + 1
  end
end
return ended
