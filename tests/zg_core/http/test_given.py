"""Whose HTTP client carries a call, what reaches the provider of it, and that none is left open."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.processes import alone, child_of, ended
from tests.zg_core.driving import fetch, with_loop
from tests.zg_core.raw_server import CLOSE, HEAD, STALL, answer, chunk
from zg_core.errors import ConfigError, OutcomeUnknown, ProviderUnavailable
from zg_core.http import library as http
from zg_core.http.bodies import BodyBroken
from zg_core.http.connections import Connections
from zg_core.http.given import LibraryClient
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.http.transport import LIBRARY, AsyncTransport, SyncTransport, Transport, run

SLOW = Timeouts(connect=60.0, read=60.0, first_token=0.2, stall=60.0)
STALLING = Timeouts(connect=60.0, read=60.0, first_token=60.0, stall=0.2)


def _fork(url: str) -> None:
    """Ask, let a child ask, and ask again, over one transport."""
    transport = SyncTransport()

    def ask() -> None:
        assert run(fetch(url)(transport))[2] == b"ok"  # type: ignore[arg-type]

    def child() -> None:
        ask()
        transport.close()

    ask()
    with transport._guard:  # as if another thread were at it
        forked = child_of(child)
    assert ended(forked) == 0
    ask()
    transport.close()


class TestGivenClient:
    """A client of the user's: its connections are used, and nothing else of it."""

    @pytest.fixture
    def make(self, library: str, drive: Any) -> Iterator[Callable[..., Any]]:
        kind = getattr(http.library(), "AsyncClient" if drive is with_loop else "Client")
        made: list[Any] = []

        def make(**settings: Any) -> Any:
            made.append(kind(**settings, trust_env=False))
            return made[-1]

        yield make
        for client in made:
            if kind.__name__ == "Client":
                client.close()

    def test_it_carries_the_call_and_stays_open(self, server: Any, drive: Any, make: Any) -> None:
        seen: list[str] = []
        kind = "AsyncHTTPTransport" if drive is with_loop else "HTTPTransport"

        class Counting(getattr(http.library(), kind)):  # type: ignore[misc]
            def handle_request(self, request: Any) -> Any:
                seen.append(request.method)
                return super().handle_request(request)

            async def handle_async_request(self, request: Any) -> Any:
                seen.append(request.method)
                return await super().handle_async_request(request)

        client = make(transport=Counting())
        assert drive(fetch(server.url, body=b"prompt"), client=client)[2] == b"ok"
        assert (seen, client.is_closed) == (["POST"], False)

    def test_none_of_its_settings_reach_the_provider(self, server: Any, drive: Any, make: Any) -> None:
        client = make(
            headers={"X-Mine": "1", "User-Agent": "me", "Accept-Encoding": "br"},
            cookies={"a": "b"},
            auth=("user", "password"),
            params={"q": "1"},
            base_url="http://elsewhere.example/base",
        )
        drive(fetch(server.url + "/path", headers={"Authorization": "Bearer t"}), client=client)
        (received,) = server.received
        assert received.head.startswith(b"POST /path HTTP/1.1\r\n")
        assert received.headers["authorization"] == "Bearer t"
        assert received.headers["accept-encoding"] == "identity"
        assert received.headers["user-agent"] == "zerog-integrations"
        assert not {"x-mine", "cookie"} & set(received.headers)

    def test_it_follows_no_redirect_and_returns_no_cookie(self, server: Any, drive: Any, make: Any) -> None:
        server.script = [[answer(b"", "307 T", Location=server.url + "/x", Set_Cookie="a=1; Path=/")], [answer(b"")]]

        async def work(transport: Transport) -> list[int]:
            statuses = []
            for _ in range(2):
                response = await transport.send(Request("GET", server.url))
                await read_all(response, 100)
                statuses.append(response.status)
            return statuses

        assert drive(work, client=make(follow_redirects=True)) == [307, 200]
        assert [received.headers.get("cookie") for received in server.received] == [None, None]

    def test_what_is_hashed_are_the_decoded_bytes(self, server: Any, drive: Any, make: Any) -> None:
        server.script = [[answer(gzip.compress(b"body"), Content_Encoding="gzip")]]
        assert drive(fetch(server.url), client=make())[2] == b"body"

    def test_a_stall_is_noticed_with_our_timeouts(self, server: Any, drive: Any, make: Any) -> None:
        server.script = [[HEAD + chunk(b"part"), STALL], [STALL]]
        with pytest.raises(BodyBroken, match="stalled"):
            drive(fetch(server.url, timeouts=STALLING), client=make(timeout=600))
        with pytest.raises(OutcomeUnknown):
            drive(fetch(server.url, timeouts=SLOW, once=True), client=make(timeout=600))

    @pytest.mark.parametrize("how", ["made of bytes", "read by a hook", "read and compressed"])
    def test_a_response_that_was_read_before_us_is_as_good(self, server: Any, drive: Any, make: Any, how: str) -> None:
        """A transport that records or caches, a hook that logs."""
        lib = http.library()
        packed = how == "read and compressed"
        server.script = [[answer(gzip.compress(b"body"), Content_Encoding="gzip") if packed else answer(b"body")]]

        def blocking(response: Any) -> None:
            response.read()

        async def looping(response: Any) -> None:
            await response.aread()

        if how == "made of bytes":
            client = make(transport=lib.MockTransport(lambda _: lib.Response(200, content=b"body")))
        else:
            client = make(event_hooks={"response": [looping if drive is with_loop else blocking]})
        assert drive(fetch(server.url), client=client)[2] == b"body"

    def test_a_response_that_was_read_and_not_kept_is_told(self, server: Any, drive: Any, make: Any) -> None:
        def blocking(response: Any) -> None:
            list(response.iter_raw())

        async def looping(response: Any) -> None:
            async for _ in response.aiter_raw():
                pass

        client = make(event_hooks={"response": [looping if drive is with_loop else blocking]})
        with pytest.raises(BodyBroken, match="something else has read"):
            drive(fetch(server.url), client=client)

    def test_a_read_that_met_a_server_hanging_up_is_sent_again(self, server: Any, drive: Any, make: Any) -> None:
        server.script = [[answer(b"a")], [CLOSE], [answer(b"b")], [CLOSE]]

        async def work(transport: Transport) -> list[bytes]:
            found = [await read_all(await transport.send(Request("GET", server.url)), 100) for _ in range(2)]
            with pytest.raises(OutcomeUnknown):
                await transport.send(Request("POST", server.url, body=b"paid", once=True))
            return found

        assert drive(work, client=make()) == [b"a", b"b"]
        assert [received.connection for received in server.received] == [0, 0, 1, 1]

    def test_a_new_connection_that_ends_is_no_reason_to_ask_again(self, server: Any, drive: Any, make: Any) -> None:
        server.script = [[CLOSE], [answer(b"a")]]
        with pytest.raises(ProviderUnavailable):
            drive(fetch(server.url, method="GET"), client=make())
        assert len(server.received) == 1

    def test_a_client_of_the_other_library_will_do(self, server: Any, drive: Any, make: Any, monkeypatch: Any) -> None:
        client = make()
        monkeypatch.setattr(http, "library", lambda: pytest.fail("the given client's own library is used"))
        assert drive(fetch(server.url), client=client)[2] == b"ok"
        monkeypatch.undo()

    def test_a_client_of_the_wrong_kind_is_refused(self, library: str) -> None:
        lib = http.library()
        for transport, client in (
            (SyncTransport, lib.AsyncClient()),
            (AsyncTransport, lib.Client()),
            (SyncTransport, "http"),
            (SyncTransport, object()),
        ):
            with pytest.raises(ConfigError) as caught:
                transport(client=client)
            assert caught.value.code == "bad_http_client"

    def test_a_closed_client_is_said_to_be_closed(self, server: Any, drive: Any, make: Any) -> None:
        client = make()
        if drive is with_loop:
            asyncio.run(client.aclose())
        else:
            client.close()
        with pytest.raises(ConfigError, match="closed") as caught:
            drive(fetch(server.url), client=client)
        assert caught.value.code == "bad_http_client"
        assert server.received == []

    def test_an_authority_is_the_clients_own_affair(self, make: Any, drive: Any) -> None:
        with pytest.raises(ConfigError, match="ca_file"):
            drive(fetch("http://127.0.0.1:1"), "ca.pem", client=make())

    def test_a_second_loop_is_refused(self, server: Any, library: str) -> None:
        transport = AsyncTransport(client=http.library().AsyncClient())
        asyncio.run(fetch(server.url)(transport))  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="another event loop") as caught:
            asyncio.run(fetch(server.url)(transport))  # type: ignore[arg-type]
        assert caught.value.code == "http_client_loop"


