-- redis_keys.lua  - every key of a Redis database: its name, type, whether it expires, and a digest of its value. Run by
-- `redis-cli eval`; changes nothing. The digest is of the content, so it is the same on another version of Redis.
local function shown(bytes)
  return (bytes:gsub('[%z\1-\32\92\127-\255]', function(c) return ('\\x%02x'):format(c:byte()) end))
end

local function pairs_sorted(flat)
  local parts = {}
  for i = 1, #flat, 2 do
    parts[#parts + 1] = #flat[i] .. ':' .. flat[i] .. '=' .. flat[i + 1]
  end
  table.sort(parts)
  return parts
end

local function sorted(list)
  table.sort(list)
  return list
end

local function stream(entries)
  local parts = {}
  for _, entry in ipairs(entries) do
    parts[#parts + 1] = entry[1]
    for _, field in ipairs(entry[2]) do
      parts[#parts + 1] = field
    end
  end
  return parts
end

local read = {
  string = function(key) return {redis.call('GET', key)} end,
  hash = function(key) return pairs_sorted(redis.call('HGETALL', key)) end,
  set = function(key) return sorted(redis.call('SMEMBERS', key)) end,
  zset = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
  list = function(key) return redis.call('LRANGE', key, 0, -1) end,
  stream = function(key) return stream(redis.call('XRANGE', key, '-', '+')) end,
}

local lines = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  local parts = read[kind](key)
  for i, part in ipairs(parts) do
    parts[i] = #part .. ':' .. part
  end
  local expires = redis.call('PTTL', key) >= 0 and 'expires' or 'stays'
  lines[#lines + 1] = table.concat({shown(key), kind, expires, redis.sha1hex(table.concat(parts))}, ' ')
end
return lines
