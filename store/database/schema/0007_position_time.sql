-- When the stream took the message the position stands at: in a stream that lost its end and has grown again since,
-- another message stands there. NULL where that is not known.
ALTER TABLE progress ADD COLUMN taken_time timestamptz;
COMMENT ON COLUMN progress.taken_time IS 'when the stream of the bus took that message';
