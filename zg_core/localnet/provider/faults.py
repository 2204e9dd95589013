"""Ways a local provider can misbehave on demand, so that a client can be tested against each."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.meanings import fault_lines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self


class Fault(StrEnum):
    """The public names. `fault_meanings` has one line on each, with its options."""

    BODY_CHANGED = "body_changed"
    USAGE_CHANGED = "usage_changed"
    USAGE_INFLATED = "usage_inflated"
    OTHER_SIGNER = "other_signer"
    SIGNATURE_OTHER_BYTES = "signature_other_bytes"
    REPLAY_OWN = "replay_own"
    REPLAY_OTHER = "replay_other"
    BODY_REMARSHALLED = "body_remarshalled"
    SIGNATURE_LATE = "signature_late"
    SIGNATURE_NEVER = "signature_never"
    NO_HEADER = "no_header"
    TRUNCATED_STREAM = "truncated_stream"
    SPLIT_UTF8 = "split_utf8"
    SPLIT_JSON = "split_json"
    USAGE_NULL = "usage_null"
    TRAILING_EVENT = "trailing_event"
    COMMENT_AFTER_DONE = "comment_after_done"
    GZIP = "gzip"
    REDIRECT = "redirect"
    SLOW_DRIP = "slow_drip"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    SESSION_REJECTED = "session_rejected"
    CLOCK_AHEAD = "clock_ahead"
    HANG = "hang"
    REFUSED_AFTER_SERVICE = "refused_after_service"
    CUT_BEFORE_FIRST_BYTE = "cut_before_first_byte"
    CUT_AFTER_FIRST_BYTE = "cut_after_first_byte"
    PRICE_RAISED = "price_raised"
    SIGNER_ROTATED = "signer_rotated"
    IMAGE_SWAPPED = "image_swapped"
    IMAGES_MISSING = "images_missing"
    IMAGES_OVERBILLED = "images_overbilled"
    IMAGE_EXPIRED = "image_expired"
    IMAGE_URL_FOREIGN = "image_url_foreign"
    DURATION_INFLATED = "duration_inflated"
    JOB_LOST = "job_lost"
    JOB_FAILED = "job_failed"
    SETTLEMENT_INFLATED = "settlement_inflated"


SESSION_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "missing": "missing or invalid Authorization header, must be Bearer app-sk-<base64(rawMessage:signature)>",
        "base64": "invalid base64 in Authorization header: illegal base64 data",
        "payload": "invalid Authorization payload, expect base64(rawMessage:signature)",
        "json": "invalid session token format in Authorization: unexpected end of JSON input",
        "provider": "session token is for different provider",
        "no_expiry": "ephemeral token must have an expiration time",
        "too_long": "ephemeral token duration cannot exceed 24 hours",
        "expired": "session token expired",
        "generation_expired": "session token has been revoked (generation expired)",
        "future_generation": "invalid session token (future generation)",
        "revoked": "session token has been revoked",
        "signature": "signature verification failed: address mismatch",
    }
)
"""Reasons `session_rejected` can give, by short name: the refusals of 0g-direct §3.2 in their order."""

_MEANINGS: Mapping[Fault, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        Fault.BODY_CHANGED: (
            "one letter of the answer (its text, a transcript, a vector) is changed after it was hashed and signed",
            {},
        ),
        Fault.USAGE_CHANGED: ("the token counts are raised after the answer was hashed and signed", {"factor": 2}),
        Fault.USAGE_INFLATED: ("the token counts are raised, then signed and billed as raised", {"factor": 10}),
        Fault.OTHER_SIGNER: (
            "the signature is made by another key; claim='tee' still names the enclave's address, 'own' its own",
            {"claim": "tee"},
        ),
        Fault.SIGNATURE_OTHER_BYTES: ("the enclave's key signs hashes of other bytes", {}),
        Fault.REPLAY_OWN: ("an earlier answer to the same user is sent again, with its chat key", {}),
        Fault.REPLAY_OTHER: ("somebody else's genuine answer is sent, with its chat key", {}),
        Fault.BODY_REMARSHALLED: ("the request body is re-marshalled before it is forwarded and hashed", {}),
        Fault.SIGNATURE_LATE: (
            "the first `misses` lookups of the signature fail, and all for `seconds`",
            {"misses": 2, "seconds": 0.0},
        ),
        Fault.SIGNATURE_NEVER: ("the answer is never signed, though its chat key is announced", {}),
        Fault.NO_HEADER: ("the ZG-Res-Key header is left out; the signature exists", {}),
        Fault.TRUNCATED_STREAM: ("a stream ends after `events` events, without usage and [DONE]", {"events": 2}),
        Fault.SPLIT_UTF8: ("chunks end inside every multi-byte character", {}),
        Fault.SPLIT_JSON: ("chunks end inside JSON strings and numbers", {}),
        Fault.USAGE_NULL: (
            "events carry 'usage': null (an answer in one piece has no other usage; final=True: nor does a stream)",
            {"final": False},
        ),
        Fault.TRAILING_EVENT: ("an event without `choices` comes before [DONE]", {}),
        Fault.COMMENT_AFTER_DONE: ("an SSE comment follows [DONE], inside the signed bytes", {}),
        Fault.GZIP: ("the response is gzip-encoded, asked for or not; the signature covers the decoded bytes", {}),
        Fault.REDIRECT: ("the request is redirected", {"status": 307, "location": None}),
        Fault.SLOW_DRIP: (
            "the response comes `size` bytes at a time, `delay` seconds apart",
            {"size": 1, "delay": 0.01},
        ),
        Fault.RATE_LIMITED: ("429, with a header that says when to come back (`reset` seconds)", {"reset": 1}),
        Fault.UNAVAILABLE: ("503, as when too many requests are running", {}),
        Fault.SESSION_REJECTED: ("400 for the session; reason is one of SESSION_REASONS", {"reason": "revoked"}),
        Fault.CLOCK_AHEAD: (
            "the provider's clock is `seconds` ahead of everybody else's when it checks the session",
            {"seconds": 90_000},
        ),
        Fault.HANG: ("the request is served, but nothing is sent until the client leaves", {"billed": True}),
        Fault.REFUSED_AFTER_SERVICE: ("the request is served and billed, and the answer is a refusal", {"status": 503}),
        Fault.CUT_BEFORE_FIRST_BYTE: ("the connection is reset before a byte is sent", {"billed": True}),
        Fault.CUT_AFTER_FIRST_BYTE: ("the connection is reset after the first piece of the body", {"billed": True}),
        Fault.PRICE_RAISED: ("prices on chain are multiplied before the request is answered", {"factor": 2}),
        Fault.SIGNER_ROTATED: (
            "a new enclave key is registered before the request is answered; acknowledged: the owner has confirmed it",
            {"acknowledged": True},
        ),
        Fault.IMAGE_SWAPPED: ("the first image is replaced by another after it was signed", {}),
        Fault.IMAGES_MISSING: ("the last `count` images are taken away after they were signed", {"count": 1}),
        Fault.IMAGES_OVERBILLED: ("one image fewer is made and signed than asked for, and all are billed", {}),
        Fault.IMAGE_EXPIRED: ("the addresses of the images lead nowhere any more", {}),
        Fault.IMAGE_URL_FOREIGN: (
            "the addresses of the images lead to another host",
            {"origin": "http://127.0.0.1:9"},
        ),
        Fault.DURATION_INFLATED: (
            "the stated length of a recording is multiplied, then signed and billed as raised",
            {"factor": 10},
        ),
        Fault.JOB_LOST: ("a job is taken, made and billed, and then nobody knows it", {"billed": True}),
        Fault.JOB_FAILED: ("a job is taken and fails; it is not billed", {}),
        Fault.SETTLEMENT_INFLATED: (
            "the next settlement asks every user for more than the provider's own log says",
            {"factor": 2},
        ),
    }
)
_SETTLEMENT_ONLY = {Fault.SETTLEMENT_INFLATED}
_STREAM_ONLY = {Fault.TRUNCATED_STREAM, Fault.TRAILING_EVENT, Fault.COMMENT_AFTER_DONE}


def fault_meanings() -> dict[str, str]:
    """One line on each fault, by public name, with the options it takes and their defaults."""
    return fault_lines((fault, meaning, options) for fault, (meaning, options) in _MEANINGS.items())


@dataclass
class ActiveFault:
    """A fault that is set. As a context manager it is cleared on exit."""

    fault: Fault
    options: dict[str, Any]
    remaining: int | None
    plan: FaultPlan = field(repr=False)
    fired: int = 0
    containing: bytes | None = None

    def clear(self) -> None:
        """Take it back; no error if it is used up."""
        self.plan.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()


class FaultSet:
    """The faults of one exchange."""

    def __init__(self, options: dict[Fault, dict[str, Any]] | None = None) -> None:
        self._options = options or {}

    def __contains__(self, fault: Fault) -> bool:
        return fault in self._options

    def __bool__(self) -> bool:
        return bool(self._options)

    def option(self, fault: Fault, name: str) -> Any:
        """An option's value, its default where it was not given."""
        return self._options.get(fault, _MEANINGS[fault][1]).get(name, _MEANINGS[fault][1][name])


