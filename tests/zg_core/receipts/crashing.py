"""A process that makes calls into a store, and is killed in the middle of one. Arguments: settings as JSON.

Before its last call it waits for a line on standard input. It never gives up a signature that is late.
"""

import json
import sys
from typing import Any


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    from zg_core import ChatClient
    from zg_core.backends.direct import backend

    backend.SIGNATURE_DELAYS = (0.0, 3600.0)
    settings: dict[str, Any] = json.loads(sys.argv[1])
    times = settings.pop("times")
    with ChatClient(**settings, environ={}) as client:
        for number in range(times):
            reply = client.create({"messages": [{"role": "user", "content": f"question {number}"}]})
            tell(reply.receipt.id)
        tell("next")
        sys.stdin.readline()
        client.create({"messages": [{"role": "user", "content": "the last"}]})
        tell("never")


if __name__ == "__main__":
    main()
