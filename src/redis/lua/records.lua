-- Reads what the client needs to change a session's records, which only the client can make. ARGV: 3 the verifier's hash, 4 '1': the key
-- material too. Changes nothing.
-- Returns the time, how many records there are, for each its selector and the record (see good_tokens), then the names and values of the key
-- material; 0: not found; -1: past its absolute expiry; or what `reused` returns.
local v, idle, expires = load(ARGV[3])
if not v then return idle or 0 end
if expires <= now then return -1 end
local tokens = good_tokens(selector)
local reply = {now, #tokens / 2, unpack(tokens)}
local names = {}
for _, name in ipairs(ARGV[4] == '1' and call('HKEYS', session) or {}) do
  if string.sub(name, 1, 3) == 'pq.' then names[#names + 1] = name end
end
for i, value in ipairs(#names > 0 and call('HMGET', session, unpack(names)) or {}) do
  reply[#reply + 1] = names[i]
  reply[#reply + 1] = value
end
return reply
