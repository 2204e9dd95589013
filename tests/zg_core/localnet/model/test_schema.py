"""Filling schemas: what the prompt says where it says it, and always what the schema allows."""

import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zg_core.localnet.model.evidence import Evidence
from zg_core.localnet.model.request import InvalidRequestError
from zg_core.localnet.model.schema import fill_schema


def fill(schema, text, *, results=(), generous=True):
    return fill_schema(schema, Evidence(text, results=results), generous=generous)


def an_object(required=None, **properties):
    return {"type": "object", "properties": properties, "required": list(properties if required is None else required)}


STRING, INTEGER, NUMBER, BOOLEAN = ({"type": kind} for kind in ("string", "integer", "number", "boolean"))
OPTIONAL = {"anyOf": [STRING, {"type": "null"}], "default": None}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (an_object(input=INTEGER), "What is the value of magic_function(3)?", {"input": 3}),
        (an_object(a=INTEGER, b=INTEGER), "What is 1 + 2", {"a": 1, "b": 2}),
        (an_object(a=INTEGER, b=INTEGER), "b is 7 and a is 5", {"a": 5, "b": 7}),
        (an_object(price=NUMBER, size=INTEGER), "size 4, price 1,250.50", {"price": 1250.5, "size": 4}),
        (an_object(delta=INTEGER), "move by -12 steps", {"delta": -12}),
        (
            an_object(customer_name=STRING),
            "Create a customer named '你好啊集团' (Hello Group)",
            {"customer_name": "你好啊集团"},
        ),
        (an_object(name=STRING), "customer “こんにちは株式会社”", {"name": "こんにちは株式会社"}),
        (an_object(location=STRING), "What is the weather in San Francisco, CA?", {"location": "San Francisco, CA"}),
        (an_object(name=STRING, age=INTEGER), "Ada Lovelace is 36 years old", {"name": "Ada Lovelace", "age": 36}),
        (an_object(email=STRING), "Write to ada@example.org now", {"email": "ada@example.org"}),
        (an_object(date=STRING), "It was on 2024-02-29.", {"date": "2024-02-29"}),
        (an_object(query=STRING), "How do ledgers work?", {"query": "How do ledgers work?"}),
        (an_object(query=STRING), "Search for 'ledger'", {"query": "ledger"}),
        (an_object(expression=STRING), "What is (3 + 4) * 2?", {"expression": "(3 + 4) * 2"}),
        (an_object(active=BOOLEAN), "The user is not active.", {"active": False}),
        (an_object(active=BOOLEAN), "The user is active.", {"active": True}),
        (an_object(unit={"enum": ["celsius", "fahrenheit"]}), "in Fahrenheit please", {"unit": "fahrenheit"}),
        (an_object(unit={"enum": ["celsius", "fahrenheit"]}), "hello", {"unit": "celsius"}),
        (an_object(level={"enum": [1, 2, 3]}), "level 2", {"level": 2}),
        (an_object(kind={"const": "cat"}), "dog", {"kind": "cat"}),
        (an_object(words={"type": "array", "items": STRING}), "Keep 'a' and 'b'", {"words": ["a", "b"]}),
        (an_object(numbers={"type": "array", "items": INTEGER}), "sort 3, 1 and 2", {"numbers": [3, 1, 2]}),
        (
            an_object(scores={"type": "object", "additionalProperties": INTEGER}),
            "'ada' has 3, 'bob' has 4",
            {"scores": {"ada": 3, "bob": 4}},
        ),
        (an_object(required=[], a=STRING), "no a", {}),
        ({"type": "object"}, "anything", {}),
        ({}, "'x'", "x"),
    ],
)
def test_takes_values_from_the_prompt(schema, text, value):
    assert fill(schema, text) == value


def test_uses_each_value_once():
    filled = fill(an_object(first=STRING, second=STRING, x=INTEGER, y=INTEGER), "'one' 'two' 1 2")
    assert filled == {"first": "one", "second": "two", "x": 1, "y": 2}


@pytest.mark.parametrize(
    "text",
    [
        "Give me the setup to a joke about cats, no punchline.",
        "A joke about cats without a punchline",
        "A joke, don't include the punchline",
        "A joke; leave out the punchline",
    ],
)
def test_leaves_out_what_the_prompt_declines(text):
    declined = fill(an_object(["setup"], setup=STRING, punchline=STRING), text)
    nulled = fill(an_object(setup=STRING, punchline=OPTIONAL), text)
    assert set(declined) == {"setup"}
    assert nulled["punchline"] is None


