"""How long a provider may keep one waiting, with servers that are slow on purpose."""

from __future__ import annotations

import ast
import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.zg_core.driving import fetch, patiently
from tests.zg_core.raw_server import HEAD, STALL, Drip, Pause, Server, Step, answer, chunk
from zg_core.errors import ConfigError, OutcomeUnknown, ProviderUnavailable
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts, timeouts_of
from zg_core.http.transport import Transport

ROOT = Path(__file__).resolve().parents[3]
DRIP = [bytes([b]) for b in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2000]
ENDLESS = Drip([b"1;x=", *[b"x"] * 2000])  # the extension of a chunk's size
SLOW = Timeouts(connect=60.0, read=60.0, first_token=0.2, stall=60.0)
STALLING = Timeouts(connect=60.0, read=60.0, first_token=60.0, stall=0.2)


class TestDeadlines:
    """A server that always has one more byte to send is late all the same."""

    @pytest.mark.parametrize(
        "steps", [[STALL], [*DRIP[:10], STALL], [Drip(DRIP)]], ids=["silent", "silent in its head", "dripping"]
    )
    def test_a_head_that_does_not_come_in_time(self, server: Any, drive: Any, steps: list[Step]) -> None:
        server.script = [steps]
        with pytest.raises(OutcomeUnknown) as caught:
            drive(fetch(server.url, timeouts=SLOW, once=True))
        assert caught.value.code == "timeout"
        assert server.gone.wait(PATIENCE), "the connection stays open"

    @pytest.mark.parametrize("steps", [[HEAD, STALL], [HEAD, ENDLESS]], ids=["silent", "dripping"])
    def test_a_first_byte_that_does_not_come_in_time(self, drive: Any, steps: list[Step]) -> None:
        def stalled(seconds: float, server: Server) -> None:
            server.script = [steps]
            with pytest.raises(BodyBroken, match="stalled"):
                drive(fetch(server.url, timeouts=replace(SLOW, first_token=seconds)))

        patiently(stalled, ProviderUnavailable)

    @pytest.mark.parametrize(
        "steps",
        [[HEAD + chunk(b"a"), STALL], [HEAD + chunk(b"a"), ENDLESS]],
        ids=["silent", "dripping"],
    )
    def test_a_next_piece_that_does_not_come_in_time(self, server: Any, drive: Any, steps: list[Step]) -> None:
        server.script = [steps]
        with pytest.raises(BodyBroken, match="stalled"):
            drive(fetch(server.url, timeouts=STALLING))

    def test_a_body_may_take_its_time_as_long_as_it_comes(self, drive: Any) -> None:
        def whole(seconds: float, server: Server) -> tuple[int, bytes]:
            count = int(2 * seconds / Drip.SECONDS)  # all pieces take at least twice as long
            server.script = [[HEAD + chunk(b"a"), Drip([chunk(b"x")] * count), chunk(b"")]]
            times = Timeouts(connect=60.0, read=60.0, first_token=seconds, stall=seconds)
            return count, drive(fetch(server.url, timeouts=times))[2]

        count, body = patiently(whole, (BodyBroken, ProviderUnavailable))
        assert body == b"a" + b"x" * count

    @pytest.mark.parametrize(
        "steps",
        [[Drip(DRIP)], [HEAD, ENDLESS], [HEAD + chunk(b"a"), Drip([chunk(b"x")] * 2000)]],
        ids=["head", "first byte", "pieces that keep coming"],
    )
    def test_a_whole_that_does_not_come_in_time(self, server: Any, drive: Any, steps: list[Step]) -> None:
        server.script = [steps]
        with pytest.raises((BodyBroken, OutcomeUnknown)):
            drive(fetch(server.url, timeouts=Timeouts(connect=60.0, read=60.0, whole=0.3), once=True))
        assert server.gone.wait(PATIENCE), "the connection stays open"

    @pytest.mark.parametrize("given", [None, 5, (5, 60), (5, 60, 5, 5)], ids=repr)
    def test_no_answer_is_waited_for_without_end(self, given: Any) -> None:
        assert timeouts_of(given).whole == 3600

    def test_the_clock_of_one_response_does_not_bind_the_next_on_its_connection(self, drive: Any) -> None:
        def both(seconds: float, server: Server) -> tuple[list[bytes], list[int]]:
            server.script = [[answer(b"one")], [Pause(2 * seconds), answer(b"two")]]
            first = Timeouts(connect=60.0, read=60.0, first_token=seconds, stall=seconds)

            async def work(transport: Transport) -> list[bytes]:
                return [
                    await read_all(await transport.send(Request("GET", server.url, timeouts=times)), 100)
                    for times in (first, Timeouts(connect=60.0, read=60.0))
                ]

            return drive(work), [received.connection for received in server.received]

        assert patiently(both, ProviderUnavailable) == ([b"one", b"two"], [0, 0])

    @pytest.mark.parametrize(
        "rest", [[STALL], [ENDLESS], [Drip([chunk(b"x")] * 500)]], ids=["silent", "dripping", "talking on"]
    )
    def test_a_body_that_is_to_hurry_ends_in_that_time_or_is_late(
        self, server: Any, drive: Any, rest: list[Step]
    ) -> None:
        server.script = [[HEAD + chunk(b"a"), *rest]]

        async def work(transport: Transport) -> None:
            response = await transport.send(Request("GET", server.url, timeouts=Timeouts(read=60.0)))
            chunks = response.chunks()
            await anext(chunks)
            response.hurry(0.2)
            async for _ in chunks:
                pass

        with pytest.raises(BodyBroken, match="stalled"):
            drive(work)

    @pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e300, 10**400, True, "60"])
    @pytest.mark.parametrize("name", ["connect", "read", "first_token", "stall", "whole"])
    def test_odd_numbers_are_refused(self, name: str, seconds: Any) -> None:
        with pytest.raises(ConfigError, match=name) as caught:
            Timeouts(**{name: seconds})
        assert caught.value.code == "bad_timeout"


