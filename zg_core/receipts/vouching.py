"""For which fields of a receipt somebody vouches: bytes that hash to what was signed, the signature, the chain.

What follows from such fields, and was compared, is vouched for, too. All others are the word of whoever made it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core.receipts.contradictions import asked_model, expected_fee, flat, follows
from zg_core.types import Kind
from zg_core.verify.verdict import Binding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from zg_core.receipts.anchors import Anchor
    from zg_core.receipts.model import Receipt
    from zg_core.verify.verdict import Verdict

__all__ = ["shortened", "unvouched"]

_FORM = ("schema", "backend", "payment.unit")  # there is no other, or they follow from another field
_STATUS = ("status", "verdict.status", "verdict.reason", "verdict.binding")
_NAMES = ("verdict.asked_model", "verdict.signed_model", "verdict.signed_adapter")
_SIGNED = (
    "complete",
    "response_sha256",
    *(
        f"verdict.{name}"
        for name in (
            "expected_signer", "recovered_signer", "signed_text", "signature", "signed_response_sha256",
            "response_sha256", "signed_request_sha256", "provider_identity", "tls_fingerprint",
        )
    ),
)  # fmt: skip
_KIND = ("kind", "prompt", "verdict.kind", "verdict.prompt", "prompt_in_tee", "verdict.prompt_in_tee")
_REQUEST = ("request_sha256", "verdict.request_sha256")
_PRICES = ("payment.input_price", "payment.output_price")
_FEE = ("payment.fee", "payment.currency", "payment.exact", "payment.reason", "payment.lower", "payment.upper")
_BOUND = (Binding.EXACT, Binding.REWRITTEN, Binding.RENAMED)


def unvouched(
    document: Mapping[str, Any], receipt: Receipt, verdict: Verdict, anchor: Anchor, *, record_on_chain: bool
) -> tuple[str, ...]:
    """Names of the fields that nobody vouches for, in the order of the document.

    Args:
        document: The receipt as it was given.
        receipt: The same, read, with everything in it that can be compared compared.
        verdict: The verdict made again, against the anchor.
        anchor: Who says whose key it is.
        record_on_chain: Whether the record in the receipt is one that the chain had.
    """
    known = {*_FORM, *_SIGNED}
    same = verdict.status is receipt.verdict.status and verdict.binding is receipt.verdict.binding
    known |= {*_STATUS, *_NAMES} if same else set()
    known |= {name for name, said in anchor.facts.items() if _as_said(receipt, name) == _plain(said)}
    if receipt.response_body is None and not verdict.response_sha256:  # what was signed are no hashes of these bytes
        known -= {"response_sha256"}
    if record_on_chain or verdict.kind is Kind.TEE_TLS:  # which signs in a form that no other kind does
        known |= {*_KIND}
    if verdict.binding is Binding.EXACT or (verdict.binding in _BOUND and receipt.request_body is not None):
        known |= {*_REQUEST}
    if verdict.binding in _BOUND and receipt.request_body is not None:
        known |= {"request_bytes", "request_body"}
        if asked_model(receipt.request_body) is not None or record_on_chain:
            known.add("model")
    if receipt.response_body is not None:
        known |= {"response_bytes", "response_body", "usage"}
    if record_on_chain:
        known |= {name for name in flat(receipt.to_dict()) if name.startswith("service.")} | {*_PRICES}
        known |= _of_fee(receipt, known)
    return tuple(name for name in flat(document) if name not in known)


def _of_fee(receipt: Receipt, known: set[str]) -> set[str]:
    expected = expected_fee(receipt)
    if "usage" not in known or expected is None:
        return set()
    if receipt.fee.exact:
        return {*_FEE, "outcome"}  # only what was answered has an exact fee
    same = follows(receipt) and receipt.fee == expected
    return {*_FEE} if same else set()


def _as_said(receipt: Receipt, name: str) -> str:
    return _plain(getattr(receipt, name))


def _plain(value: object) -> str:
    return str(value).lower()


def shortened(names: Iterable[str], document: Mapping[str, Any]) -> list[str]:
    """`names` for people: an object all of whose members are among them is named as a whole."""
    found = list(names)
    for whole in ("service", "payment", "verdict"):
        members = [name for name in flat(document) if name.startswith(f"{whole}.")]
        if members and all(member in found for member in members):
            place = found.index(members[0])
            found = [*found[:place], whole, *(name for name in found[place:] if name not in members)]
    return found
