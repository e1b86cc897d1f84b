#!lua name=gristmill_v2

-- What must be one step on the server. The library's name carries the protocol's version: nodes of
-- two versions may use one server. Every function validates all it is given before its first write,
-- for an error in the middle undoes nothing.
--
-- KEYS[1] of a shard's function is the shard's prefix, {gm:0017}; its keys are the prefix and a
-- suffix, so that all of them share one slot. Numbers travel as decimal text and stay below 2^53.

local CHUNK = 2000
-- Arguments of one item of a submit.
local ITEM = 10

local function int(number)
  return string.format('%.0f', number)
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A variadic command over args[from..to]; the stack of Lua bounds one call.
local function many(command, key, args, from, to)
  while from <= to do
    local last = math.min(from + CHUNK - 1, to)
    redis.call(command, key, unpack(args, from, last))
    from = last + 1
  end
end

-- ARGV: owner, ttl in ms.
local function claim(keys, args)
  local head = keys[1] .. ':head'
  local owner, ttl = args[1], tonumber(args[2])
  local known = redis.call('HMGET', head, 'owner', 'epoch', 'until')
  local now = now_ms()
  local held = known[1] and known[1] ~= '' and known[1] ~= owner
  if held and tonumber(known[3]) > now then
    return { 'held', int(now) }
  end
  local epoch = math.max((tonumber(known[2] or '0')) + 1, now)
  local till = int(now + ttl)
  redis.call('HSET', head, 'owner', owner, 'epoch', int(epoch), 'seq', '0', 'read', '0',
    'until', till)
  return { 'claimed', int(now), int(epoch), till }
end

-- ARGV: owner, ttl in ms.
local function renew(keys, args)
  local head = keys[1] .. ':head'
  local known = redis.call('HMGET', head, 'owner', 'until')
  local now = now_ms()
  if known[1] ~= args[1] then
    return { 'lost', int(now) }
  end
  local till = int(math.max(now + tonumber(args[2]), tonumber(known[2])))
  redis.call('HSET', head, 'until', till)
  return { 'renewed', int(now), till }
end

-- ARGV: owner, channel, notice.
local function release(keys, args)
  local head = keys[1] .. ':head'
  if redis.call('HGET', head, 'owner') ~= args[1] then
    return 0
  end
  redis.call('HSET', head, 'owner', '', 'until', '0')
  redis.call('PUBLISH', args[2], args[3])
  return 1
end

