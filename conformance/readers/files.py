"""What a table's manifests say of its data files, against what PyIceberg computes from the same files.

Partition values by PyIceberg's own transforms, row counts, sizes, and per column the counts and bounds: once from the
values, and once by the function with which PyIceberg describes files of its own, column sizes and split offsets included.
"""

import ctypes
import dataclasses
import os
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.conversions import from_bytes
from pyiceberg.io.pyarrow import (
    MetricModeTypes,
    MetricsMode,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
)
from pyiceberg.types import (
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    PrimitiveType,
    TimestampNanoType,
    TimestamptzNanoType,
    UUIDType,
)

MAX_PROBLEMS = 20


def check(table):
    """What is wrong, as sentences; and how many files and partition values were looked at."""
    schema, problems, files, values, compared = table.schema(), [], 0, 0, 0
    plan = statistics_plan(table)
    for task in table.scan().plan_files():
        file = task.file
        path = file.file_path.removeprefix("file://").removeprefix("file:")
        arrow = pq.ParquetFile(path).read()
        by_id = {field_id(field): at for at, field in enumerate(arrow.schema)}
        files += 1
        expect(problems, path, "record_count", file.record_count, arrow.num_rows)
        expect(problems, path, "file_size_in_bytes", file.file_size_in_bytes, os.path.getsize(path))
        for at, field in enumerate(table.specs()[file.spec_id].fields):
            source = schema.find_field(field.source_id)
            column = internal(arrow.column(by_id[source.field_id]), source.field_type)
            transform = field.transform.transform(source.field_type)
            for value in column:
                values += 1
                computed = as_decoded(transform(value), field.transform.result_type(source.field_type))
                expect(problems, path, f"partition {field.name} of {value!r}", comparable(file.partition[at]), comparable(computed))
        for field in schema.fields:
            if isinstance(field.field_type, PrimitiveType):
                check_column(problems, path, file, field, internal(arrow.column(by_id[field.field_id]), field.field_type))
        compared += check_statistics(problems, path, file, schema, plan)
    return {"problems": problems[:MAX_PROBLEMS], "files": files, "partition_values": values, "statistics": compared}


def statistics_plan(table):
    """PyIceberg's plan, without bounds of nanoseconds: pyarrow gives Parquet's bounds as Python values, which have none."""
    plan = compute_statistics_plan(table.schema(), table.properties)
    counts = MetricsMode(MetricModeTypes.COUNTS)
    for field, collector in plan.items():
        if isinstance(collector.iceberg_type, (TimestampNanoType, TimestamptzNanoType)):
            plan[field] = dataclasses.replace(collector, mode=counts)
    return plan


def check_statistics(problems, path, file, schema, plan):
    """Compares a manifest's entry with PyIceberg's own description of the file; answers how many numbers were compared."""
    parquet = pq.ParquetFile(path)
    # By position: a path does not tell a column with a dot from a nested one.
    ids = list(leaf_ids(parquet.schema_arrow))
    group = parquet.metadata.row_group(0)
    paths = {group.column(at).path_in_schema: field for at, field in enumerate(ids)}
    if len(paths) != len(ids):
        raise ValueError(f"{path}: two columns have the same path")
    # What a table's own settings leave out is compared where it is there.
    theirs = data_file_statistics_from_parquet_metadata(parquet.metadata, plan, paths).to_serialized_dict()
    flat = {field.field_id for field in schema.fields if isinstance(field.field_type, PrimitiveType)}
    expect(problems, path, "split_offsets", list(file.split_offsets or []), theirs["split_offsets"])
    compared = 1
    for kind in ("column_sizes", "value_counts", "null_value_counts"):
        ours = getattr(file, kind) or {}
        # What counts as a value or a NULL inside a list is each engine's own affair.
        wanted = ids if kind == "column_sizes" else [field for field in ids if field in flat]
        for field in wanted:
            if field in theirs[kind]:
                compared += 1
                expect(problems, path, f"{kind} of {field}", ours.get(field), theirs[kind][field])
    for kind in ("lower_bounds", "upper_bounds"):
        ours = getattr(file, kind) or {}
        for field in flat & set(theirs[kind]):
            of = schema.find_field(field).field_type
            compared += 1
            found = from_bytes(of, ours[field]) if field in ours else None
            wanted = from_bytes(of, theirs[kind][field])
            # Numerically: Parquet's statistics say -0.0 where both zeros are meant.
            expect(problems, path, f"{kind} of {field}", comparable(found), comparable(wanted))
    return compared


