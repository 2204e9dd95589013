"""A short `make soak`, and that it notices what it is there for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.soak.__main__ import MOST_GROWTH_KB, Held, problems_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_1200_calls_leave_nothing_behind() -> None:
    command = [sys.executable, "-m", "tests.soak", "--calls", "1200"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, last = done.stdout.splitlines()
    assert last.startswith("1,200 calls in "), done.stdout
    assert "descriptors +0, " in last


BEFORE = Held(calls=0, rss_kb=60_000, descriptors=5, sockets=2, threads=10, objects=90_000)
FIRST = Held(calls=4_000, rss_kb=90_000, descriptors=5, sockets=30, threads=10, objects=120_000)
LAST = replace(FIRST, calls=20_000, rss_kb=90_000 + MOST_GROWTH_KB, sockets=34, objects=135_999)


@pytest.mark.parametrize(
    ("last", "connections", "problem"),
    [
        (LAST, 16, None),
        (replace(LAST, rss_kb=LAST.rss_kb + 1), 16, "RSS grew by 5.0 MB"),
        (replace(LAST, objects=136_000), 16, "16,000 objects more than after the first 4,000 calls"),
        (replace(LAST, descriptors=4), 16, "descriptors went from 5 to 4"),
        (replace(LAST, sockets=35), 16, "33 sockets are open after 16 calls in flight"),
        (replace(LAST, sockets=20), 16, None),
        (LAST, 17, "17 connections were open for 16 calls in flight"),
    ],
)
def test_what_stays_behind_is_named(last: Held, connections: int, problem: str | None) -> None:
    found = problems_of(BEFORE, FIRST, last, connections)
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]


def test_the_memory_of_a_short_run_is_the_allocators() -> None:
    first, last = replace(FIRST, calls=120), replace(FIRST, calls=600, rss_kb=91_000 + MOST_GROWTH_KB)
    assert problems_of(BEFORE, first, last, 16) == []
