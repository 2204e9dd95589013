"""Names, answers and errors of strangers command no terminal, run no script and no formula, wherever they are shown."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
import threading
import traceback
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.adversarial.test_hostile import register
from tests.zg_core.cli.running import Zerog
from zg_core import Broker, ChatClient, ZeroGError
from zg_core.compare import compare
from zg_core.localnet import LocalNet
from zg_core.receipts.export import to_csv

NAME = (
    '=HYPERLINK("http://evil.example")<img src=x onerror=alert(1)>|\x1b[31mred\n| a | b |\u202e\u200b'
    "\U000e0041[c](http://d)"
)
TERMINAL = (
    "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b]0;owned\x07\x1b[31mYour wallet is locked\x08\x9b31m\r\u202e\u2028\u200b"
    "\U000e0041"
)
FORMULA = "=cmd|' /C calc'!A0"
ASK = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5}


def unseen(text: str) -> list[str]:
    """What commands a terminal or hides; line breaks of our own are fine."""
    return sorted({c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")})


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)


def tags(html: str) -> set[str]:
    """The elements of a page."""
    parser = _Tags()
    parser.feed(html)
    parser.close()
    return parser.tags


TABLE = {"table", "caption", "tr", "th", "td"}


@dataclass
class Stranger:
    """A provider whose words are all attacks."""

    net: LocalNet
    address: str
    says: dict[str, Any] = field(default_factory=lambda: {"answer": TERMINAL, "error": ""})

    @property
    def settings(self) -> dict[str, Any]:
        return {"private_key": self.net.wallet.private_key, "network": "local", "rpc_url": self.net.rpc_url}

    @property
    def called(self) -> dict[str, Any]:
        return {**self.settings, "provider": self.address, "max_retries": 0, "environ": {}}

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ZEROG_", "ZG_"))}
        names = {"ZEROG_NETWORK": "local", "ZEROG_RPC_URL": self.net.rpc_url, "ZEROG_PROVIDER": self.address}
        return {**kept, **names, "ZEROG_PRIVATE_KEY": self.net.wallet.private_key, "TERM": "xterm-256color"}


@pytest.fixture
def stranger(net: LocalNet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stranger]:
    monkeypatch.setattr("zg_core.backends.direct.backend.SIGNATURE_DELAYS", (0.0,))
    snapshot, said = net.snapshot(), {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            says: dict[str, Any] = said["says"]
            if says["error"]:
                self.tell(400, "application/json", json.dumps({"error": {"message": says["error"]}}).encode())
                return
            piece = {"index": 0, "delta": {"content": says["answer"]}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 3, "completion_tokens": 3}
            event = json.dumps({"id": "chatcmpl-1", "choices": [piece], "usage": usage}).encode()
            self.tell(200, "text/event-stream", b"data: " + event + b"\n\ndata: [DONE]\n\n")

        def do_GET(self) -> None:
            found = self.path == "/v1/models"
            self.tell(200 if found else 404, "application/json", b'{"data":[]}' if found else TERMINAL.encode())

        def tell(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = register(net, url=f"http://127.0.0.1:{server.server_port}", model=NAME)
    net.open_account(net.wallet, address)
    made = Stranger(net, address)
    said["says"] = made.says
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield made
    server.shutdown()
    server.server_close()
    thread.join()
    net.revert(snapshot)


def test_a_comparison_is_a_table_and_nothing_more(
    stranger: Stranger, tmp_path: Path, tally: Callable[..., None]
) -> None:
    stranger.says["answer"] = FORMULA
    prompts = [{"prompt": "x", "expected": "y", "id": "+1"}, "@SUM(1)"]
    honest = stranger.net.providers[0]
    result = compare([stranger.address, honest.address], prompts, **stranger.settings, budget="1", cache=None)

    result.to_csv(tmp_path / "rows.csv")
    text = (tmp_path / "rows.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    cells = [cell for row in rows for cell in row.values()]
    assert [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@"))] == []
    assert "'" + FORMULA in cells
    assert unseen(text.replace("\r\n", "\n")) == []

    summary = result.summary()
    lines = summary.to_markdown().splitlines()
    assert len(lines) == 2 + len(summary)
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
    for shown in (summary._repr_markdown_(), str(summary), repr(summary), repr(result)):
        assert unseen(shown) == []
    assert "<img" not in summary._repr_markdown_()
    assert "](" not in summary._repr_markdown_()
    for page in (summary._repr_html_(), result._repr_html_()):
        assert tags(page) == TABLE - {"caption"} or tags(page) == TABLE
        assert unseen(page) == []
    # the honest provider beside it reads as it always did
    assert honest.model in summary.to_markdown()
    assert any(honest.model in row.values() and "Paris" not in row["error"] for row in rows)
    tally("strangers' words in a comparison", tried=8, caught=8)


def test_receipts_verdicts_and_explanations_show_text(stranger: Stranger, tally: Callable[..., None]) -> None:
    with ChatClient(**stranger.called) as client:
        reply = client.stream(ASK)
        assert list(reply)
        receipt = reply.receipt
        explained = client.explain(NAME)
        receipts = client.receipts
    assert receipt is not None
    for page in (receipt._repr_html_(), receipt.verdict._repr_html_(), receipts._repr_html_()):
        assert tags(page) <= TABLE
        assert unseen(page) == []
    for shown in (str(explained), repr(receipt), str(receipt.verdict), receipt.verdict.explain()):
        assert unseen(shown) == []
    rows = list(csv.reader(io.StringIO(to_csv([receipt]), newline="")))
    assert [cell for row in rows for cell in row if cell.lstrip().startswith(("=", "+", "-", "@"))] == []
    assert any(cell.startswith("'=HYPERLINK") for cell in rows[1])
    tally("strangers' words in receipts", tried=8, caught=8)


@pytest.mark.parametrize("face", ["core", "stream", "langchain", "llama_index", "openai"])
def test_errors_are_text(stranger: Stranger, face: str, tally: Callable[..., None]) -> None:
    stranger.says["error"] = TERMINAL
    with pytest.raises(Exception) as caught:
        _fail(stranger, face)
    printed = "".join(traceback.format_exception(caught.value))
    assert unseen(printed) == []
    assert "Your wallet is locked" in printed  # the words are there, the commands are not
    tally("strangers' words in an error", tried=1, caught=1)


def _fail(stranger: Stranger, face: str) -> None:
    if face == "langchain":
        from langchain_zerog import ChatZeroG

        ChatZeroG(**_without(stranger.called)).invoke("x")
    elif face == "llama_index":
        from llama_index_zerog import ZeroG

        ZeroG(**_without(stranger.called)).complete("x")
    elif face == "openai":
        from zg_core import openai_client

        client: Any = openai_client(**stranger.called)
        client.chat.completions.create(model=NAME, messages=ASK["messages"])
    else:
        with ChatClient(**stranger.called) as core:
            list(core.stream(ASK)) if face == "stream" else core.create(ASK)


def _without(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "environ"}


def _on_a_terminal(words: list[str], environ: dict[str, str]) -> str:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "zg_core.cli", *words]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environ) as process:
        os.close(follower)
        printed = b""
        while True:
            try:
                data = os.read(leader, 65536)
            except OSError:
                break
            if not data:
                break
            printed += data
        process.wait()
    os.close(leader)
    return printed.decode("utf-8", "surrogateescape")


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of Unix")
@pytest.mark.parametrize("words", [["providers", "--all"], ["chat", "x"]], ids=lambda w: w[0])
def test_no_command_lets_them_at_the_terminal(
    stranger: Stranger, words: list[str], tmp_path: Path, tally: Callable[..., None]
) -> None:
    printed = _on_a_terminal(words, {**stranger.environ, "ZEROG_HOME": str(tmp_path)})
    for theirs in ("\x1b]52", "\x1b]0;", "\x07", "\x9b", "\u202e", "\u200b", "\U000e0041", "\x08"):
        assert theirs not in printed
    tally("strangers' words on a terminal", tried=1, caught=1)


@pytest.mark.parametrize(
    "words",
    [["providers", "--all"], ["chat", "x"], ["chat", "--no-stream", "x"], ["verify", "…"], ["receipts", "list"]],
    ids=lambda w: w[0],
)
def test_nor_at_what_stands_behind_a_pipe(
    stranger: Stranger, words: list[str], tmp_path: Path, tally: Callable[..., None]
) -> None:
    zerog = Zerog({**stranger.environ, "ZEROG_HOME": str(tmp_path)})
    for said in ("", TERMINAL):
        stranger.says["error"] = said
        ran = zerog(*(stranger.address if word == "…" else word for word in words), ok=None)
        assert unseen(ran.out + ran.err) == []
    tally("strangers' words on a terminal", tried=2, caught=2)


def test_a_refusal_on_a_terminal_is_one_line(stranger: Stranger, tmp_path: Path) -> None:
    stranger.says["error"] = TERMINAL + "\nerror: nothing\n"
    printed = _on_a_terminal(["chat", "x"], {**stranger.environ, "ZEROG_HOME": str(tmp_path)})
    assert "\x1b]" not in printed
    assert "Your wallet is locked" in printed
    lines = [line for line in printed.splitlines() if "error: " in line]
    assert len(lines) == 1, printed


def test_text_of_people_is_shown_as_it_is(stranger: Stranger, tmp_path: Path) -> None:
    said = "two\nlines, \u4e2d\u6587, \u05e2\u05d1\u05e8, \U0001f468\u200d\U0001f469 \u2764\ufe0f = 1 + 1"
    stranger.says["answer"] = said
    with ChatClient(**stranger.called) as client:
        events = list(client.stream(ASK))
    assert events[0]["choices"][0]["delta"]["content"] == said
    ran = Zerog({**stranger.environ, "ZEROG_HOME": str(tmp_path)})("chat", "x", ok=None)
    assert said in ran.out


def test_models_on_chain_are_listed_on_one_line_each(stranger: Stranger) -> None:
    with Broker.read_only(network="local", rpc_url=stranger.net.rpc_url, environ={}) as broker:
        assert NAME in {service.model for service in broker.services()}  # the data is as it is on chain
    with pytest.raises(ZeroGError) as caught, ChatClient(**{**stranger.called, "model": "another\x1b[2J"}) as client:
        client.create(ASK)
    assert unseen(str(caught.value)) == []
