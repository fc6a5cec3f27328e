-- Every step on an entry is one of these scripts, run on one key: protocol.md, section 3.
-- Times are the server's milliseconds. A script is its own section; those below the prelude begin with it.

--- capture(stamp, ttl): a tag's stamp, made if it is missing. SET NX GET would need Redis 7.
local stamp = redis.call('GET', KEYS[1])
if not stamp then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return stamp

--- prelude
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local F = '<c2I2I4I8I8I8c8I4I4I4I4c8'
local h = redis.call('GETRANGE', KEYS[1], 0, 63)
local mg, fl, de, soft, loaded, due = 'R1', 0, 0, 0, 0, 0
local born, n, p, q, r, seal = nil, 0, 0, 0, 0, string.rep('\0', 8)
if #h == 64 and h:sub(1, 2) == mg then
  mg, fl, de, soft, loaded, due, born, n, p, q, r, seal = struct.unpack(F, h)
end
local function pack() return struct.pack(F, mg, fl, de, soft, loaded, due, born, n, p, q, r, seal) end
local function head(ms)
  redis.call('SETRANGE', KEYS[1], 0, pack())
  if ms and redis.call('PTTL', KEYS[1]) < ms then redis.call('PEXPIRE', KEYS[1], ms) end
end
local function whole(payload, ms) redis.call('SET', KEYS[1], pack() .. payload, 'PX', ms) end
local function new()
  born = ARGV[1]
  if #h > 0 then redis.call('UNLINK', KEYS[1]) end
end
local function mine() return born and born == ARGV[1] end
local a2 = tonumber(ARGV[2])

--- acquire(born, p, lease): a stale reader takes a place for a task. `due` alone is a source at rest
if not mine() or p ~= a2 or due > now then return 0 end
n = n + 1 q = n r = 0 due = now + ARGV[3]
head(ARGV[3] * 2)
return n

--- reserve(rnd, p, lease): a place where no payload need be
if not born then new() elseif p ~= a2 or ((q > 0 or r > 0) and due > now) then return 0 end
n = n + 1 q = n r = 0 due = now + ARGV[3]
head(ARGV[3] * 2)
return {n, born}

--- begin(born, q, lease): the task starts its load
if not mine() or q ~= a2 then return {'superseded'} end
if r > 0 and due > now then return {'busy', due - now} end
n = n + 1 r = n due = now + ARGV[3]
head(ARGV[3] * 2)
return {'go', n}

--- steal(rnd, p, lease): a reader without a value starts its load
if not born then new()
elseif p ~= a2 then return {'changed'}
elseif r > 0 and due > now then return {'busy', due - now} end
n = n + 1 q = 0 r = n due = now + ARGV[3]
head(ARGV[3] * 2)
return {'go', n, born}

--- open(rnd, lease): start of `writing()`, and of a forced load
if not born then new() end
n = n + 1 q = 0 r = n due = now + ARGV[2]
head(ARGV[2] * 2)
return {'go', n, born}

--- commit(born, n, seal, ttl, hard, payload, fl, de): as fresh, or in place of an older stale payload
if not mine() then return 'refused' end
local ok = (r == a2)
if not ok and (soft > now or a2 <= p) then return 'refused' end
seal = ARGV[3] p = a2 loaded = now
if ok then soft = now + ARGV[4] q = 0 r = 0 due = 0 else soft = 0 end
fl = ARGV[7] de = ARGV[8]
whole(ARGV[6], ok and ARGV[5] or math.max(ARGV[5], redis.call('PTTL', KEYS[1])))
return ok and 'ok' or 'fallback'

--- touch(born, n, seal, p, ttl, hard): the source said "not modified"
if not mine() or r ~= a2 then return 'refused' end
if p == 0 or p ~= tonumber(ARGV[4]) then r = 0 if q == 0 then due = 0 end head() return 'refused' end
seal = ARGV[3] p = a2 loaded = now soft = now + ARGV[5] q = 0 r = 0 due = 0
head()
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 'ok'

--- release(born, n, backoff): the load failed, a retry will come
if not mine() or r ~= a2 then return 0 end
r = 0 due = now + ARGV[3]
head(ARGV[3] * 2)
return 1

--- renew(born, n, lease): a long load keeps its lease
if not mine() or r ~= a2 then return 0 end
due = now + ARGV[3]
head(ARGV[3] * 2)
return 1

--- drop(born, q, rest): the task gives up its place; the source rests
if not mine() or q ~= a2 or r > 0 then return 0 end
local rest = tonumber(ARGV[3])
q = 0 due = rest > 0 and now + rest or 0
head(rest > 0 and rest * 2 or nil)
return 1

--- mark(): invalidate, stale mode. A load that is void leaves no `due`: that would be a source at rest
if born then soft = 0 r = 0 if q == 0 then due = 0 end head() elseif #h > 0 then redis.call('UNLINK', KEYS[1]) end
return 1

--- put(rnd, seal, ttl, hard, payload, fl): `set()`
if not born then born = ARGV[1] end
n = n + 1 p = n q = 0 r = 0 due = 0 soft = now + ARGV[3] loaded = now
seal = ARGV[2] fl = ARGV[6]
whole(ARGV[5], ARGV[4])
return n
