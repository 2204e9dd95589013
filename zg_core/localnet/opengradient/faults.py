"""How a local gateway of OpenGradient can misbehave on demand."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.meanings import fault_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ActiveFault", "Fault", "FaultPlan", "fault_meanings"]


class Fault(StrEnum):
    """The public names. `fault_meanings` has one line on each, with its options."""

    TAMPER = "tamper"
    CALL_INJECTED = "call_injected"
    NO_SIGNATURE = "no_signature"
    WRONG_KEY = "wrong_key"
    OTHER_REQUEST = "other_request"
    OTHER_MODEL = "other_model"
    REPLAY = "replay"
    CLOCK_OFF = "clock_off"
    CUT = "cut"
    CUT_BEFORE_ANSWER = "cut_before_answer"
    MID_STREAM_ERROR = "mid_stream_error"
    GZIP = "gzip"
    UNAVAILABLE = "unavailable"
    GREEDY_AMOUNT = "greedy_amount"
    WRONG_PAYEE = "wrong_payee"
    WRONG_ASSET = "wrong_asset"
    WRONG_NETWORK = "wrong_network"
    UNKNOWN_SCHEME = "unknown_scheme"
    LONG_LIFETIME = "long_lifetime"
    SESSION_EXPIRED = "session_expired"
    PAYMENT_REFUSED = "payment_refused"
    SETTLEMENT_INFLATED = "settlement_inflated"


_MEANINGS: Mapping[Fault, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        Fault.TAMPER: ("one letter of the answer is changed after it was signed", {}),
        Fault.CALL_INJECTED: ("a tool call is put beside the signed text", {}),
        Fault.NO_SIGNATURE: ("the answer carries no signature", {}),
        Fault.WRONG_KEY: ("another key signs, under the enclave's id", {}),
        Fault.OTHER_REQUEST: ("the enclave signs the hash of another request", {}),
        Fault.OTHER_MODEL: ("the enclave gets and signs the request with another model", {"model": "gpt-5-nano"}),
        Fault.REPLAY: ("an earlier answer is sent again, with its signature", {}),
        Fault.CLOCK_OFF: ("the gateway's clock is off by so many seconds", {"seconds": -3600}),
        Fault.CUT: ("the connection is reset in the middle of the answer", {}),
        Fault.CUT_BEFORE_ANSWER: ("the request is served and paid, and the connection reset before the first byte", {}),
        Fault.MID_STREAM_ERROR: ("an error comes in the stream, and no end", {}),
        Fault.GZIP: ("the answer is compressed, asked for or not", {}),
        Fault.UNAVAILABLE: (
            "an error before anything is served; granted: only of requests that are paid",
            {"status": 503, "retryable": True, "granted": False},
        ),
        Fault.GREEDY_AMOUNT: ("the challenge asks for so many times as much", {"factor": 1000}),
        Fault.WRONG_PAYEE: ("the challenge names another payee than the registry", {}),
        Fault.WRONG_ASSET: ("the challenge asks for another token", {}),
        Fault.WRONG_NETWORK: ("the challenge asks for a payment on another chain", {}),
        Fault.UNKNOWN_SCHEME: ("the challenge offers a payment that nobody knows", {}),
        Fault.LONG_LIFETIME: ("the challenge asks for a permit that is good for a year", {}),
        Fault.SESSION_EXPIRED: ("the session that is shown is over", {}),
        Fault.PAYMENT_REFUSED: ("the facilitator refuses the payment", {"reason": "invalid_permit2_signature"}),
        Fault.SETTLEMENT_INFLATED: ("the next settlements take more than was metered", {"factor": 2}),
    }
)  # fmt: skip


def fault_meanings() -> dict[str, str]:
    """One line on each fault, by public name, with the options it takes and their defaults."""
    return fault_lines((fault, meaning, options) for fault, (meaning, options) in _MEANINGS.items())


@dataclass
class ActiveFault:
    """A fault that is set."""

    fault: Fault
    times: int | None
    options: dict[str, Any] = field(default_factory=dict)


class FaultPlan:
    """The faults of one gateway; safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[ActiveFault] = []

    def add(self, fault: Fault | str, *, times: int | None = 1, **options: Any) -> None:
        """Set a fault.

        Args:
            fault: Which.
            times: How often; None until `clear`.
            options: Its options.

        Raises:
            ValueError: no such fault, or no such option.
        """
        named = Fault(fault)
        known = _MEANINGS[named][1]
        if unknown := set(options) - set(known):
            raise ValueError(f"{named} has no option {', '.join(sorted(unknown))}")
        with self._lock:
            self._active.append(ActiveFault(named, times, {**known, **options}))

    def take(self, fault: Fault, *, granted: bool = True) -> ActiveFault | None:
        """Use a fault up once, if it is set; one for paid requests only where this is one."""
        with self._lock:
            fitting = (each for each in self._active if granted or not each.options.get("granted"))
            found = next((each for each in fitting if each.fault is fault), None)
            if found is None:
                return None
            if found.times is not None:
                found.times -= 1
                if found.times <= 0:
                    self._active.remove(found)
            return found

    def has(self, fault: Fault) -> bool:
        """Whether it is set."""
        with self._lock:
            return any(each.fault is fault for each in self._active)

    def clear(self) -> None:
        """Behave again."""
        with self._lock:
            self._active.clear()
