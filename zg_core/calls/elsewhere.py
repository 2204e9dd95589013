"""Exchanges that somebody else made, judged here: their bytes are read, measured and verified as our own would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core.calls.call import Ask, Options
from zg_core.calls.media import reading_of
from zg_core.calls.reading import Form
from zg_core.errors import ConfigError
from zg_core.http.bodies import BodyBroken
from zg_core.http.transport import run
from zg_core.pricing import Asked
from zg_core.shown.tracebacks import forgetful
from zg_core.tasks.base import task_selling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.calls.path import Calls
    from zg_core.receipts.model import Receipt

__all__ = ["MADE_ELSEWHERE", "AsyncJudging", "Judging", "judged"]

MADE_ELSEWHERE = "made_elsewhere"
"""The flag of a receipt whose exchange was not made by the client that judged it."""


async def judged(calls: Calls, ask: Ask, response: bytes, headers: Mapping[str, str]) -> Receipt:
    """The receipt of an exchange, verdict included. Nothing is paid, counted against a budget, or kept in a store.

    Args:
        calls: Of the client that judges.
        ask: The request.
        response: The bytes of the answer, decoded from any content coding.
        headers: Of the answer; of them ``ZG-Res-Key`` names its signature. Of chats, the ``id`` inside does where it
            is missing; of nothing else.

    Raises:
        ConfigError: the answer is none (code ``bad_exchange``).
        RequestError: the answer is an error of the provider.
        ZeroGError: the service cannot be read.
    """
    backend, sending, closing = calls.backend, calls.sending, calls.closing
    route = await sending.target.route(ask.model)
    body = backend.body(route, ask.task, ask.payload, ask.data)
    call = sending.start(route, body, Asked.of(ask.payload, len(body.data)), ask.task)
    call.streamed = ask.streamed
    exchange, receipt = call.exchange, call.receipt
    exchange.status, exchange.headers = 200, {name.lower(): value for name, value in headers.items()}
    reading = reading_of(call, Form.EVENTS, backend.hear)
    try:
        reading.read(response)
    except BodyBroken as error:
        message = f"the answer is not whole: {error.reason}"
        raise ConfigError(message, code="bad_exchange", hint="give all bytes that came, as they came") from None
    exchange.complete, exchange.cut = True, not reading.done
    receipt.payer = backend.payer if getattr(backend, "pays", True) else ""
    receipt.flags = (*receipt.flags, MADE_ELSEWHERE)
    call.route = await call.route.settled(patient=True)
    receipt.settle(await closing.elsewhere(call))
    return receipt


@forgetful
class Judging:
    """What a blocking client does for exchanges that it has not made."""

    calls: Calls

    def judge(self, task: str, *, request: bytes, response: bytes, headers: Mapping[str, str] | None = None) -> Receipt:
        """Judge an exchange that was made elsewhere: with a token of `token`, say, or a key of ``zerog keys``.

        Nothing is paid, counted or stored. A provider keeps a signature for about 20 minutes.

        Args:
            task: ``"chat"``, ``"embeddings"``, ``"images"``, ``"image_edits"`` or ``"transcription"``.
            request: The bytes that were sent; of a form all of them, as they went.
            response: The bytes that came, decoded from any content coding.
            headers: Those of the response: ``ZG-Res-Key`` names the signature. Of chats, the ``id`` of the answer does
                where it is missing.

        Raises:
            ConfigError: the task is none (code ``unknown_task``), or the bytes are no request (``bad_request_body``) or
                no whole answer (``bad_exchange``).
            RequestError: the answer is an error.
        """
        return run(_judged(self.calls, task, request, response, headers))


@forgetful
class AsyncJudging:
    """Async twin of `Judging`."""

    calls: Calls

    async def judge(
        self, task: str, *, request: bytes, response: bytes, headers: Mapping[str, str] | None = None
    ) -> Receipt:
        """See `Judging.judge`."""
        return await _judged(self.calls, task, request, response, headers)


async def _judged(
    calls: Calls, task: str, request: bytes, response: bytes, headers: Mapping[str, str] | None
) -> Receipt:
    return await judged(calls, Ask.read(request, task_selling(task).path, Options()), response, headers or {})
