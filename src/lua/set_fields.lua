-- Changes single fields. ARGV: 3 the verifier's hash, 4 and 5 the hash of the key material as it was and as it will be
-- (both '' where none changes), 6 how many fields are set, 7... names and values of those, then names to delete.
-- Returns 1; 0: not found; -1: past its absolute expiry; CHANGED: other key material is there; MANY: too many fields.
local v, idle, expires = load(ARGV[3])
if not v then return idle or 0 end
if expires <= time() then return -1 end
local count = tonumber(ARGV[6])
local first_deleted = 7 + 2 * count
if ARGV[4] ~= '' and string.sub(v, KEY_HASH, KEY_HASH + 31) ~= ARGV[4] then return redis.status_reply('CHANGED') end
local new = 0
for i = 7, first_deleted - 1, 2 do new = new + 1 - redis.call('HEXISTS', session, ARGV[i]) end
for i = first_deleted, #ARGV do new = new - redis.call('HEXISTS', session, ARGV[i]) end
if redis.call('HLEN', session) + new > 2 + 256 then return redis.status_reply('MANY') end
local pairs_to_set = {unpack(ARGV, 7, first_deleted - 1)}
if ARGV[5] ~= '' then
  pairs_to_set[#pairs_to_set + 1] = 'v'
  pairs_to_set[#pairs_to_set + 1] = string.sub(v, 1, KEY_HASH - 1) .. ARGV[5] .. string.sub(v, KEY_HASH + 32)
end
if #pairs_to_set > 0 then redis.call('HSET', session, unpack(pairs_to_set)) end
if first_deleted <= #ARGV then redis.call('HDEL', session, unpack(ARGV, first_deleted)) end
if ARGV[5] ~= '' then announce(selector, true) end
return 1
