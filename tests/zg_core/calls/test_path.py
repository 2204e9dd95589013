"""The path of a call where it is broken off, cut short or fed junk: what is recorded, and what is not.

The whole path against a provider that signs and settles is tested in `test_client` and `test_faults`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tests.patience import PATIENCE
from tests.zg_core import raw_server
from tests.zg_core.raw_server import CLOSE, HEAD, STALL, Drip, answer, chunk
from zg_core.backends.base import Body, Grant, Offer, Route, Service
from zg_core.backends.direct.refusals import refusal
from zg_core.calls.alike import spread
from zg_core.calls.call import Call, Slot
from zg_core.calls.limits import Limits
from zg_core.calls.path import Calls
from zg_core.calls.retries import Retries
from zg_core.config import SecretHeaders
from zg_core.errors import (
    ConfigError,
    OutcomeUnknown,
    RequestError,
    SessionRejected,
    StreamTruncated,
    VerificationFailed,
    VerificationUnavailable,
    ZeroGError,
)
from zg_core.http.signals import LoopSignal
from zg_core.http.timeouts import Timeouts
from zg_core.http.transport import AsyncTransport, SyncTransport, run
from zg_core.money import Fee
from zg_core.pricing import Asked, Tariff, fee_of
from zg_core.receipts.memory import MemoryReceipts
from zg_core.routing.target import Target
from zg_core.tasks.base import CHAT, Task
from zg_core.tasks.requests import json_bytes
from zg_core.types import Kind, Usage
from zg_core.types import ServiceRecord as Record
from zg_core.verify.policy import Policy
from zg_core.verify.verdict import Reason, Status, Verdict

GOOD = b'{"id":"chatcmpl-1","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
EVENT = b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
PROVIDER = "0x" + "ab" * 20


@dataclass
class Backend:
    """Addresses one server and believes it."""

    url_: str
    name: str = "double"
    realm: str = "eip155:31337"
    renewals: int = 0
    verdict: Verdict | None = None
    asked: list[str | None] = field(default_factory=list)
    authorised: int = 0
    paying: Callable[[], str] = lambda: "0x" + "cd" * 20

    @property
    def payer(self) -> str:
        return self.paying()

    @property
    def service(self) -> Service:
        url, record = self.url_ + "/v1/proxy", {"signer": PROVIDER}
        return Service(PROVIDER, "m", "chat", url, Kind.TEE_ML, Tariff(1, 1), private=True, record=record)

    async def offers(self, task: Task, model: str | None) -> list[Offer]:
        return [Offer(self.service)]

    async def route(self, service: Service, model: str) -> Route:
        self.asked.append(model or None)
        return Route(self.service, model or "m")

    def body(self, route: Route, task: Task, payload: Mapping[str, Any], data: bytes | None = None) -> Body:
        return Body(json_bytes(route.model, payload, data))

    async def grant(self, call: Call, error: ZeroGError | None = None) -> Grant | float | None:
        renewed = call.grant is not None and "renewed" in call.grant.facts
        if error is not None:
            self.renewals -= 1
            if not isinstance(error, SessionRejected) or renewed or self.renewals < 0:
                return None
        self.authorised += 1
        headers = SecretHeaders({"Authorization": f"Bearer {self.authorised}"})
        return Grant(headers, facts={} if error is None else {"renewed": True})

    def refusal(self, call: Call, status: int, headers: Mapping[str, str], body: bytes) -> ZeroGError:
        record = Record(PROVIDER, "chatbot", self.url_, 1, 1, 0, "m", "TeeML", "", PROVIDER, True)
        return refusal(record, call.route.model, status, headers, body)

    def hear(self, call: Call, said: dict[str, Any]) -> dict[str, Any] | None:
        return said

    def fee(self, call: Call) -> Fee:
        record = Record(PROVIDER, "chatbot", self.url_, 1, 1, 0, "m", "TeeML", "", PROVIDER, True)
        return fee_of(record, call.usage)

    async def verify(self, call: Call) -> Verdict:
        if self.verdict is not None:
            return self.verdict
        return Verdict(Status.VERIFIED if call.exchange.complete else Status.UNAVAILABLE, kind=Kind.TEE_ML)


@dataclass
class World:
    server: Any
    receipts: MemoryReceipts = field(default_factory=MemoryReceipts)

    def calls(self, transport: Any, **changes: Any) -> Calls:
        values: dict[str, Any] = {
            "policy": Policy(),
            "receipts": self.receipts,
            "limits": None,
            "retries": Retries(
                changes.pop("max_retries", 0), changes.pop("retry_deadline", 60.0), changes.pop("retry_unknown", False)
            ),
            "timeouts": Timeouts(connect=PATIENCE, read=PATIENCE),
            "on_receipt": None,
            "on_verdict": None,
        }
        backend = changes.pop("backend", None) or Backend(self.server.url)
        backend.paying = changes.pop("payer", backend.paying)
        target = Target(backend, CHAT, transport, provider=PROVIDER, model=None, choose=cast("Any", None))
        return Calls(backend, target, transport, **values | changes)

    def create(self, payload: dict[str, Any] | None = None, **changes: Any) -> Any:
        transport = SyncTransport()
        try:
            return run(self.calls(transport, **changes).create(payload or {"messages": []}))
        finally:
            transport.close()

    def stream(self, slot: Slot | None = None, **changes: Any) -> list[dict[str, Any]]:
        async def work() -> list[dict[str, Any]]:
            stream = self.calls(transport, **changes).stream({"messages": []}, slot or Slot())
            return [event async for seen in stream for event in spread(seen)]

        transport = SyncTransport()
        try:
            return run(work())
        finally:
            transport.close()


@pytest.fixture
def world() -> Iterator[World]:
    server = raw_server.Server()
    yield World(server)
    server.stop()


def outcomes(world: World) -> list[str]:
    return [receipt.outcome for receipt in world.receipts]


class TestBrokenOff:
    """Cancelled while the provider works: the call may be billed, so it is on record."""

    def cancelled(self, world: World, *, stream: bool, sent: bool, **changes: Any) -> None:
        """Cancel a call once the server has the request, or once the retry waits."""

        async def main() -> None:
            transport = AsyncTransport()
            waiting = asyncio.Event()
            sleep = transport.sleep

            async def noted(seconds: float) -> None:
                waiting.set()
                await sleep(seconds)

            class Noted(LoopSignal):
                async def wait(self, seconds: float | None) -> None:
                    waiting.set()
                    await super().wait(seconds)

            transport.sleep = noted  # type: ignore[method-assign]
            transport.signal = Noted  # type: ignore[method-assign]
            calls = world.calls(transport, **changes)

            async def work() -> None:
                if stream:
                    async for _ in calls.stream({"messages": []}, Slot()):
                        pass
                else:
                    await calls.create({"messages": []})

            task = asyncio.ensure_future(work())
            if sent:
                assert await asyncio.to_thread(world.server.arrived.wait, PATIENCE)
            else:
                await waiting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await transport.close()

        asyncio.run(main())

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("steps", [[STALL], [HEAD, STALL], [HEAD + chunk(b"da"), STALL]])
    def test_leaves_a_receipt_that_says_so(self, world: World, stream: bool, steps: list[Any]) -> None:
        world.server.script = [steps]
        self.cancelled(world, stream=stream, sent=True)
        (receipt,) = world.receipts
        assert (receipt.outcome, str(receipt.verdict)) == ("abandoned", "not_checked (abandoned)")
        assert receipt.fee.exact is False

    @pytest.mark.parametrize("stream", [False, True])
    def test_leaves_that_of_the_refusal_while_it_waits_for_a_retry(self, world: World, stream: bool) -> None:
        world.server.script = [[answer(b"", "503 Busy", Retry_After="30")]]
        self.cancelled(world, stream=stream, sent=False, max_retries=1)
        assert outcomes(world) == ["refused"]

    def test_leaves_none_while_it_waits_for_its_turn(self, world: World) -> None:
        limits = Limits(per_minute=1, burst=1)
        world.server.script = [[answer(GOOD)]]
        world.create(limits=limits, payer=lambda: "turn")
        self.cancelled(world, stream=False, sent=False, limits=limits, payer=lambda: "turn")
        assert outcomes(world) == ["answered"]

    def test_a_reader_who_leaves_a_stream_is_on_record_even_when_closing_fails(self, world: World) -> None:
        world.server.script = [[HEAD + chunk(EVENT), STALL]]
        transport = SyncTransport()
        calls = world.calls(transport)
        stream = calls.stream({"messages": []}, Slot())

        async def leave() -> None:
            async for _ in stream:
                break
            await stream.aclose()

        run(leave())
        transport.close()
        assert outcomes(world) == ["abandoned"]


class TestNoAnswer:
    @pytest.mark.parametrize("stream", [False, True])
    def test_the_receipt_is_on_the_error_and_with_the_stream(self, world: World, stream: bool) -> None:
        world.server.script = [[CLOSE]]
        slot = Slot()
        with pytest.raises(OutcomeUnknown) as caught:
            world.stream(slot) if stream else world.create()
        assert outcomes(world) == ["unknown"]
        assert caught.value.receipt is world.receipts.last
        assert not stream or slot.receipt is world.receipts.last

    def test_is_never_sent_twice(self, world: World) -> None:
        world.server.script = [[CLOSE], [answer(GOOD)]]
        with pytest.raises(OutcomeUnknown):
            world.create(max_retries=5)
        assert len(world.server.received) == 1


class TestRetries:
    @pytest.mark.parametrize("status", ["429 Slow", "503 Busy"])
    def test_what_was_never_served_is_sent_again(self, world: World, status: str) -> None:
        world.server.script = [[answer(b"", status, Retry_After="0")]] * 2 + [[answer(GOOD)]]
        assert world.create(max_retries=2).receipt.attempts == 3
        assert outcomes(world) == ["refused", "refused", "answered"]
        assert [receipt.attempts for receipt in world.receipts] == [1, 2, 3]

    @pytest.mark.parametrize("status", ["400 Bad", "402 Pay", "302 Moved"])
    def test_what_would_be_refused_again_is_not(self, world: World, status: str) -> None:
        world.server.script = [[answer(b"", status, Retry_After="0")]]
        with pytest.raises(ZeroGError) as caught:
            world.create(max_retries=5)
        assert len(world.server.received) == 1
        assert outcomes(world) == ["refused"]
        assert caught.value.receipt is world.receipts.last

    @pytest.mark.parametrize("status", ["500 Oops", "502 Bad Gateway", "504 Gateway Timeout", "524 Late", "418 Teapot"])
    def test_what_may_have_been_served_is_not_and_leaves_a_receipt(self, world: World, status: str) -> None:
        world.server.script = [[answer(b"", status)]]
        with pytest.raises(OutcomeUnknown) as caught:
            world.create(max_retries=5)
        assert caught.value.code in ("gateway_error", "server_error")
        assert not caught.value.retryable
        assert len(world.server.received) == 1
        assert outcomes(world) == ["unknown"]
        assert [caught.value.receipt] == list(world.receipts)

    @pytest.mark.parametrize("wait", ["61", "999999999"])
    def test_a_wait_of_more_than_a_minute_is_the_callers(self, world: World, wait: str) -> None:
        world.server.script = [[answer(b"", "429 Slow", Retry_After=wait)]]
        with pytest.raises(RequestError) as caught:
            world.create(max_retries=5)
        assert caught.value.details["retry_after"] == float(wait)

    def test_a_rejected_session_is_renewed_once(self, world: World) -> None:
        no = answer(b'{"error":"validate session: session token has been revoked"}', "400 Bad")
        world.server.script = [[no], [answer(GOOD)]]
        backend = Backend(world.server.url, renewals=1)
        assert world.create(backend=backend).text == "hi"
        assert [received.headers["authorization"] for received in world.server.received] == ["Bearer 1", "Bearer 2"]
        world.server.script = [[no], [no]]
        with pytest.raises(SessionRejected):
            world.create(backend=Backend(world.server.url, renewals=5))
        assert outcomes(world) == ["refused", "answered", "refused", "refused"]


class TestPayload:
    @pytest.mark.parametrize("payload", [{"messages": []}, {"messages": [], "model": None}])
    def test_a_missing_model_is_filled_in(self, world: World, payload: dict[str, Any]) -> None:
        world.server.script = [[answer(GOOD)]]
        world.create(payload)
        assert world.server.received[0].body == b'{"model":"m","messages":[]}'

    def test_a_model_given_is_sent_where_it_stands(self, world: World) -> None:
        world.server.script = [[answer(GOOD)]]
        backend = Backend(world.server.url)
        world.create({"messages": [], "model": "mine"}, backend=backend)
        assert world.server.received[0].body == b'{"messages":[],"model":"mine"}'
        assert backend.asked == ["mine"]

    @pytest.mark.parametrize("model", [5, ["m"], {"name": "m"}, True, b"m"])
    def test_a_model_that_is_no_text_never_leaves_the_machine(self, world: World, model: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            world.create({"messages": [], "model": model})
        assert caught.value.code == "bad_request_body"
        assert world.server.received == []


class TestJunk:
    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
    def test_a_body_that_is_no_object_is_an_error_with_the_receipt(self, world: World, body: bytes) -> None:
        world.server.script = [[answer(body)]]
        with pytest.raises(RequestError) as caught:
            world.create()
        assert caught.value.code == "malformed_reply"
        assert caught.value.receipt is world.receipts.last
        assert outcomes(world) == ["failed"]
        assert caught.value.text == body[:10_000].decode("utf-8", "replace")

    @pytest.mark.parametrize("event", [b"junk", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b'"text"'])
    def test_an_event_that_is_no_object_is_too(self, world: World, event: bytes) -> None:
        world.server.script = [[HEAD + chunk(EVENT) + chunk(b"data: " + event + b"\n\n") + chunk(b"")]]
        with pytest.raises(RequestError) as caught:
            world.stream()
        assert (caught.value.code, caught.value.text) == ("malformed_reply", "hi")
        assert outcomes(world) == ["failed"]

    @pytest.mark.parametrize(
        "body",
        [
            b"{}",
            b'{"choices":null,"usage":null,"id":null}',
            b'{"choices":[null],"usage":[],"id":5}',
            b'{"choices":[{"message":null}],"usage":{"prompt_tokens":-1}}',
            b'{"choices":{"0":1},"usage":"many","id":["x"]}',
            b'{"choices":[{"message":{"content":[{"type":"text"}]}}]}',
        ],
    )
    def test_an_object_of_any_shape_is_an_answer(self, world: World, body: bytes) -> None:
        world.server.script = [[answer(body)]]
        reply = world.create()
        assert (reply.text, reply.receipt.usage) == ("", None)
        assert reply.receipt.fee.reason == "no_usage"

    @pytest.mark.parametrize(
        "event",
        [
            b"{}",
            b'{"choices":null}',
            b'{"choices":[null,5]}',
            b'{"choices":[{"delta":null}],"usage":null}',
            b'{"choices":"x","id":7,"usage":[]}',
            b'{"choices":[{"delta":{"content":5}}]}',
        ],
    )
    def test_an_event_of_any_shape_is_passed_on(self, world: World, event: bytes) -> None:
        world.server.script = [[HEAD + chunk(b"data: " + event + b"\n\n" + EVENT + END) + chunk(b"")]]
        assert len(world.stream()) == 3
        assert outcomes(world) == ["answered"]

    def test_an_error_inside_a_stream_keeps_the_text_and_no_token(self, world: World) -> None:
        error = b'data: {"error":{"message":"upstream died on Bearer app-sk-c2VjcmV0"}}\n\n'
        world.server.script = [[HEAD + chunk(EVENT + error) + chunk(b"")]]
        with pytest.raises(RequestError, match="upstream died") as caught:
            world.stream()
        assert (caught.value.code, caught.value.text) == ("error_in_stream", "hi")
        assert "c2VjcmV0" not in str(caught.value)


class TestTheEndOfAStream:
    @pytest.mark.parametrize(
        "body",
        [EVENT + END, EVENT + END + b": bye\n\n", EVENT + END[:-2], EVENT + END.replace(b"data: [DONE]\n\n", b"")],
        ids=["done", "a comment after it", "no blank line", "only a finish reason"],
    )
    def test_is_its_end(self, world: World, body: bytes) -> None:
        world.server.script = [[HEAD + chunk(body) + chunk(b"")]]
        assert len(world.stream()) == 2
        assert outcomes(world) == ["answered"]

    @pytest.mark.parametrize("body", [b"", EVENT, EVENT + b'data: {"cho', b": only a comment\n\n"])
    def test_that_never_comes_is_a_truncation(self, world: World, body: bytes) -> None:
        world.server.script = [[HEAD, *([chunk(body)] if body else []), chunk(b"")]]
        with pytest.raises((StreamTruncated, RequestError)) as caught:
            world.stream()
        assert caught.value.code in ("stream_truncated", "malformed_reply")
        assert caught.value.receipt is world.receipts.last
        assert not world.receipts.last.verdict.satisfies("claimed")  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        "rest",
        [
            [chunk(b": " + b"x" * 30_000 + b"\n")] * 4 + [STALL],
            [STALL],
            [CLOSE],
            [Drip([chunk(b": x\n")] * 500)],
        ],
        ids=["talks on", "is silent", "breaks off", "drips"],
    )
    @pytest.mark.filterwarnings("ignore::zg_core.errors.VerificationWarning")
    @pytest.mark.parametrize("binding", [Reason.CONTENT_MISMATCH, Reason.NONE], ids=["differs", "matches"])
    def test_after_it_the_rest_is_waited_for_and_what_did_not_come_accuses_nobody(
        self, world: World, monkeypatch: pytest.MonkeyPatch, rest: list[Any], binding: Reason
    ) -> None:
        monkeypatch.setattr("zg_core.calls.path.TAIL_SECONDS", 0.2)
        world.server.script = [[HEAD, chunk(EVENT + END), *rest]]
        status = Status.FAILED if binding else Status.VERIFIED
        backend = Backend(world.server.url, verdict=Verdict(status, binding, Kind.TEE_ML))
        assert len(world.stream(backend=backend, timeouts=Timeouts(read=PATIENCE))) == 2
        (receipt,) = world.receipts
        assert receipt.seconds < PATIENCE, "it waits as long as for an answer"
        assert receipt.outcome == "answered"
        assert str(receipt.verdict) == ("unavailable (incomplete)" if binding else "verified")
        assert receipt.complete is (not binding)

    @pytest.mark.parametrize("done", [b"", b"data: [DONE]\n\n"], ids=["without its mark", "with it"])
    def test_that_is_not_marked_may_be_why_the_bytes_differ(self, world: World, done: bytes) -> None:
        finish = END.partition(b"\n\n")[0] + b"\n\n"
        world.server.script = [[HEAD + chunk(EVENT + finish + done) + chunk(b"")]]
        lie = Verdict(Status.FAILED, Reason.CONTENT_MISMATCH, Kind.TEE_ML)
        policy = Policy("require")
        with pytest.raises(VerificationFailed if done else VerificationUnavailable):
            world.stream(backend=Backend(world.server.url, verdict=lie), policy=policy)
        (receipt,) = world.receipts
        assert str(receipt.verdict) == ("failed (content_mismatch)" if done else "unavailable (incomplete)")

    @pytest.mark.parametrize("end", [b"data: [DONE]x\n\n", b"data: [DONE]\ndata: x\n\n", b"data: [DONE]\n\n" + EVENT])
    @pytest.mark.parametrize("hold", [False, True], ids=["after", "hold"])
    def test_in_a_form_that_no_server_sends_is_an_error(self, world: World, end: bytes, hold: bool) -> None:
        world.server.script = [[HEAD + chunk(EVENT + end) + chunk(b"")]]
        with pytest.raises(RequestError) as caught:
            world.stream(policy=Policy("warn", stream="hold" if hold else "after"))
        assert (caught.value.code, caught.value.text) == ("malformed_reply", "hi")
        assert outcomes(world) == ["failed"]

    def test_usage_after_the_finish_is_counted_and_null_before_it_is_not(self, world: World) -> None:
        null = b'data: {"choices":[{"index":0,"delta":{"content":"!"}}],"usage":null}\n\n'
        finish, _, done = END.partition(b"\n\n")
        usage = b'\n\ndata: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}\n\n'
        world.server.script = [[HEAD + chunk(EVENT + null + finish + usage + done) + chunk(b"")]]
        events = world.stream()
        assert [len(event["choices"]) for event in events] == [1, 1, 1, 0]
        assert world.receipts.last is not None
        assert world.receipts.last.usage == Usage(7, 5)
        assert world.receipts.last.fee.amount.units == 12


class TestListeners:
    def test_one_that_fails_costs_no_answer(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        world.server.script = [[answer(GOOD)]]

        def fail(receipt: Any) -> None:
            raise ValueError("listener")

        assert world.create(on_receipt=fail).text == "hi"
        assert "a receipt listener failed" in caplog.text

    def test_a_background_check_that_fails_is_settled_all_the_same(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.server.script = [[answer(GOOD)]]
        done = threading.Event()

        class Broken(Backend):
            async def verify(self, call: Call) -> Verdict:
                raise RuntimeError("a bug")

        def told(receipt: Any) -> None:
            done.set()

        backend = Broken(world.server.url)
        receipt = world.create(backend=backend, policy=Policy("background"), on_verdict=told).receipt
        assert done.wait(PATIENCE)
        assert str(receipt.resolve(0)) == "unavailable (no_signature)"
        assert "background verification" in caplog.text


def test_the_payer_is_asked_for_once_the_request_is_authorised(world: World) -> None:
    world.server.script = [[answer(GOOD)]]
    order: list[str] = []

    class Watched(Backend):
        async def grant(self, call: Call, error: ZeroGError | None = None) -> Grant | float | None:
            order.append("authorised")  # this opens a keystore file
            return await super().grant(call, error)

    def ask() -> str:
        order.append("asked")
        return "0x" + "cd" * 20

    reply = world.create(payer=ask, backend=Watched(world.server.url))
    assert (reply.receipt.payer, order) == ("0x" + "cd" * 20, ["authorised", "asked"])


def test_a_call_begins_with_nothing_proven(world: World) -> None:
    backend = Backend(world.server.url)
    call = world.calls(SyncTransport()).sending.start(Route(backend.service, "m"), Body(b"{}"), Asked(2))
    assert isinstance(call, Call)
    assert (call.receipt.outcome, call.receipt.verdict.status) == ("unknown", Status.NOT_CHECKED)
