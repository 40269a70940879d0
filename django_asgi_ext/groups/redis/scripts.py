"""
What Redis does in one step, in its own language (Lua 5.1).

The keys of a group and its channel are in one slot, so that a cluster runs them.
"publish" is PUBLISH, or SPUBLISH in a cluster. Times are those of Redis.
"""

from __future__ import annotations

# Keeps a message, and publishes it with its position, which it returns.
#
# One entry more is kept than asked for, and of those that are too old the newest:
# whoever has reached the first entry has missed nothing that is not there.
#
# KEYS: log. ARGV: publish, channel, message, how many are kept, for how long
# (in ms, 0 for ever), after how long without use the log goes (in ms).
APPEND = """
local position = redis.call(
  'XADD', KEYS[1], 'MAXLEN', '~', ARGV[4] + 1, '*', 'm', ARGV[3])
if ARGV[5] ~= '0' then
  local time = redis.call('TIME')
  local until_ = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[5]
  local old = redis.call('XREVRANGE', KEYS[1], string.format('%.0f', until_), '-',
    'COUNT', 1)
  if #old > 0 then
    redis.call('XTRIM', KEYS[1], 'MINID', '~', old[1][1])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[6])
redis.call(ARGV[1], ARGV[2], position .. ' ' .. ARGV[3])
return position
"""

# Returns the last position, whether all that came after one is known, and that.
#
# A log that is not there is begun, with an entry that is no message: whoever has
# seen its position has missed nothing that comes after.
#
# KEYS: log. ARGV: position, or '' for none, after how long the log goes (in ms).
SINCE = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if #last == 0 then
  local position = redis.call('XADD', KEYS[1], '*', '', '')
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {position, 0, {}}
end
if ARGV[1] == ''
    or #redis.call('XRANGE', KEYS[1], '-', ARGV[1], 'COUNT', 1) == 0 then
  return {last[1][1], 0, {}}
end
return {last[1][1], 1, redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+')}
"""

# Presence. KEYS: alive (processes by the time at which they are given up, negative
# for those that were), order (fields by their arrival), about (what is known of
# each field), count (fields by their user).

_TIME = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# ARGV[1] and ARGV[2] are always publish and channel.
_REMOVE = """
local function remove(field)
  local about = redis.call('HGET', KEYS[3], field)
  if not about then return end
  redis.call('HDEL', KEYS[3], field)
  redis.call('ZREM', KEYS[2], field)
  local user, leave = string.match(about, '^([^\\n]*)\\n[^\\n]*\\n(.*)$')
  if redis.call('HINCRBY', KEYS[4], user, -1) < 1 then
    redis.call('HDEL', KEYS[4], user)
    redis.call(ARGV[1], ARGV[2], leave)
  end
end
"""

# Adds a member, and tells of it if it is the first of its user.
#
# ARGV: publish, channel, process, life (in ms), field, user, about, join, whether
# it is quiet.
ENTER = (
    _TIME
    + """
local alive = redis.call('ZSCORE', KEYS[1], ARGV[3])
if not alive or tonumber(alive) > 0 then
  redis.call('ZADD', KEYS[1], now + ARGV[4], ARGV[3])
end
if redis.call('HSET', KEYS[3], ARGV[5], ARGV[7]) == 1 then
  redis.call('ZADD', KEYS[2], time[1] * 1000000 + time[2], ARGV[5])
  if redis.call('HINCRBY', KEYS[4], ARGV[6], 1) == 1 and ARGV[9] == '0' then
    redis.call(ARGV[1], ARGV[2], ARGV[8])
  end
end
for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], ARGV[4]) end
"""
)

# Takes a member out, and tells of it if it was the last of its user.
#
# ARGV: publish, channel, field.
EXIT = _REMOVE + "remove(ARGV[3])"

# Says that a process is alive, and takes out the members of those that are not.
# Returns until when it was alive: negative if it was given up, nil if unknown.
#
# ARGV: publish, channel, process, life (in ms), whether others are given up.
BEAT = (
    _TIME
    + _REMOVE
    + """
local before = redis.call('ZSCORE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[1], now + ARGV[4], ARGV[3])
if ARGV[5] == '1' then
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(0', now)) do
    redis.call('ZADD', KEYS[1], -now, dead)
    for _, field in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
      if string.sub(field, 1, #dead + 1) == dead .. ' ' then remove(field) end
    end
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[1], 3600000 - now, 0)
end
for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], ARGV[4]) end
return before
"""
)

# Returns what is known of each member, first come first.
MEMBERS = """
local fields = redis.call('ZRANGE', KEYS[2], 0, -1)
local found = {}
for i, field in ipairs(fields) do
  found[i] = redis.call('HGET', KEYS[3], field)
end
return found
"""
