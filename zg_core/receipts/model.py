"""The receipt of one call: who answered, what it cost, and what was proven about the bytes."""

from __future__ import annotations

import os
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from zg_core import display
from zg_core.receipts import plain
from zg_core.types import Kind
from zg_core.verify.verdict import Reason, Status, Verdict

if TYPE_CHECKING:
    from zg_core.money import Fee
    from zg_core.types import Service, Usage

__all__ = ["OUTCOMES", "SCHEMA", "Receipt", "row"]

Outcome = Literal["answered", "truncated", "abandoned", "failed", "unknown", "refused"]
OUTCOMES: tuple[Outcome, ...] = ("answered", "truncated", "abandoned", "failed", "unknown", "refused")
SCHEMA = "zerog-receipt/1"
"""Name and version of the form of `Receipt.to_dict`; ``schema-v1.json`` beside this module describes it."""

_EVENTS = threading.RLock()  # again for a finalizer that settles meanwhile
_NOBODY_SETTLES = threading.Event()  # a copy that was pending stays so
_NOBODY_SETTLES.set()


def _forked() -> None:
    """This process is a copy: a thread that held the lock was not copied."""
    global _EVENTS  # noqa: PLW0603
    _EVENTS = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@dataclass(slots=True, eq=False)
class Receipt:
    """The record of one paid call. Everything but `verdict` and `model` is fixed once the call has ended.

    Attributes:
        id: Random id of this receipt.
        backend: ``"direct"``.
        network: Name of the network; `chain_id` is its id.
        provider: Provider address.
        model: The model in the signed request; the one asked for, unless the verdict shows another
            (`Verdict.signed_model`).
        kind: Kind of the service.
        outcome: ``"answered"``; ``"truncated"`` or ``"abandoned"`` (cut off by them or by us); ``"failed"`` (error
            inside the reply); ``"unknown"`` (sent, not answered: it may have been billed); ``"refused"`` (whoever
            answered says that it served nothing: if it is billed all the same, that can be disputed).
        chat_id: Id under which the provider stores its signature, "" if it named none.
        request_sha256: Hash of the bytes sent.
        response_sha256: Hash of the bytes received.
        usage: Token counts, None if the provider reported none.
        fee: What it cost.
        input_price: Neuron per input token at the time of the call.
        output_price: Neuron per output token.
        certificate_sha256: Leaf certificate of the connection that carried the reply, "" for plain http.
        started_at: When the request was sent (UTC).
        seconds: From sending to the end of the reply.
        attempts: Which attempt of its call this request was, from 1.
        first_byte_seconds: From sending to the first byte of the body.
        verdict: The latest verdict; `resolve` waits for one that is pending.
        payer: Address of the account that pays.
        ledger: LedgerManager address; `inference` is that of InferenceServing.
        service: The service record as it was read from chain before the call.
        service_block: The newest block just before it was read, None if that is not known.
        policy: What was demanded of the reply, as plain data.
        request_bytes: Size of the request; `response_bytes` is that of the response.
        request_body: The bytes sent, if the client keeps bytes (``keep_bytes=True``); `response_body` those received.
        signature_ids: Ids under which the provider may keep its signature, the likeliest first.
        complete: Whether the response was read to its end.
        replayed: Whether an earlier reply was sent again.
        attestation: Summary of the provider's attestation, None if none was asked for.
        flags: Words on what looks wrong beside the verdict, such as ``usage_implausible``, ``not_stored``.

    Example:
        >>> from zg_core.money import Amount, Fee
        >>> receipt = Receipt("direct", "local", 31337, "0x" + "ab" * 20, "m", Kind.TEE_ML, "11" * 32, 1, 2,
        ...                   Fee(Amount(7), exact=True))
        >>> Receipt.from_dict(receipt.to_dict()).fee.amount.units
        7
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
    attempts: int = 1
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0
    first_byte_seconds: float | None = None
    verdict: Verdict = field(default_factory=lambda: Verdict(Status.NOT_CHECKED, Reason.ABANDONED))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    payer: str = ""
    ledger: str = ""
    inference: str = ""
    service: Service | None = None
    service_block: int | None = None
    policy: dict[str, Any] | None = None
    request_bytes: int = 0
    request_body: bytes | None = field(default=None, repr=False)
    response_body: bytes | None = field(default=None, repr=False)
    signature_ids: tuple[str, ...] = ()
    complete: bool = False
    replayed: bool = False
    attestation: dict[str, Any] | None = None
    flags: tuple[str, ...] = ()
    _resolved: threading.Event | None = field(default=None, repr=False)  # made for who waits: it is half a receipt
    _said: str = field(default="", repr=False, compare=False)  # hash of the message that was made of the reply

    def resolve(self, timeout: float | None = None) -> Verdict:
        """Wait until the verdict is no longer pending, at most `timeout` seconds, and return the latest one.

        In an event loop use `aresolve`: the check may be a task of the very loop that this blocks.
        """
        if self.verdict.status is Status.PENDING:
            with _EVENTS:
                event = self._resolved = self._resolved or threading.Event()
            if self.verdict.status is Status.PENDING:
                event.wait(timeout)
        return self.verdict

    async def aresolve(self, timeout: float | None = None) -> Verdict:  # noqa: ASYNC109 - twin of resolve()
        """Async twin of `resolve`."""
        import asyncio

        return await asyncio.to_thread(self.resolve, timeout)

    def settle(self, verdict: Verdict) -> None:
        """Replace the verdict and wake those who wait for it."""
        self.verdict = verdict
        if verdict.signed_model:
            self.model = verdict.signed_adapter or verdict.signed_model
        if verdict.status is not Status.PENDING:
            with _EVENTS:
                event = self._resolved
            if event is not None:
                event.set()

    def metadata(self) -> dict[str, Any]:
        """What rides on a message as ``response_metadata["zerog"]``; amounts are decimal strings, no floats."""
        return {
            "status": str(self.verdict.status),
            "chat_id": self.chat_id,
            "receipt_id": self.id,
            "provider": self.provider,
            "network": self.network,
            "kind": str(self.kind),
            "prompt": str(self.verdict.prompt if self.verdict.kind else self.kind.prompt),
            "verdict": self.verdict.to_dict(),
            "payment": {
                **self.fee.to_dict(),
                "input_price": str(self.input_price),
                "output_price": str(self.output_price),
            },
        }

    def to_dict(self) -> dict[str, Any]:
        """The whole receipt as plain data, in the form that ``schema-v1.json`` describes (docs/receipts.md)."""
        first = self.first_byte_seconds
        return {
            "schema": SCHEMA,
            **self.metadata(),
            "backend": self.backend,
            "chain_id": self.chain_id,
            "ledger": self.ledger,
            "inference": self.inference,
            "payer": self.payer,
            "model": self.model,
            "service": None if self.service is None else plain.service_to_dict(self.service),
            "service_block": self.service_block,
            "policy": self.policy,
            "outcome": self.outcome,
            "complete": self.complete,
            "replayed": self.replayed,
            "request_sha256": self.request_sha256,
            "request_bytes": self.request_bytes,
            "request_body": plain.text_of_bytes(self.request_body),
            "response_sha256": self.response_sha256,
            "response_bytes": self.response_bytes,
            "response_body": plain.text_of_bytes(self.response_body),
            "signature_ids": list(self.signature_ids),
            "usage": plain.usage_to_dict(self.usage),
            "certificate_sha256": self.certificate_sha256,
            "attestation": self.attestation,
            "flags": list(self.flags),
            "attempts": self.attempts,
            "started_at": self.started_at.isoformat(),
            "seconds": round(self.seconds, 6),
            "first_byte_seconds": None if first is None else round(first, 6),
        }

    @classmethod
    def from_dict(cls, value: Any) -> Receipt:
        """The receipt that `to_dict` made this of; it may come from a stranger, so every field is checked.

        Raises:
            ConfigError: not a receipt, or one of a later schema (code ``bad_receipt``).
        """
        read = plain.Fields(value, "the receipt")
        if (schema := read.text("schema")) != SCHEMA:
            raise plain.bad_receipt(f"schema {schema[:40]!r}, this package reads {SCHEMA!r}")
        payment = plain.Fields(read.raw("payment"), "payment")
        outcome = read.text("outcome")
        if outcome not in OUTCOMES:
            raise plain.bad_receipt(f"outcome {outcome[:40]!r}")
        receipt = cls(
            backend=read.text("backend"),
            network=read.text("network"),
            chain_id=read.integer("chain_id"),
            provider=read.text("provider"),
            model=read.text("model"),
            kind=read.word("kind", Kind),
            request_sha256=read.text("request_sha256"),
            input_price=payment.units("input_price"),
            output_price=payment.units("output_price"),
            fee=plain.fee_of_dict(read.raw("payment")),
            outcome=outcome,
            chat_id=read.text("chat_id"),
            response_sha256=read.text("response_sha256"),
            response_bytes=read.integer("response_bytes"),
            usage=read.optional("usage", plain.usage_of),
            certificate_sha256=read.text("certificate_sha256"),
            attempts=read.integer("attempts"),
            started_at=read.time("started_at"),
            seconds=read.number("seconds"),
            first_byte_seconds=read.optional("first_byte_seconds", lambda _: read.number("first_byte_seconds")),
            id=read.text("receipt_id"),
            payer=read.text("payer"),
            ledger=read.text("ledger"),
            inference=read.text("inference"),
            service=read.optional("service", plain.service_of),
            service_block=read.optional("service_block", lambda _: read.integer("service_block")),
            policy=read.optional("policy", _object),
            request_bytes=read.integer("request_bytes"),
            request_body=read.optional("request_body", plain.bytes_of),
            response_body=read.optional("response_body", plain.bytes_of),
            signature_ids=read.texts("signature_ids"),
            complete=read.flag("complete"),
            replayed=read.flag("replayed"),
            attestation=read.optional("attestation", _object),
            flags=read.texts("flags"),
        )
        receipt.verdict = plain.verdict_of(read.raw("verdict"))
        receipt._resolved = _NOBODY_SETTLES
        return receipt

    def to_pandas(self) -> Any:
        """One row of what a table of receipts shows (`row`).

        Raises:
            ImportError: pandas is not installed; the extra ``notebooks`` brings it.
        """
        return display.frame([row(self)])

    def __repr__(self) -> str:
        fee = str(self.fee.amount) if self.fee.exact else self.fee.bounds
        return (
            f"Receipt({self.outcome}, provider={self.provider!r}, chat_id={self.chat_id!r}, fee={fee!r}, "
            f"verdict={str(self.verdict)!r})"
        )

    def _repr_html_(self) -> str:
        return display.facts("Receipt", row(self))

    def __getstate__(self) -> dict[str, Any]:
        names = (name for name in self.__dataclass_fields__ if name != "_resolved")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._resolved = _NOBODY_SETTLES


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise plain.bad_receipt(f"an object was expected, not a {type(value).__name__}")
    return value


def row(receipt: Receipt) -> dict[str, Any]:
    """What a table shows of one receipt. Amounts are neuron: in text, since they outgrow 64 bits."""
    fee, usage = receipt.fee, receipt.usage
    return {
        "id": receipt.id,
        "started_at": receipt.started_at,
        "network": receipt.network,
        "provider": receipt.provider,
        "model": receipt.model,
        "kind": str(receipt.kind),
        "outcome": receipt.outcome,
        "status": str(receipt.verdict.status),
        "reason": str(receipt.verdict.reason),
        "prompt_tokens": None if usage is None else usage.prompt_tokens,
        "completion_tokens": None if usage is None else usage.completion_tokens,
        "fee": str(fee.amount.units),
        "fee_exact": fee.exact,
        "fee_upper": None if fee.upper is None else str(fee.upper),
        "unit": fee.amount.unit,
        "chat_id": receipt.chat_id,
        "seconds": round(receipt.seconds, 6),
        "flags": " ".join(receipt.flags),
    }
