"""Events of a stream that differ in their text only: read by what one of them was, without parsing the others. No I/O.

Nearly all events of a chat stream are the same JSON object but for one text. Once one of them was parsed it is known
what stands around its text: what begins and ends with the same bytes, and has one JSON string in between, says the same
with another text. Whatever else comes is parsed.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from zg_core.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Pattern", "Words", "spread"]

_LONGEST = 32 * 1024  # of what is looked at in one step
_FIRST = 1024  # so much at first, and twice as much as long as all of it is alike: what is not is looked at again
_MOST_PLACES = 4  # of an event, where its text may stand: each takes as long to be tried as to parse it
_CONTENT = re.compile(rb'"content"[ ]*:[ ]*"')
_LITERAL = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+')
_NOT_PLAIN = re.compile(rb'[\x00-\x09\x0b-\x1f"\\]')  # a line feed stands between the texts that are looked through
_SCALAR = (str, int, float, type(None))
_STRINGS = json.JSONDecoder()


class Pattern:
    r"""What events say that are alike but for the text of their only choice.

    Example:
        >>> said = b'{"id":"1","choices":[{"index":0,"delta":{"content":"Hel"}}]}'
        >>> pattern = Pattern.of(said, parse_json(said))
        >>> pattern.text(said.replace(b"Hel", b"l\\n")), pattern.text(said.replace(b"1", b"2"))
        ('l\n', None)
        >>> pattern.event("lo")
        {'id': '1', 'choices': [{'index': 0, 'delta': {'content': 'lo'}}]}
    """

    __slots__ = ("_between", "_choice", "_closing", "_delta", "_event", "_head", "_opening", "_step", "_tail", "bare")

    def __init__(self, head: bytes, tail: bytes, event: dict[str, Any]) -> None:
        # Copies: who was shown the event may change it.
        self._event = event.copy()
        self._choice: dict[str, Any] = event["choices"][0].copy()
        self._delta: dict[str, Any] = self._choice["delta"].copy()
        self._head, self._tail = head, tail
        self._opening, self._closing = b"data: " + head, tail + b"\n\n"
        self._between = self._closing + self._opening
        self._step = _FIRST
        said = {name for name, value in self._delta.items() if value is not None}
        self.bare = said <= {"content", "role"} and not self._choice.get("logprobs")
        """Whether they say nothing but their text."""

    @classmethod
    def of(cls, data: bytes, said: dict[str, Any]) -> Self | None:
        """What others may have in common with an event, None where that is not to be told.

        Args:
            data: Its bytes.
            said: What was parsed from them.
        """
        if len(data) > _LONGEST or b"\n" in data or (text := _text_of(said)) is None:
            return None
        mark = "a" if text != "a" else "b"
        for found in islice(_CONTENT.finditer(data), _MOST_PLACES):
            end = _LITERAL.match(data, found.end())
            if end is None:
                return None
            pattern = cls(data[: found.end()], data[end.end() :], said)
            try:  # the proof that it is this text which may be another, and nothing else
                if parse_json(pattern._head + mark.encode() + pattern._tail) == pattern.event(mark):
                    return pattern
            except ValueError:
                return None
        return None

    def event(self, text: str) -> dict[str, Any]:
        """The event that says `text`, as its parser would have made it."""
        event, choice, delta = self._event.copy(), self._choice.copy(), self._delta.copy()
        event["choices"], choice["delta"], delta["content"] = [choice], delta, text
        return event

    def text(self, data: bytes) -> str | None:
        """What the event says whose bytes are `data`; None where it is another, or has to be parsed to be told."""
        head, tail = self._head, self._tail
        if not (data.startswith(head) and data.endswith(tail)) or len(data) > _LONGEST:
            return None
        return _text(data[len(head) : -len(tail)]) if len(data) >= len(head) + len(tail) else None

    def texts(self, stream: bytes, at: int) -> tuple[list[str], int]:
        """What the events say that follow one another from `at`, and where what is no such event begins."""
        opening, closing, between = self._opening, self._closing, self._between
        start = at + len(opening)
        if not stream.startswith(opening, at):
            return [], at
        end = stream.rfind(closing, start, start + self._step)
        if end < 0 and (end := stream.find(closing, start, at + _LONGEST)) < 0:
            return [], at
        parts = stream[start:end].split(between)
        joined = b"\n".join(parts)
        if _NOT_PLAIN.search(joined) is None:  # all of them at once
            try:
                if len(texts := joined.decode().split("\n")) == len(parts):
                    self._step = min(2 * self._step, _LONGEST)
                    return texts, end + len(closing)
            except UnicodeDecodeError:
                pass
        texts = []
        for part in parts:
            if (text := _text(part)) is None:
                self._step = _FIRST
                break
            texts.append(text)
            at += len(opening) + len(part) + len(closing)
        else:
            self._step = min(2 * self._step, _LONGEST)
        return texts, at


class Words:
    """Events that came one after the other and are alike.

    Attributes:
        pattern: What they have in common. The event that it was learnt from was shown as it is, before.
        texts: What each of them says.
    """

    __slots__ = ("pattern", "texts")

    def __init__(self, pattern: Pattern, texts: list[str]) -> None:
        self.pattern = pattern
        self.texts = texts


def spread(seen: Iterable[dict[str, Any] | Words]) -> Iterator[dict[str, Any]]:
    """Events one by one, those that are alike among them."""
    for each in seen:
        if isinstance(each, Words):
            yield from map(each.pattern.event, each.texts)
        else:
            yield each


def _text_of(said: dict[str, Any]) -> str | None:
    """The text of an event that says nothing but that, else the names of what it belongs to; None for any other."""
    choices = said.get("choices")
    choice = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(delta, dict) or choice.get("finish_reason"):
        return None
    if "error" in said or "error" in choice or said.get("usage") is not None:
        return None
    for values, inner in ((said, "choices"), (choice, "delta"), (delta, "")):
        if not all(isinstance(value, _SCALAR) for name, value in values.items() if name != inner):
            return None
    text = delta.get("content")
    return text if isinstance(text, str) else None


def _text(literal: bytes) -> str | None:
    """What stands between the quotes of a JSON string; None where this is none, or is mended where it is parsed."""
    if b"\\u" in literal:  # perhaps half of a character
        return None
    try:
        quoted = f'"{literal.decode()}"'
        text, end = _STRINGS.raw_decode(quoted)
    except ValueError:
        return None
    return text if end == len(quoted) else None
