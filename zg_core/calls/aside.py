"""Calls whose answer is fetched later: a job is asked for, looked at, and closed when it is done (services §3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zg_core.calls.media import reading_of
from zg_core.calls.reading import Form
from zg_core.errors import OutcomeUnknown, RequestError
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import read_all
from zg_core.jsontext import encode_body, parse_json
from zg_core.shown.redaction import blot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.calls.call import Ask, Call, Reply
    from zg_core.calls.path import Calls

__all__ = ["done", "failed", "lost", "submitted"]

_MOST = 64 * 1024


async def submitted(calls: Calls, ask: Ask) -> tuple[Call, str]:
    """A call that was handed in, and the id of its job. Its receipt stays open: it may be billed.

    Raises:
        OutcomeUnknown: it was taken, and no id came back (code ``job_lost``).
        ZeroGError: as `Calls.create`.
    """
    call = await calls.sending.open(replace(ask, options=replace(ask.options, aside=True)))
    assert call.response is not None  # noqa: S101 - `open` returns with one
    said: Any = None
    try:
        said = parse_json(await read_all(call.response, _MOST))
    except (BodyBroken, ValueError, RecursionError):
        said = None
    job_id = said.get("jobId") if isinstance(said, dict) else None
    call.leave()
    if not isinstance(job_id, str) or not job_id.isascii() or not 0 < len(job_id) <= 64 or "/" in job_id:
        raise OutcomeUnknown(
            "the job was taken, and its id did not come back",
            code="job_lost",
            hint="it may be made and billed: the receipt (error.receipt) records it",
            receipt=calls.closing.unanswered(call),
        )
    call.heard |= {"aside": True, "image_key": job_id}
    return call, job_id


async def done(calls: Calls, call: Call, data: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
    """The answer of a job that is completed, judged.

    Raises:
        ZeroGError: as `Calls.create`, from the answer on.
    """
    from zg_core.calls.call import Reply

    exchange = call.exchange
    exchange.headers = {name.lower(): value for name, value in headers.items()}
    reading = reading_of(call, Form.EVENTS, calls.backend.hear)
    try:
        (body,) = reading.read(encode_body(data, nan=True))
    except RequestError as error:
        exchange.complete = True
        error.receipt = await calls.closing.judge(call, "failed")
        raise
    exchange.complete = True
    receipt = await calls.closing.judge(call, "answered")
    calls.policy.enforce(receipt, "")
    return Reply(body, receipt)


async def failed(calls: Calls, call: Call, words: object) -> RequestError:
    """The error of a job that failed; the provider says that it bills nothing."""
    receipt = await calls.closing.refused(call)
    return RequestError(
        f"the job failed: {blot(str(words or 'no reason is given'))[:2000]}",
        code="job_failed",
        hint="it is not billed; change the request, or hand it in again",
        receipt=receipt,
    )


def lost(calls: Calls, call: Call, job_id: str) -> OutcomeUnknown:
    """The error of a job that nobody knows any more."""
    return OutcomeUnknown(
        f"the provider knows no job {job_id}: it was lost, or is older than half an hour",
        code="job_lost",
        hint="it may be billed all the same: the receipt (error.receipt) records it",
        receipt=calls.closing.unanswered(call),
        status=404,
    )
