"""DuckDB's answer to a query on one Parquet file, which the query calls lineitem: THREADS FILE SQL.

Tells the rows too: decimals as text, dates as 2026-01-02."""

import json
import sys
import time

import duckdb

from quote import quote

threads, source, sql = sys.argv[1:4]
started = time.perf_counter()
connection = duckdb.connect()
connection.execute(f"SET threads = {int(threads)}")
connection.execute(f"CREATE VIEW lineitem AS SELECT * FROM read_parquet({quote(source)})")
rows = connection.execute(sql).fetchall()
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "version": duckdb.__version__, "rows": rows}, default=str))
