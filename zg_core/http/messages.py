"""Messages: a request, a response whose body is still to be read, and how a body is read whole.

The body of a request may be read from disk while it is sent: a file of any length goes through at constant memory. It
is read twice, for its hash, which receipts and signatures are about, and to be sent; its last piece leaves only if both
readings were the same.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from zg_core.config import SecretHeaders, Url
from zg_core.errors import ConfigError
from zg_core.http.bodies import BodyBroken
from zg_core.http.timeouts import Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from os import PathLike

__all__ = ["USER_AGENT", "Request", "Response", "Upload", "in_loop", "read_all"]

USER_AGENT = "zerog-integrations"


PIECE_BYTES = 256 * 1024


class Upload:
    """A body made of bytes and files.

    Args:
        parts: Bytes as they are, paths of files.

    Raises:
        ConfigError: a file cannot be read (code ``unreadable_file``).

    Example:
        >>> body = Upload([b"a", b"b"])
        >>> len(body), list(body.pieces())
        (2, [b'ab'])
    """

    __slots__ = ("_parts", "_size", "sha256")

    def __init__(self, parts: Sequence[bytes | PathLike[str]]) -> None:
        self._parts = tuple(part if isinstance(part, bytes) else Path(part) for part in parts)
        digest, self._size = hashlib.sha256(), 0
        for piece in self._read():
            digest.update(piece)
            self._size += len(piece)
        self.sha256 = digest.hexdigest()
        """Lower-case hex hash of the whole body."""

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"Upload({self._size} bytes)"

    def in_memory(self) -> bytes:
        """The parts that are no files: what the caller has written himself."""
        return b"\n".join(part for part in self._parts if isinstance(part, bytes))

    def pieces(self) -> Iterator[bytes]:
        """The body again, piece by piece.

        Raises:
            ConfigError: a file cannot be read (code ``unreadable_file``), or has changed since (``file_changed``): the
                body is not sent to its end.
        """
        digest, size, last = hashlib.sha256(), 0, b""
        for piece in self._read():
            digest.update(piece)
            size += len(piece)
            if size > self._size:
                break
            if last:
                yield last
            last = piece
        if digest.hexdigest() != self.sha256:
            raise ConfigError(
                "the file has changed while it was sent; the request was broken off before its end",
                code="file_changed",
                hint="send a file that nobody writes to",
            )
        yield last

    def _read(self) -> Iterator[bytes]:
        pending = b""  # small parts go out with what follows them
        for part in self._parts:
            for piece in (part,) if isinstance(part, bytes) else _of_file(part):
                pending += piece
                if len(pending) >= PIECE_BYTES:
                    yield pending
                    pending = b""
        if pending:
            yield pending


def _of_file(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except OSError as error:
        raise ConfigError(
            f"{path.name} cannot be read: {error.strerror or type(error).__name__}",
            code="unreadable_file",
            hint="check the path and its permissions",
        ) from None


async def in_loop(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """`pieces` for a library that asks for them in an event loop."""
    for piece in pieces:
        yield piece


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    `once` says that repeating it may cost money: when such a request is sent and no answer comes, its outcome is
    unknown rather than failed. `public` says that a stranger chose the URL: only addresses of the public internet are
    dialled for it (`zg_core.http.reach`). `pin` is the SHA-256 (hex) of the only certificate that the server may show,
    compared before a byte is sent; "" leaves that to the system's authorities. The URL shows scheme and host only: an
    RPC endpoint's may hold a key.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)  # may hold a token, so they become `SecretHeaders`
    body: bytes | Upload | None = field(default=None, repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)
    once: bool = False
    public: bool = False
    pin: str = ""

    def __post_init__(self) -> None:
        """Hide the headers, and all but the place of the URL."""
        object.__setattr__(self, "url", Url(self.url))
        if self.headers.__class__ is not SecretHeaders:
            object.__setattr__(self, "headers", SecretHeaders(self.headers))


class Response(Protocol):
    """An HTTP response whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    certificate_sha256: str

    def chunks(self) -> AsyncIterator[bytes]:
        """The content-decoded body as it arrives; raises `BodyBroken`."""
        ...

    def hurry(self, seconds: float) -> None:
        """From now on the body has so many seconds in all to end; later it counts as stalled."""
        ...

    async def close(self) -> None:
        """Give the connection back or drop it."""
        ...


async def read_all(response: Response, limit: int, seconds: float | None = None) -> bytes:
    """The whole body, at most `limit` bytes.

    Args:
        response: Where it is read from.
        limit: Bytes.
        seconds: How long it may take in all; a sender that drips can keep below the time between two reads for ever.

    Raises:
        BodyBroken: it ended early, is larger, or takes longer.
    """
    parts: list[bytes] = []
    size, began = 0, time.monotonic()
    try:
        async for chunk in response.chunks():
            size += len(chunk)
            if size > limit:
                raise BodyBroken(f"the response is larger than {limit} bytes")
            if seconds is not None and time.monotonic() - began >= seconds:
                raise BodyBroken(f"the response takes longer than {seconds:.0f} s")
            parts.append(chunk)
    finally:
        await response.close()
    return b"".join(parts)
