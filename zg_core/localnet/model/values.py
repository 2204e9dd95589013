"""Values of a conversation, and the small checks that turn JSON into them or into an OpenAI-shaped error."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, overload

from zg_core.localnet.model.json import compact_json


class InvalidRequestError(ValueError):
    """A request a server would refuse with status 400.

    Attributes:
        param: The parameter that is wrong, as a path like `messages[2].content`; None if no single one is.
        code: OpenAI's machine-readable code, or None.
        status: The HTTP status of the answer.
    """

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status

    def body(self) -> bytes:
        """The error as OpenAI sends it."""
        error = {
            "message": str(self),
            "type": "invalid_request_error",
            "param": self.param,
            "code": self.code,
        }
        return compact_json({"error": error}).encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Media:
    """An attachment. `size` is in bytes, 0 if it is only linked; `digest` is the start of its SHA-256."""

    kind: Literal["image", "audio", "file"]
    media_type: str
    size: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asked for. `arguments` is JSON text, not yet parsed, as it stands on the wire."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `text` is all its text parts, one per line."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    name: str | None = None
    media: tuple[Media, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


def json_type(value: Any) -> str:
    """What JSON calls the type of `value`, with its article, for error messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a string", int: "an integer", float: "a decimal", list: "an array", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def wrong_type(param: str, expected: str, value: Any) -> InvalidRequestError:
    """The error for a value of the wrong JSON type."""
    message = f"Invalid type for '{param}': expected {expected}, but got {json_type(value)} instead."
    return InvalidRequestError(message, param, "invalid_type")


def read_object(value: Any, param: str) -> Mapping[str, Any]:
    """`value` if it is a JSON object.

    Raises:
        InvalidRequestError: It is something else.
    """
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)
    return value


@overload
def read_string(data: Mapping[str, Any], name: str, *, required: Literal[True]) -> str: ...
@overload
def read_string(data: Mapping[str, Any], name: str, *, required: bool = False) -> str | None: ...
def read_string(data: Mapping[str, Any], name: str, *, required: bool = False) -> str | None:
    """A string parameter; a required one may not be empty either.

    Raises:
        InvalidRequestError: It is missing, empty though required, or no string.
    """
    value = data.get(name)
    if value is None and not required:
        return None
    if value is None or (required and value == ""):
        raise InvalidRequestError(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    if not isinstance(value, str):
        raise wrong_type(name, "a string", value)
    return value


def read_bool(data: Mapping[str, Any], name: str, *, default: bool, within: str = "") -> bool:
    """A boolean parameter, `default` if absent.

    Raises:
        InvalidRequestError: It is no boolean.
    """
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise wrong_type(within + name, "a boolean", value)
    return value


def read_integer(
    data: Mapping[str, Any], name: str, *, minimum: int | None = None, maximum: int | None = None
) -> int | None:
    """An integer parameter within its bounds, None if absent.

    Raises:
        InvalidRequestError: It is no integer or out of bounds.
    """
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(name, "an integer", value)
    _check_bounds(name, "integer", value, minimum, maximum)
    return value


def read_number(data: Mapping[str, Any], name: str, *, minimum: float, maximum: float) -> float | None:
    """A decimal parameter within its bounds, None if absent.

    Raises:
        InvalidRequestError: It is no number or out of bounds.
    """
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise wrong_type(name, "a decimal", value)
    _check_bounds(name, "decimal", value, minimum, maximum)
    return float(value)


def _check_bounds(name: str, kind: str, value: float, minimum: float | None, maximum: float | None) -> None:
    for bound, sign, side, outside in (
        (minimum, ">=", "below minimum", minimum is not None and value < minimum),
        (maximum, "<=", "above maximum", maximum is not None and value > maximum),
    ):
        if outside:
            code = f"{kind}_{side.replace('minimum', 'min').replace('maximum', 'max').replace(' ', '_')}_value"
            raise InvalidRequestError(
                f"Invalid '{name}': {kind} {side} value. Expected a value {sign} {bound}, but got {value} instead.",
                name,
                code,
            )