def test_fills_optional_properties_in_a_form_but_not_in_a_tool_call():
    schema = an_object(["city"], city=STRING, unit={"enum": ["celsius", "kelvin"]})
    assert set(fill(schema, "weather in Paris", generous=True)) == {"city", "unit"}
    assert set(fill(schema, "weather in Paris", generous=False)) == {"city"}
    assert fill(schema, "weather in Paris, in kelvin", generous=False) == {"city": "Paris", "unit": "kelvin"}


def test_leaves_a_default_to_whoever_set_it():
    schema = an_object(["query"], query=STRING, top_k={"type": "integer", "default": 5})
    assert set(fill(schema, "llamas", generous=True)) == {"query"}
    assert fill(schema, "llamas, top k 9", generous=False)["top_k"] == 9
    always = an_object(unit={"type": "string", "default": "celsius"})
    assert fill(always, "the weather in Paris") == {"unit": "celsius"}
    assert fill(always, "the weather in Paris, unit 'kelvin'") == {"unit": "kelvin"}


def test_tool_results_fill_answers():
    assert fill(an_object(summary=STRING), "Sum it up", results=["It is sunny."]) == {"summary": "It is sunny."}
    assert fill(an_object(temperature=INTEGER), "Sum it up", results=["21 degrees"]) == {"temperature": 21}


def test_follows_references_and_nesting():
    schema = {
        "$defs": {"Song": an_object(title=STRING, seconds=INTEGER), "Artist": an_object(name=STRING)},
        "type": "object",
        "properties": {
            "artist": {"allOf": [{"$ref": "#/$defs/Artist"}]},
            "songs": {"type": "array", "items": {"$ref": "#/$defs/Song"}},
        },
        "required": ["artist", "songs"],
    }
    filled = fill(schema, "An album by artist 'Ada' with 3 songs")
    assert filled["artist"] == {"name": "Ada"}
    assert len(filled["songs"]) == 3
    assert all(set(song) == {"title", "seconds"} for song in filled["songs"])


def test_ends_on_recursive_schemas():
    node = an_object(
        ["value"],
        value=STRING,
        next={"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
        children={"type": "array", "items": {"$ref": "#/$defs/Node"}},
    )
    assert fill({"$defs": {"Node": node}, "$ref": "#/$defs/Node"}, "a tree")["value"]


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$ref": "https://example.com/schema"}, "unsupported reference"),
        ({"$ref": "#/$defs/Missing"}, "nothing at"),
        ({"$defs": {"A": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/A"}, "circle"),
        ({"$defs": {"A": an_object(a={"$ref": "#/$defs/A"})}, "$ref": "#/$defs/A"}, "too deep"),
        ({"type": "array", "minItems": 10**9, "items": STRING}, "too large"),
        ({"allOf": [False]}, "cannot be satisfied"),
    ],
)
def test_refuses_schemas_that_cannot_be_filled(schema, reason):
    with pytest.raises(InvalidRequestError, match=reason):
        fill(schema, "x")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": r"^\d{5}$"},
        {"type": "string", "pattern": r"^[A-Z]{2}-[^a-z]+(x|y)\w$"},
        {"type": "string", "minLength": 200},
        {"type": "string", "maxLength": 3},
        {"type": "string", "minLength": 2, "maxLength": 2, "pattern": "^[ab]+$"},
    ],
)
def test_texts_keep_to_their_constraints(schema):
    check(schema, fill(schema, "Tell me a long story about cats and dogs"))


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("date", r"\d{4}-\d\d-\d\d"),
        ("date-time", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
        ("email", r"\S+@\S+"),
        ("uri", r"https://\S+"),
        ("uuid", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        ("ipv4", r"\d+\.\d+\.\d+\.\d+"),
    ],
)
def test_texts_keep_to_their_format(kind, pattern):
    text = fill({"type": "string", "format": kind}, "Tell me 'something' about Ada")
    assert re.fullmatch(pattern, text), text


# A validator of its own, so that the filler is not its own judge.


