"""Copies of objects that pydantic has validated."""

from __future__ import annotations

from typing import Any, Self

import pytest
from pydantic import BaseModel, ConfigDict

from zg_core.frameworks.copies import Copies


class Message(BaseModel):
    model_config = ConfigDict(extra="allow")

    text: str
    parts: list[Any] = []
    name: str | None = None


class Closed(BaseModel):
    text: str
    parts: list[Any] = []
    name: str | None = None


class Odd(Message):
    """Of a pydantic that does more than this one when it copies."""

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied.name = "made by pydantic"
        return copied


@pytest.mark.parametrize("kind", [Message, Closed])
def test_a_copy_is_what_the_constructor_makes(kind: type[Message | Closed]) -> None:
    copies = Copies(kind(text="a", parts=[]))
    made, validated = copies.made({"text": "b", "parts": [1]}), kind(text="b", parts=[1])
    assert made == validated
    assert list(vars(made)) == list(vars(validated))
    for name in ("fields_set", "extra", "private"):
        assert getattr(made, f"__pydantic_{name}__") == getattr(validated, f"__pydantic_{name}__")
    made.name = "changed"
    assert copies.made({}).model_dump(exclude_unset=True) == {"text": "a", "parts": []}


def test_where_pydantic_copies_in_another_way_it_does_it_itself() -> None:
    made = Copies(Odd(text="a")).made({"text": "b"})
    assert (made.text, made.name) == ("b", "made by pydantic")
