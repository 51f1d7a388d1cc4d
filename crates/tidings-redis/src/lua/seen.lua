-- Notes that a parent shows the counts that were read: nobody has to look again, until
-- the next child changes or expires.
--
-- KEYS 1 the bucket's parents to look at, 2 the parent's children in this bucket
-- ARGV 1 the parent, 2 the mark that was read
if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if first[2] then
  redis.call('ZADD', KEYS[1], first[2] * 1000, ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return 1
