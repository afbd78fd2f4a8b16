-- Changes the records of all sessions of a user. Only the client can make records: so a first run returns them as they are,
-- and each next run swaps those that are still what was read, and returns the others, until there is none. ARGV: 3 user, 4 the
-- swaps, 5 where to begin in the user's index: '', or what an earlier run returned.
-- Returns the time, where a run for the rest is to begin ('': there is none), how many sessions were changed, in one text the
-- selectors of the tokens whose records were, and behind those what `told` returns; then selector and record of each token of
-- the others.
local user, swaps, from = ARGV[3], unpack_swaps(ARGV[4]), ARGV[5]
local u, most = index_of(user), 1000
if not u then return no_cutoff() end
call('ZREM', u, '-') -- first: it needs no memory
local list, score, before = part(u, from, most)
local reply, all, own, seen, last = {now, '', 0, ''}, {}, {}, 0, nil
may_announce('HSET')
local next = next_number()
for i = 1, #list, 2 do
  if seen >= most then break end
  last = i
  local tokens = good_tokens(list[i])
  seen = seen + #tokens / 2
  if unchanged(tokens, swaps) then
    local changed = swap(tokens, swaps, next, #all)
    if #changed > 0 then own[#own + 1] = list[i] end
    for _, one in ipairs(changed) do all[#all + 1] = one end
  elseif tokens[2] then -- else it was deleted by hand, or lost
    for _, each in ipairs(tokens) do reply[#reply + 1] = each end
  end
end
for i = 1, #all, 100 do announce(table.concat(all, ' ', i, math.min(i + 99, #all)), 'rights') end
if last and (last + 1 < #list or #list == 2 * most) then
  reply[2] = next_part(list, last, score, before)
end
reply[3], reply[4] = #own, table.concat(all, ' ') .. told(user, own)
return reply
