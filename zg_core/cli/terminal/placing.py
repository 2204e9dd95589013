"""A provider may be named in its place or as ``--provider``, whatever the command: here one form becomes the other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["placed"]

_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")
_OPTION = "--provider"


def placed(root: Any, words: Sequence[str]) -> list[str]:
    """The words of a command line, with the provider where the command's parser expects it.

    Args:
        root: The parser's command that the words are for.
        words: What was typed behind the program's name.
    """
    found, at = root, 0
    while at < len(words) and (inner := getattr(found, "commands", {}).get(words[at])) is not None:
        found, at = inner, at + 1
    parameters = {each.name: each for each in getattr(found, "params", ())}
    own = parameters.get("provider")
    if own is None:
        return list(words)
    before, behind = list(words[:at]), list(words[at:])
    if own.param_type_name == "argument":
        return before + _as_argument(behind)
    return before + _as_option(behind, parameters)


def _as_argument(words: list[str]) -> list[str]:
    end = words.index("--") if "--" in words else len(words)
    for at, word in enumerate(words[:end]):
        name, equals, value = word.partition("=")
        if name != _OPTION:
            continue
        if equals:
            return [value, *words[:at], *words[at + 1 :]]
        if at + 1 < end:
            return [words[at + 1], *words[:at], *words[at + 2 :]]
    return words


def _as_option(words: list[str], parameters: dict[str, Any]) -> list[str]:
    """An address in the place of the first word that belongs to no option is the provider."""
    takes_value = {
        name
        for each in parameters.values()
        if each.param_type_name == "option" and not each.is_flag and not getattr(each, "count", False)
        for name in each.opts
    }
    at = 0
    while at < len(words) and words[at] != "--":
        if words[at].startswith("-") and words[at] != "-":
            at += 2 if words[at] in takes_value else 1
        elif _ADDRESS.fullmatch(words[at]):
            return [*words[:at], _OPTION, *words[at:]]
        else:
            break
    return words
