-- The trades, each exactly once. Public: people ask this table with psql, so its columns only ever grow.
CREATE TABLE trades (
    time           timestamptz NOT NULL,
    venue          text        NOT NULL,
    symbol         text        NOT NULL,
    trade_id       bigint      NOT NULL,
    price          numeric     NOT NULL,
    quantity       numeric     NOT NULL,
    is_buyer_maker boolean     NOT NULL,
    -- Time stands before the id: this one index then also serves "the latest trades of a symbol".
    CONSTRAINT trades_key UNIQUE (venue, symbol, time, trade_id)
);
COMMENT ON TABLE trades IS 'Every trade of the followed symbols, exactly once';
COMMENT ON COLUMN trades.time IS 'when the venue says it happened';
COMMENT ON COLUMN trades.trade_id IS 'the venue''s own id; rises by one per venue and symbol';
COMMENT ON COLUMN trades.is_buyer_maker IS 'true when the taker sold';

-- How far each stream of the bus is taken in; written in the transaction that stores what it held.
CREATE TABLE progress (
    stream   text        PRIMARY KEY,
    created  timestamptz NOT NULL, -- when the stream was made: its identity
    sequence bigint      NOT NULL CHECK (sequence >= 0)
);
COMMENT ON TABLE progress IS 'Last message of each stream of the bus whose contents are stored';
