-- Put before the other scripts. KEYS: log, meta, demand. Leaves `epoch` (text) and `offset` (number) of the log's life.
-- A life ends with the memory of the Redis server it began in: emptied, restarted or failed over, a log may have lost its
-- end, and offsets given out before would come again for other events.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local was = redis.call('HMGET', KEYS[2], 'epoch', 'offset', 'run')
local epoch, offset = was[1], tonumber(was[2] or 0)
local history_s = tonumber(ARGV[1])
if was[3] ~= run then
    local time = redis.call('TIME')
    local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    if epoch and tonumber(epoch) >= ms then
        ms = tonumber(epoch) + 1
    end
    epoch, offset = string.format('%.0f', ms), 0
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[2], 'epoch', epoch, 'offset', 0, 'run', run)
    -- Somebody may have been following the life before; what he needs of this one is kept for him.
    redis.call('SET', KEYS[3], 1, 'EX', history_s)
end
