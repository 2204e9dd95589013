"""The canonical JSON to which sealed parts are bound (RFC 8785), and the bindings that enclaves sign (0g-router §10.7).

Keys sorted by UTF-16 code units, texts minimally escaped, and every number an IEEE double: what differs only beyond
that is the same to both sides, and nothing else is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from zg_core.verify.schemes.gojson import number_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["associated_data", "binding", "bindings_of", "canonical", "decode", "encode"]

_EXACT = 2**53
_WORDS = {None: "null", True: "true", False: "false"}


def canonical(value: Any) -> bytes:
    """`value` (parsed JSON) in its canonical form, UTF-8.

    Raises:
        ValueError: not JSON: another type, half a character, a number beyond a double, a key that is no text.

    Example:
        >>> canonical({"b": 1.0, "a": 9007199254740993, "c": [-0.0, 1e-7, "<€>"]}).decode()
        '{"a":9007199254740992,"b":1,"c":[0,1e-7,"<€>"]}'
    """
    try:
        return _written(value).encode()
    except UnicodeEncodeError:
        raise ValueError("half a character") from None


def _written(value: Any) -> str:
    """`value` as text; no level of it takes more than one of Python's frames."""
    if isinstance(value, str):
        return encode_basestring(value)  # which escapes what RFC 8785 escapes, and nothing else
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    if isinstance(value, int) and -_EXACT < value < _EXACT:
        return str(int(value))
    if isinstance(value, int | float):
        try:
            return number_text(float(value) + 0.0)  # there is one zero
        except OverflowError:
            raise ValueError("a number beyond a double") from None
    if isinstance(value, dict):
        try:
            order = None if "".join(value).isascii() else _code_units
        except TypeError:
            raise ValueError("a key is no text") from None
        parts = []
        for key in sorted(value, key=order):
            held = value[key]
            text = encode_basestring(held) if type(held) is str else _written(held)
            parts.append(f"{encode_basestring(key)}:{text}")
        return "{" + ",".join(parts) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    raise ValueError(f"not JSON: {type(value).__name__}")


def _code_units(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def associated_data(envelope: Mapping[str, Any]) -> bytes:
    """What a sealed part is bound to: its envelope without the ciphertext and the fields that it leaves unbound.

    Raises:
        ValueError: `envelope` has no canonical form.
        KeyError, TypeError: it is none.
    """
    seal: Mapping[str, Any] = envelope["_e2ee"]
    unbound: Iterable[str] = seal.get("unbound_fields") or ()
    clear = {name: value for name, value in envelope.items() if name not in (*unbound, "_e2ee")}
    return canonical({**clear, "_e2ee": {name: value for name, value in seal.items() if name != "ciphertext"}})


def binding(aad: bytes, ciphertext: bytes) -> bytes:
    """What stands for an envelope in a signed text: the hash of the hashes of its two parts (0g-router §10.7).

    Example:
        >>> binding(b"kat-aad", b"kat-ct").hex()[:16]
        'cd267304498951f9'
    """
    return hashlib.sha256(hashlib.sha256(aad).digest() + hashlib.sha256(ciphertext).digest()).digest()


def bindings_of(envelopes: Iterable[Any]) -> list[bytes]:
    """What stands for envelopes in a signed text, from what was kept of them.

    Raises:
        ValueError, KeyError, TypeError: one of them is no envelope.
    """
    return [binding(associated_data(each), decode(each["_e2ee"].get("ciphertext"))) for each in envelopes]


def encode(data: bytes) -> str:
    """Bytes as the protocol writes them: base64url without padding.

    Example:
        >>> encode(b"ab"), decode("YWI")
        ('YWI', b'ab')
    """
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: Any) -> bytes:
    """The way back.

    Raises:
        ValueError: it is no such text, or one that is not the only way to write its bytes.
    """
    if not isinstance(text, str) or not text.isascii() or "=" in text or "+" in text or "/" in text:
        raise ValueError("not base64url without padding")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise ValueError("not base64url without padding") from None
    if encode(data) != text:
        raise ValueError("not base64url without padding")
    return data
