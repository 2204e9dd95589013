"""How the provider's Go program writes JSON.

A provider that touches a request body decodes it into a Go map, marshals it again, and hashes the result: keys sorted
by byte, compact, numbers as float64, ``<``, ``>`` and ``&`` escaped (0g-direct §4.3, §12.4). Responses go through
another encoder: number texts are kept and HTML escaping is off (§4.4).
"""

from __future__ import annotations

import json
import math
from json.encoder import encode_basestring
from typing import Any

from zg_core.localnet.model.json import check_depth

JsonObject = dict[str, Any]


class NumberText(str):
    """A JSON number kept as it was written (Go's ``json.Number``)."""

    __slots__ = ()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"invalid character {name[0]!r} looking for beginning of value")


def loads(data: bytes) -> Any:
    """Decode as ``json.Unmarshal`` into ``interface{}``: every number becomes a float64.

    Raises:
        ValueError: not JSON (NaN and Infinity are not), or nested too deep.
    """
    text = data.decode("utf-8", "replace")
    check_depth(text)
    return json.loads(text, parse_int=float, parse_float=float, parse_constant=_refuse_constant)


def loads_keeping_numbers(data: bytes) -> Any:
    """Decode as a Go decoder with ``UseNumber``: numbers stay the text they were.

    Raises:
        ValueError: not JSON.
    """
    text = data.decode("utf-8", "replace")
    check_depth(text)
    return json.loads(text, parse_int=NumberText, parse_float=NumberText, parse_constant=_refuse_constant)


def dumps(value: Any, *, escape_html: bool = True) -> bytes:
    """Encode as ``json.Marshal`` does for a map (or, without HTML escaping, as an ``Encoder`` does, newline removed).

    Raises:
        ValueError: a float that is not finite.
        TypeError: a value JSON has no form for.
    """
    out: list[str] = []
    _write(value, out, escape_html)
    text = "".join(out)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: Go writes U+FFFD
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _write(value: Any, out: list[str], escape_html: bool) -> None:
    if isinstance(value, NumberText):
        out.append(value)
    elif isinstance(value, str):
        out.append(_string(value, escape_html))
    elif value is None:
        out.append("null")
    elif value is True:
        out.append("true")
    elif value is False:
        out.append("false")
    elif isinstance(value, int):
        out.append(str(value))
    elif isinstance(value, float):
        out.append(_float(value))
    elif isinstance(value, dict):
        separator = "{"
        for key in sorted(value):  # code point order is UTF-8 byte order
            out.append(separator + _string(key, escape_html) + ":")
            _write(value[key], out, escape_html)
            separator = ","
        out.append("{}" if separator == "{" else "}")
    elif isinstance(value, list | tuple):
        separator = "["
        for item in value:
            out.append(separator)
            _write(item, out, escape_html)
            separator = ","
        out.append("[]" if separator == "[" else "]")
    else:
        raise TypeError(f"no JSON form for {type(value).__name__}")


def _string(text: str, escape_html: bool) -> str:
    quoted = encode_basestring(text)
    if escape_html and ("<" in quoted or ">" in quoted or "&" in quoted):
        quoted = quoted.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    if "\u2028" in quoted or "\u2029" in quoted:  # escaped with HTML escaping on or off
        quoted = quoted.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return quoted


def _float(number: float) -> str:
    """Go's float64 form: shortest digits, plain for 1e-6 <= |x| < 1e21, else exponent without leading zero."""
    if not math.isfinite(number):
        raise ValueError("json: unsupported value: not a finite number")
    if number == 0:
        return "-0" if math.copysign(1.0, number) < 0 else "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent_text = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    if fraction == "0":
        fraction = ""
    digits = (whole + fraction).lstrip("0")
    exponent = int(exponent_text or 0) + len(whole) - 1
    if whole == "0":
        exponent -= len(fraction) - len(fraction.lstrip("0")) + 1
    digits = digits.rstrip("0") or "0"
    if 1e-6 <= abs(number) < 1e21:
        if exponent < 0:
            return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
        if len(digits) <= exponent + 1:
            return sign + digits + "0" * (exponent + 1 - len(digits))
        return f"{sign}{digits[: exponent + 1]}.{digits[exponent + 1 :]}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    # Go writes at least two exponent digits, then removes the zero of a negative one (e-07 becomes e-7)
    return f"{sign}{digits[0]}{tail}e{'-' if exponent < 0 else '+'}{abs(exponent)}"
