-- Candles that are not closed yet and hold a trade that was replaced or moved since signal saw it: when they are closed
-- they are made again from the trades. `removed` is how many trades were taken away from each.
CREATE TABLE candles_to_make (
    venue text NOT NULL,
    symbol text NOT NULL,
    interval text NOT NULL,
    time timestamptz NOT NULL,
    end_time timestamptz NOT NULL,
    removed bigint NOT NULL,
    PRIMARY KEY (venue, symbol, interval, time)
);
COMMENT ON TABLE candles_to_make IS 'Candles to be made again when they are closed, as a trade of them was corrected';
