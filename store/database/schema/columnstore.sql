-- The community edition of TimescaleDB compresses chunks nobody writes any more. What it cannot do here it leaves undone,
-- with a warning: the trades matter more than their size. Asked at every start, and tried until it is done.
DO $$
BEGIN
    IF current_setting('timescaledb.license') = 'apache' OR EXISTS (
        SELECT FROM timescaledb_information.hypertables WHERE hypertable_name = 'trades' AND compression_enabled
    ) THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_proc WHERE proname = 'add_columnstore_policy') THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = 'this TimescaleDB has no columnstore';
    END IF;
    SET LOCAL lock_timeout = '5s'; -- a dump that runs for an hour must not keep trades from being stored
    ALTER TABLE trades SET (
        timescaledb.enable_columnstore = true,
        timescaledb.segmentby = 'venue, symbol',
        timescaledb.orderby = 'time DESC, trade_id DESC'
    );
    CALL add_columnstore_policy('trades', after => INTERVAL '7 days', if_not_exists => true);
-- Nothing else: a mistake in the lines above must not look like an edition that cannot, and goes to the caller.
EXCEPTION WHEN feature_not_supported OR insufficient_privilege OR lock_not_available THEN
    RAISE WARNING 'trades are not compressed: %', SQLERRM;
END
$$;
