"""The door for somebody else's client: the bytes of a request in, head and bytes of the answer out."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.zg_core.calls.test_path import END, EVENT, GOOD, Backend, World, outcomes
from tests.zg_core.driving import with_loop, without_loop
from tests.zg_core.raw_server import CLOSE, HEAD, STALL, answer, chunk
from zg_core import Budget, Store, neuron
from zg_core.budget import Spending
from zg_core.calls.call import Options
from zg_core.calls.reading import Form
from zg_core.calls.retries import Retries
from zg_core.errors import (
    ConfigError,
    OutcomeUnknown,
    RateLimited,
    RequestError,
    StreamTruncated,
    VerificationFailed,
    ZeroGError,
)
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import parse_json
from zg_core.verify.policy import Policy
from zg_core.verify.verdict import Reason, Status, Verdict

WHOLE = b'{ "model":"m", "messages":[] }'
STREAM = b'{"model":"m","messages":[],"stream":true}'
LIE = Verdict(Status.FAILED, Reason.CONTENT_MISMATCH)


class Relay:
    """One server, and a relay in front of it, with or without an event loop."""

    def __init__(self, server: Any, *, loop: bool) -> None:
        self.world, self.drive = World(server), with_loop if loop else without_loop
        self.got: list[bytes] = []

    def script(self, *answers: list[Any]) -> None:
        self.world.server.script = list(answers)

    def call(self, data: bytes, path: str = "/chat/completions", *, most: int | None = None, **options: Any) -> Any:
        """The head of the answer; its bytes are in `got`, at most so many pieces of them."""
        names = ("policy", "backend", "max_retries", "limits", "spending")
        changes = {n: options.pop(n) for n in names if n in options}
        self.got = []

        async def work(transport: Any) -> Any:
            head, chunks = await self.world.calls(transport, **changes).relay(data, path, **options)
            assert isinstance(chunks, AsyncGenerator)
            if most == 0:
                await chunks.aclose()
                return head
            async for piece in chunks:
                self.got.append(piece)
                if len(self.got) == most:
                    await chunks.aclose()
            return head

        return self.drive(work)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def relay(request: pytest.FixtureRequest, server: Any) -> Relay:
    return Relay(server, loop=request.param)


class TestBytes:
    @pytest.mark.parametrize("form", [Form.RAW, Form.TIDY])
    def test_of_a_whole_answer_are_those_of_the_provider(self, relay: Relay, form: Form) -> None:
        relay.script([answer(GOOD, ZG_Res_Key="abc", Set_Cookie="a=b", Keep_Alive="timeout=5")])
        head = relay.call(WHOLE, form=form)
        assert relay.got == [GOOD]
        assert relay.world.server.received[0].body == WHOLE
        assert (head.status, head.headers["zg-res-key"]) == (200, "abc")
        assert {"set-cookie", "content-length", "keep-alive"}.isdisjoint(head.headers)
        assert head.receipt is relay.world.receipts.last
        assert head.receipt.outcome == "answered"

    def test_of_a_stream_come_as_they_are_and_its_end_after_the_verdict(self, relay: Relay) -> None:
        body = b": hi\n\n" + EVENT + END + b": bye\n\n"
        relay.script([HEAD + chunk(body[:40]), chunk(body[40:]), chunk(b"")])
        relay.call(STREAM)
        assert b"".join(relay.got) == body
        assert relay.got[-1] == b"data: [DONE]\n\n: bye\n\n"
        assert outcomes(relay.world) == ["answered"]

    def test_of_a_stream_are_tidied_where_that_is_asked_for(self, relay: Relay) -> None:
        body = b"\xef\xbb\xbfdata:\n\n" + EVENT.replace(b"\n", b"\r\n") + END.replace(b"[DONE]", b"[DONE] ")
        relay.script([HEAD + chunk(body) + chunk(b"")])
        head = relay.call(STREAM, form=Form.TIDY)
        assert b"".join(relay.got) == EVENT + END
        assert head.headers["content-type"] == "text/event-stream"

    def test_without_a_model_get_one(self, relay: Relay) -> None:
        relay.script([answer(GOOD)])
        relay.call(b'{"messages":[]}')
        assert relay.world.server.received[0].body == b'{"model":"m","messages":[]}'


def test_a_request_is_parsed_once(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """For its model, its bound, its budget and the check of its usage together."""
    parsed: list[bytes] = []

    def counted(data: Any, **options: Any) -> Any:
        parsed.append(bytes(data))
        return parse_json(data, **options)

    for module in ("calls.call", "pricing"):
        monkeypatch.setattr(f"zg_core.{module}.parse_json", counted)
    budget = Spending(Budget(per_run=neuron(10**9)), Store("memory:"), 31337)
    asked = b'{"model":"m","messages":[],"max_tokens":5}'
    relay.script([answer(GOOD)])
    head = relay.call(asked, spending=budget)
    assert head.receipt.fee.exact
    assert parsed.count(asked) == 1


class TestNothingLeaves:
    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000, b'{"model":5}'])
    def test_that_is_no_request(self, relay: Relay, data: bytes) -> None:
        with pytest.raises(ConfigError) as caught:
            relay.call(data)
        assert caught.value.code == "bad_request_body"
        assert relay.world.server.received == []

    @pytest.mark.parametrize(
        "path",
        [
            "/responses", "/completions", "/chat/completions/", "/CHAT/completions", "", "/chat/completions?x=1",
            "//chat/completions", "/images/variations",
        ],
    )  # fmt: skip
    def test_for_what_is_no_task(self, relay: Relay, path: str) -> None:
        backend = Backend(relay.world.server.url)
        with pytest.raises(ConfigError) as caught:
            relay.call(WHOLE, path, backend=backend)
        assert caught.value.code == "unknown_task"
        assert (relay.world.server.received, backend.authorised, backend.asked) == ([], 0, [])


class TestJudged:
    @pytest.mark.parametrize("hold", ["after", "hold"])
    def test_a_lie_never_ends(self, relay: Relay, hold: Any) -> None:
        backend = Backend(relay.world.server.url, verdict=LIE)
        relay.script([HEAD + chunk(EVENT + END) + chunk(b"")])
        with pytest.raises(VerificationFailed) as caught:
            relay.call(STREAM, backend=backend, policy=Policy("require", stream=hold))
        assert caught.value.text == "hi"
        assert b"[DONE]" not in b"".join(relay.got)
        assert (relay.got == []) is (hold == "hold")

    def test_a_whole_lie_is_not_shown(self, relay: Relay) -> None:
        backend = Backend(relay.world.server.url, verdict=LIE)
        relay.script([answer(GOOD)])
        with pytest.raises(VerificationFailed):
            relay.call(WHOLE, backend=backend, policy=Policy("warn"))
        assert relay.got == []

    @pytest.mark.parametrize(
        ("steps", "error"),
        [
            ([HEAD + chunk(EVENT), CLOSE], StreamTruncated),
            ([HEAD + chunk(EVENT) + chunk(b"")], StreamTruncated),
            ([HEAD + chunk(EVENT + b"data: x\n\n") + chunk(b"")], RequestError),
            ([HEAD + chunk(EVENT + b'data: {"error":"gone"}\n\n') + chunk(b"")], RequestError),
        ],
        ids=["broken off", "without its end", "junk", "an error"],
    )
    def test_what_is_no_answer_raises_where_it_would_go_on(
        self, relay: Relay, steps: list[Any], error: type[Exception]
    ) -> None:
        relay.script(steps)
        with pytest.raises(error) as caught:
            relay.call(STREAM)
        assert relay.got == [EVENT]
        assert caught.value.text == "hi"  # type: ignore[attr-defined]
        assert caught.value.receipt is relay.world.receipts.last  # type: ignore[attr-defined]


class TestTheReaderLeaves:
    @pytest.mark.parametrize("most", [0, 1])
    def test_and_that_is_on_record(self, relay: Relay, most: int) -> None:
        relay.script([HEAD + chunk(EVENT), STALL])
        relay.call(STREAM, most=most)
        (receipt,) = relay.world.receipts
        assert (receipt.outcome, str(receipt.verdict)) == ("abandoned", "not_checked (abandoned)")

    def test_without_a_word_and_that_is_too(self, server: Any) -> None:
        relay = Relay(server, loop=False)
        relay.script([HEAD + chunk(EVENT), STALL])

        async def work(transport: Any) -> None:
            await relay.world.calls(transport).relay(STREAM)

        without_loop(work)
        gc.collect()
        assert outcomes(relay.world) == ["abandoned"]


class TestOptions:
    def test_headers_are_sent_but_let_nobody_in(self, relay: Relay) -> None:
        relay.script([answer(GOOD)])
        relay.call(
            WHOLE,
            options=Options(headers={"X-Mine": "1", "Authorization": "Bearer theirs", "Content-Type": "text/plain"}),
        )
        sent = relay.world.server.received[0].headers
        assert (sent["x-mine"], sent["authorization"], sent["content-type"]) == ("1", "Bearer 1", "application/json")

    def test_retries_are_those_of_the_request(self, relay: Relay) -> None:
        busy = [answer(b"", "429 Slow", Retry_After="0")]
        relay.script(busy, busy, [answer(GOOD)])
        relay.call(WHOLE, options=Options(retries=Retries(2)))
        assert outcomes(relay.world) == ["refused", "refused", "answered"]
        relay.script(busy)
        with pytest.raises(RateLimited):
            relay.call(WHOLE, max_retries=5, options=Options(retries=Retries(0)))

    def test_timeouts_are_those_of_the_request(self, relay: Relay) -> None:
        relay.script([STALL])
        with pytest.raises(OutcomeUnknown) as caught:
            relay.call(WHOLE, options=Options(Timeouts(read=0.1)))
        assert caught.value.code == "timeout"

    def test_a_refusal_raises_before_the_head(self, relay: Relay) -> None:
        relay.script([answer(b'{"error":"no"}', "400 Bad")])
        with pytest.raises(ZeroGError) as caught:
            relay.call(WHOLE)
        assert caught.value.details["status"] == 400
        assert caught.value.receipt is relay.world.receipts.last
