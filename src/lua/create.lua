-- Makes a session. ARGV: 3 user, 4 idle_ms, 5 lifetime_ms, 6 generation or 0, 7 max_sessions or 0, 8 evict|deny,
-- 9 to 11 the record without its times, 12... names and values of fields.
-- Returns when it was made, in ms; or EXISTS, REFUSED or LIMIT. At most 100 are ended at a time, so that a limit that was lowered does not stop
-- Redis.
local user, idle, most = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[7])
local u = base .. 'u:' .. user
if redis.call('EXISTS', session) == 1 then return redis.status_reply('EXISTS') end
if ARGV[6] ~= '0' then
  -- Compared as text: a generation has 64 bits, a Lua number 53.
  local moved = redis.call('GET', base .. 'g:' .. user)
  if string.format('%.0f', (tonumber(moved or '0') or -1) + 1) ~= ARGV[6] then return redis.status_reply('REFUSED') end
end
local now = time()
redis.call('ZCARD', base .. 'a') -- a key of the wrong type is an error here, before anything is written
local excess = redis.call('ZCOUNT', u, string.format('(%.0f', now), '+inf') - most + 1
if most > 0 and excess > 0 and ARGV[8] == 'deny' then return redis.status_reply('LIMIT') end

local expires = now + tonumber(ARGV[5])
local expiry = math.min(now + idle, expires)
local v = ARGV[9] .. struct.pack('<i8', expires) .. ARGV[10] .. struct.pack('<i8i8', now, now) .. ARGV[11]
local x = string.format('%.0f %.0f %s', idle, expires, user)
redis.call('HSET', session, 'v', v, 'x', x, unpack(ARGV, 12))
redis.call('PEXPIREAT', session, string.format('%.0f', expiry))
if most > 0 and excess > 0 then
  local living = string.format('(%.0f', now)
  finish(redis.call('ZRANGEBYSCORE', u, living, '+inf', 'LIMIT', 0, math.min(excess, 100)), user)
end
index(user, now, expiry)
forget_dead()
return now
