"""The shortest plain text that matches a regular expression, for the `pattern` of a JSON schema."""

import importlib
import re
import string
from typing import Any

# Python parses expressions for itself and offers no public way to see the result.
_parser: Any = importlib.import_module("re._parser")

_MAX_LENGTH = 4096
_ALPHABET = string.ascii_lowercase + string.digits + string.ascii_uppercase + string.punctuation + " \n"


def matches(pattern: str, text: str) -> bool:
    """Whether `pattern` is found in `text`, as JSON Schema means it. A pattern Python cannot read matches nothing."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False


def example(pattern: str) -> str | None:
    """A text that matches `pattern`, the same each time; None if the pattern is too clever for the generator."""
    try:
        text = _write(_parser.parse(pattern), {})
    except (re.error, KeyError, OverflowError, RecursionError):
        return None
    return text if len(text) <= _MAX_LENGTH and matches(pattern, text) else None


def _write(nodes: Any, groups: dict[int, str]) -> str:
    return "".join(_write_node(op, argument, groups) for op, argument in nodes)


def _write_node(op: Any, argument: Any, groups: dict[int, str]) -> str:
    match op.name:
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return next(char for char in _ALPHABET if ord(char) != argument)
        case "ANY":
            return "a"
        case "IN":
            return _pick(argument)
        case "BRANCH":
            return _write(argument[1][0], groups)
        case "SUBPATTERN":
            text = _write(argument[3], groups)
            groups[argument[0]] = text
            return text
        case "GROUPREF":
            return groups[argument]
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, nodes = argument
            times = least or (1 if most else 0)
            if times > _MAX_LENGTH:
                raise OverflowError
            return "".join(_write(nodes, groups) for _ in range(times))
        case _:  # anchors and look-around write nothing; `example` checks the result
            return ""


def _pick(members: Any) -> str:
    """A character of a set; for a negated set one that is not in it."""
    (first, argument), rest = members[0], members[1:]
    if first.name == "NEGATE":
        return next(char for char in _ALPHABET if not any(_has(char, member) for member in rest))
    if first.name == "LITERAL":
        return chr(argument)
    if first.name == "RANGE":
        return chr(argument[0])
    return next(char for char in _ALPHABET if _has(char, members[0]))


def _has(char: str, member: Any) -> bool:
    op, argument = member
    if op.name == "LITERAL":
        return bool(ord(char) == argument)
    if op.name == "RANGE":
        return bool(argument[0] <= ord(char) <= argument[1])
    inside = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}
    name: str = argument.name.removeprefix("CATEGORY_")
    positive = re.match(inside[name.removeprefix("NOT_")], char) is not None
    return positive != name.startswith("NOT_")
