"""DuckDB's statement on a table of an Iceberg REST catalog: THREADS ENDPOINT SQL FOLDER…

The catalog is called peers in the statement; what the folders have is synced inside the measured time.
`seconds` leaves out the start: the module, its extensions and the connection to the catalog."""

import json
import sys
import time

import duckdb
import duckdb_extensions

from quote import quote
from sync import sync_tree

threads, endpoint, sql = sys.argv[1:4]
folders = sys.argv[4:]
connection = duckdb.connect()
connection.execute(f"SET threads = {int(threads)}")
for extension in ("avro", "httpfs", "iceberg"):
    duckdb_extensions.import_extension(extension, con=connection)
    connection.load_extension(extension)
connection.execute(
    f"ATTACH '' AS peers (TYPE iceberg, ENDPOINT {quote(endpoint)}, AUTHORIZATION_TYPE 'none', "
    "ACCESS_DELEGATION_MODE 'none', READ_ONLY false)"
)
started = time.perf_counter()
connection.execute(sql)
for folder in folders:
    sync_tree(folder)
print(json.dumps({"seconds": time.perf_counter() - started, "version": duckdb.__version__}))
