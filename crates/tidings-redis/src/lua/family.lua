-- What a parent counts of its children in some buckets.
--
-- KEYS 1 a key of one of the buckets, for the place of this script in a cluster
-- ARGV 1 the prefix of all keys, 2 the parent, then the buckets
-- gives for each bucket with something in it {bucket, n0, n1, n2, n3, n4, w, d, mark}:
-- the mark says since when somebody is to look at the counts, empty if nobody is
local parent = ARGV[2]
local now = clock() / 1000
local found = {}
for at = 3, #ARGV do
  local tag = '{' .. ARGV[1] .. ':' .. ARGV[at] .. '}'
  local kids = tag .. ':kids:' .. parent
  for _, child in ipairs(redis.call('ZRANGEBYSCORE', kids, '-inf', now, 'LIMIT', 0, 1000)) do
    leave(tag, parent, child)
  end
  local kin = tag .. ':kin:' .. parent
  local sums = redis.call('HMGET', kin, 'n0', 'n1', 'n2', 'n3', 'n4', 'w', 'd')
  local mark = redis.call('ZSCORE', tag .. ':stir', parent)
  if mark or redis.call('EXISTS', kin) == 1 then
    local part = { ARGV[at] }
    for n = 1, 7 do
      part[n + 1] = sums[n] or '0'
    end
    part[9] = mark or ''
    found[#found + 1] = part
  end
end
return found
