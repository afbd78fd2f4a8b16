-- Writes or deletes a section. It lives until the session's absolute expiry, so that a touch need not look at it; ending the session ends it.
-- ARGV: 3 the verifier's hash, 4 its name, 5 '1' to write, '0' to delete, 6 what is written.
-- Returns 1; 0: not found; -1: past its absolute expiry; MANY: there are 16; or what `reused` returns.
local v, idle, expires, _, read = load(ARGV[3])
if not v then return idle or 0 end
local name = ARGV[4]
if expires <= now then return -1 end
local key, others, there = section_key(selector, name), {}, false
for one in each_of(read[4]) do
  if one == name then there = true else others[#others + 1] = one end
end

local function delete_it()
  call('DEL', key) -- first: it needs no memory
  if #others > 0 then
    call('HSET', session, 's', table.concat(others, ' '))
  else
    call('HDEL', session, 's')
  end
  return 1
end

if ARGV[5] == '0' then return there and delete_it() or 1 end
if is_sealed(v) and string.sub(ARGV[6], 1, 4) ~= 'LKF\1' then return damaged() end -- as in set_fields.lua
if #others == 16 then return redis.status_reply('MANY') end
call('STRLEN', key) -- of the wrong type: an error, in time
call('SET', key, ARGV[6], 'PXAT', expires)
others[#others + 1] = name
if not there then call('HSET', session, 's', table.concat(others, ' ')) end
return 1
