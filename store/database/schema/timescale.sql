-- What TimescaleDB adds, where it is installed; applied once, after the migrations.
-- Without it the schema is the same, only not cut into chunks.
SELECT create_hypertable('trades', by_range('time', INTERVAL '1 day'),
                         create_default_indexes => false, if_not_exists => true, migrate_data => true);
SELECT create_hypertable('candles', by_range('time', INTERVAL '7 days'),
                         create_default_indexes => false, if_not_exists => true, migrate_data => true);
