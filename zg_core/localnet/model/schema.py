"""Filling a JSON schema from a prompt: tool arguments and structured answers.

Values come from the prompt where it has some (`Evidence`) and are made up where it has none; either way the result
satisfies the schema. Known keywords: `$ref`, `allOf`, `anyOf`, `oneOf`, `const`, `enum`, `type` (also as a list),
`nullable`, object, array, string and number constraints. `not`, `if` and property-name patterns are not looked at.
"""

import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from zg_core.localnet.model.evidence import Evidence
from zg_core.localnet.model.pattern import example, matches
from zg_core.localnet.model.values import InvalidRequestError
from zg_core.localnet.model.words import words

_PLAIN_DEPTH: Final = 5
"""From here on only what must be there is filled, so that recursive schemas come to an end."""
_MAX_DEPTH: Final = 30
_MAX_VALUES: Final = 10_000
_MAX_REFERENCES: Final = 50
_LIST_LENGTH: Final = 2
_MAX_PATTERN_TEXT: Final = 128

_FORMATS: Final = {
    "date": "2025-01-15",
    "date-time": "2025-01-15T09:30:00Z",
    "time": "09:30:00Z",
    "duration": "P1D",
    "email": "user@example.com",
    "idn-email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "https://example.com/",
    "url": "https://example.com/",
    "iri": "https://example.com/",
    "byte": "aGVsbG8=",
    "binary": "aGVsbG8=",
}
_FORMAT_PATTERNS: Final = {
    "date": r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$",
    "date-time": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$",
    "time": r"^\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$",
    "email": r"^[\w.+-]+@[\w-]+(\.[\w-]+)+$",
    "idn-email": r"^[\w.+-]+@[\w-]+(\.[\w-]+)+$",
    "uri": r"^[a-z][a-z0-9+.-]*://\S+$",
    "url": r"^[a-z][a-z0-9+.-]*://\S+$",
    "iri": r"^[a-z][a-z0-9+.-]*://\S+$",
    "ipv4": r"^\d{1,3}(\.\d{1,3}){3}$",
    "uuid": r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
}


def fill_schema(schema: Mapping[str, Any], evidence: Evidence, *, generous: bool) -> Any:
    """A value that satisfies `schema`, from what `evidence` offers.

    Args:
        schema: A JSON schema; references may only point into it.
        evidence: What the prompt offers; used up in part.
        generous: Fill optional properties unless the prompt declines them (structured output), instead of only when
            the prompt speaks of them (tool arguments).

    Raises:
        InvalidRequestError: The schema refers outside itself, or cannot be satisfied in finite space.
    """
    return _Filler(schema, evidence, generous=generous).value(schema, "", 0)


