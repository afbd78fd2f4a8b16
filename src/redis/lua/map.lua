-- Records which session a foreign token means: `selector` is the token's name here. ARGV: 3 the session's selector, 4 until
-- when that is remembered, at least.
-- Returns 1; 0: it was recorded before; or EXISTS: the token means another session.
local key = base .. 'i:' .. selector
local there = call('GET', key)
if there and there ~= ARGV[3] then return redis.status_reply('EXISTS') end
if there then
  live_until(key, tonumber(ARGV[4]), ARGV[4])
  return 0
end
call('SET', key, ARGV[3], 'PXAT', ARGV[4])
return 1
