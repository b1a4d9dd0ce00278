-- What is stored and what is missing, per venue and symbol; written in the transaction that stores the trades.
-- Stored ids as ranges, both ends included, that neither overlap nor touch.
CREATE TABLE coverage (
    venue          text   NOT NULL,
    symbol         text   NOT NULL,
    first_trade_id bigint NOT NULL,
    last_trade_id  bigint NOT NULL,
    PRIMARY KEY (venue, symbol, first_trade_id),
    CHECK (first_trade_id <= last_trade_id)
);
COMMENT ON TABLE coverage IS 'Ranges of trade ids that are stored';

-- Ids that are missing (OPEN: asked for again and again; ABSENT: the venue does not have them) or were (FILLED).
-- OPEN and ABSENT rows neither overlap each other nor anything in coverage.
CREATE TABLE holes (
    hole_id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    venue          text        NOT NULL,
    symbol         text        NOT NULL,
    first_trade_id bigint      NOT NULL,
    last_trade_id  bigint      NOT NULL,
    state          text        NOT NULL CHECK (state IN ('OPEN', 'FILLED', 'ABSENT')),
    seen_time      timestamptz NOT NULL,
    closed_time    timestamptz,
    CHECK (first_trade_id <= last_trade_id),
    CHECK ((state = 'OPEN') = (closed_time IS NULL))
);
COMMENT ON TABLE holes IS 'Ranges of trade ids that are missing (OPEN, ABSENT) or were (FILLED)';
CREATE UNIQUE INDEX holes_missing ON holes (venue, symbol, first_trade_id) WHERE state <> 'FILLED';
CREATE INDEX holes_newest ON holes (venue, symbol, hole_id);
