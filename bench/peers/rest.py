"""The few calls of Iceberg's REST protocol that the bench makes itself."""

import json
import urllib.error
import urllib.request


class Catalog:
    def __init__(self, endpoint):
        self.root = f"{endpoint.rstrip('/')}/v1"
        settings = self.call("GET", "config")
        prefix = {**settings.get("defaults", {}), **settings.get("overrides", {})}.get("prefix")
        if prefix:
            self.root += f"/{prefix}"

    def ensure_namespace(self, namespace):
        try:
            self.call("POST", "namespaces", {"namespace": [namespace], "properties": {}})
        except urllib.error.HTTPError as error:
            if error.code != 409:  # it is there already
                raise

    def create_table(self, namespace, table):
        return self.call("POST", f"namespaces/{namespace}/tables", table)

    def load_table(self, namespace, name):
        return self.call("GET", f"namespaces/{namespace}/tables/{name}")

    def commit(self, namespace, name, change):
        return self.call("POST", f"namespaces/{namespace}/tables/{name}", change)

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.root}/{path}", data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or "{}")
