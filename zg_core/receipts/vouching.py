"""For which fields of a receipt somebody vouches: bytes that hash to what was signed, the signature, the chain.

What follows from such fields, and was compared, is vouched for, too. All others are the word of whoever made it.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from zg_core.receipts.contradictions import NESTED, asked_model, expected_fee, flat, follows, is_as_said
from zg_core.receipts.plain import DIRECT
from zg_core.tasks.base import TASKS
from zg_core.types import Kind
from zg_core.verify.verdict import Binding, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

    from zg_core.receipts.anchors import Anchor
    from zg_core.receipts.model import Receipt

__all__ = ["shortened", "unvouched"]

_FORM = ("schema", "payment.unit", "evidence.scheme", "evidence.signed_text", "evidence.signature")
_STATUS = ("status", "verdict.status", "verdict.reason", "verdict.binding")
_NAMES = ("verdict.asked_model", "verdict.signed_model", "verdict.signed_adapter")
_KIND = ("kind", "prompt", "verdict.kind", "verdict.prompt", "verdict.sealed")
# All other fields of a verdict are compared with those of the verdict made again.
_COMPARED = {f"verdict.{each.name}" for each in fields(Verdict)} - {
    *_STATUS, *_NAMES, *_KIND, "verdict.request_sha256", "verdict.record_age",
}  # fmt: skip
_FEE = ("fee", "currency", "exact", "reason", "lower", "upper")
_BOUND = (Binding.EXACT, Binding.REWRITTEN, Binding.RENAMED)
# Fields of a receipt's object that a document has elsewhere.
_PLACES = {"inference": "contracts.inference", "ledger": "contracts.ledger"}


def unvouched(
    document: Mapping[str, Any],
    receipt: Receipt,
    verdict: Verdict,
    anchor: Anchor,
    signed: frozenset[str],
    *,
    open_fields: Collection[str],
    record_known: bool,
) -> tuple[str, ...]:
    """Names of the fields that nobody vouches for, in the order of the document.

    Args:
        document: The receipt as it was given, in the form of the second version.
        receipt: The same, read, with everything in it that can be compared compared.
        verdict: The verdict made again, against the anchor.
        anchor: Who says whose key it is.
        signed: Names of the fields that the signature vouches for.
        open_fields: Names of fields of the verdict that what was kept does not decide.
        record_known: Whether the record in the receipt is one that the anchor had.
    """
    known = {*_FORM, *signed, *_COMPARED} - {f"verdict.{name}" for name in open_fields}
    if verdict.recovered_signer:
        known.add("evidence.signer")
    same = verdict.status is receipt.verdict.status and verdict.binding is receipt.verdict.binding
    known |= {*_STATUS, *_NAMES} if same else set()
    known |= {
        _PLACES.get(name, name) for name, said in anchor.facts.items() if is_as_said(getattr(receipt, name), said)
    }
    if receipt.backend == DIRECT:
        known |= {"payment.scheme"} if "backend" in known else set()
        known |= _of_direct(receipt, verdict, known, record_known=record_known)
    elif record_known and verdict.kind is receipt.kind:
        known |= {*_KIND}
    if record_known:
        known |= {"service.record"}
    return tuple(name for name in flat(document) if name not in known)


def _of_direct(receipt: Receipt, verdict: Verdict, known: set[str], *, record_known: bool) -> set[str]:
    """What a record of 0G's chain, and the usage in the signed bytes, vouch for."""
    found = set()
    if record_known or verdict.kind is Kind.TEE_TLS:  # TeeTLS signs in a form of its own
        found |= {*_KIND}
    if "request.body" in known and (asked_model(receipt.request_body) is not None or record_known):
        found.add("model")
    counted = {"images": "evidence.facts", "image_edits": "request.body"}
    if counted.get(receipt.task, "response.body") in known:
        found.add("usage")
    if record_known:
        found |= {f"service.{name}" for name in ("provider", "model", "url", "kind", "certificate_sha256")}
        found |= {"payment.prices"} | _of_fee(receipt, known | found)
        found |= _of_task(receipt)
    return found


def _of_task(receipt: Receipt) -> set[str]:
    offered = getattr(receipt.service, "service_type", None)
    served = {task.name for task in TASKS if task.service_type == offered}
    return {"task"} if served == {receipt.task} else set()


def _of_fee(receipt: Receipt, known: set[str]) -> set[str]:
    expected = expected_fee(receipt)
    if "usage" not in known or expected is None:
        return set()
    names = {f"payment.{name}" for name in _FEE}
    if receipt.fee.exact:
        return {*names, "outcome"}  # only what was answered has an exact fee
    same = follows(receipt) and receipt.fee == expected
    return names if same else set()


def shortened(names: Iterable[str], document: Mapping[str, Any]) -> list[str]:
    """`names` for people: an object all of whose members are among them is named as a whole."""
    found = list(names)
    for whole in NESTED:
        members = [name for name in flat(document) if name.startswith(f"{whole}.")]
        if members and all(member in found for member in members):
            place = found.index(members[0])
            found = [*found[:place], whole, *(name for name in found[place:] if name not in members)]
    return found
