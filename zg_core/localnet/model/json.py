"""JSON as the model reads and writes it."""

import json
import re
from typing import Any, Final

MAX_DEPTH: Final = 200
"""Deepest nesting that is read."""

_MAX_BRACKETS: Final = 2000
_MAX_OBJECTS: Final = 50
_BRACKET: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)


def compact_json(value: Any) -> str:
    """`value` as JSON the way the model writes it: no spaces, characters as UTF-8 and not escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def load_json(text: str) -> Any:
    """The value of `text`, read strictly: no NaN, and nested at most `MAX_DEPTH` deep.

    Raises:
        ValueError: It is not JSON, or too deep.
    """
    check_depth(text)
    return json.loads(text, parse_constant=_refuse_constant)


def check_depth(text: str) -> None:
    """Refuse what is nested too deep to be parsed safely.

    The EVM raises Python's recursion limit for the whole process: a document of brackets would then end it instead of
    raising `RecursionError`.

    Raises:
        ValueError: It is nested deeper than `MAX_DEPTH`.
    """
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise ValueError("nested too deep")


def find_objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects that stand in prose, in order; none in a text of too many brackets."""
    if text.count("[") + text.count("{") > _MAX_BRACKETS:
        return []
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    place = text.find("{")
    for _ in range(_MAX_OBJECTS):
        if place < 0:
            break
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            found.append(value)
        place = text.find("{", end)
    return found


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _BRACKET.finditer(text):
        char = text[match.start()]
        if char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char != '"':
            depth -= 1
    return deepest


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
