-- Shared by all scripts. KEYS[1] is the session; ARGV[1] is the partition's base, "lk:{p}:", from which every other name
-- is made (same hash tag, so the same slot); behind a space `events`, where the caller tells of events, and `/1`, say, where the
-- caller's database is not 0; ARGV[2] is the selector.
--
-- Redis refuses a script at maxmemory if its first write may need memory, and lets everything pass after a first write
-- that does not. So scripts that end something start with a deletion, and scripts that make something start with that.
--
-- TIME is this server's clock: the only one by which sessions live and die.

-- What the server's rules refuse is no data: neither "not there" nor a damaged record. So a right that is missing, or a command
-- that the server does not know, ends the script whichever way it was called, and is named: before 7.2 Redis does not say which.
local server = redis
local redis = {sha1hex = server.sha1hex, status_reply = server.status_reply, error_reply = server.error_reply}

local function look_at(command, err)
  local unknown = string.find(err, 'Unknown Redis command', 1, true)
  if not unknown and not string.find(err, 'user executing the script', 1, true) and not string.find(err, 'ACL failure', 1, true) then return end
  local what = unknown and 'LKUNKNOWN ' or string.find(err, ' key', 1, true) and 'LKNOKEY '
    or string.find(err, ' channel', 1, true) and 'LKNOCHANNEL ' or 'LKNORIGHT '
  error(what .. string.lower(command), 0)
end

function redis.pcall(command, ...)
  local reply = server.pcall(command, ...)
  if type(reply) == 'table' and reply.err then look_at(command, reply.err) end
  return reply
end

function redis.call(command, ...)
  local reply = server.pcall(command, ...)
  if type(reply) == 'table' and reply.err then
    look_at(command, reply.err)
    error(reply.err, 0)
  end
  return reply
end

local session, base, selector = KEYS[1], string.match(ARGV[1], '^%S*'), ARGV[2]
local telling = string.find(ARGV[1], ' events', 1, true)
local database = string.match(ARGV[1], ' /%d+$') or '' -- channels know no databases, so messages name theirs
local RECORD_SIZE, VERIFIER_HASH, KEY_HASH, CREATED, DEVICE = 184, 137, 81, 113, 129 -- src/base/record.h; from 1
local AGE, SPAN, EXPIRES, SEALED_SIZE = 5, 9, 41, 244
local ROTATED = 2 -- the record's format; and 4, where it is sealed

local function text(number) return string.format('%.0f', number) end

local function time()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000), string.format('%s%06d', t[1], t[2])
end

-- When the partition's sessions were last ended all at once, in ms (revoke_everyone.lua). Those made up to then are over,
-- whatever else is written of them. 0: never; false: something else lies there, and nobody knows. It has at most 13 digits,
-- since a user's generation is made of it.
local found

local function ms_of(digits) return digits and #digits <= 13 and tonumber(digits) or false end

local function epoch()
  if found == nil then
    local e = redis.pcall('GET', base .. 'e')
    found = e == false and 0 or type(e) == 'string' and ms_of(string.match(e, '^%d+$'))
  end
  return found
end

local function no_epoch() return redis.error_reply('LKEPOCH ' .. base .. 'e') end

local function is_over(v) return epoch() > 0 and struct.unpack('<i8', v, CREATED) <= epoch() end

-- The user's index. It carries the epoch's name, so that after that it is empty; what was before expires by itself.
local function index_of(user)
  local e = epoch()
  return e and base .. 'u:' .. user .. (e > 0 and ':' .. text(e) or '')
end

-- Is that the user's generation? His count plus one; once there is an epoch, that in front of its last six digits. Compared
-- as text, since it has 64 bits, and a Lua number 53. The same in src/api/revoke_user.c.
local function is_generation(told, user)
  local count = (tonumber(redis.call('GET', base .. 'g:' .. user) or '0') or -1) + 1
  return told == (epoch() > 0 and string.format('%.0f%06.0f', epoch(), count % 1000000) or text(count))
end

local function damaged() return redis.error_reply('LKCORRUPT the record of a session is damaged') end

