"""Receipts reach their handler through everything LangChain runs, once each, also when a call was broken off."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langchain_core.tracers.context import _configure_hooks

import zg_core
from langchain_zerog import ChatZeroG, ZeroGReceiptsHandler, get_zerog_receipts
from zg_core.localnet import LocalProvider
from zg_core.money import Amount, Fee
from zg_core.receipts import Anchor, read_bundle
from zg_core.receipts.model import Receipt
from zg_core.types import Kind

Make = Callable[..., ChatZeroG]


@pytest.fixture
def billed(provider: LocalProvider) -> Callable[[], list[Any]]:
    """What the provider billed since the test began."""
    before = len(provider.log)
    return lambda: provider.log[before:]


def agree(handler: ZeroGReceiptsHandler, entries: list[Any]) -> None:
    """The handler's calls are exactly what the provider billed."""
    assert sorted(handler.chat_ids) == sorted(entry.chat_id for entry in entries)
    assert entries
    assert all(call.run_id is not None for call in handler.calls)
    assert handler.spent("0G").amount.units == sum(entry.fee for entry in entries)
    assert handler.spent("0G").exact


# ways to call


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


def chain(model: ChatZeroG) -> Any:
    prompt = ChatPromptTemplate.from_messages([("human", "Say {word}")])
    return RunnableLambda(lambda word: {"word": word}) | prompt | RunnableParallel(one=model, two=model)


class State(TypedDict):
    said: list[str]


def graph(model: ChatZeroG) -> Any:
    from langgraph.graph import END, START, StateGraph

    def speak(state: State) -> State:
        return {"said": [*state["said"], model.invoke("Hello").text]}

    async def aspeak(state: State) -> State:
        return {"said": [*state["said"], (await model.ainvoke("Hello again")).text]}

    builder = StateGraph(State)
    builder.add_node("one", RunnableLambda(speak, aspeak))
    builder.add_node("two", RunnableLambda(speak, aspeak))
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")
    builder.add_edge("two", END)
    return builder.compile()


def agent(model: ChatZeroG) -> Any:
    from langchain.agents import create_agent

    return create_agent(model, [multiply])


ASKED = {"messages": [HumanMessage("What is 6 times 7? Use the multiply tool.")]}
WAYS: dict[str, Callable[[ChatZeroG, Any, dict[str, Any]], Any]] = {
    "invoke": lambda model, talk, how: talk.invoke(model, "Hello", **how),
    "stream": lambda model, talk, how: talk.stream(model, "Hello", **how),
    "batch": lambda model, talk, how: talk.batch(model, [f"Say {n}" for n in range(8)], **how),
    "chain": lambda model, talk, how: talk.invoke(chain(model), "yes", **how),
    "tools": lambda model, talk, how: talk.invoke(model.bind_tools([multiply]), "Hello", **how),
    "graph": lambda model, talk, how: talk.invoke(graph(model), {"said": []}, **how),
    "agent": lambda model, talk, how: talk.invoke(agent(model), ASKED, **how),
    "agent, streamed": lambda model, talk, how: talk.stream(agent(model), ASKED, **how),
}
EXPECTED = {"batch": 8, "chain": 2, "graph": 2, "agent": 2, "agent, streamed": 2}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("passed", [True, False], ids=["as a callback", "by the context"])
def test_receipts_arrive_once_each(make_model: Make, talk: Any, billed: Any, way: str, passed: bool) -> None:
    model = make_model(verify="off")
    with get_zerog_receipts() as found:
        handler = ZeroGReceiptsHandler() if passed else found
        WAYS[way](model, talk, {"config": {"callbacks": [handler]}} if passed else {})
    agree(handler, billed())
    agree(found, billed())
    assert len(handler) == EXPECTED.get(way, 1)


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
@pytest.mark.parametrize("what", ["model", "agent"])
def test_receipts_arrive_through_event_streams(make_model: Make, billed: Any, version: Any, what: str) -> None:
    model = make_model(verify="off")
    runnable, value = (model, "Hello") if what == "model" else (agent(model), ASKED)

    async def read() -> None:
        events = runnable.astream_events(value, version=version)
        if version == "v3":
            events = await events
        async for _ in events:
            pass
        await model.aclose()

    with get_zerog_receipts() as receipts:
        asyncio.run(read())
    agree(receipts, billed())


def test_receipts_arrive_through_blocking_event_streams(make_model: Make, billed: Any) -> None:
    with get_zerog_receipts() as receipts:
        for _ in make_model(verify="off").stream_events("Hello", version="v3"):
            pass
    agree(receipts, billed())


