"""Receipts as rows of a store: what is the same in many calls is written once, what follows from others not at all.

A row has columns for what is searched and summed, `data` for what the call alone has, and `verdict`. What a client's
calls to one provider share (service, record, policy, prices, contracts, …) is the row's *context*, written once under
its hash. Both ways are exact: `unpacked` gives the receipt that `packed` was given.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from copy import deepcopy
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError
from zg_core.money import Amount, Fee
from zg_core.receipts import plain
from zg_core.receipts.audited import is_implausible
from zg_core.receipts.model import Receipt
from zg_core.types import Kind, ServiceRecord, Usage
from zg_core.verify.schemes.evidence import Evidence
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = [
    "COLUMNS",
    "SAME",
    "Context",
    "Row",
    "data_of",
    "packed",
    "prices_in",
    "sound",
    "unpacked",
    "verdict_from",
    "verdict_text",
]

COLUMNS = (
    "id", "context", "outcome", "started", "currency", "fee", "exact", "most", "run", "verdict", "data",
)  # fmt: skip
"""The columns of a row that hold the receipt, in the order in which `unpacked` takes them."""

_DEFAULT = Verdict(Status.NOT_CHECKED)
# Short names for the fields of a verdict; one that is not here stands under its own name.
_SHORT = {
    "status": "s", "reason": "r", "kind": "k", "binding": "b", "expected_signer": "e", "recovered_signer": "f",
    "signed_text": "t", "signature": "g", "signed_response_sha256": "p", "response_sha256": "v",
    "signed_request_sha256": "q", "request_sha256": "u", "provider_identity": "i", "tls_fingerprint": "l",
    "asked_model": "a", "signed_model": "m", "signed_adapter": "d", "record_age": "n", "sealed": "z",
}  # fmt: skip
_WORDS = {"status": Status, "reason": Reason, "kind": Kind, "binding": Binding}
_VERDICT = tuple((each.name, _SHORT.get(each.name, each.name)) for each in fields(Verdict))
_VALUES = attrgetter(*(name for name, _ in _VERDICT))
_DEFAULTS = tuple((*each, default) for each, default in zip(_VERDICT, _VALUES(_DEFAULT), strict=True))
_DATA = 18  # values in `data`
SAME = 1
"""Stands in place of a text that is what it most often is."""
_TEXTS = (
    "id", "backend", "realm", "network", "ledger", "inference", "task", "payer", "provider", "model", "payment",
    "outcome", "chat_id", "run", "request_sha256", "response_sha256",
)  # fmt: skip
_EVIDENCE = "x"
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
Row = tuple[Any, ...]
_MOST_NEWEST = 256
_NEWEST: dict[tuple[str, ...], _Shared] = {}


@dataclass(frozen=True, slots=True)
class Context:
    """What calls share, as it is written.

    Attributes:
        name: Its hash, under which rows name it.
        data: JSON.
    """

    name: str
    data: str

    @classmethod
    def of(cls, value: Any) -> Context:
        """The context that says `value`."""
        data = _ENCODE(value)
        return cls(base64.urlsafe_b64encode(hashlib.sha256(data.encode()).digest()[:16]).decode().rstrip("="), data)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What a context was made of: the objects that calls share, and what they held then."""

    objects: tuple[Any, Any, Any]
    held: tuple[Any, Any, Any]
    context: Context

    @classmethod
    def of(cls, receipt: Receipt, context: Context) -> _Shared:
        return cls(_shared(receipt), deepcopy(_held(receipt)), context)

    def stands(self, receipt: Receipt) -> bool:
        """Whether they are those of `receipt`, too, and nobody has changed them since."""
        return all(map(is_, self.objects, _shared(receipt))) and self.held == _held(receipt)


def _shared(receipt: Receipt) -> tuple[Any, Any, Any]:
    return receipt.service, receipt.policy, receipt.attestation


