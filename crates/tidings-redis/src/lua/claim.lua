-- Makes a client a node's.
--
-- KEYS 1 the client, 2 its inbox
-- ARGV 1 the place (node/mark), 2 the node, 3 the presented token's hash,
--      4 subject, 5 the hash of a fresh token, 6 '1' to take it by force,
--      7 how long it is kept (ms), 8 whether writes are durable
-- gives {'fresh', stale}, {'others'}, {'refused'}, {'held', place},
--       {'resumed', stale, kept, seen, head, messages}; stale is 1 if the client
--       was not at this very place until now: what the node has of it is older
--
-- field a: the last claim that was stale, by its fresh token's hash, for an
-- attempt whose answer was lost
local known = redis.call('HMGET', KEYS[1], 'o', 't', 's', 'k', 'v', 'a')
local place = known[1]
local stale = 0
if place and (place ~= ARGV[1] or known[6] == ARGV[5]) then
  stale = 1
end
local claim = stale == 1 and ARGV[5] or ''
if not known[2] or place == '-' then
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'o', ARGV[1], 't', ARGV[5], 's', ARGV[4], 'k', '', 'v', 0, 'a', claim)
  newest(KEYS[1], ARGV[8])
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  return { 'fresh', stale }
end
-- An attempt whose answer was lost.
if place == ARGV[1] and known[2] == ARGV[5] then
  return { 'fresh', stale }
end
if known[3] ~= ARGV[4] then
  return { 'others' }
end
if known[2] ~= ARGV[3] then
  return { 'refused' }
end
if place ~= '' and ARGV[6] ~= '1' and string.sub(place, 1, #ARGV[2] + 1) ~= ARGV[2] .. '/' then
  return { 'held', place }
end
local head = newest(KEYS[1], ARGV[8])
redis.call('HSET', KEYS[1], 'o', ARGV[1], 'a', claim)
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
return { 'resumed', stale, known[4] or '', known[5], head, after(KEYS[2], known[5]) }
