"""Request bodies that are read from disk while they are sent: their size and hash are known before, not their bytes.

A file of any length goes through at constant memory. It is read twice: for its hash, which receipts and signatures are
about, and to be sent; its last piece leaves only if both readings were the same.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from os import PathLike

__all__ = ["Upload", "in_loop"]

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
