"""A little Iceberg REST catalog over a local directory, standard library only: `rest_catalog.py DIRECTORY`.

DuckDB writes Iceberg tables only through REST. This serves it, keeps metadata as plain JSON (whatever the
client sends stands in the metadata file) and prints its address on standard output. Nothing to keep data in:
one client at a time, no persistence beyond the metadata files.
"""

import copy
import json
import os
import sys
import threading
import time
import traceback
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

TABLES, NAMESPACES, LOCK = {}, {}, threading.Lock()
# An update that adds a thing, the list it goes to, and the key of its id.
NUMBERED = {
    "add-schema": ("schema", "schemas", "schema-id"),
    "add-spec": ("spec", "partition-specs", "spec-id"),
    "add-sort-order": ("sort-order", "sort-orders", "order-id"),
}
CHOSEN = {
    "set-current-schema": ("current-schema-id", "schema-id"),
    "set-default-spec": ("default-spec-id", "spec-id"),
    "set-default-sort-order": ("default-sort-order-id", "sort-order-id"),
}


class Refused(Exception):
    def __init__(self, code, kind, message):
        super().__init__(message)
        self.code, self.kind = code, kind


def now():
    return int(time.time() * 1000)


def new_metadata(namespace, request, root):
    schema = copy.deepcopy(request["schema"])
    schema["schema-id"] = 0
    properties = dict(request.get("properties") or {})
    version = int(properties.pop("format-version", 2))
    location = request.get("location") or f"file://{root}/{namespace}/{request['name']}-{uuid.uuid4().hex[:8]}"
    spec = copy.deepcopy(request.get("partition-spec") or {"fields": []})
    spec["spec-id"] = 0
    return {
        "format-version": version,
        "table-uuid": str(uuid.uuid4()),
        "location": location.rstrip("/"),
        "last-sequence-number": 0,
        "last-updated-ms": now(),
        "last-column-id": max((f["id"] for f in schema["fields"]), default=0),
        "current-schema-id": 0,
        "schemas": [schema],
        "default-spec-id": 0,
        "partition-specs": [spec],
        "last-partition-id": 999 + len(spec["fields"]),
        "default-sort-order-id": 0,
        "sort-orders": [{"order-id": 0, "fields": []}],
        "properties": properties,
        "current-snapshot-id": -1,
        "refs": {},
        "snapshots": [],
        "statistics": [],
        "partition-statistics": [],
        "snapshot-log": [],
        "metadata-log": [],
        **({"next-row-id": 0} if version >= 3 else {}),
    }


def check(metadata, requirement):
    kind = requirement["type"]
    if kind == "assert-create":
        holds = metadata is None
    elif metadata is None:
        raise Refused(404, "NoSuchTableException", "no such table")
    elif kind == "assert-table-uuid":
        holds = metadata["table-uuid"] == requirement["uuid"]
    elif kind == "assert-ref-snapshot-id":
        holds = metadata["refs"].get(requirement["ref"], {}).get("snapshot-id") == requirement.get("snapshot-id")
    elif kind == "assert-last-assigned-field-id":
        holds = metadata["last-column-id"] == requirement["last-assigned-field-id"]
    elif kind == "assert-last-assigned-partition-id":
        holds = metadata["last-partition-id"] == requirement["last-assigned-partition-id"]
    else:
        key = kind.removeprefix("assert-")
        holds = metadata[key] == requirement[key]
    if not holds:
        raise Refused(409, "CommitFailedException", f"requirement failed: {json.dumps(requirement)}")


def apply(metadata, update, last):
    action = update["action"]
    if action in NUMBERED:
        name, many, key = NUMBERED[action]
        thing = dict(update[name])
        thing[key] = max((x[key] for x in metadata[many]), default=-1) + 1
        same = [x for x in metadata[many] if x["fields"] == thing["fields"]]
        if not same:
            metadata[many].append(thing)
        last[key] = (same or [thing])[0][key]
        if action == "add-schema":
            ids = [f["id"] for f in thing["fields"]] + [update.get("last-column-id") or 0, metadata["last-column-id"]]
            metadata["last-column-id"] = max(ids)
    elif action in CHOSEN:
        key, sent = CHOSEN[action]
        listed = "order-id" if sent == "sort-order-id" else sent
        metadata[key] = last[listed] if update[sent] == -1 else update[sent]
    elif action == "assign-uuid":
        metadata["table-uuid"] = update["uuid"]
    elif action == "upgrade-format-version":
        metadata["format-version"] = max(metadata["format-version"], update["format-version"])
        if metadata["format-version"] >= 3:
            metadata.setdefault("next-row-id", 0)
    elif action == "set-location":
        metadata["location"] = update["location"].rstrip("/")
    elif action == "set-properties":
        metadata["properties"].update(update.get("updates") or {})
    elif action == "remove-properties":
        for key in update["removals"]:
            metadata["properties"].pop(key, None)
    elif action == "add-snapshot":
        add_snapshot(metadata, update["snapshot"])
    elif action == "set-snapshot-ref":
        reference = {k: v for k, v in update.items() if k not in ("action", "ref-name") and v is not None}
        metadata["refs"][update["ref-name"]] = reference
        if update["ref-name"] == "main":
            metadata["current-snapshot-id"] = update["snapshot-id"]
            entry = {"snapshot-id": update["snapshot-id"], "timestamp-ms": metadata["last-updated-ms"]}
            metadata["snapshot-log"].append(entry)
    else:
        raise Refused(400, "BadRequestException", f"unknown update {action}")


