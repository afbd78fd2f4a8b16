-- Removes from a user's index the names of sessions that have idled out, so that the number of names is that of the sessions. It looks at a
-- thousand. ARGV: 3 user, 4 how many names to leave out at the beginning: 0, or what an earlier run returned.
-- Returns that for the next run; 0: that was the rest. If names leave the index between two runs, the next one may miss some.
local u, from, most = index_of(ARGV[3]), tonumber(ARGV[4]), 1000
if not u then return no_cutoff() end
local names = call('ZRANGE', u, from, from + most - 1)
local forgotten = forget_dead(u, names)
return #names == most and from + most - forgotten or 0
