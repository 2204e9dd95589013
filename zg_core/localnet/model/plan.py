"""Deciding which tools to call: a plan made from the user's turn, of which the calls already made are left out.

A plan is a list of steps; the calls of one step do not need each other's results and can be made at once. It depends on
the turn alone, so every round of an agent's loop finds the same plan, sees how far it got, and the loop ends.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from zg_core.localnet.model.arithmetic import (
    Expression,
    Operation,
    evaluate,
    expressions,
    number_value,
)
from zg_core.localnet.model.evidence import Evidence
from zg_core.localnet.model.json import load_json
from zg_core.localnet.model.request import Tool
from zg_core.localnet.model.schema import fill_schema, properties_of, required_of, type_of
from zg_core.localnet.model.words import bare, keywords, names, numbers, stem, words

_OPERATION_STEMS: Final = {"+": "add", "-": "subtract", "*": "multipl", "/": "divid", "^": "power", "%": "modulo"}
_CALCULATING: Final = frozenset(map(stem, ("calculator", "calculate", "expression", "math", "arithmetic", "evaluate")))
_CLAUSE_END: Final = re.compile(r",?\s+and\s+(?:also\s+|then\s+)?|;\s*|,?\s+then\s+|(?<=[.?!])\s+|\n+", re.IGNORECASE)
_REFUSAL: Final = re.compile(
    r"\b(?:without|do not|don['\u2019]t|never)\s+(?:using|use|call|calling)\s+(?:any\s+|the\s+)?tools?\b"
)
_MAX_CALLS: Final = 16
_NAME_WEIGHT: Final = 3
_EXPLICIT: Final = 100


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A tool and the arguments to call it with."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


Plan = list[list[PlannedCall]]


def plan_calls(text: str, tools: Sequence[Tool], *, generous: bool = False) -> Plan:
    """What `text` asks of `tools`; empty if nothing.

    In order: calls written out (`search("x")`), arithmetic the tools can do, several clauses of which each asks for
    something, and at last the one tool that fits best.
    """
    if not tools or _REFUSAL.search(text.lower()):
        return []
    plan = (
        _written_calls(text, tools) or _arithmetic_calls(text, tools) or _clause_calls(text, tools, generous=generous)
    )
    if plan:
        return plan
    tool = best_tool(text, tools)
    return [] if tool is None else [[fill_call(tool, text, generous=generous)]]


def best_tool(text: str, tools: Sequence[Tool]) -> Tool | None:
    """The tool that shares most with `text`, the first of equals; None if none shares anything."""
    asked = frozenset(keywords(text))
    scores = [_score(tool, text, asked) for tool in tools]
    best = max(scores, default=0)
    return tools[scores.index(best)] if best else None


def fill_call(
    tool: Tool, text: str, *, whole: str | None = None, results: Sequence[str] = (), generous: bool = False
) -> PlannedCall:
    """A call of `tool` with arguments from `text`."""
    arguments = fill_schema(tool.parameters or {"type": "object"}, Evidence(text, whole, results), generous=generous)
    return PlannedCall(tool.name, arguments)


def _score(tool: Tool, text: str, asked: frozenset[str]) -> int:
    if re.search(rf"(?<![\w-]){re.escape(tool.name)}(?![\w-])", text, re.IGNORECASE):
        return _EXPLICIT
    in_name = set(keywords(tool.name)) & asked
    about = set(keywords(tool.description)) | {
        word for name in properties_of(tool.parameters) for word in keywords(name)
    }
    return _NAME_WEIGHT * len(in_name) + len((about & asked) - in_name)


# Calls written out in the prompt.


def _written_calls(text: str, tools: Sequence[Tool]) -> Plan:
    by_name = {tool.name: tool for tool in tools}
    pattern = rf"(?<![\w-])({'|'.join(map(re.escape, by_name))})\(([^()\n]{{0,500}})\)"
    calls = []
    for match in re.finditer(pattern, text):
        arguments = _written_arguments(by_name[match.group(1)], match.group(2))
        if arguments is not None:
            calls.append(PlannedCall(match.group(1), arguments))
    return [calls[:_MAX_CALLS]] if calls else []


def _written_arguments(tool: Tool, text: str) -> dict[str, Any] | None:
    """`3, unit="c"` as arguments by name; None if they do not make a call of this tool."""
    known = properties_of(tool.parameters)
    positions = list(known)
    arguments: dict[str, Any] = {}
    for index, match in enumerate(re.finditer(r"\s*(?:(\w+)\s*[=:]\s*)?(\"[^\"]*\"|'[^']*'|[^,]+)(?:,|$)", text)):
        name = match.group(1) or (positions[index] if index < len(positions) else "")
        if name not in known:
            return None
        arguments[name] = _written_value(match.group(2).strip(), type_of(known[name]))
    return arguments if set(required_of(tool.parameters)) <= set(arguments) else None


def _written_value(text: str, kind: str) -> Any:
    if text[:1] in "\"'" and text[-1:] == text[:1]:
        return text[1:-1]
    if kind == "string":
        return text
    try:
        return load_json(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text


# Arithmetic.


def _arithmetic_calls(text: str, tools: Sequence[Tool]) -> Plan:
    """Every operation as a call, operands first, if there are tools for all of them; else a calculator's calls."""
    found = expressions(text)
    if not found:
        return []
    levels: dict[int, list[PlannedCall]] = {}
    if all(_add_operation(found_one.tree, tools, levels) is not None for found_one in found):
        return [levels[level] for level in sorted(levels)]
    calculator = _calculator(tools)
    if calculator is None:
        return []
    return [[_calculation(calculator, expression) for expression in found[:_MAX_CALLS]]]


