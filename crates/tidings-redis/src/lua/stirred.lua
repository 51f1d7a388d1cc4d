-- Which parents are to be looked at.
--
-- KEYS 1 a key of one of the buckets, for the place of this script in a cluster
-- ARGV 1 the prefix of all keys, 2 how far ahead to look (microseconds), 3 most parents
--      of a bucket, then the buckets
-- gives {parents, {bucket, reign, …}}: the buckets whose server has another reign than
-- when they were last looked at, and its name
local reign = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local until_then = clock() + tonumber(ARGV[2])
local due, changed = {}, {}
for at = 4, #ARGV do
  local tag = '{' .. ARGV[1] .. ':' .. ARGV[at] .. '}'
  local found =
    redis.call('ZRANGEBYSCORE', tag .. ':stir', '-inf', until_then, 'LIMIT', 0, ARGV[3])
  for _, parent in ipairs(found) do
    due[#due + 1] = parent
  end
  local known = redis.call('GET', tag .. ':reign')
  if known and known ~= reign then
    changed[#changed + 1] = ARGV[at]
    changed[#changed + 1] = reign
  end
end
return { due, changed }
