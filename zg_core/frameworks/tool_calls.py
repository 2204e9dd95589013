"""Tool calls as servers send them, whole or in fragments: which fragments belong together, whatever they are called.

OpenAI numbers the calls of a reply, and sends id and name once. Others leave the number out, send 0 for every call, an
empty or "null" id, another id with every fragment, or id and name again and again; whoever trusts them drops, mixes or
repeats calls, and a tool runs as nobody asked. The rules:

- The number decides: an id that changes under one number belongs to the same call, one id under two numbers to two.
- Another name under one number is another call, unless it goes on with a name that came alone, without an id.
- A name that comes again while the arguments are not whole goes on with the call; after whole arguments it begins
  another one if arguments come with it or after it, and says nothing without.
- Without a number the id decides, and without both the order.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from zg_core.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Fragment",
    "ToolCall",
    "ToolCallMerger",
    "arguments_in",
    "call_id",
    "calls_in",
    "is_complete",
    "new_call_id",
]

_LEGACY = -1
"""The number of the one call in OpenAI's first form."""
_EMPTY = ("", "null")


@dataclass(slots=True)
class ToolCall:
    """One call as far as it has come; the number is ours."""

    index: int
    id: str
    name: str
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Fragment:
    """What one fragment adds to the call `index`; id and name are there once."""

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(slots=True)
class _Told:
    """A call with what its server calls it."""

    call: ToolCall
    place: int | None
    ids: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Part:
    """One fragment as the server sent it, tidied."""

    place: int | None
    id: str | None
    name: str
    arguments: str


class ToolCallMerger:
    """Puts the fragments of one reply's tool calls together.

    Args:
        first_index: The number of the first call.

    Example:
        >>> merger = ToolCallMerger()
        >>> _ = merger.merge([{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x":'}}])
        >>> _ = merger.merge([{"index": 0, "id": "null", "function": {"arguments": "1}"}}])
        >>> merger.calls
        [ToolCall(index=0, id='a', name='f', arguments='{"x":1}')]
    """

    def __init__(self, first_index: int = 0) -> None:
        self.calls: list[ToolCall] = []
        """The calls so far, in the order in which they began."""
        self._next = first_index
        self._told: list[_Told] = []
        self._latest: _Told | None = None
        self._heads: dict[int | None, _Part] = {}  # names and ids that may begin a call, by the server's number

    def take(self, delta: Mapping[str, Any]) -> list[Fragment]:
        """Take one delta: its ``tool_calls``, or the ``function_call`` of OpenAI's first form."""
        fragments = self.merge(delta.get("tool_calls"))
        legacy = delta.get("function_call")
        if isinstance(legacy, dict) and all(told.place == _LEGACY for told in self._told):
            fragments += self.merge([{"index": _LEGACY, "function": legacy}])
        return fragments

    def merge(self, fragments: Any) -> list[Fragment]:
        """Take the ``tool_calls`` of one delta."""
        entries = fragments if isinstance(fragments, list) else []
        taken = [self._one(_part(entry)) for entry in entries if isinstance(entry, dict)]
        return [fragment for fragment in taken if fragment is not None]

    def _one(self, part: _Part) -> Fragment | None:
        told = self._find(part)
        if part.arguments.strip() in _EMPTY and (
            told is None or not told.call.arguments or is_complete(told.call.arguments)
        ):
            part = replace(part, arguments="")
        if not (part.name or part.arguments or part.id):
            return None
        if told is not None and not self._goes_on(told, part):
            if told.call.name == part.name and is_complete(told.call.arguments):
                if not part.arguments:
                    self._heads[part.place] = part  # nothing yet: it may only repeat the name
                    return None
                if told.call.arguments == part.arguments and part.id in told.ids:
                    return None  # the whole call once more
            told = None
        head = None
        if self._heads and part.arguments:
            head = self._heads.pop(part.place, None) or self._heads.pop(None, None)
        if head is not None and not part.name and (told is None or is_complete(told.call.arguments)):
            told, part = None, replace(part, id=part.id or head.id, name=head.name)
        if told is None:
            if not (part.name or part.arguments):
                self._heads[part.place] = part  # an id alone is no call
                return None
            return self._begin(part, head)
        return self._add(told, part)

    def _begin(self, part: _Part, head: _Part | None) -> Fragment:
        identity = part.id or (head.id if head is not None else None)
        call = ToolCall(self._next, _unique(identity, self.calls), part.name, part.arguments.lstrip())
        self._next += 1
        self.calls.append(call)
        self._latest = _Told(call, part.place, set() if identity is None else {identity})
        self._told.append(self._latest)
        return Fragment(call.index, call.id, call.name or None, call.arguments)

    def _add(self, told: _Told, part: _Part) -> Fragment:
        call, self._latest = told.call, told
        told.place = part.place if told.place is None else told.place
        if part.id is not None:
            told.ids.add(part.id)
        name = None
        if part.name and part.name != call.name:
            call.name += part.name
            name = part.name
        arguments = part.arguments if call.arguments else part.arguments.lstrip()
        call.arguments += arguments
        return Fragment(call.index, None, name, arguments)

    def _find(self, part: _Part) -> _Told | None:
        """The call that a fragment is about, if it is about one that has begun."""
        latest = self._latest
        if part.place is None:
            known = [told for told in self._told if part.id is not None and part.id in told.ids]
            return known[-1] if known else latest
        here = [told for told in self._told if told.place == part.place]
        if here:
            return next((told for told in reversed(here) if part.id in told.ids), here[-1])
        if latest is None:
            return None
        if part.name:
            begun = part.id in latest.ids or (part.id is None and part.name == latest.call.name)
            return latest if latest.place is None and begun and not is_complete(latest.call.arguments) else None
        # Without a name it begins no call: the number was left out before, or is wrong now.
        return latest if latest.place is None or not is_complete(latest.call.arguments) else None

    @staticmethod
    def _goes_on(told: _Told, part: _Part) -> bool:
        """Whether a fragment goes on with the call that it is about."""
        call, known = told.call, part.id is not None and part.id in told.ids
        if not part.name:
            return True
        if not call.name:
            return part.place is not None or not is_complete(call.arguments)
        if part.name != call.name:
            return part.place is not None and part.id is None and not call.arguments
        if part.place is None and part.id is not None and not known and not call.arguments:
            return False
        if part.place == _LEGACY or not is_complete(call.arguments):
            return True
        return known and bool(part.arguments) and part.arguments != call.arguments