def _add_operation(
    tree: Operation | Fraction, tools: Sequence[Tool], levels: dict[int, list[PlannedCall]]
) -> int | None:
    """Add the calls for `tree` to `levels` and return the level after it; None if no tool can do one of them."""
    if isinstance(tree, Fraction):
        return 0
    tool = _operator_tool(tree.symbol, tools)
    below = [_add_operation(operand, tools, levels) for operand in (tree.left, tree.right)]
    operands = [evaluate(tree.left), evaluate(tree.right)]
    level = max((depth for depth in below if depth is not None), default=0)
    if tool is None or None in below or None in operands or sum(map(len, levels.values())) >= _MAX_CALLS:
        return None
    values = [number_value(operand) for operand in operands if operand is not None]
    arguments = dict(zip(_numeric(tool), values, strict=False))
    levels.setdefault(level, []).append(PlannedCall(tool.name, arguments))
    return level + 1


def _operator_tool(symbol: str, tools: Sequence[Tool]) -> Tool | None:
    wanted = _OPERATION_STEMS[symbol]
    able = [tool for tool in tools if len(_numeric(tool)) == 2 and len(required_of(tool.parameters)) <= 2]
    by_name = next((tool for tool in able if wanted in keywords(tool.name)), None)
    return by_name or next((tool for tool in able if wanted in keywords(tool.description)), None)


def _numeric(tool: Tool) -> list[str]:
    return [name for name, entry in properties_of(tool.parameters).items() if type_of(entry) in ("integer", "number")]


def _calculator(tools: Sequence[Tool]) -> Tool | None:
    for tool in tools:
        texts = [name for name, entry in properties_of(tool.parameters).items() if type_of(entry) == "string"]
        said = {*keywords(tool.name), *(word for name in texts for word in keywords(name))}
        if len(texts) == 1 and said & _CALCULATING:
            return tool
    return None


def _calculation(tool: Tool, expression: Expression) -> PlannedCall:
    name = next(name for name, entry in properties_of(tool.parameters).items() if type_of(entry) == "string")
    filled = fill_call(tool, expression.text)
    return PlannedCall(tool.name, {**filled.arguments, name: expression.text})


# Several clauses.


def _clause_calls(text: str, tools: Sequence[Tool], *, generous: bool) -> Plan:
    """One call for each clause that asks for something by itself; nothing if fewer than two do."""
    calls: list[PlannedCall] = []
    last: Tool | None = None
    for clause in _CLAUSE_END.split(text)[: 4 * _MAX_CALLS]:
        tool = best_tool(clause, tools)
        if tool is None and last is not None and _only_names(clause):
            tool = last
        if tool is None or not _is_enough(tool, clause):
            continue
        last = tool
        call = fill_call(tool, clause, whole=text, generous=generous)
        if call not in calls:
            calls.append(call)
    return [calls[:_MAX_CALLS]] if len(calls) > 1 else []


def _only_names(clause: str) -> bool:
    """Whether `clause` is just a name or two, or numbers: the second half of `in Paris and London`."""
    named = {word for name in names(clause) for word in words(name)}
    return bool(named) and all(
        word in named or bare(word.lower()) in ("in", "for", "of", "at") for word in words(clause)
    )


def _is_enough(tool: Tool, clause: str) -> bool:
    """Whether `clause` has something of its own for every required argument of `tool`."""
    known = properties_of(tool.parameters)
    evidence = Evidence(clause)
    literals = len(evidence.literals()) + len(names(clause))
    figures = len(numbers(clause))
    for name in required_of(tool.parameters):
        kind = type_of(known.get(name, {}))
        if evidence.gives(name) or known.get(name, {}).get("enum"):
            continue
        if kind in ("integer", "number"):
            figures -= 1
        elif kind == "string":
            literals -= 1
        elif kind != "boolean":
            return False
    return figures >= 0 and literals >= 0
