-- Makes a session. ARGV: 3 user, 4 idle_ms, 5 lifetime_ms, 6 generation or 0, 7 max_sessions or 0, 8 evict|deny,
-- 9 max_per_device or 0, 10 to 12 the record without its times, or 10 a whole sealed one, 13 "trimmed" once the user's index was
-- trimmed, else "", 14... names and values of fields. Before the fields comes "n" and the name's hash, if the user has a name; and
-- before that "o", if the token was made beforehand: it makes one session, once.
-- Returns when it was made, in ms (for a sealed one, a moment later than it says), and beside it, if events are logged, which sessions the
-- limits ended; or EXISTS, REFUSED, NAME (the id belongs to another name), LIMIT or CLOCK; or TRIM: trim the user's index first (trim.lua).
-- So that a user with many sessions does not stop Redis, at most 1,000 of them are looked at, and at most 100 are ended for each limit.
local user, idle, lifetime = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
if not cutoff then return no_cutoff() end
if call('EXISTS', session) == 1 then return redis.status_reply('EXISTS') end
local u, a, count = index_of(user), base .. 'a', count_of(user)
local at, once = 14, ARGV[14] == 'o'
if once then
  at = at + 1
  for _, entry in ipairs(try('XRANGE', base .. 'r', '-', '+')) do
    if string.find(entry[2][2], selector, 1, true) then return redis.status_reply('EXISTS') end
  end
end
local name = ARGV[at] == 'n' and ARGV[at + 1]
if name and is_anothers(user, name) then return redis.status_reply('NAME') end
if ARGV[6] ~= '0' then
  if not count then call('GET', base .. 'g:' .. user) end -- of the wrong type: an error
  local next = (count or -1) + 1
  if not is_generation(ARGV[6], next) then return redis.status_reply('REFUSED') end
end
-- Its creation is later than the cut-off, although this clock may not be: so it is not over already. Its lifetime and its age
-- count from now all the same.
local made, v = math.max(now, cutoff + 1), ARGV[10]
local expires = math.max(now + lifetime, made)
if is_sealed(v) then
  local late = clock(struct.unpack('<i8', v, AT_CREATED), made, lifetime, cutoff)
  if late then return late end
  expires = struct.unpack('<i8', v, AT_EXPIRES)
else
  if made > now then v = string.sub(v, 1, AT_AGE - 1) .. struct.pack('<i4', math.floor((now - made) / 1000)) .. string.sub(v, AT_AGE + 4) end
  v = v .. struct.pack('<i8', expires) .. ARGV[11] .. struct.pack('<i8i8', made, made) .. ARGV[12]
end
expires = math.min(expires, now + lifetime)
local first = call('PTTL', u) == -2 -- of the user
local names = first and 0 or call('ZCARD', u) -- of the wrong type: an error, in time; so below
local active = call('ZCARD', a)

-- The sessions for which the limits leave no room, those nearest their end first. Only the records know the class of device. Of more than
-- 1,000 names the first and the last 500 by absolute expiry are looked at. The others count for the limit of all, so names of sessions that
-- have idled out must be gone by then. They do not count for that of a device.
local most, of_device, going = tonumber(ARGV[7]), tonumber(ARGV[9]), nil
local full = most > 0 and names >= most
if not first and (full or of_device > 0) then
  if full and names > 1000 and ARGV[13] ~= 'trimmed' then return redis.status_reply('TRIM') end
  local living, is_going = {}, {}
  going = {}
  local left, alive = {}, names
  local some = call('ZRANGE', u, 0, names > 1000 and 499 or -1)
  for _, one in ipairs(names > 1000 and call('ZRANGE', u, -500, -1) or {}) do some[#some + 1] = one end
  for _, one in ipairs(some) do
    left[one] = call('PTTL', base .. 's:' .. one)
    if left[one] >= 0 then living[#living + 1] = one else alive = alive - 1 end
  end
  table.sort(living, function(a, b) return left[a] < left[b] end)
  if of_device > 0 then
    local same = {}
    for _, one in ipairs(living) do
      local other = try('HGET', base .. 's:' .. one, 'v')
      if is_record(other) and string.sub(other, AT_DEVICE, AT_DEVICE + 3) == string.sub(v, AT_DEVICE, AT_DEVICE + 3) then
        same[#same + 1] = one
      end
    end
    for i = 1, math.min(#same - of_device + 1, 100) do
      going[#going + 1] = same[i]
      is_going[same[i]] = true
    end
  end
  local excess = most > 0 and math.min(alive - #going - most + 1, 100) or 0
  for _, one in ipairs(excess > 0 and living or {}) do
    if excess > 0 and not is_going[one] then
      going[#going + 1] = one
      excess = excess - 1
    end
  end
  if #going > 0 and ARGV[8] == 'deny' then return redis.status_reply('LIMIT') end
end

local expiry = math.min(now + idle, expires)
local absolute, until_then = ms_text(expires), ms_text(expiry)
local ended = count and count ~= 0 and text(count) or '0' -- how often
if once then may_announce('HSET', 'PEXPIREAT', 'ZADD') end
call('HSET', session, 'v', v, 'x', ARGV[4] .. ' ' .. absolute .. ' ' .. user, 'g', ended, unpack(ARGV, name and at + 2 or at))
call('PEXPIREAT', session, until_then)
if once then announce(selector, 'made') end
if (count or 0) > 0 then live_until(base .. 'g:' .. user, expires, absolute) end -- revoke_user.lua
if name then
  call('SET', name_key(user), name, 'NX', 'PXAT', absolute)
  live_until(name_key(user), expires, absolute)
end
if going and #going > 0 then
  local _, _, done = finish(going, user)
  going = {unpack(going, 1, done)}
end
index(u, first, nil, expiry, until_then, absolute, made)
forget_some(u, first, active)
remember_peak(going and call('ZCARD', a) or active + 1)
if telling and going and #going > 0 then return {made, table.concat(going, ' ')} end
return made
