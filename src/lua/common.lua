-- Shared by all scripts. KEYS[1] is the session; ARGV[1] is the partition's base, "lk:{p}:", from which every other name
-- is made (same hash tag, so the same slot); ARGV[2] is the selector.
--
-- Redis refuses a script at maxmemory if its first write may need memory, and lets everything pass after a first write
-- that does not. So scripts that end something start with a deletion, and scripts that make something start with that.
--
-- TIME is this server's clock: the only one by which sessions live and die.
local session, base, selector = KEYS[1], ARGV[1], ARGV[2]
local VERIFIER_HASH, KEY_HASH = 137, 81 -- where they start in the record (src/record.h), counted from 1

local function time()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000), string.format('%s%06d', t[1], t[2])
end

-- The session's record, if it is there and the caller knows its verifier ('' stands for a caller that need not).
-- Returns nil; or v, idle_ms, expires_at_ms, user_id; or an error as second value.
local function load(hash)
  local f = redis.call('HMGET', session, 'v', 'x')
  if not f[1] and not f[2] then return nil end
  local idle, expires, user = string.match(f[2] or '', '^(%d+) (%d+) (%d+)$')
  if not f[1] or #f[1] ~= 184 or not idle then
    return nil, redis.error_reply('LKCORRUPT the record of a session is damaged')
  end
  if hash ~= '' and string.sub(f[1], VERIFIER_HASH, VERIFIER_HASH + 31) ~= hash then return nil end
  return f[1], tonumber(idle), tonumber(expires), user
end

local function live_until(key, ms, now)
  if redis.call('PTTL', key) < ms - now then redis.call('PEXPIREAT', key, string.format('%.0f', ms)) end
end

-- Puts the session into the user's index (by expiry) and the partition's (by activity), and trims both: neither holds
-- the dead for long, nor outlives its last session.
local function index(user, now, expiry)
  local u, a = base .. 'u:' .. user, base .. 'a'
  redis.call('ZADD', u, string.format('%.0f', expiry), selector)
  redis.call('ZREMRANGEBYSCORE', u, '-inf', string.format('%.0f', now))
  live_until(u, expiry, now)
  redis.call('ZADD', a, string.format('%.0f', now), selector)
  for _, oldest in ipairs(redis.call('ZRANGE', a, 0, 1)) do
    if redis.call('EXISTS', base .. 's:' .. oldest) == 0 then redis.call('ZREM', a, oldest) end
  end
  live_until(a, expiry, now)
end

-- Counts, logs and publishes that L1 everywhere must forget this selector. Call it after a first write.
local function announce(what)
  local number = redis.call('INCR', base .. 'q')
  local id = string.format('%.0f-0', number)
  local logged = redis.pcall('XADD', base .. 'r', 'MAXLEN', '~', '1000', id, 's', what)
  if logged.err then -- the log is ahead of the counter (which was lost), or something else lies there
    redis.call('DEL', base .. 'r')
    redis.call('XADD', base .. 'r', id, 's', what)
  end
  local _, us = time()
  redis.call('PUBLISH', base .. 'rev', string.format('%.0f %s @%s', number, what, us))
end

-- Deletes a session of this partition and says so.
local function finish(what, user)
  redis.call('DEL', base .. 's:' .. what)
  if user then redis.call('ZREM', base .. 'u:' .. user, what) end
  redis.call('ZREM', base .. 'a', what)
  announce(what)
end
