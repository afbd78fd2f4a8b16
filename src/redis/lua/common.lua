-- What scripts share. Scripts are put together at build time (src/redis/scripts.cmake): a script gets those paragraphs of this
-- file whose names it uses, directly or through another paragraph. So a paragraph does one thing, and has no blank line in it.
-- Under `-- rare` a paragraph has inside it what only it needs: that is made only when it is called. Under `-- inline` it is a function of one
-- line that is not called: what it returns is put in the place of each call, whose arguments are plain names.
--
-- KEYS[1] is the session. ARGV[1] is the partition's base, "lk:{p}:", from which every other name is made (the same hash tag,
-- so the same slot). Behind a space it may have `cluster`, if the server is one of a Redis Cluster; `events`, if the caller logs
-- events; and `/1` and the like, if the caller's database is not 0. ARGV[2] is the selector.
--
-- LK_RECORD_X is from base/record.h; AT_X is the same place in a Lua string, which counts from 1.
--
-- At maxmemory, Redis refuses a script if its first write may need memory, and lets everything pass after a first write that
-- does not. So a script that ends something begins with a deletion, and a script that makes something begins with that.

-- An error ends the script. If the user lacks a right, or the server does not know a command, Redis says in which line, and errors.c finds
-- the command there. So no line has two of these.
local call = redis.call