def add_snapshot(metadata, snapshot):
    metadata["snapshots"].append(snapshot)
    metadata["last-sequence-number"] = max(snapshot.get("sequence-number", 0), metadata["last-sequence-number"])
    metadata["last-updated-ms"] = snapshot["timestamp-ms"]
    if metadata["format-version"] >= 3:
        metadata["next-row-id"] = metadata.get("next-row-id", 0) + (snapshot.get("added-rows") or 0)


def commit(root, name, change):
    current = TABLES.get(name)
    for requirement in change.get("requirements", []):
        check(current and current["metadata"], requirement)
    if current:
        metadata = copy.deepcopy(current["metadata"])
        entry = {"metadata-file": current["metadata-location"], "timestamp-ms": metadata["last-updated-ms"]}
        metadata["metadata-log"].append(entry)
    else:
        namespace, _, table = name.rpartition(".")
        metadata = new_metadata(namespace, {"name": table, "schema": {"fields": []}}, root)
        metadata.update({"schemas": [], "partition-specs": [], "sort-orders": [], "last-column-id": 0})
    last = {}
    for update in change.get("updates", []):
        apply(metadata, update, last)
    return store(name, metadata, current["version"] + 1 if current else 0)


def store(name, metadata, version):
    file = f"{metadata['location']}/metadata/{version:05d}-{uuid.uuid4()}.metadata.json"
    path = file.removeprefix("file://")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        json.dump(metadata, out)
    TABLES[name] = {"metadata-location": file, "metadata": metadata, "version": version}
    return TABLES[name]


def loaded(table):
    return {"metadata-location": table["metadata-location"], "metadata": table["metadata"], "config": {}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = [unquote(part) for part in urlparse(self.path).path.strip("/").split("/")][1:]
        try:
            with LOCK:
                code, out = self.route(self.command, parts, json.loads(raw) if raw[:1] == b"{" else {})
        except Refused as error:
            code, out = error.code, {"error": {"message": str(error), "type": error.kind, "code": error.code}}
        except Exception as error:  # must show, not hang the client
            traceback.print_exc()
            code, out = 500, {"error": {"message": repr(error), "type": "InternalServerError", "code": 500}}
        data = b"" if out is None or self.command == "HEAD" else json.dumps(out).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_HEAD = do_DELETE = handle_any

    def route(self, method, parts, body):
        root = self.server.root
        if parts == ["config"]:
            return 200, {"defaults": {}, "overrides": {}}
        if parts == ["transactions", "commit"]:
            for change in body["table-changes"]:
                identifier = change["identifier"]
                commit(root, ".".join([*identifier["namespace"], identifier["name"]]), change)
            return 204, None
        if parts == ["namespaces"]:
            if method == "GET":
                return 200, {"namespaces": [[name] for name in NAMESPACES]}
            NAMESPACES[".".join(body["namespace"])] = body.get("properties") or {}
            return 200, {"namespace": body["namespace"], "properties": body.get("properties") or {}}
        if parts[:1] != ["namespaces"] or len(parts) < 2 or parts[1] not in NAMESPACES:
            raise Refused(404, "NoSuchNamespaceException", f"not served: {'/'.join(parts)}")
        namespace, rest = parts[1], parts[2:]
        if not rest:
            return 200, {"namespace": [namespace], "properties": NAMESPACES[namespace]}
        if rest == ["views"]:
            return 200, {"identifiers": []}
        if rest == ["tables"]:
            return self.tables(method, namespace, body)
        name = f"{namespace}.{rest[-1]}"
        if rest[0] != "tables" or len(rest) != 2:
            if rest[-1] == "metrics":
                return 204, None
            raise Refused(404, "NotFoundException", f"not served: {'/'.join(parts)}")
        if method == "POST":
            return 200, loaded(commit(root, name, body))
        if name not in TABLES:
            raise Refused(404, "NoSuchTableException", f"no such table {name}")
        if method == "DELETE":
            TABLES.pop(name)
        return (204, None) if method in ("HEAD", "DELETE") else (200, loaded(TABLES[name]))

    def tables(self, method, namespace, body):
        if method == "GET":
            names = [name.split(".")[-1] for name in TABLES if name.rpartition(".")[0] == namespace]
            return 200, {"identifiers": [{"namespace": [namespace], "name": name} for name in names]}
        metadata = new_metadata(namespace, body, self.server.root)
        if body.get("stage-create"):
            return 200, {"metadata": metadata, "config": {}}
        return 200, loaded(store(f"{namespace}.{body['name']}", metadata, 0))


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.root = os.path.abspath(sys.argv[1])
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
