-- Ends a user's sessions, all or all but one, a thousand at a time. ARGV: 3 user, 4 the hash of the verifier of the one
-- to keep (KEYS[1], ARGV[2]), '' to keep none, 5 '0', or the time that the first of several runs returned: then only
-- what is not newer ends, so that a login that came after the generation moved is left alone.
-- Returns the time, how many sessions were ended, 1 where there may be more, and in one text the selectors that are over.
local user, u, now, before = ARGV[3], index_of(ARGV[3]), time(), tonumber(ARGV[5])
if not u then return no_epoch() end

-- Any that is lost or damaged counts as old.
local function newer(one)
  local v = redis.pcall('HGET', base .. 's:' .. one, 'v')
  return is_record(v) and struct.unpack('<i8', v, CREATED) > before
end

-- A login begun before this moment read another number: create refuses it. Kept for longer than any login takes.
local function move_generation()
  local g = base .. 'g:' .. user
  if type(redis.pcall('INCR', g)) ~= 'number' then
    redis.call('DEL', g)
    redis.call('INCR', g)
  end
  redis.call('PEXPIREAT', g, text(now + 30 * 86400000))
end

local function to_keep()
  if ARGV[4] == '' then return nil end
  local v, _, _, owner = load(ARGV[4])
  return v and owner == user and selector or nil
end

redis.call('ZREMRANGEBYSCORE', u, '-inf', text(now)) -- first: it needs no memory
if before == 0 then move_generation() end
local keep, ended, own, from, some = to_keep(), {}, {}, 0, nil
repeat
  some = redis.call('ZRANGE', u, from, from + 99)
  local batch = {}
  for _, one in ipairs(some) do
    if one == keep or before > 0 and newer(one) then from = from + 1
    else batch[#batch + 1] = one end
  end
  for _, one in ipairs(batch) do own[#own + 1] = one end -- the index names the sessions' own
  ended[#ended + 1] = table.concat(finish(batch, user), ' ') -- each with the old tokens of its rotations
until #some < 100 or #own >= 1000
local first = before > 0 and before or math.max(now, epoch() + 1)
return {first, #own, #some == 100 and 1 or 0, table.concat(ended, ' ') .. told(user, own)}
