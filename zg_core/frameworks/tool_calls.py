"""Tool calls that come in fragments: which fragments belong together, whatever the server calls them.

OpenAI numbers the calls of a reply and sends id and name once. Others leave the number out, send 0 for every call, an
empty or "null" id, or id and name with every fragment; whoever trusts them drops, mixes or repeats fragments.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Fragment", "ToolCall", "ToolCallMerger", "call_id", "is_complete", "new_call_id"]


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
        self._by_place: dict[int, ToolCall] = {}  # the newest call under a server's number
        self._by_id: dict[str, ToolCall] = {}  # by the server's id
        self._latest: ToolCall | None = None

    def merge(self, fragments: Any) -> list[Fragment]:
        """Take the ``tool_calls`` of one delta."""
        entries = fragments if isinstance(fragments, list) else []
        taken = [self._one(entry) for entry in entries if isinstance(entry, dict)]
        return [fragment for fragment in taken if fragment is not None]

    def _one(self, entry: Mapping[str, Any]) -> Fragment | None:
        function = entry.get("function")
        if not isinstance(function, dict):
            function = {}
        index, given_id = entry.get("index"), call_id(entry.get("id"))
        place = index if isinstance(index, int) and not isinstance(index, bool) else None
        name = function.get("name")
        name = name if isinstance(name, str) else ""
        arguments = function.get("arguments")
        if arguments is None:
            arguments = ""
        elif not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        if not (name or arguments or given_id):
            return None
        call = self._find(place, given_id, name)
        if call is None:
            call = ToolCall(self._next, given_id or new_call_id(), name)
            self._next += 1
            self.calls.append(call)
            shown_id, shown_name = call.id, call.name or None
        else:
            shown_id, shown_name = None, None
            if name and name != call.name and not call.arguments:
                call.name += name
                shown_name = name
        if place is not None:
            self._by_place[place] = call
        if given_id is not None:
            self._by_id[given_id] = call
        self._latest = call
        call.arguments += arguments
        return Fragment(call.index, shown_id, shown_name, arguments)

    def _find(self, place: int | None, given_id: str | None, name: str) -> ToolCall | None:
        """The call that a fragment continues; None if it begins a new one."""
        if given_id is not None and (known := self._by_id.get(given_id)) is not None:
            return known
        call = self._latest if place is None else self._by_place.get(place)
        if call is None:
            return None
        if given_id is not None and call.id in self._by_id:
            return None  # another id under the same number: a server that does not number its calls
        if name and call.name and (is_complete(call.arguments) or (place is None and name != call.name)):
            return None  # a name after whole arguments, or another one without a number: the next call
        return call


def is_complete(arguments: str) -> bool:
    """Whether `arguments` are a whole JSON object."""
    try:
        return isinstance(parse_json(arguments, strict=False), dict)
    except (ValueError, RecursionError):
        return False


def call_id(value: Any) -> str | None:
    """A tool call's id; None where a server sent none, an empty one, or the word "null"."""
    return value if isinstance(value, str) and value not in ("", "null") else None


def new_call_id() -> str:
    """An id for a call that came without: agents match results to calls by it."""
    return f"call_{uuid.uuid4().hex}"