def leaf_ids(kind):
    """The field ids of the leaf columns below a schema or a nested type, in Parquet's order."""
    for at in range(len(kind) if isinstance(kind, pa.Schema) else kind.num_fields):
        field = kind.field(at)
        yield from leaf_ids_of(field)


def leaf_ids_of(field):
    kind = field.type
    if pa.types.is_map(kind):
        yield from leaf_ids_of(kind.key_field)
        yield from leaf_ids_of(kind.item_field)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from leaf_ids_of(kind.value_field)
    elif pa.types.is_struct(kind):
        yield from leaf_ids(kind)
    else:
        yield field_id(field)


def check_column(problems, path, file, field, values):
    present = [value for value in values if value is not None]
    floating = isinstance(field.field_type, (FloatType, DoubleType))
    numbers = [value for value in present if value == value] if floating else present
    where = f"{path} column {field.name}"
    expect(problems, where, "value_counts", file.value_counts.get(field.field_id), len(values))
    expect(problems, where, "null_value_counts", file.null_value_counts.get(field.field_id), len(values) - len(present))
    if floating:
        expect(problems, where, "nan_value_counts", file.nan_value_counts.get(field.field_id), len(present) - len(numbers))
    if (file.column_sizes or {}).get(field.field_id, 0) <= 0:
        problems.append(f"{where}: no column size")
    lower, upper = (bounds.get(field.field_id) for bounds in (file.lower_bounds or {}, file.upper_bounds or {}))
    if not numbers:
        if (lower, upper) != (None, None):
            problems.append(f"{where}: bounds of a column without values")
        return
    least, most = min(numbers, key=sort_key), max(numbers, key=sort_key)
    if lower is None:
        problems.append(f"{where}: no lower bound")
    elif sort_key(from_bytes(field.field_type, lower)) > sort_key(least):
        problems.append(f"{where}: lower bound {lower!r} is above {least!r}")
    if upper is None:
        # Highest code points or bytes have nothing above them that is as short: then there is no bound.
        if most[:16] not in ("\U0010ffff" * 16, b"\xff" * 16):
            problems.append(f"{where}: no upper bound")
    elif sort_key(from_bytes(field.field_type, upper)) < sort_key(most):
        problems.append(f"{where}: upper bound {upper!r} is below {most!r}")


def sort_key(value):
    return value.bytes if isinstance(value, uuid.UUID) else value


def field_id(field):
    return int((field.metadata or {}).get(b"PARQUET:field_id", b"-1"))


def internal(column, kind):
    """Values as Iceberg's transforms take them: dates and times as integers."""
    made = []
    for scalar in column:
        value = scalar.value if hasattr(scalar, "value") and scalar.is_valid and not hasattr(scalar.type, "storage_type") else scalar.as_py()
        if isinstance(kind, UUIDType) and isinstance(value, bytes):
            value = uuid.UUID(bytes=value)
        made.append(value)
    return made


def as_decoded(value, kind):
    """A partition value as it comes out of a manifest: whole numbers wrap around in their type, as the transforms
    of Iceberg's own library do (PyIceberg computes without a limit), and PyIceberg's decoder cuts doubles to floats."""
    if value is None:
        return None
    if isinstance(kind, (IntegerType, LongType)):
        half = 1 << (31 if isinstance(kind, IntegerType) else 63)
        return (value + half) % (2 * half) - half
    if isinstance(kind, DoubleType):
        return ctypes.c_float(value).value
    return value


def comparable(value):
    """Partition values come as bytes or UUID, as dates or days: one form."""
    if isinstance(value, uuid.UUID):
        return value.bytes
    if value is not None and value != value:
        return "NaN"
    return value


def expect(problems, where, what, found, wanted):
    if found != wanted:
        problems.append(f"{where}: {what} is {found!r}, computed {wanted!r}")
