"""The receipt of one call: who answered, what it cost, and what was proven about the bytes."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from zg_core import display
from zg_core.receipts import plain
from zg_core.receipts.runs import current_run
from zg_core.receipts.upgrade import upgraded
from zg_core.sse import document_in
from zg_core.types import Kind
from zg_core.verify.schemes.evidence import Evidence
from zg_core.verify.verdict import Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.money import Fee
    from zg_core.types import Prompt, Usage

__all__ = ["OUTCOMES", "SCHEMA", "Receipt", "row"]

Outcome = Literal["answered", "truncated", "abandoned", "failed", "unknown", "refused"]
OUTCOMES: tuple[Outcome, ...] = ("answered", "truncated", "abandoned", "failed", "unknown", "refused")
SCHEMA = "zerog-receipt/2"
"""Name and version of the form of `Receipt.to_dict`; ``schema-v2.json`` beside this module describes it."""
_SCHEMES = {"direct": "signed_hashes"}
"""How a backend proves its replies, where it does not say."""
_PAYMENTS = {"direct": "sub_account"}
"""How a backend is paid, where it does not say."""
_EVM = "eip155:"

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
        run: Name of the run of an agent that it is part of (`zg_core.receipts.named_run`), "" where nobody named one.
        backend: ``"direct"``, ….
        realm: Whose money and identities it is about, for example ``"eip155:16661"``.
        network: Name of the network; `chain_id` is its id, 0 where it is no chain's.
        task: What was asked for: ``"chat"``, ``"embeddings"``, ….
        provider: Id of the provider: an address, or what the backend calls it.
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
        input_price: Smallest units per input token at the time of the call.
        output_price: The same per output token.
        payment: How it was paid: ``"sub_account"``, ….
        grant: What the backend says of that: the id of a permit, a session, ….
        certificate_sha256: Leaf certificate of the connection that carried the reply, "" for plain http.
        started_at: When the request was sent (UTC).
        seconds: From sending to the end of the reply.
        attempts: Which attempt of its call this request was, from 1.
        first_byte_seconds: From sending to the first byte of the body.
        verdict: The latest verdict; `resolve` waits for one that is pending.
        payer: Address of the account that pays.
        ledger: LedgerManager address; `inference` is that of InferenceServing.
        service: The service as it was read before the call: of 0G's own backend its record on chain
            (`zg_core.types.ServiceRecord`), of others what they say of it; None if there is none.
        service_block: The newest block just before it was read, None if that is not known.
        policy: What was demanded of the reply, as plain data.
        request_bytes: Size of the request; `response_bytes` is that of the response.
        request_body: The bytes sent, if the client keeps bytes (``keep_bytes=True``); `response_body` those received.
        signature_ids: Ids under which the provider may keep its signature, the likeliest first.
        evidence: The proof as it was served, and the scheme that reads it; what `verdict` names of it is filled in.
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
    verdict: Verdict = Verdict(Status.NOT_CHECKED, Reason.ABANDONED)  # noqa: RUF009 - it never changes
    id: str = field(default_factory=lambda: os.urandom(16).hex())
    payer: str = ""
    ledger: str = ""
    inference: str = ""
    service: Any = None
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
    realm: str = ""
    task: str = "chat"
    run: str = field(default_factory=current_run)
    evidence: Evidence = field(default_factory=Evidence)
    payment: str = ""
    grant: Mapping[str, Any] = field(default_factory=dict)
    _resolved: threading.Event | None = field(default=None, repr=False)  # made for who waits: it is half a receipt
    _said: str = field(default="", repr=False, compare=False)  # hash of the message that was made of the reply

    def __post_init__(self) -> None:
        """Fill in what follows."""
        if not self.realm:
            self.realm = f"{_EVM}{self.chain_id}" if self.chain_id else ""
        elif not self.chain_id:
            self.chain_id = chain_of(self.realm)
        self.payment = self.payment or _PAYMENTS.get(self.backend, "")

    @property
    def body(self) -> Any:
        """The whole reply as its server sent it, parsed: an object, of a stream the list of its events.

        None where the client did not keep bytes (``keep_bytes=True``).
        """
        return None if self.response_body is None else document_in(self.response_body)

    @property
    def prompt(self) -> Prompt:
        """Who could have seen the prompt."""
        return self.verdict.prompt if self.verdict.kind else self.kind.prompt

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

    @property
    def payment_hash(self) -> str | None:
        """Hash of the transaction that paid this call, None while it is not known (`payment_pending` says why)."""
        found = self.grant.get("settlement")
        return found.get("transaction") if isinstance(found, dict) else None

    @property
    def payment_pending(self) -> str:
        """Why `payment_hash` is None; "" where it is not."""
        if self.payment_hash is not None:
            return ""
        if not self.grant.get("nonce"):
            return "this call was not paid by a permit of its own"
        found = self.grant.get("settlement")
        said = found.get("status") if isinstance(found, dict) else None
        return f"the permit is {said}" if said else "the chain was not asked yet: receipt.settlement()"

    def settlement(self, options: Any = None, **settings: Any) -> Any:
        """Ask the chain what became of the permit that this call was paid by, and note it in `grant`.

        What comes back has `status`, transaction and amount of the payment, and in `publication` where the answer's
        hashes were published: the batch with the proof that they are in it, or the transaction of a single one.

        Args:
            options: The backend's (``OpenGradient(rpc_url=…)``), where it is not the default's.
            settings: What `OpenGradientAccount` takes.

        Raises:
            ConfigError: this backend is not paid by permits (code ``no_settlement``).
            ChainError: the chain cannot be read.
        """
        from zg_core.backends import registry  # circle: backends make receipts

        found = registry.settlement(self, options, **settings)
        self.grant = {**self.grant, "settlement": found.to_dict()}
        return found

    def settle(self, verdict: Verdict) -> None:
        """Replace the verdict and wake those who wait for it."""
        self.verdict = verdict
        if verdict.signed_model:
            self.model = verdict.signed_adapter or verdict.signed_model
        if verdict.signed_text:
            before = self.evidence
            self.evidence = Evidence(
                before.scheme or _SCHEMES.get(self.backend, ""),
                before.ids,
                verdict.signed_text,
                verdict.signature,
                verdict.recovered_signer,
                before.time,
                before.facts,
            )
        if verdict.status is not Status.PENDING:
            with _EVENTS:
                event = self._resolved
            if event is not None:
                event.set()

    def restore(self, verdict: Verdict) -> None:
        """Take the verdict that a store has of it: nobody settles it any more."""
        self.verdict = verdict
        if verdict.signed_model:
            self.model = verdict.signed_adapter or verdict.signed_model
        self._resolved = _NOBODY_SETTLES

    def metadata(self) -> dict[str, Any]:
        """What rides on a message as ``response_metadata["zerog"]``; amounts are decimal strings, no floats."""
        return {
            "status": str(self.verdict.status),
            "chat_id": self.chat_id,
            "receipt_id": self.id,
            "backend": self.backend,
            "task": self.task,
            "provider": self.provider,
            "network": self.network,
            "kind": str(self.kind),
            "prompt": str(self.prompt),
            "verdict": self.verdict.to_dict(),
            "payment": {
                **self.fee.to_dict(),
                "input_price": str(self.input_price),
                "output_price": str(self.output_price),
            },
        }

    def to_dict(self) -> dict[str, Any]:
        """The whole receipt as plain data, in the form that ``schema-v2.json`` describes (docs/receipts.md)."""
        verdict = {name: said for name, said in self.verdict.to_dict().items() if name not in plain.IN_EVIDENCE}
        first = self.first_byte_seconds
        return {
            "schema": SCHEMA,
            "receipt_id": self.id,
            "run": self.run,
            "started_at": self.started_at.isoformat(),
            "seconds": round(self.seconds, 6),
            "first_byte_seconds": None if first is None else round(first, 6),
            "attempts": self.attempts,
            "backend": self.backend,
            "realm": self.realm,
            "network": self.network,
            "contracts": {"ledger": self.ledger, "inference": self.inference},
            "task": self.task,
            "provider": self.provider,
            "model": self.model,
            "kind": str(self.kind),
            "prompt": str(self.prompt),
            "chat_id": self.chat_id,
            "outcome": self.outcome,
            "status": verdict["status"],
            "request": {
                "sha256": self.request_sha256,
                "size": self.request_bytes,
                "body": plain.text_of_bytes(self.request_body),
            },
            "response": {
                "sha256": self.response_sha256,
                "size": self.response_bytes,
                "body": plain.text_of_bytes(self.response_body),
                "complete": self.complete,
                "replayed": self.replayed,
                "certificate_sha256": self.certificate_sha256,
            },
            "usage": plain.usage_to_dict(self.usage),
            "payment": {
                "scheme": self.payment,
                "payer": self.payer,
                **plain.fee_to_dict(self.fee),
                "prices": {"input": str(self.input_price), "output": str(self.output_price)},
                "grant": dict(self.grant),
            },
            "evidence": {**self.evidence.to_dict(), "ids": list(self.signature_ids or self.evidence.ids)},
            "service": plain.service_to_dict(self.service, self.service_block),
            "attestation": self.attestation,
            "policy": self.policy,
            "verdict": verdict,
            "flags": list(self.flags),
        }

    @classmethod
    def from_dict(cls, value: Any) -> Receipt:
        """The receipt that `to_dict` made this of; it may come from a stranger, so every field is checked.

        Receipts of the first version (``zerog-receipt/1``) are read, too.

        Raises:
            ConfigError: not a receipt, or one of a later schema (code ``bad_receipt``).
        """
        read = plain.Fields(upgraded(value), "the receipt")
        if (schema := read.text("schema")) != SCHEMA:
            raise plain.bad_receipt(f"schema {schema[:40]!r}, this package reads {SCHEMA!r}")
        outcome = read.text("outcome")
        if outcome not in OUTCOMES:
            raise plain.bad_receipt(f"outcome {outcome[:40]!r}")
        request, response = read.object("request"), read.object("response")
        payment, contracts = read.object("payment"), read.object("contracts")
        prices, evidence = payment.object("prices"), plain.evidence_of(read.raw("evidence"))
        service = read.raw("service")
        receipt = cls(
            backend=read.text("backend"),
            network=read.text("network"),
            chain_id=chain_of(realm := read.text("realm")),
            realm=realm,
            task=read.text("task"),
            run=read.text("run"),
            provider=read.text("provider"),
            model=read.text("model"),
            kind=read.word("kind", Kind),
            request_sha256=request.text("sha256"),
            input_price=prices.units("input"),
            output_price=prices.units("output"),
            fee=plain.fee_of_dict(payment),
            payment=payment.text("scheme"),
            grant=plain.object_of(payment.raw("grant")),
            outcome=outcome,
            chat_id=read.text("chat_id"),
            response_sha256=response.text("sha256"),
            response_bytes=response.integer("size"),
            usage=read.optional("usage", plain.usage_of),
            certificate_sha256=response.text("certificate_sha256"),
            attempts=read.integer("attempts"),
            started_at=read.time("started_at"),
            seconds=read.number("seconds"),
            first_byte_seconds=read.optional("first_byte_seconds", lambda _: read.number("first_byte_seconds")),
            id=read.text("receipt_id"),
            payer=payment.text("payer"),
            ledger=contracts.text("ledger"),
            inference=contracts.text("inference"),
            policy=read.optional("policy", plain.object_of),
            request_bytes=request.integer("size"),
            request_body=request.optional("body", plain.bytes_of),
            response_body=response.optional("body", plain.bytes_of),
            evidence=evidence,
            signature_ids=evidence.ids,
            complete=response.flag("complete"),
            replayed=response.flag("replayed"),
            attestation=read.optional("attestation", plain.object_of),
            flags=read.texts("flags"),
        )
        if service is not None:
            receipt.service, receipt.service_block = plain.service_of(service, receipt.backend)
        receipt.verdict = plain.verdict_of(read.raw("verdict"), evidence)
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


@lru_cache(maxsize=256)
def chain_of(realm: str) -> int:
    """The id of the chain that a realm names; 0 where it names none.

    Example:
        >>> chain_of("eip155:16661"), chain_of("router")
        (16661, 0)
    """
    digits = realm.removeprefix(_EVM)
    known = realm.startswith(_EVM) and digits.isascii() and digits.isdigit() and len(digits) < 19
    return int(digits) if known and str(int(digits)) == digits else 0


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
