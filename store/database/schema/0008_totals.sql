-- What the ledger comes to, per venue and symbol, kept by triggers: asking for it costs one row, however many ranges, holes
-- and minutes there are, and whoever changes those, by hand too.
CREATE TABLE ledger_totals (
    venue      text   NOT NULL,
    symbol     text   NOT NULL,
    stored     numeric NOT NULL DEFAULT 0, -- ids
    open_holes bigint NOT NULL DEFAULT 0,
    open       numeric NOT NULL DEFAULT 0, -- ids
    absent     numeric NOT NULL DEFAULT 0, -- ids
    PRIMARY KEY (venue, symbol)
);
COMMENT ON TABLE ledger_totals IS 'How many ids are stored, open and absent: sums over coverage and holes, kept by triggers';
CREATE TABLE minute_totals (
    venue      text   NOT NULL,
    symbol     text   NOT NULL,
    verified   bigint NOT NULL DEFAULT 0,
    mismatched bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (venue, symbol)
);
COMMENT ON TABLE minute_totals IS 'How many minutes are VERIFIED and MISMATCH: counts of minutes, kept by triggers';

INSERT INTO ledger_totals (venue, symbol, stored)
SELECT venue, symbol, sum(last_trade_id::numeric - first_trade_id + 1) FROM coverage GROUP BY 1, 2;
INSERT INTO ledger_totals (venue, symbol, open_holes, open, absent)
SELECT venue, symbol, count(*) FILTER (WHERE state = 'OPEN'),
    coalesce(sum(last_trade_id::numeric - first_trade_id + 1) FILTER (WHERE state = 'OPEN'), 0),
    coalesce(sum(last_trade_id::numeric - first_trade_id + 1) FILTER (WHERE state = 'ABSENT'), 0)
FROM holes WHERE state IN ('OPEN', 'ABSENT') GROUP BY 1, 2
ON CONFLICT (venue, symbol) DO UPDATE
SET open_holes = excluded.open_holes, open = excluded.open, absent = excluded.absent;
INSERT INTO minute_totals
SELECT venue, symbol, count(*) FILTER (WHERE state = 'VERIFIED'), count(*) FILTER (WHERE state = 'MISMATCH')
FROM minutes WHERE state <> 'PENDING' GROUP BY 1, 2;

-- One function for each table and three triggers, as PostgreSQL gives both transition tables to an UPDATE only.
CREATE FUNCTION add_coverage_totals() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE sign integer := CASE WHEN TG_OP = 'DELETE' THEN -1 ELSE 1 END;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO ledger_totals AS totals (venue, symbol, stored)
        SELECT venue, symbol, -sum(last_trade_id::numeric - first_trade_id + 1) FROM removed GROUP BY 1, 2
        ON CONFLICT (venue, symbol) DO UPDATE SET stored = totals.stored + excluded.stored;
    END IF;
    INSERT INTO ledger_totals AS totals (venue, symbol, stored)
    SELECT venue, symbol, sign * sum(last_trade_id::numeric - first_trade_id + 1) FROM changed GROUP BY 1, 2
    ON CONFLICT (venue, symbol) DO UPDATE SET stored = totals.stored + excluded.stored;
    RETURN NULL;
END $$;
CREATE TRIGGER coverage_inserted AFTER INSERT ON coverage
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION add_coverage_totals();
CREATE TRIGGER coverage_deleted AFTER DELETE ON coverage
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION add_coverage_totals();
CREATE TRIGGER coverage_updated AFTER UPDATE ON coverage
    REFERENCING OLD TABLE AS removed NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION add_coverage_totals();