def test_a_call_knows_its_run(make_model: Make) -> None:
    handler = ZeroGReceiptsHandler()
    config: Any = {"callbacks": [handler], "tags": ["mine"], "metadata": {"user": "u1"}}
    chain(make_model(verify="off")).invoke("yes", config)
    first, second = handler.calls
    assert first.run_id != second.run_id
    assert first.parent_run_id == second.parent_run_id is not None
    assert "mine" in first.tags
    assert first.metadata["user"] == "u1"


# what must not mix or grow


def test_tasks_at_once_do_not_mix(make_model: Make) -> None:
    model = make_model(verify="off")

    async def one(number: int) -> tuple[str, ...]:
        with get_zerog_receipts() as receipts:
            reply = await model.ainvoke(f"Say {number}")
            chunks = [chunk async for chunk in model.astream(f"Say {number} again")]
        ids = (reply.response_metadata["zerog"]["chat_id"], chunks[-1].response_metadata["zerog"]["chat_id"])
        assert receipts.chat_ids == ids
        return ids

    async def all_of_them() -> list[tuple[str, ...]]:
        found = await asyncio.gather(*map(one, range(8)))
        await model.aclose()
        return found

    found = [chat_id for ids in asyncio.run(all_of_them()) for chat_id in ids]
    assert len(set(found)) == 16


def test_streams_read_in_turns_do_not_mix(make_model: Make) -> None:
    model = make_model(verify="off")
    one, two = ZeroGReceiptsHandler(), ZeroGReceiptsHandler()
    first, second = (model.stream("Say a few words", {"callbacks": [handler]}) for handler in (one, two))
    next(first)
    next(second)
    between = model.invoke("Hello")
    list(first)
    list(second)
    assert len(one) == len(two) == 1
    assert len({*one.chat_ids, *two.chat_ids, between.response_metadata["zerog"]["chat_id"]}) == 3


def test_threads_share_a_handler_and_a_copied_context(make_model: Make, billed: Any) -> None:
    model = make_model(verify="off")
    handler = ZeroGReceiptsHandler()
    with get_zerog_receipts() as receipts, ThreadPoolExecutor(4) as pool:
        passed = [pool.submit(model.invoke, f"Say {n}", {"callbacks": [handler]}) for n in range(6)]
        copied = [pool.submit(contextvars.copy_context().run, model.invoke, f"Tell {n}") for n in range(6)]
        for future in [*passed, *copied]:
            future.result()
    assert len(handler) == len(receipts) == 6
    assert sorted(handler.chat_ids + receipts.chat_ids) == sorted(entry.chat_id for entry in billed())


def test_a_stream_can_be_closed_by_another_thread(make_model: Make) -> None:
    handler = ZeroGReceiptsHandler()
    stream = make_model(verify="off").stream("Hello", {"callbacks": [handler]})
    next(stream)
    thread = threading.Thread(target=stream.close)  # type: ignore[attr-defined]
    thread.start()
    thread.join()
    assert [receipt.outcome for receipt in handler] == ["abandoned"]


def test_a_cached_run_lends_its_handler_to_no_later_stream(make_model: Make) -> None:
    handler = ZeroGReceiptsHandler()
    cached = make_model(verify="off", cache=InMemoryCache())
    for _ in range(2):
        cached.invoke("Hello", {"callbacks": [handler]})
    list(make_model(verify="off").stream("Hello"))
    assert (len(handler), len(handler.cached)) == (1, 1)


def test_an_outer_block_hears_of_an_inner_one(make_model: Make) -> None:
    model = make_model(verify="off")
    with get_zerog_receipts() as outer:
        model.invoke("Hello")
        with get_zerog_receipts() as inner:
            model.invoke("Hello")
        model.invoke("Hello")
    model.invoke("Hello")
    assert (len(outer), len(inner)) == (3, 1)


def test_a_thousand_uses_leave_no_hook_and_no_handler_behind(make_model: Make) -> None:
    model = make_model(verify="off")
    with get_zerog_receipts():
        model.invoke("Hello")
    hooks, kept = len(_configure_hooks), handlers_alive()
    for _ in range(1000):
        with get_zerog_receipts():
            pass
    assert len(_configure_hooks) == hooks
    assert handlers_alive() <= kept


def handlers_alive() -> int:
    gc.collect()
    return sum(isinstance(one, ZeroGReceiptsHandler) for one in gc.get_objects())


# money that may be spent


def test_a_reply_from_the_cache_is_not_paid_again(make_model: Make, talk: Any, billed: Any) -> None:
    model = make_model(verify="off", cache=InMemoryCache())
    with get_zerog_receipts() as receipts:
        for _ in range(3):
            talk.invoke(model, "Hello")
    agree(receipts, billed())
    assert len(receipts) == 1
    assert [hit.chat_id for hit in receipts.cached] == list(receipts.chat_ids) * 2
    with get_zerog_receipts() as later:
        talk.invoke(model, "Hello")
    assert (len(later), len(later.cached)) == (0, 1)
    assert later.spent().amount == Amount(0)


