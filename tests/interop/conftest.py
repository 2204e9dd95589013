"""A local network as a process of its own, and the official clients with what they need to run.

The Python client gets an environment of its own (`.venv-python-client`), the TypeScript client is in `node_modules`.
Both are made when they are missing or other versions are wanted, and used again otherwise.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from zg_core import ChatClient
from zg_core.backends.direct.session import make_token
from zg_core.wallet import Wallet

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CONSTRAINTS = HERE / "constraints-python-client.txt"
PYTHON_CLIENT = ROOT / ".venv-python-client"
LOCK = HERE / "package-lock.json"


class LocalNetwork:
    """`zerog localnet up`, running; `settings` is its env file."""

    def __init__(self, directory: Path, *, providers: int, options: tuple[str, ...] = ()) -> None:
        self.output: list[str] = []
        self._env_file = directory / "local.env"
        self._ready = threading.Event()
        command = [sys.executable, "-m", "zg_core.cli", "localnet", "up", "--providers", str(providers), *options]
        self._process = subprocess.Popen(
            [*command, "--env-file", str(self._env_file), "--legacy-names"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._ready.wait(PATIENCE) or not self._env_file.is_file():
            self.stop()
            pytest.fail(f"the local network did not come up:\n{self.said}", pytrace=False)
        lines = shlex.split(self._env_file.read_text().replace("export ", ""))
        self.settings = dict(line.split("=", 1) for line in lines)
        self.providers = self.settings["PROVIDERS"].split(",")

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.output.append(line.rstrip())
                if self._env_file.is_file():
                    self._ready.set()
        self._ready.set()

    @property
    def said(self) -> str:
        """Everything it printed."""
        return "\n".join(self.output)

    def stop(self) -> int:
        """End it as a service manager does, if it still runs.

        Returns:
            Its exit status.
        """
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._reader.join()
        return status

    def end(self) -> None:
        """Stop it and look at how it went: exit status 0, and printed what it announces, no more."""
        status = self.stop()
        assert status == 0, f"exit status {status}\n{self.said}"
        assert re.match(r"chain 31337 at http://127\.0\.0\.1:\d+, ready in [\d.]+ s\n", self.said), self.said
        assert re.findall(r"^provider (0x[0-9a-fA-F]{40})  ", self.said, re.MULTILINE) == self.providers, self.said
        assert self.output[-1] == "stopping", self.said
        assert not re.search(r"traceback|warning|error|fail", self.said, re.IGNORECASE), self.said

    def client(self, **arguments: Any) -> ChatClient:
        """Our client on this network, that demands proof."""
        return ChatClient(provider=self.providers[0], verify="require", environ=self.settings, **arguments)

    def api_key(self, token_id: int) -> str:
        """An API key of our making, good for an hour."""
        now_ms = int(time.time() * 1000)
        key = make_token(
            Wallet.from_key(self.settings["PRIVATE_KEY"]),
            self.providers[0],
            now_ms=now_ms,
            generation=0,
            token_id=token_id,
            expires_at=now_ms + 3_600_000,
        )
        return key.reveal()


@dataclass
class ClientRun:
    """What one run of an official client reported, by step."""

    name: str
    lines: dict[str, dict[str, Any]]
    status: int
    stderr: str

    def __getitem__(self, step: str) -> dict[str, Any]:
        """The facts a step reported.

        Raises:
            pytest.fail.Exception: it failed; with what the client said.
        """
        line = self.lines.get(step)
        if line is None:
            said = f"never came to it (exit status {self.status})\n{self.stderr[-3000:]}"
        elif not line["ok"]:
            said = f"{line['said']}\n{line['where']}"
        else:
            return line["facts"]
        pytest.fail(f"the {self.name} client, step {step}: {said}", pytrace=False)


RunClient = Callable[..., ClientRun]


def run_client(name: str, command: list[str | Path], network: LocalNetwork, home: Path) -> ClientRun:
    """Run a client script to its end, with nothing of this process's environment but the way to programs."""
    names = ("RPC_URL", "PRIVATE_KEY", "PROVIDERS", "LEDGER", "INFERENCE")
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "OUR_API_KEY": network.api_key(token_id=7),
        **{name: network.settings[name] for name in names},
    }
    try:
        done = subprocess.run(
            command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=2 * PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as late:
        said = f"{late.stdout}\n{late.stderr}"
        pytest.fail(f"the {name} client did not end in {late.timeout:.0f} s\n{said}", pytrace=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return ClientRun(name, {line["step"]: line for line in lines}, done.returncode, done.stderr)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes of the same test run out while something beside `path` is made."""
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(what: str, *command: str | Path, **environment: str) -> None:
    """Run an installer; its failure is a failure of the test."""
    done = subprocess.run(
        command, cwd=HERE, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        shown = " ".join(map(str, command))
        pytest.fail(f"{what} could not be installed:\n$ {shown}\n{done.stdout}{done.stderr}", pytrace=False)


def uv() -> str:
    """Where uv is: among our development tools, or on the PATH."""
    if importlib.util.find_spec("uv"):
        from uv import find_uv_bin

        return find_uv_bin()
    if program := shutil.which("uv"):
        return program
    pytest.fail("uv is needed to make the environment of the official Python client: run `make setup`", pytrace=False)


def make_python_client() -> Path:
    """The interpreter that has the official Python client, and exactly the versions of the constraints."""
    python = PYTHON_CLIENT / "bin" / "python"
    stamp = PYTHON_CLIENT / ".installed"
    with locked(CONSTRAINTS):
        parts = (CONSTRAINTS.read_bytes(), sys.version.encode(), bytes(PYTHON_CLIENT))
        wanted = hashlib.sha256(b"\0".join(parts)).hexdigest()
        if not (python.exists() and stamp.is_file() and stamp.read_text() == wanted):
            shutil.rmtree(PYTHON_CLIENT, ignore_errors=True)
            install("the environment", uv(), "venv", "--quiet", "--python", sys.executable, PYTHON_CLIENT)
            packages = ("0g-inference-sdk", "openai")
            to = ("--python", python, "--constraints", CONSTRAINTS)
            install("the official Python client", uv(), "pip", "install", *to, *packages, UV_COMPILE_BYTECODE="1")
            stamp.write_text(wanted)
    return python


def node_modules_are_right() -> bool:
    """Whether what is installed is what the lock file says; npm keeps a lock file of what it installed."""
    installed = HERE / "node_modules" / ".package-lock.json"
    if not installed.is_file():
        return False
    found = json.loads(installed.read_text())["packages"]
    wanted = {name: entry for name, entry in json.loads(LOCK.read_text())["packages"].items() if name}
    return all(
        found.get(name, {}).get("version") == entry["version"]
        for name, entry in wanted.items()
        if not entry.get("optional")
    )


def make_node_modules() -> str:
    """The node that has the official TypeScript client beside the tests."""
    with locked(LOCK):
        if not node_modules_are_right():
            install("the official TypeScript client", "npm", "ci")
    node = shutil.which("node")
    assert node is not None  # `requires("node")` has seen it
    return node


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """`zerog localnet up` with two providers, for one client."""
    network = LocalNetwork(tmp_path_factory.mktemp("localnet"), providers=2)
    try:
        yield network
    finally:
        network.stop()


@pytest.fixture(scope="module")
def run_python(network: LocalNetwork, tmp_path_factory: pytest.TempPathFactory) -> RunClient:
    """Runs client.py with the official Python client."""
    command = [make_python_client(), HERE / "client.py"]
    return functools.partial(run_client, "Python", command, network, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def run_typescript(network: LocalNetwork, tmp_path_factory: pytest.TempPathFactory) -> RunClient:
    """Runs client.mjs with the official TypeScript client; arguments are passed on."""
    node, home = make_node_modules(), tmp_path_factory.mktemp("home")
    return lambda *arguments: run_client("TypeScript", [node, HERE / "client.mjs", *arguments], network, home)


@pytest.fixture
def set_fault(network: LocalNetwork) -> Callable[[str], None]:
    """Makes the first provider misbehave once, through its control route."""

    def order(fault: str) -> None:
        url = network.settings["PROVIDER_URL"] + "/_local/fault"
        request = urllib.request.Request(url, json.dumps({"fault": fault}).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            assert response.status == 200

    return order
