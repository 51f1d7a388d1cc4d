-- Makes a client a node's.
--
-- KEYS 1 the client, 2 its inbox
-- ARGV 1 the place (node/mark), 2 the node, 3 the presented token's hash,
--      4 subject, 5 the hash of a fresh token, 6 '1' to take it by force,
--      7 how long it is kept (ms), 8 whether writes are durable
-- gives {'fresh'}, {'refused'}, {'held', place}, {'resumed', kept, seen, head, messages}
local known = redis.call('HMGET', KEYS[1], 'o', 't', 's', 'k', 'v')
local place = known[1]
if not known[2] or place == '-' then
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'o', ARGV[1], 't', ARGV[5], 's', ARGV[4], 'k', '', 'v', 0)
  newest(KEYS[1], ARGV[8])
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  return { 'fresh' }
end
-- An attempt whose answer was lost.
if place == ARGV[1] and known[2] == ARGV[5] then
  return { 'fresh' }
end
if known[2] ~= ARGV[3] or known[3] ~= ARGV[4] then
  return { 'refused' }
end
if place ~= '' and ARGV[6] ~= '1' and string.sub(place, 1, #ARGV[2] + 1) ~= ARGV[2] .. '/' then
  return { 'held', place }
end
local head = newest(KEYS[1], ARGV[8])
redis.call('HSET', KEYS[1], 'o', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
return { 'resumed', known[4] or '', known[5], head, after(KEYS[2], known[5]) }
