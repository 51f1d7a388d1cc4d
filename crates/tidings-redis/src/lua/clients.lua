-- What every script that touches a client begins with.
--
-- fields of a client: o where it is (node/mark; empty while away, '-' once
-- forgotten), t its token's hash, s its subject, k what is kept of it, v the
-- last message it got, n the newest message's number, b bytes of its inbox,
-- r and d the reign under which that was written, see tasks
--
-- In another reign messages that were numbered already may be missing. Their
-- numbers must not be given again, so the numbering leaps: whoever reads the
-- inbox sees the hole, and names it.
local function newest(client, durable)
  local known = redis.call('HMGET', client, 'n', 'r', 'd')
  local info = redis.call('INFO', 'replication')
  local reign = string.match(info, 'master_replid:(%x+)')
  local head = tonumber(known[1] or '0')
  if known[2] and known[2] ~= reign and head > 0 then
    local restarted = string.match(info, 'master_replid2:0+\r')
    if not (known[3] == '1' and restarted) then
      head = head + 1000000
    end
  end
  redis.call('HSET', client, 'n', head, 'r', reign, 'd', durable)
  return head
end

-- What of the inbox is after a message: number, text, number, text.
local function after(inbox, seen)
  local found = {}
  for _, entry in ipairs(redis.call('XRANGE', inbox, '(' .. seen .. '-0', '+')) do
    found[#found + 1] = string.match(entry[1], '%d+')
    found[#found + 1] = entry[2][2]
  end
  return found
end