def check(schema, value, root=None, path="$"):
    root = schema if root is None else root
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return check(root["$defs"][name], value, root, path)
    if "anyOf" in schema:
        assert any(passes(option, value, root) for option in schema["anyOf"]), f"{path}: no option for {value!r}"
        return None
    if "const" in schema:
        assert value == schema["const"], path
    if "enum" in schema:
        assert value in schema["enum"], f"{path}: {value!r}"
    kind = schema.get("type")
    types = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
        "null": type(None),
    }
    if kind:
        assert isinstance(value, types[kind]), f"{path}: {value!r} is no {kind}"
        assert kind == "boolean" or not isinstance(value, bool), path
    if kind in ("integer", "number"):
        exact = Decimal(str(value))
        assert exact >= Decimal(str(schema.get("minimum", "-Infinity"))), f"{path}: {value} for {schema}"
        assert exact <= Decimal(str(schema.get("maximum", "Infinity"))), f"{path}: {value} for {schema}"
        assert exact > Decimal(str(schema.get("exclusiveMinimum", "-Infinity"))), f"{path}: {value} for {schema}"
        assert exact < Decimal(str(schema.get("exclusiveMaximum", "Infinity"))), f"{path}: {value} for {schema}"
        assert exact % Decimal(str(schema.get("multipleOf", value or 1))) == 0, f"{path}: {value} for {schema}"
    if kind == "string":
        assert schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9), f"{path}: {value!r}"
        assert re.search(schema.get("pattern", ""), value), f"{path}: {value!r}"
    if kind == "array":
        assert schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9), f"{path}: {value}"
        assert not schema.get("uniqueItems") or all(item not in value[:i] for i, item in enumerate(value)), path
        for index, item in enumerate(value):
            check(schema.get("items", {}), item, root, f"{path}[{index}]")
    if kind == "object":
        known = schema.get("properties", {})
        assert set(schema.get("required", ())) <= set(value), f"{path}: {value}"
        assert schema.get("additionalProperties") is not False or set(value) <= set(known), path
        for name, item in value.items():
            check(known.get(name, {}), item, root, f"{path}.{name}")
    return None


def passes(schema, value, root):
    try:
        check(schema, value, root)
    except AssertionError:
        return False
    return True


@st.composite
def number_schemas(draw, kind):
    schema = {"type": kind}
    low = draw(st.none() | st.integers(-1000, 1000))
    if low is not None:
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        # Wide enough that the step fits in at least once.
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = (low or 0) + draw(st.integers(100, 500))
    if draw(st.booleans()):
        steps = st.integers(1, 40) if kind == "integer" else st.sampled_from([0.01, 0.5, 0.1, 3, 2.5])
        schema["multipleOf"] = draw(steps)
    return schema


@st.composite
def string_schemas(draw):
    schema = {"type": "string"}
    if draw(st.booleans()):
        schema["minLength"] = draw(st.integers(0, 40))
    if draw(st.booleans()):
        schema["maxLength"] = schema.get("minLength", 1) + draw(st.integers(0, 40))
    return schema


LEAVES = st.one_of(
    string_schemas(),
    number_schemas("integer"),
    number_schemas("number"),
    st.just({"type": "string", "pattern": "^[A-Z]{3}-\\d+$"}),
    st.builds(lambda options: {"enum": options}, st.lists(st.text(max_size=5) | st.integers(), min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, st.none() | st.booleans() | st.text(max_size=5)),
    st.sampled_from([BOOLEAN, {"type": "null"}, OPTIONAL, {}, {"$ref": "#/$defs/Thing"}]),
)
FIELD_NAMES = "name city query count email date a b unit active tags answer _ x-y größe"
NAMES = st.sampled_from(FIELD_NAMES.split())


@st.composite
def object_schemas(draw, entries):
    properties = draw(st.dictionaries(NAMES, entries, max_size=4))
    schema = {"type": "object", "properties": properties}
    schema["required"] = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    if draw(st.booleans()):
        schema["additionalProperties"] = False
    return schema


@st.composite
def array_schemas(draw, entries):
    least = draw(st.integers(0, 3))
    schema = {"type": "array", "items": draw(entries), "minItems": least}
    if draw(st.booleans()):
        schema["maxItems"] = least + draw(st.integers(0, 3))
    return schema


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        object_schemas(inner)
        | array_schemas(inner)
        | st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=8,
)
PROMPTS = st.text(max_size=60) | st.sampled_from(
    [
        "Create 'x' for Ada in San Francisco with 3 tags, count 7, no email",
        "name is Bob, date: 2024-01-02, -5 and 1,000.25 and 99999999",
        'Set "a" to "b"; unit = celsius; not active',
    ]
)


@settings(max_examples=300, deadline=None)
@given(object_schemas(SCHEMAS), PROMPTS, st.booleans())
def test_what_is_filled_in_always_satisfies_the_schema(schema, text, generous):
    schema = {**schema, "$defs": {"Thing": an_object(["name"], name=STRING, amount=NUMBER)}}
    check(schema, fill(schema, text, generous=generous))
    assert fill(schema, text, generous=generous) == fill(schema, text, generous=generous)


@pytest.mark.parametrize(
    "items",
    [
        STRING,
        {"type": "string", "maxLength": 4},
        INTEGER,
        {"type": "integer", "minimum": 1, "maximum": 3},
        {"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 1},
        {"enum": ["a", "b", "c"]},
        an_object(name=STRING, size=INTEGER),
        {"anyOf": [INTEGER, STRING]},
    ],
)
def test_unique_items_are_unique(items):
    schema = {"type": "array", "items": items, "minItems": 3, "uniqueItems": True}
    check(schema, fill(schema, "Give me some, 2 of them"))
