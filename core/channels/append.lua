-- Append a batch, once. ARGV: history_s, meta_s, source, ms and seq of its id there, events, body ('' not to keep), at,
-- history_events. Returns what became of it, and the position after it.
local function answer(what)
    return {what, epoch, offset}
end

local ms, seq = tonumber(ARGV[4]), tonumber(ARGV[5])
local last = redis.call('HGET', KEYS[2], ARGV[3])
if last then
    local last_ms, last_seq = string.match(last, '(%d+)-(%d+)')
    last_ms, last_seq = tonumber(last_ms), tonumber(last_seq)
    if ms < last_ms or (ms == last_ms and seq <= last_seq) then
        return answer('known')
    end
end
local is_wanted = redis.call('EXISTS', KEYS[3]) == 1
if is_wanted and ARGV[7] == '' then
    return answer('wanted')
end
local first = offset + 1
offset = offset + tonumber(ARGV[6])
redis.call('HSET', KEYS[2], 'offset', string.format('%.0f', offset), ARGV[3], ARGV[4] .. '-' .. ARGV[5])
redis.call('EXPIRE', KEYS[2], ARGV[2])
if not is_wanted then
    return answer('counted')
end
local id = epoch .. '-' .. string.format('%.0f', offset)
local oldest = string.format('%.0f', math.max(0, first - tonumber(ARGV[9])))
redis.call('XADD', KEYS[1], 'MINID', '~', epoch .. '-' .. oldest, id, 'n', ARGV[6], 'a', ARGV[8], 'b', ARGV[7])
redis.call('EXPIRE', KEYS[1], history_s)
return answer('kept')