@pytest.mark.parametrize("fault", ["body_changed", "other_signer"])
def test_a_reply_that_failed_its_check_is_on_record(make_model: Make, provider: LocalProvider, fault: str) -> None:
    with get_zerog_receipts() as receipts, provider.fault(fault), pytest.raises(zg_core.VerificationFailed):
        make_model().invoke("Hello")
    (receipt,) = receipts
    assert receipt.verdict.status == "failed"
    assert receipts.spent().amount.units == provider.log[-1].fee


def test_a_call_that_was_never_answered_is_on_record(make_model: Make, provider: LocalProvider, talk: Any) -> None:
    fault = provider.fault("cut_before_first_byte")
    with get_zerog_receipts() as receipts, fault, pytest.raises(zg_core.OutcomeUnknown):
        talk.invoke(make_model(), "Hello")
    (receipt,) = receipts
    assert receipt.outcome == "unknown"
    total = receipts.spent()
    assert (total.calls, total.inexact, total.upper) == (1, 1, None)


def test_a_refused_call_is_on_record_and_not_counted_as_spent(make_model: Make, provider: LocalProvider) -> None:
    with get_zerog_receipts() as receipts, provider.fault("unavailable"), pytest.raises(zg_core.ProviderUnavailable):
        make_model(max_retries=0, max_tokens=9).invoke("Hello")
    assert [receipt.outcome for receipt in receipts] == ["refused"]
    (total,) = receipts.totals
    assert (total.calls, total.refused, total.amount.units) == (0, 1, 0)
    assert total.disputable is not None
    assert total.disputable.units > 0


def drop(model: ChatZeroG) -> None:
    stream = model.stream("Hello")
    next(stream)
    del stream
    gc.collect()


def close(model: ChatZeroG) -> None:
    stream = model.stream("Hello")
    next(stream)
    stream.close()  # type: ignore[attr-defined]


def leave(model: ChatZeroG) -> None:
    async def read() -> None:
        async for _ in model.astream("Hello"):
            break
        gc.collect()

    asyncio.run(read())


def cancel(model: ChatZeroG) -> None:
    async def read() -> None:
        seen = asyncio.Event()

        async def consume() -> None:
            async for _ in model.astream("Hello"):
                seen.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(consume())
        await seen.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(read())


@pytest.mark.parametrize("broken_off", [drop, close, leave, cancel])
def test_a_stream_that_was_broken_off_is_on_record(make_model: Make, broken_off: Any) -> None:
    with get_zerog_receipts() as receipts:
        broken_off(make_model(shared=False))
    (call,) = receipts.calls
    assert call.receipt.outcome == "abandoned"
    assert call.run_id is not None
    assert not receipts.spent().exact


@pytest.mark.parametrize("way", ["ainvoke", "astream"])
def test_a_call_cancelled_before_its_answer_is_on_record(make_model: Make, provider: LocalProvider, way: str) -> None:
    model = make_model(shared=False)
    model.invoke("Hello")  # the chain is read

    async def ask() -> Any:
        if way == "ainvoke":
            return await model.ainvoke("Hello")
        return [chunk async for chunk in model.astream("Hello")]

    async def run() -> None:
        before = len(provider.requests)
        task = asyncio.create_task(ask())
        while len(provider.requests) == before:  # noqa: ASYNC110 - it is the provider's event
            await asyncio.sleep(0.001)  # until the provider has the prompt
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await model.aclose()

    with get_zerog_receipts() as receipts:
        asyncio.run(run())
    (call,) = receipts.calls
    assert call.receipt.outcome in ("abandoned", "answered")
    assert call.run_id is not None


def test_ones_own_listener_is_told_too_and_a_failing_handler_costs_no_answer(make_model: Make) -> None:
    class Failing(ZeroGReceiptsHandler):
        def on_zerog_receipt(self, receipt: Receipt, **kwargs: Any) -> None:
            raise RuntimeError("mine")

    told: list[Receipt] = []
    model = make_model(on_receipt=told.append, verify="off")
    assert model.invoke("Hello", {"callbacks": [Failing()]}).text
    assert len(told) == 1


# what it says


def receipt(fee: Fee, provider: str = "0xa", model: str = "m") -> Receipt:
    return Receipt("direct", "local", 1, provider, model, Kind.TEE_ML, "", 1, 2, fee)


