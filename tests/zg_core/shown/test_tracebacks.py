"""What an exception carries out of the package: no locals of ours, none that was hidden, and all of the user's."""

from __future__ import annotations

import asyncio
import inspect
import json
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zg_core import AsyncChatClient, Broker, ChatClient, Wallet
from zg_core.calls.streams import AsyncReplyStream, ReplyStream
from zg_core.errors import ZeroGError
from zg_core.shown.tracebacks import clear_locals, clears_locals, forgetful

MARK = "the-marker-of-this-test"


def module(source: str, name: str = "zg_core.of_the_test") -> dict[str, Any]:
    """Code that is taken for a module of this package."""
    made = types.ModuleType(name)
    exec(compile(source, f"{name}.py", "exec"), made.__dict__)
    return made.__dict__


OURS = module("""
import json

def parses(text):
    return json.loads(text)

def hides(text):
    try:
        parses(text)
    except ValueError:
        raise KeyError("hidden") from None

def wraps(text):
    try:
        parses(text)
    except ValueError as error:
        raise KeyError("wrapped") from error

def groups(text):
    found = []
    for _ in range(2):
        try:
            parses(text)
        except ValueError as error:
            found.append(error)
    raise ExceptionGroup("several", found)

def calls(function):
    secret = "the-marker-of-this-test"
    return function()

async def waits(text):
    parses(text)

def iterates(text):
    yield 1
    parses(text)
""")


def held(error: BaseException) -> list[str]:
    """Where the marker is: in locals and texts of `error` and all that led to it, frames of this file left out."""
    found = []
    links, seen = [error], set()
    while links:
        link = links.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        found += [type(link).__name__] * (MARK in str(vars(link)) or MARK in str(link))
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if frame.f_code.co_filename != __file__:
                found += [
                    f"{frame.f_code.co_name}.{name}" for name, value in frame.f_locals.items() if MARK in repr(value)
                ]
        links += [other for other in (link.__cause__, link.__context__) if other is not None]
        links += getattr(link, "exceptions", ())
    return found


@pytest.mark.parametrize("name", ["parses", "hides", "wraps", "groups"])
def test_locals_below_the_border_are_cleared(name: str) -> None:
    with pytest.raises(Exception) as caught:
        OURS[name](f"{{{MARK}")
    assert any("." in place for place in held(caught.value)), "nothing was there to be cleared"
    with pytest.raises(Exception) as caught:
        clears_locals(OURS[name])(f"{{{MARK}")
    assert [place for place in held(caught.value) if "." in place] == []


def test_what_was_raised_from_none_is_cut_off() -> None:
    with pytest.raises(KeyError) as caught:
        clears_locals(OURS["hides"])(f"{{{MARK}")
    assert caught.value.__context__ is None
    with pytest.raises(KeyError) as caught:
        clears_locals(OURS["wraps"])(f"{{{MARK}")
    assert isinstance(caught.value.__cause__, json.JSONDecodeError)


def test_coroutines_are_borders_too() -> None:
    with pytest.raises(ValueError, match="Expecting") as caught:
        asyncio.run(clears_locals(OURS["waits"])(f"{{{MARK}"))
    assert [place for place in held(caught.value) if "." in place] == []
    assert inspect.iscoroutinefunction(clears_locals(OURS["waits"]))


def test_the_users_own_frames_keep_theirs() -> None:
    def callback() -> None:
        mine = MARK
        raise ValueError(str(len(mine)))

    with pytest.raises(ValueError) as caught:
        clears_locals(OURS["calls"])(callback)
    frames = {frame.f_code.co_name: frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)}
    assert frames["callback"] == {"mine": MARK}
    assert "secret" not in frames["calls"]


def test_frames_that_run_are_left_alone() -> None:
    def running() -> str:
        mine = MARK
        try:
            OURS["parses"](f"{{{MARK}")
        except ValueError as error:
            clear_locals(error)
        return mine

    assert running() == MARK


def test_what_is_returned_and_said_is_the_same() -> None:
    def function(value: int, *, more: int = 1) -> int:
        """Says what it does."""
        return value + more

    made = clears_locals(function)
    assert (made(1, more=2), made.__doc__, made.__name__) == (3, "Says what it does.", "function")
    assert inspect.signature(made) == inspect.signature(function)


def test_a_class_has_borders_where_it_is_public() -> None:
    @forgetful
    class Thing:
        def __init__(self, value: int) -> None:
            self.value = value

        def method(self) -> int:
            return self.value

        def _private(self) -> int:
            return self.value

        @classmethod
        def made(cls, value: int) -> Thing:
            return cls(value)

        @staticmethod
        def alone(value: int) -> int:
            return value

        @property
        def twice(self) -> int:
            return 2 * self.value

        def each(self) -> Iterator[int]:
            yield self.value

    thing = Thing.made(2)
    assert (thing.method(), thing._private(), Thing.alone(5), thing.twice, list(thing.each())) == (2, 2, 5, 4, [2])
    wrapped = {name for name, value in vars(Thing).items() if hasattr(getattr(value, "__func__", value), "__wrapped__")}
    assert wrapped == {"__init__", "method", "made", "alone"}
    assert Thing.twice.fget is not None
    assert hasattr(Thing.twice.fget, "__wrapped__")


@pytest.mark.parametrize("cls", [ChatClient, AsyncChatClient, Broker, Wallet, ReplyStream, AsyncReplyStream])
def test_the_classes_that_hold_keys_have_borders(cls: type) -> None:
    assert any(hasattr(value, "__wrapped__") for value in vars(cls).values())


CONSTRUCTORS: dict[str, Callable[[str], Any]] = {
    "a key where the provider goes": lambda key: ChatClient(provider=key, environ={}),
    "a key where the ledger goes": lambda key: Broker(ledger=key, private_key="0x" + "11" * 32, environ={}),
    "a key in the RPC URL": lambda key: ChatClient(rpc_url=f"ftp://rpc.example/{key}", environ={}),
    "a key too short": lambda key: ChatClient(provider="0x" + "11" * 20, private_key=key[:-1], environ={}),
    "a key beside a wrong policy": lambda key: ChatClient(private_key=key, verify="strict", environ={}),
}


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_a_key_in_the_wrong_place_is_not_shown(name: str) -> None:
    key = "0x" + "5ec7e75ec7e75ec7" * 4
    with pytest.raises((ZeroGError, TypeError)) as caught:
        CONSTRUCTORS[name](key)
    shown = [str(caught.value), repr(caught.value), repr(vars(caught.value))]
    for frame, _ in traceback.walk_tb(caught.value.__traceback__):
        if frame.f_code.co_filename != __file__:
            shown += [f"{frame.f_code.co_name}: {value!r}" for value in frame.f_locals.values()]
    assert [text for text in shown if key[2:42] in text] == []
