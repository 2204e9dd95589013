"""The same coroutine over either transport, against a server whose bytes are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.patience import hastily
from tests.zg_core.raw_server import Server
from zg_core.http.messages import Request, read_all
from zg_core.http.transport import AsyncTransport, SyncTransport, Transport, run

Work = Callable[[Transport], Awaitable[Any]]


def without_loop(work: Work, ca_file: str | None = None, client: Any = None) -> Any:
    transport = SyncTransport(ca_file, client=client)
    try:
        return run(work(transport))  # type: ignore[arg-type]
    finally:
        transport.close()


def with_loop(work: Work, ca_file: str | None = None, client: Any = None) -> Any:
    async def main() -> Any:
        transport = AsyncTransport(ca_file, client=client)
        try:
            return await work(transport)
        finally:
            await transport.close()

    return asyncio.run(main())


def patiently(work: Callable[[float, Server], Any], early: type[Exception] | tuple[type[Exception], ...]) -> Any:
    """What `work` gives with so little patience that it ends soon, and with more on a machine that is slow.

    Args:
        work: Is called with the patience in seconds, and a server that nobody has asked yet.
        early: What it raises when the machine was too slow for that.
    """

    def once(seconds: float) -> Any:
        server = Server()
        try:
            return work(seconds, server)
        finally:
            server.stop()

    return hastily(once, early)


def fetch(url: str, *, limit: int = 10_000_000, **request: Any) -> Work:
    async def work(transport: Transport) -> tuple[int, dict[str, str], bytes]:
        response = await transport.send(Request(request.pop("method", "POST"), url, **request))
        return response.status, dict(response.headers), await read_all(response, limit)

    return work
