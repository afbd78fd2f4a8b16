-- A user's sessions, the last used first. Changes nothing. KEYS[1] is the session that asks, or none. ARGV: 3 user, 4 how
-- many at most.
-- Returns how many there are, the selector of the one that asks; then of each the selector, the record, when it idles
-- out, and when it was last used.
local u, now, reply = index_of(ARGV[3]), time(), {0, selector}
if not u then return no_epoch() end
local asks = redis.pcall('HMGET', session, 'v', 'f')
if is_rotated(asks[1]) then reply[2] = family(asks[2], -1)[1] or selector end
local total = redis.call('ZCOUNT', u, '(' .. text(now), '+inf')
local most = math.min(total, tonumber(ARGV[4]))
local list = most > 0 and redis.call('ZREVRANGE', u, 0, most - 1, 'WITHSCORES') or {} -- by expiry, the dead last
for i = 1, #list, 2 do
  local v, active = redis.pcall('HGET', base .. 's:' .. list[i], 'v'), redis.call('ZSCORE', base .. 'a', list[i])
  if type(v) == 'table' or not v and redis.call('EXISTS', base .. 's:' .. list[i]) == 1 then v = '' end -- damaged
  if v then
    reply[#reply + 1] = list[i]
    reply[#reply + 1] = v
    reply[#reply + 1] = tonumber(list[i + 1])
    reply[#reply + 1] = tonumber(active or now)
  else
    total = total - 1 -- deleted by hand, or lost
  end
end
reply[1] = total
return reply
