"""Checks a receipt again, from what it holds alone; what a signature proves depends on who says whose key it is.

A receipt names the signer itself, so by itself it can only be consistent. The anchor comes from elsewhere: the chain,
a signer that the user names, or a file of pins. Nothing that can be checked is believed, and what nobody vouches for is
listed by name.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from zg_core.crypto import same_address
from zg_core.exchange import Exchange
from zg_core.receipts import contradictions, plain
from zg_core.receipts.anchors import Anchor
from zg_core.receipts.model import Receipt
from zg_core.receipts.upgrade import upgraded
from zg_core.receipts.vouching import shortened, unvouched
from zg_core.types import ServiceRecord
from zg_core.verify.policy import DEFAULT_MINIMUM, renames_in, suffices
from zg_core.verify.schemes.evidence import Kept
from zg_core.verify.schemes.registry import scheme_named
from zg_core.verify.verdict import Binding, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.verify.schemes.evidence import Scheme

__all__ = ["Anchor", "Check", "check", "rebuilt"]

Result = Literal["passed", "failed", "unproven"]
_HASHES_ONLY = "hashes only: the bytes were not kept, so their hashes are taken on trust"
# What a rewritten request comes to, which only its bytes can show.
_OF_THE_REQUEST = ("status", "reason", "binding", "asked_model", "signed_model", "signed_adapter")
_ADDRESS = 42  # characters; what is longer, a person may have mistaken for one: it is not repeated
_ADDRESSES = ("expected_signer", "recovered_signer")
_NO_EVIDENCE = ("record_age",)  # how old the record was that the client had, by its own clock


@dataclass(frozen=True, slots=True)
class Check:
    """What the check of one receipt found.

    Attributes:
        receipt_id: Id of the receipt.
        result: ``"passed"``; ``"failed"`` (it contradicts itself, or the anchor); ``"unproven"`` (less than the minimum
            is shown).
        reason: One sentence.
        notes: What else to know: ``"hashes only"`` where no bytes were kept.
        verdict: The verdict made again, None if there is no signature to look at.
        anchor: Where the signer comes from, "" without an anchor.
        unvouched: Names of the fields that nobody vouches for: the word of whoever made the receipt. Of one that did
            not pass, all of them.
    """

    receipt_id: str
    result: Result
    reason: str
    notes: tuple[str, ...] = ()
    verdict: Verdict | None = None
    anchor: str = ""
    unvouched: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "receipt_id": self.receipt_id,
            "result": self.result,
            "reason": self.reason,
            "notes": list(self.notes),
            "anchor": self.anchor or None,
            "verdict": None if self.verdict is None else self.verdict.to_dict(),
            "unvouched": list(self.unvouched),
        }


class _Recorded(Exchange):
    """An exchange of which only the hashes may be left."""

    __slots__ = ("_recorded_ids", "_response_sha256")

    def __init__(self, receipt: Receipt) -> None:
        super().__init__(receipt.request_body or b"")
        self._request_sha256 = receipt.request_sha256
        self._response_sha256 = receipt.response_sha256
        self._recorded_ids = receipt.signature_ids
        self.complete = receipt.complete
        self.replayed = receipt.replayed
        self.size = receipt.response_bytes
        images = receipt.evidence.facts.get("images")
        self.images = tuple(map(str, images)) if isinstance(images, list) else ()
        self.headers = {"zg-res-key": receipt.chat_id} if receipt.chat_id else {}

    @property
    def response_sha256(self) -> str:
        return self._response_sha256

    @property
    def chat_ids(self) -> tuple[str, ...]:
        safe = Exchange(b"")  # ids go into URLs, and this receipt may be a stranger's
        kept = []
        for each in self._recorded_ids[:2]:
            safe.headers = {"zg-res-key": each}
            if safe.chat_id:
                kept.append(each)
        return tuple(kept)


def rebuilt(receipt: Receipt) -> Exchange:
    """The exchange that `receipt` is about, for a scheme (`zg_core.verify.schemes`)."""
    return _Recorded(receipt)


def check(
    receipt: Receipt | Mapping[str, Any], anchor: Anchor | None = None, *, minimum: Status | str | None = None
) -> Check:
    """Check `receipt` again, offline.

    Without an anchor the best result is ``"unproven"``: whoever made the receipt may have made the key, too.

    Args:
        receipt: A receipt; or the plain data of one as it was given, of which every field is compared.
        anchor: Who says whose key must have signed.
        minimum: The least verdict that passes; ``"verified"`` by default.

    Raises:
        ConfigError: plain data that is no receipt (code ``bad_receipt``), or a `minimum` that proves nothing.
    """
    document = receipt.to_dict() if isinstance(receipt, Receipt) else upgraded(receipt)
    read = receipt if isinstance(receipt, Receipt) else Receipt.from_dict(receipt)
    suffices(read.verdict, minimum)  # an unknown word is said at once
    return _Checking(document, read, anchor, minimum or DEFAULT_MINIMUM).result()


class _Checking:
    """One receipt being checked."""

    def __init__(
        self, document: Mapping[str, Any], receipt: Receipt, anchor: Anchor | None, minimum: Status | str
    ) -> None:
        self._document = document
        self._receipt = receipt
        self._anchor = anchor
        self._minimum = minimum
        self._accepted = renames_in(receipt.policy)
        self._kept = receipt.request_body is not None and receipt.response_body is not None

    def result(self) -> Check:
        receipt, claimed = self._receipt, self._receipt.verdict
        for found in (contradictions.in_document(self._document, receipt), contradictions.in_receipt(receipt)):
            for contradiction in found:
                return self._says("failed", contradiction)
        evidence = receipt.evidence
        scheme = scheme_named(evidence.scheme)
        if scheme is None and evidence.scheme:
            return self._says("failed", f"no scheme is called {evidence.scheme[:40]!r}")
        if claimed.status is Status.FAILED:
            return self._says("failed", f"the receipt says so itself: {claimed.explain()}", claimed)
        if scheme is None or receipt.service is None or not evidence.signed_text:
            return self._says("unproven", f"the receipt holds no signature ({claimed})")
        if scheme.on_chain and not isinstance(_record_in(receipt), ServiceRecord):
            return self._says("failed", f"{evidence.scheme} measures against a record of 0G's chain, and there is none")
        own = scheme.remade(self._with(self._record(scheme)))
        if own.status is Status.FAILED:
            return self._says("failed", own.explain(), own)
        if not scheme.proves:
            return self._says("unproven", f"nobody signed: {own.explain()}", own)
        if not receipt.complete:
            return self._says("failed", "the signature covers the whole response, of which the receipt says less", own)
        if (name := self._differs(own, scheme)) is not None:
            return self._says("failed", f"the verdict's {name} is not what its evidence gives ({own})", own)
        if (name := self._model(own)) is not None:
            return self._says("failed", f"the model is {name!r} in the signed request", own)
        if self._anchor is None:
            return self._says("unproven", "consistent, signer not anchored: give --rpc, --signer or --pins", own)
        return self._anchored(self._anchor, scheme, own)

    def _with(self, record: Any) -> Kept:
        receipt = self._receipt
        return Kept(
            exchange=rebuilt(receipt),
            evidence=receipt.evidence,
            record=record,
            claimed=receipt.verdict,
            accept_models=self._accepted or {},
            response=receipt.response_body,
            provider=receipt.provider,
            model=receipt.model,
        )

    def _record(self, scheme: Scheme) -> Any:
        """The record that the verdict rests on: it may have been read again after the call (verdict table)."""
        claimed, own = self._receipt.verdict, _record_in(self._receipt)
        for each in (own, *(self._anchor.services if self._anchor else ())):
            if not isinstance(each, ServiceRecord):
                break
            if same_address(claimed.expected_signer, each.signer) and claimed.kind is each.kind:
                return each
        return scheme.assumed(own, self._with(own))

    def _differs(self, own: Verdict, scheme: Scheme) -> str | None:
        """The first field of the verdict that its evidence contradicts."""
        claimed, left_out = self._receipt.verdict, self._left_out(scheme)
        if claimed.status is Status.UNAVAILABLE:  # the client could not read the chain then: it claims less
            left_out |= {"status", "reason"}
        for each in fields(Verdict):
            said, found = getattr(claimed, each.name), getattr(own, each.name)
            same = said == found or (each.name in _ADDRESSES and contradictions.same_id(said, found))
            if each.name in plain.IN_EVIDENCE and not found:  # the scheme says nothing of it
                continue
            if not same and each.name not in left_out:
                return each.name
        return None

    def _left_out(self, scheme: Scheme) -> set[str]:
        """Fields of the verdict that what was kept does not decide."""
        claimed = self._receipt.verdict
        rewritten = claimed.binding in (Binding.REWRITTEN, Binding.RENAMED)
        left_out = {*_NO_EVIDENCE}
        if rewritten and self._receipt.request_body is None:
            left_out |= {*_OF_THE_REQUEST}
        if scheme.needs_bytes and not self._kept:
            left_out |= {*_OF_THE_REQUEST, "unsigned"}
        return left_out

    def _model(self, own: Verdict) -> str | None:
        """The model in the signed request, where the receipt names another."""
        receipt = self._receipt
        if own.binding is Binding.UNKNOWN or receipt.request_body is None:
            return None
        named = own.signed_adapter or own.signed_model or contradictions.asked_model(receipt.request_body)
        return named if named is not None and named != receipt.model else None

    def _anchored(self, anchor: Anchor, scheme: Scheme, own: Verdict) -> Check:
        receipt = self._receipt
        for name, said in anchor.facts.items():
            if not contradictions.is_as_said(getattr(receipt, name) or said, said):
                return self._says("failed", f"{name} is {getattr(receipt, name)}, {anchor.source} says {said}", own)
        if not anchor.services:
            if any(contradictions.same_id(own.recovered_signer, each) for each in anchor.signers):
                return self._proven(own, anchor, scheme, record_known=False)
            if not anchor.signers:
                return self._says("unproven", f"consistent, signer not anchored: {anchor.source} names no key", own)
            known = ", ".join(each if len(each) <= _ADDRESS else f"{each[:10]}…" for each in anchor.signers)
            reason = f"signed by {own.recovered_signer}, but {anchor.source} names {known} for {receipt.provider}"
            return self._says("failed", reason, own)
        verdicts = [scheme.remade(self._with(record)) for record in anchor.services]
        holding = [verdict for verdict in verdicts if verdict.status is not Status.FAILED]
        differing = [contradictions.unlike(_record_in(receipt) or {}, record) for record in anchor.services]
        if holding and not all(differing):
            return self._proven(holding[0], anchor, scheme, record_known=True)
        if not anchor.complete:
            if holding and holding[0].kind is receipt.kind:
                return self._proven(holding[0], anchor, scheme, record_known=False)
            lost = "the chain names another key or kind now, and its earlier state is not to be had"
            return self._says("unproven", f"consistent, signer not anchored: {lost}", own)
        first = verdicts[0]
        if not holding:
            there = first.expected_signer or "nobody"
            reason = f"{first.explain()}: signed by {own.recovered_signer}, on chain is {there}"
            return self._says("failed", reason, first)
        _, names = min((len(each), each) for each in differing)
        reason = f"the record of the service is not the one on chain: {', '.join(names)}"
        return self._says("failed", reason, holding[0])

    def _proven(self, verdict: Verdict, anchor: Anchor, scheme: Scheme, *, record_known: bool) -> Check:
        reason = f"{verdict.status}, signer anchored by {anchor.source}: {verdict.explain()}"
        signed = frozenset(scheme.vouches(self._with(None), verdict))
        names = unvouched(
            self._document,
            self._receipt,
            verdict,
            anchor,
            signed,
            open_fields=self._left_out(scheme),
            record_known=record_known,
        )
        if not suffices(verdict, self._minimum):
            return self._says("unproven", f"{reason}; the minimum is {self._minimum}", verdict)
        return self._says("passed", reason, verdict, names)

    def _says(
        self, result: Result, reason: str, verdict: Verdict | None = None, names: tuple[str, ...] | None = None
    ) -> Check:
        notes = () if self._kept else (_HASHES_ONLY,)
        if names is None:
            names = tuple(contradictions.flat(self._document))
        else:
            notes = (*notes, f"nobody vouches for: {', '.join(shortened(names, self._document))}")
        source = self._anchor.source if self._anchor else ""
        return Check(self._receipt.id, result, reason, notes, verdict, source, names)


def _record_in(receipt: Receipt) -> Any:
    """The record of the service as a scheme takes it: of 0G's chain, whoever read it, or plain data of a backend."""
    service = receipt.service
    if service is None or isinstance(service, ServiceRecord):
        return service
    return plain.record_of(service.record) if plain.is_record(service.record) else service.record
