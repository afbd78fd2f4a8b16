-- What scripts share. Scripts are put together at build time (src/redis/scripts.cmake): a script gets those paragraphs of this
-- file whose names it uses, directly or through another paragraph. So a paragraph does one thing, and has no blank line in it.
-- A paragraph under `-- rare` has inside it what only it needs: that is made only when it is called.
--
-- KEYS[1] is the session. ARGV[1] is the partition's base, "lk:{p}:", from which every other name is made (the same hash tag,
-- so the same slot). Behind a space it may have `cluster`, if the server is one of a Redis Cluster; `events`, if the caller logs
-- events; and `/1` and the like, if the caller's database is not 0. ARGV[2] is the selector.
--
-- LK_RECORD_X is from base/record.h; AT_X is the same place in a Lua string, which counts from 1.
--
-- At maxmemory, Redis refuses a script if its first write may need memory, and lets everything pass after a first write that
-- does not. So a script that ends something begins with a deletion, and a script that makes something begins with that.

-- A refusal by the server's rules says nothing about data: neither "not there" nor a damaged record. So if a right is missing, or the
-- server does not know a command, that ends the script however it was called, and the command is named: before 7.2 Redis does not name it.
-- rare
local function look_at(command, err)
  local unknown = string.match(err, 'Unknown R?e?d?i?s? ?command') -- Valkey does not say Redis
  if not unknown and not string.find(err, 'user executing the script', 1, true) and not string.find(err, 'ACL failure', 1, true) then return end
  local what = unknown and 'LKUNKNOWN ' or string.find(err, ' key', 1, true) and 'LKNOKEY '
    or string.find(err, ' channel', 1, true) and 'LKNOCHANNEL ' or 'LKNORIGHT '
  error(what .. string.lower(command), 0)
end

-- An error is a value.
local function try(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) == 'table' and reply.err then look_at(command, reply.err) end
  return reply
end

-- An error ends the script.
local function call(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) == 'table' and reply.err then
    look_at(command, reply.err)
    error(reply.err, 0)
  end
  return reply
end

-- Nothing stands behind the base, as for most callers.
local bare = string.byte(ARGV[1], -1) == 58

-- In a Redis Cluster a slot moves key by key. While it moves, a command for a key that is not here is an error. A script would stop there,
-- with half of its work done: a session deleted, and no instance told. So before anything else each script asks for a key that never
-- exists. If that is an error, the slot moves, and nothing is done. (A slot cannot begin to move while a script runs.)
local session, base, selector = KEYS[1], bare and ARGV[1] or string.match(ARGV[1], '^%S*'), ARGV[2]
local sharded = not bare and string.find(ARGV[1], ' cluster', 1, true)
if sharded and try('EXISTS', base .. '!') ~= 0 then return redis.error_reply('TRYAGAIN the slot of ' .. base .. ' is moving') end

local telling = not bare and string.find(ARGV[1], ' events', 1, true)

-- Channels do not belong to a database, so messages name theirs.
local database = not bare and string.match(ARGV[1], ' /%d+$') or ''

local function text(number) return string.format('%.0f', number) end

-- This server's clock: the only one that decides when sessions end. It is asked once, so that a script happens at one moment.
local time = call('TIME')

local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- At most 13 digits, since a user's generation is made from it.
local function ms_of(digits) return digits and #digits <= 13 and tonumber(digits) or false end

-- The partition's cut-off: when all of its sessions were last ended at once, in ms (revoke_everyone.lua). Sessions that were
-- made up to then are over, whatever else is written about them. 0: there is none. False: something else is in its place, so
-- it is not known.
local cutoff = try('GET', base .. 'e') or 0
if cutoff ~= 0 then cutoff = type(cutoff) == 'string' and ms_of(string.match(cutoff, '^%d+$')) end

local function no_cutoff() return redis.error_reply('LKEPOCH ' .. base .. 'e') end

local function is_over(v) return cutoff > 0 and struct.unpack('<i8', v, AT_CREATED) <= cutoff end

-- The user's index. Its name has the cut-off in it, so after a cut-off it is empty; the earlier one expires by itself.
local function index_of(user) return cutoff and base .. 'u:' .. user .. (cutoff > 0 and ':' .. text(cutoff) or '') end

-- How often the user's sessions were ended together (revoke_user.lua). False: something else is in its place.
local function count_of(user)
  local count = try('GET', base .. 'g:' .. user) or '0'
  return type(count) == 'string' and tonumber(count) or false
end

-- Is that the user's generation? It is the count plus one; with a cut-off, the cut-off in front of the count's last six
-- digits. They are compared as text, since a generation has 64 bits, and a Lua number 53. The same is in
-- src/api/user_generation.c.
local function is_generation(told, count)
  count = (count or -1) + 1
  return told == (cutoff > 0 and string.format('%.0f%06.0f', cutoff, count % 1000000) or text(count))
