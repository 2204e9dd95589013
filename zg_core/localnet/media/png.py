"""PNG files written with zlib alone: a mosaic that is the same for the same seed."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CELLS: Final = 8
"""Fields of the mosaic in each direction."""
_COLOURS: Final = 16


def draw(seed: str, width: int, height: int) -> bytes:
    """A picture of `width` by `height` pixels: 8 by 8 fields, coloured by a hash of `seed`.

    Example:
        >>> size_of(draw("a fox", 64, 32))
        (64, 32)
    """
    digest = hashlib.sha256(seed.encode("utf-8", "replace")).digest() * 2
    palette = hashlib.shake_256(digest).digest(3 * _COLOURS)
    across = [min(column * _CELLS // width, _CELLS - 1) for column in range(width)]
    rows = bytearray()
    for line in range(height):
        cells = digest[(line * _CELLS // height) * _CELLS // 2 :]
        colours = [cells[cell // 2] >> (4 * (cell % 2)) & 15 for cell in range(_CELLS)]
        rows += b"\0" + bytes(colours[cell] for cell in across)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    text = b"Title\0" + hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:16].encode()
    return b"".join(
        (
            SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"tEXt", text),  # two seeds never make the same file
            _chunk(b"PLTE", palette),
            _chunk(b"IDAT", zlib.compress(bytes(rows), 1)),
            _chunk(b"IEND", b""),
        )
    )


def size_of(image: bytes) -> tuple[int, int]:
    """Width and height of a PNG.

    Raises:
        ValueError: It is none.
    """
    if not image.startswith(SIGNATURE) or image[12:16] != b"IHDR" or len(image) < 24:
        raise ValueError("not a PNG")
    return struct.unpack(">II", image[16:24])


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
