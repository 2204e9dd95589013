"""The receipt of one call: who answered, what it cost, and what was proven about the bytes."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from zg_core.verify.verdict import Reason, Status, Verdict

if TYPE_CHECKING:
    from zg_core.types import Fee, Kind, Usage

__all__ = ["Receipt"]

Outcome = Literal["answered", "truncated", "abandoned", "failed", "unknown"]


@dataclass(slots=True, eq=False)
class Receipt:
    """The record of one paid call. Everything but `verdict` is fixed once the call has ended.

    Attributes:
        id: Random id of this receipt.
        backend: ``"direct"``.
        network: Name of the network; `chain_id` is its id.
        provider: Provider address.
        model: Model asked for.
        kind: Kind of the service.
        outcome: ``"answered"``; ``"truncated"`` or ``"abandoned"`` (cut off by them or by us); ``"failed"`` (error
            inside the reply); ``"unknown"`` (sent, not answered: it may have been billed).
        chat_id: Id under which the provider stores its signature, "" if it named none.
        request_sha256: Hash of the bytes sent.
        response_sha256: Hash of the bytes received.
        usage: Token counts, None if the provider reported none.
        fee: What it cost.
        input_price: Neuron per input token at the time of the call.
        output_price: Neuron per output token.
        certificate_sha256: Leaf certificate of the connection that carried the reply, "" for plain http.
        attestation: Summary of the provider's attestation, where the policy asked for one.
        flags: What a reader should know besides the verdict, such as ``"usage_implausible"``.
        started_at: When the request was sent (UTC).
        seconds: From sending to the end of the reply.
        first_byte_seconds: From sending to the first byte of the body.
        verdict: The latest verdict; `resolve` waits for one that is pending.
    """

    backend: str
    network: str
    chain_id: int
    provider: str
    model: str
    kind: Kind
    request_sha256: str
    input_price: int
    output_price: int
    fee: Fee
    outcome: Outcome = "unknown"
    chat_id: str = ""
    response_sha256: str = ""
    response_bytes: int = 0
    usage: Usage | None = None
    certificate_sha256: str = ""
    attestation: dict[str, Any] | None = None
    flags: tuple[str, ...] = ()
    attempts: int = 1
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0
    first_byte_seconds: float | None = None
    verdict: Verdict = field(default_factory=lambda: Verdict(Status.NOT_CHECKED, Reason.ABANDONED))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    _resolved: threading.Event = field(default_factory=threading.Event, repr=False)

    def resolve(self, timeout: float | None = None) -> Verdict:
        """Wait until the verdict is no longer pending, at most `timeout` seconds, and return the latest one.

        In an event loop use `aresolve`: the check may be a task of the very loop that this blocks.
        """
        if self.verdict.status is Status.PENDING:
            self._resolved.wait(timeout)
        return self.verdict

    async def aresolve(self, timeout: float | None = None) -> Verdict:  # noqa: ASYNC109 - twin of resolve()
        """Async twin of `resolve`."""
        import asyncio

        return await asyncio.to_thread(self.resolve, timeout)

    def settle(self, verdict: Verdict) -> None:
        """Replace the verdict and wake those who wait for it."""
        self.verdict = verdict
        if verdict.status is not Status.PENDING:
            self._resolved.set()

    def metadata(self) -> dict[str, Any]:
        """What rides on a message as ``response_metadata["zerog"]``; amounts are decimal strings, no floats."""
        return {
            "status": str(self.verdict.status),
            "chat_id": self.chat_id,
            "receipt_id": self.id,
            "provider": self.provider,
            "network": self.network,
            "kind": str(self.kind),
            "prompt_in_tee": self.kind.prompt_in_tee,
            "verdict": self.verdict.to_dict(),
            "payment": {
                **self.fee.to_dict(),
                "input_price": str(self.input_price),
                "output_price": str(self.output_price),
            },
        }

    def to_dict(self) -> dict[str, Any]:
        """The whole receipt as plain data."""
        usage = self.usage
        return {
            **self.metadata(),
            "backend": self.backend,
            "chain_id": self.chain_id,
            "model": self.model,
            "outcome": self.outcome,
            "request_sha256": self.request_sha256,
            "response_sha256": self.response_sha256,
            "response_bytes": self.response_bytes,
            "usage": None
            if usage is None
            else {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "cached_tokens": usage.cached_tokens,
                "reasoning_tokens": usage.reasoning_tokens,
            },
            "certificate_sha256": self.certificate_sha256,
            "attestation": self.attestation,
            "flags": list(self.flags),
            "attempts": self.attempts,
            "started_at": self.started_at.isoformat(),
            "seconds": round(self.seconds, 6),
            "first_byte_seconds": None if self.first_byte_seconds is None else round(self.first_byte_seconds, 6),
        }

    def __repr__(self) -> str:
        fee = str(self.fee.amount) if self.fee.exact else f"inexact ({self.fee.reason})"
        return (
            f"Receipt({self.outcome}, provider={self.provider!r}, chat_id={self.chat_id!r}, fee={fee!r}, "
            f"verdict={str(self.verdict)!r})"
        )

    def __getstate__(self) -> dict[str, Any]:
        names = (name for name in self.__dataclass_fields__ if name != "_resolved")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._resolved = threading.Event()
        self._resolved.set()  # nobody settles a copy: one that was pending stays so
