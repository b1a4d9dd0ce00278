-- Minutes as the venue counted them, compared with the trades stored here.
CREATE TABLE minutes (
    venue          text        NOT NULL,
    symbol         text        NOT NULL,
    time           timestamptz NOT NULL,
    first_trade_id bigint      NOT NULL,
    last_trade_id  bigint      NOT NULL,
    trade_count    bigint      NOT NULL,
    open           numeric     NOT NULL,
    high           numeric     NOT NULL,
    low            numeric     NOT NULL,
    close          numeric     NOT NULL,
    volume         numeric     NOT NULL,
    state          text        NOT NULL CHECK (state IN ('PENDING', 'VERIFIED', 'MISMATCH')),
    difference     text        NOT NULL DEFAULT '',
    received_time  timestamptz NOT NULL DEFAULT now(),
    repairs        integer     NOT NULL DEFAULT 0, -- 1: its trades were asked for again; 2: and still differ
    PRIMARY KEY (venue, symbol, time)
);
COMMENT ON TABLE minutes IS 'The venue''s closed minutes and whether the stored trades make the same';
CREATE INDEX minutes_unsettled ON minutes (venue, symbol, time) WHERE state <> 'VERIFIED';
