"""HTTP/1.1 as it is spoken on one connection, without the connection: requests to bytes, bytes to responses.

Strict where two readers could differ (lengths, chunks, names of headers), and as lenient as servers need it (line feeds
alone, folded lines, no reason). Every framing that is met has its test, beside what the HTTP library makes of it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from zg_core.http.wires import BAD_HEADER, Broken, Unsendable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.http.urls import Target

__all__ = ["Speech", "header_lines", "request_head"]

PIECE_BYTES = 16 * 1024
"""So much of a chunked body is given at once, and the rest of a chunk."""
_MOST_BYTES = 100 * 1024  # of a head, of trailers, of the line before a chunk
_TOKEN = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"  # noqa: S105 - the word of RFC 9110
_VALUE = r"[\t\x20-\x7e\x80-\xff]*"
_REQUEST = re.compile(rf"[A-Z]+ [!-~]+ HTTP/1\.1\r\nHost: {_VALUE}\r\n".encode("latin-1"))
_HEADERS = re.compile(rf"(?:{_TOKEN}: {_VALUE}\r\n)*".encode("latin-1"))
_BLANK = re.compile(rb"\n\r?\n")
_STATUS = re.compile(r"HTTP/([0-9]\.[0-9]) ([1-9][0-9]{2})(?: [^\x00\n\r\f\v]*)?")
_FIELD = rf"{_TOKEN}:[^\x00\n\r\f\v]*\r?"
_FIELDS = re.compile(rf"(?:{_FIELD}\n)*{_FIELD}")
_FOLD = re.compile(r"\r?\n[ \t]+")
_LENGTH = re.compile(r"[0-9]{1,20}")
_FIRST = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;[^\n]*|[ \t]*)\r\n")  # the line before a chunk
_NEXT = re.compile(rb"\r\n" + _FIRST.pattern)


def request_head(method: str, target: Target, headers: bytes, length: int | None) -> bytes:
    """The head of a request whose body has `length` bytes, None where it has none.

    Args:
        method: The method.
        target: Where it goes.
        headers: As `header_lines` wrote them.
        length: Bytes of the body.

    Raises:
        Unsendable: the path is none.
    """
    line = b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method.encode(), target.path, target.authority)
    if _REQUEST.fullmatch(line) is None:
        raise Unsendable(BAD_HEADER)
    return line + headers + (b"\r\n" if length is None else b"Content-Length: %d\r\n\r\n" % length)


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Headers as they stand in a request.

    Raises:
        Unsendable: a header is none.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode()
    # A line break in a header would make one line more.
    if _HEADERS.fullmatch(lines) is None or lines.count(b"\n") != len(headers):
        raise Unsendable(BAD_HEADER)
    return lines


class Speech:
    r"""The responses on one connection, one after the other; `begin` before each.

    Example:
        >>> speech = Speech()
        >>> speech.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
        >>> speech.head(), speech.piece(), speech.piece()
        ((200, {'content-length': '5'}), b'hel', None)
        >>> speech.feed(b"lo")
        >>> speech.piece(), speech.ended, speech.kept
        (b'lo', True, True)
    """

    __slots__ = ("_at", "_chunked", "_data", "_keep", "_left", "_line", "_over", "ended")

    def __init__(self) -> None:
        self._data, self._at = b"", 0  # what has come, and how much of it is understood
        self._over = False  # nothing more will come
        self.begin()

    def begin(self) -> None:
        """The next response is to come."""
        self.ended = False
        """Whether the body was given to its end."""
        self._keep = False
        self._chunked = False
        self._left: int | None = 0  # bytes of the body or the chunk; None: until the connection ends
        self._line = _FIRST

    @property
    def kept(self) -> bool:
        """Whether the server has ended its response, keeps the connection, and has said no more."""
        return self.ended and self._keep and not self._over and self._at == len(self._data)

    def feed(self, data: bytes) -> None:
        """Take the next bytes; b"" is the end of the connection."""
        self._over = not data
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0

    def head(self) -> tuple[int, dict[str, str]] | None:
        """Status and headers of the response, names in lower case; None before all of them have come.

        Raises:
            Broken: this is not HTTP.
        """
        if self._at == len(self._data):
            return None
        while (found := _BLANK.search(self._data, self._at)) is not None:
            start, _, rest = self._data[self._at : found.start()].decode("latin-1").partition("\n")
            version, status = _status(start)
            headers, self._at = _fields(rest), found.end()
            if status >= 200:
                self._frame(version, status, headers)
                return status, headers
        said = self._data[self._at :]
        if len(said) > _MOST_BYTES or not said.startswith(b"HTTP/"[: len(said)]):
            raise Broken("the server does not speak HTTP")
        return None

    def _frame(self, version: str, status: int, headers: dict[str, str]) -> None:
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if coding is not None and coding.lower() != "chunked":
            raise Broken("the body is transferred in another way than in chunks")
        if length is not None and _LENGTH.fullmatch(length) is None:  # said several times, perhaps
            length, *others = {each.strip(" \t") for each in length.split(",")}
            if others or _LENGTH.fullmatch(length) is None:
                raise Broken("the server names no length, or two")
            headers["content-length"] = length
        self._keep = version >= "1.1"
        if (said := headers.get("connection")) is not None:
            self._keep = self._keep and "close" not in {word.strip(" \t").lower() for word in said.split(",")}
        if status in (204, 304):
            return
        self._chunked = coding is not None
        if not self._chunked:
            self._left = None if length is None else int(length)
            self._keep = self._keep and length is not None

    def piece(self) -> bytes | None:
        """What has come of the body; None before there is more, b"" at the end (`ended`).

        Raises:
            Broken: the connection ended before, or these are no chunks; what came before that is given first.
        """
        if self.ended:
            return b""
        if self._chunked:
            piece = self._chunks()
        else:
            piece = self._data[self._at :] if self._left is None else self._data[self._at : self._at + self._left]
            self._at += len(piece)
            if self._left is None:
                self.ended = self._over
            else:
                self._left -= len(piece)
                self.ended = not self._left
        if piece or self.ended:
            return piece
        if self._over:
            raise Broken("the server hung up before the end of its answer")
        return None

    def _chunks(self) -> bytes:
        data, parts, size = self._data, [], 0
        try:
            while size < PIECE_BYTES and not self.ended:
                if self._left:
                    piece = data[self._at : self._at + self._left]
                    parts.append(piece)
                    size, self._at, self._left = size + len(piece), self._at + len(piece), self._left - len(piece)
                if self._left or not self._next(data):
                    break
        except Broken:
            if not any(parts):
                raise  # else when it is met again
        return b"".join(parts)

    def _next(self, data: bytes) -> bool:
        """Go to the next chunk, or to the end behind the last; False before all of the way has come."""
        found = self._line.match(data, self._at)
        if found is None:
            said = data[self._at :]
            if self._line is _NEXT and not b"\r\n".startswith(said[:2]):
                raise Broken("a chunk is longer than was said")
            if b"\n" in (said[2:] if self._line is _NEXT else said) or len(said) > _MOST_BYTES:
                raise Broken("the length of a chunk is none")
            return False
        left = int(found[1], 16)
        if left:
            self._at, self._left, self._line = found.end(), left, _NEXT
            return True
        blank = _BLANK.search(data, found.end() - 1)  # trailers may come before it
        if blank is not None:
            _fields(data[found.end() : blank.start()].decode("latin-1"))
            self._at, self.ended = blank.end(), True
        elif len(data) - self._at > _MOST_BYTES:
            raise Broken("the trailers have no end")
        return False


@lru_cache(maxsize=64)
def _status(line: str) -> tuple[str, int]:
    """Version and status of the line that a response begins with."""
    found = _STATUS.fullmatch(line.removesuffix("\r"))
    if found is None or found[2] == "101":
        raise Broken("the server does not speak HTTP")
    return found[1], int(found[2])


def _fields(text: str) -> dict[str, str]:
    """Headers by name; those that come several times are joined."""
    fields: dict[str, str] = {}
    if not text:
        return fields
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    if _FIELDS.fullmatch(text) is None:
        raise Broken("a header of the server is none")
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t\r")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields
