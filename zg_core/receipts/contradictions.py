"""Where a receipt contradicts itself: what its own bytes, records and sums say otherwise. It needs no anchor."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zg_core.crypto import same_address, sha256_hex, typed_address
from zg_core.jsontext import parse_json
from zg_core.pricing import Tariff, fee_of
from zg_core.receipts import plain
from zg_core.receipts.bounds import bounded, doubted
from zg_core.receipts.plain import DIRECT
from zg_core.sse import SSEDecoder
from zg_core.tasks.forms import fields_in
from zg_core.tasks.measuring import measured
from zg_core.tasks.pictures import images_in
from zg_core.types import ServiceRecord, Usage
from zg_core.verify.usage import USAGE_IMPLAUSIBLE, implausible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zg_core.money import Fee
    from zg_core.receipts.model import Receipt

__all__ = [
    "NESTED", "asked_model", "expected_fee", "flat", "follows", "in_document", "in_receipt", "is_as_said", "same_id",
    "unlike", "usage_in",
]  # fmt: skip

# Objects whose members are fields of their own; others (policy, attestation, usage) count as one field.
NESTED = ("contracts", "request", "response", "payment", "evidence", "service", "verdict")
# Words for people, which another version of this package may put differently.
_PROSE = "verdict.explanation"
_ADDRESS, _ADDRESS_LENGTH = re.compile(r"0[xX][0-9a-fA-F]{40}"), 42
_BOM = b"\xef\xbb\xbf"


def flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a receipt as plain data, those of objects inside as ``object.field``.

    Example:
        >>> flat({"schema": "s", "payment": {"fee": "1"}, "service": None})
        {'schema': 's', 'payment.fee': '1', 'service': None}
    """
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name in NESTED and isinstance(value, dict):
            found |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            found[name] = value
    facts = found.get("evidence.facts")
    if isinstance(facts, dict) and facts:
        del found["evidence.facts"]
        found |= {f"evidence.facts.{name}": each for name, each in facts.items()}
    return found


def in_document(document: Mapping[str, Any], receipt: Receipt) -> Iterator[str]:
    """Where `document` says otherwise than the receipt that was read from it would: fields that follow from others."""
    read = flat(receipt.to_dict())
    for name, said in flat(document).items():
        if name in read and name not in (_PROSE, "started_at") and not _alike(said, read[name]):
            yield f"{name} does not follow from the rest of the receipt"


def _alike(said: Any, read: Any) -> bool:
    if isinstance(said, float) or isinstance(read, float):
        return isinstance(said, int | float) and isinstance(read, int | float) and abs(said - read) < 1e-6
    return type(said) is type(read) and bool(said == read)


def in_receipt(receipt: Receipt) -> Iterator[str]:
    """Where the receipt contradicts itself."""
    yield from _addresses(receipt)
    for name, body, said, size in (
        ("request", receipt.request_body, receipt.request_sha256, receipt.request_bytes),
        ("response", receipt.response_body, receipt.response_sha256, receipt.response_bytes),
    ):
        if body is not None and (sha256_hex(body) != said or len(body) != size):
            yield f"the {name} bytes in the receipt do not have the hash or size it names"
    yield from _images(receipt)
    verdict, service, usage = receipt.verdict, receipt.service, receipt.usage
    if receipt.backend == DIRECT and receipt.payment != "sub_account":
        yield f"0G's own backend is paid out of sub-accounts, not by {receipt.payment[:40]!r}"
    if receipt.evidence.signer != verdict.recovered_signer:
        yield "the evidence is not that of the verdict"
    if verdict.request_sha256 not in ("", receipt.request_sha256) or (
        verdict.response_sha256 not in ("", receipt.response_sha256)
    ):
        yield "the verdict is about other bytes than the receipt"
    if receipt.complete and receipt.outcome in ("abandoned", "unknown", "refused"):
        yield f"the response was read to its end, and the outcome is {receipt.outcome!r}"
    if receipt.complete and receipt.response_body is not None:
        found = _usage_of(receipt, receipt.response_body)
        if found != usage and (usage is not None or receipt.outcome == "answered"):
            yield "the usage is not the one in the response"
    if service is not None:
        yield from _against_record(receipt, service)
    if receipt.request_body is not None and receipt.response_body is not None and receipt.outcome == "answered":
        doubt = implausible(usage, receipt.request_body, receipt.response_bytes)
        is_doubtful = bool(doubt) or (receipt.task == "chat" and reported_in(receipt.response_body)[1])
        if is_doubtful is not (USAGE_IMPLAUSIBLE in receipt.flags):
            yield f"the flag {USAGE_IMPLAUSIBLE!r} is there or not, against what the bytes say"


def _addresses(receipt: Receipt) -> Iterator[str]:
    verdict, service = receipt.verdict, receipt.service
    named = {name: getattr(receipt, name) for name in ("provider", "payer", "ledger", "inference")}
    named |= {name: getattr(verdict, name) for name in ("expected_signer", "recovered_signer")}
    if service is not None:
        record = service if isinstance(service, ServiceRecord) else service.record
        signer = record.tee_signer if isinstance(record, ServiceRecord) else record.get("tee_signer")
        owner = record.provider if isinstance(record, ServiceRecord) else record.get("provider")
        named |= {"service.provider": service.provider, "its record's": owner, "service.tee_signer": signer}
    if receipt.backend != DIRECT:  # other ids are the backend's own
        named = {name: each for name, each in named.items() if isinstance(each, str) and _ADDRESS.fullmatch(each)}
    for name, address in named.items():
        try:
            if address:
                typed_address(address)
        except ValueError:
            yield f"{name} is no address, or a mistyped one"


