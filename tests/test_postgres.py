"""The PostgreSQL server of the tests: its own folder and port, no root, and gone with the tests however they end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import postgres
from tests.patience import until

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.requires("postgres")
PROGRAM = """
import sys, time
from tests.postgres import running
with running(sys.argv[1]) as url:
    print(url, flush=True)
    time.sleep(600)
"""


def is_listening(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(url).port)) == 0


def folder_of(url: str) -> Path:
    """Where the server was made."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        ((data,),) = connection.execute("SHOW data_directory").fetchall()
    return Path(data).parent


def test_it_runs_as_nobody_in_a_folder_of_its_own_and_leaves_nothing(postgres_bin: str) -> None:
    with postgres.running(postgres_bin) as url, postgres.running(postgres_bin) as other:
        folder = folder_of(url)
        assert folder != folder_of(other)
        assert folder.stat().st_uid != 0
    assert not folder.exists()
    assert not is_listening(url)


def test_a_port_that_is_taken_meanwhile_is_left_to_the_other(
    postgres_bin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as faster:
        faster.bind(("127.0.0.1", 0))
        faster.listen()
        taken, free = faster.getsockname()[1], postgres._free_port()
        ports = iter([taken, free])
        monkeypatch.setattr(postgres, "_free_port", lambda: next(ports))
        with postgres.running(postgres_bin) as url:
            assert urlsplit(url).port == free


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
def test_it_ends_when_the_tests_are_killed(postgres_bin: str) -> None:
    command = [sys.executable, "-c", PROGRAM, postgres_bin]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        folder = folder_of(url)
        server = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(program.pid, signal.SIGKILL)
    # One that has ended and was not waited for has none.
    until(lambda: not Path(f"/proc/{server}/cwd").exists(), "PostgreSQL outlives the tests")
    shutil.rmtree(folder)  # nobody was left to do it
