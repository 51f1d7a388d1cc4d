-- Reads an output: its part, and the blocks that hold what is asked for.
--
-- KEYS 1 which parts of outputs are kept, 2 their text
-- ARGV 1 the output, 2 and 3 the first byte and the one after the last
-- gives {part, block, block, …}, or nothing
local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known then
  return {}
end
local start, length = string.match(known, '^%d+ (%d+) (%d+)')
local from = math.min(math.max(tonumber(ARGV[2]), tonumber(start)), tonumber(length))
local to = math.max(math.min(tonumber(ARGV[3]), tonumber(length)), from)
local found = { known }
for block = math.floor(from / 1024), math.ceil(to / 1024) - 1 do
  found[#found + 1] = redis.call('HGET', KEYS[2], ARGV[1] .. ' ' .. block) or ''
end
return found
