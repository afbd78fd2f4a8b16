-- Ends all sessions of the partition, of all users. KEYS[1] is the cut-off's key. Returns the cut-off: sessions that were made
-- up to then are over.
return end_everyone(0)
