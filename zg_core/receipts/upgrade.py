"""Receipts of the first version (``zerog-receipt/1``) in the form of the second: one function, data in, data out."""

from __future__ import annotations

from typing import Any

from zg_core.receipts import plain

__all__ = ["FIRST", "SECOND", "upgraded"]

FIRST, SECOND = "zerog-receipt/1", "zerog-receipt/2"
# Where a field of the first version stands in the second; all others keep their names.
_MOVED = {
    "chain_id": ("realm",),
    "ledger": ("contracts", "ledger"),
    "inference": ("contracts", "inference"),
    "payer": ("payment", "payer"),
    "request_sha256": ("request", "sha256"),
    "request_bytes": ("request", "size"),
    "request_body": ("request", "body"),
    "response_sha256": ("response", "sha256"),
    "response_bytes": ("response", "size"),
    "response_body": ("response", "body"),
    "complete": ("response", "complete"),
    "replayed": ("response", "replayed"),
    "certificate_sha256": ("response", "certificate_sha256"),
    "signature_ids": ("evidence", "ids"),
    "service_block": ("service", "block"),
}
_EARLIER = "prompt_in_tee"  # what `prompt` took the place of, within the first version


def upgraded(value: Any) -> Any:
    """`value` in the form of the second version where it is a receipt of the first; anything else as it is.

    Nothing is believed or left out: fields that the first version does not know stay, and what is missing is missing
    afterwards, too.

    Raises:
        ConfigError: a part of it that has to be an object is none (code ``bad_receipt``).

    Example:
        >>> upgraded({"schema": "zerog-receipt/2"})
        {'schema': 'zerog-receipt/2'}
    """
    if not isinstance(value, dict) or value.get("schema") != FIRST:
        return value
    read = plain.Fields(value, "the receipt")
    verdict = dict(plain.object_of(read.raw("verdict")))
    payment = dict(plain.object_of(read.raw("payment")))
    parts: dict[str, dict[str, Any]] = {
        "contracts": {},
        "request": {},
        "response": {},
        "payment": _payment(payment),
        "evidence": _evidence(verdict),
    }
    service = _service(read)
    if service is not None:
        parts["service"] = service
    made: dict[str, Any] = {"run": "", "task": "chat"}
    for name, said in value.items():
        place = _MOVED.get(name, (name,))
        if name == "chain_id":
            made["realm"] = f"eip155:{read.integer(name)}"
        elif len(place) == 1:
            made[name] = said
        elif place[0] in parts:
            parts[place[0]][place[1]] = said
    made |= {"schema": SECOND, "service": None, **parts, "verdict": verdict}
    _prompts(made, verdict)
    return made


def _payment(payment: dict[str, Any]) -> dict[str, Any]:
    prices = {name: payment.pop(f"{name}_price") for name in ("input", "output") if f"{name}_price" in payment}
    if payment.get("exact") is True:
        payment = {"reason": "", "lower": payment.get("fee"), "upper": payment.get("fee"), **payment}
    return {"scheme": "sub_account", **payment, "prices": prices, "grant": {}}


def _evidence(verdict: dict[str, Any]) -> dict[str, Any]:
    text, signature, signer = (verdict.pop(name, "") for name in plain.IN_EVIDENCE)
    scheme = "signed_hashes" if text else ""
    return {
        "scheme": scheme, "signed_text": text, "signature": signature, "signer": signer, "time": None, "facts": {},
    }  # fmt: skip


def _service(read: plain.Fields) -> dict[str, Any] | None:
    record = read.raw("service", None)
    if record is None:
        return None
    described = plain.service_to_dict(plain.record_of(record), None)
    assert described is not None  # noqa: S101 - there is a record
    return {**described, "record": record}


def _prompts(made: dict[str, Any], verdict: dict[str, Any]) -> None:
    """Put `prompt` where an early receipt has only whether it stayed in an enclave."""
    for said, kind in ((made, made.get("kind")), (verdict, verdict.get("kind"))):
        earlier = said.pop(_EARLIER, None)
        if "prompt" in said and earlier is None:
            continue
        declared = kind in ("TeeML", "TeeML-separated")
        if earlier is not None and earlier is not declared:
            raise plain.bad_receipt(f"{_EARLIER} does not follow from the kind")
        said.setdefault("prompt", "declared" if declared else "vendor" if kind == "TeeTLS" else "open")
