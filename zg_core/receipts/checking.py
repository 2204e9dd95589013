"""Checks a receipt again, from what it holds alone; what a signature proves depends on who says whose key it is.

A receipt names the signer itself, so by itself it can only be consistent. The anchor comes from elsewhere: the chain,
a signer that the user names, or a file of pins.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from zg_core.crypto import same_address, sha256_hex, typed_address
from zg_core.errors import ConfigError
from zg_core.exchange import Exchange
from zg_core.jsontext import parse_json
from zg_core.pricing import fee_of
from zg_core.sse import SSEDecoder
from zg_core.types import Kind, Usage
from zg_core.verify.policy import renames_in
from zg_core.verify.schemes.signed_hashes import SignatureDocument, examine
from zg_core.verify.verdict import Binding, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from zg_core.receipts.model import Receipt
    from zg_core.types import Service
    from zg_core.verify.verdict import Verdict

    _Says = Callable[["Result", str, Verdict], "Check"]

__all__ = ["Anchor", "Check", "check", "read_pins", "rebuilt"]

Result = Literal["passed", "failed", "unproven"]


@dataclass(frozen=True, slots=True)
class Anchor:
    """Who says whose key must have signed.

    Attributes:
        source: Where this comes from, in words.
        signers: Addresses that may have signed.
        services: The provider's records on chain, the likeliest first; then `signers` are theirs.
        complete: Whether these are all that could have been in force; if not, a mismatch accuses nobody.
    """

    source: str
    signers: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """What the check of one receipt found.

    Attributes:
        receipt_id: Id of the receipt.
        result: ``"passed"``; ``"failed"`` (it contradicts itself, or the anchor); ``"unproven"``.
        reason: One sentence.
        notes: What else to know: ``"hashes only"`` where no bytes were kept.
        verdict: The verdict made again, None if there is no signature to look at.
        anchor: Where the signer comes from, "" without an anchor.
    """

    receipt_id: str
    result: Result
    reason: str
    notes: tuple[str, ...] = ()
    verdict: Verdict | None = None
    anchor: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "receipt_id": self.receipt_id,
            "result": self.result,
            "reason": self.reason,
            "notes": list(self.notes),
            "anchor": self.anchor or None,
            "verdict": None if self.verdict is None else self.verdict.to_dict(),
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
    """The exchange that `receipt` is about, for `zg_core.verify.schemes.signed_hashes`."""
    return _Recorded(receipt)


def check(receipt: Receipt, anchor: Anchor | None = None) -> Check:
    """Check `receipt` again, offline.

    Without an anchor the best result is ``"unproven"``: whoever made the receipt may have made the key, too.
    """
    bytes_kept = receipt.request_body is not None and receipt.response_body is not None
    notes = () if bytes_kept else ("hashes only: the bytes were not kept, so their hashes are taken on trust",)
    source = anchor.source if anchor else ""

    def says(result: Result, reason: str, verdict: Verdict | None = None) -> Check:
        return Check(receipt.id, result, reason, notes, verdict, source)

    for contradiction in _contradictions(receipt):
        return says("failed", contradiction)
    claimed = receipt.verdict
    if receipt.service is None or not claimed.signed_text or not claimed.signature:
        return says("unproven", f"the receipt holds no signature ({claimed})")
    if not receipt.complete:
        return says("unproven", "the reply was not read to its end")
    document = _document(claimed)
    exchange = rebuilt(receipt)
    record = receipt.service
    if claimed.expected_signer and not same_address(claimed.expected_signer, record.signer):
        record = _with_signer(record, claimed.expected_signer)  # it was read again after the call (verdict table)
    accepted = renames_in(receipt.policy)
    own = examine(exchange, record, document, accept_models=accepted)
    if own.status is Status.FAILED:
        return says("failed", own.explain(), own)
    if (
        claimed.satisfies("verified")
        and not own.satisfies("verified")
        and (bytes_kept or claimed.binding not in (Binding.REWRITTEN, Binding.RENAMED))
    ):  # a rewritten request can be computed from the bytes only
        return says("failed", f"the receipt claims {claimed.status}, its evidence gives {own.status}", own)
    if anchor is None:
        return says("unproven", "consistent, signer not anchored: give --rpc, --signer or --pins", own)
    return _anchored(receipt, anchor, own, document, says)


def _anchored(receipt: Receipt, anchor: Anchor, own: Verdict, document: SignatureDocument, says: _Says) -> Check:
    if not anchor.services:
        if any(same_address(own.recovered_signer, each) for each in anchor.signers):
            return _passed(says, own, anchor)
        if not anchor.signers:
            return says("unproven", f"consistent, signer not anchored: {anchor.source} names no key", own)
        known = ", ".join(anchor.signers)
        reason = f"signed by {own.recovered_signer}, but {anchor.source} names {known} for {receipt.provider}"
        return says("failed", reason, own)
    accepted = renames_in(receipt.policy)
    verdicts = [examine(rebuilt(receipt), service, document, accept_models=accepted) for service in anchor.services]
    for verdict, service in zip(verdicts, anchor.services, strict=True):
        if verdict.status is not Status.FAILED and service.kind is receipt.kind:
            return _passed(says, verdict, anchor)
    if not anchor.complete:
        reason = (
            "consistent, signer not anchored: the chain names another key now, and its earlier state is not to be had"
        )
        return says("unproven", reason, own)
    first = verdicts[0]
    if first.status is Status.FAILED:
        reason = f"{first.explain()}: signed by {own.recovered_signer}, on chain is {first.expected_signer or 'nobody'}"
        return says("failed", reason, first)
    return says("failed", f"the chain says {anchor.services[0].kind}, the receipt {receipt.kind}", first)


def _passed(says: _Says, verdict: Verdict, anchor: Anchor) -> Check:
    return says("passed", f"{verdict.status}, signer anchored by {anchor.source}: {verdict.explain()}", verdict)


def _document(verdict: Verdict) -> SignatureDocument:
    parts = verdict.signed_text.split(":")
    routing = parts[2:] if len(parts) == 5 else []  # a routing proof (0g-direct §5.3)
    return SignatureDocument(verdict.signed_text, verdict.signature, *routing)


def _with_signer(service: Service, signer: str) -> Service:
    if service.kind is not Kind.TEE_ML_SEPARATED:
        return replace(service, tee_signer=signer, acknowledged=True)
    info = json.dumps({**service.info, "TargetTeeAddress": signer})
    return replace(service, additional_info=info, acknowledged=True)


def _contradictions(receipt: Receipt) -> Iterator[str]:
    """Where the receipt contradicts itself."""
    for name, body, said, size in (
        ("request", receipt.request_body, receipt.request_sha256, receipt.request_bytes),
        ("response", receipt.response_body, receipt.response_sha256, receipt.response_bytes),
    ):
        if body is not None and (sha256_hex(body) != said or len(body) != size):
            yield f"the {name} bytes in the receipt do not have the hash or size it names"
    verdict, service, usage = receipt.verdict, receipt.service, receipt.usage
    if verdict.request_sha256 not in ("", receipt.request_sha256) or (
        verdict.response_sha256 not in ("", receipt.response_sha256)
    ):
        yield "the verdict is about other bytes than the receipt"
    if service is not None:
        if not same_address(service.provider, receipt.provider):
            yield "the service record is of another provider"
        if (service.input_price, service.output_price) != (receipt.input_price, receipt.output_price):
            yield "the prices are not those of the service record"
        if receipt.fee.exact and fee_of(service, usage).amount != receipt.fee.amount:
            yield "the fee does not follow from usage and prices"
    if receipt.complete and receipt.response_body is not None and usage is not None:
        found = _usage_of(receipt.response_body)
        if found != usage:
            yield "the usage is not the one in the response"


def _usage_of(body: bytes) -> Usage | None:
    try:
        whole = parse_json(body)
        return Usage.parse(whole.get("usage")) if isinstance(whole, dict) else None
    except (ValueError, RecursionError):
        pass
    usage: Usage | None = None
    decoder = SSEDecoder()
    try:
        for data in [*decoder.feed(body), *decoder.flush()]:
            try:
                event = parse_json(data)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict) and event.get("usage") is not None:
                usage = Usage.parse(event["usage"]) or usage
    except ValueError:
        return None
    return usage


def read_pins(path: Path, provider: str, chain_id: int) -> Anchor:
    """The signers that a pins file names for a provider.

    The file is a JSON object: a provider's address, or ``chain id:address``, to a signer or a list of signers.

    Raises:
        ConfigError: it cannot be read, or is of another form (code ``bad_pins``).
    """
    try:
        value = parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _bad_pins(path, str(error)) from None
    if not isinstance(value, dict):
        raise _bad_pins(path, "no object")
    found: list[str] = []
    for name, signers in value.items():
        chain, _, address = name.rpartition(":")
        listed: Sequence[Any] = signers if isinstance(signers, list) else [signers]
        if chain and not chain.isdigit():
            raise _bad_pins(path, f"{name[:60]!r} is no address with its signers")
        try:
            owner, addresses = typed_address(address), [typed_address(each) for each in listed]
        except ValueError as error:
            raise _bad_pins(path, f"{name[:60]!r} is no address with its signers ({error})") from None
        if same_address(owner, provider) and chain in ("", str(chain_id)):
            found += addresses
    return Anchor(f"pins file {path.name}", tuple(found))


def _bad_pins(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path} is no pins file: {why}", code="bad_pins", hint='for example {"0xprovider…": ["0xsigner…"]}'
    )
