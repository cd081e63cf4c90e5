"""DuckDB's COPY of one Parquet file to a folder for each month of l_shipdate, ZSTD level 3: THREADS SOURCE FOLDER."""

import json
import sys
import time

import duckdb

from quote import quote
from sync import sync_tree

threads, source, folder = sys.argv[1:4]
started = time.perf_counter()
connection = duckdb.connect()
connection.execute(f"SET threads = {int(threads)}")
connection.execute(
    f"COPY (SELECT *, date_trunc('month', l_shipdate) AS l_shipmonth FROM read_parquet({quote(source)})) "
    f"TO {quote(folder + '/lineitem')} "
    "(FORMAT parquet, PARTITION_BY (l_shipmonth), COMPRESSION zstd, COMPRESSION_LEVEL 3)"
)
sync_tree(folder)
print(json.dumps({"seconds": time.perf_counter() - started, "version": duckdb.__version__}))
