-- Takes one request out of every bucket, or out of none. GCRA: a key holds the time (us) at which its bucket is whole.
-- KEYS: the buckets; ARGV: of each, the time one request costs (us) and how many may come at once.
-- Gives {us to wait (0: taken)}, then of each bucket what is left and the time (us) until it is whole.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local wait = 0
local whole = {}
for i, key in ipairs(KEYS) do
  local cost, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  whole[i] = math.max(now, tonumber(redis.call('GET', key) or now))
  wait = math.max(wait, whole[i] + cost - burst * cost - now)
end
local answer = {math.ceil(wait)}
for i, key in ipairs(KEYS) do
  local cost, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  if wait <= 0 then
    whole[i] = whole[i] + cost
    redis.call('SET', key, string.format('%.0f', whole[i]), 'PX', math.ceil((whole[i] - now) / 1000) + 1)
  end
  answer[2 * i] = math.max(0, math.floor((now + burst * cost - whole[i]) / cost))
  answer[2 * i + 1] = math.ceil(whole[i] - now)
end
return answer
