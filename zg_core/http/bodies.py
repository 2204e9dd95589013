"""The body of a response as bytes: gzip undone in bounded pieces, and how a body can be broken."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from zg_core.shown.escaping import line
from zg_core.shown.redaction import blot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

__all__ = ["Body", "BodyBroken", "Gunzip"]

_PIECE = 256 * 1024


class BodyBroken(Exception):
    """The response body ended before its end, or grew too large; `reason` is for people."""

    def __init__(self, reason: str) -> None:
        reason = line(blot(reason))
        super().__init__(reason)
        self.reason = reason


class Gunzip:
    """Undoes gzip in bounded pieces, so that a small body cannot become a huge chunk.

    We ask for plain bytes, but some servers between here and the provider compress all the same; what is signed are
    the decoded bytes (0g-direct §5.3).
    """

    def __init__(self) -> None:
        self._member: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded pieces of the next bytes, each of 256 kB at most.

        Raises:
            BodyBroken: this is not gzip.
        """
        while data or self._member is not None:
            if self._member is None:
                self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                piece = self._member.decompress(data, _PIECE)
            except zlib.error as error:
                raise BodyBroken(f"the body does not decompress: {error}") from None
            if piece:
                yield piece
            if self._member.eof:
                data, self._member = self._member.unused_data, None
            else:
                data = self._member.unconsumed_tail
                if not data and len(piece) < _PIECE:
                    return

    def end(self) -> None:
        """The body has ended.

        Raises:
            BodyBroken: in the middle.
        """
        if self._member is not None:
            raise BodyBroken("the compressed body ends early")


class Body:
    """A response whose body comes raw from `_raw`, and decoded from `chunks`."""

    __slots__ = ()

    headers: Mapping[str, str]

    def _raw(self) -> AsyncIterator[bytes]:
        raise NotImplementedError

    def chunks(self) -> AsyncIterator[bytes]:
        """The content-decoded body as it arrives.

        Raises:
            BodyBroken: it ended early, or is encoded in a way that was not asked for.
        """
        encoding = self.headers.get("content-encoding", "").strip().lower()
        return self._raw() if encoding in ("", "identity") else self._decoded(encoding)

    async def _decoded(self, encoding: str) -> AsyncIterator[bytes]:
        if encoding not in ("gzip", "x-gzip"):
            raise BodyBroken(f"the body is encoded ({encoding[:40]!r}), which was not asked for")
        gunzip = Gunzip()
        async for chunk in self._raw():
            for piece in gunzip.feed(chunk):
                yield piece
        gunzip.end()
