"""PyIceberg's delete or update of rows, copy-on-write: THREADS WAREHOUSE TABLE_FOLDER delete|update FILTER VALUES.

VALUES are columns' new values for update, as JSON: a number is added to the old one, a text replaces it.
`seconds` leaves out the start: the modules and the catalog."""

import json
import os
import sys
import time

threads, warehouse, folder, statement, row_filter, values = sys.argv[1:7]
os.environ["PYICEBERG_MAX_WORKERS"] = threads

import pyarrow
import pyarrow.compute
import pyiceberg
from pyiceberg.catalog.sql import SqlCatalog

from sync import sync_tree

pyarrow.set_cpu_count(int(threads))
catalog = SqlCatalog("icecap", uri=f"sqlite:///{warehouse}/catalog.db", warehouse=f"file://{warehouse}")
started = time.perf_counter()
table = catalog.load_table("default.lineitem")
if statement == "delete":
    table.delete(row_filter)
else:
    rows = table.scan(row_filter=row_filter).to_arrow()
    for name, value in json.loads(values).items():
        at = rows.schema.get_field_index(name)
        field = rows.schema.field(at)
        if isinstance(value, str):
            column = pyarrow.repeat(pyarrow.scalar(value, field.type), len(rows))
        else:
            column = pyarrow.compute.add(rows.column(at), pyarrow.scalar(value, field.type))
        rows = rows.set_column(at, field, column)
    table.overwrite(rows, overwrite_filter=row_filter)
sync_tree(folder)
print(json.dumps({"seconds": time.perf_counter() - started, "version": pyiceberg.__version__}))