-- An error is a value. But a refusal by the server's rules says nothing about data: neither "not there" nor a damaged record. So if a right is
-- missing, or the server does not know a command, that ends the script, and the command is named: before 7.2 Redis does not name it.
local function try(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  local unknown = string.match(reply.err, 'Unknown R?e?d?i?s? ?command') -- Valkey does not say Redis
  if not unknown and not string.find(reply.err, 'user executing the script', 1, true) and not string.find(reply.err, 'ACL failure', 1, true) then
    return reply
  end
  local what = unknown and 'LKUNKNOWN ' or string.find(reply.err, ' key', 1, true) and 'LKNOKEY '
    or string.find(reply.err, ' channel', 1, true) and 'LKNOCHANNEL ' or 'LKNORIGHT '
  error(what .. string.lower(command), 0)
end

-- Most callers put nothing behind the base. In a Redis Cluster a slot moves key by key. While it moves, a command for a key that is not here
-- is an error. A script would stop there, with half of its work done: a session deleted, and no instance told. So before anything else each
-- script asks for a key that never exists. If that is an error, the slot moves, and nothing is done. (A slot cannot begin to move while a
-- script runs.) Channels do not belong to a database, so messages name theirs.
local session, base, selector, sharded, telling, database = KEYS[1], ARGV[1], ARGV[2], false, false, ''
if string.byte(base, -1) ~= 58 then
  sharded, telling = string.find(base, ' cluster', 1, true), string.find(base, ' events', 1, true)
  database, base = string.match(base, ' /%d+$') or '', string.match(base, '^%S*')
  if sharded and try('EXISTS', base .. '!') ~= 0 then return redis.error_reply('TRYAGAIN the slot of ' .. base .. ' is moving') end
end

-- inline
local function text(number) return string.format('%.0f', number) end

-- The same for times in ms. A double's digits cost Redis as much as a command, also where redis.call is given a number; those of an int a
-- fifth. It is cut in two, since Lua's %d may have 32 bits only.
-- inline
local function ms_text(ms) return string.format('%d%06d', ms / 1000000, ms % 1000000) end

-- This server's clock: the only one that decides when sessions end. It is asked once, so that a script happens at one moment.
local time = call('TIME')

local now_text = time[1] .. (#time[2] == 6 and string.sub(time[2], 1, 3) or string.format('%03d', time[2] / 1000))

local now = now_text + 0

-- At most 13 digits, since a user's generation is made from it.
-- inline
local function ms_of(digits) return digits and #digits <= 13 and tonumber(digits) or false end

-- The partition's cut-off: when all of its sessions were last ended at once, in ms (revoke_everyone.lua). Sessions that were
-- made up to then are over, whatever else is written about them. 0: there is none. False: something else is in its place, so
-- it is not known.
local cutoff = redis.pcall('GET', base .. 'e') or 0
if cutoff ~= 0 then
  if type(cutoff) == 'table' then cutoff = try('GET', base .. 'e') end
  cutoff = type(cutoff) == 'string' and string.match(cutoff, '^%d+$')
  cutoff = ms_of(cutoff)
end

-- inline
local function no_cutoff() return redis.error_reply('LKEPOCH ' .. base .. 'e') end

-- inline
local function is_over(v) return cutoff > 0 and struct.unpack('<i8', v, AT_CREATED) <= cutoff end

-- The user's index. Its name has the cut-off in it, so after a cut-off it is empty; the earlier one expires by itself.
-- inline
local function index_of(user) return cutoff and base .. 'u:' .. user .. (cutoff > 0 and ':' .. text(cutoff) or '') end

-- How often the user's sessions were ended together (revoke_user.lua). False: something else is in its place.
-- inline
local function count_of(user) return tonumber(try('GET', base .. 'g:' .. user) or 0) or false end

-- Is that the user's generation? It is `next`, the count plus one; with a cut-off, the cut-off in front of the count's last six
-- digits. They are compared as text, since a generation has 64 bits, and a Lua number 53. The same is in
-- src/api/user_generation.c.
-- inline
local function is_generation(told, next) return told == (cutoff > 0 and string.format('%.0f%06.0f', cutoff, next % 1000000) or text(next)) end

-- inline
local function damaged() return redis.error_reply('LKCORRUPT the record of a session is damaged') end

-- Whether a record is sealed or not, these are at the same places. Only a client can write what a seal covers. So a script
-- gets the whole new record, and checks it: that the old one was not changed since it was read, and that the times are Redis'.
-- A script that would have to write what it cannot answers that the record is damaged.
-- inline
local function is_sealed(v) return v and #v == LK_RECORD_SEALED_SIZE end

-- inline
local function is_record(v) return v and (#v == LK_RECORD_SIZE or #v == LK_RECORD_SEALED_SIZE) end

-- Does this record belong to a caller with this verifier? ('' is for a caller that need not know the verifier.)
-- inline
local function matches(v, hash) return hash == '' or string.sub(v, AT_VERIFIER_HASH, AT_VERIFIER_HASH + 31) == hash end

-- idle_ms, expires_at_ms, user_id from the field x; nil if it is damaged.
-- inline: several values
local function parse(x) return string.match(x or '', '^(%d+) (%d+) (%d+)$') end

-- Rotation. A token that was exchanged for a new one, with a grace, leaves its selector behind: a small hash with the record,
-- marked as rotated and with the end of the grace in place of idle_ms, and with `f`, the family's name, which is the family's
-- first selector. The session has that field too. The sorted set f:<name> holds the family's selectors by the end of their
-- grace; the session's own comes last. All of that ends with the session's absolute expiry.
-- inline
local function is_rotated(v) return is_record(v) and string.byte(v, AT_KIND) == (#v == LK_RECORD_SIZE and LK_RECORD_ROTATED or LK_RECORD_ROTATED + LK_RECORD_SEALED) end

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
-- inline
local function told(user, own) return telling and ' : ' .. (user or '-') .. ' ' .. table.concat(own, ' ') or '' end

-- As number and as text. `lives`: it has an expiry already. Redis knows GT since 7.0; GT would never give one to a key that has none.
local function live_until(key, ms, as_text, lives)
  if lives and type(redis.pcall('PEXPIREAT', key, as_text, 'GT')) == 'number' then return end
  local left = call('PTTL', key)
  if left < ms - now then call('PEXPIREAT', key, as_text) end
end

-- For users that have names instead of numbers: the id is a hash of the name, so two names may have one id. Kept is a hash of
-- the name, for as long as the last session that was made with it may live.
-- inline
local function is_anothers(user, name) return (call('GET', base .. 'n:' .. user) or name) ~= name end

-- inline
local function name_key(user) return base .. 'n:' .. user end

-- Removes from an index (`set`) those of these names whose keys are gone, and returns how many. Scores do not decide that: they are times, and
-- clocks are set back.
-- rare
local function forget_dead(set, names)
  local keys = {}
  for i, one in ipairs(names) do keys[i] = base .. 's:' .. one end
  if #keys == 0 or call('EXISTS', unpack(keys)) == #keys then return 0 end
  local dead = {}
  for i, one in ipairs(names) do
    local there = call('EXISTS', keys[i]) == 1
    if not there then dead[#dead + 1] = one end
  end
  return #dead > 0 and call('ZREM', set, unpack(dead)) or 0
end

-- A part of a user's index, at most so many names, each with its absolute end behind it. Absolute ends do not move, so a session that is not
-- in this part is in a later one, and an exchange keeps the place. `from` is '', or names the last one that was seen: when it ends, how many
-- that end at the same moment are before it, and its selector. The part begins with that one. If it is gone, the part begins with all of that
-- moment.
-- Returns the names; when the first part of that moment begins, or nil; how many of the moment are before this part; and whether the one that
-- `from` names is gone.
local function part(u, from, most)
  local score, before, one = string.match(from, '^(%S+) (%d+) (%S+)$')
  local function page(skip)
    return call('ZRANGEBYSCORE', u, score or '-inf', '+inf', 'WITHSCORES', 'LIMIT', skip, most)
  end
  local list = page(before or 0)
  local gone = one and list[1] ~= one
  if gone then
    before = 0
    list = page(0)
  end
  return list, score, before, gone
end

-- `from` of the next part, if list[last] is the last name that was seen of this one.
local function next_part(list, last, score, before)
  local first = last
  while first > 1 and list[first - 1] == list[last + 1] do first = first - 2 end
  local equal = (last - first) / 2 + (first == 1 and list[2] == score and before or 0)
  return list[last + 1] .. ' ' .. text(equal) .. ' ' .. list[last]
end

-- Puts the session into the user's index (by its absolute expiry, which never moves) and the partition's (by activity: at
-- least when it was made, also by a clock that was set back since; end_everyone relies on that). Each index lives as long as
-- the last of its sessions. The partition's lives for a quarter longer, so that who comes next need not prolong it.
-- `first`: of its user, for all that is known. `old`: another selector of the session, which goes. `until_then`, `absolute`: when it
-- idles out, and its absolute expiry, as texts.
local function index(u, first, old, expiry, until_then, absolute, created)
  local a, used = base .. 'a', now < created and ms_text(created) or now_text
  local lives = call('ZADD', u, absolute, selector) == 0
  if old then
    lives = call('ZREM', u, old) == 1
    call('ZREM', a, old)
  end
  if first then call('PEXPIREAT', u, until_then) else live_until(u, expiry, until_then, lives) end
  call('ZADD', a, used, selector)
  local left = call('PTTL', a)
  if left < expiry - now then call('PEXPIREAT', a, math.floor(expiry + (expiry - now) / 4)) end
end

-- New sessions also look at older ones, so that dead names do not pile up. Of the user's, each looks at four. Of the partition's, which has
-- `names`, every fourth session looks at the eight oldest and at eight elsewhere, since an old session that is alive would hide dead ones
-- behind it: so more leave than come. Where elsewhere is, the new selector decides, which was drawn at random. (ZRANDMEMBER costs more.)
local function forget_some(u, first, names)
  if names % 4 == 0 then
    local a, x, y, z = base .. 'a', string.byte(selector, 6, 8)
    local from = names > 0 and (x * 16384 + y * 128 + z) % names or 0
    local some = call('ZRANGE', a, 0, 7)
    for _, one in ipairs(call('ZRANGE', a, from, from + 7)) do some[#some + 1] = one end
    forget_dead(a, some)
  end
  local some = first and {} or call('ZRANDMEMBER', u, 4)
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
  local may, q = redis.acl_check_cmd, base .. 'q'
  if not may then return end
  local missing = not may('INCR', q) and 'incr' or not may('DEL', q) and 'del' or not may('ZREM', q, q) and 'zrem'
    or sharded and not may('SPUBLISH', q, q) and 'spublish'
  for _, command in ipairs(... and {...} or {}) do
    if not may(command, q, q, q) then missing = string.lower(command) end
  end
  -- It is not told whether the command or the channel is missing.
  if missing then error((missing == 'spublish' and 'LKNOCHANNEL ' or 'LKNORIGHT ') .. missing, 0) end
end

-- Counts, logs and publishes that every L1 must forget this selector. If the session only changed, that is said too, so that
-- it is not taken for ended; if what it gives its user changed ('rights'), so that every instance remembers it; and if it was made
-- with a token of before ('made'), so that no instance takes that token for dead any longer. A note is kept in the log. Call this right after the write that it announces, and before anything that can fail. If a key of the wrong
-- type is in the place of the counter or the log, it is replaced (a counter that starts anew makes every instance empty its
-- L1).
local function announce(what, changed, note)
  local number, r = redis.pcall('INCR', base .. 'q'), base .. 'r'
  if type(number) ~= 'number' then
    try('INCR', base .. 'q') -- names what is missing
    call('DEL', base .. 'q')
    number = call('INCR', base .. 'q')
  end
  number = text(number)
  local key, value, mark, logged = 'n', note, '', nil
  if changed then
    local rights, made = changed == 'rights', changed == 'made'
    key, value = 'c', rights and '2' or made and '3' or '1'
    mark = rights and ' changed rights' or made and ' changed made' or ' changed'
  end
  if value then
    logged = redis.pcall('XADD', r, 'MAXLEN', '~', '1000', number .. '-0', 's', what, key, value)
  else
    logged = redis.pcall('XADD', r, 'MAXLEN', '~', '1000', number .. '-0', 's', what)
  end
  if type(logged) == 'table' then -- an error: it is ahead of the counter, or something else lies there
    local entry = {number .. '-0', 's', what, value and key or nil, value}
    try('XADD', r, unpack(entry)) -- names what is missing
    call('DEL', r)
    try('XADD', r, unpack(entry))
  end
  local us = #time[2] == 6 and time[2] or string.format('%06d', time[2])
  local message = number .. ' ' .. what .. ' @' .. time[1] .. us .. mark .. database
  if sharded then
    call('SPUBLISH', base .. 'rev', message)
  else
    call('PUBLISH', base .. 'rev', message)
  end
end

-- A session's sections are strings of their own. Its field `s` names them, so that they are renamed and end with it; `names`
-- is that field. They live until the session's absolute expiry.
-- inline
local function section_key(one, name) return base .. 's:' .. one .. ':' .. name end

-- inline: several values
local function each_of(names) return string.gmatch(type(names) == 'string' and names or '', '%S+') end

-- Returns how many.
local function delete_sections(one, names)
  local count = 0
  for name in each_of(names) do
    call('DEL', section_key(one, name))
    count = count + 1
  end
  return count
end

-- Deletes what the old tokens of a family left, except one; adds their selectors to `all`. Returns the last of them.
-- rare
local function delete_family(f, but, all)
  local last = but
  for _, other in ipairs(family(f, 0)) do
    if other ~= but then
      delete_sections(other, try('HGET', base .. 's:' .. other, 's'))
      call('DEL', base .. 's:' .. other)
      all[#all + 1] = other
    end
    last = other
  end
  call('DEL', base .. 'f:' .. f)
  return last
end

-- Deletes sessions of this partition, each with its family, and announces it, a hundred in one message. The indexes come last:
-- they admit no request. `known`: the fields f and s, if one session is to end and they were read already. It stops once it has deleted
-- about a thousand keys. Returns all selectors that are over; for each session that was there its own one; how many of `selectors` it
-- came to; and how many keys that were.
-- rare
local function finish(selectors, user, note_of, known)
  local all, own, u, a = {}, {}, user and index_of(user), base .. 'a'
  local sections, done = 0, 0
  may_announce()
  for i, one in ipairs(selectors) do
    local f, key = known or try('HMGET', base .. 's:' .. one, 'f', 's'), base .. 's:' .. one
    local there, last = call('DEL', key) == 1, one
    if f[2] then sections = sections + delete_sections(one, f[2]) end
    all[#all + 1] = one
    if f[1] then last = delete_family(f[1], one, all) end
    if there then own[#own + 1] = last end
    done = i
    if #all + sections >= 1000 then break end
  end
  local note = note_of and note_of .. told(user, own)
  for i = 1, #all, 100 do announce(table.concat(all, ' ', i, math.min(i + 99, #all)), false, note) end
  for i = 1, #all, 100 do
    local last = math.min(i + 99, #all)
    if u then try('ZREM', u, unpack(all, i, last)) end
    try('ZREM', a, unpack(all, i, last))
  end
  return all, own, done, #all + sections
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
  f = call('HMGET', session, 'v', 'x', 'f', 's')
  if not is_rotated(f[1]) then return f end -- else its family is gone
end

-- The session's record, if it is there and not over, and matches the caller's verifier. For an old token in its grace it is
-- the session's record: `session` and `selector` then lead to that.
-- Returns nil; or v, idle_ms, expires_at_ms, user_id, all fields that were read, and expires_at_ms as a text; or, as second value, an error or what `reused` returns.
local function load(hash)
  if not cutoff then return nil, no_cutoff() end
  local f, answer = call('HMGET', session, 'v', 'x', 'f', 's'), nil
  local v = f[1]
  if is_rotated(v) then
    f, answer = load_heir(v, f[3], hash)
    if not f then return nil, answer end
    v, hash = f[1], ''
  end
  if not v and not f[2] then return nil end
  local idle, expires, user = parse(f[2])
  if not is_record(v) or not idle then return nil, damaged() end
  if not matches(v, hash) or is_over(v) then return nil end
  return v, tonumber(idle), tonumber(expires), user, f, expires
end

-- Ends all sessions of the partition, without enumerating them. The cut-off is later than any of them was made: by this clock,
-- or, if that was set back, or another server's was ahead, by the last activity; and no earlier than `least`. Returns the
-- cut-off.
local function end_everyone(least)
  local newest = try('ZREVRANGE', base .. 'a', 0, 0, 'WITHSCORES')[2]
  newest = newest and string.match(newest, '^%d+$')
  local ms = math.max(now, least, (cutoff or 0) + 1, ms_of(newest) or 0)
  if #text(ms) > 13 then return no_cutoff() end
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

-- The number that the next announcement will have.
local function next_number() return (tonumber(try('GET', base .. 'q') or 0) or 0) + 1 end

-- Swaps them, once they are known to be unchanged. Each keeps the number by which that will be announced (reassert.lua): `next`, and one more
-- for each hundred; `before` of them were swapped already. The last ones before it are kept too, since an instance may have missed all later
-- ones. Returns the selectors of those that were not swapped before.
local function swap(tokens, swaps, next, before)
  local changed = {}
  for i = 1, #tokens, 2 do
    local is = swaps[tokens[i]][2]
    if is ~= tokens[i + 1] then
      local key, number = base .. 's:' .. tokens[i], next + math.floor((before + #changed) / 100)
      local was = call('HGET', key, 'c')
      local numbers = (was and ' ' .. was or '') .. ' ' .. text(number)
      call('HSET', key, 'v', is, 'c', string.match(numbers, ' (.*)', -160))
      changed[#changed + 1] = tokens[i]
    end
  end
  return changed
end

-- Checks a time that a client took for `now`: it must not be later, nor more than a second earlier, or half of what it is to
-- measure; and it must be later than the cut-off, if that is given. Nil: it is good. Else what the client is told: the time
-- that it should have taken, and this one.
-- rare
local function clock(told, should, span, beyond)
  local fits = told <= should and told >= should - math.min(1000, span / 2) and told > (beyond or 0)
  return not fits and redis.status_reply('CLOCK ' .. text(should) .. ' ' .. text(now)) or nil
end
