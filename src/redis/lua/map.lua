-- Says whose session a foreign token means: `selector` is the token's name here. ARGV: 3 the session's selector, 4 when the
-- session ends, used or not.
-- Returns 1; 0: it was said before; or EXISTS: it means another session.
local key = base .. 'i:' .. selector
local there = redis.call('GET', key)
if there and there ~= ARGV[3] then return redis.status_reply('EXISTS') end
redis.call('SET', key, ARGV[3], 'PXAT', ARGV[4])
return there and 0 or 1
