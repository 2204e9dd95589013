"""JSON schemas of tools and answers: what refers to itself keeps its references, and the root is an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["closed", "is_recursive", "rooted"]

_DEFINITIONS = ("$defs", "definitions")


def is_recursive(schema: Mapping[str, Any]) -> bool:
    """Whether a definition of `schema` refers to itself, directly or through others.

    Example:
        >>> is_recursive({"$defs": {"N": {"items": {"$ref": "#/$defs/N"}}}, "$ref": "#/$defs/N"})
        True
    """
    edges = {name: set(_references(definition)) for name, definition in _definitions(schema).items()}
    edges["#"] = set(_references({name: value for name, value in schema.items() if name not in _DEFINITIONS}))
    done: set[str] = set()

    def leads_back(name: str, path: frozenset[str]) -> bool:
        if name in path:
            return True
        if name in done:
            return False
        found = any(leads_back(other, path | {name}) for other in edges.get(name, ()))
        done.add(name)
        return found

    return leads_back("#", frozenset())


def rooted(schema: Mapping[str, Any]) -> dict[str, Any]:
    """`schema` whose root is no mere reference: servers look for ``properties`` there.

    Example:
        >>> rooted({"$defs": {"N": {"type": "object"}}, "$ref": "#/$defs/N"})
        {'type': 'object', '$defs': {'N': {'type': 'object'}}}
    """
    beside = {name: value for name, value in schema.items() if name != "$ref"}
    target = _definitions(schema).get(_name(schema.get("$ref")))
    if not isinstance(target, dict):
        return dict(schema)
    return rooted({**{name: value for name, value in target.items() if name not in beside}, **beside})


def closed(schema: Any) -> Any:
    """`schema` with ``additionalProperties: false`` in every object, as strict mode asks for."""
    if isinstance(schema, list):
        return [closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(value) for name, value in schema.items()}
    return {**made, "additionalProperties": False} if schema.get("type") == "object" else made


def _definitions(schema: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place in _DEFINITIONS:
        if isinstance(definitions := schema.get(place), dict):
            found |= definitions
    return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(reference := value.get("$ref"), str):
            yield _name(reference)
        for entry in value.values():
            yield from _references(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _references(entry)


def _name(reference: Any) -> str:
    """The definition that a reference names; ``#`` is the schema itself."""
    return reference.rpartition("/")[2] if isinstance(reference, str) else ""