def test_whatever_the_package_asks_for_by_itself_has_an_end() -> None:
    """Every call of `Timeouts` in it but those for the answers, which may take as long as the user lets them."""
    found = {}
    for path in (ROOT / "zg_core").rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(("zg_core/localnet/", "zg_core/http/", "zg_core/openai_compat")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Timeouts":
                    found[f"{name}:{node.lineno}"] = any(keyword.arg == "whole" for keyword in node.keywords)
    assert len(found) > 6
    assert [where for where, ends in found.items() if not ends] == []


class TestForms:
    """How a timeout may be given."""

    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            (None, Timeouts()),
            (60, Timeouts(connect=10.0, read=60)),
            (5.0, Timeouts(connect=5.0, read=5.0)),
            ((5, 60), Timeouts(connect=5, read=60)),
            ((5, 60, 7, 8), Timeouts(connect=5, read=60)),
            (Timeouts(read=3, stall=2), Timeouts(read=3, stall=2)),
        ],
        ids=repr,
    )
    def test_seconds_pairs_and_objects_mean_what_they_mean_to_httpx(self, given, meant):
        assert timeouts_of(given) == meant

    def test_a_timeout_of_the_http_library(self, library):
        kind = importlib.import_module(library).Timeout
        assert timeouts_of(kind(60, connect=5)) == Timeouts(connect=5, read=60)
        with pytest.raises(ConfigError, match="no end"):
            timeouts_of(kind(None, connect=5))

    @pytest.mark.parametrize(
        "given",
        ["60", (1,), (1, 2, 3), [], {"read": 5}, pytest.param(object(), id="object"), 0, True, -1, (5, 0), 1e300],
        ids=repr,
    )
    def test_anything_else_is_refused(self, given):
        with pytest.raises(ConfigError) as caught:
            timeouts_of(given)
        assert caught.value.code == "bad_timeout"
        assert caught.value.hint
