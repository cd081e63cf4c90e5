"""The metadata file that a table of an Iceberg REST catalog has now: THREADS ENDPOINT NAMESPACE NAME."""

import json
import sys

from rest import Catalog

_, endpoint, namespace, name = sys.argv[1:5]
print(json.dumps({"metadata_location": Catalog(endpoint).load_table(namespace, name)["metadata-location"]}))