-- Sealed or not, what is read here stands at the same places. What a seal covers only its client can write: scripts are
-- told the whole new record then, and see that it fits: that nobody changed the old one since it was read, and that times
-- are Redis'. A script that would have to write what it cannot answers that the record is damaged.
local function is_sealed(v) return type(v) == 'string' and #v == SEALED_SIZE end
local function is_record(v) return type(v) == 'string' and #v == RECORD_SIZE or is_sealed(v) end

-- A time that a client took for `now`: never later, not more than a second earlier, or half of what it is to measure, and
-- beyond that epoch, where it is given.
local function clock(told, now, span, beyond)
  local fits = told <= now and told >= now - math.min(1000, span / 2) and told > (beyond or 0)
  return not fits and redis.status_reply('CLOCK ' .. text(now)) or nil
end

-- Does the caller who knows this verifier mean this record? ('' stands for a caller that need not know.)
local function matches(v, hash) return hash == '' or string.sub(v, VERIFIER_HASH, VERIFIER_HASH + 31) == hash end

-- idle_ms, expires_at_ms, user_id from the field x; nil where it is damaged.
local function parse(x) return string.match(x or '', '^(%d+) (%d+) (%d+)$') end

-- Rotation. A token that was exchanged for a new one, with a grace, leaves its selector behind: a small hash of the
-- record, marked as rotated and with the end of the grace in place of idle_ms, and of `f`, the family's name, which is
-- its first selector. The session has that field too. The sorted set f:<name> holds the family's selectors by the end of
-- their grace; the session's own comes last. All of that ends with the session's absolute expiry.
local function is_rotated(v) return is_record(v) and string.byte(v, 3) == (is_sealed(v) and ROTATED + 2 or ROTATED) end

-- From the one at that place on; -1: the session's own. None where something else lies there.
local function family(f, from)
  return f and redis.pcall('ZRANGE', base .. 'f:' .. f, from, -1) or {}
end

local finish

-- Whose session a family is, and the field x of its own selector; nil where that is gone.
local function owner_of(f)
  local heir = family(f, -1)[1]
  local x = heir and redis.call('HGET', base .. 's:' .. heir, 'x')
  local _, _, user = parse(x)
  return user, x
end

-- Behind the selectors that are over, for events.c: whose they were, and of each session the selector that it had last.
local function told(user, own) return telling and ' : ' .. (user or '-') .. ' ' .. table.concat(own, ' ') or '' end

-- An old token is used after its grace: two have it, the user and somebody else, and nobody knows who is who. Nil where
-- the session is over anyway, else whom that ended.
local function reused(f)
  local user, x = owner_of(f)
  local ended, own = finish({selector}, user)
  return x and 'REUSED ' .. table.concat(ended, ' ') .. told(user, own) or nil
end

-- The session's record, if it is there and not over, and the caller knows its verifier. That of an old token in its grace
-- is the session's: `session` and `selector` name that from then on.
-- Returns nil; or v, idle_ms, expires_at_ms, user_id; or, as second value, an error or what `reused` returns.
local function load(hash)
  if not epoch() then return nil, no_epoch() end
  local f = redis.call('HMGET', session, 'v', 'x', 'f')
  if is_rotated(f[1]) then
    if not matches(f[1], hash) or is_over(f[1]) then return nil end
    if time() >= struct.unpack('<i8', f[1], SPAN) then return nil, hash ~= '' and reused(f[3]) or nil end
    selector = family(f[3], -1)[1] or selector
    session, hash = base .. 's:' .. selector, ''
    f = redis.call('HMGET', session, 'v', 'x')
    if is_rotated(f[1]) then return nil end -- its family is gone
  end
  if not f[1] and not f[2] then return nil end
  local idle, expires, user = parse(f[2])
  if not is_record(f[1]) or not idle then return nil, damaged() end
  if not matches(f[1], hash) or is_over(f[1]) then return nil end
  return f[1], tonumber(idle), tonumber(expires), user
end

local function live_until(key, ms, now)
  if redis.call('PTTL', key) < ms - now then redis.call('PEXPIREAT', key, text(ms)) end
