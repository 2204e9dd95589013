"""Many processes and one SQLite file; a lock that is never given up; files that are none.

skypilot#1509 and #1507 (100 processes), ownfoil#320, hermes-agent#3385 (convoys of 15 to 20 s), acd_cli#99, cashew#56.
"""

from __future__ import annotations

import json
import os
import sqlite3
from itertools import chain
from pathlib import Path

import pytest

from tests.cases.chain.field import Expectations, attempt, ours, told
from tests.patience import PATIENCE
from tests.processes import together
from zg_core.chain.nonces import Nonces
from zg_core.databases import sqlite as busy
from zg_core.store import Store

# A process that ends gives up what it took and did not use, so all stay until the last one is through; and so does one
# that hangs, which on a slow machine all seem to.
CROWD = """
import json, sys, time
from zg_core.chain import nonces as leases
from zg_core.databases import sqlite
from zg_core.store import Store
sqlite.BUSY_SECONDS = leases.HANGING_SECONDS = float(sys.argv[3])
taken, errors, worst, start = [], [], 0.0, time.monotonic()
nonces = leases.Nonces(Store(sys.argv[1]), 1, "0x" + "11" * 20)
for _ in range(int(sys.argv[2])):
    began = time.monotonic()
    try:
        taken.append(nonces.take(0, 0).nonce)
    except Exception as error:
        errors.append(f"{type(error).__name__}: {error}")
    worst = max(worst, time.monotonic() - began)
print(json.dumps([taken, errors[:2], worst, start, time.monotonic()]))
"""


def crowd(path: Path, processes: int, times: int) -> tuple[list[int], list[str], float, float]:
    """Nonces that so many processes took from one file at the same time, their errors, the longest wait, and the time.

    They ask for as long as it takes: how soon so many get a turn depends on the machine.
    """
    arguments = [f"sqlite:///{path}", str(times), str(PATIENCE)]
    said = together(processes, CROWD, *arguments, preload=("sqlalchemy.dialects.sqlite",))
    taken, errors, worst, starts, ends = zip(*map(json.loads, said), strict=True)
    return [*chain(*taken)], [*chain(*errors)], max(worst), max(ends) - min(starts)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(("processes", "times"), [(16, 30), (40, 6)])
def test_a_crowd_gets_its_turns(processes: int, times: int, tmp_path: Path, expect: Expectations) -> None:
    nonces, errors, worst, whole = crowd(tmp_path / "s.db", processes, times)
    expect("no 'database is locked'", errors == [], errors[:2])
    total = processes * times
    expect(
        f"{total} nonces, no two the same", len(nonces) == len(set(nonces)) == total, (len(nonces), len(set(nonces)))
    )
    # Where all of them together take minutes, each has to wait for others.
    expect("nobody waits for half a minute", worst < max(busy.BUSY_SECONDS, whole * 3 / 4), f"{worst:.1f} s")


def test_a_lock_that_is_never_given_up(tmp_path: Path, expect: Expectations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "BUSY_SECONDS", 0.3)
    nonces = Nonces(Store(f"sqlite:///{tmp_path}/s.db"), 1, "0x" + "22" * 20)
    nonces.take(0, 0)
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    _, error = attempt(lambda: nonces.take(0, 0))
    met = ours(error) and getattr(error, "retryable", False)
    expect("an error of ours, retryable", met, error and told(error))
    other.execute("ROLLBACK")
    other.close()
    expect("and works again afterwards", attempt(lambda: nonces.take(0, 0))[1] is None)


KINDS = [
    "a directory",
    "a file that is no database",
    "empty file",
    "/proc (no WAL there)",
    "/dev/full",
    "relative",
    "two slashes",
    "newer schema",
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_store_is_an_error_of_ours(
    kind: str, tmp_path: Path, expect: Expectations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x"
    urls = {
        "a directory": f"sqlite:///{tmp_path}",
        "/proc (no WAL there)": "sqlite:////proc/x.db",
        "/dev/full": "sqlite:////dev/full",
        "relative": "sqlite:///rel.db",
        "two slashes": "sqlite://x.db",
    }
    if kind == "a file that is no database":
        path.write_bytes(b"hello world, no database at all" * 100)
    if kind == "empty file":
        path.touch()
    if kind == "newer schema":
        with sqlite3.connect(path) as connection:
            connection.execute(
                "CREATE TABLE schema_versions (version INTEGER NOT NULL PRIMARY KEY, applied DOUBLE PRECISION NOT NULL)"
            )
            connection.execute("INSERT INTO schema_versions VALUES (99, 0)")
        connection.close()
    url = urls.get(kind, f"sqlite:///{path}")
    _, error = attempt(lambda: Nonces(Store(url), 1, "0x" + "11" * 20).take(0, 0))
    expect(f"{kind}: ok or error of ours", error is None or ours(error), error and told(error))
