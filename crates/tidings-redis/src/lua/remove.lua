-- Forgets a task, and tells those who watch it.
--
-- KEYS 1 the task, 2 its log, 3 the index of tasks, 4 its producers' event ids,
--      5 which parts of its outputs are kept, 6 their text,
--      7 the index of tasks with an open question, 8 those by when one expires
-- ARGV 1 PUBLISH or SPUBLISH, 2 the task's channel, 3 the task's id
redis.call('DEL', KEYS[1], KEYS[2], KEYS[4], KEYS[5], KEYS[6])
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('ZREM', KEYS[7], ARGV[3])
redis.call('ZREM', KEYS[8], ARGV[3])
redis.call(ARGV[1], ARGV[2], '- 0')
return {}
