-- Closed candles: as signal made them, or made again from the trades where some arrived after the candle had closed.
CREATE TABLE candles (
    venue            text             NOT NULL,
    symbol           text             NOT NULL,
    interval         text             NOT NULL CHECK (interval IN ('1s', '1m', '5m', '15m', '1h', '1d')),
    time             timestamptz      NOT NULL,
    open             numeric          NOT NULL,
    high             numeric          NOT NULL,
    low              numeric          NOT NULL,
    close            numeric          NOT NULL,
    volume           numeric          NOT NULL,
    quote_volume     numeric          NOT NULL,
    taker_buy_volume numeric          NOT NULL,
    count            bigint           NOT NULL,
    first_trade_id   bigint           NOT NULL,
    last_trade_id    bigint           NOT NULL,
    revision         integer          NOT NULL, -- 0 as signal made it, then one more each time it is made again
    -- Signal's, right after this candle; NULL until warm, and where only late trades made the candle.
    rsi              double precision,
    atr              double precision,
    macd             double precision,
    macd_signal      double precision,
    macd_histogram   double precision,
    ema              double precision,
    sma              double precision,
    PRIMARY KEY (venue, symbol, interval, time)
);
COMMENT ON TABLE candles IS 'Closed candles: what the stored trades of each interval make, with indicators';
COMMENT ON COLUMN candles.time IS 'when the interval begins';
COMMENT ON COLUMN candles.revision IS 'how often it was made again because trades arrived after it had closed';

-- Up to where intervals are closed; written with the candles.
CREATE TABLE candles_closed (
    venue  text        NOT NULL,
    symbol text        NOT NULL,
    time   timestamptz NOT NULL,
    PRIMARY KEY (venue, symbol)
);
COMMENT ON TABLE candles_closed IS 'Intervals that end at or before this time are closed';
