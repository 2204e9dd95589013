"""The one path that every call takes, written once (architecture, "One call, end to end").

Everything here is a coroutine over a `Transport`; `zg_core.client` drives it with or without an event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.calls.call import Reply, Slot, Tail
from zg_core.calls.closing import Closing
from zg_core.calls.reading import consume, id_of, take
from zg_core.calls.reading import event as event_of
from zg_core.calls.replays import Replays
from zg_core.calls.sending import Sending
from zg_core.errors import OutcomeUnknown, RequestError
from zg_core.http.bodies import BodyBroken
from zg_core.jsontext import parse_json
from zg_core.receipts.recorder import Recorder
from zg_core.sse import SSEDecoder
from zg_core.tasks.chat import streaming, text_of
from zg_core.types import Usage
from zg_core.verify.replay import ReplayGuard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from zg_core.backends.base import Backend
    from zg_core.budget import Spending
    from zg_core.calls.call import Options
    from zg_core.calls.limits import Limits
    from zg_core.calls.retries import Retries
    from zg_core.http.timeouts import Timeouts
    from zg_core.http.transport import Transport
    from zg_core.progress import Listener
    from zg_core.receipts.memory import MemoryReceipts
    from zg_core.receipts.model import Receipt
    from zg_core.receipts.stored import ReceiptStore
    from zg_core.routing.failover import Router
    from zg_core.store import Store
    from zg_core.verify.policy import Policy

__all__ = ["CHAT_PATH", "Calls"]

CHAT_PATH = "/chat/completions"


class Calls:
    """Sends requests through a backend, and makes receipts and verdicts of what comes back.

    `create` and `stream` are whole calls; `sending` and `closing` are their parts.
    """

    def __init__(
        self,
        backend: Backend,
        transport: Transport,
        *,
        policy: Policy,
        receipts: MemoryReceipts,
        guard: ReplayGuard | None = None,
        payer: Callable[[], str],
        limits: Limits | None,
        retries: Retries,
        timeouts: Timeouts,
        on_receipt: Callable[[Receipt], None] | None,
        on_verdict: Callable[[Receipt], None] | None,
        on_progress: Listener | None = None,
        stored: ReceiptStore | None = None,
        keep_bytes: bool = False,
        spending: Spending | None = None,
        router: Router | None = None,
        store: Store | None = None,
        headers: Mapping[str, str] | None = None,
        gives_away: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        self.policy = policy
        recorder = Recorder(receipts, stored, transport)
        replays = Replays(guard or ReplayGuard(), recorder)
        self.closing = Closing(
            backend,
            transport,
            recorder,
            policy,
            replays,
            spending=spending,
            router=router,
            on_receipt=on_receipt,
            on_verdict=on_verdict,
        )
        self.sending = Sending(
            backend,
            transport,
            recorder,
            self.closing,
            replays,
            spending=spending,
            router=router,
            demand=policy.to_dict(),
            payer=payer,
            limits=limits,
            store=store,
            retries=retries,
            timeouts=timeouts,
            on_progress=on_progress,
            keep_bytes=keep_bytes,
            headers=headers or {},
            gives_away=gives_away,
        )

    async def create(self, payload: Mapping[str, Any], path: str = CHAT_PATH, options: Options | None = None) -> Reply:
        """Send `payload`, read the whole answer, judge it."""
        call = await self.sending.open(payload, path, options)
        parts: list[bytes] = []
        try:
            await consume(call, parts)
        except BodyBroken as error:
            partial = b"".join(parts).decode("utf-8", "replace")
            raise await self.closing.truncated(call, error.reason, partial) from error
        except BaseException:
            self.closing.abandon(call)
            raise
        call.exchange.complete = True
        try:
            body = parse_json(b"".join(parts))
            if not isinstance(body, dict):
                raise ValueError("not an object")  # noqa: TRY004 - caught below, like other junk
        except (ValueError, RecursionError):
            raise await self.closing.junk(call, b"".join(parts)) from None
        call.usage = Usage.parse(body.get("usage"))
        call.exchange.body_id = id_of(body)
        receipt = await self.closing.judge(call, "answered")
        self.policy.enforce(receipt, text_of(body))
        return Reply(body, receipt)

    async def stream(
        self, payload: Mapping[str, Any], slot: Slot, options: Options | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Send `payload` with ``stream``, yield its events as they come, judge the whole at the end.

        The receipt is in `slot` when the generator has ended, whichever way it ended.
        """
        try:
            call = await self.sending.open(streaming(payload), CHAT_PATH, options)
        except OutcomeUnknown as error:
            slot.receipt = error.receipt
            raise
        slot.receipt = call.receipt
        hold = self.policy.stream == "hold"
        held: list[dict[str, Any]] = []
        assert call.response is not None  # noqa: S101 - _open returns with one
        decoder = SSEDecoder()
        tail: Tail | None = None
        try:
            async for chunk in call.response.chunks():
                take(call, chunk)
                for data in decoder.feed(chunk):
                    if (event := event_of(call, data)) is None:
                        continue
                    if hold:
                        held.append(event)
                    else:
                        yield event
                if call.done:
                    tail = tail or Tail(call.exchange.size)
                    tail.check(call.exchange.size)
            for data in decoder.flush():
                if (event := event_of(call, data)) is not None:
                    if hold:
                        held.append(event)
                    else:
                        yield event
            if not (call.done or call.finished):
                raise BodyBroken("the stream ended without its end")
        except (BodyBroken, ValueError) as error:
            reason = error.reason if isinstance(error, BodyBroken) else str(error)
            raise await self.closing.truncated(call, reason, "".join(call.text)) from error
        except RequestError as error:
            await call.response.close()
            error.receipt = await self.closing.judge(call, "failed")
            error.text = "".join(call.text)
            raise
        except BaseException:
            self.closing.abandon(call)  # first: closing may be broken off, too
            await call.response.close()
            raise
        await call.response.close()
        call.exchange.complete = True
        receipt = await self.closing.judge(call, "answered")
        if hold:
            self.policy.enforce(receipt, "".join(call.text))
        for event in held:
            yield event
        if not hold:
            self.policy.enforce(receipt, "".join(call.text))
