-- Trees of tasks. A child has one slot, its parent another, so what a parent counts
-- lies with its children: one partial sum in each bucket that has children of it.
--
-- <tag>:brood         children by '<parent>/<child>', to list them in order
-- <tag>:kin:<parent>  for each child '=<child>', what counts of it: 'status weight done';
--                     and the sums n0 to n4 (children by status), w and d
-- <tag>:kids:<parent> children by when they expire (ms)
-- <tag>:stir          parents by when their counts are to be looked at (microseconds)
-- <tag>:kinned        parents that have children in this bucket
-- <tag>:parents       tasks of this bucket that have, or had, children
-- <tag>:reign         the reign under which the latest of this was looked at, see tasks:
--                     under another, what was written last may be lost
local STIR_AFTER = 2000000

local function tag_of(meta)
  return string.match(meta, '^(.-}):task:')
end

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Has some node look at a parent's counts, even if the node that changed them dies.
local function stir(tag, parent, after)
  redis.call('ZADD', tag .. ':stir', clock() + after, parent)
end

local function count(kin, known, sign)
  local status, weight, done = string.match(known, '^(%d) (%d+) (%d+)$')
  redis.call('HINCRBY', kin, 'n' .. status, sign)
  for field, amount in pairs({ w = weight, d = done }) do
    if amount ~= '0' then
      redis.call('HINCRBY', kin, field, (sign < 0 and '-' or '') .. amount)
    end
  end
end

local function leave(tag, parent, child)
  local kin, kids = tag .. ':kin:' .. parent, tag .. ':kids:' .. parent
  redis.call('ZREM', kids, child)
  redis.call('ZREM', tag .. ':brood', parent .. '/' .. child)
  local known = redis.call('HGET', kin, '=' .. child)
  if not known then
    return
  end
  count(kin, known, -1)
  redis.call('HDEL', kin, '=' .. child)
  if redis.call('ZCARD', kids) == 0 then
    redis.call('DEL', kin)
    redis.call('SREM', tag .. ':kinned', parent)
  end
end

-- Gives whether the child is new to its parent.
local function join(tag, parent, child, now, expires)
  local kin = tag .. ':kin:' .. parent
  local known = redis.call('HGET', kin, '=' .. child)
  redis.call('ZADD', tag .. ':kids:' .. parent, expires, child)
  if known == now then
    return false
  end
  if known then
    count(kin, known, -1)
  else
    redis.call('ZADD', tag .. ':brood', 0, parent .. '/' .. child)
    redis.call('SADD', tag .. ':kinned', parent)
  end
  count(kin, now, 1)
  redis.call('HSET', kin, '=' .. child, now)
  stir(tag, parent, STIR_AFTER)
  return not known
end
