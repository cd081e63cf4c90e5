"""DuckDB's COPY of one Parquet file to another, ZSTD level 3: THREADS SOURCE FOLDER."""

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
    f"COPY (SELECT * FROM read_parquet({quote(source)})) TO {quote(folder + '/lineitem.parquet')} "
    "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3)"
)
sync_tree(folder)
print(json.dumps({"seconds": time.perf_counter() - started, "version": duckdb.__version__}))
