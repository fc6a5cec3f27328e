-- What is known about tasks: a hash per task; dead letters as a hash (KEYS[1]) and their order (KEYS[2]).

--- bury(id, letter, limit): the newest dead letter; the oldest go beyond the limit
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2] or 0
redis.call('ZADD', KEYS[2], last + 1, ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local over = redis.call('ZCARD', KEYS[2]) - ARGV[3]
if over <= 0 then return 0 end
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
return over

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

--- exhume(id): take a dead letter out
local letter = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return letter

--- clear(): how many there were
local count = redis.call('HLEN', KEYS[1])
redis.call('UNLINK', KEYS[1], KEYS[2])
return count

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
if count > cap then return {'poison', count, 0} end
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
keep(ARGV[3])
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
