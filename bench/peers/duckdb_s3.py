"""DuckDB's COPY of one Parquet file to an object of S3, ZSTD level 3: THREADS SOURCE s3://BUCKET/KEY.

The server and its key come from the AWS_ variables, as Icecap takes them."""

import json
import os
import sys
import time

import duckdb
import duckdb_extensions

from quote import quote

threads, source, to = sys.argv[1:4]
started = time.perf_counter()
connection = duckdb.connect()
duckdb_extensions.import_extension("httpfs", con=connection)
connection.load_extension("httpfs")
connection.execute(f"SET threads = {int(threads)}")
scheme, endpoint = os.environ["AWS_ENDPOINT_URL_S3"].split("://")
connection.execute(
    f"CREATE SECRET server (TYPE s3, KEY_ID {quote(os.environ['AWS_ACCESS_KEY_ID'])}, "
    f"SECRET {quote(os.environ['AWS_SECRET_ACCESS_KEY'])}, REGION {quote(os.environ['AWS_REGION'])}, "
    f"ENDPOINT {quote(endpoint)}, URL_STYLE 'path', USE_SSL {str(scheme == 'https').lower()})"
)
connection.execute(
    f"COPY (SELECT * FROM read_parquet({quote(source)})) TO {quote(to)} "
    "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3)"
)
print(json.dumps({"seconds": time.perf_counter() - started, "version": duckdb.__version__}))
