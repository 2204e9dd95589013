"""Secrets in what strangers say: servers and proxies repeat the request in their errors, whole or in part.

What was sent as a secret is learnt here, and every text of a stranger is compared with it, whatever stands around it:
a prefix is no sign of a secret, and a piece of one is worth as much as the piece is long. What is kept of a secret is
in memory only, and the least recently learnt of many is forgotten.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import threading
from collections import OrderedDict
from urllib.parse import parse_qsl, urlsplit

__all__ = ["blot", "holds_token", "learn", "learn_key", "learn_url"]

_TOKEN = re.compile(r"app-sk-[A-Za-z0-9+/=_-]+")
_LONG_TOKEN = re.compile(r"app-sk-[A-Za-z0-9+/=_-]{16,}")  # what is shorter is a placeholder
_DIGITS = re.compile(r"[0-9A-Fa-f]{64,}")
_KEY = 64
_FEW = 512  # digits in a row of which a key is looked for; in longer rows there is none
_BLOCK = 8  # characters that are looked up; whole secrets are compared where they are found
_PIECE = 16  # a shorter piece of a secret opens nothing
_MOST = 1024
_SHARED = 16  # secrets that are kept for one block: what many of them begin with is none
_KEY_LIKE = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_-]{16,}|[A-Za-z0-9_-]{24,}")
_LOWER = str.maketrans({chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)})

_guard = threading.Lock()
_keys: OrderedDict[bytes, None] = OrderedDict()  # hashes of wallets' keys: what looks like one is mostly none
_known: OrderedDict[str, None] = OrderedDict()
_blocks: dict[str, tuple[tuple[str, int], ...]] = {}  # block: in which secrets, and where


def learn(secret: str) -> None:
    """Remember `secret` (16 characters at least) for `blot`; of a session token, its signature, too."""
    for text in (secret, _signature(secret)):
        folded = text.translate(_LOWER)
        if len(folded) < _PIECE:
            continue
        with _guard:
            if folded in _known:
                _known.move_to_end(folded)
                continue
            _known[folded] = None
            for place in _places(folded):
                block = folded[place : place + _BLOCK]
                _blocks[block] = (*_blocks.get(block, ())[1 - _SHARED :], (folded, place))
            if len(_known) > _MOST:
                _forget(_known.popitem(last=False)[0])


def learn_key(digits: str) -> None:
    """Remember the 64 hex digits of a wallet's key for `blot`: whole ones, of which no stranger hears a piece."""
    known = _hash(digits)
    with _guard:
        _keys[known] = None
        _keys.move_to_end(known)
        if len(_keys) > _MOST:
            _keys.popitem(last=False)


def holds_token(text: str) -> bool:
    """Whether there is an API key or session token of 0G in `text`, anybody's.

    Example:
        >>> holds_token("keys begin with app-sk-…"), holds_token("app-sk-eyJhZGRyZXNzIjoiMHg")
        (False, True)
    """
    return _LONG_TOKEN.search(text) is not None


def _hash(digits: str) -> bytes:
    return hashlib.sha256(digits.lower().encode()).digest()


def _without_keys(digits: str) -> str:
    for place in range(min(len(digits), _FEW) - _KEY + 1):
        if _hash(digits[place : place + _KEY]) in _keys:
            return f"{digits[:place]}…{_without_keys(digits[place + _KEY :])}"
    return digits


def _places(folded: str) -> range:
    """Of any piece of 16 characters, one block of 8 begins at one of these."""
    return range(0, len(folded) - _BLOCK + 1, _BLOCK)


def _forget(folded: str) -> None:
    for place in _places(folded):
        block = folded[place : place + _BLOCK]
        if left := tuple(each for each in _blocks.get(block, ()) if each[0] != folded):
            _blocks[block] = left
        else:
            _blocks.pop(block, None)


def _signature(secret: str) -> str:
    """What is secret in a session token (0g-direct §3): the rest of its content is in its owner's receipts."""
    try:
        content = base64.b64decode(secret.removeprefix("app-sk-"), validate=True)
    except (binascii.Error, ValueError):
        return ""
    return content.rpartition(b"|")[2].decode("latin-1").removeprefix("0x") if b"|" in content else ""


def learn_url(url: str) -> None:
    """Remember what looks like a key in the path and the query of a URL of the user's."""
    try:
        parts = urlsplit(url)
        values = [value for _, value in parse_qsl(parts.query)]
    except ValueError:
        return
    for text in (*parts.path.split("/"), *values):
        if _KEY_LIKE.fullmatch(text):
            learn(text)


def blot(text: str) -> str:
    """`text` of a stranger without the secrets in it, and without pieces of them of 16 characters or more.

    Example:
        >>> blot("cannot read Bearer app-sk-eyJhZGRyZXNz=")
        'cannot read Bearer app-sk-…'
        >>> learn("0123456789abcdefghijklmnopqrstuvwxyz")
        >>> blot("no such user: 56789ABCDEFGHIJKLMNOP")
        'no such user: …'
    """
    text = _TOKEN.sub("app-sk-…", text)
    if _keys:
        text = _DIGITS.sub(lambda found: _without_keys(found[0]), text)
    if not _blocks or len(text) < _PIECE:
        return text
    folded = text.translate(_LOWER)
    found: list[tuple[int, int]] = []
    place = 0
    while place <= len(folded) - _BLOCK:
        start = end = place
        for secret, where in _blocks.get(folded[place : place + _BLOCK], ()):
            run = _run(folded, place, secret, where)
            start, end = max((start, end), run, key=lambda each: each[1] - each[0])
        if end - start >= _PIECE:
            found.append((start, end))
            place = max(place, end - _BLOCK)
        place += 1
    for start, end in reversed(_merged(found)):
        text = f"{text[:start]}…{text[end:]}"
    return text


def _run(text: str, place: int, secret: str, where: int) -> tuple[int, int]:
    """How far `text` around `place` and `secret` around `where` are the same."""
    back = 0
    while back < min(place, where) and text[place - back - 1] == secret[where - back - 1]:
        back += 1
    ahead, most = _BLOCK, min(len(text) - place, len(secret) - where)
    while ahead < most and text[place + ahead] == secret[where + ahead]:
        ahead += 1
    return place - back, place + ahead


def _merged(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged
