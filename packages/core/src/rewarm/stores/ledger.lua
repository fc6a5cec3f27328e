-- What is known about tasks: a hash per task; dead letters as a hash (KEYS[1]), their order (KEYS[2]) and the entries
-- that wait for them (KEYS[3]); the journal as a hash (KEYS[1]) and when each task is overdue (KEYS[2]); gates as hashes.

--- bury(id, key, letter, limit): the newest dead letter; the oldest go beyond the limit
local function remove(id)
  local key = redis.call('HGET', KEYS[3], 'id:' .. id)
  if key then redis.call('HDEL', KEYS[3], 'id:' .. id, 'key:' .. key) end
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
local id, key = ARGV[1], ARGV[2]
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2] or 0
remove(id)
if key ~= '' then
  local other = redis.call('HGET', KEYS[3], 'key:' .. key)
  if other then remove(other) end
  redis.call('HSET', KEYS[3], 'key:' .. key, id, 'id:' .. id, key)
end
redis.call('ZADD', KEYS[2], last + 1, id)
redis.call('HSET', KEYS[1], id, ARGV[3])
local over = redis.call('ZCARD', KEYS[2]) - ARGV[4]
if over <= 0 then return 0 end
for _, oldest in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do remove(oldest) end
return over

--- resolve(key): the entry was refreshed after all
local id = redis.call('HGET', KEYS[3], 'key:' .. ARGV[1])
if not id then return 0 end
redis.call('HDEL', KEYS[3], 'id:' .. id, 'key:' .. ARGV[1])
redis.call('ZREM', KEYS[2], id)
return redis.call('HDEL', KEYS[1], id)

--- letters(): id, letter, id, letter, ... oldest first
local found = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local letter = redis.call('HGET', KEYS[1], id)
  if letter then
    found[#found + 1] = id
    found[#found + 1] = letter
  end
end
return found

--- letter(id): one of them
return redis.call('HGET', KEYS[1], ARGV[1])

--- exhume(id, letter): take a dead letter out, if it still reads so
local id, letter = ARGV[1], redis.call('HGET', KEYS[1], ARGV[1])
if not letter or (ARGV[2] ~= '' and ARGV[2] ~= letter) then return false end
local key = redis.call('HGET', KEYS[3], 'id:' .. id)
if key then redis.call('HDEL', KEYS[3], 'id:' .. id, 'key:' .. key) end
redis.call('HDEL', KEYS[1], id)
redis.call('ZREM', KEYS[2], id)
return letter

--- clear(): how many there were
local count = redis.call('HLEN', KEYS[1])
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
return count

--- strike(id): the task has ended
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1

--- backlog(): how many tasks are in the journal
return redis.call('ZCARD', KEYS[2])

--- prelude
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function get(field) return redis.call('HGET', KEYS[1], field) end
local function number(field) return tonumber(get(field)) or 0 end
local function set(field, value) redis.call('HSET', KEYS[1], field, value) end
local function keep(ms)
  if redis.call('PTTL', KEYS[1]) < tonumber(ms) then redis.call('PEXPIRE', KEYS[1], ms) end
end

--- start(attempt, lease, cap, keep): count a delivery before the job runs
local attempt, lease, cap = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local count, left = number('deliveries'), number('claim') - now
local cancelled, done = get('cancelled'), get('status') == 'done'
local over = done and lease > 0
if not cancelled and not over then
  count = count + 1
  if left <= 0 and attempt > number('attempt') then
    count = 1
    set('attempt', attempt)
  end
  set('deliveries', count)
end
keep(math.max(ARGV[4], lease))
if cancelled then return {'cancelled', count, 0} end
if over then return {'done', count, 0} end
if left > 0 then return {'busy', count, left} end
if count > cap then
  set('claim', now + 10000) -- of copies that arrive together, one buries it
  return {'poison', count, 0}
end
if not done then set('status', 'running') end
if lease > 0 then set('claim', now + lease) end
return {'go', count, 0}

--- settle(status, error, keep): this delivery ended
if ARGV[1] == 'deferred' then
  if number('deliveries') > 0 then redis.call('HINCRBY', KEYS[1], 'deliveries', -1) end
  return 1
end
if ARGV[1] ~= 'skipped' or get('status') ~= 'done' then set('status', ARGV[1]) end
redis.call('HDEL', KEYS[1], 'claim', 'deliveries')
if ARGV[2] ~= '' then
  local errors = cjson.decode(get('errors') or '[]')
  errors[#errors + 1] = ARGV[2]
  if #errors > 10 then table.remove(errors, 1) end
  set('errors', cjson.encode(errors))
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1

--- extend(lease): a long-running task keeps its claim
if not get('claim') then return 0 end
set('claim', now + ARGV[1])
keep(ARGV[1])
return 1

--- cancel(keep): too late once the task has ended
local status = get('status')
if status == 'done' or status == 'skipped' or status == 'dead' then return 0 end
set('cancelled', 1)
keep(ARGV[1])
return 1

--- enter(id, payload, wait, limit): journal a task; its first character counts how often it was overdue
local fresh = not redis.call('ZSCORE', KEYS[2], ARGV[1])
if fresh and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], '0' .. ARGV[2])
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
return 1

--- overdue(wait, limit): id, payload, id, payload, ... each pushed back, further every time
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local entry = redis.call('HGET', KEYS[1], id)
  if entry then
    local times, payload = tonumber(entry:sub(1, 1)), entry:sub(2)
    redis.call('ZADD', KEYS[2], now + ARGV[1] * 2 ^ times, id)
    redis.call('HSET', KEYS[1], id, math.min(times + 1, 9) .. payload)
    found[#found + 1] = id
    found[#found + 1] = payload
  else -- its payload was evicted or deleted
    redis.call('ZREM', KEYS[2], id)
  end
end
return found

--- admit(every, failures, pause): milliseconds until the source may be asked
local every, failures = tonumber(ARGV[1]), tonumber(ARGV[2])
local open = number('open') - now
if open > 0 then return open end
if every > 0 then
  local left = number('next') - now
  if left > 0 then return left end
  set('next', now + every)
end
if failures > 0 and number('failed') >= failures then set('open', now + ARGV[3]) end
keep(math.max(every, ARGV[3], 600000) * 2)
return 0

--- report(ok, failures, pause): how the load went
if ARGV[1] == '1' then
  redis.call('HDEL', KEYS[1], 'failed', 'open')
  return 0
end
local failed = number('failed') + 1
set('failed', failed)
keep(math.max(ARGV[3], 600000) * 2)
if failed < tonumber(ARGV[2]) then return 0 end
set('open', now + ARGV[3])
return failed == tonumber(ARGV[2]) and 1 or 0