def _held(receipt: Receipt) -> tuple[Any, Any, Any]:
    """What can be changed of them: of a service, not a record of 0G's chain."""
    service = receipt.service
    record = None if service is None or type(service) is ServiceRecord else dict(service.record)
    return record, receipt.policy, receipt.attestation


def _context_of(receipt: Receipt) -> Context:
    """The context of `receipt`; calls to one provider share it, so the newest are remembered."""
    texts = (
        receipt.backend, receipt.realm, receipt.network, receipt.ledger, receipt.inference, receipt.task,
        receipt.payer, receipt.provider, receipt.model, str(receipt.kind), receipt.payment,
        str(receipt.input_price), str(receipt.output_price), receipt.certificate_sha256,
    )  # fmt: skip
    known = _NEWEST.get(texts)
    if known is not None and known.stands(receipt):
        return known.context
    service = plain.service_to_dict(receipt.service, None)
    made = Context.of([*texts, service, receipt.policy, receipt.attestation])
    if len(_NEWEST) >= _MOST_NEWEST:
        _NEWEST.clear()
    _NEWEST[texts] = _Shared.of(receipt, made)
    return made


def packed(receipt: Receipt) -> tuple[dict[str, Any], Context]:
    """The row of `receipt`, and the context that it names."""
    own = _context_of(receipt)
    started = receipt.started_at.timestamp()
    fee, first = receipt.fee, receipt.first_byte_seconds
    ids = receipt.signature_ids or receipt.evidence.ids
    exact_time = datetime.fromtimestamp(started, UTC) == receipt.started_at
    data = [
        receipt.chat_id, receipt.request_sha256, receipt.response_sha256, receipt.request_bytes,
        receipt.response_bytes, receipt.complete + 2 * receipt.replayed, receipt.attempts, round(receipt.seconds, 6),
        None if first is None else round(first, 6), receipt.service_block,
        SAME if ids == (receipt.chat_id,) else list(ids), _usage_data(receipt.usage), list(receipt.flags),
        _fee_data(fee), dict(receipt.grant),
        plain.text_of_bytes(receipt.request_body), plain.text_of_bytes(receipt.response_body),
        None if exact_time else receipt.started_at.isoformat(),
    ]  # fmt: skip
    while data and data[-1] in (None, [], {}):
        data.pop()
    row = {
        "id": receipt.id,
        "context": own.name,
        "chain": receipt.chain_id,
        "realm": receipt.realm,
        "payer": receipt.payer.lower(),
        "provider": receipt.provider.lower(),
        "outcome": receipt.outcome,
        "started": started,
        "run": receipt.run,
        "status": str(receipt.verdict.status),
        "currency": fee.amount.currency,
        "fee": str(fee.amount.units),
        "exact": int(fee.exact),
        "most": None if fee.exact or fee.upper is None else str(fee.upper),
        "odd": int(is_implausible(receipt)),
        "verdict": verdict_text(receipt),
        "data": _ENCODE(data),
    }
    return row, own


def _usage_data(usage: Usage | None) -> dict[str, int] | None:
    """The counts that are not 0; None if none were reported."""
    counts = plain.usage_to_dict(usage)
    return None if counts is None else {name: count for name, count in counts.items() if count}


def _fee_data(fee: Fee) -> list[Any] | None:
    return None if fee.exact else [fee.reason, str(fee.lower)]


def verdict_text(receipt: Receipt) -> str:
    """The verdict of `receipt` with its evidence, for the column of that name."""
    verdict, evidence = receipt.verdict, receipt.evidence
    usual = _usual(receipt, verdict.expected_signer, verdict.signed_request_sha256)
    said: dict[str, Any] = {}
    for (name, short, default), value in zip(_DEFAULTS, _VALUES(verdict), strict=True):
        if value is default or value == default:
            continue
        if name == "signed_text" and value != usual[name] and value.startswith(f"{usual[name]}:"):
            said[short] = [value.removeprefix(usual[name])]
        else:
            said[short] = SAME if value == usual.get(name, ...) else str(value) if name in _WORDS else value
    own = [evidence.scheme, evidence.time, dict(evidence.facts)]
    texts = evidence.signed_text, evidence.signature, evidence.signer
    if texts != (verdict.signed_text, verdict.signature, verdict.recovered_signer):
        own += texts
    if own != _usual_evidence(verdict):
        said[_EVIDENCE] = own
    return _ENCODE(said)


