"""All addresses of a name within one deadline."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.ports import refusing
from zg_core.http import dialling as module
from zg_core.http.dialling import addresses, dial, dial_in_loop, in_turns
from zg_core.http.signals import LoopSignal, ThreadSignal
from zg_core.http.transport import run
from zg_core.http.wires import AsyncWire, NotConnected, SyncWire

Found = list[tuple[Any, ...]]


def at(place: Any) -> tuple[Any, ...]:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", place)


def blocking(found: Found, seconds: float) -> socket.socket:
    return dial(found, seconds)


def looping(found: Found, seconds: float) -> socket.socket:
    async def main() -> socket.socket:
        async with asyncio.timeout(seconds):
            return await dial_in_loop(found)

    return asyncio.run(main())


@pytest.fixture(params=[blocking, looping])
def way(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def good() -> Iterator[Any]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


@pytest.fixture
def closed() -> Any:
    """An address that refuses."""
    return "127.0.0.1", refusing()


@pytest.fixture
def silent() -> Iterator[Any]:
    """An address that does not answer: the queue of its listener is full."""
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


class TestDialling:
    def test_one_that_refuses_is_passed_over_at_once(self, way: Any, closed: Any, good: Any, monkeypatch: Any) -> None:
        monkeypatch.setattr(module, "NEXT_AFTER", 60.0)
        with way([at(closed), at(closed), at(good)], 30.0) as connected:
            assert connected.getpeername() == good

    def test_one_that_is_silent_does_not_hold_up_the_next(
        self, way: Any, silent: Any, good: Any, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(module, "NEXT_AFTER", 0.01)
        with way([at(silent), at(silent), at(good)], 30.0) as connected:
            assert connected.getpeername() == good

    def test_a_family_that_this_machine_lacks_is_passed_over(self, way: Any, good: Any) -> None:
        with way([(250, socket.SOCK_STREAM, 6, "", good), at(good)], 30.0) as connected:
            assert connected.getpeername() == good

    def test_silence_everywhere_ends_with_the_deadline(self, way: Any, silent: Any) -> None:
        for found in ([at(silent)], [at(silent)] * 3):
            with pytest.raises(TimeoutError):
                way(found, 0.1)

    def test_refusals_everywhere_are_told(self, way: Any, closed: Any) -> None:
        for found in ([at(closed)], [at(closed)] * 3):
            with pytest.raises(ConnectionRefusedError):
                way(found, 30.0)
        with pytest.raises(OSError, match="no address"):
            way([], 30.0)

    def test_none_but_the_winner_stays_open(self, way: Any, silent: Any, good: Any, monkeypatch: Any) -> None:
        made: list[socket.socket] = []
        real = module._socket

        def counting(address: Any) -> socket.socket:
            made.append(real(address))
            return made[-1]

        monkeypatch.setattr(module, "_socket", counting)
        monkeypatch.setattr(module, "NEXT_AFTER", 0.01)
        with way([at(silent), at(silent), at(good)], 30.0):
            assert [one.fileno() >= 0 for one in made] == [False, False, True]


class TestNames:
    @pytest.mark.parametrize("signal", [ThreadSignal, LoopSignal])
    def test_a_resolver_that_hangs_is_not_waited_for(self, signal: Callable[[], Any], monkeypatch: Any) -> None:
        over = threading.Event()

        def resolve(*_: Any, flags: int = 0, **__: Any) -> Any:
            if flags:
                raise socket.gaierror
            over.wait(PATIENCE)
            return []

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            if signal is ThreadSignal:
                run(addresses("slow.test", 80, 0.05, signal))
            else:
                asyncio.run(addresses("slow.test", 80, 0.05, signal))
        took = time.monotonic() - began
        over.set()
        assert took < PATIENCE / 2

    def test_an_address_needs_no_thread(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(module.threading, "Thread", lambda **_: pytest.fail("the resolver is asked"))
        (found,) = run(addresses("127.0.0.1", 80, 1.0, ThreadSignal))
        assert found[4] == ("127.0.0.1", 80)

    def test_families_take_turns_and_the_first_stays_first(self) -> None:
        six, four = socket.AF_INET6, socket.AF_INET
        found = [(six, 1), (six, 2), (six, 3), (four, 4), (four, 5)]
        assert in_turns(found) == [(six, 1), (four, 4), (six, 2), (four, 5), (six, 3)]
        assert in_turns([]) == []

    @pytest.mark.parametrize("wire", [SyncWire, AsyncWire])
    def test_a_name_without_addresses_is_not_connected(self, wire: Any, monkeypatch: Any) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
        with pytest.raises(NotConnected, match="no address"):
            run(wire.connect("none.test", 80, None, 5.0)) if wire is SyncWire else asyncio.run(
                wire.connect("none.test", 80, None, 5.0)
            )


@pytest.mark.parametrize("wire", [SyncWire, AsyncWire])
def test_a_silent_connection_is_asked_for_life_each_minute(wire: Any, good: Any) -> None:
    def seen(connected: Any) -> tuple[int, int]:
        idle = getattr(socket, "TCP_KEEPIDLE", None) or socket.TCP_KEEPALIVE
        alive = connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return alive, connected.getsockopt(socket.IPPROTO_TCP, idle)

    async def main() -> tuple[int, int]:
        made = await wire.connect(*good, None, 5.0)
        try:
            return seen(made._socket if wire is SyncWire else made._transport.get_extra_info("socket"))
        finally:
            made.close()

    alive, idle = run(main()) if wire is SyncWire else asyncio.run(main())
    assert (bool(alive), idle) == (True, 60)
