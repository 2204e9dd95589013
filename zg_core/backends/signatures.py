"""Fetching the signature of a reply: from where, how often, and for how long at most (0g-direct §5.1, §5.2)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from zg_core.errors import ConfigError, RequestError
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import read_all
from zg_core.http.provider_requests import provider_request
from zg_core.http.refusals import retry_after
from zg_core.http.timeouts import Timeouts
from zg_core.types import PROXY, Kind
from zg_core.verify.schemes.signed_hashes import MalformedSignature, NoDocument, document_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zg_core.http.transport import Transport
    from zg_core.types import ServiceRecord

__all__ = ["SIGNATURE_DELAYS", "SIGNATURE_SECONDS", "Missed", "fetch_signature"]

# The signature is stored after the reply's last byte, so the first look-ups can miss (0g-direct §5.2).
SIGNATURE_DELAYS = (0.0, 0.05, 0.2, 0.4, 0.8, 1.6)
SIGNATURE_SECONDS = 15.0
"""For all look-ups of one signature together, however slowly one of them is answered."""
_LOOK_UP_SECONDS = 10.0
_REMEMBERED = 60.0  # seconds
_HASTY = 3  # look-ups
_MAX_BYTES = 64 * 1024
_LATER = frozenset({404, 408, 425, 429})  # and what a gateway says (5xx): worth asking again


class Missed:
    """Which providers had no signature for a reply, however long it was waited for: for a minute, nobody waits again.

    For whoever only wants to be warned; where a reply is refused without its signature, each one is waited for.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def delays(self, provider: str, delays: Sequence[float]) -> Sequence[float]:
        """`delays`, or the first of them where the last signature of `provider` was missing."""
        since = self._since.get(provider)
        return delays if since is None or self._clock() - since > _REMEMBERED else delays[:_HASTY]

    def note(self, provider: str, *, found: bool, waited: bool) -> None:
        """A signature was or was not `found`, after the whole time was `waited` or not."""
        if found:
            self._since.pop(provider, None)
        elif waited:
            self._since[provider] = self._clock()


async def fetch_signature(
    transport: Transport,
    service: ServiceRecord,
    model: str,
    chat_ids: Sequence[str],
    *,
    delays: Sequence[float] = SIGNATURE_DELAYS,
    seconds: float | None = None,
) -> bytes | None:
    """The signature document of a reply as it was served; None if there is none to be had.

    What is no document (a gateway's page, an error, half of one) is asked for again like one that is not there yet.

    Args:
        transport: HTTP.
        service: The provider's record.
        model: The model that was asked for.
        chat_ids: Ids under which it may be stored, the likeliest first.
        delays: Seconds to wait before each look-up.
        seconds: For all of it; by default `SIGNATURE_SECONDS`.
    """
    query = ""
    if service.multi_model or service.kind is Kind.TEE_ML_SEPARATED:
        query = f"?model={quote(model, safe='')}"  # needed where the route is proxied (0g-direct §5.1)
    end, pause = time.monotonic() + (SIGNATURE_SECONDS if seconds is None else seconds), 0.0
    for delay in delays:
        left = max(0.0, end - time.monotonic())
        if pause > left:  # nobody waits an hour for a signature
            return None
        if (wait := min(max(delay, pause), left)) > 0:
            await transport.sleep(wait)
        pause = 0.0
        for chat_id in chat_ids:
            if (left := end - time.monotonic()) <= 0:
                return None
            patience = min(_LOOK_UP_SECONDS, left)
            timeouts = Timeouts(connect=patience, read=patience, whole=left)
            try:
                request = provider_request("GET", service, f"{PROXY}/signature/{chat_id}{query}", timeouts=timeouts)
                answer = await transport.send(request)
                body = await read_all(answer, _MAX_BYTES, left)
            except ConfigError:  # the record's URL is none that may be asked
                return None
            except RequestError as error:
                if error.code == "insecure_url":
                    return None
                continue
            except BodyBroken:
                continue
            if answer.status == 200:
                if _is_document(body):
                    return body
            elif answer.status == 429:
                pause = max(pause, retry_after(answer.headers) or 0.0)
            elif not (
                answer.status in _LATER
                or answer.status >= 500
                or (answer.status == 400 and b"chat_id_not_found" in body)
            ):
                return None
    return None


def _is_document(body: bytes) -> bool:
    try:
        document_of(body)
    except NoDocument:
        return False
    except MalformedSignature:  # it is one, and a bad one
        pass
    return True
