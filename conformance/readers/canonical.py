"""One form for a value, whichever engine read it.

Driven by the Iceberg type in the table's metadata, never by what the engine made of it:
  NULL null · boolean · int, long as numbers · float, double as numbers, "NaN", "Infinity", "-Infinity"
  decimal "1.50" with exactly the type's scale · date "2026-01-02" · time "03:04:05.000006"
  timestamp "2026-01-02T03:04:05.000006" (ns: nine digits; with zone: a trailing Z)
  string · uuid lower-case with hyphens · fixed, binary base64
  list [...] · map [[key, value], ...] sorted by key · struct {"field": ...}
`conformance/src/canonical.rs` is its twin: the two must agree.
"""

import base64
import datetime
import decimal
import gzip
import json
import re
import uuid

import pyarrow as pa
from pyarrow.fs import S3FileSystem

MICROS_PER_DAY = 86_400_000_000
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()


def metadata_at(location, s3=None):
    """The JSON of a metadata file on the local disk or on an S3 server, plain or gzip."""
    if s3:
        with s3_files(s3).open_input_file(location.removeprefix("s3://")) as file:
            text = file.read()
    else:
        path = location.removeprefix("file://").removeprefix("file:")
        with open(path, "rb") as file:
            text = file.read()
    return json.loads(gzip.decompress(text) if text.startswith(b"\x1f\x8b") else text)


def s3_files(s3):
    """Arrow's own client of an S3 server, which a request describes as {"endpoint", "key_id", "secret", "region"}."""
    scheme, host = s3["endpoint"].split("://")
    return S3FileSystem(access_key=s3["key_id"], secret_key=s3["secret"], region=s3["region"], scheme=scheme, endpoint_override=host)


def schema_of(metadata, snapshot_id=None):
    """The schema (as in the metadata JSON) that a read of the current or the named snapshot has."""
    if "schemas" not in metadata:  # format version 1
        return metadata["schema"]
    wanted = metadata["current-schema-id"]
    if snapshot_id is not None:
        snapshot = next(s for s in metadata["snapshots"] if s["snapshot-id"] == snapshot_id)
        wanted = snapshot.get("schema-id", wanted)
    return next(s for s in metadata["schemas"] if s["schema-id"] == wanted)


def rows_of(table, schema, columns=None):
    """The rows of an Arrow table as lists of canonical values in the schema's column order."""
    fields = [f for f in schema["fields"] if columns is None or f["name"] in columns]
    if isinstance(table, pa.RecordBatchReader):
        table = table.read_all()
    made = [[to_canonical(value, f["type"]) for value in table.column(f["name"])] for f in fields]
    rows = [list(row) for row in zip(*made)] if fields else []
    rows.sort(key=lambda row: json.dumps(row, sort_keys=True))
    return [f["name"] for f in fields], rows


def decimal_scale(kind):
    found = re.fullmatch(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)", kind)
    return int(found[2]) if found else None


def date_text(days):
    return datetime.date.fromordinal(EPOCH_ORDINAL + days).isoformat()


def clock_text(units, per_second):
    seconds, rest = divmod(units, per_second)
    digits = len(str(per_second)) - 1
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:0{digits}}"


