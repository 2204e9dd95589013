"""How faults change an answer: before it is hashed (the provider means it) or after (somebody tampered)."""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Any

from zg_core.localnet.provider import gojson
from zg_core.localnet.provider.faults import Fault
from zg_core.localnet.provider.gojson import NumberText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zg_core.localnet.provider.faults import FaultSet

DONE = b"data: [DONE]"
_WORD = re.compile(rb"[A-Za-z0-9]{3,}")


def map_json(piece: bytes, change: Callable[[dict[str, Any]], bool]) -> bytes:
    """Apply a change to the JSON object of an event or a whole body; the bytes stay as they are if it returns False."""
    payload = piece.strip().removeprefix(b"data:").strip()
    if not payload.startswith(b"{"):
        return piece
    try:
        document = gojson.loads_keeping_numbers(payload)
    except ValueError:
        return piece
    if not isinstance(document, dict) or not change(document):
        return piece
    return piece.replace(payload, gojson.dumps(document, escape_html=False), 1)


def honest(piece: bytes, faults: FaultSet, *, stream: bool) -> list[bytes]:
    """The pieces that take an honest piece's place before hashing."""
    if not faults:
        return [piece]
    pieces = [piece]
    if Fault.USAGE_INFLATED in faults:
        factor = faults.option(Fault.USAGE_INFLATED, "factor")
        pieces = [map_json(part, lambda document: scale_usage(document, factor)) for part in pieces]
    if Fault.USAGE_NULL in faults:
        final = faults.option(Fault.USAGE_NULL, "final") or not stream
        pieces = [map_json(part, lambda document: _null_usage(document, final)) for part in pieces]
    if piece.startswith(DONE):
        if Fault.TRAILING_EVENT in faults:
            event = {"object": "chat.completion.attestation", "attestation": {"local": True}}
            pieces.insert(0, b"data: " + gojson.dumps(event, escape_html=False) + b"\n\n")
        if Fault.COMMENT_AFTER_DONE in faults:
            pieces.append(b": keep-alive\n\n")
    return pieces


class Tamper:
    """Changes to the bytes after they were hashed. One for each response."""

    def __init__(self, faults: FaultSet) -> None:
        self._faults = faults
        self._letter_changed = False

    def __call__(self, piece: bytes) -> bytes:
        """What is sent in place of a hashed piece."""
        if Fault.USAGE_CHANGED in self._faults:
            factor = self._faults.option(Fault.USAGE_CHANGED, "factor")
            piece = map_json(piece, lambda document: scale_usage(document, factor))
        if Fault.BODY_CHANGED in self._faults and not self._letter_changed:
            changed = change_letter(piece)
            self._letter_changed = changed != piece
            piece = changed
        return piece


def scale_usage(document: dict[str, Any], factor: int) -> bool:
    """Multiply the token counts of a ``usage`` object. True if there was one."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return False
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        if name in usage:
            usage[name] = NumberText(int(usage[name]) * factor)
    return True


def _null_usage(document: dict[str, Any], final: bool) -> bool:
    if document.get("usage") is not None and not final:
        return False
    document["usage"] = None
    return True


def change_letter(piece: bytes) -> bytes:
    """One letter or digit of the answer's text, tool arguments or first embedding changed; other bytes as they were."""
    payload = piece.strip().removeprefix(b"data:").strip()
    try:
        document = json.loads(payload)
    except ValueError:
        return piece if payload[:1] in (b"{", b"[") else change_word(piece)
    for text in _answer_texts(document):
        for position, letter in enumerate(text):
            if letter.isascii() and letter.isalnum():
                other = "7" if letter in "0123456" else "1" if letter.isdigit() else "o" if letter != "o" else "a"
                for encode in (lambda s: json.dumps(s, ensure_ascii=False), json.dumps):
                    old = encode(text)[1:-1].encode("utf-8", "surrogatepass")
                    new = encode(text[:position] + other + text[position + 1 :])[1:-1].encode("utf-8", "surrogatepass")
                    start = piece.find(b'"' + old + b'"')
                    if start >= 0:
                        return piece[: start + 1] + new + piece[start + 1 + len(old) :]
                break
    if not isinstance(document, dict) or "choices" not in document:
        changed = change_word(piece)
        if changed != piece:
            return changed
    vector = re.search(rb'"embedding":\s*\[[^0-9]*[0-9.]*?([0-9])[,\]]', piece)
    if vector:
        digit = b"7" if vector[1] != b"7" else b"3"
        return piece[: vector.start(1)] + digit + piece[vector.end(1) :]
    return piece


def change_word(piece: bytes) -> bytes:
    """One letter of a transcript changed, in whatever form it has; other bytes as they were."""
    picture = piece.find(b'"b64_json":"')
    if picture >= 0:  # in the middle of its pixels
        place = (picture + piece.find(b'"', picture + 13)) // 2
        return piece[:place] + (b"A" if piece[place : place + 1] != b"A" else b"B") + piece[place + 1 :]
    for opening in (b'"delta":"', b'"text":"', b"\n"):
        start = piece.find(opening)
        place = start + len(opening)
        while start >= 0 and place < len(piece):
            letter = piece[place : place + 1]
            if letter.isalpha():
                return piece[:place] + (b"o" if letter != b"o" else b"a") + piece[place + 1 :]
            if letter in b'"<':
                break
            place += 1
    if piece[:1].isalpha() and not piece.startswith(b"WEBVTT"):
        return (b"o" if piece[:1] != b"o" else b"a") + piece[1:]
    return piece


def _answer_texts(document: Any) -> Iterator[str]:
    choices = document.get("choices") if isinstance(document, dict) else None
    for choice in choices if isinstance(choices, list) else []:
        message = choice.get("message") or choice.get("delta") or {}
        if isinstance(message.get("content"), str):
            yield message["content"]
        for call in message.get("tool_calls") or []:
            arguments = (call.get("function") or {}).get("arguments")
            if isinstance(arguments, str):
                yield arguments


def reframes(faults: FaultSet) -> bool:
    """Whether `frames` cuts; the response is then sent chunked, so that each frame arrives as one."""
    return Fault.SPLIT_UTF8 in faults or Fault.SPLIT_JSON in faults or Fault.SLOW_DRIP in faults


def frames(piece: bytes, faults: FaultSet) -> Iterator[bytes]:
    """Cut a piece the way a fault wants it to arrive."""
    if Fault.SLOW_DRIP in faults:
        size = max(1, faults.option(Fault.SLOW_DRIP, "size"))
        yield from (piece[start : start + size] for start in range(0, len(piece), size))
        return
    cuts: set[int] = set()
    if Fault.SPLIT_UTF8 in faults:
        cuts.update(position for position, byte in enumerate(piece) if byte & 0xC0 == 0x80)
    if Fault.SPLIT_JSON in faults:
        cuts.update((word.start() + word.end()) // 2 for word in _WORD.finditer(piece))
    start = 0
    for cut in sorted(cuts):
        yield piece[start:cut]
        start = cut
    yield piece[start:]


class Gzip:
    """Encodes a response as gzip, each piece decodable as soon as it is there."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(wbits=31)

    def piece(self, data: bytes) -> bytes:
        """The encoded form of the next piece."""
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        """What closes the encoding."""
        return self._compressor.flush()
