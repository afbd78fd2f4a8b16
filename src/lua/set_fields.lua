-- Changes single fields. ARGV: 3 the verifier's hash, 4 and 5 the hash of the key material as it was and as it will be
-- (both '' where none changes), 6 how many fields are set, 7... names and values of those, then names to delete.
-- Returns 1, or the selectors of all tokens whose record changed, where there are several; 0: not found; -1: past its
-- absolute expiry; CHANGED: other key material is there; MANY: too many fields; or what `reused` returns.
local v, idle, expires = load(ARGV[3])
if not v then return idle or 0 end
if expires <= time() then return -1 end
local count = tonumber(ARGV[6])
local first_deleted = 7 + 2 * count
if ARGV[4] ~= '' and string.sub(v, KEY_HASH, KEY_HASH + 31) ~= ARGV[4] then return redis.status_reply('CHANGED') end
local new = 0
for i = 7, first_deleted - 1, 2 do new = new + 1 - redis.call('HEXISTS', session, ARGV[i]) end
for i = first_deleted, #ARGV do new = new - redis.call('HEXISTS', session, ARGV[i]) end
local f = redis.call('HGET', session, 'f')
if redis.call('HLEN', session) + new > (f and 3 or 2) + 256 then return redis.status_reply('MANY') end
local function with_hash(r) return string.sub(r, 1, KEY_HASH - 1) .. ARGV[5] .. string.sub(r, KEY_HASH + 32) end
local pairs_to_set = {unpack(ARGV, 7, first_deleted - 1)}
if ARGV[5] ~= '' then
  pairs_to_set[#pairs_to_set + 1] = 'v'
  pairs_to_set[#pairs_to_set + 1] = with_hash(v)
end
if #pairs_to_set > 0 then redis.call('HSET', session, unpack(pairs_to_set)) end
if first_deleted <= #ARGV then redis.call('HDEL', session, unpack(ARGV, first_deleted)) end
if ARGV[5] == '' then return 1 end
local changed = {selector}
-- What old tokens answer with in their grace.
local living = string.format('(%.0f', time())
for _, old in ipairs(f and redis.pcall('ZRANGEBYSCORE', base .. 'f:' .. f, living, '(+inf') or {}) do
  local record = redis.pcall('HGET', base .. 's:' .. old, 'v')
  if is_rotated(record) then
    redis.call('HSET', base .. 's:' .. old, 'v', with_hash(record))
    changed[#changed + 1] = old
  end
end
announce(table.concat(changed, ' '), true)
return #changed > 1 and table.concat(changed, ' ') or 1
