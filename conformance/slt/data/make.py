"""Makes the source files of the `.slt` suite, in this folder: `py/bin/python make.py` (see scripts/setup-readers)."""

import datetime
import decimal
import gzip
import os

import pyarrow as pa
import pyarrow.parquet as pq

HERE = os.path.dirname(os.path.abspath(__file__))


def path(*parts):
    made = os.path.join(HERE, *parts)
    os.makedirs(os.path.dirname(made), exist_ok=True)
    return made


def text(name, content):
    with open(path(name), "w", encoding="utf-8", newline="") as file:
        file.write(content)


CITIES = 'id,city,population,founded\n1,Zürich,443037,0015-01-01\n2,"Genève, GE",,1200-06-30\n3,,0,\n'
text("cities.csv", CITIES)
text("no_header.csv", "1,a\n2,b\n")
text("pipes.txt", "id|note\n1|'it is | quoted'\n2|NA\n")
text("ragged.csv", "a,b\n1,2\n3\n")
text("empty.csv", "")
with open(path("cities.csv.gz"), "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file:
    file.write(CITIES.encode())
text("parts/one.csv", "id,v\n1,a\n")
text("parts/two.csv", "id,v\n2,b\n")
for year in ("2025", "2026"):
    text(f"hive/year={year}/rows.csv", f"id,v\n{year}1,x\n{year}2,y\n")

TYPES = pa.table(
    {
        "i8": pa.array([1, None], pa.int8()),
        "u32": pa.array([4294967295, 0], pa.uint32()),
        "u64": pa.array([18446744073709551615, None], pa.uint64()),
        "f32": pa.array([0.5, None], pa.float32()),
        "d": pa.array([decimal.Decimal("1.50"), None], pa.decimal128(10, 2)),
        "s": pa.array(["ä", ""], pa.string()),
        "day": pa.array([datetime.date(2026, 1, 2), None], pa.date32()),
        "ts": pa.array([datetime.datetime(2026, 1, 2, 3, 4, 5, 6), None], pa.timestamp("us")),
        "tz": pa.array([datetime.datetime(2026, 1, 2, 3, 4, 5), None], pa.timestamp("us", "UTC")),
        "bin": pa.array([b"\x00\xff", b""], pa.binary()),
        "l": pa.array([[1, None], []], pa.list_(pa.int32())),
    }
)
pq.write_table(TYPES, path("types.parquet"), compression="snappy")
pq.write_table(pa.table({"ts": pa.array([1, 1_000], pa.timestamp("ns"))}), path("nanos.parquet"))
pq.write_table(pa.table({"ts": pa.array([1_000, 2_000], pa.timestamp("ns"))}), path("whole_nanos.parquet"))
pq.write_table(pa.table({"id": [1, 2], "v": ["a", "b"]}), path("many", "a.parquet"), compression="gzip")
pq.write_table(pa.table({"id": [3], "v": ["c"]}), path("many", "b.parquet"), compression="zstd")
text("not.parquet", "PAR1 but not really")

EVENTS = (
    '{"id":1,"name":"a","at":"2026-01-02T03:04:05","tags":["x","y"],"geo":{"lat":1.5,"lon":2},"mixed":1}\n'
    '{"id":2,"name":null,"tags":[],"geo":{"lat":-1,"lon":null,"note":"n"},"mixed":"two"}\n'
    "\n"
    '{"id":3,"mixed":{"k":[1]},"extra":true}\n'
)
text("events.jsonl", EVENTS)
with open(path("events.json.gz"), "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file:
    file.write(EVENTS.encode())
text("late.jsonl", '{"x":1}\n{"x":2}\n{"x":"three"}\n{"x":4,"y":5}\n')
text("array.json", '[{"a":1}]\n')
text("broken.json", '{"a":1}\n{"a":\n')
text("hive_json/day=2026-01-02/a.jsonl", '{"id":1}\n')
text("hive_json/day=2026-01-03/a.jsonl", '{"id":2}\n')
pq.write_table(pa.table({"id": [1, 2]}), path("hive_parquet", "month=01", "day=2024-01-02", "k=a%2Fb", "x.parquet"))
pq.write_table(pa.table({"id": [3]}), path("hive_parquet", "month=12", "day=2024-12-31", "k=__HIVE_DEFAULT_PARTITION__", "x.parquet"))
text("hive_zip/zip=01234/x.csv", "id\n1\n")
text("hive_zip/zip=99999/x.csv", "id\n2\n")
text("hive_unlike/a=1/x.csv", "id\n1\n")
text("hive_unlike/b=1/x.csv", "id\n2\n")
text("hive_column/id=1/x.csv", "id\n7\n")
pq.write_table(pa.table({"id": pa.array([1], pa.int32()), "a": ["x"]}), path("union", "1.parquet"))
pq.write_table(pa.table({"b": [2.5], "id": pa.array([5_000_000_000], pa.int64())}), path("union", "2.parquet"))
pq.write_table(pa.table({"id": ["text"]}), path("union_unlike", "2.parquet"))
pq.write_table(pa.table({"id": [1]}), path("union_unlike", "1.parquet"))
text("union/1.csv", "id,a\n1,x\n")
text("union/2.csv", "b,id\n2.5,2\n")
