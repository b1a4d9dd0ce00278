-- What TimescaleDB adds, where it is installed; applied once, after the migrations.
-- Without it the schema is the same, only not cut into chunks.
SELECT create_hypertable('trades', by_range('time', INTERVAL '1 day'),
                         create_default_indexes => false, if_not_exists => true, migrate_data => true);
SELECT create_hypertable('candles', by_range('time', INTERVAL '7 days'),
                         create_default_indexes => false, if_not_exists => true, migrate_data => true);

-- The community edition compresses chunks nobody writes any more. What that cannot do here it leaves undone: the
-- trades matter more than their size.
DO $$
BEGIN
    IF current_setting('timescaledb.license') = 'apache' OR EXISTS (
        SELECT FROM timescaledb_information.hypertables WHERE hypertable_name = 'trades' AND compression_enabled
    ) THEN
        RETURN;
    END IF;
    ALTER TABLE trades SET (
        timescaledb.enable_columnstore = true,
        timescaledb.segmentby = 'venue, symbol',
        timescaledb.orderby = 'time DESC, trade_id DESC'
    );
    CALL add_columnstore_policy('trades', after => INTERVAL '7 days', if_not_exists => true);
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'trades are not compressed: %', SQLERRM;
END
$$;
