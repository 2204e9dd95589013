"""JSON as Go's ``encoding/json`` writes a ``map[string]interface{}``.

A provider that rewrites a request re-marshals it this way, and the hash it signs is of that form (0g-direct §4.3,
§12.4). Keys sorted bytewise, compact, every number a float64, ``<``, ``>``, ``&`` and U+2028/2029 escaped.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

__all__ = ["marshal", "number_text"]

_HALF = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile('["\\\\\\x00-\\x1f<>&\u2028\u2029\ud800-\udfff]')
# Go 1.22 and later write \b and \f, before that they were \u0008 and \u000c. Providers build with newer releases.
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def marshal(value: Any) -> bytes:
    r"""`value` (parsed JSON) as Go would write it, in UTF-8.

    Raises:
        ValueError: not JSON: another type, a non-finite number, or a key that is not text.

    Example:
        >>> marshal({"b": 1.0, "a": "<x>", "c": [1e21, None]}).decode()
        '{"a":"\\u003cx\\u003e","b":1,"c":[1e+21,null]}'
    """
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts).encode()


def _write(value: Any, parts: list[str]) -> None:
    if value is None or isinstance(value, bool):
        parts.append(json.dumps(value))
    elif isinstance(value, str):
        parts.append(_string(value))
    elif isinstance(value, int | float):
        try:
            parts.append(number_text(float(value)))
        except OverflowError:
            raise ValueError("not JSON for Go: a number beyond float64") from None
    elif isinstance(value, dict):
        separator = "{"
        for key in sorted(value, key=_key):
            parts.append(f"{separator}{_string(key)}:")
            _write(value[key], parts)
            separator = ","
        parts.append("}" if value else "{}")
    elif isinstance(value, list | tuple):
        separator = "["
        for item in value:
            parts.append(separator)
            _write(item, parts)
            separator = ","
        parts.append("]" if value else "[]")
    else:
        raise ValueError(f"not JSON: {type(value).__name__}")


def _key(key: object) -> bytes:
    if not isinstance(key, str):
        raise ValueError(f"a key must be text, not {type(key).__name__}")  # noqa: TRY004 - as above
    return _HALF.sub("\ufffd", key).encode()


def _string(text: str) -> str:
    return '"' + _ESCAPED.sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if "\ud800" <= char <= "\udfff":
        return "\ufffd"  # a lone surrogate is not a rune; Go decodes it to the replacement character
    return _SHORT.get(char) or f"\\u{ord(char):04x}"


def number_text(number: float) -> str:
    """A number as Go writes it, which is how JavaScript does, but that it tells a negative zero.

    Raises:
        ValueError: it is not finite.

    Example:
        >>> number_text(1e21), number_text(1e-7), number_text(123456789012345680000.0)
        ('1e+21', '1e-7', '123456789012345680000')
    """
    if not math.isfinite(number):
        raise ValueError("not JSON: a number that is not finite")
    if number == 0:
        return "-0" if math.copysign(1, number) < 0 else "0"
    sign, digits, exponent = Decimal(repr(number)).as_tuple()  # exact, whatever the caller's decimal context
    text = "".join(map(str, digits))
    assert isinstance(exponent, int)  # noqa: S101 - finite, so not one of the letters
    point = len(text) + exponent  # where the decimal point stands
    text = text.rstrip("0")
    minus = "-" if sign else ""
    # Plain notation for 1e-6 <= |x| < 1e21, else exponent (encoding/json floatEncoder).
    if not 1e-6 <= abs(number) < 1e21:
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        # Go writes two digits of exponent at least, and encoding/json strips the zero again: 1e-7, 1e-10, 1e+21.
        return f"{minus}{mantissa}e{point - 1:+d}"
    if point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    if point >= len(text):
        return minus + text + "0" * (point - len(text))
    return f"{minus}{text[:point]}.{text[point:]}"