end

local function damaged() return redis.error_reply('LKCORRUPT the record of a session is damaged') end

-- Whether a record is sealed or not, these are at the same places. Only a client can write what a seal covers. So a script
-- gets the whole new record, and checks it: that the old one was not changed since it was read, and that the times are Redis'.
-- A script that would have to write what it cannot answers that the record is damaged.
local function is_sealed(v) return type(v) == 'string' and #v == LK_RECORD_SEALED_SIZE end

local function is_record(v) return type(v) == 'string' and (#v == LK_RECORD_SIZE or #v == LK_RECORD_SEALED_SIZE) end

-- Does this record belong to a caller with this verifier? ('' is for a caller that need not know the verifier.)
local function matches(v, hash) return hash == '' or string.sub(v, AT_VERIFIER_HASH, AT_VERIFIER_HASH + 31) == hash end

-- idle_ms, expires_at_ms, user_id from the field x; nil if it is damaged.
local function parse(x) return string.match(x or '', '^(%d+) (%d+) (%d+)$') end

-- Rotation. A token that was exchanged for a new one, with a grace, leaves its selector behind: a small hash with the record,
-- marked as rotated and with the end of the grace in place of idle_ms, and with `f`, the family's name, which is the family's
-- first selector. The session has that field too. The sorted set f:<name> holds the family's selectors by the end of their
-- grace; the session's own comes last. All of that ends with the session's absolute expiry.
local function is_rotated(v)
  return is_record(v) and string.byte(v, AT_KIND) == (#v == LK_RECORD_SIZE and LK_RECORD_ROTATED or LK_RECORD_ROTATED + LK_RECORD_SEALED)
end

-- The family's selectors from that place on; -1: the session's own. None if something else is there.
local function family(f, from) return f and try('ZRANGE', base .. 'f:' .. f, from, -1) or {} end

-- The user of a family's session, and the field x of the session's own selector; nil if that is gone.
local function owner_of(f)
  local heir = family(f, -1)[1]
  local x = heir and call('HGET', base .. 's:' .. heir, 'x')
  local _, _, user = parse(x)
  return user, x
end

-- The piece behind the selectors that are over, for events.c: the user, and for each session the selector that it had last.
local function told(user, own) return telling and ' : ' .. (user or '-') .. ' ' .. table.concat(own, ' ') or '' end

local function live_until(key, ms)
  if call('PTTL', key) < ms - now then call('PEXPIREAT', key, text(ms)) end
end

-- For users that have names instead of numbers: the id is a hash of the name, so two names may have one id. Kept is a hash of
-- the name, for as long as the last session of the user may live.
local function is_anothers(user, name)
  local before = call('GET', base .. 'n:' .. user)
  return before and before ~= name
end

local function keep_name(user, name, expires)
  local key = base .. 'n:' .. user
  if call('EXISTS', key) == 0 then call('SET', key, name, 'PX', text(math.max(expires - now, 1))) end
  live_until(key, expires)
end

-- Removes from an index those of these names whose keys are gone. Scores do not decide that: they are times, and clocks are
-- set back.
local function forget_dead(index, names)
  local keys = {}
  for i, one in ipairs(names) do keys[i] = base .. 's:' .. one end
  if #keys == 0 or call('EXISTS', unpack(keys)) == #keys then return end
  for i, one in ipairs(names) do
    if call('EXISTS', keys[i]) == 0 then call('ZREM', index, one) end
  end
end

-- Puts the session into the user's index (by its absolute expiry, which never moves) and the partition's (by activity: at
-- least when it was made, also by a clock that was set back since; end_everyone relies on that). Each index lives as long as
-- the last of its sessions. Each new session also looks at some older ones: at four of the user's; at the partition's two
-- oldest and at two others, since an old session that is alive would hide dead ones behind it. So dead names do not pile up:
-- more leave than come.
-- The partition's lives for a quarter longer, so that who comes next need not prolong it. `first`: of its user, for all that is known.
local function index(user, first, expiry, expires, created)
  local u, a = index_of(user), base .. 'a'
  call('ZADD', u, text(expires), selector)
  if first then call('PEXPIREAT', u, text(expiry)) else live_until(u, expiry) end
  call('ZADD', a, text(math.max(now, created)), selector)
  if call('PTTL', a) < expiry - now then call('PEXPIREAT', a, text(expiry + (expiry - now) / 4)) end
end

local function forget_some(user, first)
  local u, a = index_of(user), base .. 'a'
  local some = call('ZRANGE', a, 0, 1)
  for _, one in ipairs(call('ZRANDMEMBER', a, 2)) do some[#some + 1] = one end
  forget_dead(a, some)
  some = first and {} or call('ZRANDMEMBER', u, 4)
  if #some > 1 then forget_dead(u, some) end
end

-- For those who ask later: how many were there at most, and when? Of many, to a few. (latchkey_sample)
local function remember_peak(names)
  local m = base .. 'm'
  if names > 1000 and names % 16 > 0 then return end
  if names > (tonumber(try('HGET', m, 'peak')) or 0) then try('HSET', m, 'peak', names, 'peak_ms', text(now)) end
end

-- Call this before the first write of what will be announced, with the commands by which it writes besides INCR, DEL and ZREM. A script
-- that is stopped in the middle, because it may not write on or may not count, would leave a change that no instance hears of. (INCR
-- itself cannot come first: where Redis is full, only what frees memory may. Redis 6.2 has no way to ask.) Which arguments follow does
-- not matter, but there must be enough for each command's keys.
local function may_announce(...)
  if not redis.acl_check_cmd then return end
  local q = base .. 'q'
  local commands = {'INCR', 'DEL', 'ZREM', ...}
  if sharded then commands[#commands + 1] = 'SPUBLISH' end
  for _, command in ipairs(commands) do
    if not redis.acl_check_cmd(command, q, q, q) then
      local what = command == 'SPUBLISH' and 'LKNOCHANNEL ' or 'LKNORIGHT ' -- it is not told whether the command or the channel is missing
      error(what .. string.lower(command), 0)
    end
  end
end

-- Counts, logs and publishes that every L1 must forget this selector. If the session only changed, that is said too, so that
-- it is not taken for ended; and if what it gives its user changed ('rights'), so that every instance remembers it. A note is
-- kept in the log. Call this right after the write that it announces, and before anything that can fail. If a key of the wrong
-- type is in the place of the counter or the log, it is replaced (a counter that starts anew makes every instance empty its
-- L1).
local function announce(what, changed, note)
  local number = try('INCR', base .. 'q')
  if type(number) ~= 'number' then
    call('DEL', base .. 'q')
    number = call('INCR', base .. 'q')
  end
  local id = string.format('%.0f-0', number)
  local entry = changed and {'s', what, 'c', changed == 'rights' and '2' or '1'} or note and {'s', what, 'n', note} or {'s', what}
  local logged = try('XADD', base .. 'r', 'MAXLEN', '~', '1000', id, unpack(entry))
  if type(logged) == 'table' and logged.err then -- ahead of the counter, or something else lies there
    call('DEL', base .. 'r')
    try('XADD', base .. 'r', id, unpack(entry))
  end
  local mark = changed and (changed == 'rights' and ' changed rights' or ' changed') or ''
  call(sharded and 'SPUBLISH' or 'PUBLISH', base .. 'rev', string.format('%.0f %s @%s%06d%s%s', number, what, time[1], time[2], mark, database))
end

-- A session's sections are strings of their own. Its field `s` names them, so that they are renamed and end with it; `names`
-- is that field. They live until the session's absolute expiry.
local function section_key(one, name) return base .. 's:' .. one .. ':' .. name end

local function split(names)
  local list = {}
  for name in string.gmatch(type(names) == 'string' and names or '', '%S+') do list[#list + 1] = name end
  return list
end

-- 1, or 0: it was not there.
local function delete(one, names)
  local deleted = call('DEL', base .. 's:' .. one)
  if names then
    for _, name in ipairs(split(names)) do call('DEL', section_key(one, name)) end
  end
  return deleted
end

-- Deletes what the old tokens of a family left, except one; adds their selectors to `all`. Returns the last of them.
-- rare
local function delete_family(f, but, all)
  local last = but
  for _, other in ipairs(family(f, 0)) do
    if other ~= but then
      delete(other, try('HGET', base .. 's:' .. other, 's'))
      all[#all + 1] = other
    end
    last = other
  end
  call('DEL', base .. 'f:' .. f)
  return last
end

-- Deletes sessions of this partition, each with its family, and announces it, a hundred in one message. The indexes come last:
-- they admit no request. `known`: the fields f and s, if one session is to end and they were read already. Returns all selectors
-- that are over, and for each session that was there its own one.
local function finish(selectors, user, note_of, known)
  may_announce()
  local all, own, u = {}, {}, user and index_of(user)
  for _, one in ipairs(selectors) do
    local f = known or try('HMGET', base .. 's:' .. one, 'f', 's')
    local there = delete(one, f[2]) == 1
    all[#all + 1] = one
    local last = f[1] and delete_family(f[1], one, all) or one
    if there then own[#own + 1] = last end
  end
  local note = note_of and note_of .. told(user, own)
  for i = 1, #all, 100 do announce(table.concat(all, ' ', i, math.min(i + 99, #all)), false, note) end
  for i = 1, #all, 100 do
    local last = math.min(i + 99, #all)
    if u then try('ZREM', u, unpack(all, i, last)) end
    try('ZREM', base .. 'a', unpack(all, i, last))
  end
  return all, own
end

-- An old token is used after its grace: two parties have it, the user and another, and it is not known which is which. Nil if
-- the session is over anyway, else which sessions that ended.
-- rare
local function reused(f)
  local user, x = owner_of(f)
  local ended, own = finish({selector}, user)
  return x and 'REUSED ' .. table.concat(ended, ' ') .. told(user, own) or nil
end

-- An old token's record was found: finds the session, and `session` and `selector` then lead to it. Returns as `load`.
-- rare
local function load_heir(old, f, hash)
  if not matches(old, hash) or is_over(old) then return nil end
  if now >= struct.unpack('<i8', old, AT_SPAN) then return nil, hash ~= '' and reused(f) or nil end
  selector = family(f, -1)[1] or selector
  session = base .. 's:' .. selector
  f = call('HMGET', session, 'v', 'x')
  if not is_rotated(f[1]) then return f end -- else its family is gone
end

-- The session's record, if it is there and not over, and matches the caller's verifier. For an old token in its grace it is
-- the session's record: `session` and `selector` then lead to that.
-- Returns nil; or v, idle_ms, expires_at_ms, user_id; or, as second value, an error or what `reused` returns.
local function load(hash)
  if not cutoff then return nil, no_cutoff() end
  local f, answer = call('HMGET', session, 'v', 'x', 'f'), nil
  if is_rotated(f[1]) then
    f, answer = load_heir(f[1], f[3], hash)
    if not f then return nil, answer end
    hash = ''
  end
  if not f[1] and not f[2] then return nil end
  local idle, expires, user = parse(f[2])
  if not is_record(f[1]) or not idle then return nil, damaged() end
  if not matches(f[1], hash) or is_over(f[1]) then return nil end
  return f[1], tonumber(idle), tonumber(expires), user
end

-- Ends all sessions of the partition, without enumerating them. The cut-off is later than any of them was made: by this clock,
-- or, if that was set back, or another server's was ahead, by the last activity; and no earlier than `least`. Returns the
-- cut-off.
local function end_everyone(least)
  local newest = try('ZREVRANGE', base .. 'a', 0, 0, 'WITHSCORES')[2]
  local ms = math.max(now, least, (cutoff or 0) + 1, newest and ms_of(string.match(newest, '^%d+$')) or 0)
  if not ms_of(text(ms)) then return no_cutoff() end
  may_announce('UNLINK', 'SET')
  call('UNLINK', base .. 'a') -- first: it needs no memory. None of its sessions is left
  call('SET', base .. 'e', text(ms)) -- whatever lies there
  cutoff = ms
  announce('*' .. text(ms))
  return ms
end

-- Deletes only what an old token left. It is announced as a change: its session has not ended, and a server that comes back with it must
-- not be told so (reassert.lua).
-- rare
local function drop(one, f)
  may_announce()
  call('DEL', base .. 's:' .. one)
  if f then try('ZREM', base .. 'f:' .. f, one) end
  announce(one, true)
end

-- The tokens that are good for a session now: its own and the old ones in their grace. For each its selector and record; false
-- if that is not there, '' if it is not a record.
local function good_tokens(one)
  local f = try('HMGET', base .. 's:' .. one, 'v', 'f')
  local v, name = f[1], f[2]
  local tokens = {one, is_record(v) and v or (v or f.err) and ''}
  for _, each in ipairs(name and try('ZRANGEBYSCORE', base .. 'f:' .. name, '(' .. text(now), '(+inf') or {}) do
    local left = try('HGET', base .. 's:' .. each, 'v')
    if is_rotated(left) then
      tokens[#tokens + 1] = each
      tokens[#tokens + 1] = left
    end
  end
  return tokens
end

-- Records that only a client can make: it reads them, and sends what is to replace them. They are swapped if they are still
-- what it read, byte for byte. The argument is a text of selector, old record, new record, each record with its length before
-- it. A later one of the same selector counts.
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

-- Swaps them, once they are known to be unchanged. Returns the selectors of those that were not swapped before.
local function swap(tokens, swaps)
  local changed = {}
  for i = 1, #tokens, 2 do
    local is = swaps[tokens[i]][2]
    if is ~= tokens[i + 1] then
      call('HSET', base .. 's:' .. tokens[i], 'v', is)
      changed[#changed + 1] = tokens[i]
    end
  end
  return changed
end

-- Checks a time that a client took for `now`: it must not be later, nor more than a second earlier, or half of what it is to
-- measure; and it must be later than the cut-off, if that is given. Nil: it is good. Else what the client is told: the time
-- that it should have taken, and this one.
local function clock(told, should, span, beyond)
  local fits = told <= should and told >= should - math.min(1000, span / 2) and told > (beyond or 0)
  return not fits and redis.status_reply('CLOCK ' .. text(should) .. ' ' .. text(now)) or nil
end