def _usual_evidence(verdict: Verdict) -> list[Any]:
    return ["signed_hashes" if verdict.signed_text else "", None, {}]


def _usual(receipt: Receipt, expected: str, signed: str) -> dict[str, Any]:
    """What fields of a verdict most often are, where the signed hash of the request is known."""
    request, response = receipt.request_sha256, receipt.response_sha256
    return {
        "kind": receipt.kind,
        "expected_signer": getattr(receipt.service, "signer", ...),
        "recovered_signer": expected or ...,
        "signed_text": f"{signed or request}:{response}",
        "signed_response_sha256": response or ...,
        "response_sha256": response or ...,
        "signed_request_sha256": request or ...,
        "request_sha256": request or ...,
    }


def unpacked(row: Row, context: str) -> Receipt:
    """The receipt of a row.

    Args:
        row: The values of `COLUMNS`.
        context: The data of the context that it names.

    Raises:
        ConfigError: it is none, or its context is missing (code ``bad_receipt``).
    """
    receipt_id, name, outcome, started, currency, fee, exact, most, run, verdict, text = row
    if text[:1] == "{":  # as the package wrote them before: the whole document
        receipt = Receipt.from_dict(json.loads(text))
        if verdict:
            later, receipt.evidence = verdict_from(verdict, receipt)
            receipt.restore(later)
        return receipt
    (
        backend, realm, network, ledger, inference, task, payer, provider, model, kind, payment, input_price,
        output_price, certificate, service, policy, attestation,
    ) = json.loads(context or _lost(name))  # fmt: skip
    (
        chat_id, request_sha256, response_sha256, request_bytes, response_bytes, bits, attempts, seconds, first, block,
        ids, usage, flags, fee_data, grant, request_body, response_body, exact_time,
    ) = data_of(text)  # fmt: skip
    receipt = Receipt(
        backend=backend,
        network=network,
        chain_id=0,
        realm=realm,
        task=task,
        run=run,
        provider=provider,
        model=model,
        kind=Kind(kind),
        request_sha256=request_sha256,
        input_price=int(input_price),
        output_price=int(output_price),
        fee=_fee(currency, fee, exact, most, fee_data),
        payment=payment,
        grant=grant or {},
        outcome=outcome,
        chat_id=chat_id,
        response_sha256=response_sha256,
        response_bytes=response_bytes,
        usage=None if usage is None else Usage(**{"prompt_tokens": 0, "completion_tokens": 0, **usage}),
        certificate_sha256=certificate,
        attempts=attempts,
        started_at=datetime.fromisoformat(exact_time) if exact_time else datetime.fromtimestamp(started, UTC),
        seconds=seconds,
        first_byte_seconds=first,
        id=receipt_id,
        payer=payer,
        ledger=ledger,
        inference=inference,
        policy=policy,
        request_bytes=request_bytes,
        request_body=None if request_body is None else plain.bytes_of(request_body),
        response_body=None if response_body is None else plain.bytes_of(response_body),
        signature_ids=(chat_id,) if ids == SAME else tuple(ids or ()),
        complete=bool(bits & 1),
        replayed=bool(bits & 2),
        attestation=attestation,
        flags=tuple(flags or ()),
    )
    if service is not None:
        receipt.service, _ = plain.service_of(service, backend)
    receipt.service_block = block
    found, receipt.evidence = verdict_from(verdict, receipt)
    receipt.restore(found)
    return receipt