class TestTheLibraryForEverything:
    """A setting for those whose network wants it: everything goes over the library, in its own connections."""

    @pytest.fixture(params=["argument", "variable"])
    def client(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
        if request.param == "argument":
            return LIBRARY
        monkeypatch.setenv("ZEROG_HTTP_CLIENT", "library")
        return None

    def test_nothing_goes_over_connections_of_our_own(
        self, server: Any, drive: Any, client: str | None, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(Connections, "take", lambda *_, **__: pytest.fail("a connection of our own"))
        server.script = [[answer(b"a")], [answer(b"b")]]

        async def work(transport: Transport) -> list[bytes]:
            requests = [Request("GET", server.url), Request("POST", server.url, body=b"x", once=True)]
            return [await read_all(await transport.send(request), 100) for request in requests]

        assert drive(work, client=client) == [b"a", b"b"]
        assert [received.connection for received in server.received] == [0, 0]
        assert server.received[1].headers["user-agent"] == "zerog-integrations"

    def test_the_argument_wins(self, server: Any, drive: Any, monkeypatch: Any) -> None:
        monkeypatch.setenv("ZEROG_HTTP_CLIENT", "library")
        monkeypatch.setattr(LibraryClient, "send", lambda *_, **__: pytest.fail("the library"))
        assert drive(fetch(server.url), client="own")[2] == b"ok"

    def test_another_word_is_refused(self, monkeypatch: Any) -> None:
        monkeypatch.setenv("ZEROG_HTTP_CLIENT", "curl")
        for transport in (SyncTransport, AsyncTransport):
            with pytest.raises(ConfigError, match="ZEROG_HTTP_CLIENT='curl'") as caught:
                transport()
            assert caught.value.code == "bad_http_client"


class TestNothingIsLeft:
    """Whoever forgets to close leaves no socket, and gets no warning."""

    @pytest.fixture(autouse=True)
    def strict(self, library: str) -> Iterator[None]:
        gc.collect()  # what other tests left is not looked at
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            yield
            gc.collect()
        assert [str(warning.message) for warning in heard if issubclass(warning.category, ResourceWarning)] == []

    def test_a_loop_that_ends_closes_its_client(self, server: Any) -> None:
        transport = AsyncTransport()
        made: list[Any] = []

        async def main() -> None:
            await fetch(server.url)(transport)
            made.append((await transport._client()).is_closed)
            made.append(await transport._client())

        for _ in range(3):
            asyncio.run(main())
        assert made[::2] == [False] * 3
        assert [client.is_closed for client in made[1::2]] == [True] * 3

    def test_a_transport_that_goes_closes_its_client_while_the_loop_runs_on(self, server: Any) -> None:
        async def main() -> bool:
            transport = AsyncTransport()
            await fetch(server.url)(transport)
            client = await transport._client()
            del transport
            gc.collect()
            for _ in range(20):
                await asyncio.sleep(0)
            closed: bool = client.is_closed
            return closed

        assert asyncio.run(main())

    def test_a_sync_transport_that_goes_closes_its_client(self, server: Any) -> None:
        transport = SyncTransport()
        run(fetch(server.url)(transport))  # type: ignore[arg-type]
        client = transport._client
        del transport
        gc.collect()
        assert client.is_closed

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_a_forked_child_has_connections_of_its_own(self, server: Any) -> None:
        alone(_fork, server.url)
        assert [received.connection for received in server.received] == [0, 1, 0]
