"""Both transports against a real server on loopback that answers, cuts, stalls, redirects, compresses and lies."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE, until
from tests.ports import refusing
from tests.zg_core import raw_server
from tests.zg_core.driving import fetch
from tests.zg_core.raw_server import CLOSE, HEAD, RESET, STALL, Server, Step, answer, chunk
from zg_core.errors import ConfigError, OutcomeUnknown, ProviderUnavailable
from zg_core.http.bodies import BodyBroken, Gunzip
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.http.transport import AsyncTransport, SyncTransport, Transport, run

QUICK = Timeouts(connect=60.0, read=0.3)


class TestAnswers:
    def test_an_answer_comes_whole(self, server: Any, drive: Any) -> None:
        server.script = [[answer("h\u00e9".encode(), "201 Created", ZG_Res_Key="K", X_Two="b")]]
        status, headers, body = drive(fetch(server.url + "/path?q=1", body=b'{"a":1}', headers={"X-Test": "v"}))
        assert (status, body) == (201, "h\u00e9".encode())
        assert (headers["zg-res-key"], headers["x-two"]) == ("K", "b")
        (received,) = server.received
        assert received.head.startswith(b"POST /path?q=1 HTTP/1.1\r\n")
        assert (received.body, received.headers["x-test"]) == (b'{"a":1}', "v")

    def test_a_chunked_answer_comes_in_its_chunks(self, server: Any, drive: Any) -> None:
        server.script = [[HEAD, chunk(b"one"), chunk(b"two"), chunk(b"")]]

        async def work(transport: Transport) -> list[bytes]:
            response = await transport.send(Request("GET", server.url))
            try:
                return [part async for part in response.chunks()]
            finally:
                await response.close()

        assert b"".join(drive(work)) == b"onetwo"

    def test_an_error_status_is_an_answer(self, server: Any, drive: Any) -> None:
        server.script = [[answer(b"busy", "503 Service Unavailable")]]
        assert drive(fetch(server.url, once=True))[::2] == (503, b"busy")

    def test_one_connection_serves_one_call_after_the_other(self, server: Any, drive: Any) -> None:
        async def work(transport: Transport) -> None:
            for _ in range(5):
                await read_all(await transport.send(Request("GET", server.url)), 100)

        drive(work)
        assert [received.connection for received in server.received] == [0] * 5

    def test_a_transport_can_be_used_again_after_it_was_closed(self, server: Any, drive: Any) -> None:
        async def work(transport: Any) -> list[bytes]:
            async def once() -> bytes:
                body = await read_all(await transport.send(Request("GET", server.url)), 100)
                closing = transport.close()
                if closing is not None:
                    await closing
                return body

            return [await once(), await once()]

        assert drive(work) == [b"ok", b"ok"]


class TestWhatIsSent:
    def test_only_what_is_needed_and_nothing_that_names_library_or_machine(self, server: Any, drive: Any) -> None:
        drive(fetch(server.url, body=b"{}", headers={"Authorization": "Bearer t", "Content-Type": "application/json"}))
        (received,) = server.received
        assert received.headers == {
            "host": f"127.0.0.1:{server.port}",
            "accept": "*/*",
            "accept-encoding": "identity",
            "connection": "keep-alive",
            "user-agent": "zerog-integrations",
            "content-length": "2",
            "content-type": "application/json",
            "authorization": "Bearer t",
        }
        assert not any(word in received.head.lower() for word in (b"httpx", b"python", b"stainless"))

    def test_no_cookie_comes_back(self, server: Any, drive: Any) -> None:
        server.script = [[answer(b"", Set_Cookie="tracker=1; Path=/")], [answer(b"")]]

        async def work(transport: Transport) -> None:
            for _ in range(2):
                await read_all(await transport.send(Request("GET", server.url)), 100)

        drive(work)
        assert [received.headers.get("cookie") for received in server.received] == [None, None]

    @pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
    def test_a_proxy_does_not_get_to_see_loopback(
        self, server: Any, drive: Any, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        for variable in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv(name, f"http://127.0.0.1:{refusing()}")
        assert drive(fetch(server.url))[2] == b"ok"
        assert drive(fetch(server.url.replace("127.0.0.1", "localhost")))[2] == b"ok"

    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
    def test_a_redirect_is_not_followed(self, server: Any, drive: Any, status: str) -> None:
        server.script = [[answer(b"", status, Location=server.url + "/elsewhere")]]
        assert drive(fetch(server.url, body=b"prompt", once=True))[0] == int(status[:3])
        assert len(server.received) == 1


@pytest.mark.parametrize("once", [True, False])
class TestNoAnswer:
    def test_no_connection_means_nothing_was_sent(self, drive: Any, once: bool) -> None:
        with pytest.raises(ProviderUnavailable) as caught:
            drive(fetch(f"http://127.0.0.1:{refusing()}", once=once))
        assert (caught.value.code, caught.value.retryable) == ("connect_failed", True)
        assert "127.0.0.1" in str(caught.value)

    @pytest.mark.parametrize(
        "steps",
        [
            [CLOSE],
            [RESET],
            [b"HTTP/1.1 200 OK\r\nContent-", CLOSE],
            [b"220 mail.example ESMTP\r\n", CLOSE],
            [b"\x16\x03\x01\x02\x00\x01\x00", CLOSE],
            [b"HTTP/1.1 999999 OK\r\n\r\n", CLOSE],
            [b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", CLOSE],
            [b"HTTP/1.1 200 OK\r\n" + b"A: " + b"x" * 200_000, CLOSE],
        ],
        ids=["closed", "reset", "half a head", "mail", "tls", "odd status", "odd length", "endless head"],
    )
    def test_a_request_without_an_answer(self, server: Any, drive: Any, once: bool, steps: list[Step]) -> None:
        server.script = [steps]
        with pytest.raises(OutcomeUnknown if once else ProviderUnavailable) as caught:
            drive(fetch(server.url, body=b"prompt", once=once))
        assert caught.value.code == "connection_lost"
        assert caught.value.retryable is not once
        assert len(server.received) == 1

    def test_a_server_that_stalls(self, server: Any, drive: Any, once: bool) -> None:
        server.script = [[STALL]]
        with pytest.raises(OutcomeUnknown if once else ProviderUnavailable) as caught:
            drive(fetch(server.url, timeouts=QUICK, once=once))
        assert caught.value.code == ("timeout" if once else "connection_lost")

    def test_tls_to_a_plain_http_port(self, server: Any, drive: Any, once: bool) -> None:
        server.script = [[b"HTTP/1.1 400 Bad\r\n\r\n", CLOSE]]
        with pytest.raises(ProviderUnavailable) as caught:
            drive(fetch(server.url.replace("http:", "https:"), timeouts=Timeouts(connect=0.1, read=0.1), once=once))
        assert caught.value.code == "connect_failed"

    def test_a_host_that_is_none_is_not_connected_to(self, drive: Any, once: bool) -> None:
        with pytest.raises(ProviderUnavailable) as caught:
            drive(fetch("http://a..b/", once=once))
        assert caught.value.code == "connect_failed"

    @pytest.mark.parametrize("url", ["http://127.0.0.1\x00/", "http://[::1", "ftp://127.0.0.1/", "http://", "x"])
    def test_a_url_that_is_none_is_not_worth_a_retry(self, drive: Any, once: bool, url: str) -> None:
        with pytest.raises(ProviderUnavailable) as caught:
            drive(fetch(url, once=once))
        assert (caught.value.code, caught.value.retryable) == ("connect_failed", False)


class TestBrokenBodies:
    @pytest.mark.parametrize(
        "steps",
        [
            [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", CLOSE],
            [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", RESET],
            [HEAD + chunk(b"part"), CLOSE],
            [HEAD + chunk(b"part") + b"ff\r\nabc", CLOSE],
            [HEAD + chunk(b"part") + b"zz\r\n", CLOSE],
        ],
        ids=["short", "reset", "no last chunk", "half a chunk", "no chunk at all"],
    )
    def test_a_body_that_ends_early(self, server: Any, drive: Any, steps: list[Step]) -> None:
        server.script = [steps]
        with pytest.raises(BodyBroken, match="connection broke"):
            drive(fetch(server.url, once=True))

    def test_a_body_that_stalls(self, server: Any, drive: Any) -> None:
        server.script = [[HEAD + chunk(b"part"), STALL]]
        with pytest.raises(BodyBroken, match="stalled"):
            drive(fetch(server.url, timeouts=Timeouts(read=60.0, stall=0.3)))

    def test_what_arrived_before_is_kept(self, server: Any, drive: Any) -> None:
        server.script = [[HEAD + chunk(b"part"), CLOSE]]
        arrived: list[bytes] = []

        async def work(transport: Transport) -> None:
            response = await transport.send(Request("GET", server.url))
            try:
                async for part in response.chunks():
                    arrived.append(part)  # noqa: PERF401 - what came before the break must be there
            finally:
                await response.close()

        with pytest.raises(BodyBroken):
            drive(work)
        assert b"".join(arrived) == b"part"

    def test_a_body_larger_than_allowed(self, server: Any, drive: Any) -> None:
        server.script = [[HEAD, *[chunk(b"x" * 1000)] * 3, STALL], [answer(b"x" * 2000)]]
        with pytest.raises(BodyBroken, match="larger than 2000 bytes"):
            drive(fetch(server.url, limit=2000))
        assert len(drive(fetch(server.url, limit=2000))[2]) == 2000

    def test_breaking_off_hangs_up(self, server: Any, drive: Any) -> None:
        server.script = [[HEAD + chunk(b"part"), STALL]]

        async def work(transport: Transport) -> None:
            response = await transport.send(Request("GET", server.url))
            async for _ in response.chunks():
                break
            await response.close()

        drive(work)
        assert server.gone.wait(PATIENCE), "the connection stays open"


class TestCompression:
    BODY = b"data: " + bytes(range(256)) * 40

    def test_gzip_is_undone(self, server: Any, drive: Any) -> None:
        for name in ("gzip", "GZIP", "x-gzip"):
            server.script = [[answer(gzip.compress(self.BODY), Content_Encoding=name)]]
            assert drive(fetch(server.url))[2] == self.BODY

    def test_gzip_in_small_chunks_comes_as_it_arrives(self, server: Any, drive: Any) -> None:
        packed = gzip.compress(self.BODY[:5000]) + gzip.compress(self.BODY[5000:])  # members, as RFC 1952 allows
        head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
        server.script = [[head, *(chunk(packed[i : i + 7]) for i in range(0, len(packed), 7)), chunk(b"")]]
        assert drive(fetch(server.url))[2] == self.BODY

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (gzip.compress(BODY, mtime=0)[:-9], "ends early"),
            (gzip.compress(BODY, mtime=0)[:5], "ends early"),
            (b"not gzip", "does not decompress"),
            (gzip.compress(BODY, mtime=0) + b"junk behind", "does not decompress"),
            (gzip.compress(BODY, mtime=0)[:-8] + bytes(8), "does not decompress"),
        ],
    )
    def test_gzip_that_is_cut_or_altered_is_broken(self, server: Any, drive: Any, body: bytes, reason: str) -> None:
        server.script = [[answer(body, Content_Encoding="gzip")]]
        with pytest.raises(BodyBroken, match=reason):
            drive(fetch(server.url))

    @pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "nonsense"])
    def test_what_was_not_asked_for_is_refused(self, server: Any, drive: Any, encoding: str) -> None:
        server.script = [[answer(b"body", Content_Encoding=encoding)]]
        with pytest.raises(BodyBroken, match="not asked for"):
            drive(fetch(server.url))

    @pytest.mark.parametrize("encoding", ["identity", "", " Identity "])
    def test_identity_is_plain(self, server: Any, drive: Any, encoding: str) -> None:
        server.script = [[answer(b"body", Content_Encoding=encoding)]]
        assert drive(fetch(server.url))[2] == b"body"

    def test_an_empty_body_is_empty(self, server: Any, drive: Any) -> None:
        server.script = [[answer(b"", Content_Encoding="gzip")]]
        assert drive(fetch(server.url))[2] == b""

    def test_a_bomb_comes_in_small_pieces(self) -> None:
        bomb = gzip.compress(bytes(12_000_000))
        pieces = [len(piece) for piece in Gunzip().feed(bomb)]
        assert sum(pieces) == 12_000_000
        assert max(pieces) <= 256 * 1024

    @pytest.mark.parametrize("size", [256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 512 * 1024])
    def test_no_piece_is_lost_at_the_bound(self, size: int) -> None:
        data = os.urandom(1000) * (size // 1000) + os.urandom(size % 1000)
        for level in (0, 9):
            gunzip = Gunzip()
            packer = zlib.compressobj(level, zlib.DEFLATED, 31)
            packed = packer.compress(data) + packer.flush()
            assert b"".join(gunzip.feed(packed)) == data
            gunzip.end()


class TestLoopsAndThreads:
    def test_one_transport_serves_many_loops_in_sequence(self, server: Any, library: str) -> None:
        transport = AsyncTransport()
        for _ in range(15):
            assert asyncio.run(fetch(server.url)(transport))[2] == b"ok"  # type: ignore[arg-type]
        assert len(server.received) == 15

    def test_loops_that_were_never_closed_leave_no_sockets(self, server: Any, library: str) -> None:
        transport = AsyncTransport()

        def sockets() -> int:
            gc.collect()
            return sum(
                "socket:" in str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()
            )

        if not Path("/proc/self/fd").is_dir():
            pytest.skip("counts sockets in /proc")

        async def work() -> None:
            async with transport.lock("x"):
                await fetch(server.url)(transport)

        async def main() -> None:
            await asyncio.gather(work(), work())

        before = sockets()
        for _ in range(20):
            asyncio.run(main())
        assert (len(transport._clients), len(transport._locks)) == (1, 1)
        # At most the last loop's is left, with its other end in the server of this test, which notices the others' end.
        until(lambda: sockets() - before <= 8)

    def test_one_transport_serves_loops_in_many_threads(self, server: Any, library: str) -> None:
        transport, bodies = AsyncTransport(), []

        async def main() -> None:
            for _ in range(3):
                _, _, body = await fetch(server.url)(transport)
                bodies.append(body)
            await transport.close()

        threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert bodies == [b"ok"] * 15

    def test_one_sync_transport_serves_many_threads(self, server: Any, library: str) -> None:
        transport, bodies = SyncTransport(), []

        def work() -> None:
            bodies.extend(run(fetch(server.url)(transport))[2] for _ in range(3))  # type: ignore[arg-type]

        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        transport.close()
        assert bodies == [b"ok"] * 15

    def test_a_cancelled_task_hangs_up(self, server: Any, library: str) -> None:
        server.script = [[HEAD + chunk(b"part"), STALL]]

        async def main() -> None:
            transport = AsyncTransport()
            started = asyncio.Event()

            async def work() -> None:
                response = await transport.send(Request("GET", server.url))
                try:
                    async for _ in response.chunks():
                        started.set()
                finally:
                    await response.close()

            task = asyncio.ensure_future(work())
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await transport.close()

        asyncio.run(main())
        assert server.gone.wait(PATIENCE), "the connection stays open"

    def test_a_lock_lets_one_task_in_at_a_time(self) -> None:
        async def main() -> list[str]:
            transport, log = AsyncTransport(), []

            async def work(name: str) -> None:
                async with transport.lock("x"):
                    log.append(name + " in")
                    await asyncio.sleep(0)
                    log.append(name + " out")

            await asyncio.gather(*(work(name) for name in "abc"))
            return log

        assert asyncio.run(main()) == ["a in", "a out", "b in", "b out", "c in", "c out"]

    def test_a_lock_lets_one_thread_in_at_a_time(self) -> None:
        transport, inside, most = SyncTransport(), [], []

        async def work() -> None:
            async with transport.lock("x"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

        threads = [threading.Thread(target=lambda: [run(work()) for _ in range(50)]) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert most == [1] * 300

    def test_locks_of_other_names_are_free(self) -> None:
        async def main() -> bool:
            transport = AsyncTransport()
            async with transport.lock("x"), asyncio.timeout(PATIENCE), transport.lock("y"):
                return True

        assert asyncio.run(main())

    def test_background_work_is_finished_when_the_transport_closes(self) -> None:
        async def main() -> list[int]:
            transport, done = AsyncTransport(), []

            async def work() -> None:
                await asyncio.sleep(0)
                done.append(1)

            for _ in range(3):
                transport.spawn(work)
            await transport.close()
            return done

        assert asyncio.run(main()) == [1, 1, 1]

    def test_background_work_runs_beside_a_thread(self) -> None:
        done = threading.Event()

        async def work() -> None:
            done.set()

        SyncTransport().spawn(work)
        assert done.wait(PATIENCE)


class TestRun:
    def test_gives_the_result(self) -> None:
        async def work() -> int:
            return 7

        assert run(work()) == 7

    def test_a_coroutine_that_waits_is_a_mistake_and_is_closed(self) -> None:
        closed = []

        class Waiting:
            def __await__(self) -> Any:
                yield

        async def work() -> None:
            try:
                await Waiting()
            finally:
                closed.append(1)

        with pytest.raises(RuntimeError, match="must not suspend"):
            run(work())
        assert closed == [1]


class TestTLS:
    def test_the_certificate_of_the_connection_is_recorded(self, tmp_path: Path, drive: Any) -> None:
        context, pem, fingerprint = raw_server.certificate(tmp_path)
        server = Server(context)

        async def work(transport: Transport) -> tuple[str, bytes]:
            response = await transport.send(Request("GET", server.url))
            return response.certificate_sha256, await read_all(response, 100)

        try:
            assert drive(work, str(pem)) == (fingerprint, b"ok")
        finally:
            server.stop()

    def test_an_unknown_authority_is_not_trusted(self, tmp_path: Path, drive: Any) -> None:
        server = Server(raw_server.certificate(tmp_path)[0])
        try:
            with pytest.raises(ProviderUnavailable, match=r"(?i)certificate") as caught:
                drive(fetch(server.url, body=b"prompt", once=True))
            assert caught.value.code == "connect_failed"
            assert server.received == []
        finally:
            server.stop()

    def test_plain_http_has_no_certificate(self, server: Any, drive: Any) -> None:
        async def work(transport: Transport) -> str:
            response = await transport.send(Request("GET", server.url))
            await read_all(response, 100)
            return response.certificate_sha256

        assert drive(work) == ""

    @pytest.mark.parametrize("content", [None, b"", b"no certificate"])
    def test_a_file_without_an_authority_is_a_setting_to_correct(
        self, tmp_path: Path, drive: Any, content: bytes | None
    ) -> None:
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match="ca_file") as caught:
            drive(fetch("https://127.0.0.1:1"), str(path))
        assert caught.value.code == "bad_ca_file"


class TestLibrary:
    def test_a_request_hides_its_headers_and_body(self) -> None:
        shown = repr(Request("POST", "http://x", {"Authorization": "Bearer hidden"}, b"prompt"))
        assert "hidden" not in shown
        assert "prompt" not in shown
