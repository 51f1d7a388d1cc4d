-- Forgets events before an offset.
--
-- KEYS 1 the task, 2 its log    ARGV 1 the oldest offset to keep
local known = redis.call('HMGET', KEYS[1], 'n', 'b', 'u', 'm')
if known[1] then
  -- The events after the snapshot are the rest of the state.
  local first = math.min(tonumber(ARGV[1]), tonumber(known[4] or known[1]) + 1)
  local goes = function(offset) return offset < first end
  local bytes, units = drop(KEYS[2], tonumber(known[2]), goes, tonumber(known[3]))
  redis.call('HSET', KEYS[1], 'b', bytes, 'u', units)
end
return {}
