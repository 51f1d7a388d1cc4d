-- Forgets events before an offset.
--
-- KEYS 1 the task, 2 its log    ARGV 1 the oldest offset to keep
local known = redis.call('HMGET', KEYS[1], 'n', 'b')
if known[1] then
  local first = tonumber(ARGV[1])
  local bytes = drop(KEYS[2], tonumber(known[2]), function(offset) return offset < first end)
  redis.call('HSET', KEYS[1], 'b', bytes)
end
return {}
