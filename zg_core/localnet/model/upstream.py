"""What a local provider asks its answers from: an `Upstream`, and the one that forwards to a real model server."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakKeyDictionary

from zg_core.localnet.model.json import compact_json, load_json

if TYPE_CHECKING:
    import httpx2

_log = logging.getLogger(__name__)

MAX_BODY: Final = 32 * 1024 * 1024
"""Largest answer taken from a model server, in bytes; for a stream, all events together."""
MAX_EVENT: Final = 4 * 1024 * 1024
"""Largest single event of a stream, in bytes."""

_RELAYED_HEADERS: Final = ("content-type", "retry-after", "x-request-id")


@dataclass(frozen=True)
class UpstreamReply:
    """A whole answer: status, headers with lower-case names, body bytes as they came."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class UpstreamBrokenError(Exception):
    """A stream that broke after it had begun, when a status can no longer tell it."""


class Upstream(Protocol):
    """Something that answers OpenAI-shaped requests. Paths are relative, as `/chat/completions`."""

    async def complete(self, path: str, body: bytes) -> UpstreamReply:
        """Answer as one JSON document. Whatever HTTP can say is in the reply, never an exception."""
        ...

    def stream(self, path: str, body: bytes) -> AsyncIterator[bytes | UpstreamReply]:
        """Answer as server-sent events, one complete event per item, or with one `UpstreamReply` that refuses.

        Raises:
            UpstreamBrokenError: The stream broke after its first event.
        """
        ...

    async def models(self) -> list[dict[str, Any]]:
        """The entries for `/v1/models`, without prices."""
        ...


def error_reply(status: int, message: str, kind: str = "upstream_error") -> UpstreamReply:
    """A reply with an OpenAI-shaped error body."""
    error = {"message": message, "type": kind, "param": None, "code": None}
    body = compact_json({"error": error}).encode("utf-8", "replace")
    return UpstreamReply(status, {"content-type": "application/json"}, body)


class OpenAIUpstream:
    """Forwards to an OpenAI-compatible server (Ollama, vLLM, SGLang, …), bytes unchanged.

    Args:
        base_url: Address up to and including the version, as `http://127.0.0.1:11434/v1`.
        model: The one model to publish of those the server lists; None publishes them all.
        api_key: Sent as bearer token if given.
        timeout: Seconds without a byte after which the server counts as hanging.

    Raises:
        ValueError: `base_url` is no http(s) address, or carries credentials.
    """

    def __init__(
        self, base_url: str, *, model: str | None = None, api_key: str | None = None, timeout: float = 600.0
    ) -> None:
        import httpx2

        url = httpx2.URL(base_url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("base_url must be an http or https address, as http://127.0.0.1:11434/v1")
        if url.userinfo:
            raise ValueError("base_url must not carry credentials: give them as api_key")
        self.base_url = base_url.rstrip("/")
        self.model = model
        self._api_key = api_key
        self._timeout = httpx2.Timeout(timeout, connect=min(timeout, 10.0))
        # Connections belong to the event loop that opened them, so each loop has its own client.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"OpenAIUpstream({self.base_url!r}, model={self.model!r})"

    async def complete(self, path: str, body: bytes) -> UpstreamReply:
        """Forward `body` and return the answer; 502 if the server cannot be reached, 504 if it hangs."""
        return await self._reply("POST", path, body)

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes | UpstreamReply]:
        """Forward `body` and pass the events on, each as soon as it is complete.

        Raises:
            UpstreamBrokenError: The server broke off, hung or sent too much after the first event.
        """
        begun = False
        try:
            async with self._open("POST", path, body) as response:
                kind = response.headers.get("content-type", "")
                if response.status_code != 200 or not kind.startswith("text/event-stream"):
                    reply = await _read_reply(response)
                    yield reply if reply.status != 200 else error_reply(502, "the model server did not stream")
                    return
                async for event in _events(response):
                    begun = True
                    yield event
        except _FailedError as error:
            if begun:
                raise UpstreamBrokenError(error.message) from error
            yield error_reply(error.status, error.message)

    async def models(self) -> list[dict[str, Any]]:
        """The server's own list; one bare entry for `model` if the server does not list it."""
        reply = await self._reply("GET", "/models")
        entries: list[dict[str, Any]] = []
        if reply.status == 200:
            try:
                data = load_json(reply.body.decode())
            except ValueError:
                _log.warning("the model server's list of models is not JSON")
                data = None
            listed = data.get("data") if isinstance(data, dict) else None
            listed = listed if isinstance(listed, list) else []
            entries = [item for item in listed if isinstance(item, dict) and isinstance(item.get("id"), str)]
        if self.model is None:
            return entries
        named = [item for item in entries if item["id"] == self.model]
        return named or [{"id": self.model, "object": "model", "created": 0, "owned_by": "upstream"}]

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def _reply(self, method: str, path: str, body: bytes = b"") -> UpstreamReply:
        try:
            async with self._open(method, path, body) as response:
                return await _read_reply(response)
        except _FailedError as error:
            return error_reply(error.status, error.message)

    @asynccontextmanager
    async def _open(self, method: str, path: str, body: bytes) -> AsyncIterator["httpx2.Response"]:
        import httpx2

        headers = {"content-type": _content_type(body), "accept-encoding": "identity", "user-agent": "zerog-localnet"}
        if self._api_key:
            headers["authorization"] = f"Bearer {self._api_key}"
        try:
            async with self._client().stream(
                method, self.base_url + path, content=body or None, headers=headers
            ) as response:
                yield response
        except httpx2.TimeoutException as error:
            raise _FailedError(504, "the model server did not answer in time") from error
        except httpx2.HTTPError as error:
            raise _FailedError(502, f"the model server cannot be reached ({type(error).__name__})") from error

    def _client(self) -> "httpx2.AsyncClient":
        import httpx2

        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            # No proxies or netrc from the environment: a model server next door is addressed directly.
            client = httpx2.AsyncClient(timeout=self._timeout, follow_redirects=False, trust_env=False)
            self._clients[loop] = client
        return client


def _content_type(body: bytes) -> str:
    """What a body is: a form begins with its boundary."""
    first = body[:200].partition(b"\r\n")[0]
    if first.startswith(b"--"):
        return f"multipart/form-data; boundary={first[2:].decode('latin-1')}"
    return "application/json"


class _FailedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


async def _read_reply(response: "httpx2.Response") -> UpstreamReply:
    if 300 <= response.status_code < 400:
        return error_reply(502, "the model server redirects; give its final address")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BODY:
            return error_reply(502, "the model server's answer is too large")
    headers = {name: response.headers[name] for name in _RELAYED_HEADERS if name in response.headers}
    return UpstreamReply(response.status_code, headers, bytes(body))


async def _events(response: "httpx2.Response") -> AsyncIterator[bytes]:
    """Cut a response into server-sent events, each with the blank line that ends it."""
    buffer = bytearray()
    total = 0
    async for chunk in response.aiter_bytes():
        total += len(chunk)
        searched = max(len(buffer) - 3, 0)
        buffer += chunk
        while (end := _event_end(buffer, searched)) > 0:
            yield bytes(buffer[:end])
            del buffer[:end]
            searched = 0
        if len(buffer) > MAX_EVENT or total > MAX_BODY:
            raise _FailedError(502, "the model server's stream is too large")
    if buffer:
        yield bytes(buffer)


def _event_end(buffer: bytearray, start: int) -> int:
    """Where the first event in `buffer` ends, 0 if it is not complete."""
    ends = [found + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if (found := buffer.find(mark, start)) >= 0]
    return min(ends, default=0)