def timestamp_text(value, unit, kind):
    per_second = PER_SECOND["ns" if kind.endswith("_ns") else "us"]
    if per_second >= PER_SECOND[unit]:
        value *= per_second // PER_SECOND[unit]
    else:
        value, lost = divmod(value, PER_SECOND[unit] // per_second)
        assert lost == 0, "the engine answered with more digits than the type has"
    days, rest = divmod(value, per_second * 86_400)
    zone = "Z" if kind.startswith("timestamptz") else ""
    return f"{date_text(days)}T{clock_text(rest, per_second)}{zone}"


def to_canonical(scalar, kind):
    """The canonical form of an Arrow scalar of an Iceberg type."""
    if not scalar.is_valid:
        return None
    if isinstance(kind, dict):
        return nested_to_canonical(scalar, kind)
    if kind in ("boolean", "int", "long", "string"):
        return scalar.as_py()
    if kind in ("float", "double"):
        value = scalar.as_py()
        if value != value:
            return "NaN"
        return value if abs(value) != float("inf") else ("Infinity" if value > 0 else "-Infinity")
    if kind.startswith("decimal"):
        value = scalar.as_py()
        text = f"{value:.{decimal_scale(kind)}f}"
        assert decimal.Decimal(text) == value, f"{value} has more digits than {kind}"
        return text
    if kind == "date":
        return date_text(scalar.value)
    if kind == "time":
        return clock_text(scalar.value * (10**6 // PER_SECOND["us"]), 10**6)
    if kind.startswith("timestamp"):
        return timestamp_text(scalar.value, scalar.type.unit, kind)
    value = scalar.as_py()
    if kind == "uuid":
        return str(value if isinstance(value, uuid.UUID) else uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(value))
    if kind == "binary" or kind.startswith("fixed"):
        return base64.b64encode(value).decode()
    raise ValueError(f"no canonical form for the type {kind}")


def nested_to_canonical(scalar, kind):
    if kind["type"] == "list":
        return [to_canonical(value, kind["element"]) for value in scalar.values]
    if kind["type"] == "struct":
        return {f["name"]: to_canonical(scalar[f["name"]], f["type"]) for f in kind["fields"]}
    entries = scalar.values
    keys, values = entries.field(0), entries.field(1)
    pairs = [[to_canonical(k, kind["key"]), to_canonical(v, kind["value"])] for k, v in zip(keys, values)]
    return sorted(pairs, key=lambda pair: json.dumps(pair[0], sort_keys=True))


def from_canonical(value, kind):
    """What `pyarrow` needs to store a canonical value: the inverse of `to_canonical`."""
    if value is None:
        return None
    if isinstance(kind, dict):
        if kind["type"] == "list":
            return [from_canonical(v, kind["element"]) for v in value]
        if kind["type"] == "struct":
            return {f["name"]: from_canonical(value[f["name"]], f["type"]) for f in kind["fields"]}
        return [(from_canonical(k, kind["key"]), from_canonical(v, kind["value"])) for k, v in value]
    if kind in ("float", "double"):
        return float(value)
    if kind.startswith("decimal"):
        return decimal.Decimal(value)
    if kind == "date":
        return datetime.date.fromisoformat(value)
    if kind == "time":
        return datetime.time.fromisoformat(value)
    if kind.startswith("timestamp"):
        return integer_timestamp(value, 10**9 if kind.endswith("_ns") else 10**6)
    if kind == "uuid":
        return uuid.UUID(value).bytes
    if kind == "binary" or kind.startswith("fixed"):
        return base64.b64decode(value)
    return value


def integer_timestamp(text, per_second):
    day, clock = text.rstrip("Z").split("T")
    whole, _, fraction = clock.partition(".")
    hours, minutes, seconds = (int(part) for part in whole.split(":"))
    days = datetime.date.fromisoformat(day).toordinal() - EPOCH_ORDINAL
    digits = len(str(per_second)) - 1
    return ((days * 24 + hours) * 60 + minutes) * 60 * per_second + seconds * per_second + int(fraction.ljust(digits, "0") or 0)


def arrow_table(rows, schema, arrow_schema):
    """An Arrow table of canonical rows (lists in column order), typed as the table wants it."""
    arrays = []
    for at, field in enumerate(schema["fields"]):
        values = [from_canonical(row[at], field["type"]) for row in rows]
        arrays.append(pa.array(values, type=storage_type(arrow_schema.field(at).type)))
    plain = pa.schema([f.with_type(storage_type(f.type)) for f in arrow_schema])
    return pa.Table.from_arrays(arrays, schema=plain)


def storage_type(kind):
    """The type below an extension type (Arrow's uuid), which arrays are made of."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
