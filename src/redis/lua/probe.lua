-- Changes nothing: runs every command that any call needs, on keys that are not there, or of another type. So what the
-- server's rules refuse, or what it does not know, is named when a handle opens (see `look_at`), and not by the first login
-- that fails. Other failures, such as at maxmemory, do not matter. Returns 0.
local nothing, m = base .. 'f:', base .. 'm'
for _, command in ipairs({
  {'EXISTS'}, {'GET'}, {'STRLEN'}, {'PTTL'}, {'HGETALL'}, {'HKEYS'}, {'HLEN'}, {'ZCARD'}, {'DEL'}, {'UNLINK'}, {'ZRANDMEMBER'},
  {'HGET', 'v'}, {'HMGET', 'v'}, {'HEXISTS', 'v'}, {'HDEL', 'v'}, {'ZSCORE', 'v'}, {'ZREM', 'v'}, {'PEXPIREAT', '1'},
  {'ZRANGE', '0', '0'}, {'ZREVRANGE', '0', '0'}, {'ZRANGEBYSCORE', '0', '0'},
  {'XRANGE', '-', '+', 'COUNT', '1'}, {'RENAME', base .. 'f:-'}, {'SET', 'v', 'XX'}, {'ZADD', 'XX', '0', 'v'},
  {'XADD', 'NOMKSTREAM', '*', 's', 'v'}, {'HSET', 'v', 'v', 'without a value'},
}) do
  try(command[1], nothing, unpack(command, 2))
end
-- On a hash this is an error; on a missing key it would make something.
if type(try('HGET', m, 'partitions')) == 'string' then
  try('INCR', m)
  try('HSETNX', m, 'partitions', '') -- it is there
end
call('TIME')
return 0
