"""The strict YAML reader: what it reads, it reads as everybody does; everything else it refuses."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from zg_core.verify.attestation.yamltext import UnreadableYaml, read_yaml

READ: dict[str, tuple[str, Any]] = {
    "block": ("a:\n  b: 1\n  c: [x, 'y']\n", {"a": {"b": "1", "c": ["x", "y"]}}),
    "flow": ('{"a": {"b": "c"}, d: [1, ~, null, ""]}', {"a": {"b": "c"}, "d": ["1", None, None, ""]}),
    "an escaped key": ('"im\\x61ge": x', {"image": "x"}),
    "an explicit key": ("? image\n: x", {"image": "x"}),
    "a block scalar": ("image: >-\n  evil/back\n  door", {"image": "evil/back door"}),
    "a tag of text": ("image: !!str x", {"image": "x"}),
    "an alias": ("x: &i evil\nimage: *i", {"x": "evil", "image": "evil"}),
    "an anchor on the value": ("image: &i evil", {"image": "evil"}),
    "a merge": ("x: &c {a: 1, b: 2}\ny:\n  b: 3\n  <<: *c", {"x": {"a": "1", "b": "2"}, "y": {"b": "3", "a": "1"}}),
    "of two merges the first": ("a: &a {k: 1}\nb: &b {k: 2}\nc: {<<: [*a, *b]}", {"c": {"k": "1"}}),
    "a comment": ("image: x #@sha256:00", {"image": "x"}),
    "no comment": ("image: x#@sha256:00", {"image": "x#@sha256:00"}),
    "an anchor that is used again": ("a: &x 1\nb: *x\nc: &x 2\nd: *x", {"a": "1", "b": "1", "c": "2", "d": "2"}),
    "nothing for a value": ("image:", {"image": None}),
    "a document mark": ("---\na: 1\n...\n", {"a": "1"}),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name: str) -> None:
    text, wanted = READ[name]
    found = read_yaml(text)
    assert {key: found[key] for key in wanted} == wanted


REFUSED = {
    "a key twice": "a: 1\na: 2",
    "a key twice in other words": 'a: 1\n"\\x61": 2',
    "a merge twice": "x: &x {a: 1}\ny: {<<: *x, <<: *x}",
    "two documents": "a: 1\n---\na: 2",
    "no document": "",
    "only a comment": "# nothing",
    "half a mapping": "a: {",
    "a tab": "a:\n\tb: 1",
    "a tag of one's own": "image: !evil x",
    "a tag of Python": "image: !!python/object/apply:os.system [ls]",
    "binary": "image: !!binary ZXZpbA==",
    "a set": "a: !!set {b}",
    "Compose's reset": "image: !reset x",
    "a tag on a mapping": "a: !!omap [b: 1]",
    "a definition of tags": "%TAG ! tag:evil,2000:\n---\na: !x 1",
    "another version": "%YAML 2.0\n---\na: 1",
    "a list as a key": "? [a]\n: b",
    "a mapping as a key": "? {a: 1}\n: b",
    "null as a key": "~: b",
    "nothing as a key": ": b",
    "an alias as a key": "a: &x y\n*x : b",
    "an anchor on a key": "&x a: b",
    "a quoted merge": '"<<": {a: 1}',
    "what is merged is a text": "<<: a",
    "what is merged is a list of texts": "<<: [a]",
    "nothing is merged": "<<: []",
    "a merge as a value": "a: <<",
    "an alias of nothing": "a: *x",
    "an alias inside of what it names": "a: &x [*x]",
    "another line break": "a: 1\x85b: 2",
    "a line separator": "a: x\u2028b: y",
    "a mark of order": "a: \ufeff1",
    "a control character": "a: \x07",
    "half a character": "a: \ud800",
    "deep": "[" * 51 + "]" * 51,
    "very deep": "[" * 100_000,
    "long": "a: " + "x" * (256 * 1024),
    "many": "[" + "a," * 20_000 + "]",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(UnreadableYaml) as caught:
        read_yaml(REFUSED[name])
    assert 0 < len(str(caught.value)) < 200


def test_a_small_text_does_not_become_a_huge_one() -> None:
    """The billion laughs: each line is ten times the one before."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(UnreadableYaml, match="more than"):
        read_yaml("\n".join(lines))
    merges = ["a0: &a0 {" + ", ".join(f"k{n}: 1" for n in range(1000)) + "}"]
    merges += [f"b{n}: {{<<: *a0}}" for n in range(30)]
    with pytest.raises(UnreadableYaml, match="more than"):
        read_yaml("\n".join(merges))


def test_a_text_of_any_size_takes_little_cpu() -> None:
    began = time.process_time()
    for text in ("a: [" * 50_000, "- " * 100_000, "&a " * 80_000, "a: b\n" * 50_000, '"' * 200_000, "*a " * 80_000):
        with pytest.raises(UnreadableYaml):
            read_yaml(text)
    assert time.process_time() - began < 30


def test_without_pyyaml_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ModuleNotFoundError):
        read_yaml("a: 1")


PLAIN = st.recursive(
    st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz<~ ", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(PLAIN, st.booleans())
def test_what_another_program_writes_is_read_back(value: Any, flow: bool) -> None:
    written = yaml.safe_dump(value, default_flow_style=flow)
    if any(key in ("<<", "~") for key in keys(value)):
        return
    assert read_yaml(written) == value


def keys(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(key for inner in value.values() for key in keys(inner))]
    return [key for inner in value for key in keys(inner)] if isinstance(value, list) else []


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_yaml(text)
    except UnreadableYaml:
        return


@given(st.text("ab:-[]{}?&*!|>'\"<, \n#", max_size=40))
def test_what_is_read_the_library_reads_alike(text: str) -> None:
    try:
        found = read_yaml(text)
    except UnreadableYaml:
        return
    assert found == as_text(yaml.load(text, Loader=yaml.SafeLoader))


def as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {as_text(key): as_text(inner) for key, inner in value.items()}
    return [as_text(inner) for inner in value] if isinstance(value, list) else value
