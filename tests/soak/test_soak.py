"""A short `make soak`, and that it notices what it is there for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.__main__ import MOST_GROWTH_KB, Held, problems_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_600_calls_leave_nothing_behind() -> None:
    command = [sys.executable, "-m", "tests.soak", "--calls", "600"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, last = done.stdout.splitlines()
    assert last.startswith("600 calls in "), done.stdout
    assert "descriptors +0, " in last


BEFORE = Held(calls=0, rss_kb=60_000, descriptors=5, sockets=2, threads=10)
FIRST = Held(calls=2_000, rss_kb=90_000, descriptors=5, sockets=30, threads=10)


@pytest.mark.parametrize(
    ("last", "connections", "problem"),
    [
        (Held(20_000, 90_000 + MOST_GROWTH_KB, 5, 34, 10), 16, None),
        (Held(20_000, 90_001 + MOST_GROWTH_KB, 5, 34, 10), 16, "RSS grew by 5.0 MB"),
        (Held(20_000, 90_000, 4, 34, 10), 16, "descriptors went from 5 to 4"),
        (Held(20_000, 90_000, 5, 35, 10), 16, "33 sockets are open after 16 calls in flight"),
        (Held(20_000, 90_000, 5, 20, 10), 16, None),
        (Held(20_000, 90_000, 5, 34, 10), 17, "17 connections were open for 16 calls in flight"),
    ],
)
def test_what_stays_behind_is_named(last: Held, connections: int, problem: str | None) -> None:
    found = problems_of(BEFORE, FIRST, last, connections)
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]
