"""JSON in the one form of RFC 8785, and what stands for an envelope in a signed text."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from decimal import Decimal
from typing import Any


def jcs(value: Any) -> str:
    """The canonical text of parsed JSON.

    Raises:
        ValueError: it has none.
    """
    if isinstance(value, dict):
        names = sorted(value, key=_utf16)
        return "{" + ",".join(f"{jcs(name)}:{jcs(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(jcs, value)) + "]"
    if isinstance(value, str):
        value.encode()  # half a character cannot be
        return json.dumps(value, ensure_ascii=False)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return number(value)
    raise ValueError(f"no JSON: {type(value).__name__}")


def number(value: float) -> str:
    """A number as JavaScript writes it."""
    double = float(value)
    if not math.isfinite(double):
        raise ValueError("no finite number")
    if double == 0:
        return "0"
    exact = Decimal(repr(double))
    if 1e-6 <= abs(double) < 1e21:
        text = format(exact, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, _, exponent = f"{exact.normalize():e}".partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent):+d}"


def _utf16(name: str) -> list[int]:
    raw = name.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]


def clear_part(envelope: dict[str, Any]) -> bytes:
    """What the sealed part of an envelope is bound to."""
    seal = envelope["_e2ee"]
    kept = {name: value for name, value in envelope.items() if name not in (seal.get("unbound_fields") or [])}
    kept["_e2ee"] = {name: value for name, value in seal.items() if name != "ciphertext"}
    return jcs(kept).encode()


def bound(clear: bytes, locked: bytes) -> bytes:
    """What stands for both parts."""
    halves = (hashlib.sha256(clear).digest(), hashlib.sha256(locked).digest())
    return hashlib.sha256(b"".join(halves)).digest()


def to_text(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def to_bytes(text: str) -> bytes:
    """The way back.

    Raises:
        ValueError: it is no such text.
    """
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
