"""A name with addresses that swallow every packet: IPv6 behind a VPN that does not carry it.

NousResearch/hermes-agent#94388, unslothai/unsloth#10803, urllib3#2030 and #797. Three dead addresses come before the
good one here; ``socket.create_connection`` would allow the whole time to each.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cases.chain.field import Connection, Expectations, FieldServer, answer, async_calls, short, sync_calls
from tests.patience import PATIENCE

CONNECT = PATIENCE / 5


def keep(connection: Connection) -> None:
    while connection.request() is not None:
        connection.send(answer(b"hello"))


@contextlib.contextmanager
def dead_address() -> Iterator[Any]:
    """An address that does not answer: the queue of the listener behind it is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(6):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener.getsockname()


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    real = socket.getaddrinfo
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(dead_address()) for _ in range(3)]
        places.append(("127.0.0.1", stack.enter_context(FieldServer(keep)).port))

        def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
            if host in ("dual.test", b"dual.test"):
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
            return real(host, *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        yield "http://dual.test/"


def test_one_deadline_stands_over_all_addresses_without_a_loop(name: str, expect: Expectations) -> None:
    began = time.monotonic()
    (result,) = sync_calls(name, connect=CONNECT, read=PATIENCE)
    took = time.monotonic() - began
    expect("`connect` is kept over all addresses: three times it if each had it", took < CONNECT * 0.9, f"{took:.1f} s")
    expect("and the good one is found within it", not isinstance(result, Exception), short(result))


def test_the_good_address_is_reached_soon_with_a_loop(name: str, expect: Expectations) -> None:
    began = time.monotonic()
    (result,) = async_calls(name, connect=CONNECT, read=PATIENCE)
    took = time.monotonic() - began
    expect("the good address is reached beside the dead ones (happy eyeballs)", took < CONNECT * 0.9, f"{took:.1f} s")
    expect("and answers", not isinstance(result, Exception), short(result))
