"""A request is cancelled at any moment; the next one on that connection must not get its answer.

redis-py#2624, #2665, #2632 (how one chat was shown to others).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from typing import Any

from tests.cases.chain.field import Connection, Expectations, FieldServer, attempt, kept, ours, told
from tests.patience import PATIENCE
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.http.transport import AsyncTransport, SyncTransport, run

PATIENT = Timeouts(connect=PATIENCE, read=PATIENCE)


def echo(connection: Connection) -> None:
    """Answers with the path, in chunks and after pauses."""
    chance = random.Random(connection.number)
    while (got := connection.request()) is not None:
        time.sleep(chance.random() * 0.02)
        body = got[0].split(b" ")[1] * 50
        with contextlib.suppress(OSError):
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 97):
                piece = body[at : at + 97]
                connection.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                time.sleep(chance.random() * 0.002)
            connection.send(b"0\r\n\r\n")


def test_400_tasks_half_of_them_cancelled(expect: Expectations) -> None:
    mixed: list[Any] = []
    other: list[str] = []

    async def storm(url: str) -> tuple[int, int]:
        transport = AsyncTransport()
        chance, places = random.Random(1), asyncio.Semaphore(20)

        async def one(number: int) -> None:
            response = await transport.send(Request("GET", f"{url}/{number:05d}", timeouts=PATIENT))
            body = await read_all(response, 1 << 20)
            if body != f"/{number:05d}".encode() * 50:
                mixed.append((number, body[:20]))

        async def guarded(number: int) -> None:
            async with places:
                task = asyncio.ensure_future(one(number))
                if number % 2:
                    await asyncio.sleep(chance.random() * 0.04)
                    task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    assert number % 2
                except Exception as error:
                    other.append(told(error))

        await asyncio.gather(*(guarded(number) for number in range(400)))
        connections = (await transport._client())._connections
        found = len(connections._links), len(list(kept(connections)))
        await transport.close()
        return found

    with FieldServer(echo) as server:
        links, idle = asyncio.run(storm(server.url))
    expect("no answer went to another request", not mixed, mixed[:3])
    expect("nothing else went wrong", not other, other[:2])
    expect("no connection is lost from the books", links == idle, (links, idle))


def test_8_threads_with_impatience_and_half_read_answers(expect: Expectations) -> None:
    transport = SyncTransport()
    mixed: list[Any] = []
    errors: list[str] = []

    async def one(url: str, number: int, chance: random.Random) -> bytes | None:
        times = Timeouts(connect=PATIENCE, read=chance.choice([0.01, PATIENCE, PATIENCE]))
        response = await transport.send(Request("GET", f"{url}/{number:05d}", timeouts=times))
        if chance.random() >= 0.3:
            return await read_all(response, 1 << 20)
        try:
            await anext(response.chunks())
        finally:
            await response.close()
        return None

    def thread(url: str, which: int) -> None:
        chance = random.Random(which)
        for number in range(which * 1000, which * 1000 + 40):
            body, error = attempt(lambda number=number: run(one(url, number, chance)))  # type: ignore[misc]
            if error is not None and not ours(error):
                errors.append(told(error))
            if body is not None and body != f"/{number:05d}".encode() * 50:
                mixed.append((number, body[:20]))

    with FieldServer(echo) as server:
        threads = [threading.Thread(target=thread, args=(server.url, which)) for which in range(1, 9)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert transport._client is not None
        connections = transport._client._connections
        links, idle = len(connections._links), len(list(kept(connections)))
        transport.close()
    expect("no answer went to another request", not mixed and not errors, (mixed[:2], errors[:1]))
    expect("no connection is lost from the books", links == idle, (links, idle))
