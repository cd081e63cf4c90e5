-- The timetable, in Athena's spelling: 12 months x 8 buckets of carriers, in one statement and one commit.
CREATE TABLE schedule
WITH (table_type = 'ICEBERG', format = 'PARQUET', write_compression = 'zstd',
      partitioning = ARRAY['month(time_hour)', 'bucket(carrier, 8)'])
AS SELECT * FROM read_parquet('data/schedule.parquet');

-- What became of each flight, in Spark's spelling: made empty; the run appends to it, half a year at a time.
CREATE TABLE actuals (
    time_hour timestamptz NOT NULL COMMENT 'scheduled hour of departure',
    carrier   string NOT NULL,
    flight    int NOT NULL,
    origin    string NOT NULL,
    tailnum   string,
    dep_time  int COMMENT 'absent for a cancelled flight',
    dep_delay int,
    arr_time  int,
    arr_delay int,
    air_time  int)
USING iceberg
PARTITIONED BY (months(time_hour))
TBLPROPERTIES ('format-version' = '3');

-- The dimensions write a missing value as NA.
CREATE TABLE airlines AS SELECT * FROM read_csv('data/airlines.csv', header => true, null => 'NA');
CREATE TABLE airports AS SELECT * FROM read_csv('data/airports.csv', header => true, null => 'NA');
CREATE TABLE planes AS SELECT * FROM read_csv('data/planes.csv', header => true, null => 'NA');
