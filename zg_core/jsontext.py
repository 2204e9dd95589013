"""JSON as it goes over the wire: encoded compactly in the caller's order, parsed without trust in who wrote it."""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["encode_body", "not_json", "parse_json"]


_DEEPEST = 500
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
# json.loads makes a decoder for every call with an option; events come by the hundred.
_DECODER, _LENIENT = json.JSONDecoder(), json.JSONDecoder(strict=False)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name is there twice")
    return value


_UNIQUE = json.JSONDecoder(object_pairs_hook=_once)
# What json.dumps makes for every call, with a function of ours for texts.
_encoder: Any = getattr(json.encoder, "c_make_encoder", None)
_LONG = 4096
_ESCAPED = bytes(range(32)) + b'"\\'
_SPACE = " \t\n\r"
_BOM = b"\xef\xbb\xbf"
# What parsed JSON takes in memory, roughly: bytes for each object, array, text and further value. Up to 24 times what
# it takes on the wire, so that a reply of 64 MB could ask for more than a machine has.
_WEIGHTS = ((b"{", 160), (b"[", 72), (b",", 32))
_TEXT_WEIGHT = 64
_HEAVIEST = 256 * 1024 * 1024
_LIGHT = _HEAVIEST // 64  # no text of this size can weigh more
_NO_BRACKET = bytes(set(range(256)) - set(_STEPS))


def encode_body(payload: Mapping[str, Any]) -> bytes:
    """`payload` as compact JSON in the caller's key order, UTF-8.

    Half of a character (a lone surrogate) becomes U+FFFD, two halves the character.

    Raises:
        ConfigError: something in it is not JSON (NaN included); the message says where and what it is.
    """
    try:
        text = _text_of(payload)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"the request is not JSON: {not_json(payload) or error}"
        raise ConfigError(message, code="bad_request_body", hint="send plain dicts, lists, texts and numbers") from None
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _text_of(payload: Mapping[str, Any]) -> str:
    if _encoder is None:  # not in every Python
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return "".join(_encoder({}, _none, _quoted, None, ":", ",", False, False, False)(payload, 0))


def _none(value: object) -> None:
    raise TypeError(f"a {type(value).__name__}")


def _quoted(text: str) -> str:
    """`text` as JSON; a long one in which nothing is escaped, such as a picture, is only looked through."""
    if len(text) < _LONG or not text.isascii() or not _is_plain(text[:_LONG]) or not _is_plain(text):
        return encode_basestring(text)
    return f'"{text}"'


def _is_plain(text: str) -> bool:
    return len(text.encode().translate(None, _ESCAPED)) == len(text)


def not_json(value: Any, place: str = "", *, nan: bool = False) -> str:
    """What in `value` JSON cannot hold, with its place; "" if there is nothing. Values are not repeated.

    Args:
        value: What is to be written.
        place: Where it stands.
        nan: Whether NaN and infinities pass, which Python writes and reads.

    Example:
        >>> not_json({"messages": [{"content": "a"}, {"content": b"b"}]})
        'messages[1].content is a bytes'
    """
    found = _not_json(value, place, 0, nan=nan)
    return "" if found is None else f"{found[0] or 'it'} {found[1]}"


def _not_json(value: Any, place: str, depth: int, *, nan: bool) -> tuple[str, str] | None:
    if value is None or isinstance(value, str | bool | int):
        return None
    if isinstance(value, float):
        return None if nan or math.isfinite(value) else (place, f"is {value}, which is no number of JSON")
    if depth > _DEEPEST:
        return place, f"is nested deeper than {_DEEPEST} levels"
    if isinstance(value, dict):
        for name, entry in value.items():
            if not isinstance(name, str | int | float | bool | None):
                return place, f"has a {type(name).__name__} for a name"
            inner = f"{place}.{name}" if place else str(name)
            if (found := _not_json(entry, inner, depth + 1, nan=nan)) is not None:
                return found
        return None
    if isinstance(value, list | tuple):
        entries = (_not_json(one, f"{place}[{index}]", depth + 1, nan=nan) for index, one in enumerate(value))
        return next((found for found in entries if found is not None), None)
    return place, f"is a {type(value).__name__}"


def parse_json(
    data: bytes | str, *, strict: bool = True, unique: bool = False, numbers: type[str] | None = None
) -> Any:
    """Parse JSON that somebody else wrote.

    Python's parser recurses in C, and some packages of this field (py_ecc, py-evm) raise the recursion limit beyond
    what the stack holds: then a reply of a hundred thousand brackets would kill the process.

    Args:
        data: The text.
        strict: Whether control characters inside strings are refused, as the standard says.
        unique: Whether a name that is twice in one object is refused, of which two readers may believe different ones.
        numbers: A kind of text to keep numbers in as they are written.

    Raises:
        ValueError: not JSON in UTF-8, nested deeper than 500 levels, or of so many values that it would take more than
            256 MB of memory; with `unique`, a name that is there twice.

    Example:
        >>> parse_json(b'{"a": [1, "]"]}')
        {'a': [1, ']']}
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > _LIGHT and _is_heavy(raw):
        raise ValueError(f"JSON of more than {_HEAVIEST // 1024**2} MB in memory")
    if len(raw) > _DEEPEST and raw.count(b"[") + raw.count(b"{") > _DEEPEST and _is_deep(raw):
        raise ValueError(f"JSON deeper than {_DEEPEST} levels")
    text = data if isinstance(data, str) else data.removeprefix(_BOM).decode()
    if numbers is not None:
        return json.JSONDecoder(parse_int=numbers, parse_float=numbers).decode(text)
    decoder = _UNIQUE if unique else _DECODER if strict else _LENIENT
    if text.startswith("{"):  # the common case, without the two searches for white space around it
        value, end = decoder.raw_decode(text)
        if end == len(text) or not text[end:].strip(_SPACE):
            return value
    return decoder.decode(text)


def _is_heavy(raw: bytes) -> bool:
    """Whether the values of `raw` would take too much memory; what stands inside texts is counted only at first."""
    if _weight(raw, raw.count(b'"') // 2) <= _HEAVIEST:
        return False
    bare, texts = _STRING.subn(b"", raw)
    return _weight(bare, texts) > _HEAVIEST


def _weight(raw: bytes, texts: int) -> int:
    return _TEXT_WEIGHT * texts + sum(weight * raw.count(sign) for sign, weight in _WEIGHTS)


def _is_deep(raw: bytes) -> bool:
    brackets = _STRING.sub(b"", raw).translate(None, _NO_BRACKET)
    depth = 0
    for start in range(0, len(brackets), 65_536):
        depths = list(accumulate(map(_STEPS.__getitem__, brackets[start : start + 65_536]), initial=depth))
        if max(depths) > _DEEPEST:
            return True
        depth = depths[-1]
    return False
