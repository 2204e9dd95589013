"""A model that is new to all threads that use it at once: nothing of it changes its shape under another's eyes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from langchain_zerog import ChatZeroG, ZeroGEmbeddings
from llama_index_zerog import ZeroG

MODEL = "local-chat-1"
USES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "ChatZeroG.invoke": (lambda: ChatZeroG(model=MODEL, verify="off"), lambda model: model.invoke("hi")),
    "ChatZeroG.stream": (lambda: ChatZeroG(model=MODEL, verify="off"), lambda model: list(model.stream("hi"))),
    "ChatZeroG.bind": (lambda: ChatZeroG(model=MODEL, verify="off").bind(temperature=0), lambda one: one.invoke("hi")),
    "ZeroG.complete": (lambda: ZeroG(model=MODEL, verify="off"), lambda model: model.complete("hi")),
    "ZeroGEmbeddings": (lambda: ZeroGEmbeddings(model=MODEL), repr),
}


@pytest.fixture
def often() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("name", USES)
def test_it_may_be_used_and_shown_by_8_threads(name: str) -> None:
    make, use = USES[name]
    model, together, failures = make(), threading.Barrier(8), []

    def work() -> None:
        together.wait()
        try:
            repr(model)
            use(model)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("name", USES)
def test_its_dictionary_does_not_grow(name: str) -> None:
    """What LangChain and pydantic iterate over in one thread while another one uses the model."""
    make, use = USES[name]
    model = make()
    before = sorted(vars(model))
    use(model)
    repr(model)
    assert sorted(vars(model)) == before


def test_a_copy_shows_its_own_values() -> None:
    model = ChatZeroG(model=MODEL, verify="off")
    model.invoke("hi")
    copied = model.model_copy(update={"temperature": 0.25})
    assert (model._serialized["kwargs"].get("temperature"), copied._serialized["kwargs"]["temperature"]) == (None, 0.25)
