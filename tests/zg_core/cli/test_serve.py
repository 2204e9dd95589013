"""``zerog serve`` as a process and its keys: what is printed, what is a secret, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.patience import PATIENCE

if TYPE_CHECKING:
    from tests.zg_core.cli.running import Zerog

QUESTION = {"model": "chat-ml", "messages": [{"role": "user", "content": "What is the capital of France?"}]}


@pytest.mark.parametrize("given", [False, True], ids=["random token", "own token"])
def test_one_command_serves_a_model_and_ends_cleanly(rich: Zerog, given: bool) -> None:
    own = "a-token-of-ours-0123456789"
    environ = {"PATH": os.environ["PATH"], **rich.environ, **({"ZEROG_SERVE_TOKEN": own} if given else {})}
    command = [sys.executable, "-m", "zg_core.cli", "serve", "--model", "chat-ml", "--port", "0", "--json"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = document_of(process)
        assert said["models"] == ["chat-ml"]
        assert said["token"] is None if given else said["token"].startswith("zgo-")
        request = urllib.request.Request(
            f"{said['base_url']}/chat/completions",
            json.dumps(QUESTION).encode(),
            {"Authorization": f"Bearer {own if given else said['token']}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            assert response.headers["X-Zerog-Verdict"] == "verified"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out, err) == (0, "", "")


def document_of(process: Any) -> dict[str, Any]:
    """The JSON document that it prints once it is ready."""
    text = ""
    for line in process.stdout:
        text += line
        if line.startswith("}"):
            found: dict[str, Any] = json.loads(text)
            return found
    pytest.fail(f"it said {text!r} {process.stderr.read()!r}", pytrace=False)


def test_keys_are_made_listed_and_revoked(poor: Zerog) -> None:
    made = poor.json("serve", "keys", "create", "--name", "alice", "--budget", "2/day")
    assert made["key"].startswith("zgk-")
    listed = poor("serve", "keys", "list")
    assert made["key"] not in listed.out
    assert made["id"] in listed.out
    (one,) = poor.json("serve", "keys", "list")["keys"]
    assert (one["name"], one["budget"], one["spent"]["neuron"], one["revoked_at"]) == ("alice", "2/day", "0", None)
    assert poor.fails("serve", "keys", "create", "--name", "alice", "--budget", "1", code=1)["code"] == "key_exists"
    assert poor.fails("serve", "keys", "create", "--name", "bob", "--budget", "x", code=1)["code"] == "bad_budget"
    assert poor.json("serve", "keys", "revoke", "alice")["revoked_at"] is not None
    assert poor.fails("serve", "keys", "revoke", "alice", code=1)["code"] == "unknown_key"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--host", "0.0.0.0", "--no-token"], "token_needed"),
        (["--token", "short"], "usage"),
        (["--limits", "many"], "usage"),
        (["--budget", "5/week"], "bad_budget"),
        (["--verify", "sometimes"], "bad_policy"),
        (["--host", "203.0.113.9"], "cannot_listen"),
        (["--config", "/no/such/file.toml"], "bad_serve_config"),
        (["--config", "x.toml", "--model", "m"], "usage"),
    ],
    ids=" ".join,
)
def test_settings_that_cannot_be_are_refused_before_it_listens(poor: Zerog, words: list[str], code: str) -> None:
    ran = poor("serve", "--port", "0", *words, "--json", ok=False)
    assert ran.error["code"] == code
    assert "Traceback" not in ran.err


def test_a_port_that_is_taken_is_said(poor: Zerog) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        error = poor.fails("serve", "--port", str(taken.getsockname()[1]), code=1)
    assert error["code"] == "cannot_listen"
    assert "--port" in error["hint"]
