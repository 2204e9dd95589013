"""Connections of our own: how URLs are read, and when a connection serves the next request."""

from __future__ import annotations

import asyncio
import gc
import select
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.moments import instead
from tests.patience import PATIENCE
from tests.zg_core.driving import fetch
from tests.zg_core.raw_server import CLOSE, HEAD, STALL, Server, answer, chunk
from zg_core.errors import OutcomeUnknown, ProviderUnavailable
from zg_core.http import connections as module
from zg_core.http.bodies import BodyBroken
from zg_core.http.connections import Connections
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.http.transport import AsyncTransport, SyncTransport, Transport, run
from zg_core.http.wires import Late, SyncWire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.zg_core.hand_clock import Clock


async def connections_of(transport: Any) -> Connections:
    """Those of the transport in this loop."""
    engine = transport._client if isinstance(transport, SyncTransport) else await transport._client()
    connections: Connections = engine._connections
    return connections


class TestReuse:
    """Which requests share a connection; the server numbers its connections."""

    @pytest.fixture
    def by_hand(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
        """The time that silence is measured in."""
        instead(monkeypatch, "zg_core.http.connections.time", monotonic=clock)
        return clock

    def used(self, server: Any, drive: Any, script: list[Any], count: int) -> list[int]:
        server.script = script

        async def work(transport: Transport) -> None:
            for _ in range(count):
                await read_all(await transport.send(Request("GET", server.url)), 1000)

        drive(work)
        return [received.connection for received in server.received]

    def test_an_answer_read_to_its_end_leaves_it_to_the_next(self, server: Any, drive: Any) -> None:
        assert self.used(server, drive, [[answer(b"a")], [answer(b"b")], [answer(b"c")]], 3) == [0, 0, 0]

    def test_one_that_says_close_does_not(self, server: Any, drive: Any) -> None:
        assert self.used(server, drive, [[answer(b"a", Connection="close")], [answer(b"b")]], 2) == [0, 1]

    def test_one_that_talks_on_does_not(self, server: Any, drive: Any) -> None:
        assert self.used(server, drive, [[answer(b"a") + b"HTTP/1.1 200 OK\r\n"], [answer(b"b")]], 2) == [0, 1]

    def test_one_whose_server_hung_up_is_not_used_again(self, server: Any, drive: Any) -> None:
        server.script = [[answer(b"a"), CLOSE], [answer(b"b")]]

        async def work(transport: Transport) -> None:
            await read_all(await transport.send(Request("GET", server.url)), 1000)
            (link,) = (await connections_of(transport))._links
            while not link.wire.stale():  # the end of the connection is on its way to us
                await transport.sleep(0.001)
            await read_all(await transport.send(Request("POST", server.url, body=b"x", once=True)), 1000)

        drive(work)
        assert [received.connection for received in server.received] == [0, 1]

    def test_each_request_goes_out_with_its_own_headers(self, server: Any, drive: Any) -> None:
        tokens = ["a", "b", "a", "c", "d", "e", "f", "a"]
        server.script = [[answer(b"x")] for _ in tokens]

        async def work(transport: Transport) -> None:
            for token in tokens:
                await read_all(await transport.send(Request("GET", server.url, {"Authorization": token})), 1000)

        drive(work)
        assert [received.headers["authorization"] for received in server.received] == tokens
        assert {received.connection for received in server.received} == {0}

    def test_one_that_was_idle_for_long_is_hung_up(self, server: Any, drive: Any, monkeypatch: Any) -> None:
        monkeypatch.setattr(module, "IDLE_SECONDS", -1.0)
        assert self.used(server, drive, [[answer(b"a")], [answer(b"b")]], 2) == [0, 1]

    @pytest.fixture
    def after(self, server: Any, drive: Any, by_hand: Clock) -> Callable[..., list[int]]:
        """Which connections two requests come over, with so many seconds of silence between them."""

        def twice(seconds: float, *, once: bool, **headers: str) -> list[int]:
            server.script = [[answer(b"a", **headers)], [answer(b"b")]]

            async def work(transport: Transport) -> None:
                for _ in range(2):
                    response = await transport.send(Request("POST", server.url, body=b"x", once=once))
                    await read_all(response, 1000)
                    by_hand.now += seconds

            drive(work)
            return [received.connection for received in server.received]

        return twice

    def test_a_paid_request_takes_none_that_its_server_may_be_closing(self, server: Any, after: Any) -> None:
        assert after(3.9, once=True) == [0, 0]
        server.received.clear()
        assert after(4.1, once=True) == [1, 2]
        server.received.clear()
        assert after(4.1, once=False) == [3, 3]

    def test_what_the_server_announces_counts_instead(self, server: Any, after: Any) -> None:
        assert after(4.1, once=True, Keep_Alive="timeout=10") == [0, 0]
        server.received.clear()
        assert after(1.1, once=True, Keep_Alive="timeout=2") == [1, 2]
        server.received.clear()
        assert after(2.1, once=False, Keep_Alive="timeout=2") == [3, 4]

    def test_one_too_old_for_a_paid_request_still_serves_a_read(self, server: Any, drive: Any, by_hand: Clock) -> None:
        async def work(transport: Transport) -> None:
            for once in (True, True, False):
                await read_all(await transport.send(Request("POST", server.url, body=b"x", once=once)), 1000)
                by_hand.now += 5.0

        drive(work)
        assert [received.connection for received in server.received] == [0, 1, 1]

    def test_how_long_a_server_waits_is_learned_from_reads(self, server: Any, drive: Any, by_hand: Clock) -> None:
        async def work(transport: Transport) -> None:
            for once in (False, False, True):
                await read_all(await transport.send(Request("POST", server.url, body=b"x", once=once)), 1000)
                by_hand.now += 9.0 if len(server.received) == 1 else 7.0

        drive(work)
        assert [received.connection for received in server.received] == [0, 0, 0]

    def test_a_request_that_was_lost_makes_the_next_ones_careful(self, server: Any, drive: Any, by_hand: Clock) -> None:
        server.script = [[answer(b"a")], [CLOSE], [answer(b"b")], [answer(b"c")]]

        async def work(transport: Transport) -> None:
            async def post() -> None:
                await read_all(await transport.send(Request("POST", server.url, body=b"x", once=True)), 1000)
                by_hand.now += 2.0

            await post()
            with pytest.raises(OutcomeUnknown):
                await post()  # after 2 s of silence
            await post()
            await post()  # after 2 s again

        drive(work)
        assert [received.connection for received in server.received] == [0, 0, 1, 2]

    def test_what_costs_nothing_is_sent_again_once_and_over_a_new_one(self, server: Any, drive: Any) -> None:
        server.script = [[answer(b"a")], [answer(b"b")], [CLOSE], [answer(b"c")], [CLOSE], [CLOSE]]

        async def work(transport: Transport) -> None:
            first = await transport.send(Request("GET", server.url))
            second = await transport.send(Request("GET", server.url))
            assert [await read_all(second, 1000), await read_all(first, 1000)] == [b"b", b"a"]
            assert await read_all(await transport.send(Request("GET", server.url)), 1000) == b"c"
            with pytest.raises(ProviderUnavailable) as caught:
                await transport.send(Request("GET", server.url))
            assert caught.value.code == "connection_lost"

        drive(work)
        assert [received.connection for received in server.received] == [0, 1, 0, 2, 2, 3]


class _Hasty:
    """Says at once that there is something to read, and lets it come only when it is asked again."""

    def __init__(self, other: socket.socket, true: Any) -> None:
        self._other, self._true, self._asked = other, true, 0

    def poll(self, milliseconds: float) -> list[tuple[int, int]]:
        self._asked += 1
        if self._asked == 1:
            return [(0, select.POLLIN)]
        self._other.sendall(b"x")
        found: list[tuple[int, int]] = self._true.poll(milliseconds)
        return found


@pytest.mark.skipif(not hasattr(select, "poll"), reason="sockets are waited for in another way here")
class TestSyncWire:
    """A plain socket is waited for by ourselves."""

    @pytest.fixture
    def ends(self) -> Iterator[tuple[SyncWire, socket.socket]]:
        ours, other = socket.socketpair()
        with other:
            wire = SyncWire(ours, None)
            yield wire, other
            wire.close()

    def test_who_is_woken_for_nothing_waits_on(self, ends: tuple[SyncWire, socket.socket]) -> None:
        wire, other = ends
        wire._poll = _Hasty(other, wire._poll)
        assert run(wire.read(10)) == b"x"

    def test_nothing_within_the_time_is_late(self, ends: tuple[SyncWire, socket.socket]) -> None:
        with pytest.raises(Late):
            run(ends[0].read(0.001))

    def test_a_time_beyond_what_the_system_takes_is_allowed(self, ends: tuple[SyncWire, socket.socket]) -> None:
        ends[1].sendall(b"x")
        assert run(ends[0].read(1e12)) == b"x"

    def test_full_buffers_are_waited_for(self, ends: tuple[SyncWire, socket.socket]) -> None:
        wire, other = ends
        with pytest.raises(BlockingIOError):
            while True:
                wire._socket.send(b"a" * 4096)
        heard: list[bytes] = []
        reader = threading.Thread(target=lambda: heard.extend(iter(lambda: other.recv(65536)[-1:], b"b")))
        reader.start()
        assert run(wire.write(b"b", PATIENCE))
        reader.join(PATIENCE)
        assert not reader.is_alive()

    def test_one_that_was_closed_is_stale(self, ends: tuple[SyncWire, socket.socket]) -> None:
        assert not ends[0].stale()
        ends[0].close()
        assert ends[0].stale()


class TestHowMany:
    """At most so many connections; who wants one more waits."""

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MOST", 2)

    def test_none_is_left_for_a_third_within_the_time_for_connecting(self, server: Any, drive: Any) -> None:
        server.script = [[HEAD, STALL], [HEAD, STALL]]

        async def work(transport: Transport) -> None:
            busy = [await transport.send(Request("GET", server.url)) for _ in range(2)]
            with pytest.raises(ProviderUnavailable, match="all 2 connections are in use") as caught:
                await transport.send(Request("GET", server.url, timeouts=Timeouts(connect=0.05)))
            assert (caught.value.code, caught.value.retryable) == ("connect_failed", True)
            await busy[0].close()
            await read_all(await transport.send(Request("GET", server.url)), 1000)

        drive(work)
        assert len(server.received) == 3

    def test_more_are_made_where_more_may_be_in_use(self, server: Any, drive: Any) -> None:
        server.script = [[HEAD, STALL], [HEAD, STALL], [HEAD, STALL]]

        async def work(transport: Any) -> None:
            transport.make_room(3)
            transport.make_room(1)  # never fewer than somebody was promised
            busy = [await transport.send(Request("GET", server.url)) for _ in range(3)]
            with pytest.raises(ProviderUnavailable, match="all 3 connections are in use"):
                await transport.send(Request("GET", server.url, timeouts=Timeouts(connect=0.05)))
            for response in busy:
                await response.close()

        drive(work)

    def test_an_idle_one_of_another_server_makes_room(self, server: Any, drive: Any) -> None:
        other = Server()

        async def work(transport: Transport) -> None:
            first = await transport.send(Request("GET", other.url))
            second = await transport.send(Request("GET", other.url))
            for response in (first, second):
                await read_all(response, 1000)
            await read_all(await transport.send(Request("GET", server.url)), 1000)
            assert len((await connections_of(transport))._links) == 2

        try:
            drive(work)
        finally:
            other.stop()

    def test_threads_wait_for_each_other(self, server: Any) -> None:
        transport = SyncTransport()
        failures: list[BaseException] = []

        def work() -> None:
            try:
                for _ in range(10):
                    assert run(fetch(server.url)(transport))[2] == b"ok"  # type: ignore[arg-type]
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert transport._client is not None
        connections = transport._client._connections
        assert (failures, len(connections._links), len(connections._waiting)) == ([], 2, 0)
        transport.close()
        assert {received.connection for received in server.received} == {0, 1}

    def test_tasks_wait_for_each_other_and_may_be_cancelled(self, server: Any) -> None:
        async def main() -> None:
            transport = AsyncTransport()
            tasks = [asyncio.ensure_future(fetch(server.url)(transport)) for _ in range(60)]
            await asyncio.sleep(0)
            for task in tasks[5:60:3]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            wrong = [r for r in results if not isinstance(r, asyncio.CancelledError) and r[2] != b"ok"]
            connections = await connections_of(transport)
            assert (wrong, len(connections._waiting), connections._connecting) == ([], 0, 0)
            assert len(connections._links) <= 2
            await transport.close()

        asyncio.run(main())

    def test_an_answer_that_is_forgotten_gives_its_place_back(self, server: Any, drive: Any) -> None:
        server.script = [[HEAD, STALL], [HEAD, STALL], [answer(b"third")]]

        async def work(transport: Transport) -> bytes:
            for _ in range(2):
                await transport.send(Request("GET", server.url))
            gc.collect()
            return await read_all(await transport.send(Request("GET", server.url)), 1000)

        assert drive(work) == b"third"

    def test_a_body_that_was_not_read_ends_it(self, server: Any, drive: Any) -> None:
        server.script = [[answer(b"x" * 100_000)], [answer(b"b")]]

        async def work(transport: Transport) -> None:
            await (await transport.send(Request("GET", server.url))).close()
            await read_all(await transport.send(Request("GET", server.url)), 1000)

        drive(work)
        assert [received.connection for received in server.received] == [0, 1]

    def test_it_is_free_as_soon_as_the_last_byte_is_there(self, server: Any, drive: Any) -> None:
        server.script = [[answer(b"a")], [answer(b"b")]]

        async def work(transport: Transport) -> None:
            first = await transport.send(Request("GET", server.url))
            async for piece in first.chunks():
                assert piece == b"a"
                await read_all(await transport.send(Request("GET", server.url)), 1000)
            await first.close()

        drive(work)
        assert [received.connection for received in server.received] == [0, 0]


class TestAnswers:
    def test_interim_answers_are_passed_over(self, server: Any, drive: Any) -> None:
        server.script = [[b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(b"real")]]
        assert drive(fetch(server.url))[2] == b"real"

    def test_repeated_headers_are_joined(self, server: Any, drive: Any) -> None:
        server.script = [[b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"]]

        async def work(transport: Transport) -> Any:
            response = await transport.send(Request("GET", server.url))
            await response.close()
            return response.headers

        assert drive(work)["x-a"] == "1, 2"

    def test_a_large_request_arrives_whole(self, server: Any, drive: Any) -> None:
        body = bytes(range(256)) * 40_000
        server.script = [[answer(b"ok")]]
        assert drive(fetch(server.url, body=body))[2] == b"ok"
        assert server.received[0].body == body

    def test_a_header_with_a_line_break_is_not_sent(self, server: Any, drive: Any) -> None:
        with pytest.raises(Exception, match="no request can be sent") as caught:
            drive(fetch(server.url, headers={"Authorization": "Bearer a\r\nX-Evil: 1"}, once=True))
        assert (caught.value.code, caught.value.retryable) == ("connect_failed", False)
        assert "Evil" not in str(caught.value)
        assert server.received == []

    def test_much_of_a_body_comes_in_pieces(self, server: Any, drive: Any) -> None:
        server.script = [[HEAD, *[chunk(b"x" * 10_000)] * 5, chunk(b"")]]
        sizes: list[int] = []

        async def work(transport: Transport) -> None:
            response = await transport.send(Request("GET", server.url))
            sizes.extend([len(piece) async for piece in response.chunks()])

        drive(work)
        assert sum(sizes) == 50_000
        assert max(sizes) <= 16 * 1024 + 64 * 1024, sizes


class TestClosing:
    def test_a_stream_under_way_breaks_when_the_transport_closes(self, server: Any) -> None:
        server.script = [[HEAD + chunk(b"part"), STALL]]
        transport = SyncTransport()

        async def work() -> None:
            response = await transport.send(Request("GET", server.url, timeouts=Timeouts(read=PATIENCE)))
            async for _ in response.chunks():
                transport.close()

        with pytest.raises(BodyBroken):
            run(work())
        assert server.gone.wait(PATIENCE), "the connection stays open"

    def test_threads_may_use_one_pool_at_once(self, server: Any) -> None:
        transport, failures = SyncTransport(), []

        def work() -> None:
            try:
                for _ in range(20):
                    assert run(fetch(server.url)(transport))[2] == b"ok"  # type: ignore[arg-type]
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        transport.close()
        assert failures == []
        assert len({received.connection for received in server.received}) <= 8


class TestProxies:
    def test_other_machines_are_reached_through_the_proxy_that_is_set(
        self, server: Any, drive: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("HTTP_PROXY", server.url)
        monkeypatch.setenv("http_proxy", server.url)
        assert drive(fetch("http://provider.example/v1/models"))[2] == b"ok"
        assert server.received[0].head.startswith(b"POST http://provider.example/v1/models HTTP/1.1\r\n")