-- ARGV: high-water mark, channel, notice; then for every item: lane (c or i), item, identity or '',
-- hash, contributor of the mark or '', the mark's scope (g, p or a), its name, its moment, the
-- contributor and the number of the data key's slot that its reader needs, or ''.
local function submit(keys, args)
  local prefix = keys[1]
  if (#args - 3) % ITEM ~= 0 then
    return redis.error_reply('ERR gristmill: a submit of another shape')
  end
  for at = 4, #args, ITEM do
    -- A node may keep slots that were given out before a failover that forgot them.
    if args[at + 9] ~= '' and redis.call('HEXISTS', prefix .. ':keys', args[at + 9]) == 0 then
      return redis.error_reply('ERR gristmill: a slot without a key')
    end
  end
  local high = tonumber(args[1])
  local before = tonumber(redis.call('HGET', prefix .. ':head', 'arrived') or '0')
  local waiting = redis.call('XLEN', prefix .. ':intake')
  local arrived, answers = before, {}
  for at = 4, #args, ITEM do
    local lane, identity, hash, marked = args[at], args[at + 2], args[at + 3], args[at + 4]
    local answer = nil
    if identity ~= '' then
      local known = redis.call('HGET', prefix .. ':known', identity)
      if known then
        local same = string.sub(known, 1, 16) == hash
        answer = (same and 's' or 'x') .. string.sub(known, 17)
      end
    end
    if not answer and lane == 'i' and waiting >= high then
      answer = 'f'
    end
    if not answer then
      arrived = arrived + 1
      local number = int(arrived)
      if lane == 'i' then
        waiting = waiting + 1
      end
      local name = lane == 'i' and ':intake' or ':control'
      local contributor, slot = args[at + 8], args[at + 9]
      if slot ~= '' then
        redis.call('XADD', prefix .. name, number .. '-0', 'd', args[at + 1], 'w', contributor,
          'k', slot)
      elseif contributor ~= '' then
        redis.call('XADD', prefix .. name, number .. '-0', 'd', args[at + 1], 'w', contributor)
      else
        redis.call('XADD', prefix .. name, number .. '-0', 'd', args[at + 1])
      end
      if identity ~= '' then
        redis.call('HSET', prefix .. ':known', identity, hash .. number)
      end
      if marked ~= '' then
        local row = redis.call('HGET', prefix .. ':marks', marked)
        local marks = row and cmsgpack.unpack(row) or {}
        marks[#marks + 1] = { args[at + 5], args[at + 6], number, args[at + 7] }
        redis.call('HSET', prefix .. ':marks', marked, cmsgpack.pack(marks))
      end
      answer = 'a' .. number
    end
    answers[#answers + 1] = answer
  end
  if arrived > before then
    redis.call('HSET', prefix .. ':head', 'arrived', int(arrived))
    redis.call('PUBLISH', args[2], args[3] .. ':' .. int(arrived))
  end
  return answers
end

-- Items of a lane above a number, as numbers and bytes; adds to what is needed with them.
local function lane(key, after, limit, people, slots)
  local from = after == '' and '-' or '(' .. after .. '-0'
  local found, items, ids = redis.call('XRANGE', key, from, '+', 'COUNT', limit), {}, {}
  for nth, entry in ipairs(found) do
    local fields = entry[2]
    ids[nth] = entry[1]
    items[#items + 1] = string.match(entry[1], '^%d+')
    items[#items + 1] = fields[2]
    if fields[4] and not people[fields[4]] then
      people[fields[4]] = true
      people[#people + 1] = fields[4]
    end
    if fields[6] then
      slots[#slots + 1] = fields[6]
    end
  end
  return items, ids
end

-- Whether a failover forgot what the owner knows: the number of the last read that brought items, or
-- of the last commit. What the owner holds in memory may be gone then, and its number another item's.
local function forgot(known, stands)
  return tonumber(stands or '0') < tonumber(known)
end

-- ARGV: owner, epoch, whether to note (0 or 1); the number above which control items are read, or
-- '', and how many at most; the same of intake items; the last read that brought items, the last
-- commit, and this read's number.
local function fetch(keys, args)
  local prefix = keys[1]
  local head = redis.call('HMGET', prefix .. ':head', 'owner', 'epoch', 'arrived', 'slots', 'read',
    'seq')
  if head[1] ~= args[1] or head[2] ~= args[2] then
    return { 'fenced' }
  end
  if forgot(args[8], head[5]) or forgot(args[9], head[6]) then
    return { 'fenced' }
  end
  local people, slots = {}, {}
  local control, ids = lane(prefix .. ':control', args[4], args[5], people, slots)
  local intake = {}
  if #ids < tonumber(args[5]) and args[7] ~= '0' then
    intake, ids = lane(prefix .. ':intake', args[6], args[7], people, slots)
    if args[3] == '1' then
      many('SADD', prefix .. ':noted', ids, 1, #ids)
    end
  end
  if #control + #intake > 0 then
    local read = math.max(tonumber(args[10]), tonumber(head[5] or '0'))
    redis.call('HSET', prefix .. ':head', 'read', int(read))
  end
  local rows, marks, found = {}, {}, {}
  if #people > 0 then
    rows = redis.call('HMGET', prefix .. ':people', unpack(people))
    if redis.call('EXISTS', prefix .. ':marks') == 1 then
      marks = redis.call('HMGET', prefix .. ':marks', unpack(people))
    end
  end
  if #slots > 0 then
    found = redis.call('HMGET', prefix .. ':keys', unpack(slots))
  end
  local given = head[4] or '0'
  local names = {}
  for nth, name in ipairs(people) do
    names[nth] = name
  end
  return { 'fetched', head[3] or '0', given, control, intake, names, rows, marks, slots, found }
end

-- Whether a mark takes a grant back: the scope of one grant always does, a wider one what arrived
-- before it.
local function breaks(mark, grant, program, position)
  if mark[1] == 'g' then
    return mark[2] == grant
  end
  local later = tonumber(mark[3]) > position
  return later and (mark[1] == 'a' or mark[2] == program)
end

-- args[from..to] are guards: contributor, grant, program, position, arrival.
local function broken(prefix, args, from, to)
  local found = {}
  if from > to or redis.call('EXISTS', prefix .. ':marks') == 0 then
    return found
  end
  for at = from, to, 5 do
    local row = redis.call('HGET', prefix .. ':marks', args[at])
    for _, mark in ipairs(row and cmsgpack.unpack(row) or {}) do
      if breaks(mark, args[at + 1], args[at + 2], tonumber(args[at + 3])) then
        found[#found + 1] = args[at + 4]
        for field = 1, 4 do
          found[#found + 1] = mark[field]
        end
        break
      end
    end
  end
  return found
end

-- What each section of a commit after the guards does, in this order: what is taken away goes before
-- what is put.
local SECTIONS = {
  { 'XDEL', ':control' }, { 'XDEL', ':intake' }, { 'ZREM', ':timers' }, { 'HDEL', ':outbox' },
  { 'SREM', ':erasures' }, { 'HDEL', ':active' }, { 'ZREM', ':active:order' },
  { 'HSET', ':active' }, { 'ZADD', ':active:order' },
  { 'HSET', ':finished' }, { 'ZADD', ':finished:order' }, { 'HSET', ':people' },
  { 'ZADD', ':timers' }, { 'HSET', ':outbox' }, { 'ZADD', ':sequenced' }, { 'SADD', ':erasures' },
}
local PAIRS = { HSET = true, ZADD = true }

-- ARGV: owner, epoch, seq, ttl in ms, state, admitted or '', the last read that brought items; then
-- the guards and every section, each behind the number of its arguments.
local function commit(keys, args)
  local prefix = keys[1]
  local head = prefix .. ':head'
  local known = redis.call('HMGET', head, 'owner', 'epoch', 'seq', 'until', 'read')
  if known[1] ~= args[1] or known[2] ~= args[2] then
    return { 'fenced' }
  end
  local seq, last = tonumber(args[3]), tonumber(known[3])
  if seq <= last then
    return { 'applied' }
  end
  if seq ~= last + 1 or forgot(args[7], known[5]) then
    return { 'fenced' }
  end
  local at, bounds = 8, {}
  for section = 0, #SECTIONS do
    local count = tonumber(args[at] or '')
    local group = section == 0 and 5 or (PAIRS[SECTIONS[section][1]] and 2 or 1)
    if not count or count % group ~= 0 then
      return redis.error_reply('ERR gristmill: a commit of another shape')
    end
    bounds[section] = { at + 1, at + count }
    at = at + 1 + count
  end
  if at ~= #args + 1 then
    return redis.error_reply('ERR gristmill: a commit of another shape')
  end
  local found = broken(prefix, args, bounds[0][1], bounds[0][2])
  if #found > 0 then
    return { 'broken', unpack(found, 1, math.min(#found, 5 * 1000)) }
  end
  for section = 1, #SECTIONS do
    local command, suffix = SECTIONS[section][1], SECTIONS[section][2]
    many(command, prefix .. suffix, args, bounds[section][1], bounds[section][2])
    if suffix == ':intake' then
      many('SREM', prefix .. ':noted', args, bounds[section][1], bounds[section][2])
    end
  end
  local till = int(math.max(now_ms() + tonumber(args[4]), tonumber(known[4])))
  redis.call('HSET', head, 'seq', args[3], 'until', till, 'state', args[5])
  if args[6] ~= '' then
    redis.call('HSET', head, 'admitted', args[6])
  end
  return { 'applied' }
end

-- ARGV: active or finished, the number to begin after or '', how many. Numbers and rows.
local function page(keys, args)
  local rows = keys[1] .. ':' .. args[1]
  local from = args[2] == '' and '-inf' or '(' .. args[2]
  local numbers = redis.call('ZRANGEBYSCORE', rows .. ':order', from, '+inf', 'LIMIT', 0, args[3])
  local answer = {}
  for first = 1, #numbers, CHUNK do
    local last = math.min(first + CHUNK - 1, #numbers)
    local values = redis.call('HMGET', rows, unpack(numbers, first, last))
    for nth, value in ipairs(values) do
      answer[#answer + 1] = numbers[first + nth - 1]
      answer[#answer + 1] = value
    end
  end
  return answer
end

-- KEYS[1]: a part of the content index. ARGV: for every claim the content, who may be holding it,
-- and who is to hold it. '' for held by the latter, else the holder.
local function hold(keys, args)
  if #args % 3 ~= 0 then
    return redis.error_reply('ERR gristmill: a claim of another shape')
  end
  local answers = {}
  for at = 1, #args, 3 do
    local holder = redis.call('HGET', keys[1], args[at])
    if holder and holder ~= args[at + 1] and holder ~= args[at + 2] then
      answers[#answers + 1] = holder
    else
      if holder ~= args[at + 2] then
        redis.call('HSET', keys[1], args[at], args[at + 2])
      end
      answers[#answers + 1] = ''
    end
  end
  return answers
end

-- ARGV: fresh data keys. Answers the number of the first one's slot: by the clock, so that a server
-- that failed over and forgot gives none out twice.
local function allocate(keys, args)
  local known = tonumber(redis.call('HGET', keys[1] .. ':head', 'slots') or '0')
  local last = math.max(known, now_ms() * 64) + #args
  redis.call('HSET', keys[1] .. ':head', 'slots', int(last))
  local pairs = {}
  for nth, key in ipairs(args) do
    pairs[#pairs + 1] = int(last - #args + nth)
    pairs[#pairs + 1] = key
  end
  many('HSET', keys[1] .. ':keys', pairs, 1, #pairs)
  return last - #args + 1
end

-- ARGV: numbers of slots whose keys are to go. In the same step the shard notes that the append-only
-- file has them still: how many ever went so, and since when. Answers the highest slot given out.
local function destroy(keys, args)
  local note, gone = keys[1] .. ':erased', 0
  for from = 1, #args, CHUNK do
    local last = math.min(from + CHUNK - 1, #args)
    gone = gone + redis.call('HDEL', keys[1] .. ':keys', unpack(args, from, last))
  end
  if gone > 0 then
    redis.call('HINCRBY', note, 'count', gone)
    redis.call('HSETNX', note, 'since', int(now_ms()))
  end
  return redis.call('HGET', keys[1] .. ':head', 'slots')
end

-- The append-only file was rewritten. ARGV: how many had gone when the note was read before that, and
-- when it was; what went since is in the file.
local function erased(keys, args)
  local note = keys[1] .. ':erased'
  if redis.call('HGET', note, 'count') == args[1] then
    redis.call('HDEL', note, 'since')
  else
    redis.call('HSET', note, 'since', args[2])
  end
  return 1
end

-- KEYS[1]: everybody's rows, each `until draining told`; those that are over are taken away.
local function alive(key, now, over)
  local rows, answer = redis.call('HGETALL', key), { int(now) }
  for at = 1, #rows, 2 do
    local till, draining, told = string.match(rows[at + 1], '^(%d+) (%d) (.*)$')
    if tonumber(till) > now then
      answer[#answer + 1] = rows[at]
      answer[#answer + 1] = till
      answer[#answer + 1] = draining
      answer[#answer + 1] = told
    elseif over then
      redis.call('HDEL', key, rows[at])
    end
  end
  return answer
end

-- ARGV: incarnation, whether it drains (0 or 1), what it tells, ttl in ms, channel, notice.
local function beat(keys, args)
  local now = now_ms()
  local before = redis.call('HGET', keys[1], args[1])
  local asked = before and string.match(before, '^%d+ (%d)') == '1'
  local draining = (asked or args[2] == '1') and '1' or '0'
  local row = int(now + tonumber(args[4])) .. ' ' .. draining .. ' ' .. args[3]
  redis.call('HSET', keys[1], args[1], row)
  if not before or string.match(before, '^%d+ (%d)') ~= draining then
    redis.call('PUBLISH', args[5], args[6])
  end
  return alive(keys[1], now, true)
end

local function roster(keys)
  return alive(keys[1], now_ms(), false)
end

-- ARGV: incarnation, channel, notice.
local function leave(keys, args)
  if redis.call('HDEL', keys[1], args[1]) == 1 then
    redis.call('PUBLISH', args[2], args[3])
  end
  return 1
end

-- ARGV: incarnation, channel, notice.
local function drain(keys, args)
  local row = redis.call('HGET', keys[1], args[1])
  if not row then
    return 0
  end
  local till, told = string.match(row, '^(%d+) %d (.*)$')
  if tonumber(till) <= now_ms() then
    return 0
  end
  redis.call('HSET', keys[1], args[1], till .. ' 1 ' .. told)
  redis.call('PUBLISH', args[2], args[3])
  return 1
end

-- ARGV: names and values that are to stand for good. Answers the values that stand, in their order.
local function settle(keys, args)
  local answer = {}
  for at = 1, #args, 2 do
    redis.call('HSETNX', keys[1], args[at], args[at + 1])
    answer[#answer + 1] = redis.call('HGET', keys[1], args[at])
  end
  return answer
end

-- KEYS[1]: the register. ARGV: name, then two optional rows, each as 0 or 1 and the bytes: what
-- stands now, and what shall stand. Answers whether it stood so.
local function swap(keys, args)
  local rows, names = keys[1] .. ':rows', keys[1] .. ':names'
  local stands = redis.call('HGET', rows, args[1])
  local expected = args[2] == '1' and args[3] or false
  if stands ~= expected then
    return 0
  end
  if args[4] == '1' then
    redis.call('HSET', rows, args[1], args[5])
    redis.call('ZADD', names, 0, args[1])
  else
    redis.call('HDEL', rows, args[1])
    redis.call('ZREM', names, args[1])
  end
  return 1
end

local function register(name, callback, flags)
  redis.register_function { function_name = 'gm2_' .. name, callback = callback, flags = flags }
end

-- At maxmemory only intake is refused: everything else frees memory, or keeps the node alive.
register('submit', submit, {})
register('submit_control', submit, { 'allow-oom' })
register('fetch', fetch, { 'allow-oom' })
register('claim', claim, { 'allow-oom' })
register('renew', renew, { 'allow-oom' })
register('release', release, { 'allow-oom' })
register('commit', commit, { 'allow-oom' })
register('hold', hold, { 'allow-oom' })
register('allocate', allocate, {})
register('destroy', destroy, { 'allow-oom' })
register('erased', erased, { 'allow-oom' })
register('beat', beat, { 'allow-oom' })
register('leave', leave, { 'allow-oom' })
register('drain', drain, { 'allow-oom' })
register('settle', settle, {})
register('swap', swap, { 'allow-oom' })
register('page', page, { 'no-writes' })
register('roster', roster, { 'no-writes' })
