"""A PostgreSQL server of our own, for as long as it is needed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.patience import PATIENCE


@contextmanager
def running(programs: str, *options: str, synced: bool = False) -> Iterator[str]:
    """The URL of an empty server in a temporary folder, on a free port; at the end it is stopped, and the folder gone.

    PostgreSQL refuses root: then it runs as ``nobody``. On Linux it ends with this process, too.

    Args:
        programs: The folder with ``initdb`` and ``postgres``.
        options: Settings of the server, such as ``max_connections=5``.
        synced: Whether commits wait for the disk, as they do where they have to last.
    """
    directory = Path(tempfile.mkdtemp(prefix="zerog-postgres-"))
    try:
        setpriv = _as_nobody(directory)
        environ = {"PATH": os.environ["PATH"], "HOME": str(directory), "LC_ALL": "C"}
        data = directory / "data"
        initdb: list[str | Path] = [*setpriv, f"{programs}/initdb", "-D", data, "-U", "zerog", "-A", "trust"]
        initdb += ["--no-sync", "--no-locale", "-E", "UTF8"]
        made = subprocess.run(initdb, env=environ, cwd=directory, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stdout + made.stderr
        for attempt in range(5):
            port = _free_port()
            command = [*setpriv, f"{programs}/postgres", "-D", data, f"--fsync={'on' if synced else 'off'}"]
            command += [f"--{option}" for option in options]
            server = _start(command, port, directory, environ)
            if _is_ready(server, directory / "log"):
                break
            text = (directory / "log").read_text()
            # Somebody was faster: between finding a port and taking it there is a moment.
            assert "Address already in use" in text and attempt < 4, text  # noqa: PT018
        try:
            yield f"postgresql+psycopg://zerog@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown: it does not wait for clients
            server.wait(PATIENCE)
    finally:
        shutil.rmtree(directory)


@contextmanager
def bouncing(program: str, url: str, *, pool: int = 4) -> Iterator[str]:
    """The URL of a pgbouncer before the server at `url`, which gives each transaction whatever connection is free.

    Args:
        program: pgbouncer.
        url: As `running` gives it.
        pool: Connections to the server.
    """
    directory = Path(tempfile.mkdtemp(prefix="zerog-pgbouncer-"))
    setpriv = _as_nobody(directory)
    server = url.rpartition(":")[2].partition("/")[0]
    settings = {
        "listen_addr": "127.0.0.1", "auth_type": "any", "pool_mode": "transaction",
        "default_pool_size": pool, "max_client_conn": 200, "unix_socket_dir": "",
        "ignore_startup_parameters": "extra_float_digits",
    }  # fmt: skip
    lines = ["[databases]", f"postgres = host=127.0.0.1 user=zerog port={server}", "[pgbouncer]"]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    file = directory / "pgbouncer.ini"
    try:
        for attempt in range(5):
            port = _free_port()
            file.write_text("\n".join([*lines, f"listen_port = {port}"]) + "\n")
            file.chmod(0o644)
            with (directory / "log").open("w") as log:
                process = subprocess.Popen([*setpriv, program, file], cwd=directory, stdout=log, stderr=log)
            if _is_ready(process, directory / "log", "process up"):
                break
            text = (directory / "log").read_text()
            assert "Address already in use" in text and attempt < 4, text  # noqa: PT018 - somebody was faster
        try:
            yield url.replace(f":{server}/", f":{port}/")
        finally:
            process.terminate()
            process.wait(PATIENCE)
    finally:
        shutil.rmtree(directory)


def _as_nobody(directory: Path) -> list[str]:
    """What comes before a command that refuses root, and shall end with this process; `directory` becomes its own."""
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(directory, "nobody")
        as_user = ["--reuid", "nobody", "--clear-groups"]
    return ["setpriv", *as_user, "--pdeathsig", "INT", "--"] if as_user or shutil.which("setpriv") else []


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _start(command: list[str | Path], port: int, directory: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    options: list[str | Path] = ["-p", str(port), "-h", "127.0.0.1", "-k", directory]
    with (directory / "log").open("w") as log:
        return subprocess.Popen([*command, *options], env=environ, cwd=directory, stdout=log, stderr=log)


def _is_ready(server: subprocess.Popen[bytes], log: Path, words: str = "ready to accept connections") -> bool:
    """Whether it accepts connections; False if it has ended instead."""
    deadline = time.monotonic() + PATIENCE
    while words not in log.read_text():
        if server.poll() is not None:
            return False
        if time.monotonic() > deadline:
            server.kill()
            server.wait()
            raise AssertionError("it is not ready\n" + log.read_text())
        time.sleep(0.05)
    return True