def properties_of(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The properties of an object schema, references and `allOf` resolved."""
    filler = _Filler(schema, Evidence(""), generous=False)
    found = filler.resolve(schema).get("properties", {})
    return {name: filler.resolve(entry) for name, entry in found.items()}


def required_of(schema: Mapping[str, Any]) -> list[str]:
    """The names of the required properties of an object schema."""
    return list(_Filler(schema, Evidence(""), generous=False).resolve(schema).get("required", ()))


def type_of(schema: Mapping[str, Any]) -> str:
    """The JSON type a resolved schema mainly stands for: the first that is not null, "string" if it does not say."""
    options = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    for option in options:
        kinds = option.get("type") if isinstance(option, Mapping) else None
        for kind in [kinds] if isinstance(kinds, str) else kinds or ():
            if kind != "null":
                return str(kind)
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


class _Filler:
    def __init__(self, root: Mapping[str, Any], evidence: Evidence, *, generous: bool) -> None:
        self.root = root
        self.evidence = evidence
        self.generous = generous
        self._values = 0

    def resolve(self, schema: Any) -> Mapping[str, Any]:
        """`schema` with its reference followed and its `allOf` merged in."""
        if schema is True or schema is None:
            return {}
        if not isinstance(schema, Mapping):
            raise InvalidRequestError(f"Invalid schema: {schema!r} cannot be satisfied.", code="invalid_schema")
        merged = dict(schema)
        for _ in range(_MAX_REFERENCES):
            if "$ref" in merged:
                target = self._target(merged.pop("$ref"))
                merged = {**target, **merged}
            elif "allOf" in merged:
                for part in merged.pop("allOf"):
                    merged = _merge(merged, self.resolve(part))
            else:
                return merged
        raise InvalidRequestError("Invalid schema: references in a circle.", code="invalid_schema")

    def value(self, schema: Any, name: str, depth: int) -> Any:
        self._values += 1
        if depth > _MAX_DEPTH or self._values > _MAX_VALUES:
            raise InvalidRequestError("Invalid schema: too deep or too large to fill.", code="invalid_schema")
        schema = self.resolve(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._enumerated(schema, name)
        options = schema.get("anyOf") or schema.get("oneOf")
        if not options and isinstance(schema.get("type"), list):
            options = [{**schema, "type": kind} for kind in schema["type"]]
        if options:
            return self._chosen(schema, options, name, depth)
        if schema.get("nullable") and self.evidence.declines(name):
            return None
        match type_of(schema) if "type" not in schema else schema["type"]:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer" | "number" as kind:
                return self._number(schema, name, integer=kind == "integer")
            case "boolean":
                if self.evidence.denies(name):
                    return False
                return True if self.evidence.mentions(name) else schema.get("default") is not False
            case "null":
                return None
            case _:
                return self._string(schema, name)

    def _target(self, reference: Any) -> Mapping[str, Any]:
        place: Any = self.root
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise InvalidRequestError(f"Invalid schema: unsupported reference {reference!r}.", code="invalid_schema")
        for part in reference.removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(place, Mapping) and key in place:
                place = place[key]
            elif isinstance(place, list) and key.isdigit() and int(key) < len(place):
                place = place[int(key)]
            else:
                raise InvalidRequestError(f"Invalid schema: nothing at {reference!r}.", code="invalid_schema")
        return {} if place is True else self._checked(place)

    @staticmethod
    def _checked(place: Any) -> Mapping[str, Any]:
        if not isinstance(place, Mapping):
            raise InvalidRequestError("Invalid schema: a reference to no schema.", code="invalid_schema")
        return place

    def _enumerated(self, schema: Mapping[str, Any], name: str) -> Any:
        options = [option for option in schema["enum"] if _has_type(option, schema.get("type"))] or schema["enum"]
        named = [option for option in options if isinstance(option, str) and self.evidence.says(option)]
        if named:
            return named[0]
        if None in options and self.evidence.declines(name):
            return None
        if any(isinstance(option, int | float) for option in options):
            number = self.evidence.take_number(name, integer=False)
            if number in options:
                return number
        if "default" in schema and schema["default"] in options:
            return schema["default"]
        return next((option for option in options if option is not None), None)

    def _chosen(self, schema: Mapping[str, Any], options: Sequence[Any], name: str, depth: int) -> Any:
        """One of several alternatives: null where declined or too deep, else what the prompt names, else the first."""
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf", "type")}
        resolved = [_merge(rest, self.resolve(option)) for option in options]
        null = next((option for option in resolved if option.get("type") == "null"), None)
        solid = [option for option in resolved if option is not null]
        if null is not None and (not solid or depth >= _PLAIN_DEPTH or self.evidence.declines(name)):
            return None
        if depth >= _PLAIN_DEPTH:
            solid.sort(key=lambda option: type_of(option) in ("object", "array"))
        named = [option for option in solid if self._is_named(option)]
        return self.value((named or solid)[0], name, depth + 1)

    def _is_named(self, option: Mapping[str, Any]) -> bool:
        consts = [entry.get("const") for entry in map(self.resolve, option.get("properties", {}).values())]
        literals = [option.get("title"), option.get("const"), *consts]
        return any(isinstance(literal, str) and self.evidence.says(literal) for literal in literals)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        known: Mapping[str, Any] = schema.get("properties", {})
        required = list(schema.get("required", ()))
        filled: dict[str, Any] = {}
        for name, entry in known.items():
            if name in required or self._wants(name, entry, depth):
                filled[name] = self.value(entry, name, depth + 1)
        others = schema.get("additionalProperties")
        for name in required:
            if name not in filled:
                filled[name] = self.value(others, name, depth + 1)
        if others is not False:
            literals = self.evidence.literals() if not known and isinstance(others, Mapping) else []
            for name in literals if depth < _PLAIN_DEPTH else ():
                self.evidence.take(name)
                filled[name] = self.value(others, name, depth + 1)
            for index in range(len(filled), _bounded(schema.get("minProperties", 0))):
                filled[f"item{index + 1}"] = self.value(others, "item", depth + 1)
        return filled

    def _wants(self, name: str, schema: Any, depth: int) -> bool:
        """Whether an optional property is filled."""
        if schema is False or self.evidence.declines(name):
            return False
        resolved = self.resolve(schema)
        spoken_of = self.evidence.gives(name) or any(
            isinstance(option, str) and self.evidence.says(option) for option in resolved.get("enum", ())
        )
        if spoken_of or self.evidence.mentions(name):
            return depth < _MAX_DEPTH // 2
        return self.generous and depth < _PLAIN_DEPTH and resolved.get("default") is None

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        least = _bounded(schema.get("minItems", 0))
        most = _bounded(schema.get("maxItems", _MAX_VALUES))
        fixed = schema.get("prefixItems", ())
        items = schema.get("items", True)
        singular = words(name)[-1].removesuffix("s") if words(name) else "item"
        filled = [self.value(entry, singular, depth + 1) for entry in fixed[:most]]
        if items is False:
            return filled
        wanted = least
        if depth < _PLAIN_DEPTH and not (fixed and "items" not in schema):
            wanted = self._length(self.resolve(items), name, len(filled))
        wanted = max(least, min(wanted, most))
        while len(filled) < wanted:
            value = self.value(items, singular, depth + 1)
            if schema.get("uniqueItems") and value in filled:
                value = self._another(self.resolve(items), filled)
                if value is None:
                    break
            filled.append(value)
        return filled

    def _length(self, items: Mapping[str, Any], name: str, already: int) -> int:
        """How many items the prompt offers or asks for."""
        count = self.evidence.take_count(name)
        if count is not None:
            return min(count, 50)
        offers = 0
        if items.get("enum"):
            offers = sum(isinstance(option, str) and self.evidence.says(option) for option in items["enum"]) and 1
        elif type_of(items) in ("integer", "number"):
            offers = self.evidence.number_count()
        elif type_of(items) == "string":
            offers = len(self.evidence.literals())
        return already + (offers or _LIST_LENGTH)

    def _another(self, items: Mapping[str, Any], taken: Sequence[Any]) -> Any:
        """A value for `items` that is not among `taken`, or None."""
        last = taken[-1]
        for option in items.get("anyOf") or items.get("oneOf") or ():
            resolved = self.resolve(option)
            if _has_type(last, resolved.get("type")):
                return self._another(resolved, taken)
        candidates: Iterator[Any] = iter(())
        if items.get("enum"):
            candidates = iter(items["enum"])
        elif isinstance(last, bool):
            candidates = iter((not last,))
        elif isinstance(last, str):
            candidates = (text for text in _variants(last, len(taken)) if _text_fits(text, items))
        elif isinstance(last, int | float):
            candidates = (number for number in _neighbours(last, items, len(taken)) if _number_fits(number, items))
        elif isinstance(last, dict):
            candidates = self._variations(last, items, taken)
        return next((value for value in candidates if value not in taken), None)

    def _variations(self, last: Mapping[str, Any], items: Mapping[str, Any], taken: Sequence[Any]) -> Iterator[Any]:
        """Objects like `last` with one property changed."""
        for name, entry in items.get("properties", {}).items():
            known = [value[name] for value in taken if isinstance(value, dict) and name in value]
            if name in last and known:
                other = self._another(self.resolve(entry), known)
                if other is not None:
                    yield {**last, name: other}

    def _number(self, schema: Mapping[str, Any], name: str, *, integer: bool) -> int | float:
        value = self.evidence.take_number(name, integer=integer)
        if value is None:
            default = schema.get("default")
            value = default if isinstance(default, int | float) and not isinstance(default, bool) else 1
        return _fit_number(value, schema, integer=integer)

    def _string(self, schema: Mapping[str, Any], name: str) -> str:
        default = schema.get("default")
        if isinstance(default, str) and not self.evidence.gives(name) and not self.evidence.mentions(name):
            return default
        for text in self.evidence.strings(name):
            if _text_fits(text, schema):
                self.evidence.take(text)
                return text
        return _fit_text(schema, name)


def _merge(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Two schemas that must both hold, as one; properties and requirements add up, the rest of `right` wins."""
    merged = {**left, **right}
    if "properties" in left and "properties" in right:
        merged["properties"] = {**left["properties"], **right["properties"]}
    if "required" in left and "required" in right:
        merged["required"] = list(dict.fromkeys([*left["required"], *right["required"]]))
    return merged


def _has_type(value: Any, kind: Any) -> bool:
    kinds = [kind] if isinstance(kind, str) else kind
    if not kinds:
        return True
    names = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    name = names.get(type(value), "null")
    return name in kinds or (name == "integer" and "number" in kinds)


def _bounded(count: int) -> int:
    if count > _MAX_VALUES:
        raise InvalidRequestError("Invalid schema: too large to fill.", code="invalid_schema")
    return int(count)


def _limits(schema: Mapping[str, Any]) -> tuple[Fraction | None, Fraction | None, bool, bool]:
    """Lower and upper bound, and for each whether it is excluded; both spellings of exclusive bounds are known."""
    low, high = schema.get("minimum"), schema.get("maximum")
    low_open, high_open = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if isinstance(low_open, int | float) and not isinstance(low_open, bool) and (low is None or low_open >= low):
        low, low_open = low_open, True
    if isinstance(high_open, int | float) and not isinstance(high_open, bool) and (high is None or high_open <= high):
        high, high_open = high_open, True
    return _exact(low), _exact(high), low_open is True, high_open is True


def _exact(value: Any) -> Fraction | None:
    return None if value is None else Fraction(str(value))


def _number_fits(value: float, schema: Mapping[str, Any]) -> bool:
    low, high, low_open, high_open = _limits(schema)
    exact = Fraction(str(value))
    above = low is None or exact > low or (exact == low and not low_open)
    below = high is None or exact < high or (exact == high and not high_open)
    step = schema.get("multipleOf")
    return above and below and (not step or exact % Fraction(str(step)) == 0)


def _neighbours(value: float, schema: Mapping[str, Any], taken: int) -> Iterator[int | float]:
    """Numbers near `value`, in the steps of `schema`."""
    integer = schema.get("type") == "integer"
    step = _exact_integer_step(schema.get("multipleOf")) if integer else _exact(schema.get("multipleOf")) or Fraction(1)
    for distance in range(1, 2 * taken + 2):
        for exact in (Fraction(str(value)) + distance * step, Fraction(str(value)) - distance * step):
            yield int(exact) if integer else float(exact)


def _variants(text: str, taken: int) -> Iterator[str]:
    """Texts like `text`: numbered, and numbered without growing."""
    for index in range(2, taken + 3):
        yield f"{text} {index}"
        yield f"{text[: -len(str(index))]}{index}"


def _fit_number(value: float, schema: Mapping[str, Any], *, integer: bool) -> int | float:
    """The value nearest to `value` that keeps to the bounds and steps of `schema`."""
    low, high, low_open, high_open = _limits(schema)
    step = _exact(schema.get("multipleOf")) or Fraction(0)
    if integer:
        step = _exact_integer_step(schema.get("multipleOf"))
    exact = Fraction(str(value))
    if step:
        exact = round(exact / step) * step
        if low is not None and (exact < low or (exact == low and low_open)):
            exact = (math.floor(low / step) + 1) * step if low_open else math.ceil(low / step) * step
        if high is not None and (exact > high or (exact == high and high_open)):
            exact = (math.ceil(high / step) - 1) * step if high_open else math.floor(high / step) * step
    else:
        if low is not None and (exact < low or (exact == low and low_open)):
            exact = low if not low_open else (low + high) / 2 if high is not None else low + 1
        if high is not None and (exact > high or (exact == high and high_open)):
            exact = high if not high_open else (low + high) / 2 if low is not None else high - 1
    return int(exact) if integer or (exact.denominator == 1 and isinstance(value, int)) else float(exact)


def _exact_integer_step(step: Any) -> Fraction:
    """The smallest whole number that is a multiple of `step`."""
    return Fraction(1) if not step else Fraction(Fraction(str(step)).numerator)


def _text_fits(text: str, schema: Mapping[str, Any]) -> bool:
    if not schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", len(text)):
        return False
    kind = schema.get("format")
    if kind in _FORMATS and kind not in _FORMAT_PATTERNS:
        return text == _FORMATS[kind]
    for pattern in (schema.get("pattern"), _FORMAT_PATTERNS.get(str(kind))):
        # Long texts are not tried: a careless pattern could take for ever on them.
        if isinstance(pattern, str) and (len(text) > _MAX_PATTERN_TEXT or not matches(pattern, text)):
            return False
    return True


def _fit_text(schema: Mapping[str, Any], name: str) -> str:
    """A text made for the constraints of `schema`."""
    if schema.get("format") == "uuid":
        return str(uuid.uuid5(uuid.NAMESPACE_OID, name))
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    pattern = schema.get("pattern")
    text = (example(pattern) if isinstance(pattern, str) else None) or name or "text"
    if _text_fits(text, schema):
        return text
    least, most = _bounded(schema.get("minLength", 0)), _bounded(schema.get("maxLength", _MAX_VALUES))
    return (text * (least // max(len(text), 1) + 1))[: max(least, min(most, len(text)))]
