-- Writes where a client stands, unless it is at another place by now.
--
-- KEYS 1 the client, 2 its inbox
-- ARGV 1 the place (node/mark), 2 'connected', 'away' or 'gone', 3 token's hash,
--      4 subject, 5 what to keep, 6 the last message it got, 7 the newest that
--      its node knows of, 8 how long it is kept (ms), 9 whether writes are durable
-- gives {'kept', newest message}, {'moved'}, {'forgotten'}
local known = redis.call('HMGET', KEYS[1], 'o', 'b', 'v')
if known[1] and known[1] ~= ARGV[1] then
  return { known[1] == '-' and 'forgotten' or 'moved' }
end
if ARGV[2] == 'gone' then
  redis.call('DEL', KEYS[1], KEYS[2])
  return { 'kept', 0 }
end
-- If it was not there, Redis has lost it, and this brings it back.
local place = ARGV[2] == 'away' and '' or ARGV[1]
redis.call('HSET', KEYS[1], 'o', place, 't', ARGV[3], 's', ARGV[4], 'k', ARGV[5], 'v', ARGV[6])
local head = newest(KEYS[1], ARGV[9])
if tonumber(ARGV[7]) > head then
  head = tonumber(ARGV[7])
  redis.call('HSET', KEYS[1], 'n', head)
end
if known[3] ~= ARGV[6] then
  local seen = tonumber(ARGV[6])
  local bytes = drop(KEYS[2], tonumber(known[2] or '0'), function(number) return number <= seen end)
  redis.call('HSET', KEYS[1], 'b', bytes)
end
redis.call('PEXPIRE', KEYS[1], ARGV[8])
redis.call('PEXPIRE', KEYS[2], ARGV[8])
return { 'kept', head }
