"""Embeddings: of length one, the same each time, near for similar texts."""

import base64
import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.localnet.model.embedding import DIMENSIONS, vector
from zg_core.localnet.model.engine import RuleModel
from zg_core.localnet.model.tokens import count_tokens


async def embed(**request):
    reply = await RuleModel(model="m").complete("/embeddings", json.dumps(request).encode())
    return reply.status, json.loads(reply.body)


async def test_answers_as_openai_does():
    status, answer = await embed(model="e", input=["a cat", "a dog"])
    assert status == 200
    assert (answer["object"], answer["model"]) == ("list", "e")
    assert [entry["index"] for entry in answer["data"]] == [0, 1]
    assert {entry["object"] for entry in answer["data"]} == {"embedding"}
    assert {len(entry["embedding"]) for entry in answer["data"]} == {DIMENSIONS}
    assert answer["usage"] == {"prompt_tokens": 4, "total_tokens": 4}


async def test_base64_holds_the_same_numbers():
    _, floats = await embed(model="e", input="a cat", dimensions=16)
    _, packed = await embed(model="e", input="a cat", dimensions=16, encoding_format="base64")
    raw = base64.b64decode(packed["data"][0]["embedding"])
    assert list(struct.unpack("<16f", raw)) == floats["data"][0]["embedding"]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input": ...}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2, 3]]}, "input"),
        ({"input": {"text": "a"}}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "你" * 8193}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 5000}, "dimensions"),
        ({"model": ...}, "model"),
        ({"messages": []}, "messages"),
    ],
    ids=str,
)
async def test_refuses(changes, param):
    request = {"model": "e", "input": "text", **changes}
    status, answer = await embed(**{key: value for key, value in request.items() if value is not ...})
    assert (status, answer["error"]["param"]) == (400, param), answer


def likeness(left, right):
    return sum(a * b for a, b in zip(vector(left), vector(right), strict=True))


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("cats sleep all day", "a cat that sleeps", "ledgers keep every entry"),
        ("How was Zero Gravity founded?", "Zero Gravity was founded in 2023.", "It has seven gates."),
        ("multiply two numbers", "multiplication of numbers", "weather in Paris"),
    ],
)
def test_similar_texts_are_nearer(text, near, far):
    assert likeness(text, near) > likeness(text, far) + 0.1


@given(st.text(min_size=1, max_size=80), st.sampled_from([1, 3, 64, 256]))
def test_vectors_have_length_one_and_are_the_same_each_time(text, dimensions):
    values = vector(text, dimensions)
    assert math.isclose(math.sqrt(sum(value * value for value in values)), 1.0, rel_tol=1e-9)
    assert values == vector(text, dimensions)


def test_tokens_are_counted_as_for_chat():
    assert count_tokens("a cat") == 2
