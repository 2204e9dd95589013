"""How calls are shown on a screen: one line each, and step by step what was checked of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.crypto import same_address
from zg_core.serve.ledgers import amount_json
from zg_core.shown.escaping import terminal
from zg_core.verify.verdict import Binding, Status

if TYPE_CHECKING:
    from zg_core.receipts.bundles import Line
    from zg_core.receipts.model import Receipt
    from zg_core.serve.seen import Sighting

__all__ = ["bundled", "facts_of", "shown", "steps_of"]

_MADE = (Status.VERIFIED, Status.RESPONSE_BOUND, Status.SIGNER_ONLY, Status.FAILED)


def shown(value: Any) -> Any:
    r"""`value` with the texts in it made harmless for a screen.

    Example:
        >>> shown({"model": "a\u202eb", "n": [1, "c\x1b"]})
        {'model': 'a�b', 'n': [1, 'c�']}
    """
    if isinstance(value, str):
        return terminal(value)
    if isinstance(value, dict):
        return {terminal(str(name)): shown(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [shown(inner) for inner in value]
    return value


def facts_of(sighting: Sighting) -> dict[str, Any]:
    """One line of the list of calls."""
    receipt = sighting.receipt
    usage, verdict = receipt.usage, receipt.verdict
    return {
        "id": receipt.id,
        "at": receipt.started_at.isoformat(),
        "model": receipt.model,
        "asked": sighting.entry,
        "caller": sighting.caller,
        "provider": receipt.provider,
        "kind": str(receipt.kind),
        "verdict": str(verdict.status),
        "reason": str(verdict.reason),
        "explanation": verdict.explain(),
        "outcome": receipt.outcome,
        "fee": amount_json(receipt.fee.amount),
        "fee_exact": receipt.fee.exact,
        "seconds": round(receipt.seconds, 3),
        "first_byte_seconds": None if receipt.first_byte_seconds is None else round(receipt.first_byte_seconds, 3),
        "prompt_tokens": None if usage is None else usage.prompt_tokens,
        "completion_tokens": None if usage is None else usage.completion_tokens,
        "flags": list(receipt.flags),
    }


def bundled(line: Line) -> dict[str, Any]:
    """What the table of a bundle shows beside the check of one receipt."""
    fee, made = line.receipt.fee, line.check.verdict
    return {
        "verdict": str((line.receipt.verdict if made is None else made).status),
        "fee": str(fee.amount) if fee.exact else fee.bounds,
        "unvouched": list(line.unvouched) if line.check.result == "passed" else ["all of it"],
    }


def steps_of(receipt: Receipt) -> list[dict[str, str]]:
    """What each check of a receipt showed: ``passed``, ``failed``, ``open`` (not shown), ``told`` (somebody's word)."""
    verdict = receipt.verdict
    steps: list[dict[str, str]] = []

    def step(name: str, result: str, said: str) -> None:
        steps.append({"name": name, "result": result, "said": said})

    step(
        "The whole answer was read",
        "passed" if receipt.complete else "open",
        f"{receipt.response_bytes} bytes, {receipt.outcome}",
    )
    if verdict.signed_response_sha256:
        same = verdict.signed_response_sha256 == verdict.response_sha256
        step(
            "The signed hash is that of the bytes received",
            "passed" if same else "failed",
            f"signed {verdict.signed_response_sha256}, received {verdict.response_sha256}",
        )
    else:
        step("The signed hash is that of the bytes received", "open", "no hash of the answer was signed, or none found")
    if verdict.recovered_signer:
        same = same_address(verdict.recovered_signer, verdict.expected_signer)
        step(
            "The key that signed is the one on chain",
            "passed" if same else "failed",
            f"signed by {verdict.recovered_signer}, on chain {verdict.expected_signer or 'none'}",
        )
    else:
        step("The key that signed is the one on chain", "open", "there is no signature to look at")
    bound = verdict.binding in (Binding.EXACT, Binding.REWRITTEN, Binding.RENAMED)
    step("It answers this request", "passed" if bound else "open", f"binding: {verdict.binding}")
    step(
        "It is no earlier answer",
        "failed" if receipt.replayed else "passed",
        "sent again" if receipt.replayed else "new",
    )
    level = (receipt.attestation or {}).get("level")
    step(
        "The key lives in genuine hardware",
        "open" if level is None else "passed",
        "not asked: attest=2 asks before the prompt leaves" if level is None else f"attested up to level {level}",
    )
    step(
        "Token counts",
        "told",
        "the provider's word, inside the signed bytes" if verdict.status in _MADE else "nobody's",
    )
    fee = receipt.fee
    step("Fee", "passed" if fee.exact else "open", str(fee.amount) if fee.exact else fee.bounds)
    return steps
