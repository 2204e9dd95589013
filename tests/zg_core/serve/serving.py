"""Runs a server in a thread of its own, as `zerog serve` runs it, and asks it with plain HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.patience import PATIENCE
from zg_core.config import Secret
from zg_core.serve.running import bound, serve
from zg_core.serve.settings import ANY, ServeSettings, entry_of

if TYPE_CHECKING:
    from zg_core.serve.app import Server

TOKEN = "zgo-the-token-of-the-tests"
QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
ANSWER = "The capital of France is Paris."


@dataclass
class Got:
    """An answer, whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]

    @property
    def events(self) -> list[str]:
        """The data of its events."""
        return [line[6:] for line in self.body.decode().splitlines() if line.startswith("data: ")]

    @property
    def comment(self) -> dict[str, Any]:
        """What the last line says of the call."""
        last = self.body.decode().strip().splitlines()[-1]
        assert last.startswith(": zerog "), last
        return json.loads(last.removeprefix(": zerog "))

    @property
    def text(self) -> str:
        pieces = [json.loads(each) for each in self.events if each.startswith("{")]
        return "".join(c["delta"].get("content") or "" for e in pieces for c in e.get("choices", ()))


@dataclass
class Running:
    """A server that runs."""

    server: Server
    port: int
    stop: Callable[[], None]
    thread: threading.Thread | None = None
    errors: list[BaseException] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base(self) -> str:
        return f"{self.url}/v1"

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def get(self, path: str, **headers: str) -> Got:
        return self.request("GET", path, None, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Got:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, data, **headers)

    def chat(self, body: Any, **headers: str) -> Got:
        return self.post("/v1/chat/completions", body, **headers)

    def request(self, method: str, path: str, body: bytes | None, **headers: str) -> Got:
        given = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = self.connection()
        try:
            connection.request(method, path, body, {name: value for name, value in given.items() if value})
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        return Got(response.status, {name.lower(): value for name, value in response.getheaders()}, data)


@contextmanager
def running(settings: ServeSettings) -> Iterator[Running]:
    """A server with these settings, until the end of the block."""
    sock = bound(settings.host, 0)
    port = sock.getsockname()[1]
    begun = threading.Event()
    found: list[Running] = []
    errors: list[BaseException] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()

        def ready(server: Server, stop: Callable[[], None]) -> None:
            found.append(Running(server, port, lambda: loop.call_soon_threadsafe(stop), errors=errors))
            begun.set()

        await serve(settings, sock, ready)

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:
            errors.append(error)
        finally:
            begun.set()

    thread = threading.Thread(target=run, name="serve")
    thread.start()
    assert begun.wait(PATIENCE)
    try:
        if errors:
            raise errors[0]
        found[0].thread = thread
        yield found[0]
    finally:
        if found and thread.is_alive():
            found[0].stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def settings_of(options: dict[str, Any], said: dict[str, Any] | None = None, **more: Any) -> ServeSettings:
    """Settings for one network: every model on it, or those of `said`."""
    shared = {name: value for name, value in options.items() if name not in ("environ", "model", "provider")}
    shared = {"verify": "require", **shared}
    entries = {name: entry_of(name, each, shared) for name, each in (said or {ANY: {}}).items()}
    return ServeSettings(**{"entries": entries, "token": Secret(TOKEN), "grace": 20.0, **more})
