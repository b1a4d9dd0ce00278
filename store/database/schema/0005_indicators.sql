-- What RSI and MACD are made of, without which nobody can go on from a candle to the next; NULL until warm.
ALTER TABLE candles
    ADD COLUMN average_gain double precision,
    ADD COLUMN average_loss double precision,
    ADD COLUMN macd_fast    double precision,
    ADD COLUMN macd_slow    double precision;
COMMENT ON COLUMN candles.revision IS
    'how often it was made again because trades arrived after it had closed: its own, or such as its indicators remember';
