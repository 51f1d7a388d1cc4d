-- Forgets a client. Its node may not hear of it: what is left says so to it
-- when it writes the next time.
--
-- KEYS 1 the client, 2 its inbox
-- gives {} if there was none, else {place}
local known = redis.call('HMGET', KEYS[1], 'o', 't')
if not known[2] or known[1] == '-' then
  return {}
end
local left = redis.call('PTTL', KEYS[1])
redis.call('DEL', KEYS[1], KEYS[2])
if known[1] ~= '' then
  redis.call('HSET', KEYS[1], 'o', '-')
  redis.call('PEXPIRE', KEYS[1], math.max(left, 1))
end
return { known[1] }