def test_totals_keep_providers_models_currencies_and_bounds_apart() -> None:
    handler = ZeroGReceiptsHandler()
    for made in [
        receipt(Fee(Amount(5), exact=True)),
        receipt(Fee(Amount(3), exact=False, reason="no_usage", lower=2, upper=9)),
        receipt(Fee(Amount(7), exact=True), model="n"),
        receipt(Fee(Amount(1, "OPG"), exact=True)),
        receipt(Fee(Amount(0), exact=False, reason="outcome_unknown"), provider="0xb"),
    ]:
        handler.on_zerog_receipt(made)
        handler.on_zerog_receipt(made)  # twice is once
    found = {(total.provider, total.model, total.currency): total for total in handler.totals}
    both = found["0xa", "m", "0G"]
    assert (both.calls, both.inexact, both.exact) == (2, 1, False)
    assert (both.amount, both.lower, both.upper) == (Amount(8), Amount(7), Amount(14))
    assert found["0xa", "n", "0G"].exact
    assert found["0xa", "m", "OPG"].amount == Amount(1, "OPG")
    assert found["0xb", "m", "0G"].upper is None
    assert handler.spent("0G").amount == Amount(15)
    assert handler.spent("0G").upper is None
    assert handler.spent("OPG").upper == Amount(1, "OPG")
    assert "0.000000000000000007 0G to 0.000000000000000014 0G (1 not exact)" in repr(handler)


def test_the_table_for_notebooks_shows_no_markup_of_a_provider() -> None:
    handler = ZeroGReceiptsHandler()
    handler.on_zerog_receipt(receipt(Fee(Amount(5), exact=True), model="<script>"))
    shown = handler._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_without_pandas_the_frame_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(zg_core.ConfigError, match="pip install"):
        ZeroGReceiptsHandler().to_pandas()


def test_the_frame_holds_whole_amounts(make_model: Make, billed: Any) -> None:
    pytest.importorskip("pandas")
    with get_zerog_receipts() as receipts:
        make_model().batch(["Hello", "Say yes"])
    frame = receipts.to_pandas()
    assert sorted(frame["fee"]) == sorted(entry.fee for entry in billed())
    assert set(frame["verdict"]) == {"verified"}
    assert all(isinstance(fee, int) for fee in frame["fee"])
    assert ZeroGReceiptsHandler().to_pandas().empty


def test_a_copied_configuration_reports_to_the_same_handler() -> None:
    handler = ZeroGReceiptsHandler()
    assert copy.deepcopy({"callbacks": [handler]})["callbacks"][0] is handler
    assert copy.copy(handler) is handler
    assert handler


@pytest.fixture(autouse=True)
def nothing_left_over() -> Iterator[None]:
    """No test leaves its handler in force."""
    from langchain_zerog._bridge import _SINK, ACTIVE

    yield
    assert ACTIVE.get() is None
    assert _SINK.get() is None


class TestBundles:
    @pytest.mark.parametrize("given", [True, False], ids=["callback", "block"])
    def test_an_agent_s_run_travels_with_its_tree(
        self, make_model: Make, provider: LocalProvider, tmp_path: Path, given: bool
    ) -> None:
        asked = agent(make_model(keep_bytes=True))
        question = {"messages": [HumanMessage("What is 6 times 7? Use multiply.")]}
        if given:
            handler = ZeroGReceiptsHandler()
            asked.invoke(question, {"callbacks": [handler]})
        else:
            with get_zerog_receipts() as outer, get_zerog_receipts() as handler:
                asked.invoke(question)
            assert [step.id for step in outer.steps] == [step.id for step in handler.steps]
        digest = handler.bundle(tmp_path / "run.zip", run="6 times 7")
        found = read_bundle(tmp_path / "run.zip")
        assert (found.sha256, found.run, len(found.documents)) == (digest, "6 times 7", len(handler))
        kinds = {step.kind for step in found.steps}
        assert {"chain", "tool", "model"} <= kinds
        names = {step.name for step in found.steps}
        assert {"multiply", "ChatZeroG"} <= names
        lines = found.check(Anchor("a test", (provider.response_signer,)))
        assert [line.receipt.id for line in lines] == [receipt.id for receipt in handler.receipts]
        assert {line.check.result for line in lines} == {"passed"}
        assert all("." in line.step and line.name == "ChatZeroG" for line in lines)

    def test_calls_without_a_run_are_steps_of_their_own(self, tmp_path: Path) -> None:
        handler = ZeroGReceiptsHandler()
        one = receipt(Fee(Amount(1), exact=True))
        handler.on_zerog_receipt(one)
        assert [(step.id, step.receipts) for step in handler.steps] == [(one.id, (one.id,))]
        handler.bundle(tmp_path / "a.zip")
        with pytest.raises(zg_core.ConfigError, match="no receipts"):
            ZeroGReceiptsHandler().bundle(tmp_path / "b.zip")
