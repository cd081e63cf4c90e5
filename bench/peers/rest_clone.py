"""A table of an Iceberg REST catalog over the data files that a metadata file names; nothing is copied.

    THREADS ENDPOINT METADATA_FILE NAMESPACE NAME LOCATION PROPERTIES

Makes an empty table with the same columns and puts the metadata file's current snapshot into it."""

import gzip
import json
import sys

from rest import Catalog

_, endpoint, metadata_file, namespace, name, location, properties = sys.argv[1:8]
with open(metadata_file, "rb") as file:
    text = file.read()
metadata = json.loads(gzip.decompress(text) if text.startswith(b"\x1f\x8b") else text)


def current(entries, key, wanted):
    return next(entry for entry in metadata[entries] if entry[key] == metadata[wanted])


snapshot = dict(current("snapshots", "snapshot-id", "current-snapshot-id"))
# Its history stays behind.
snapshot.pop("parent-snapshot-id", None)
# The reserved column ids of rows are no columns; catalogs give ids from 1 on, in order.
schema = current("schemas", "schema-id", "current-schema-id")
if [field["id"] for field in schema["fields"]] != list(range(1, len(schema["fields"]) + 1)):
    raise SystemExit(f"{metadata_file}: column ids are not 1, 2, 3 …: a catalog would give others")

catalog = Catalog(endpoint)
catalog.ensure_namespace(namespace)
table = catalog.create_table(
    namespace,
    {
        "name": name,
        "location": location,
        "schema": schema,
        "partition-spec": current("partition-specs", "spec-id", "default-spec-id"),
        "stage-create": False,
        "properties": {
            **metadata["properties"],
            **json.loads(properties),
            "format-version": str(metadata["format-version"]),
        },
    },
)
catalog.commit(
    namespace,
    name,
    {
        "identifier": {"namespace": [namespace], "name": name},
        "requirements": [{"type": "assert-table-uuid", "uuid": table["metadata"]["table-uuid"]}],
        "updates": [
            {"action": "add-snapshot", "snapshot": snapshot},
            {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": snapshot["snapshot-id"]},
        ],
    },
)
