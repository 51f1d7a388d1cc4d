-- Whole outputs of a task.
--
-- One hash says for each output which part is kept: "began start length complete". The
-- other holds the text in blocks of 1,024 bytes, counted from the beginning of the
-- whole output. Text that is replaced, and text that is not kept any more, therefore
-- lies in blocks whose numbers follow from the part.
local BLOCK = 1024

local function part_of(outputs, id)
  local known = redis.call('HGET', outputs, id)
  if not known then
    return nil
  end
  local start, length = string.match(known, '^%d+ (%d+) (%d+)')
  return tonumber(start), tonumber(length)
end

local function forget_blocks(texts, id, from, to)
  for block = from, to do
    redis.call('HDEL', texts, id .. ' ' .. block)
  end
end

local function forget_output(outputs, texts, id)
  local start, length = part_of(outputs, id)
  if start then
    forget_blocks(texts, id, math.floor(start / BLOCK), math.ceil(length / BLOCK) - 1)
    redis.call('HDEL', outputs, id)
  end
end

-- Writes what the arguments say from `n` on: whether outputs that are not named are
-- forgotten ('1'), how many to forget and their ids, and then for each that changes
-- its id, began, start, length, complete, where its text begins, and the text.
local function write_outputs(outputs, texts, n)
  local only, forgotten = ARGV[n] == '1', tonumber(ARGV[n + 1] or '0')
  local changed = n + 2 + forgotten
  if only then
    local named = {}
    for at = changed, #ARGV, 7 do
      named[ARGV[at]] = true
    end
    for _, id in ipairs(redis.call('HKEYS', outputs)) do
      if not named[id] then
        forget_output(outputs, texts, id)
      end
    end
  end
  for at = n + 2, changed - 1 do
    forget_output(outputs, texts, ARGV[at])
  end
  for at = changed, #ARGV, 7 do
    local id, start, length = ARGV[at], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local from, text = tonumber(ARGV[at + 5]), ARGV[at + 6]
    local first, kept = math.floor(from / BLOCK), from % BLOCK
    local head = ''
    if kept > 0 and text ~= '' then
      head = string.sub(redis.call('HGET', texts, id .. ' ' .. first) or '', 1, kept)
      -- What is missing of the block lies before the text that is kept.
      head = head .. string.rep('\0', kept - #head)
    end
    local start_before, length_before = part_of(outputs, id)
    if start_before then
      local last = math.ceil(length_before / BLOCK) - 1
      local kept_from, kept_to = math.floor(start / BLOCK), math.ceil(length / BLOCK) - 1
      forget_blocks(texts, id, math.floor(start_before / BLOCK), math.min(last, kept_from - 1))
      forget_blocks(texts, id, math.max(math.floor(start_before / BLOCK), kept_to + 1), last)
    end
    if text ~= '' then
      local bytes = head .. text
      for done = 1, #bytes, BLOCK do
        local block = first + (done - 1) / BLOCK
        redis.call('HSET', texts, id .. ' ' .. block, string.sub(bytes, done, done + BLOCK - 1))
      end
    end
    local part = ARGV[at + 1] .. ' ' .. ARGV[at + 2] .. ' ' .. ARGV[at + 3] .. ' ' .. ARGV[at + 4]
    redis.call('HSET', outputs, id, part)
  end
end
