"""A strict reader of the YAML in a compose file: whatever two parsers could read differently is refused.

PyYAML finds the events of the text; what they build is plain: mappings, lists, texts and null. A compose file that was
measured is run by another program (docker compose, in Go), so a text is read only where both must read the same.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["UnreadableYaml", "read_yaml"]

_MOST_CHARACTERS = 256 * 1024
_MOST_VALUES = 20_000  # aliases and merges count as what they stand for, so that a small text cannot become a huge one
_DEEPEST = 50
# Line breaks of YAML 1.1 that are none in 1.2, and a mark that some readers skip.
_AMBIGUOUS = re.compile("[\x85\u2028\u2029\ufeff]")
_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset(_TAG + name for name in ("str", "int", "float", "bool"))
_NULLS = ("", "~", "null", "Null", "NULL")
_MERGE = "<<"


class UnreadableYaml(ValueError):
    """The text is no YAML, or YAML that is not read here."""


class _Open:
    """A mapping or list whose end has not come yet."""

    __slots__ = ("anchor", "key", "merges", "size", "value")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.key: str | None = None  # of a mapping: the one whose value comes next
        self.merges: list[dict[str, Any]] = []
        self.size = 1  # values in it, itself included


def read_yaml(text: str) -> Any:
    r"""The one document in `text`; scalars are texts, or None.

    Raises:
        UnreadableYaml: no YAML; several documents; a key twice or none that is a text; a tag beyond those of texts,
            numbers, lists and mappings; too large, too deep, or an alias inside of what it names.
        ModuleNotFoundError: PyYAML is not installed.

    Example:
        >>> read_yaml('services:\n  a: &x {image: "\\x61:1", ports: [80, ~]}\n  b: *x\n')["services"]["b"]
        {'image': 'a:1', 'ports': ['80', None]}
        >>> read_yaml("a: 1\na: 2")
        Traceback (most recent call last):
        ...
        zg_core.verify.attestation.yamltext.UnreadableYaml: the key 'a' is there twice
    """
    import yaml

    if len(text) > _MOST_CHARACTERS:
        raise UnreadableYaml(f"it is longer than {_MOST_CHARACTERS} characters")
    if _AMBIGUOUS.search(text):
        raise UnreadableYaml("it holds a character that some parsers take for a line break")
    try:
        return _Builder(yaml).build(yaml.parse(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, UnreadableYaml):
            raise
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
        raise UnreadableYaml(f"it is no YAML: {str(reason)[:120]}") from None


class _Builder:
    """Builds a document from the parser's events, which come one after the other, however deep it is."""

    def __init__(self, yaml: Any) -> None:
        self._yaml = yaml
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}  # what they name, and how many values that is
        self._documents: list[Any] = []
        self._values = 0

    def build(self, events: Any) -> Any:
        yaml = self._yaml
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if event.tags:
                    raise UnreadableYaml("it defines tags of its own")
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event.anchor)
            elif isinstance(event, yaml.MappingStartEvent):
                self._begin({}, event, "map")
            elif isinstance(event, yaml.SequenceStartEvent):
                self._begin([], event, "seq")
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()
        if len(self._documents) != 1:
            raise UnreadableYaml(f"it holds {len(self._documents)} documents, where there must be one")
        return self._documents[0]

    def _scalar(self, event: Any) -> None:
        if event.tag is not None and event.tag not in _TEXT_TAGS:
            raise UnreadableYaml(f"the tag {event.tag[:60]!r} is not read here")
        self._count(1)
        plain, text = event.tag is None and event.style is None, str(event.value)
        if self._wants_key():
            if event.anchor is not None:
                raise UnreadableYaml("a key is no plain text")
            self._name(text, plain=plain)
            return
        if plain and text == _MERGE:
            raise UnreadableYaml("a value looks like a merge")
        value = None if plain and text in _NULLS else text
        if event.anchor is not None:
            self._anchors[event.anchor] = value, 1
        self._put(value, 1)

    def _alias(self, anchor: str) -> None:
        if anchor not in self._anchors:  # or not finished: it would hold itself
            raise UnreadableYaml("an alias names nothing that came before it")
        if self._wants_key():
            raise UnreadableYaml("a key is no plain text")
        value, size = self._anchors[anchor]
        self._count(size)
        self._put(value, size)

    def _begin(self, value: Any, event: Any, kind: str) -> None:
        if event.tag not in (None, _TAG + kind):
            raise UnreadableYaml(f"the tag {event.tag[:60]!r} is not read here")
        if self._wants_key():
            raise UnreadableYaml("a key is no plain text")
        if len(self._open) >= _DEEPEST:
            raise UnreadableYaml(f"it is deeper than {_DEEPEST} levels")
        self._count(1)
        self._anchors.pop(event.anchor, None)
        self._open.append(_Open(value, event.anchor))

    def _end(self) -> None:
        done = self._open.pop()
        if isinstance(done.value, dict):
            for merged in done.merges:  # what is written beside a merge wins, of several merges the first
                for key, inner in merged.items():
                    done.value.setdefault(key, inner)
        if done.anchor is not None:
            self._anchors[done.anchor] = done.value, done.size
        self._put(done.value, done.size)

    def _wants_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _name(self, key: str, *, plain: bool) -> None:
        opened = self._open[-1]
        if (key == _MERGE or key in _NULLS) and not (plain and key == _MERGE):
            raise UnreadableYaml("a key is no plain text")
        if key in opened.value or (key == _MERGE and opened.merges):
            raise UnreadableYaml(f"the key {key[:60]!r} is there twice")
        opened.key = key

    def _put(self, value: Any, size: int) -> None:
        if not self._open:
            self._documents.append(value)
            return
        opened = self._open[-1]
        opened.size += size
        if isinstance(opened.value, list):
            opened.value.append(value)
        elif opened.key == _MERGE:
            merged = value if isinstance(value, list) else [value]
            if not merged or not all(isinstance(each, dict) for each in merged):
                raise UnreadableYaml("what is merged is no mapping")
            opened.merges, opened.key = merged, None
        elif opened.key is not None:
            opened.value[opened.key], opened.key = value, None

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > _MOST_VALUES:
            raise UnreadableYaml(f"it holds more than {_MOST_VALUES} values")
