-- Adds events to a task's log, or changes nothing.
--
-- KEYS 1 the task, 2 its log, 3 the index of tasks, 4 its producers' event ids,
--      5 which parts of its outputs are kept, 6 their text,
--      7 the index of tasks with an open question, 8 those by when one expires,
--      9 the index of tasks with a lease, by when it ends (microseconds of Redis's clock)
-- ARGV 1 epoch, 2 offset of the first event, 3 snapshot after them (or nothing), 4 attempt,
--      5 most events, 6 most bytes, 7 and 8 how long task and log are kept (ms),
--      9 an epoch to go on in if it must change, 10 whether writes are durable,
--      11 PUBLISH or SPUBLISH, 12 the task's channel, 13 the channel of new tasks,
--      14 the task's id, 15 most event ids, 16 how long they are kept (ms),
--      17 '1' if a question is open, 18 when the first expires (ms), or nothing,
--      19 the parent, or nothing, 20 what it counts of the task, 21 '1' if the events
--      say what children it has, 22 the task's rules after the events, or nothing if they
--      are as before, 23 its lease in them (ms), or nothing, 24 'renewed' if its producer
--      was heard, 'kept', or 'over' if the task has ended,
--      25 how many events, then for each its id (or nothing), its output (or nothing) and
--      its JSON, then what changes in outputs, see write_outputs
-- gives {'ok', '1' if the next append should have a snapshot,
-- 1 if the task is new and has children already}, {'state'} if this one needs one, {'conflict', expected offset, epoch}, {'duplicate', offset, epoch}
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
local last_arg = 25 + 3 * tonumber(ARGV[25])
for n = 26, last_arg, 3 do
  if ARGV[n] ~= '' then
    local before = redis.call('ZSCORE', ids, ARGV[n])
    if before then
      return { 'duplicate', tonumber(before), epoch }
    end
  end
end
local reign = at and at.reign
local bytes = at and at.bytes or 0
local units = at and at.units or 0
local output = at and at.output or ''
local added = 0
for n = 26, last_arg, 3 do
  added = added + #ARGV[n + 2]
end
if ARGV[3] == '' then
  -- The events after the snapshot are the rest of the state, and must stay.
  local count = tonumber(ARGV[25])
  local trims = units + count > most_events + 64 or bytes + added > most_bytes
  if not at or trims or (at.kept < head and redis.call('EXISTS', log) == 0) then
    return { 'state' }
  end
end
if not at then
  reign = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  -- First of all writes, because it takes memory. Redis refuses a script that has no memory
  -- only at its first write.
  redis.call('ZADD', index, 0, ARGV[14])
  -- What a task of the same name may have left behind is not of this one.
  redis.call('DEL', log, ids, KEYS[5], KEYS[6])
elseif redis.call('EXISTS', log) == 0 then
  -- Its events have expired before it, and count no more.
  bytes, units = 0, 0
end
for n = 26, last_arg, 3 do
  local json = ARGV[n + 2]
  -- Adjacent deltas of one output are one event to retention by count.
  if ARGV[n + 1] ~= '' and ARGV[n + 1] == output then
    redis.call('XADD', log, offset .. '-0', 'j', json, 'w', attempt, 'c', '1')
  else
    redis.call('XADD', log, offset .. '-0', 'j', json, 'w', attempt)
    units = units + 1
  end
  output = ARGV[n + 1]
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
if units > most_events + 64 or bytes > most_bytes then
  local enough = most_bytes - most_bytes / 8
  bytes, units = drop(log, bytes, function(dropped, left, units_left)
    return dropped < head and (units_left > most_events or left > enough)
  end, units)
end
write_outputs(KEYS[5], KEYS[6], last_arg + 1)
redis.call('HSET', meta, 'e', epoch, 'n', head, 'b', bytes, 'r', reign, 'd', ARGV[10],
  'u', units, 'o', output, 'p', ARGV[19])
local wanted = ''
if ARGV[3] ~= '' then
  redis.call('HSET', meta, 's', ARGV[3], 'm', head, 'z', 0)
else
  local since = at.since + added
  redis.call('HSET', meta, 'm', at.kept, 'z', since)
  -- So that states are about half of what is written, and are read with few events.
  if head - at.kept >= 64 and since >= redis.call('HSTRLEN', meta, 's') then
    wanted = '1'
  end
end
local lease = at and at.lease or ''
if ARGV[22] ~= '' then
  lease = ARGV[23]
  redis.call('HSET', meta, 'q', ARGV[22])
end
if ARGV[24] == 'over' then
  lease = ''
end
local had = at and at.lease or ''
if lease ~= had then
  redis.call('HSET', meta, 'l', lease)
end
if lease == '' then
  if had ~= '' then
    redis.call('ZREM', KEYS[9], ARGV[14])
  end
elseif ARGV[24] == 'renewed' or lease ~= had then
  redis.call('ZADD', KEYS[9], clock() + 1000 * tonumber(lease), ARGV[14])
end
local tag, id, parent, before = tag_of(meta), ARGV[14], ARGV[19], at and at.parent or ''
if before ~= '' and before ~= parent then
  leave(tag, before, id)
  stir(tag, before, STIR_AFTER)
end
if parent ~= '' and join(tag, parent, id, ARGV[20], clock() / 1000 + tonumber(ARGV[7])) then
  redis.call(publish, ARGV[13], id .. ' ' .. parent)
end
if parent ~= '' or ARGV[21] == '1' then
  redis.call('SET', tag .. ':reign', reign, 'NX')
end
local awaited = 0
if ARGV[21] == '1' then
  redis.call('SADD', tag .. ':parents', id)
  stir(tag, id, STIR_AFTER)
elseif not at then
  awaited = redis.call('SISMEMBER', tag .. ':parents', id)
  if awaited == 1 then
    stir(tag, id, STIR_AFTER)
  end
end
if ARGV[17] == '1' then
  redis.call('ZADD', KEYS[7], 0, ARGV[14])
else
  redis.call('ZREM', KEYS[7], ARGV[14])
end
if ARGV[18] ~= '' then
  redis.call('ZADD', KEYS[8], ARGV[18], ARGV[14])
else
  redis.call('ZREM', KEYS[8], ARGV[14])
end
redis.call('PEXPIRE', meta, ARGV[7])
redis.call('PEXPIRE', log, ARGV[8])
redis.call('PEXPIRE', KEYS[5], ARGV[7])
redis.call('PEXPIRE', KEYS[6], ARGV[7])
if not at then
  redis.call(publish, ARGV[13], ARGV[14])
end
return { 'ok', wanted, awaited }
