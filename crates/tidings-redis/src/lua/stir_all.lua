-- Has every parent looked at that these buckets know of.
--
-- KEYS 1 a key of one of the buckets, for the place of this script in a cluster
-- ARGV 1 the prefix of all keys, then the buckets
for at = 2, #ARGV do
  local tag = '{' .. ARGV[1] .. ':' .. ARGV[at] .. '}'
  for _, parent in ipairs(redis.call('SUNION', tag .. ':kinned', tag .. ':parents')) do
    stir(tag, parent, 0)
  end
end
return {}
