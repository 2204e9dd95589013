"""One call of a comparison: the job before it, the row after it, and the form in which that is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError
from zg_core.receipts.model import Receipt
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.compare.inputs import Choice, Prompt
    from zg_core.money import Amount

__all__ = ["NOT_SENT", "Job", "Row"]

NOT_SENT = ("budget_exceeded", "price_unknown")
"""Errors of calls that were not made, so that they count neither as failed nor as answered."""


@dataclass(frozen=True, slots=True)
class Row:
    """One call.

    Attributes:
        target: Short name of who was asked.
        provider: Its address.
        model: The model asked for.
        kind: Kind of the service.
        prompt: Id of the prompt.
        repeat: 1 for the first time this prompt was sent to this target.
        verdict: What was proven; "" if no answer came.
        reason: Why it is not more.
        first_token_ms: Milliseconds from sending to the first piece of the answer, None if none came.
        total_ms: Milliseconds from sending to the end of the answer, None if none came. The check is not in it.
        tokens_in: Prompt tokens, as billed; None if the provider reported none.
        tokens_out: Tokens of the answer.
        fee: What it cost; None if nothing was sent.
        fee_exact: Whether that is what the provider bills; if not, it may be more.
        error: Machine code of what went wrong, "" if nothing did.
        message: The same in words.
        answer: The text; with an error, what arrived of it.
        receipt_id: Id of the receipt, "" if there is none.
        correct: What the grader said; None without one.
        cached: Whether this is a call of an earlier run, so that it cost nothing now.
        backend: Which network answered: ``direct``, ``router``, ``opengradient``; "" if no answer came.
        readers: Who could have read the prompt (`zg_core.types.Prompt`): ``sealed``, ``declared``, ``vendor`` or
            ``open``; "" if no answer came.
        receipt: The receipt itself.
    """

    target: str
    provider: str
    model: str
    kind: str
    prompt: str
    repeat: int
    verdict: str = ""
    reason: str = ""
    first_token_ms: float | None = None
    total_ms: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    fee: Amount | None = None
    fee_exact: bool = True
    error: str = ""
    message: str = ""
    answer: str = ""
    receipt_id: str = ""
    correct: bool | None = None
    cached: bool = False
    backend: str = ""
    readers: str = ""
    receipt: Receipt | None = field(default=None, repr=False)

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of the answer by the seconds of the whole call."""
        if not self.tokens_out or not self.total_ms:
            return None
        return self.tokens_out / (self.total_ms / 1000)

    @property
    def sent(self) -> bool:
        """Whether the call was made; not so where the budget did not allow it."""
        return self.error not in NOT_SENT

    @property
    def proven(self) -> bool:
        """Whether the enclave's key signed exactly the bytes that arrived, for exactly this request."""
        return self.verdict == Status.VERIFIED

    @property
    def bound(self) -> bool:
        """Whether it signed exactly the bytes that arrived, and that they answer this request is not shown."""
        return self.verdict == Status.RESPONSE_BOUND

    @property
    def signer_known(self) -> bool:
        """Whether an acknowledged enclave signed some exchange under this id, and no more is shown."""
        return self.verdict == Status.SIGNER_ONLY

    def record(self) -> dict[str, Any]:
        """Plain data for tables. `fee` is an int in the smallest unit of `currency` (neuron of 0G)."""
        return {
            "target": self.target,
            "kind": self.kind,
            "prompt": self.prompt,
            "repeat": self.repeat,
            "verdict": self.verdict,
            "reason": self.reason,
            "first_token_ms": _rounded(self.first_token_ms),
            "total_ms": _rounded(self.total_ms),
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "tokens_per_second": _rounded(self.tokens_per_second),
            "fee": None if self.fee is None else self.fee.units,
            "currency": None if self.fee is None else self.fee.currency,
            "fee_exact": self.fee_exact,
            "error": self.error,
            "answer": self.answer,
            "correct": self.correct,
            "cached": self.cached,
            "backend": self.backend,
            "readers": self.readers,
            "receipt_id": self.receipt_id,
            "provider": self.provider,
            "model": self.model,
            "message": self.message,
        }

    @classmethod
    def of(
        cls,
        job: Job,
        *,
        answer: str = "",
        receipt: Receipt | None = None,
        first_token: float | None = None,
        error: str = "",
        message: str = "",
        cached: bool = False,
    ) -> Row:
        """The row of a call that has ended, as its receipt tells; `first_token` in seconds."""
        asked: dict[str, Any] = {
            "target": job.choice.name,
            "provider": job.choice.service.provider,
            "model": job.choice.model,
            "kind": str(job.choice.service.kind if receipt is None else receipt.kind),
            "prompt": job.prompt.id,
            "repeat": job.repeat,
        }
        common: dict[str, Any] = {"error": error, "message": message, "answer": answer, "cached": cached}
        if receipt is None:
            return cls(**asked, **common)
        usage, came = receipt.usage, receipt.complete or bool(answer)
        return cls(
            **asked,
            **common,
            verdict=str(receipt.verdict.status),
            reason=str(receipt.verdict.reason),
            first_token_ms=None if first_token is None else round(first_token, 6) * 1000,
            total_ms=round(receipt.seconds, 6) * 1000 if came else None,
            tokens_in=None if usage is None else usage.prompt_tokens,
            tokens_out=None if usage is None else usage.completion_tokens,
            fee=receipt.fee.amount,
            fee_exact=receipt.fee.exact,
            receipt_id=receipt.id,
            backend=receipt.backend,
            readers=str(receipt.verdict.prompt),
            receipt=receipt,
        )

    def kept(self) -> dict[str, Any]:
        """What the cache holds of it; only calls with a receipt are kept."""
        assert self.receipt is not None  # noqa: S101 - the caller has looked
        return {
            "answer": self.answer,
            "error": self.error,
            "message": self.message,
            "first_token": None if self.first_token_ms is None else self.first_token_ms / 1000,
            "receipt": self.receipt.to_dict(),
        }

    @classmethod
    def from_kept(cls, job: Job, value: Mapping[str, Any]) -> Row | None:
        """The row of a call that was kept; None if that is damaged."""
        try:
            receipt = Receipt.from_dict(value["receipt"])
            texts = {name: value[name] for name in ("answer", "error", "message")}
            first = value["first_token"]
        except (ConfigError, KeyError, TypeError):
            return None
        if not all(isinstance(text, str) for text in texts.values()) or not isinstance(first, float | None):
            return None
        return cls.of(job, receipt=receipt, first_token=first, cached=True, **texts)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


@dataclass(frozen=True, slots=True)
class Job:
    """One call that is to be made.

    Attributes:
        choice: Who is asked.
        prompt: What.
        repeat: The how-manieth time, from 1.
        payload: What is sent.
        key: Its name in the cache.
        most: The most it can cost in neuron, None if the chain does not tell.
        known: The row of an earlier run.
    """

    choice: Choice
    prompt: Prompt
    repeat: int
    payload: Mapping[str, Any]
    key: str
    most: int | None
    known: Row | None = None
