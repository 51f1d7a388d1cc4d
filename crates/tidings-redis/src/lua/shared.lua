-- What every script that touches a task begins with.
--
-- A task's epoch is bound to the reign of the server that holds it: the time
-- in which one process is master, which its replication id names. Another
-- reign (a restart, a replica that took over) may have lost what was
-- delivered already, so the epoch changes with it, here and at once, before
-- anybody can be given an offset a second time. It goes on only where nothing
-- can be lost: every write was on disk before it was answered ('d'), and the
-- server has come back by itself and is no promoted replica (whose second
-- replication id is its former master's).
--
-- It is asked of the server within the script, because nothing outside it is
-- certain to be still true when the script runs.
--
-- fields of a task: e epoch, n newest offset, b bytes of the log, r reign,
-- d durable under that reign, s a snapshot, m the offset that it is of, z the bytes of
-- the events after that, u events of the log as retention counts
-- them, o the output of the newest event if that is an output_delta, p its parent,
-- q the rules for its next events, l its lease (ms), or nothing
local function standing(meta, fresh_epoch, durable, publish, channel)
  local known = redis.call('HMGET', meta, 'e', 'n', 'r', 'd', 'b', 'u', 'o', 'p', 'l', 'm', 'z')
  if not known[1] then
    return nil
  end
  local info = redis.call('INFO', 'replication')
  local reign = string.match(info, 'master_replid:(%x+)')
  local epoch = known[1]
  if known[3] ~= reign then
    local restarted = string.match(info, 'master_replid2:0+\r')
    if not (known[4] == '1' and restarted) then
      epoch = fresh_epoch
      redis.call('HSET', meta, 'e', epoch)
      redis.call(publish, channel, epoch .. ' ' .. known[2])
    end
    redis.call('HSET', meta, 'r', reign, 'd', durable)
  end
  return {
    epoch = epoch, head = tonumber(known[2]), bytes = tonumber(known[5]), reign = reign,
    units = tonumber(known[6]), output = known[7], parent = known[8], lease = known[9] or '',
    kept = tonumber(known[10] or known[2]), since = tonumber(known[11] or '0'),
  }
end

-- The oldest offset in the log; one past the head when there is none.
local function first_of(log, head)
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  if not oldest then
    return head + 1
  end
  return tonumber(string.match(oldest[1], '%d+'))
end

-- Drops events from the front for as long as `goes(offset, bytes, units)`. Gives the
-- bytes and the units left. A run of deltas of one output is one unit until the last
-- of it has gone. Without `units` none are counted.
local function drop(log, bytes, goes, units)
  units = units or 0
  local dropped = false
  while true do
    local page = redis.call('XRANGE', log, '-', '+', 'COUNT', 64)
    local keep_from = nil
    local last = nil
    for _, entry in ipairs(page) do
      last = tonumber(string.match(entry[1], '%d+'))
      if dropped and entry[2][5] ~= 'c' then
        units = units - 1
      end
      dropped = false
      if not goes(last, bytes, units) then
        keep_from = last
        break
      end
      bytes = bytes - #entry[2][2]
      dropped = true
    end
    if not last then
      return 0, 0
    end
    redis.call('XTRIM', log, 'MINID', keep_from or last + 1)
    if keep_from then
      return bytes, units
    end
  end
end