class FaultPlan:
    """Which faults are set, and for how many requests more. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[ActiveFault] = []

    def add(
        self, fault: Fault | str, *, times: int | None = 1, containing: str | None = None, **options: Any
    ) -> ActiveFault:
        """Set a fault for the next `times` charged requests (or settlements) it can apply to (None: until cleared).

        With `containing`, only to requests whose body has this text: who is hit does not depend on who comes first.

        Raises:
            ValueError: unknown fault, or a count below 1.
            TypeError: an option this fault does not have.
        """
        try:
            fault = Fault(fault)
        except ValueError:
            raise ValueError(f"unknown fault {fault!r}; there are: {', '.join(Fault)}") from None
        if times is not None and times < 1:
            raise ValueError("times must be at least 1, or None for a standing fault")
        known = _MEANINGS[fault][1]
        for name in options:
            if name not in known:
                raise TypeError(f"fault {fault.value} has no option {name!r}; it has: {', '.join(known) or 'none'}")
        if fault is Fault.SESSION_REJECTED and options.get("reason", "revoked") not in SESSION_REASONS:
            raise ValueError(f"unknown reason {options['reason']!r}; there are: {', '.join(SESSION_REASONS)}")
        text = None if containing is None else containing.encode()
        active = ActiveFault(fault, {**known, **options}, times, self, containing=text)
        with self._lock:
            self._active.append(active)
        return active

    def remove(self, active: ActiveFault) -> None:
        """Take one back."""
        with self._lock:
            self._active = [other for other in self._active if other is not active]

    def clear(self) -> None:
        """Take all back."""
        with self._lock:
            self._active = []

    def active(self) -> list[ActiveFault]:
        """Those still set."""
        with self._lock:
            return list(self._active)

    def take(self, *, stream: bool, body: bytes = b"") -> FaultSet:
        """The faults of the next exchange, counted down."""
        return self._take(_SETTLEMENT_ONLY if stream else _SETTLEMENT_ONLY | _STREAM_ONLY, body)

    def take_for_settlement(self) -> FaultSet:
        """The faults of the next settlement, counted down."""
        return self._take(set(Fault) - _SETTLEMENT_ONLY)

    def _take(self, others: set[Fault], body: bytes = b"") -> FaultSet:
        with self._lock:
            if not self._active:
                return FaultSet()
            taken: dict[Fault, dict[str, Any]] = {}
            for active in self._active:
                if active.fault in taken or active.fault in others:
                    continue
                if active.containing is not None and active.containing not in body:
                    continue
                taken[active.fault] = active.options
                active.fired += 1
                if active.remaining is not None:
                    active.remaining -= 1
            self._active = [active for active in self._active if active.remaining != 0]
            return FaultSet(taken)