def _part(entry: Mapping[str, Any]) -> _Part:
    function = entry.get("function")
    if not isinstance(function, dict):
        function = {}
    name = function.get("name")
    text = arguments_text(function.get("arguments"))
    return _Part(_place(entry.get("index")), call_id(entry.get("id")), name if isinstance(name, str) else "", text)


def _unique(identity: str | None, calls: list[ToolCall]) -> str:
    """The id to show: one for each call, since results are matched to calls by it."""
    taken = any(call.id == identity for call in calls)
    return new_call_id() if identity is None or taken else identity


def _place(index: Any) -> int | None:
    if isinstance(index, str) and index.isascii() and index.isdecimal() and len(index) < 10:
        return int(index)
    return index if isinstance(index, int) and not isinstance(index, bool) else None


def arguments_text(arguments: Any) -> str:
    """Arguments as text, as OpenAI sends them; others send an object, or nothing."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json.dumps(arguments, ensure_ascii=False)


def calls_in(message: Mapping[str, Any]) -> list[ToolCall]:
    """The calls of a whole message: each entry is one.

    Example:
        >>> [(call.name, call.arguments) for call in calls_in({"function_call": {"name": "f", "arguments": None}})]
        [('f', '')]
    """
    entries = message.get("tool_calls")
    entries = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    legacy = message.get("function_call")
    if not entries and isinstance(legacy, dict):
        entries = [{"function": legacy}]
    calls: list[ToolCall] = []
    for part in map(_part, entries):
        text = "" if part.arguments.strip() in _EMPTY else part.arguments
        if part.name or text:
            calls.append(ToolCall(len(calls), _unique(part.id, calls), part.name, text))
    return calls


def arguments_in(text: Any) -> dict[str, Any]:
    """A call's arguments when the reply has come to its end; none at all, and null, are ``{}``.

    Raises:
        ValueError: they are no JSON object; the message says why.
    """
    if isinstance(text, dict):
        return text
    if text is None or (isinstance(text, str) and text.strip() in _EMPTY):
        return {}
    try:
        value = parse_json(text, strict=False)
    except (ValueError, RecursionError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None
    if isinstance(value, dict):
        return value
    raise ValueError(f"a JSON {type(value).__name__}, no object")


def is_complete(arguments: str) -> bool:
    """Whether `arguments` are a whole JSON object."""
    if arguments.rstrip()[-1:] != "}":
        return False
    try:
        return isinstance(parse_json(arguments, strict=False), dict)
    except (ValueError, RecursionError):
        return False


def call_id(value: Any) -> str | None:
    """A tool call's id; None where a server sent none, an empty one, or the word "null"."""
    return value if isinstance(value, str) and value not in _EMPTY else None


def new_call_id() -> str:
    """An id for a call that came without: agents match results to calls by it."""
    return f"call_{uuid.uuid4().hex}"
