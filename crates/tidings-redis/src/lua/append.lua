-- Adds events to a task's log, or changes nothing.
--
-- KEYS 1 the task, 2 its log, 3 the index of tasks, 4 its producers' event ids
-- ARGV 1 epoch, 2 offset of the first event, 3 snapshot, 4 attempt,
--      5 most events, 6 most bytes, 7 and 8 how long task and log are kept (ms),
--      9 an epoch to go on in if it must change, 10 whether writes are durable,
--      11 PUBLISH or SPUBLISH, 12 the task's channel, 13 the channel of new tasks,
--      14 the task's id, 15 most event ids, 16 how long they are kept (ms),
--      then for each event its id (or nothing) and its JSON
-- gives {'ok'}, {'conflict', expected offset, epoch}, {'duplicate', offset, epoch}
local meta, log, index, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local epoch, offset, attempt = ARGV[1], tonumber(ARGV[2]), ARGV[4]
local most_events, most_bytes = tonumber(ARGV[5]), tonumber(ARGV[6])
local publish, channel = ARGV[11], ARGV[12]
local at = standing(meta, ARGV[9], ARGV[10], publish, channel)
local head = at and at.head or 0
if (at and at.epoch ~= epoch) or head + 1 ~= offset then
  if at and at.epoch == epoch and head >= offset then
    -- An attempt whose answer was lost is no conflict.
    local there = redis.call('XRANGE', log, offset, offset)[1]
    if there and there[2][4] == attempt then
      return { 'ok' }
    end
  end
  return { 'conflict', head + 1, at and at.epoch or '' }
end
for n = 17, #ARGV, 2 do
  if ARGV[n] ~= '' then
    local before = redis.call('ZSCORE', ids, ARGV[n])
    if before then
      return { 'duplicate', tonumber(before), epoch }
    end
  end
end
local reign = at and at.reign
local bytes = at and at.bytes or 0
if not at then
  reign = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  -- What a task of the same name may have left behind is not of this one.
  redis.call('DEL', log, ids)
  redis.call('ZADD', index, 0, ARGV[14])
end
for n = 17, #ARGV, 2 do
  local json = ARGV[n + 1]
  redis.call('XADD', log, offset .. '-0', 'j', json, 'w', attempt)
  bytes = bytes + #json
  if ARGV[n] ~= '' then
    redis.call('ZADD', ids, offset, ARGV[n])
    redis.call('ZREMRANGEBYRANK', ids, 0, -1 - tonumber(ARGV[15]))
    redis.call('PEXPIRE', ids, ARGV[16])
  end
  redis.call(publish, channel, epoch .. ' ' .. offset .. ' ' .. json)
  head = offset
  offset = offset + 1
end
-- Streams are trimmed in steps, so that few publishes pay for it; nodes keep
-- to the exact bounds by themselves.
local length = redis.call('XLEN', log)
if length > most_events + 64 or bytes > most_bytes then
  local floor = head - most_events
  local enough = most_bytes - most_bytes / 8
  bytes = drop(log, bytes, function(dropped, left)
    return dropped < head and (dropped <= floor or left > enough)
  end)
end
redis.call('HSET', meta, 'e', epoch, 'n', head, 'b', bytes, 'r', reign, 'd', ARGV[10], 's', ARGV[3])
redis.call('PEXPIRE', meta, ARGV[7])
redis.call('PEXPIRE', log, ARGV[8])
if not at then
  redis.call(publish, ARGV[13], ARGV[14])
end
return { 'ok' }
