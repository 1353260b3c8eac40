-- The position of a log, which from now on is wanted. ARGV: history_s, meta_s.
redis.call('SET', KEYS[3], 1, 'EX', history_s)
redis.call('EXPIRE', KEYS[2], ARGV[2])
return {epoch, offset}
