-- Exchanges the session's token for a new one. ARGV: 3 the verifier's hash, 4 to 6 the new selector, verifier's hash and raw selector,
-- 7 grace_ms: for that long the old token is as good as the new one; and, if there are keys to seal with, three sealed records: 8 the one
-- that was read, 9 the new token's, 10 what the old one leaves; or '' if none was read.
-- Returns OK, if grace_ms is 0 followed by what that ended: the old token and all before it; REFUSED: exchanged already; EXISTS: the new
-- selector is taken; CHANGED: the record is not the one that was read; CLOCK; 0: not found; -1: past its absolute expiry; or what `reused`
-- returns.
local v, idle, expires, user, read, absolute = load(ARGV[3])
if not v then return idle or 0 end
if selector ~= ARGV[2] then return redis.status_reply('REFUSED') end
local new, grace = ARGV[4], tonumber(ARGV[7])
if expires <= now then return -1 end
local key, u, a = base .. 's:' .. new, index_of(user), base .. 'a'
if call('EXISTS', key) == 1 then return redis.status_reply('EXISTS') end
local sealed = is_sealed(v)
if sealed and not ARGV[8] then return damaged() end
if v ~= ARGV[8] and (sealed or is_sealed(ARGV[8])) then return redis.status_reply('CHANGED') end
local span = math.min(grace, sealed and struct.unpack('<i8', v, AT_SPAN) or idle) -- it does not idle out before that
local over, renewed, left = now + span, ARGV[9], ARGV[10]
if not sealed then
  local age = math.floor((now - struct.unpack('<i8', v, AT_CREATED)) / 1000)
  local kept = string.sub(v, 1, AT_AGE - 1) .. struct.pack('<i4', age) .. string.sub(v, AT_AGE + 4, AT_VERIFIER_HASH - 1)
  renewed = kept .. ARGV[5] .. ARGV[6] .. string.sub(v, LK_RECORD_SIZE)
  left = string.sub(v, 1, 2) .. string.char(LK_RECORD_ROTATED) .. string.sub(v, 4, 8) .. struct.pack('<i8', over) .. string.sub(v, 17)
elseif grace > 0 then
  over = struct.unpack('<i8', left, AT_SPAN)
  local late = clock(over - span, now, span)
  if late then return late end
end
local f, sections = read[3], read[4]
local name = f or selector
call('ZCARD', u) -- of the wrong type: an error, in time
call('ZCARD', a)
local before = (f or grace > 0) and call('ZCARD', base .. 'f:' .. name)

-- It makes something, so at maxmemory it is refused as a whole.
-- Where the old tokens are ended, the log says what they were exchanged for, and by which verifiers: revoke.lua.
local ended, note = '', nil
may_announce('HSET', 'PEXPIREAT', 'ZADD', grace > 0 and 'RENAME' or f and 'HDEL' or nil)
if grace > 0 then
  call('ZADD', base .. 'f:' .. name, ms_text(over), selector, '+inf', new)
  live_until(base .. 'f:' .. name, expires, absolute)
  call('HSET', session, 'v', renewed, 'f', name)
  call('RENAME', session, key)
  call('HSET', session, 'v', left, 'f', name)
  local change = call('HGET', key, 'c')
  if change then call('HSET', session, 'c', change) end
  call('PEXPIREAT', session, absolute)
else -- it ends something: the first write needs no memory
  call('RENAME', session, key)
  ended, note = selector, 'x' .. new .. ARGV[3]
  for _, one in ipairs(family(f, 0)) do
    if one ~= selector then
      local old = try('HGET', base .. 's:' .. one, 'v')
      ended = ended .. ' ' .. one
      note = note .. (is_record(old) and string.sub(old, AT_VERIFIER_HASH, AT_VERIFIER_HASH + 31) or string.rep('?', 32))
    end
    call('DEL', base .. 's:' .. one)
  end
  if f then
    call('DEL', base .. 'f:' .. name)
    call('HDEL', key, 'f')
  end
  call('HSET', key, 'v', renewed)
end
local expiry = math.min(now + idle, expires)
local until_then = ms_text(expiry)
-- A session that was lost has no name to change, and that is not an error.
for one in each_of(sections) do try('RENAME', section_key(selector, one), section_key(new, one)) end
call('PEXPIREAT', key, until_then)
announce(grace > 0 and selector or ended, grace > 0, note)
local old = selector
selector = new
index(u, false, old, expiry, until_then, absolute, struct.unpack('<i8', v, AT_CREATED))
-- No more than 64 old ones: the one whose grace ended first is forgotten.
if grace > 0 and before > 64 then drop(family(name, 0)[1], name) end
return 'OK ' .. ended .. told(user, {})
