"""A foreign Iceberg engine behind JSON lines: `reader.py spark|pyiceberg|duckdb`.

One request a line on standard input: {"op": NAME, ...arguments}. One answer a line on standard output:
{"ok": {...}} or {"error": TEXT}. The first line out is {"ok": {"version": ...}}, once the engine is up.
What engines print themselves goes to standard error. The process ends with its standard input.
"""

import importlib
import json
import os
import sys
import traceback


def main():
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the JVM and others write to descriptor 1

    def answer(value):
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        engine = importlib.import_module(f"with_{sys.argv[1]}").Engine()
        answer({"ok": engine.hello()})
    except Exception:
        answer({"error": traceback.format_exc()})
        return 1
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer({"ok": getattr(engine, request.pop("op"))(**request)})
        except Exception as error:
            answer({"error": "".join(traceback.format_exception(error, limit=-3))})
    return 0


if __name__ == "__main__":
    sys.exit(main())
