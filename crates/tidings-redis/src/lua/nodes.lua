-- Says that a node lives, and who else does, by this server's clock.
--
-- KEYS 1 the nodes by the time they were last heard of, 2 their names
-- ARGV 1 the node, or nothing to only ask, 2 its name, 3 for how long this holds (ms)
-- gives {node, name, node, name, …}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[1] ~= '' then
  redis.call('ZADD', KEYS[1], now, ARGV[1])
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
end
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])) do
  redis.call('ZREM', KEYS[1], node)
  redis.call('HDEL', KEYS[2], node)
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local found = {}
for _, node in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  found[#found + 1] = node
  found[#found + 1] = redis.call('HGET', KEYS[2], node) or node
end
return found
