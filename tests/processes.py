"""One program in several processes at once: loaded once, forked, let go together, and ended together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 300
# Loads what the program imports and what it would import later, then forks. Each child waits until all are there, and
# at the end until all are through, unless one failed.
_LAUNCHER = """
import ast, importlib, json, os, sys, traceback

count, preload, code, *arguments = json.load(sys.stdin)
sys.argv = ["-c", *arguments]
tree = ast.parse(code)
imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
exec(compile(ast.Module(imports, []), "<imports>", "exec"), {})
for name in preload:
    importlib.import_module(name)
program = compile(tree, "<program>", "exec")
ready, go = os.pipe()
over, end = os.pipe()
outputs, children = [], []
for _ in range(count):
    output, ours = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(ours, 1)
            os.close(ours)
            os.close(go)
            os.close(end)
            os.read(ready, 1)
            exec(program, {"__name__": "__main__"})
            sys.stdout.flush()
            os.close(1)
            os.read(over, 1)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(ours)
    outputs.append(open(output))
    children.append(child)
os.close(go)
said = [output.read() for output in outputs]
os.close(end)
failed = [child for child in children if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]
json.dump(said, sys.stdout)
sys.exit(1 if failed else 0)
"""


def together(
    count: int, code: str, *arguments: str, preload: tuple[str, ...] = (), environ: Mapping[str, str] | None = None
) -> list[str]:
    """What each of `count` processes printed that run `code` at the same time; none ends before all are through.

    Args:
        count: How many.
        code: The program. What it imports at its top is loaded before the processes part, so it may not start threads.
        arguments: As in ``sys.argv[1:]``.
        preload: Modules that it would load later, each process for itself.
        environ: Variables besides those of this process.
    """
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCHER],
        input=json.dumps([count, preload, code, *arguments]),
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: list[str] = json.loads(done.stdout)
    return said
