-- Makes a session. ARGV: 3 user, 4 idle_ms, 5 lifetime_ms, 6 generation or 0, 7 max_sessions or 0, 8 evict|deny,
-- 9 max_per_device or 0, 10 to 12 the record without its times, or 10 a sealed one, whole, 13... names and values of fields.
-- Returns when it was made, in ms (of a sealed one, a moment later than it says), and beside it, where events are told, whom
-- the limits ended; or EXISTS, REFUSED, LIMIT or CLOCK. At most 100 are ended at a time for each limit, so that one that was
-- lowered does not stop Redis.
local user, idle, most, of_device = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[7]), tonumber(ARGV[9])
local ended, u = epoch(), index_of(user)
if not ended then return no_epoch() end
if redis.call('EXISTS', session) == 1 then return redis.status_reply('EXISTS') end
if ARGV[6] ~= '0' and not is_generation(ARGV[6], user) then return redis.status_reply('REFUSED') end
local now = time()
local made = math.max(now, ended + 1) -- not over already, as it would be in the epoch's own millisecond
local expires, v = made + tonumber(ARGV[5]), ARGV[10]
if is_sealed(v) then
  local late = clock(struct.unpack('<i8', v, CREATED), made, tonumber(ARGV[5]), ended)
  if late then return late end
  expires = struct.unpack('<i8', v, EXPIRES)
else
  v = v .. struct.pack('<i8', expires) .. ARGV[11] .. struct.pack('<i8i8', made, made) .. ARGV[12]
end
for _, z in ipairs({u, base .. 'a'}) do redis.call('ZCARD', z) end -- of the wrong type: an error, in time
local living = '(' .. text(now)

-- Whom the limits leave no room for, nearest their end first. Of a class of device only the records know.
local going, is_going = {}, {}
local function must_go(one)
  going[#going + 1] = one
  is_going[one] = true
end

if of_device > 0 then
  local same = {}
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', u, living, '+inf')) do
    local other = redis.pcall('HGET', base .. 's:' .. one, 'v')
    if is_record(other) and string.sub(other, DEVICE, DEVICE + 3) == string.sub(v, DEVICE, DEVICE + 3) then
      same[#same + 1] = one
    end
  end
  for i = 1, math.min(#same - of_device + 1, 100) do must_go(same[i]) end
end
local excess = most > 0 and redis.call('ZCOUNT', u, living, '+inf') - #going - most + 1 or 0
if excess > 0 then
  excess = math.min(excess, 100)
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', u, living, '+inf', 'LIMIT', 0, excess + #going)) do
    if excess > 0 and not is_going[one] then
      must_go(one)
      excess = excess - 1
    end
  end
end
if #going > 0 and ARGV[8] == 'deny' then return redis.status_reply('LIMIT') end

local expiry = math.min(now + idle, expires)
local x = string.format('%.0f %.0f %s', idle, expires, user)
redis.call('HSET', session, 'v', v, 'x', x, unpack(ARGV, 13))
redis.call('PEXPIREAT', session, string.format('%.0f', expiry))
finish(going, user)
index(user, now, expiry, made)
forget_dead()
remember_peak(now)
if telling and #going > 0 then return {made, table.concat(going, ' ')} end
return made
