-- Ends a user's sessions, all or all but one, a thousand at a time, or fewer if they have old tokens or sections. ARGV: 3 user,
-- 4 the hash of the verifier of the one to keep (KEYS[1], ARGV[2]), '' to keep none, 5 '0', or the count that the first of several
-- runs returned: then only what was made before that count ends, so that a login that came after the generation moved stays. No
-- clock decides that: clocks are set back.
-- Returns that count, how many sessions were ended, 1 if there may be more, in one text the selectors that are over, and what
-- `reused` returned for the token to keep, or ''.
local user, count = ARGV[3], tonumber(ARGV[5])
local u, g = index_of(user), base .. 'g:' .. user
if not u then return no_cutoff() end

-- A session whose count is lost or damaged counts as old; so does one that an older version made.
local function newer(one) return (tonumber(try('HGET', base .. 's:' .. one, 'g')) or -1) >= count end

-- An old token after its grace ends its session here as well, and that is returned.
local function to_keep()
  local v, reuse, _, owner = load(ARGV[4])
  if v then return owner == user and selector end
  return false, type(reuse) == 'string' and reuse
end

-- A login that began before this moment read another number: create refuses it. It is kept for longer than any login takes,
-- and than any session lives that has it (create.lua).
local first = count == 0
call('ZREM', u, '-') -- first: it needs no memory
if first then
  count = try('INCR', g)
  if type(count) ~= 'number' then -- something else lies there
    call('DEL', g)
    count = 1 + time[2]
    call('SET', g, count)
  end
  local month = now + 30 * 86400000
  local as_text = ms_text(month)
  if count == 1 then call('PEXPIREAT', g, as_text) else live_until(g, month, as_text) end
end
local keep, reuse
if ARGV[4] ~= '' then keep, reuse = to_keep() end
local ended, from, seen, deleted, more = {}, 0, {}, 0, nil
repeat
  local some, batch = call('ZRANGE', u, from, from + 99), {}
  for _, one in ipairs(some) do
    if one == keep or not first and newer(one) then from = from + 1
    else batch[#batch + 1] = one end
  end
  local all, there, done, keys = finish(batch, user) -- each with the old tokens of its rotations
  ended[#ended + 1] = table.concat(all, ' ')
  for _, one in ipairs(there) do seen[#seen + 1] = one end
  deleted = deleted + keys
  more = #some == 100 or done < #batch
until not more or deleted >= 1000
return {count, #seen, more and 1 or 0, table.concat(ended, ' ') .. told(user, seen), reuse or ''}
