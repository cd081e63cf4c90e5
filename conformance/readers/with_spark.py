"""Spark as a reader and a second writer: one session, in which every catalog file gets a session of its own."""

import os
import tempfile
import time

os.environ["TZ"] = "UTC"
time.tzset()

from pyspark.sql import SparkSession  # noqa: E402 - the time zone comes first

import canonical  # noqa: E402

CATALOG = "org.apache.iceberg.spark.SparkCatalog"


class Engine:
    def __init__(self):
        cache = os.environ.get("ICECAP_CACHE") or os.path.expanduser("~/.cache/icecap")
        jars = [os.path.join(cache, "jars", name) for name in sorted(os.listdir(os.path.join(cache, "jars"))) if name.endswith(".jar")]
        scratch = tempfile.mkdtemp(prefix="icecap-spark-")
        settings = {
            "spark.jars": ",".join(jars),
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.driver.memory": "1g",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.adaptive.enabled": "false",
            "spark.log.level": "ERROR",
            "spark.local.dir": scratch,
            "spark.sql.warehouse.dir": f"{scratch}/warehouse",
            "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
            "spark.sql.catalog.ice": CATALOG,
            "spark.sql.catalog.ice.type": "jdbc",
            "spark.sql.catalog.ice.uri": "jdbc:sqlite:file:icecap_readers?mode=memory&cache=shared",
            "spark.sql.catalog.ice.jdbc.schema-version": "V1",
            "spark.sql.catalog.ice.cache-enabled": "false",
            "spark.sql.catalog.ice.warehouse": f"file://{scratch}/ice",
        }
        builder = SparkSession.builder.master("local[2]")
        for key, value in settings.items():
            builder = builder.config(key, value)
        self.session = builder.getOrCreate()
        self.session.sql("CREATE NAMESPACE ice.db")
        self.sessions = {}
        self.count = 0

    def hello(self):
        return {"version": self.session.version}

    def read(self, metadata_location, columns=None, snapshot_id=None, s3=None):
        """Registers the metadata file in a catalog in memory, so that nothing is written beside the table."""
        self.count += 1
        name = f"db.t{self.count}"
        catalog = self.catalog_on(s3) if s3 else "ice"
        self.session.sql(f"CALL {catalog}.system.register_table(table => '{name}', metadata_file => '{quoted(metadata_location)}')")
        try:
            answer = read_table(self.session, f"{catalog}.{name}", metadata_location, columns, snapshot_id, s3)
        finally:
            self.session.sql(f"DROP TABLE {catalog}.{name}")
        return answer

    def catalog_on(self, s3):
        """A catalog in memory whose tables are on an S3 server; one for each server."""
        catalog = "s3_" + s3["endpoint"].rsplit(":", 1)[1]
        if catalog not in self.sessions:
            for key, value in {
                "": CATALOG,
                ".type": "jdbc",
                ".uri": f"jdbc:sqlite:file:{catalog}?mode=memory&cache=shared",
                ".jdbc.schema-version": "V1",
                ".cache-enabled": "false",
                ".warehouse": "s3://none/warehouse",
                ".io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
                ".s3.endpoint": s3["endpoint"],
                ".s3.path-style-access": "true",
                ".s3.access-key-id": s3["key_id"],
                ".s3.secret-access-key": s3["secret"],
                ".client.region": s3["region"],
            }.items():
                self.session.conf.set(f"spark.sql.catalog.{catalog}{key}", value)
            self.session.sql(f"CREATE NAMESPACE {catalog}.db")
            self.sessions[catalog] = self.session
        return catalog

    def read_catalog(self, catalog, warehouse, table, columns=None, snapshot_id=None):
        session = self.of_catalog(catalog, warehouse)
        location = session.sql(f"SELECT file FROM icecap.{table}.metadata_log_entries ORDER BY timestamp DESC LIMIT 1").collect()[0][0]
        return read_table(session, f"icecap.{table}", location, columns, snapshot_id)

    def list_tables(self, catalog, warehouse, namespace):
        rows = self.of_catalog(catalog, warehouse).sql(f"SHOW TABLES IN icecap.{namespace}").collect()
        return {"tables": sorted(f"{row.namespace}.{row.tableName}" for row in rows)}

    def sql(self, statements, catalog=None, warehouse=None):
        """Runs statements; with a catalog file it is the catalog `icecap`. Answers the last one's rows as text."""
        session = self.of_catalog(catalog, warehouse) if catalog else self.session
        rows = []
        for statement in statements:
            rows = session.sql(statement).collect()
        return {"rows": [[None if v is None else str(v) for v in row] for row in rows]}

    def delete_equal(self, catalog, warehouse, table, columns, rows):
        """Adds a file of equality deletes, which Spark itself never writes, by Iceberg's own library."""
        session = self.of_catalog(catalog, warehouse)
        jvm, gateway = session._jvm, session.sparkContext._gateway
        iceberg = jvm.org.apache.iceberg
        target = iceberg.spark.Spark3Util.loadIcebergTable(session._jsparkSession, f"icecap.{table}")
        names = jvm.java.util.ArrayList()
        for column in columns:
            names.add(column)
        schema = target.schema().select(names)
        ids = gateway.new_array(jvm.int, len(columns))
        for at, column in enumerate(columns):
            ids[at] = target.schema().findField(column).fieldId()
        self.count += 1
        output = target.io().newOutputFile(f"{target.location()}/data/equal-{os.getpid()}-{self.count}.parquet")
        encrypted = iceberg.encryption.EncryptedFiles.plainAsEncryptedOutput(output)
        kind = jvm.java.lang.Thread.currentThread().getContextClassLoader().loadClass("org.apache.iceberg.data.Record")
        registry = iceberg.formats.FormatModelRegistry
        builder = registry.equalityDeleteWriteBuilder(iceberg.FileFormat.PARQUET, kind, encrypted)
        writer = builder.schema(schema).spec(target.spec()).equalityFieldIds(ids).build()
        for row in rows:
            record = iceberg.data.GenericRecord.create(schema)
            for column, value in zip(columns, row):
                record.setField(column, value)
            writer.write(record)
        writer.close()
        target.newRowDelta().addDeletes(writer.toDeleteFile()).commit()
        return {}

    def of_catalog(self, catalog, warehouse):
        """A session whose catalog `icecap` is the file: Iceberg's JDBC catalog stores its name in each row."""
        if catalog not in self.sessions:
            session = self.session.newSession()
            for key, value in {
                "": CATALOG,
                ".type": "jdbc",
                ".uri": f"jdbc:sqlite:{catalog}",
                ".jdbc.schema-version": "V1",
                ".cache-enabled": "false",
                ".warehouse": f"file://{warehouse}",
            }.items():
                session.conf.set(f"spark.sql.catalog.icecap{key}", value)
            self.sessions[catalog] = session
        return self.sessions[catalog]

    def survival_tables(self, directory):
        """Tables whose metadata files carry as much of what Spark can write as possible."""
        os.makedirs(directory, exist_ok=True)
        session = self.of_catalog(f"{directory}/survival.db", directory)
        session.sql("CREATE NAMESPACE IF NOT EXISTS icecap.s")
        for version in (1, 2, 3):
            table = f"icecap.s.t{version}"
            mode = "copy-on-write" if version == 1 else "merge-on-read"
            statements = [
                f"CREATE TABLE {table} (id bigint NOT NULL COMMENT 'schlüssel', s string, d date, ts timestamp_ntz, tz timestamp, "
                "n decimal(10,2), b binary, l array<int>, m map<string,int>, st struct<a:int,b:string>) USING iceberg "
                f"PARTITIONED BY (bucket(2,id), days(ts)) TBLPROPERTIES ('format-version'='{version}', 'odd key'='wert ü', "
                f"'write.delete.mode'='{mode}','write.update.mode'='{mode}')",
                f"INSERT INTO {table} SELECT id, concat('s',id), date'2026-01-01', timestamp_ntz'2026-01-01 00:00:00', timestamp'2026-01-01 00:00:00Z', "
                "id/10, X'00ff', array(1,cast(id as int)), map('k',1), named_struct('a',1,'b','x') FROM range(20)",
                f"ALTER TABLE {table} WRITE ORDERED BY s DESC NULLS LAST, id",
                f"ALTER TABLE {table} ADD COLUMN later double AFTER s",
                f"ALTER TABLE {table} RENAME COLUMN s TO label",
                f"ALTER TABLE {table} ADD PARTITION FIELD truncate(2, label)",
                f"ALTER TABLE {table} DROP PARTITION FIELD days(ts)",
                f"ALTER TABLE {table} CREATE TAG kept RETAIN 5 DAYS",
                f"ALTER TABLE {table} CREATE BRANCH side WITH SNAPSHOT RETENTION 3 SNAPSHOTS",
                f"DELETE FROM {table} WHERE id = 3",
                f"ALTER TABLE {table} SET IDENTIFIER FIELDS id",
                f"ALTER TABLE {table} UNSET TBLPROPERTIES ('odd key')",
                f"CALL icecap.system.compute_table_stats(table => 's.t{version}')",
                f"CALL icecap.system.compute_partition_stats(table => 's.t{version}')",
            ]
            if version == 3:
                statements.append("CREATE TABLE icecap.s.variants (id bigint, v variant) USING iceberg TBLPROPERTIES ('format-version'='3')")
                statements.append("INSERT INTO icecap.s.variants SELECT 1, parse_json('{\"a\": 1}')")
            for statement in statements:
                session.sql(statement).collect()
        return {}


def quoted(text):
    return text.replace("\\", "\\\\").replace("'", "\\'")


def read_table(session, name, metadata_location, columns, snapshot_id, s3=None):
    metadata = canonical.metadata_at(metadata_location, s3)
    chosen = ", ".join("`" + c.replace("`", "``") + "`" for c in columns) if columns else "*"
    at = f" VERSION AS OF {int(snapshot_id)}" if snapshot_id is not None else ""
    arrow = session.sql(f"SELECT {chosen} FROM {name}{at}").toArrow()
    names, rows = canonical.rows_of(arrow, canonical.schema_of(metadata, snapshot_id), columns)
    return {"columns": names, "rows": rows, "metadata_location": metadata_location}
