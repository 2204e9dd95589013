"""``zerog localnet up`` as a process: ready file, settings that work, clean end."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.patience import PATIENCE
from zg_core import ChatClient, InsufficientFunds
from zg_core.cli.localnet import write_env_file

if TYPE_CHECKING:
    from collections.abc import Iterator

ZEROG = [sys.executable, "-m", "zg_core.cli"]
OG = 10**18


def read_env(path: Path) -> dict[str, str]:
    lines = [line.removeprefix("export ") for line in path.read_text().splitlines()]
    return {name: shlex.split(value)[0] if value else "" for name, _, value in (line.partition("=") for line in lines)}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A network with three providers in a process of its own, once its settings file is there."""
    env_file = tmp_path / "local.env"
    process = subprocess.Popen(
        [*ZEROG, "localnet", "up", "--providers", "3", "--env-file", str(env_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE
    while not env_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"not ready: {process.communicate()[0]}")
        time.sleep(0.02)
    try:
        yield process, env_file
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_it_serves_what_its_settings_file_says_and_ends_cleanly(running, end):
    process, env_file = running
    values = read_env(env_file)
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    names = "NETWORK RPC_URL LEDGER INFERENCE PRIVATE_KEY PROVIDER STATUS_URL"
    assert set(values) == {f"ZEROG_{name}" for name in names.split()}  # nothing that another program may mean
    assert values["ZEROG_STATUS_URL"].startswith("http://127.0.0.1:")
    with ChatClient(environ=values) as client:
        assert client.service().provider == values["ZEROG_PROVIDER"]
        assert len(client.services()) == 3
        with pytest.raises(InsufficientFunds):  # the wallet has coins, and no ledger yet
            client.create({"messages": [{"role": "user", "content": "hi"}]})
    process.send_signal(end)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert values["ZEROG_PRIVATE_KEY"] not in output


def test_a_port_in_use_is_an_error_that_names_it(running, tmp_path):
    _, env_file = running
    port = read_env(env_file)["ZEROG_RPC_URL"].rsplit(":", 1)[1]
    result = subprocess.run(
        [*ZEROG, "localnet", "up", "--rpc-port", port], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert result.returncode == 1, result.stdout
    assert port in result.stderr
    assert "Traceback" not in result.stderr


def test_funded_with_two_services_it_answers_at_once_and_with_json_says_where(tmp_path):
    env_file = tmp_path / "local.env"
    process = subprocess.Popen(
        [
            *(*ZEROG, "localnet", "up", "--tls", "--services", "chat, embedding", "--fund", "--legacy-names"),
            *("--env-file", str(env_file), "--json"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            break
    document = json.loads("".join(lines))
    values = read_env(env_file)
    settings = {**{name: value for name, value in os.environ.items() if "ZEROG" not in name}, **values}
    listed = subprocess.run(
        [*ZEROG, "providers", "--health", "--json"],
        capture_output=True,
        text=True,
        env=settings,
        timeout=PATIENCE,
        check=True,
    )
    where = {"environ": values, "ca_file": values["ZEROG_CA_FILE"]}
    with ChatClient(**where) as client:
        assert client.create({"messages": [{"role": "user", "content": "hi"}]}).receipt.verdict.status == "verified"
    with ChatClient(**where, model="local-embed-1", service_type="embedding") as client:
        assert client.create({"input": "hi"}, path="/embeddings").receipt.verdict.status == "verified"
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert (rest, errors) == ("", "")
    assert document["rpc_url"] == values["RPC_URL"]
    assert document["ca_file"] == values["ZEROG_CA_FILE"]
    assert document["providers"][0]["provider"] == values["PROVIDER"] == values["ZEROG_PROVIDER"]
    assert [(each["service"], each["funded"]) for each in document["providers"]] == [
        ("chatbot", str(10 * OG)),
        ("embedding", str(10 * OG)),
    ]
    names = "RPC_URL LEDGER INFERENCE PROVIDER PROVIDERS PROVIDER_URL PRIVATE_KEY CHAIN_ID"
    assert set(names.split()) <= set(values)
    assert values["PRIVATE_KEY"].removeprefix("0x") not in "".join(lines)
    for provider in json.loads(listed.stdout)["providers"]:
        assert provider["url"].startswith("https://")
        assert provider["health"] == "healthy"


def test_a_service_it_cannot_serve_is_an_error_that_names_those_it_can():
    result = subprocess.run(
        [*ZEROG, "localnet", "up", "--services", "chat,video"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 1, result.stdout
    assert "'video'" in result.stderr
    assert "chat, embedding, image, edit, speech" in result.stderr


def test_the_settings_file_appears_whole_and_quoted(tmp_path):
    path = tmp_path / "x.env"
    write_env_file(path, {"A": "plain", "B": "it's $HOME"})
    assert path.read_text() == "export A=plain\nexport B='it'\"'\"'s $HOME'\n"
    assert list(tmp_path.iterdir()) == [path]


def test_help_lists_the_commands():
    result = subprocess.run([*ZEROG, "--help"], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert {"localnet", "demo"} <= set(re.findall(r"\w+", result.stdout))


def test_with_a_router_its_settings_file_leads_to_it(tmp_path: Path) -> None:
    env_file = tmp_path / "local.env"
    words = [*ZEROG, "localnet", "up", "--router", "--env-file", str(env_file)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while not env_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"not ready: {process.communicate()[0]}")
            time.sleep(0.02)
        values = read_env(env_file)
        values.pop("ZEROG_PROVIDER")
        with ChatClient(backend="router", model="local-chat-1", verify="off", environ=values) as client:
            assert client.create({"messages": [{"role": "user", "content": "Say: hello"}]}).text == "hello"
    finally:
        process.kill()
        process.communicate()
