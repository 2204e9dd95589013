"""The one path that every call takes, written once (architecture, "One call, end to end").

Everything here is a coroutine over a `Transport`; `zg_core.client` drives it with or without an event loop.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.calls.call import Ask, Options, Reply, Slot
from zg_core.calls.closing import Closing
from zg_core.calls.media import reading_of
from zg_core.calls.reading import TAIL_SECONDS, Form
from zg_core.calls.replays import Replays
from zg_core.calls.sending import Sending
from zg_core.errors import ConfigError, RequestError, VerificationFailed, ZeroGError
from zg_core.http.bodies import BodyBroken
from zg_core.receipts.recorder import Recorder
from zg_core.tasks.base import CHAT
from zg_core.tasks.chat import streaming
from zg_core.tasks.parameters import refuse_settings
from zg_core.verify.replay import ReplayGuard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from zg_core.backends.base import Backend
    from zg_core.budget import Spending
    from zg_core.calls.alike import Words
    from zg_core.calls.call import Call
    from zg_core.calls.limits import Limits
    from zg_core.calls.retries import Retries
    from zg_core.http.timeouts import Timeouts
    from zg_core.http.transport import Transport
    from zg_core.receipts.memory import MemoryReceipts
    from zg_core.receipts.model import Receipt
    from zg_core.receipts.stored import ReceiptStore
    from zg_core.routing.failover import Chooser
    from zg_core.routing.target import Target
    from zg_core.store import Store
    from zg_core.verify.policy import Policy

__all__ = ["Calls", "Head"]

_OF_THE_CONNECTION = (
    "alt-svc", "connection", "content-encoding", "content-length", "keep-alive", "proxy-authenticate", "set-cookie",
    "strict-transport-security", "te", "trailer", "transfer-encoding", "upgrade",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """What a relayed response begins with.

    Attributes:
        status: Its HTTP status, a success.
        headers: Its headers but for those of the connection, names in lower case.
        receipt: The receipt of the call, which is complete once the bytes have ended.
    """

    status: int
    headers: Mapping[str, str]
    receipt: Receipt


class Calls:
    """Sends requests through a backend, and makes receipts and verdicts of what comes back.

    `create` and `stream` enter with a payload, `relay` with the bytes of a request. All of them are one path: what is
    shown to the caller is what was hashed, understood and judged.
    """

    def __init__(
        self,
        backend: Backend,
        target: Target,
        transport: Transport,
        *,
        policy: Policy,
        receipts: MemoryReceipts,
        guard: ReplayGuard | None = None,
        network: str = "",
        limits: Limits | None,
        later: Limits | None = None,
        retries: Retries,
        timeouts: Timeouts,
        on_receipt: Callable[[Receipt], None] | None,
        on_verdict: Callable[[Receipt], None] | None,
        stored: ReceiptStore | None = None,
        keep_bytes: bool = False,
        spending: Spending | None = None,
        chooser: Chooser | None = None,
        store: Store | None = None,
        headers: Mapping[str, str] | None = None,
        gives_away: Callable[[bytes], bool] = lambda _: False,
        settings: frozenset[str] = frozenset(),
        nonce: bool = False,
    ) -> None:
        self.backend = backend
        self.transport = transport
        self.policy = policy
        self.retries = retries
        self.timeouts = timeouts
        self._settings = settings
        self._nonce = nonce
        recorder = Recorder(receipts, stored, transport)
        replays = Replays(guard or ReplayGuard(), recorder)
        self.closing = Closing(
            backend,
            transport,
            recorder,
            policy,
            replays,
            chooser=chooser,
            on_receipt=on_receipt,
            on_verdict=on_verdict,
        )
        self.sending = Sending(
            backend,
            target,
            transport,
            recorder=recorder,
            closing=self.closing,
            replays=replays,
            spending=spending,
            chooser=chooser,
            policy=policy,
            network=network,
            limits=limits,
            later=later,
            store=store,
            retries=retries,
            timeouts=timeouts,
            keep_bytes=keep_bytes,
            headers=headers or {},
            gives_away=gives_away,
        )

    async def create(
        self,
        payload: Mapping[str, Any],
        path: str = CHAT.path,
        options: Options | None = None,
        slot: Slot | None = None,
    ) -> Reply:
        """Send `payload`, read the whole answer, judge it; the call is left in `slot`, where one is given.

        Raises:
            ArgumentError: nothing was sent; the payload holds a setting of the client.
            ZeroGError: see `ChatClient.create`.
        """
        if payload.get("stream") not in (None, False):
            raise ConfigError("create() gives whole answers", code="bad_request_body", hint="use stream(payload)")
        refuse_settings(payload, self._settings)
        slot = slot or Slot()
        ask = Ask(payload, path) if options is None else Ask(payload, path, options=options)
        ((body,),) = [seen async for seen in self._flow(ask, slot, Form.EVENTS)]
        assert slot.receipt is not None  # noqa: S101 - there is a body
        return Reply(body, slot.receipt)

    def stream(
        self, payload: Mapping[str, Any], slot: Slot, options: Options | None = None
    ) -> AsyncGenerator[list[dict[str, Any] | Words], None]:
        """Send `payload` with ``stream``, yield its events as they come, judge the whole at the end.

        Those that came at once are yielded at once. The receipt is in `slot` when the generator has ended, whichever
        way it ended.
        """
        refuse_settings(payload, self._settings)
        return self._flow(Ask(streaming(payload), options=options or Options()), slot, Form.EVENTS)

    def events(
        self, payload: Mapping[str, Any], path: str, slot: Slot, options: Options | None = None
    ) -> AsyncGenerator[list[dict[str, Any] | Words], None]:
        """`stream` for other tasks: `payload` goes as it is."""
        refuse_settings(payload, self._settings - {"stream"})
        return self._flow(Ask(payload, path, options=options or Options()), slot, Form.EVENTS)

    async def fetch_images(self, call: Call) -> None:
        """Fetch the images that the answer of `call` names by address, where that was not done for its verdict."""
        fetch = getattr(self.backend, "fetch_images", None)
        if fetch is None:
            message = f"backend {self.backend.name} names images by address, and they cannot be fetched"
            raise RequestError(message, code="image_url_refused", hint='ask with response_format="b64_json"')
        await fetch(call)

    async def relay(
        self, data: bytes, path: str = CHAT.path, *, form: Form = Form.RAW, options: Options | None = None
    ) -> tuple[Head, AsyncGenerator[bytes, None]]:
        """Send the bytes of a request as they are; the head and the bytes of the answer, for somebody else's client.

        The bytes of a stream come as they are understood, all but its end, which comes once the verdict is made; those
        of a whole answer come after it. A reply that fails the policy, breaks off or is none raises instead, where its
        next bytes would come: the client never sees an end that was not judged.

        Args:
            data: The body of the request, a JSON object. Where it names no model, one is filled in.
            path: That of a task, such as ``/chat/completions``.
            form: `Form.RAW` for the bytes as the provider sent them; `Form.TIDY` for one ``data`` line an event,
                without heartbeats and comments, so that every client reads them alike.
            options: What is asked for beside it.

        Raises:
            ArgumentError: nothing was sent; the request holds a setting of the client.
            ConfigError: nothing was sent; `path` is that of no task (code ``unknown_task``), `data` is no JSON object.
            ZeroGError: as `create`, up to the head.
        """
        slot = Slot()
        ask = Ask.read(data, path, options or Options())
        refuse_settings(ask.payload, self._settings)
        chunks = self._flow(ask, slot, form, announced=True)
        await anext(chunks)
        call = slot.call
        assert call is not None  # noqa: S101 - the response has begun
        headers = {n: v for n, v in call.exchange.headers.items() if n not in _OF_THE_CONNECTION}
        if form is Form.TIDY and call.task.form == "json":
            headers["content-type"] = "text/event-stream" if call.streamed else "application/json"
        return Head(call.exchange.status, headers, call.receipt), chunks

    async def _flow(self, ask: Ask, slot: Slot, form: Form, *, announced: bool = False) -> AsyncGenerator[Any, None]:
        """The one loop: all that the caller may see of the answer to `ask`, its last part after the verdict.

        Bytes come one by one, events in lists. Where it is `announced`, the first thing yielded is None, once the
        response has begun.
        """
        if self._nonce:
            ask = ask.for_user(secrets.token_hex(16))
        try:
            call = await self.sending.open(ask)
        except ZeroGError as error:
            slot.receipt = error.receipt
            raise
        slot.call, slot.receipt = call, call.receipt
        response, exchange = call.response, call.exchange
        assert response is not None  # noqa: S101 - `open` returns with one
        backend, steps = self.backend, _listed if form is Form.EVENTS else iter
        reading = reading_of(call, form, backend.hear, alike=not getattr(backend, "hears_text", True))
        held: list[Any] = []
        hold = self.policy.stream == "hold" or not call.streamed
        ending = ended = False
        try:
            if announced:
                yield None
            try:
                async for chunk in response.chunks():
                    seen = reading.feed(chunk)
                    if hold:
                        held += seen
                    else:
                        for step in steps(seen):
                            yield step
                    reading.check()
                    if reading.done and not ending:
                        ending = True
                        response.hurry(TAIL_SECONDS)
                seen = reading.close()
                if hold or reading.whole:
                    held += seen
                else:
                    for step in steps(seen):
                        yield step
                reading.check()
                ended = reading.done
            except BodyBroken:
                if not ending:
                    raise  # after the end nothing is missing but the proof that nothing more was said
            if call.body is not None and not getattr(call.body.key, "complete", True):
                raise BodyBroken("the sealed answer ended before its final frame")
        except BodyBroken as error:
            raise await self.closing.truncated(call, error.reason, reading.text()) from error
        except (RequestError, VerificationFailed) as error:
            await response.close()
            exchange.complete = reading.whole and reading.done
            error.text = reading.text()
            error.receipt = await self.closing.judge(call, "failed")
            raise
        except BaseException:
            self.closing.abandon(call)  # first: closing may be broken off, too
            await response.close()
            raise
        await response.close()
        exchange.complete, exchange.cut = True, not ended
        receipt = await self.closing.judge(call, "answered")
        self.policy.enforce(receipt, "".join(call.text))
        for step in steps([*held, *reading.last()]):
            yield step


def _listed(seen: list[Any]) -> tuple[list[Any], ...]:
    """What came at once as one thing to yield, if anything came."""
    return (seen,) if seen else ()
