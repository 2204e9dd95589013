"""JSON as it goes over the wire: encoded compactly in the caller's order, parsed without trust in who wrote it."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from functools import cache
from importlib import import_module
from io import BytesIO
from itertools import accumulate
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
_PIECE = 64 * 1024
_PLACE = "\0"  # JSON has no such character: it is escaped in texts
_ALL_KINDS = "".join(map(chr, range(256))) + "\u2028\uffff\U0001f600"  # of characters, as JSON knows them
_SPACE = " \t\n\r"
_BOM = b"\xef\xbb\xbf"
# What parsed JSON takes in memory, roughly: bytes for each object, array, text and further value. Up to 24 times what
# it takes on the wire, so that a reply of 64 MB could ask for more than a machine has.
_WEIGHTS = ((b"{", 160), (b"[", 72), (b",", 32))
_TEXT_WEIGHT = 64
_HEAVIEST = 256 * 1024 * 1024
_LIGHT = _HEAVIEST // 64  # no text of this size can weigh more
_FEW = _DEEPEST // 20  # brackets; twice as many, of either kind, are not too deep
_NO_BRACKET = bytes(set(range(256)) - set(_STEPS))


def encode_body(payload: Mapping[str, Any], *, nan: bool = False) -> bytes:
    """`payload` as compact JSON in the caller's key order, UTF-8.

    Half of a character (a lone surrogate) becomes U+FFFD, two halves the character.

    Args:
        payload: What is written.
        nan: Whether NaN and infinities are written as Python reads them: servers say them of probabilities.

    Raises:
        ConfigError: something in it is not JSON (NaN included); the message says where and what it is.
    """
    long: list[str] = []
    try:
        text = _text_of(payload, long, nan=nan)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"the request is not JSON: {not_json(payload, nan=nan) or error}"
        raise ConfigError(message, code="bad_request_body", hint="send plain dicts, lists, texts and numbers") from None
    if not long:
        return _utf8(text)
    body = BytesIO()  # in the end its buffer is the bytes that are returned
    first, *others = text.split(_PLACE)
    body.write(_utf8(first))
    for left_out, other in zip(long, others, strict=True):
        _write(left_out, body)
        body.write(_utf8(other))
    return body.getvalue()


def _text_of(payload: Mapping[str, Any], long: list[str], *, nan: bool) -> str:
    """`payload` as JSON; where a long text belongs stands `_PLACE`, and the text is in `long`."""
    if _encoder is None:  # not in every Python
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=nan)

    def quoted(text: str) -> str:
        if len(text) < _LONG or type(text) is not str:
            return encode_basestring(text)
        long.append(text)
        return _PLACE

    return "".join(_encoder({}, _none, quoted, None, ":", ",", False, False, nan)(payload, 0))


def _none(value: object) -> None:
    raise TypeError(f"a {type(value).__name__}")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _whole(text).encode()


def _whole(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _write(text: str, body: BytesIO) -> None:
    """Write a long text as JSON, piece by piece: each copy of all of it would cost as much as what is done to it."""
    start = body.tell()
    body.write(b'"')
    try:
        _write_pieces(text, body)
    except (TypeError, ValueError):  # half a character
        body.seek(start + 1)
        body.truncate()
        _write_pieces(_whole(text), body)
    body.write(b'"')


def _write_pieces(text: str, body: BytesIO) -> None:
    quoted = _quoting()
    body.writelines(memoryview(quoted(text[place : place + _PIECE]))[1:-1] for place in range(0, len(text), _PIECE))


@cache
def _quoting() -> Callable[[str], bytes]:
    """What writes a text as JSON, several times faster than Python's own encoder, and byte for byte the same."""
    for name, function in (("orjson", "dumps"), ("pydantic_core", "to_json")):
        with suppress(ImportError, AttributeError):
            quoted: Callable[[str], bytes] = getattr(import_module(name), function)
            if quoted(_ALL_KINDS) == _quoted(_ALL_KINDS):
                return quoted
    return _quoted


def _quoted(text: str) -> bytes:
    return encode_basestring(text).encode()


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
    if len(raw) > _DEEPEST and _has_many(raw) and raw.count(b"[") + raw.count(b"{") > _DEEPEST and _is_deep(raw):
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


def _has_many(raw: bytes) -> bool:
    """Whether `raw` has more than a few opening brackets: finding so many in a long text is faster than counting."""
    for bracket in (b"[", b"{"):
        place = -1
        for _ in range(_FEW):
            place = raw.find(bracket, place + 1)
            if place < 0:
                break
        else:
            return True
    return False


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
