-- Ids that can be asked for no more: the venue has begun its ids again. Keys of trades are `epoch * 2^54 + the venue's id`.
ALTER TABLE holes
    DROP CONSTRAINT holes_state_check,
    ADD CONSTRAINT holes_state_check CHECK (state IN ('OPEN', 'FILLED', 'ABSENT', 'EXPIRED', 'LOST'));
COMMENT ON TABLE holes IS
    'Ranges of trade ids that are missing (OPEN, ABSENT, LOST), were (FILLED), or were removed (EXPIRED)';
CREATE INDEX holes_lost ON holes (venue, symbol) WHERE state = 'LOST';
COMMENT ON COLUMN trades.trade_id IS
    'the venue''s own id, which rises by one per venue and symbol; plus 2^54 for each time the venue began its ids again';

-- Public, for people with psql: the same rows with the venue's own ids, and how often it had begun them again before.
CREATE VIEW trades_by_epoch AS
SELECT venue, symbol, (trade_id >> 54)::integer AS epoch, trade_id & ((1::bigint << 54) - 1) AS trade_id,
    price, quantity, time, is_buyer_maker
FROM trades;
COMMENT ON VIEW trades_by_epoch IS 'trades with the id that the venue gave, and the epoch: how often its ids had begun again';
