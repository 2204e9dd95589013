"""Pictures in the answers of a chat: when they are drawn, and how servers put them on the wire."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Final, Literal

from zg_core.localnet.media.png import draw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.localnet.model.values import Message

Draws = Literal["images", "parts"]
"""Where a message holds its pictures: in an array of its own beside the content, or among the parts of the content."""

_ASKS: Final = re.compile(r"\b(?:draw|paint|sketch|illustrate)\b", re.IGNORECASE)
_TWO: Final = re.compile(r"\b(?:two|2)\b", re.IGNORECASE)
_SIZE: Final = 64


def drawn(messages: Sequence[Message], modalities: Sequence[str], model: str) -> tuple[str, ...]:
    """The pictures that are asked for, as data URLs: none, one, or two where the words say so.

    They depend on the words of the user and on all pictures so far, so an edit of another picture is another one.
    """
    asked = next((each for each in reversed(messages) if each.role == "user"), None)
    if asked is None or not ("image" in modalities or _ASKS.search(asked.text)):
        return ()
    seed = "|".join((model, asked.text, *(media.digest for each in messages for media in each.media)))
    pictures = [draw(f"{seed}|{index}", _SIZE, _SIZE) for index in range(2 if _TWO.search(asked.text) else 1)]
    return tuple(f"data:image/png;base64,{base64.b64encode(each).decode()}" for each in pictures)


def parts_of(urls: Sequence[str], *, first: int = 0) -> list[dict[str, Any]]:
    """Pictures as entries of the array that stands beside a content."""
    return [
        {"type": "image_url", "image_url": {"url": url}, "index": index} for index, url in enumerate(urls, start=first)
    ]


def content_of(text: str, urls: Sequence[str]) -> list[dict[str, Any]]:
    """A content in parts: the words, if there are any, and then the pictures."""
    words = [{"type": "text", "text": text}] if text else []
    return [*words, *({"type": "image_url", "image_url": {"url": url}} for url in urls)]
