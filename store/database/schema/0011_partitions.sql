-- In how many streams each RAW and PROCESSED are: the positions in `progress` are positions in these. One row, which stays.
CREATE TABLE partitions (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    count integer NOT NULL
);
COMMENT ON TABLE partitions IS 'PARTITIONS of the mesh whose trades these are';
INSERT INTO partitions (count) SELECT 1 FROM progress WHERE stream = 'RAW';