def sound(row: Row, context: str) -> Receipt:
    """The receipt of a row that anybody may have written: its texts are texts, and its times are some.

    Raises:
        ConfigError: it is none, or its context is missing (code ``bad_receipt``).
    """
    try:
        receipt = unpacked(row, context)
        usage, first = receipt.usage, receipt.first_byte_seconds
        texts = tuple(getattr(receipt, name) for name in _TEXTS)
        counts = [receipt.seconds, 0 if first is None else first, receipt.response_bytes]
        if usage is not None:
            counts += [usage.prompt_tokens, usage.completion_tokens]
        texts = (*texts, *receipt.flags, receipt.verdict.explain())
        known = isinstance(receipt.attestation, dict | None) and isinstance(receipt.grant, dict)
        known = known and all(getattr(receipt.verdict, name) is not ... for name, _ in _VERDICT)  # `_usual` had it
        if known and all(isinstance(each, str) for each in texts) and all(map(_is_count, counts)):
            return receipt
        why = "a field of it is of another kind"
    except ConfigError as error:
        why = error.message
    except (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        why = type(error).__name__
    name = str(row[0])[:40]
    message = f"the row {name!r} of the store is no receipt: {why}"
    raise ConfigError(message, code="bad_receipt", hint="delete it, or restore a backup")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))  # JSON has no other


def data_of(text: str) -> list[Any]:
    """The values of a row's `data`."""
    data: list[Any] = json.loads(text)
    return data + [None] * (_DATA - len(data))


def backend_in(context: str) -> str:
    """The backend that a context names."""
    return str(json.loads(context)[0]) if context else ""


def prices_in(context: str) -> tuple[int, int]:
    """What a context says that tokens of the prompt and of the answer cost; 0 where it is lost."""
    if not context:
        return 0, 0
    values = json.loads(context)
    return int(values[11]), int(values[12])


def _lost(name: str) -> NoReturn:
    raise ConfigError(
        f"the store has lost the context {name!r} of its receipts", code="bad_receipt", hint="restore a backup"
    )


def _fee(currency: str, units: str, exact: int, most: str | None, data: list[Any] | None) -> Fee:
    amount = Amount(int(units), currency)
    if data is None:
        return Fee(amount, exact=bool(exact), lower=amount.units, upper=amount.units)
    reason, lower = data
    return Fee(amount, exact=bool(exact), reason=reason, lower=int(lower), upper=None if most is None else int(most))


def verdict_from(text: str, receipt: Receipt) -> tuple[Verdict, Evidence]:
    """The way back from `verdict_text`, and from what the package wrote before."""
    said = json.loads(text)
    if "status" in said:  # in full
        verdict = plain.verdict_of(said)
        return verdict, _evidence(_usual_evidence(verdict), verdict, receipt)
    values: dict[str, Any] = {}
    signed = said.get(_SHORT["signed_request_sha256"], "")
    usual = _usual(receipt, "", "" if signed == SAME else signed)
    for name, short in _VERDICT:
        if short not in said:
            continue
        value = said[short]
        if value == SAME and name not in ("record_age", "sealed"):
            value = values.get("expected_signer", "") if name == "recovered_signer" else usual[name]
        elif name == "signed_text" and isinstance(value, list):
            value = usual[name] + value[0]
        elif name in _WORDS:
            value = _WORDS[name](value)
        values[name] = value
    verdict = Verdict(**{"status": Status.NOT_CHECKED, **values})
    return verdict, _evidence(said.get(_EVIDENCE) or _usual_evidence(verdict), verdict, receipt)


def _evidence(said: list[Any], verdict: Verdict, receipt: Receipt) -> Evidence:
    scheme, time, facts, *texts = said
    signed, signature, signer = texts or (verdict.signed_text, verdict.signature, verdict.recovered_signer)
    return Evidence(scheme, receipt.signature_ids, signed, signature, signer, time, facts)
