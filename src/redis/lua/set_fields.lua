-- Changes a session: single fields, its records, or both. ARGV: 3 the verifier's hash, 4 the swaps of its records ('' if none changes),
-- 5 how many fields are set, 6 the versions that the fields must have, one after another ('': any); 7... names and values of the fields that
-- are set, then names to delete.
-- Returns 1; 0: not found; -1: past its absolute expiry; VERSION: a field has another version; CHANGED: a record is not the one that was
-- read; MANY: too many fields; or what `reused` returns.
local v, idle, expires, _, read = load(ARGV[3])
if not v then return idle or 0 end
if expires <= now then return -1 end
local first_deleted = 7 + 2 * tonumber(ARGV[5])
local names = {}
for i = 7, first_deleted - 1, 2 do names[#names + 1] = ARGV[i] end
for i = first_deleted, #ARGV do names[#names + 1] = ARGV[i] end

-- As lk_field_version: zeros if the field is not there; a field that is there never has zeros.
local none, lowest = string.rep('0', 16), string.rep('0', 15) .. '1'
local function version(value)
  if not value then return none end
  local text = string.sub(redis.sha1hex(value), 1, 16)
  return text == none and lowest or text
end

for i, name in ipairs(ARGV[6] ~= '' and names or {}) do
  if string.sub(ARGV[6], 16 * i - 15, 16 * i) ~= version(call('HGET', session, name)) then
    return redis.status_reply('VERSION')
  end
end
-- A client without keys would put into a sealed session what no other client can open.
for i = 8, is_sealed(v) and first_deleted - 1 or 0, 2 do
  if string.sub(ARGV[i], 1, 4) ~= 'LKF\1' then return damaged() end
end
local swaps = unpack_swaps(ARGV[4])
local tokens = ARGV[4] == '' and {} or good_tokens(selector)
if not unchanged(tokens, swaps) then return redis.status_reply('CHANGED') end
local new = 0
for i = 7, first_deleted - 1, 2 do new = new + 1 - call('HEXISTS', session, ARGV[i]) end
for i = first_deleted, #ARGV do new = new - call('HEXISTS', session, ARGV[i]) end
local own = 2 + (read[3] and 1 or 0) + (read[4] and 1 or 0) + call('HEXISTS', session, 'g')
own = own + call('HEXISTS', session, 'c')
if call('HLEN', session) + new > own + 256 then return redis.status_reply('MANY') end
local sets = first_deleted > 7
if #tokens > 0 then may_announce('HSET', 'HDEL') end
if sets then call('HSET', session, unpack(ARGV, 7, first_deleted - 1)) end
-- If nothing is set, the first write needs no memory: so rights are removed at maxmemory, too.
if not sets or first_deleted <= #ARGV then call('HDEL', session, '-', unpack(ARGV, first_deleted)) end
local changed = swap(tokens, swaps, next_number(), 0)
if #changed > 0 then announce(table.concat(changed, ' '), 'rights') end
return 1
