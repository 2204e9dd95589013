"""One request and its response as bytes: encoding, hashing, server-sent events. No I/O.

What a provider signs are bytes (0g-direct §5.3), so they are hashed as they pass, before anything parses them.
"""

from __future__ import annotations

import hashlib
import json
import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from zg_core.crypto import sha256_hex
from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Exchange", "SSEDecoder", "encode_body", "parse_json"]

# Chat ids go into URLs (0g-direct §4.9).
_CHAT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DONE = b"[DONE]"
MAX_EVENT_BYTES = 8 * 1024 * 1024
_DEEPEST = 500
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
# json.loads makes a decoder for every call with an option; events come by the hundred.
_DECODER, _LENIENT = json.JSONDecoder(), json.JSONDecoder(strict=False)
_SPACE = " \t\n\r"
_BOM = b"\xef\xbb\xbf"
_NO_BRACKET = bytes(set(range(256)) - set(_STEPS))


def encode_body(payload: Mapping[str, Any]) -> bytes:
    """`payload` as compact JSON in the caller's key order, UTF-8.

    Raises:
        ConfigError: something in it is not JSON (NaN included).
    """
    try:
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        message = f"the request is not JSON: {error}"
        raise ConfigError(message, code="bad_request_body", hint="send plain dicts, lists, texts and numbers") from None


def parse_json(data: bytes | str, *, strict: bool = True) -> Any:
    """Parse JSON that somebody else wrote.

    Python's parser recurses in C, and some packages of this field (py_ecc, py-evm) raise the recursion limit beyond
    what the stack holds: then a reply of a hundred thousand brackets would kill the process.

    Args:
        data: The text.
        strict: Whether control characters inside strings are refused, as the standard says.

    Raises:
        ValueError: not JSON in UTF-8, or nested deeper than 500 levels.

    Example:
        >>> parse_json(b'{"a": [1, "]"]}')
        {'a': [1, ']']}
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > _DEEPEST and raw.count(b"[") + raw.count(b"{") > _DEEPEST and _is_deep(raw):
        raise ValueError(f"JSON deeper than {_DEEPEST} levels")
    text = data if isinstance(data, str) else data.removeprefix(_BOM).decode()
    decoder = _DECODER if strict else _LENIENT
    if text.startswith("{"):  # the common case, without the two searches for white space around it
        value, end = decoder.raw_decode(text)
        if end == len(text) or not text[end:].strip(_SPACE):
            return value
    return decoder.decode(text)


def _is_deep(raw: bytes) -> bool:
    brackets = _STRING.sub(b"", raw).translate(None, _NO_BRACKET)
    depth = 0
    for start in range(0, len(brackets), 65_536):
        depths = list(accumulate(map(_STEPS.__getitem__, brackets[start : start + 65_536]), initial=depth))
        if max(depths) > _DEEPEST:
            return True
        depth = depths[-1]
    return False


class Exchange:
    """The bytes of one request and of its response, hashed as they pass.

    Attributes:
        request: The bytes sent.
        status: HTTP status, 0 before the response began.
        headers: Response headers, names in lower case.
        complete: Whether the response was read to its end.
        size: Bytes of the (content-decoded) response so far.
    """

    __slots__ = (
        "_hash", "_request_sha256", "body_id", "certificate_sha256", "complete", "headers", "replayed", "request",
        "size", "status",
    )  # fmt: skip

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.complete = False
        self.size = 0
        self.body_id = ""  # `id` inside the body, the fallback chat id
        self.certificate_sha256 = ""
        self.replayed = False  # set once, when the response is complete
        self._hash = hashlib.sha256()
        self._request_sha256 = ""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the response."""
        self._hash.update(chunk)
        self.size += len(chunk)

    @property
    def request_sha256(self) -> str:
        """Lower-case hex hash of the request bytes."""
        if not self._request_sha256:
            self._request_sha256 = sha256_hex(self.request)
        return self._request_sha256

    @property
    def response_sha256(self) -> str:
        """Lower-case hex hash of the response bytes so far."""
        return self._hash.hexdigest()

    @property
    def chat_id(self) -> str:
        """The id under which the signature is stored, "" if the reply names none that is fit for a URL.

        From the ``ZG-Res-Key`` header, else the body's ``id`` without ``chatcmpl-`` (0g-direct §4.9).
        """
        for candidate in (self.headers.get("zg-res-key", ""), self.body_id.removeprefix("chatcmpl-")):
            if _CHAT_ID.fullmatch(candidate):
                return candidate
        return ""

    @property
    def chat_ids(self) -> tuple[str, ...]:
        """All ids to try for the signature, the likeliest first: older brokers store under the whole body ``id``."""
        first = self.chat_id
        whole = self.body_id
        if not first or self.headers.get("zg-res-key") or whole == first or not _CHAT_ID.fullmatch(whole):
            return (first,) if first else ()
        return (first, whole)

    @property
    def marks(self) -> frozenset[str]:
        """What no two genuine replies share: the chat id, and the ``id`` inside the signed body where it is a UUID.

        Lower case, as the signature route reads ids (0g-direct §4.9): an old reply under another spelling is old.
        """
        inner = self.body_id.removeprefix("chatcmpl-").lower()
        marks = {self.chat_id.lower(), inner if _UUID.fullmatch(inner) else ""}
        return frozenset(marks - {""})


class SSEDecoder:
    r"""Cuts a byte stream into the ``data`` of its server-sent events, whatever the chunk boundaries.

    Example:
        >>> decoder = SSEDecoder()
        >>> decoder.feed(b'data: {"a"'), decoder.feed(b':1}\n\n: comment\n\ndata: [DONE]\n\n')
        ([], [b'{"a":1}', b'[DONE]'])
    """

    __slots__ = ("_data", "_held", "_open", "_parts", "_skip_newline")

    def __init__(self) -> None:
        self._data: list[bytes] = []  # lines of the event that has not ended yet, and their bytes
        self._held = 0
        self._parts: list[bytes] = []  # of the line that has not ended yet, and their bytes
        self._open = 0
        self._skip_newline = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events completed by `chunk`.

        Raises:
            ValueError: one event is larger than 8 MB.
        """
        if not chunk:
            return []
        if self._skip_newline and chunk[:1] == b"\n":
            chunk = chunk[1:]
        self._skip_newline = chunk[-1:] == b"\r"
        if b"\r" in chunk:
            # A carriage return ends a line by itself; if the next chunk begins with its newline, that is dropped.
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._parts.append(chunk)
        self._open += len(chunk)
        events: list[bytes] = []
        if b"\n" in chunk:  # joined only when the line ends: many small chunks of a long line cost no more
            lines = b"".join(self._parts).split(b"\n")
            self._parts = [lines.pop()]
            self._open = len(self._parts[0])
            for line in lines:
                if not line:
                    if self._data:
                        events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                        self._data = []
                        self._held = 0
                elif line[:5] == b"data:":
                    self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                    self._held += len(line)
        if self._open + self._held > MAX_EVENT_BYTES:
            raise ValueError("a server-sent event is larger than 8 MB")
        return events

    def flush(self) -> list[bytes]:
        """The event that a stream without its last blank line leaves behind."""
        return self.feed(b"\n\n")
