/**
 * The limits' operations in Redis: each is an atomic script and takes one round trip. Scripts use the clock of Redis,
 * so that the clocks of gateways do not matter. The use of a rate is one text, `<time in µs> <used>`, and what the rate
 * allows in the time since is subtracted: `5000000 30`, read 0.1 s later at 100/s, means 20 used. This is the generic
 * cell rate algorithm (ITU-T I.371) as a meter, whose numbers stay small and exact. A key that holds anything else
 * counts as unused and is overwritten. A time in the future is from before the clock was set back, and is replaced by
 * the current time.
 */

import { createHash } from 'node:crypto';

export interface LimitScript {
  readonly text: string;
  /** SHA-1 of the text, hex, for EVALSHA. */
  readonly digest: string;
}

const CLOCK = `
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
`;

const METER = `
local function save(key, used, count, span)
  if used <= 0 then
    redis.call('DEL', key)
  else
    local lifeMs = math.ceil(used * span / count / 1000) + 1000
    redis.call('SET', key, string.format('%.0f %.17g', now, used), 'PX', string.format('%.0f', lifeMs))
  end
end

local function usedOf(key, count, span)
  local text = redis.pcall('GET', key)
  local at, used = string.match(type(text) == 'string' and text or '', '^(%d+) (%S+)$')
  at, used = tonumber(at), tonumber(used)
  if not (at and used and used > 0) then return 0 end
  -- Bytes that flowed before they could be refused are a small debt; a limit that was lowered must not refuse for days.
  used = math.min(used, 2 * count)
  if at > now then
    save(key, used, count, span)
    return used
  end
  return math.max(0, used - (now - at) * count / span)
end
`;

/**
 * Keys: requests, places, bytes. Arguments: requests and their period in µs; places, lease in µs, member; bytes and
 * their period in µs, bytes needed, and wanted at most. A limit of 0 is no limit. Returns 0, or the limit that refused
 * (1 requests, 2 places, 3 bytes); ms to wait; requests, places and bytes left; bytes granted.
 */
export const CLAIM = script(`${CLOCK}${METER}
local requests, requestSpan = tonumber(ARGV[1]), tonumber(ARGV[2])
local places, lease, member = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local bytes, byteSpan, needed, wanted = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local held = 0
if places > 0 then
  if type(redis.pcall('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)) == 'table' then redis.call('DEL', KEYS[2]) end
  local latest = string.format('%.0f', now + lease)
  for _, each in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. latest, '+inf', 'LIMIT', 0, places)) do
    redis.call('ZADD', KEYS[2], latest, each)
  end
  held = redis.call('ZCARD', KEYS[2])
  if held >= places then return { 2, 0, 0, 0, 0, 0 } end
end
local function excess(used, amount, count) return used + amount - count - 1e-6 end
local requestsUsed = 0
if requests > 0 then
  requestsUsed = usedOf(KEYS[1], requests, requestSpan)
  local over = excess(requestsUsed, 1, requests)
  if over > 0 then return { 1, math.ceil(over * requestSpan / requests / 1000), 0, 0, 0, 0 } end
end
local left, granted = 0, 0
if bytes > 0 then
  local used = usedOf(KEYS[3], bytes, byteSpan)
  local over = excess(used, needed, bytes)
  left = math.max(0, math.floor(bytes - used))
  if needed > 0 then
    if over > 0 then return { 3, math.ceil(over * byteSpan / bytes / 1000), 0, 0, left, 0 } end
    granted = math.max(needed, math.min(wanted, left))
    save(KEYS[3], used + granted, bytes, byteSpan)
  end
end
if requests > 0 then save(KEYS[1], requestsUsed + 1, requests, requestSpan) end
if places > 0 then
  redis.call('ZADD', KEYS[2], now + lease, member)
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', lease / 500))
end
return {
  0, 0, math.floor(requests - requestsUsed - 1 + 1e-6), places - held - 1,
  math.max(0, left - granted), granted
}`);

/** Keys as above. Arguments: requests, their µs, how many to return; member; bytes, their µs, how many (< 0: debt). */
export const GIVE_BACK = script(`${CLOCK}${METER}
local function giveBack(key, count, span, amount)
  if amount ~= 0 then save(key, usedOf(key, count, span) - amount, count, span) end
end
giveBack(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))
if ARGV[4] ~= '' then redis.pcall('ZREM', KEYS[2], ARGV[4]) end
giveBack(KEYS[3], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]))
return { 0 }`);

/** Key: places. Arguments: lease in µs, then the members to renew, including any that Redis has lost. */
export const RENEW = script(`${CLOCK}
local lease = tonumber(ARGV[1])
if type(redis.pcall('ZCARD', KEYS[1])) == 'table' then redis.call('DEL', KEYS[1]) end
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + lease, ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', lease / 500))
return { 0 }`);

/**
 * Key: gateways. Arguments: µs for which this gateway counts as present, 0 to remove it; its name. Returns the number
 * of gateways. A Redis that is out of memory refuses its first write, so that it also tests what claims need.
 */
export const HEARTBEAT = script(`${CLOCK}
local life = tonumber(ARGV[1])
if life == 0 then
  redis.call('ZREM', KEYS[1], ARGV[2])
  return { 0 }
end
local added = redis.pcall('ZADD', KEYS[1], now + life, ARGV[2])
if type(added) == 'table' then
  if not string.find(added.err, 'WRONGTYPE') then return added end
  redis.call('DEL', KEYS[1])
  redis.call('ZADD', KEYS[1], now + life, ARGV[2])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.0f', now + life), '+inf')
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life / 500))
return { redis.call('ZCARD', KEYS[1]) }`);

export const SCRIPTS: readonly LimitScript[] = [CLAIM, GIVE_BACK, RENEW, HEARTBEAT];

function script(text: string): LimitScript {
  return { text, digest: createHash('sha1').update(text).digest('hex') };
}
