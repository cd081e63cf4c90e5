"""DuckDB's answer to a query on the Iceberg table of a metadata file, which the query calls lineitem: THREADS FILE SQL.

A reader that none of the measured engines is; delete files are applied. Decimals as text, dates as 2026-01-02."""

import json
import sys

import duckdb
import duckdb_extensions

from quote import quote

threads, metadata_file, sql = sys.argv[1:4]
connection = duckdb.connect()
connection.execute(f"SET threads = {int(threads)}")
for extension in ("avro", "httpfs", "iceberg"):
    duckdb_extensions.import_extension(extension, con=connection)
    connection.load_extension(extension)
connection.execute(f"CREATE VIEW lineitem AS SELECT * FROM iceberg_scan({quote(metadata_file)})")
print(json.dumps({"rows": connection.execute(sql).fetchall()}, default=str))
