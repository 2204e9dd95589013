"""Whether a JSON schema is one: every keyword the model acts on has a value of the right type."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from zg_core.localnet.model.values import InvalidRequestError

_TYPES: Final = ("object", "array", "string", "integer", "number", "boolean", "null")
_MAX_DEPTH: Final = 64


def check_schema(schema: Any, param: str) -> None:
    """Check `schema` and everything in it.

    Raises:
        InvalidRequestError: A keyword has a value that means nothing, or the schema is nested too deep.
    """
    _check(schema, param, 0)


def _check(schema: Any, param: str, depth: int) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        raise _invalid(param, "is not a schema" if depth <= _MAX_DEPTH else "is nested too deep")
    for keyword, is_right in _CHECKS.items():
        if keyword in schema and not is_right(schema[keyword]):
            raise _invalid(f"{param}.{keyword}", "has a value of the wrong type")
    for keyword in ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas"):
        for name, entry in schema.get(keyword, {}).items():
            _check(entry, f"{param}.{keyword}.{name}", depth + 1)
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for index, entry in enumerate(schema.get(keyword, ())):
            _check(entry, f"{param}.{keyword}[{index}]", depth + 1)
    for keyword in ("items", "additionalProperties", "not", "contains", "propertyNames"):
        if keyword in schema:
            _check(schema[keyword], f"{param}.{keyword}", depth + 1)


def _invalid(param: str, fault: str) -> InvalidRequestError:
    return InvalidRequestError(f"Invalid schema: '{param}' {fault}.", param, "invalid_schema")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_bound(value: Any) -> bool:
    """An exclusive bound: a number, or true in the older spelling."""
    return isinstance(value, bool) or _is_number(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_type(value: Any) -> bool:
    return value in _TYPES if isinstance(value, str) else _is_texts(value) and all(kind in _TYPES for kind in value)


def _is_options(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


_CHECKS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "$ref": _is_text,
    "type": _is_type,
    "enum": _is_options,
    "anyOf": _is_options,
    "oneOf": _is_options,
    "allOf": _is_options,
    "prefixItems": _is_options,
    "properties": _is_map,
    "$defs": _is_map,
    "definitions": _is_map,
    "patternProperties": _is_map,
    "dependentSchemas": _is_map,
    "required": _is_texts,
    "minimum": _is_number,
    "maximum": _is_number,
    "exclusiveMinimum": _is_bound,
    "exclusiveMaximum": _is_bound,
    "multipleOf": lambda value: _is_number(value) and value > 0,
    "minLength": _is_count,
    "maxLength": _is_count,
    "minItems": _is_count,
    "maxItems": _is_count,
    "minProperties": _is_count,
    "pattern": _is_text,
    "format": _is_text,
    "title": _is_text,
    "description": _is_text,
}
