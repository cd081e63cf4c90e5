-- What was known of the year in its middle.
INSERT INTO actuals
SELECT * FROM read_parquet('data/actuals.parquet') WHERE time_hour < TIMESTAMP '2013-07-01 00:00:00';