end

-- Puts the session into the user's index (by expiry) and the partition's (by activity). Neither outlives its last
-- session, and neither holds the dead for long: the user's is trimmed here, the partition's by forget_dead. It was used
-- when it was made, at least, also by a clock that was set back since: end_everyone relies on that.
local function index(user, now, expiry, created)
  local u, a = index_of(user), base .. 'a'
  redis.call('ZADD', u, string.format('%.0f', expiry), selector)
  redis.call('ZREMRANGEBYSCORE', u, '-inf', string.format('%.0f', now))
  live_until(u, expiry, now)
  redis.call('ZADD', a, text(math.max(now, created)), selector)
  live_until(a, expiry, now)
end

-- Who comes looks at four who came before: the two oldest, and two at random, since an old session that is alive would
-- hide the dead behind it. So the dead do not pile up: more leave than come.
local function forget_dead()
  local a = base .. 'a'
  for _, list in ipairs({redis.call('ZRANGE', a, 0, 1), redis.call('ZRANDMEMBER', a, 2)}) do
    for _, one in ipairs(list) do
      if redis.call('EXISTS', base .. 's:' .. one) == 0 then redis.call('ZREM', a, one) end
    end
  end
end

-- For those who ask later: how many were there at most, and when? (latchkey_sample)
local function remember_peak(now)
  local m, names = base .. 'm', redis.call('ZCARD', base .. 'a')
  if names > (tonumber(redis.pcall('HGET', m, 'peak')) or 0) then
    redis.pcall('HSET', m, 'peak', names, 'peak_ms', text(now))
  end
end

-- Counts, logs and publishes that L1 everywhere must forget this selector; where it only changed, that too is said, so
-- that nobody takes it for ended; and if what it gives its user changed ('rights'), so that every instance remembers it. A note is kept in the log. Call it right after the write that it tells
-- of, and before anything that can fail: a key of the wrong type in the way of the counter or the log is replaced (a
-- counter that starts anew makes every instance empty its L1).
local function announce(what, changed, note)
  local number = redis.pcall('INCR', base .. 'q')
  if type(number) ~= 'number' then
    redis.call('DEL', base .. 'q')
    number = redis.call('INCR', base .. 'q')
  end
  local id = string.format('%.0f-0', number)
  local entry = changed and {'s', what, 'c', changed == 'rights' and '2' or '1'} or note and {'s', what, 'n', note} or {'s', what}
  local logged = redis.pcall('XADD', base .. 'r', 'MAXLEN', '~', '1000', id, unpack(entry))
  if type(logged) == 'table' and logged.err then -- ahead of the counter, or something else lies there
    redis.call('DEL', base .. 'r')
    redis.pcall('XADD', base .. 'r', id, unpack(entry))
  end
  local _, us = time()
  redis.call('PUBLISH', base .. 'rev', string.format('%.0f %s @%s%s%s', number, what, us, changed and (changed == 'rights' and ' changed rights' or ' changed') or '', database))
end

-- A session's sections are strings beside it. Its field `s` names them, so that they are renamed with it, live as long, and end
-- with it; `names` is what stands there.
local function section_key(one, name) return base .. 's:' .. one .. ':' .. name end

