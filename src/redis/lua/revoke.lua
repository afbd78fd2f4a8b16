-- Ends the session. ARGV: 3 the verifier's hash, 4 '1' if this caller's L1 held the whole token: then it is announced even if Redis lost it
-- or what it holds is damaged, since other instances may hold it too; 5, if given and not '', the user that the session must belong to: by
-- its record, or, if that is damaged, by the user's list; 6, if events are logged, the number of this call; or, with 7 '1', the numbers of
-- calls for the same session whose answers were lost: if one of those ended it, as the log says, so did this one.
-- With 7 '1' the session is ended also if the token was exchanged since.
-- Returns 1, or 0: not found; or, if other tokens ended with it (an old token is the session's as well) or events are logged, all of them,
-- and behind those what `told` returns.
local f, held = redis.pcall('HMGET', session, 'v', 'x', 'f', 's'), ARGV[4] == '1'
if f.err then f = try('HMGET', session, 'v') end
local owner = (ARGV[5] or '') ~= '' and ARGV[5]
local v, _, _, user = f[1], parse(f[2])
if owner and (f.err or not is_rotated(v) and not (is_record(v) and user) and call('EXISTS', session) == 1) then
  local u = index_of(owner)
  if not u then return no_cutoff() end
  v, user = '', call('ZSCORE', u, selector) and owner
elseif f.err and not held then return f end
if v and not is_record(v) and not held and not owner then return damaged() end
if v and is_record(v) and not matches(v, ARGV[3]) then return 0 end
if v and is_record(v) and cutoff and is_over(v) then v = nil end -- ended with all others, and told

-- If the answer to a call for it was lost, the token may have been exchanged since, without a grace. Then the session that it
-- became is ended: the log has the exchange, oldest first, so that a chain of them is followed in one go.
local followed, before, log = false, false, not v and ARGV[7] == '1' and try('XRANGE', base .. 'r', '-', '+') or {}
for _, entry in ipairs(f.err and {} or log) do
  local at, note = string.find(entry[2][2], selector, 1, true), entry[2][3] == 'n' and entry[2][4] or ''
  local own = at and 22 + (at - 1) / 21 * 32
  if at and string.sub(note, 1, 1) == 'x' and (followed or string.sub(note, own, own + 31) == ARGV[3]) then
    selector, followed = string.sub(note, 2, 21), true
  end
end
if followed then
  f = try('HMGET', base .. 's:' .. selector, 'v', 'x', 'f', 's')
  v, _, _, user = f[1], parse(f[2])
end
-- Or that call has ended it.
for _, entry in ipairs(v and {} or log) do
  local what, call, rest = entry[2][2], string.match(entry[2][3] == 'n' and entry[2][4] or '', '^(%x+)( : .*)$')
  if call and string.find(ARGV[6], call, 1, true) and string.find(what, selector, 1, true) then
    before = what .. rest
    break
  end
end
if not v and not held then return before or 0 end

-- The usual case: one token, and its end alone.
if is_record(v) and not is_rotated(v) and not followed and not telling and not f[3] and not f[4] and (not owner or user == owner) then
  may_announce()
  call('DEL', session)
  announce(selector)
  if user and cutoff then try('ZREM', index_of(user), selector) end
  try('ZREM', base .. 'a', selector)
  return 1
end
if is_rotated(v) then user = owner_of(f[3]) end
if owner and user ~= owner then return 0 end
local ended, own = finish({selector}, user, telling and v and string.match(ARGV[6] or '', '^%x+'), {f[3], f[4]})
if before then return before end
if v and (#ended > 1 or telling or followed) then return table.concat(ended, ' ') .. told(user, own) end
return v and 1 or 0
