"""DuckDB as a reader, and (through a REST catalog, its only way) as a writer of tables."""

import os
import subprocess
import sys
import urllib.request

import duckdb
import duckdb_extensions

import canonical

EXTENSIONS = ("avro", "httpfs", "iceberg")


# What a statement may fail with for its values.
VALUE_ERRORS = (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidInputException)


class Engine:
    def __init__(self):
        self.connection = duckdb.connect()
        for name in EXTENSIONS:
            duckdb_extensions.import_extension(name, con=self.connection)
            self.connection.load_extension(name)
        self.connection.execute("SET TimeZone = 'UTC'")

    def hello(self):
        return {"version": duckdb.__version__}

    def read(self, metadata_location, columns=None, snapshot_id=None, s3=None):
        metadata = canonical.metadata_at(metadata_location, s3)
        if s3:
            self.connection.execute(
                f"CREATE OR REPLACE SECRET gateway (TYPE s3, KEY_ID '{s3['key_id']}', SECRET '{s3['secret']}', "
                f"REGION '{s3['region']}', ENDPOINT '{s3['endpoint'].split('://')[1]}', URL_STYLE 'path', USE_SSL false)"
            )
        at = f", snapshot_from_id = {int(snapshot_id)}" if snapshot_id is not None else ""
        chosen = ", ".join('"' + c.replace('"', '""') + '"' for c in columns) if columns else "*"
        location = metadata_location.replace("'", "''")
        query = f"SELECT {chosen} FROM iceberg_scan('{location}'{at})"
        arrow = self.connection.execute(query).to_arrow_table()
        names, rows = canonical.rows_of(arrow, canonical.schema_of(metadata, snapshot_id), columns)
        return {"columns": names, "rows": rows, "metadata_location": metadata_location}

    def sql(self, statements):
        """Runs statements, for figures that a test computes apart from Icecap; answers the last one's rows as text."""
        rows = []
        for statement in statements:
            rows = self.connection.execute(statement).fetchall()
        return {"rows": [[None if v is None else str(v) for v in row] for row in rows]}

    def change(self, statement, twice=None):
        """Runs a statement that changes rows: {"rows": how many} or {"error": why not}.

        `twice` counts the rows that two source rows would change; DuckDB 1.x takes such statements, so they are not run.
        A statement that DuckDB cannot do, or fails inside of, is no answer: the call fails.
        """
        if twice and self.connection.execute(twice).fetchone()[0] > 0:
            if int(duckdb.__version__.split(".")[0]) < 2:
                return {"error": "two source rows for one target row"}
            try:
                self.connection.execute(statement)
            except duckdb.Error as error:
                return {"error": f"two source rows for one target row: {error}"}
            raise AssertionError("DuckDB takes two source rows for one target row")
        try:
            changed = self.connection.execute(statement).fetchall()
        except VALUE_ERRORS as error:
            return {"error": str(error)}
        return {"rows": changed[0][0] if changed else 0}

    def select(self, query, schema):
        """The rows of a query as canonical values of a schema."""
        names, rows = canonical.rows_of(self.connection.execute(query).to_arrow_table(), schema)
        return {"columns": names, "rows": rows}

    def survival_tables(self, directory):
        os.makedirs(directory, exist_ok=True)
        with RestCatalog(directory) as endpoint:
            self.connection.execute(
                f"ATTACH '' AS survival (TYPE iceberg, ENDPOINT '{endpoint}', AUTHORIZATION_TYPE 'none', "
                "ACCESS_DELEGATION_MODE 'none', READ_ONLY false)"
            )
            try:
                self.connection.execute("CREATE SCHEMA survival.s")
                for version in (2, 3):
                    name = f"survival.s.t{version}"
                    for statement in (
                        f"CREATE TABLE {name} (id BIGINT, label VARCHAR, n INTEGER, d DATE) WITH ('format-version' = '{version}')",
                        f"INSERT INTO {name} VALUES (1, 'ä', NULL, DATE '2026-01-02'), (2, NULL, 5, NULL)",
                        f"INSERT INTO {name} VALUES (3, '雪', 7, DATE '1969-12-31')",
                        f"DELETE FROM {name} WHERE id = 2",
                        f"ALTER TABLE {name} ADD COLUMN added DOUBLE",
                    ):
                        self.connection.execute(statement)
            finally:
                self.connection.execute("DETACH survival")
        return {}


class RestCatalog:
    """The little REST catalog beside this file, on a free port, for as long as the block runs."""

    def __init__(self, directory):
        self.directory = directory

    def __enter__(self):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rest_catalog.py")
        self.process = subprocess.Popen(
            [sys.executable, script, self.directory], stdout=subprocess.PIPE, text=True
        )
        endpoint = self.process.stdout.readline().strip()
        urllib.request.urlopen(f"{endpoint}/v1/config", timeout=10).read()
        return endpoint

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