def _against_record(receipt: Receipt, service: Any) -> Iterator[str]:
    if not same_id(service.provider, receipt.provider):
        yield "the service record is of another provider"
    if service.kind is not receipt.kind:
        yield f"the service record is of kind {service.kind}, the receipt of {receipt.kind}"
    if not isinstance(service, ServiceRecord):  # its prices are in words of its backend
        return
    if (service.input_price, service.output_price) != (receipt.input_price, receipt.output_price):
        yield "the prices are not those of the service record"
    yield from _fee(receipt)


def _fee(receipt: Receipt) -> Iterator[str]:
    said, expected = receipt.fee, expected_fee(receipt)
    if said.exact and receipt.outcome != "answered":
        yield f"the fee is exact, and the outcome is {receipt.outcome!r}"
    if expected is None:
        return
    if said.exact:
        if not expected.exact or said.amount != expected.amount:
            yield "the fee does not follow from usage and prices"
    elif expected.exact:
        units = expected.amount.units
        if said.lower > units or (said.upper is not None and said.upper < units):
            yield "the bounds of the fee leave out what follows from usage and prices"


def follows(receipt: Receipt) -> bool:
    """Whether the fee can be computed from what the receipt holds: not at prices that the provider lists itself."""
    service = receipt.service
    return isinstance(service, ServiceRecord) and Tariff.of(service) is not None and receipt.request_body is not None


def expected_fee(receipt: Receipt) -> Fee | None:
    """What follows from usage and the record's prices; None where the call was not answered, or no record is there."""
    if not isinstance(receipt.service, ServiceRecord) or receipt.outcome != "answered":
        return None
    fee = fee_of(receipt.service, receipt.usage)
    if USAGE_IMPLAUSIBLE in receipt.flags and receipt.usage is not None:  # the flag is compared with the bytes
        body = receipt.request_body
        return replace(fee, exact=False) if body is None else doubted(fee, receipt, body)
    if receipt.request_body is not None:
        return bounded(fee, receipt, receipt.request_body)
    return fee


def _usage_of(receipt: Receipt, response: bytes) -> Usage | None:
    """What the bytes of a receipt are billed by; as the receipt says where the request was not kept."""
    if receipt.task == "chat":
        return usage_in(response)
    if receipt.request_body is None:
        return receipt.usage
    streamed = response.lstrip().startswith((b"data:", b'{"type":"transcript.text.'))
    found = measured(receipt.task, parsed(receipt.request_body), response, streamed=streamed)
    if found is None:
        return receipt.usage
    # Images behind addresses, and those of a job, are not in the bytes that were kept.
    return receipt.usage if receipt.task == "images" and found.estimated else found.usage


def parsed(request: bytes) -> Any:
    """A request as its provider reads it: JSON, or the fields of a form; {} where it is neither."""
    if request.startswith(b"--"):
        return fields_in(request)
    try:
        return parse_json(request)
    except (ValueError, RecursionError):
        return {}


def _images(receipt: Receipt) -> Iterator[str]:
    said = receipt.evidence.facts.get("images")
    if not isinstance(said, list):
        return
    found = None if receipt.response_body is None else images_in(receipt.response_body)
    if found is not None and [sha256_hex(image) for image in found] != said:
        yield "the hashes of the images are not those of the response"
    if receipt.task == "images" and receipt.usage is not None and receipt.usage.images != len(said):
        yield "the images that are billed are not those that were signed"


def usage_in(body: bytes) -> Usage | None:
    """The token counts that a response reports, whole or streamed."""
    return reported_in(body)[0]


def reported_in(body: bytes) -> tuple[Usage | None, bool]:
    """The token counts that a response reports, and whether one of them is none."""
    body = body.removeprefix(_BOM)
    try:
        whole = parse_json(body)
        said = whole.get("usage") if isinstance(whole, dict) else None
        return Usage.parse(said), Usage.is_odd(said)
    except (ValueError, RecursionError):
        pass
    usage: Usage | None = None
    odd = False
    decoder = SSEDecoder()
    try:
        for data in [*decoder.feed(body), *decoder.flush()]:
            try:
                event = parse_json(data)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict) and event.get("usage") is not None:
                usage, odd = Usage.parse(event["usage"]) or usage, Usage.is_odd(event["usage"]) or odd
    except ValueError:
        return None, odd
    return usage, odd


def asked_model(request: bytes | None) -> str | None:
    """The model that a request names; None if it names none, or is not there to be read."""
    payload = parsed(request or b"")
    model = payload.get("model") if isinstance(payload, dict) else None
    return model if isinstance(model, str) else None


def same_id(left: str, right: str) -> bool:
    """Whether two ids of a backend are the same; addresses in any case of their digits."""
    return left == right != "" or (
        len(left) == _ADDRESS_LENGTH and left[:2].lower() == "0x" and same_address(left, right)
    )


def is_as_said(value: str | int, said: str | int) -> bool:
    """Whether a field has the value that an anchor says it has; addresses in any case of their digits."""
    return value == said or (isinstance(value, str) and isinstance(said, str) and same_id(value, said))


def unlike(record: Any, other: Any) -> list[str]:
    """Names of the fields in which two records differ: of 0G's chain, or plain data of another backend."""
    one, two = (
        plain.record_to_dict(each) if isinstance(each, ServiceRecord) else dict(each) for each in (record, other)
    )
    names = dict.fromkeys((*one, *two))
    return [name for name in names if name not in one or name not in two or not _same(one[name], two[name])]


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, str) and left[:2] in ("0x", "0X") and isinstance(right, str):
        return left.lower() == right.lower()
    return type(left) is type(right) and bool(left == right)
