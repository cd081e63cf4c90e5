"""PyIceberg as a reader and a second writer."""

import json
import os

import pyarrow as pa
import pyiceberg
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.table import StaticTable
from pyiceberg.transforms import BucketTransform, DayTransform, TruncateTransform
from pyiceberg.types import DoubleType, IntegerType, LongType, NestedField, StringType

import canonical
import files


class Engine:
    def hello(self):
        return {"version": pyiceberg.__version__}

    def read(self, metadata_location, columns=None, snapshot_id=None, s3=None):
        table = StaticTable.from_metadata(metadata_location, s3_properties(s3))
        return read_table(table, columns, snapshot_id, s3)

    def check_files(self, metadata_location):
        """Compares manifests with the data files: see `files.py`."""
        return files.check(StaticTable.from_metadata(metadata_location))

    def read_catalog(self, catalog, warehouse, table, columns=None, snapshot_id=None):
        return read_table(open_catalog(catalog, warehouse).load_table(table), columns, snapshot_id)

    def list_tables(self, catalog, warehouse, namespace):
        return {"tables": sorted(".".join(name) for name in open_catalog(catalog, warehouse).list_tables(namespace))}

    def append_catalog(self, catalog, warehouse, table, rows):
        """Appends canonical rows to a table of the catalog file."""
        loaded = open_catalog(catalog, warehouse).load_table(table)
        append(loaded, rows)
        return {"metadata_location": loaded.metadata_location}

    def write_table(self, catalog, warehouse, table, schema, format_version, rows, properties=None):
        """Makes a table of a schema (Iceberg JSON) with canonical rows, by PyIceberg alone."""
        opened = open_catalog(catalog, warehouse)
        opened.create_namespace_if_not_exists(table.rsplit(".", 1)[0])
        made = opened.create_table(
            table,
            Schema.model_validate(schema),
            properties={"format-version": str(format_version), **(properties or {})},
        )
        append(made, rows)
        return {"metadata_location": made.metadata_location}

    def survival_tables(self, directory):
        """Tables whose metadata files carry as much of what PyIceberg can write as possible."""
        os.makedirs(directory, exist_ok=True)
        catalog = open_catalog(f"{directory}/survival.db", directory)
        catalog.create_namespace_if_not_exists("s")
        schema = Schema(
            NestedField(1, "id", LongType(), required=True, doc="the key, schlüssel"),
            NestedField(2, "name", StringType()),
            NestedField(3, "n", IntegerType()),
            identifier_field_ids=[1],
        )
        for version in ("1", "2"):
            table = catalog.create_table(f"s.t{version}", schema, properties={"format-version": version, "odd key": "wert ü"})
            arrow = table.schema().as_arrow()
            table.append(pa.Table.from_pylist([{"id": 1, "name": "ä", "n": None}], schema=arrow))
            with table.update_schema() as update:
                update.add_column("added", DoubleType(), doc="later")
                update.rename_column("name", "label")
            with table.update_spec() as update:
                update.add_field("id", BucketTransform(4), "id_bucket")
                update.add_field("label", TruncateTransform(2))
            table.append(pa.Table.from_pylist([{"id": 2, "label": "b", "n": 3, "added": 0.5}], schema=table.schema().as_arrow()))
            with table.manage_snapshots() as manage:
                manage.create_tag(table.current_snapshot().snapshot_id, "kept")
                manage.create_branch(table.current_snapshot().snapshot_id, "side")
            table.delete("id = 1")
            with table.transaction() as transaction:
                transaction.set_properties({"write.parquet.compression-codec": "zstd"})
                transaction.remove_properties("odd key")
        return {}


def open_catalog(catalog, warehouse):
    return SqlCatalog("icecap", uri=f"sqlite:///{catalog}", warehouse=f"file://{warehouse}")


def s3_properties(s3):
    if not s3:
        return {}
    return {
        "s3.endpoint": s3["endpoint"],
        "s3.access-key-id": s3["key_id"],
        "s3.secret-access-key": s3["secret"],
        "s3.region": s3["region"],
        "s3.force-virtual-addressing": "false",
    }


def read_table(table, columns, snapshot_id, s3=None):
    # From the file itself: PyIceberg does not serialise version 3.
    metadata = canonical.metadata_at(table.metadata_location, s3)
    selected = tuple(columns) if columns else ("*",)
    arrow = table.scan(selected_fields=selected, snapshot_id=snapshot_id).to_arrow()
    names, rows = canonical.rows_of(arrow, canonical.schema_of(metadata, snapshot_id), columns)
    return {"columns": names, "rows": rows, "metadata_location": table.metadata_location}


def append(table, rows):
    schema = json.loads(table.schema().model_dump_json(by_alias=True))
    table.append(canonical.arrow_table(rows, schema, table.schema().as_arrow()))
