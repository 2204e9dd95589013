"""One program in several processes at once: loaded once, forked, let go together, and ended together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
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
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: list[str] = json.loads(done.stdout)
    return said


def alone(work: Callable[..., None], *arguments: str) -> str:
    """What `work` prints in a process of its own, which has no threads but those that it starts, so that it may fork.

    A child of the test process would inherit what its other threads hold at that moment: servers, clients of other
    tests, SQLite's own locks. It could wait for them for ever.

    Args:
        work: A function of a module.
        arguments: What it is called with.
    """
    program = f"import sys; from {work.__module__} import {work.__name__} as work; work(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def child_of(work: Callable[[], object], *, before: Callable[[], None] | None = None) -> int:
    """Fork a child that does `work`; its process id. It exits with 1 where `work` raises, and is ended when it hangs.

    Args:
        work: What the child does.
        before: Called first of all that is done before the fork, of this fork and those that follow.
    """
    if before is not None:
        os.register_at_fork(before=before)  # what is registered last is done first
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(PATIENCE // 2)  # what it inherited may be locked: it would wait for ever
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def ended(child: int) -> int:
    """How a child ended: its exit code, or a signal's number below zero."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def beside(work: Callable[[threading.Event, threading.Event], None]) -> Iterator[threading.Event]:
    """A thread does ``work(begun, go)``, from `begun` on; it waits for `go`, which is given, and set at the end."""
    begun, go = threading.Event(), threading.Event()
    thread = threading.Thread(target=work, args=(begun, go))
    thread.start()
    try:
        assert begun.wait(PATIENCE)
        yield go
    finally:
        go.set()
        thread.join(PATIENCE)
