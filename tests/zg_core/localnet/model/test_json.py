"""JSON in and out: strict, compact, and safe against documents made of brackets."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patience import PATIENCE
from zg_core.localnet.model.json import MAX_DEPTH, compact_json, find_objects, load_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_what_is_written_is_read_back(value):
    assert load_json(compact_json(value)) == value


def test_writes_compactly_in_real_characters():
    assert compact_json({"a": [1, "你"]}) == '{"a":[1,"你"]}'


def test_reads_to_a_certain_depth():
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert load_json(deepest)
    with pytest.raises(ValueError, match="too deep"):
        load_json(f"[{deepest}]")


def test_brackets_in_strings_are_no_depth():
    text = compact_json(["[" * 1000, '"\\', "{" * 1000])
    assert load_json(text)[2] == "{" * 1000


def test_many_small_values_are_not_deep():
    assert len(load_json("[" + ",".join(["[]"] * 1000) + "]")) == 1000


def test_brackets_without_end_do_not_end_the_process():
    code = (
        "import sys; sys.setrecursionlimit(10**6)\n"  # as the EVM does
        "from zg_core.localnet.model.json import find_objects, load_json\n"
        "for text in ('[' * 10**6, '{\"a\":' * 10**6):\n"
        "    assert find_objects(text) == []\n"
        "    try:\n        load_json(text)\n"
        "    except ValueError as error:\n        print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout) == (0, "nested too deep\nnested too deep\n"), ended.stderr


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "", "{", "{'a': 1}"])
def test_refuses_what_is_not_json(text):
    with pytest.raises(ValueError, match=r".+"):
        load_json(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('Follow {"a": 1} and {not this} and {"b": {"c": "}"}}.', [{"a": 1}, {"b": {"c": "}"}}]),
        ("nothing", []),
        ("{", []),
    ],
)
def test_finds_objects_in_prose(text, found):
    assert find_objects(text) == found
