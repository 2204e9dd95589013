"""``python -m tests.fleet ray|processes``: settings as JSON on standard input, results as JSON on the last line."""

from __future__ import annotations

import json
import sys

from tests.fleet.fleet import as_processes, under_ray

if __name__ == "__main__":
    run = under_ray if sys.argv[1] == "ray" else as_processes
    sys.stdout.write("\n" + json.dumps(run(json.load(sys.stdin))) + "\n")
