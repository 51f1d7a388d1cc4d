-- Which leases have ended, by Redis's clock. Whoever asks has these to itself for a while.
--
-- KEYS 1 a key of one of the buckets, for the place of this script in a cluster
-- ARGV 1 the prefix of all keys, 2 for how long they are the caller's (microseconds),
--      3 most tasks of a bucket, then the buckets
-- gives the tasks, each followed by its epoch and its newest offset
local now = clock()
local overdue = {}
for at = 4, #ARGV do
  local tag = '{' .. ARGV[1] .. ':' .. ARGV[at] .. '}'
  local leases = tag .. ':leases'
  local found = redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, ARGV[3])
  for _, task in ipairs(found) do
    local known = redis.call('HMGET', tag .. ':task:' .. task, 'l', 'e', 'n')
    if not known[1] or known[1] == '' then
      -- The task has expired.
      redis.call('ZREM', leases, task)
    else
      redis.call('ZADD', leases, now + tonumber(ARGV[2]), task)
      overdue[#overdue + 1] = task
      overdue[#overdue + 1] = known[2]
      overdue[#overdue + 1] = known[3]
    end
  end
end
return overdue
