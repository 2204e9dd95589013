"""One model in notebooks, threads, many event loops and forked processes: it works, and nothing is left open."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from langchain_zerog import ChatZeroG
from tests.patience import PATIENCE
from tests.processes import alone, child_of, ended
from zg_core.localnet import LocalNet

Make = Callable[..., ChatZeroG]
ROOT = Path(__file__).parents[2]
NOTEBOOKS = all(importlib.util.find_spec(name) is not None for name in ("ipykernel", "nbclient"))


def verified(message: object) -> bool:
    """Whether the reply is proven."""
    return message.response_metadata["zerog"]["status"] == "verified"  # type: ignore[attr-defined,no-any-return]


@pytest.fixture
def no_leak() -> Iterator[None]:
    """No warning of something that was left open."""
    gc.collect()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(warning.message) for warning in heard if issubclass(warning.category, ResourceWarning)] == []


@pytest.mark.usefixtures("no_leak")
def test_a_context_closes_the_connections_and_the_model_stays_usable(make_model: Make) -> None:
    with make_model(shared=False, verify="require") as model:
        assert verified(model.invoke("Hello"))
        transport = model._client()._transport
        connections = transport._client
    assert connections.is_closed
    assert verified(model.invoke("Hello"))
    model.close()


@pytest.mark.usefixtures("no_leak")
def test_an_asynchronous_context_closes_both_kinds(make_model: Make) -> None:
    async def work() -> list[bool]:
        async with make_model(shared=False, verify="require") as model:
            assert verified(await model.ainvoke("Hello"))
            assert verified(model.invoke("Hello"))
            blocking = model._client()._transport._client
            asynchronous = await model._async_client()._transport._client()
        return [blocking.is_closed, asynchronous.is_closed]

    assert asyncio.run(work()) == [True, True]


@pytest.mark.usefixtures("no_leak")
def test_many_event_loops_without_a_close(make_model: Make) -> None:
    model = make_model(shared=False, verify="require")

    async def ask() -> bool:
        chunks = [chunk async for chunk in model.astream("Hello")]
        return verified(chunks[-1]) and verified(await model.ainvoke("Hello"))

    assert all(asyncio.run(ask()) for _ in range(5))


@pytest.mark.usefixtures("no_leak")
def test_a_model_that_is_dropped_closes_itself(local: LocalNet) -> None:
    async def work() -> None:
        model = ChatZeroG(verify="require")
        assert verified(await model.ainvoke("Hello"))
        assert verified(model.invoke("Hello"))
        del model
        gc.collect()
        for _ in range(50):
            await asyncio.sleep(0)

    asyncio.run(work())


def test_blocking_calls_work_inside_a_running_loop(make_model: Make) -> None:
    model = make_model(verify="require")

    async def cell() -> list[bool]:
        return [verified(model.invoke("Hello")), verified(list(model.stream("Hello"))[-1])]

    assert asyncio.run(cell()) == [True, True]


def test_loops_in_threads_share_one_model(make_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zg_core.backends.signatures.SIGNATURE_SECONDS", PATIENCE)  # 24 calls at once
    monkeypatch.setattr("zg_core.backends.signatures._LOOK_UP_SECONDS", PATIENCE)
    model = make_model(shared=False, verify="require")

    async def ask() -> bool:
        replies = await asyncio.gather(*(model.ainvoke(f"Say {number}") for number in range(3)))
        return all(map(verified, replies))

    def work(number: int) -> bool:
        return asyncio.run(ask()) if number % 2 else verified(model.invoke("Hello"))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(12)))


def _fork() -> None:
    model = ChatZeroG(verify="require")
    assert verified(model.invoke("Hello"))

    def child() -> None:
        assert verified(model.invoke("Hello"))
        assert verified(asyncio.run(model.ainvoke("Hello")))
        model.close()

    with model._clients._lock:  # as if another thread were at it
        forked = child_of(child)
    assert ended(forked) == 0
    assert verified(model.invoke("Hello"))
    model.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_parent_and_child_go_on_after_a_fork(local: LocalNet) -> None:
    alone(_fork)


PROGRAM = """
import asyncio, threading
from langchain_zerog import ChatZeroG

model = ChatZeroG(verify="require")
model.invoke("Hello")
for _ in range(3):
    asyncio.run(model.ainvoke("Hello"))
thread = threading.Thread(target=lambda: asyncio.run(model.ainvoke("Hello")))
thread.start()
thread.join()

async def leave():
    stream = model.astream("Write a long story")
    await anext(aiter(stream))

asyncio.run(leave())
next(iter(model.stream("Write a long story")))
print("done")
"""


def test_a_program_that_closes_nothing_ends_quietly(local: LocalNet) -> None:
    command = [sys.executable, "-W", "ignore", "-W", "always::ResourceWarning", "-c", PROGRAM]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "done\n", "")


CELLS = [
    "from langchain_zerog import ChatZeroG\nmodel = ChatZeroG(verify='require')",
    "print(model.invoke('Hello').response_metadata['zerog']['status'])",
    "print((await model.ainvoke('Hello')).response_metadata['zerog']['status'])",
    "print([chunk async for chunk in model.astream('Hello')][-1].response_metadata['zerog']['status'])",
    "print(list(model.stream('Hello'))[-1].response_metadata['zerog']['status'])",
    "print({m.response_metadata['zerog']['status'] for m in model.batch(['a', 'b', 'c'])})",
    "await model.aclose()\nmodel.close()\nprint((await model.ainvoke('Hello')).response_metadata['zerog']['status'])",
]


@pytest.mark.skipif(not NOTEBOOKS, reason="ipykernel or nbclient is not installed")
def test_every_kind_of_call_works_in_a_notebook(
    local: LocalNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3").execute(cwd=str(tmp_path))
    said = ["".join(output.get("text", "") for output in cell.outputs).strip() for cell in notebook.cells]
    assert said == ["", "verified", "verified", "verified", "verified", "{'verified'}", "verified"]
