-- Puts a message into a client's inbox.
--
-- KEYS 1 the client, 2 its inbox
-- ARGV 1 the message, 2 most messages, 3 most bytes, 4 whether writes are durable,
--      5 attempt
-- gives {} if there is no such client, else {number, place}
local known = redis.call('HMGET', KEYS[1], 'o', 't', 'b', 'w', 'n')
if not known[2] or known[1] == '-' then
  return {}
end
-- An attempt whose answer was lost is no second message.
if known[4] == ARGV[5] then
  return { tonumber(known[5]), known[1] }
end
local head = newest(KEYS[1], ARGV[4]) + 1
redis.call('XADD', KEYS[2], head .. '-0', 'j', ARGV[1])
local bytes = tonumber(known[3] or '0') + #ARGV[1]
local most = tonumber(ARGV[3])
local floor = redis.call('XLEN', KEYS[2]) - tonumber(ARGV[2])
if floor > 0 or bytes > most then
  bytes = drop(KEYS[2], bytes, function(number, left)
    floor = floor - 1
    return number < head and (floor >= 0 or left > most)
  end)
end
redis.call('HSET', KEYS[1], 'n', head, 'b', bytes, 'w', ARGV[5])
redis.call('PEXPIRE', KEYS[2], math.max(redis.call('PTTL', KEYS[1]), 1))
return { head, known[1] }