local function split(names)
  local list = {}
  for name in string.gmatch(type(names) == 'string' and names or '', '%S+') do list[#list + 1] = name end
  return list
end

local function live_for(one, names, ms)
  redis.call('PEXPIREAT', base .. 's:' .. one, text(ms))
  for _, name in ipairs(split(names)) do redis.call('PEXPIREAT', section_key(one, name), text(ms)) end
end

local function delete(one, names)
  redis.call('DEL', base .. 's:' .. one)
  for _, name in ipairs(split(names)) do redis.call('DEL', section_key(one, name)) end
end

-- Deletes sessions of this partition, each with its family, and says so, a hundred in one announcement. What the indexes
-- hold is looked after last: it admits nobody. Returns all whom it ended, and of each session its own selector.
function finish(selectors, user, call)
  local all, own = {}, {}
  for _, one in ipairs(selectors) do
    local f = redis.pcall('HMGET', base .. 's:' .. one, 'f', 's')
    delete(one, f[2])
    all[#all + 1] = one
    own[#own + 1] = one
    if f[1] then
      for _, other in ipairs(family(f[1], 0)) do
        if other ~= one then
          delete(other, redis.pcall('HGET', base .. 's:' .. other, 's'))
          all[#all + 1] = other
        end
        own[#own] = other -- the last
      end
      redis.call('DEL', base .. 'f:' .. f[1])
    end
  end
  local note = call and call .. told(user, own)
  for i = 1, #all, 100 do announce(table.concat(all, ' ', i, math.min(i + 99, #all)), false, note) end
  for i = 1, #all, 100 do
    local some, u = {unpack(all, i, math.min(i + 99, #all))}, user and index_of(user)
    if u then redis.pcall('ZREM', u, unpack(some)) end
    redis.pcall('ZREM', base .. 'a', unpack(some))
  end
  return all, own
end

-- Ends all sessions of the partition, without going through them. Later than any of them was made: by this clock, or,
-- where that was set back, or where another server's was ahead, by what was seen last; and no earlier than `least`.
-- Returns the epoch.
local function end_everyone(least)
  local newest = redis.pcall('ZREVRANGE', base .. 'a', 0, 0, 'WITHSCORES')[2]
  local ms = math.max(time(), least, (epoch() or 0) + 1, newest and ms_of(string.match(newest, '^%d+$')) or 0)
  if not ms_of(text(ms)) then return no_epoch() end
  redis.call('UNLINK', base .. 'a') -- first: it needs no memory. None of its sessions is left
  redis.call('SET', base .. 'e', text(ms)) -- whatever lies there
  found = ms
  announce('*' .. text(ms))
  return ms
end

-- Deletes what an old token left, alone. Announced as a change: its session has not ended, and a server that comes back with
-- it is not to be told so (reassert.lua).
local function drop(one, f)
  redis.call('DEL', base .. 's:' .. one)
  if f then redis.pcall('ZREM', base .. 'f:' .. f, one) end
  announce(one, true)
end

-- Records that only a client can make: it reads them, and says what is to stand there instead. They are swapped if they are
-- still what it read, bytes for bytes.
--
-- The tokens that are good for a session now: its own and the old ones in their grace. Of each its selector and record; false
-- where that is not there, '' where it is none.
local function good_tokens(one, now)
  local f = redis.pcall('HMGET', base .. 's:' .. one, 'v', 'f')
  local v, name = f[1], f[2]
  local tokens = {one, is_record(v) and v or (v or f.err) and ''}
  for _, each in ipairs(name and redis.pcall('ZRANGEBYSCORE', base .. 'f:' .. name, '(' .. text(now), '(+inf') or {}) do
    local left = redis.pcall('HGET', base .. 's:' .. each, 'v')
    if is_rotated(left) then
      tokens[#tokens + 1] = each
      tokens[#tokens + 1] = left
    end
  end
  return tokens
end

-- A text of selector, record as it was, record as it is to be, the records with their lengths before them. A later one of the
-- same selector counts.
local function unpack_swaps(packed)
  local swaps, at, one, was, is = {}, 1, nil, nil, nil
  while at <= #packed do
    one, was, is, at = struct.unpack('<c20I2c0I2c0', packed, at)
    swaps[one] = {was, is}
  end
  return swaps
end

local function unchanged(tokens, swaps)
  for i = 1, #tokens, 2 do
    local s = swaps[tokens[i]]
    if not s or s[1] ~= tokens[i + 1] and s[2] ~= tokens[i + 1] then return false end
  end
  return true
end

-- Once they are known to be unchanged. Returns the selectors of those that were not swapped before.
local function swap(tokens, swaps)
  local changed = {}
  for i = 1, #tokens, 2 do
    local is = swaps[tokens[i]][2]
    if is ~= tokens[i + 1] then
      redis.call('HSET', base .. 's:' .. tokens[i], 'v', is)
      changed[#changed + 1] = tokens[i]
    end
  end
  return changed
end
