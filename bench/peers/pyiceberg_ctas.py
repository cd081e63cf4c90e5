"""PyIceberg's append of one Parquet file to a new table, ZSTD level 3: THREADS SOURCE FOLDER."""

import json
import os
import sys
import time

threads, source, folder = sys.argv[1:4]
os.environ["PYICEBERG_MAX_WORKERS"] = threads

import pyarrow
import pyarrow.parquet
import pyiceberg
from pyiceberg.catalog.sql import SqlCatalog

from sync import sync_tree

pyarrow.set_cpu_count(int(threads))
started = time.perf_counter()
catalog = SqlCatalog("bench", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
catalog.create_namespace("default")
rows = pyarrow.parquet.read_table(source)
table = catalog.create_table(
    "default.lineitem",
    schema=rows.schema,
    properties={"write.parquet.compression-codec": "zstd", "write.parquet.compression-level": "3"},
)
table.append(rows)
sync_tree(folder)
print(json.dumps({"seconds": time.perf_counter() - started, "version": pyiceberg.__version__}))
