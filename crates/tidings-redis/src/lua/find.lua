-- Where a task stands.
--
-- KEYS 1 the task, 2 its log, 3 the index of tasks, 4 which parts of its outputs are kept,
--      5 the index of tasks with an open question, 6 those by when one expires,
--      7 the index of tasks with a lease
-- ARGV 1 an epoch to go on in if it must change, 2 whether writes are durable,
--      3 PUBLISH or SPUBLISH, 4 the task's channel, 5 the task's id
-- gives {epoch, newest offset, oldest offset in the log, snapshot, {output, part, …}, rules,
-- {event after the snapshot, …}}, or nothing
local at = standing(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
if not at then
  -- It has expired: so do its places in the indexes.
  redis.call('ZREM', KEYS[3], ARGV[5])
  redis.call('ZREM', KEYS[5], ARGV[5])
  redis.call('ZREM', KEYS[6], ARGV[5])
  redis.call('ZREM', KEYS[7], ARGV[5])
  return {}
end
local first, known = first_of(KEYS[2], at.head), redis.call('HMGET', KEYS[1], 's', 'q')
local events = {}
if at.kept < at.head then
  for n, entry in ipairs(redis.call('XRANGE', KEYS[2], at.kept + 1, '+')) do
    events[n] = entry[2][2]
  end
end
local outputs, rules = redis.call('HGETALL', KEYS[4]), known[2] or ''
return { at.epoch, at.head, first, known[1], outputs, rules, events }
