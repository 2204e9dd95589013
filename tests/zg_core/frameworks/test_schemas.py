"""Schemas that refer to themselves."""

from __future__ import annotations

from typing import Any

import pytest

from zg_core.frameworks.schemas import closed, is_recursive, rooted

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
LEAF = {"type": "object", "properties": {"x": {"type": "integer"}}}
TO_LEAF = {"$ref": "#/$defs/Leaf"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"$defs": {"Node": NODE}, "$ref": "#/$defs/Node"}, True),
        ({"$defs": {"Node": NODE}, "type": "object", "properties": {"n": {"anyOf": [{"$ref": "#/$defs/Node"}]}}}, True),
        ({"definitions": {"A": {"items": {"$ref": "#/definitions/B"}}, "B": {"$ref": "#/definitions/A"}},
          "$ref": "#/definitions/A"}, True),
        ({"type": "object", "properties": {"me": {"$ref": "#"}}}, True),
        ({"$defs": {"Leaf": LEAF}, "properties": {"a": TO_LEAF, "b": TO_LEAF}}, False),
        ({"$defs": {"Node": NODE}, "type": "object"}, False),
        ({}, False),
    ],
)  # fmt: skip
def test_a_circle_of_definitions_that_the_root_leads_into_is_found(schema: dict[str, Any], expected: bool) -> None:
    assert is_recursive(schema) is expected


def test_a_root_that_is_a_reference_becomes_what_it_refers_to() -> None:
    schema = {"$defs": {"Node": NODE}, "$ref": "#/$defs/Node", "description": "mine"}
    assert rooted(schema) == {**NODE, "$defs": {"Node": NODE}, "description": "mine"}
    assert rooted(LEAF) == LEAF
    assert rooted({"$ref": "#/$defs/Missing"}) == {"$ref": "#/$defs/Missing"}


def test_strict_mode_closes_every_object() -> None:
    made = closed({"$defs": {"Node": NODE}, **LEAF, "anyOf": [LEAF]})
    assert made["additionalProperties"] is False
    assert made["$defs"]["Node"]["additionalProperties"] is False
    assert made["anyOf"][0]["additionalProperties"] is False
    assert "additionalProperties" not in made["properties"]
