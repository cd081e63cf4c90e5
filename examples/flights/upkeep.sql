-- The schedule, with what became of each flight still unknown.
CREATE TABLE flights
WITH (table_type = 'ICEBERG', format = 'PARQUET', partitioning = ARRAY['month(time_hour)'],
      optimize_rewrite_data_file_threshold = 2)
AS SELECT *, CAST(NULL AS varchar) AS tailnum, CAST(NULL AS int) AS dep_time, CAST(NULL AS int) AS arr_delay
   FROM schedule;

-- What became of them.
MERGE INTO flights f
USING actuals a
   ON f.time_hour = a.time_hour AND f.carrier = a.carrier AND f.flight = a.flight AND f.origin = a.origin
WHEN MATCHED THEN UPDATE SET tailnum = a.tailnum, dep_time = a.dep_time, arr_delay = a.arr_delay;

-- Cancelled flights never departed.
DELETE FROM flights WHERE dep_time IS NULL;

-- Who lands early is not late.
UPDATE flights SET arr_delay = 0 WHERE arr_delay < 0;

-- One file a month again, and no delete files.
OPTIMIZE flights REWRITE DATA USING BIN_PACK;
