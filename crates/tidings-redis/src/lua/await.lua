-- Waits for a parent that is not there: when it comes, its counts are looked at.
--
-- KEYS 1 the parent, 2 the bucket's tasks with children
-- ARGV 1 the parent's id, 2 '1' if it has children
-- gives 1 if it is there
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 1
end
redis.call(ARGV[2] == '1' and 'SADD' or 'SREM', KEYS[2], ARGV[1])
return 0
