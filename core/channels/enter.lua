-- Count a connection in where there is room. KEYS: of the tenant, of the principal. ARGV: connection, ttl_s, the most of
-- each. A member's score is when it is given up for dead, so that a killed process leaves no count behind.
local time = redis.call('TIME')
local now = tonumber(time[1])
for n = 1, 2 do
    redis.call('ZREMRANGEBYSCORE', KEYS[n], '-inf', now)
    if redis.call('ZCARD', KEYS[n]) >= tonumber(ARGV[2 + n]) then
        return n
    end
end
for n = 1, 2 do
    redis.call('ZADD', KEYS[n], now + tonumber(ARGV[2]), ARGV[1])
    redis.call('EXPIRE', KEYS[n], ARGV[2])
end
return 0
