"""Spark's statement on a table of a SQLite catalog file: THREADS WAREHOUSE TABLE_FOLDER SQL.

The catalog is called icecap in the statement; its files are synced inside the measured time. `seconds` leaves out the
start: the session, the connection to the catalog, and the first use of the table's metadata. The Java process, which
does the work, tells its own use of the machine."""

import json
import os
import sys
import time

threads, warehouse, folder, sql = sys.argv[1:5]
os.environ["TZ"] = "UTC"
time.tzset()

from pyspark.sql import SparkSession

from sync import sync_tree

cache = os.environ.get("ICECAP_CACHE") or os.path.expanduser("~/.cache/icecap")
jars = [os.path.join(cache, "jars", name) for name in sorted(os.listdir(f"{cache}/jars")) if name.startswith(("iceberg-spark", "sqlite"))]
scratch = f"{warehouse}/spark"
settings = {
    "spark.jars": ",".join(jars),
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.memory": "4g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.session.timeZone": "UTC",
    # What adaptive execution has to part: 200, the default, is for clusters.
    "spark.sql.shuffle.partitions": str(2 * int(threads)),
    "spark.log.level": "ERROR",
    "spark.local.dir": f"{scratch}/local",
    "spark.sql.warehouse.dir": f"{scratch}/warehouse",
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    "spark.sql.catalog.icecap": "org.apache.iceberg.spark.SparkCatalog",
    "spark.sql.catalog.icecap.type": "jdbc",
    "spark.sql.catalog.icecap.uri": f"jdbc:sqlite:{warehouse}/catalog.db",
    "spark.sql.catalog.icecap.jdbc.schema-version": "V1",
    "spark.sql.catalog.icecap.warehouse": f"file://{warehouse}",
}


def used_by(pid):
    """Seconds of processor time in user mode and in the kernel, and the greatest resident memory, so far."""
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rsplit(")", 1)[1].split()[11:13]
    with open(f"/proc/{pid}/status") as file:
        peak = next(line.split()[1] for line in file if line.startswith("VmHWM:"))
    ticks = os.sysconf("SC_CLK_TCK")
    return {"user_seconds": int(user) / ticks, "system_seconds": int(system) / ticks, "peak_rss_bytes": int(peak) * 1024}


builder = SparkSession.builder.master(f"local[{int(threads)}]")
for key, value in settings.items():
    builder = builder.config(key, value)
session = builder.getOrCreate()
session.sql("SELECT count(*) FROM icecap.default.lineitem.snapshots").collect()
started = time.perf_counter()
rows = session.sql(sql).collect()
sync_tree(folder)
told = {"seconds": time.perf_counter() - started, "version": session.version, "rows": [list(row) for row in rows]}
told["java"] = used_by(session.sparkContext._gateway.proc.pid)
print(json.dumps(told, default=str))
