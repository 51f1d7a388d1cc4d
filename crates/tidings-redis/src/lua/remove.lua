-- Forgets a task, and tells those who watch it.
--
-- KEYS 1 the task, 2 its log, 3 the index of tasks, 4 its producers' event ids,
--      5 which parts of its outputs are kept, 6 their text,
--      7 the index of tasks with an open question, 8 those by when one expires,
--      9 the index of tasks with a lease
-- ARGV 1 PUBLISH or SPUBLISH, 2 the task's channel, 3 the task's id
local parent = redis.call('HGET', KEYS[1], 'p')
if parent and parent ~= '' then
  local tag = tag_of(KEYS[1])
  leave(tag, parent, ARGV[3])
  stir(tag, parent, STIR_AFTER)
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[4], KEYS[5], KEYS[6])
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('ZREM', KEYS[7], ARGV[3])
redis.call('ZREM', KEYS[8], ARGV[3])
redis.call('ZREM', KEYS[9], ARGV[3])
redis.call(ARGV[1], ARGV[2], '- 0')
return {}
