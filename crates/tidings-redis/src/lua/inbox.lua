-- Messages after one.
--
-- KEYS 1 the inbox    ARGV 1 the last message that is there already
return after(KEYS[1], ARGV[1])
