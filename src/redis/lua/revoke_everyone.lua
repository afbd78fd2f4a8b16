-- Ends all sessions of the partition, of all users. KEYS[1] is the epoch's key. Returns the epoch: those made up to then are
-- over.
return end_everyone(0)