CREATE FUNCTION add_hole_totals() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE sign integer := CASE WHEN TG_OP = 'DELETE' THEN -1 ELSE 1 END;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO ledger_totals AS totals (venue, symbol, open_holes, open, absent)
        SELECT venue, symbol, -count(*) FILTER (WHERE state = 'OPEN'),
            -coalesce(sum(last_trade_id::numeric - first_trade_id + 1) FILTER (WHERE state = 'OPEN'), 0),
            -coalesce(sum(last_trade_id::numeric - first_trade_id + 1) FILTER (WHERE state = 'ABSENT'), 0)
        FROM removed WHERE state IN ('OPEN', 'ABSENT') GROUP BY 1, 2
        ON CONFLICT (venue, symbol) DO UPDATE SET open_holes = totals.open_holes + excluded.open_holes,
            open = totals.open + excluded.open, absent = totals.absent + excluded.absent;
    END IF;
    INSERT INTO ledger_totals AS totals (venue, symbol, open_holes, open, absent)
    SELECT venue, symbol, sign * count(*) FILTER (WHERE state = 'OPEN'),
        sign * coalesce(sum(last_trade_id::numeric - first_trade_id + 1) FILTER (WHERE state = 'OPEN'), 0),
        sign * coalesce(sum(last_trade_id::numeric - first_trade_id + 1) FILTER (WHERE state = 'ABSENT'), 0)
    FROM changed WHERE state IN ('OPEN', 'ABSENT') GROUP BY 1, 2
    ON CONFLICT (venue, symbol) DO UPDATE SET open_holes = totals.open_holes + excluded.open_holes,
        open = totals.open + excluded.open, absent = totals.absent + excluded.absent;
    RETURN NULL;
END $$;
CREATE TRIGGER holes_inserted AFTER INSERT ON holes
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION add_hole_totals();
CREATE TRIGGER holes_deleted AFTER DELETE ON holes
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION add_hole_totals();
CREATE TRIGGER holes_updated AFTER UPDATE ON holes
    REFERENCING OLD TABLE AS removed NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION add_hole_totals();

CREATE FUNCTION add_minute_totals() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE sign integer := CASE WHEN TG_OP = 'DELETE' THEN -1 ELSE 1 END;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO minute_totals AS totals (venue, symbol, verified, mismatched)
        SELECT venue, symbol, -count(*) FILTER (WHERE state = 'VERIFIED'), -count(*) FILTER (WHERE state = 'MISMATCH')
        FROM removed WHERE state <> 'PENDING' GROUP BY 1, 2
        ON CONFLICT (venue, symbol) DO UPDATE SET verified = totals.verified + excluded.verified,
            mismatched = totals.mismatched + excluded.mismatched;
    END IF;
    INSERT INTO minute_totals AS totals (venue, symbol, verified, mismatched)
    SELECT venue, symbol, sign * count(*) FILTER (WHERE state = 'VERIFIED'),
        sign * count(*) FILTER (WHERE state = 'MISMATCH')
    FROM changed WHERE state <> 'PENDING' GROUP BY 1, 2
    ON CONFLICT (venue, symbol) DO UPDATE SET verified = totals.verified + excluded.verified,
        mismatched = totals.mismatched + excluded.mismatched;
    RETURN NULL;
END $$;
CREATE TRIGGER minutes_inserted AFTER INSERT ON minutes
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION add_minute_totals();
CREATE TRIGGER minutes_deleted AFTER DELETE ON minutes
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION add_minute_totals();
CREATE TRIGGER minutes_updated AFTER UPDATE ON minutes
    REFERENCING OLD TABLE AS removed NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION add_minute_totals();

-- For the newest of each kind, without looking at all the others.
CREATE INDEX holes_open ON holes (hole_id) WHERE state = 'OPEN';
CREATE INDEX holes_open_of ON holes (venue, symbol, hole_id) WHERE state = 'OPEN';
CREATE INDEX minutes_mismatched ON minutes (venue, symbol, time) WHERE state = 'MISMATCH';
CREATE INDEX minutes_to_compare ON minutes (time, venue, symbol)
    WHERE state <> 'VERIFIED' AND (state = 'PENDING' OR repairs = 1);
