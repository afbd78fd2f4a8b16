-- Exchanges the session's token for a new one. ARGV: 3 the verifier's hash, 4 to 6 the new selector, verifier's hash and
-- raw selector, 7 grace_ms: as long the old token is as good as the new one; and, where there are keys to seal with, three
-- sealed records: 8 the one that was read, 9 that of the new token, 10 what the old one leaves; or '' where none was.
-- Returns OK, where grace_ms is 0 followed by whom that ended: the old token and all before it; REFUSED: exchanged
-- already; EXISTS: the new selector is taken; CHANGED: the record is not the one that was read; CLOCK; 0: not found; -1:
-- past its absolute expiry; or what `reused` returns.
local v, idle, expires, user = load(ARGV[3])
if not v then return idle or 0 end
if selector ~= ARGV[2] then return redis.status_reply('REFUSED') end
local now, new, grace = time(), ARGV[4], tonumber(ARGV[7])
if expires <= now then return -1 end
local key, u, a = base .. 's:' .. new, index_of(user), base .. 'a'
if redis.call('EXISTS', key) == 1 then return redis.status_reply('EXISTS') end
local sealed = is_sealed(v)
if sealed and not ARGV[8] then return damaged() end
if v ~= ARGV[8] and (sealed or is_sealed(ARGV[8])) then return redis.status_reply('CHANGED') end
local span = math.min(grace, sealed and struct.unpack('<i8', v, SPAN) or idle) -- it does not idle out before that
local over, renewed, left = now + span, ARGV[9], ARGV[10]
if not sealed then
  local age = math.max(0, math.floor((now - struct.unpack('<i8', v, CREATED)) / 1000))
  local kept = string.sub(v, 1, AGE - 1) .. struct.pack('<I4', age) .. string.sub(v, AGE + 4, VERIFIER_HASH - 1)
  renewed = kept .. ARGV[5] .. ARGV[6] .. string.sub(v, RECORD_SIZE)
  left = string.sub(v, 1, 2) .. string.char(ROTATED) .. string.sub(v, 4, 8) .. struct.pack('<i8', over) .. string.sub(v, 17)
elseif grace > 0 then
  over = struct.unpack('<i8', left, SPAN)
  local late = clock(over - span, now, span)
  if late then return late end
end
local f, sections = unpack(redis.call('HMGET', session, 'f', 's'))
local name = f or selector
for _, z in ipairs({u, a, base .. 'f:' .. name}) do redis.call('ZCARD', z) end -- of the wrong type: an error, in time

-- It makes something, so at maxmemory it is refused as a whole.
local function leave_behind()
  redis.call('ZADD', base .. 'f:' .. name, text(over), selector, '+inf', new)
  live_until(base .. 'f:' .. name, expires, now)
  redis.call('HSET', session, 'f', name)
  redis.call('RENAME', session, key)
  redis.call('HSET', session, 'v', left, 'f', name)
  redis.call('PEXPIREAT', session, text(expires))
end

-- It ends something: the first write needs no memory.
local function end_all_before()
  redis.call('RENAME', session, key)
  local ended = {selector}
  for _, one in ipairs(family(f, 0)) do
    redis.call('DEL', base .. 's:' .. one)
    if one ~= selector then ended[#ended + 1] = one end
  end
  redis.call('DEL', base .. 'f:' .. name)
  redis.call('HDEL', key, 'f')
  return table.concat(ended, ' ')
end

local ended = ''
if grace > 0 then leave_behind() else ended = end_all_before() end
redis.call('HSET', key, 'v', renewed)
local expiry = math.min(now + idle, expires)
-- One that was lost has no name to be changed, and that is no error.
for _, one in ipairs(split(sections)) do redis.pcall('RENAME', section_key(selector, one), section_key(new, one)) end
live_for(new, sections, expiry)
announce(grace > 0 and selector or ended, grace > 0)
redis.call('ZREM', u, selector)
redis.call('ZREM', a, selector)
selector = new
index(user, now, expiry, struct.unpack('<i8', v, CREATED))
-- No more than 64 old ones: then the one whose grace ended first is forgotten.
if grace > 0 and redis.call('ZCARD', base .. 'f:' .. name) > 65 then drop(family(name, 0)[1], name) end
return 'OK ' .. ended .. told(user, {})
