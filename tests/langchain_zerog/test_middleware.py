"""In an agent, no tool runs on an unproven answer, and no call is made that the budget does not cover."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, ModelFallbackMiddleware, wrap_model_call
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core import exceptions
from langchain_core.caches import InMemoryCache
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel

import zg_core
from langchain_zerog import ChatZeroG, get_zerog_receipts
from langchain_zerog.middleware import ZeroGBudgetMiddleware, ZeroGVerificationMiddleware, _Spending
from zg_core import og
from zg_core.localnet import LocalProvider
from zg_core.money import Amount, Fee, neuron

Make = Callable[..., ChatZeroG]
QUESTION = "What is 6 times 7? Use the multiply tool."
ran: list[str] = []


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    ran.append(f"multiply {a} {b}")
    return a * b


class Answer(BaseModel):
    """The answer."""

    number: int


def ask(text: str = QUESTION) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


@pytest.fixture(autouse=True)
def no_tool_ran() -> None:
    ran.clear()


@pytest.fixture
def invoke(talk: Any) -> Callable[..., Any]:
    """Runs an agent."""

    def run(agent: Any, value: Any, **config: Any) -> Any:
        return talk.invoke(agent, value, config=config)

    return run


# verification

STRATEGIES = {"plain": None, "tool strategy": ToolStrategy(Answer), "provider strategy": ProviderStrategy(Answer)}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("verify", ["background", "warn"])
def test_proven_answers_pass(make_model: Make, invoke: Any, strategy: str, verify: str) -> None:
    model = make_model(verify=verify, shared=False)
    agent = create_agent(
        model, [multiply], middleware=[ZeroGVerificationMiddleware("verified")], response_format=STRATEGIES[strategy]
    )
    result = invoke(agent, ask())
    if strategy == "plain":
        assert ran == ["multiply 6 7"]
        assert "42" in result["messages"][-1].text
    else:
        assert isinstance(result["structured_response"], Answer)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("verify", ["background", "warn"])
def test_no_tool_runs_on_a_forged_answer(
    make_model: Make, provider: LocalProvider, invoke: Any, strategy: str, verify: str
) -> None:
    agent = create_agent(
        make_model(verify=verify, shared=False),
        [multiply],
        middleware=[ZeroGVerificationMiddleware()],
        response_format=STRATEGIES[strategy],
    )
    with provider.fault("body_changed"), pytest.raises(zg_core.VerificationFailed) as caught:
        invoke(agent, ask())
    assert ran == []
    assert isinstance(caught.value, exceptions.ModelError)
    assert caught.value.receipt is not None
    assert caught.value.code == "content_mismatch"


def test_a_provider_that_begins_to_cheat_inside_a_loop_is_stopped_there(
    make_model: Make, provider: LocalProvider, invoke: Any
) -> None:
    @tool
    def multiply_then_cheat(a: int, b: int) -> int:
        """Multiply two integers."""
        ran.append(f"honest {a} {b}")
        provider.fault("body_changed")  # from the next answer on
        return a * b

    agent = create_agent(
        make_model(verify="background", shared=False),
        [multiply_then_cheat],
        middleware=[ZeroGVerificationMiddleware()],
        checkpointer=InMemorySaver(),
    )
    question = "What is 2 times 3? Use the multiply_then_cheat tool. Then what is 4 times 5? Use it again."
    with pytest.raises(zg_core.VerificationFailed):
        invoke(agent, ask(question), configurable={"thread_id": "1"})
    honest = list(ran)
    assert honest
    kept = agent.get_state({"configurable": {"thread_id": "1"}}).values["messages"]
    assert isinstance(kept[-1], ToolMessage), "the forged answer is not in the thread"
    assert ran == honest


@pytest.mark.parametrize("verify", ["off", "background"])
def test_an_answer_without_a_signature_is_not_enough(
    make_model: Make, provider: LocalProvider, invoke: Any, verify: str
) -> None:
    agent = create_agent(
        make_model(verify=verify, shared=False), [multiply], middleware=[ZeroGVerificationMiddleware()]
    )
    with provider.fault("signature_never"), pytest.raises(zg_core.VerificationUnavailable) as caught:
        invoke(agent, ask())
    assert ran == []
    assert caught.value.code == {"off": "policy_off", "background": "no_signature"}[verify]


def test_a_verdict_that_does_not_come_in_time_is_not_enough(
    make_model: Make, provider: LocalProvider, invoke: Any
) -> None:
    agent = create_agent(
        make_model(verify="background", shared=False),
        [multiply],
        middleware=[ZeroGVerificationMiddleware(timeout=0.01)],
    )
    late = provider.fault("signature_late", seconds=3600, times=None)
    with late, pytest.raises(zg_core.VerificationUnavailable) as caught:
        invoke(agent, ask())
    assert ran == []
    assert caught.value.code in ("pending", "no_signature")


def test_another_models_answer_is_not_enough(invoke: Any) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("trust me")]))
    agent = create_agent(model, middleware=[ZeroGVerificationMiddleware()])
    with pytest.raises(zg_core.VerificationUnavailable, match="no receipt"):
        invoke(agent, ask())


def test_an_answer_from_the_cache_keeps_its_proof(make_model: Make, invoke: Any) -> None:
    model = make_model(cache=InMemoryCache())
    agent = create_agent(model, middleware=[ZeroGVerificationMiddleware()])
    for _ in range(2):
        assert invoke(agent, ask("Hello"))["messages"][-1].text


@pytest.mark.parametrize("fallback_is_outside", [True, False])
def test_a_fallback_outside_the_check_asks_the_next_model(
    make_model: Make, provider: LocalProvider, invoke: Any, fallback_is_outside: bool
) -> None:
    first, second = make_model(verify="background", shared=False), make_model(verify="background", shared=False)
    middleware: list[Any] = [ModelFallbackMiddleware(second), ZeroGVerificationMiddleware()]
    agent = create_agent(first, [multiply], middleware=middleware if fallback_is_outside else middleware[::-1])
    before = len(provider.log)
    with provider.fault("body_changed"), get_zerog_receipts() as receipts:  # the first answer only
        if fallback_is_outside:
            assert "42" in invoke(agent, ask())["messages"][-1].text
        else:
            with pytest.raises(zg_core.VerificationFailed):
                invoke(agent, ask())
    assert ran == (["multiply 6 7"] if fallback_is_outside else [])
    assert len(receipts) == len(provider.log) - before == (3 if fallback_is_outside else 1)


@pytest.mark.parametrize(
    ("arguments", "code"), [({"minimum": "good"}, "bad_policy"), ({"timeout": 0}, "bad_timeout")], ids=str
)
def test_a_wrong_setting_is_refused_at_once(arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(zg_core.ConfigError) as caught:
        ZeroGVerificationMiddleware(**arguments)
    assert caught.value.code == code


# budget


def test_a_budget_that_suffices_changes_nothing(make_model: Make, provider: LocalProvider, invoke: Any) -> None:
    agent = create_agent(make_model(), [multiply], middleware=[ZeroGBudgetMiddleware(og("0.1"))])
    assert "42" in invoke(agent, ask())["messages"][-1].text
    assert ran == ["multiply 6 7"]


def test_the_call_that_would_exceed_it_is_not_made(make_model: Make, provider: LocalProvider, invoke: Any) -> None:
    agent = create_agent(make_model(), [multiply], middleware=[ZeroGBudgetMiddleware(neuron(1))])
    before = len(provider.log)
    with pytest.raises(zg_core.BudgetExceeded) as caught:
        invoke(agent, ask())
    (entry,) = provider.log[before:]
    assert isinstance(caught.value, exceptions.ModelError)
    assert caught.value.details["asked"] == Amount(entry.fee)
    assert caught.value.details["left"] == Amount(1 - entry.fee)
    assert str(Amount(entry.fee)) in str(caught.value)


def test_a_limit_of_nothing_sends_nothing(make_model: Make, provider: LocalProvider, invoke: Any) -> None:
    before = len(provider.requests)
    with pytest.raises(zg_core.BudgetExceeded):
        invoke(create_agent(make_model(), middleware=[ZeroGBudgetMiddleware(neuron(0))]), ask())
    assert len(provider.requests) == before


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_can_end_the_run_with_a_message(
    make_model: Make, provider: LocalProvider, invoke: Any, strategy: str
) -> None:
    agent = create_agent(
        make_model(),
        [multiply],
        middleware=[ZeroGBudgetMiddleware(neuron(0), exit_behavior="end")],
        response_format=STRATEGIES[strategy],
    )
    before = len(provider.requests)
    last = invoke(agent, ask())["messages"][-1]
    assert last.text.startswith("Stopped: the next model call may cost")
    assert last.response_metadata["zerog_budget"]["left"] == "0 0G"
    assert len(provider.requests) == before


def test_each_run_has_its_own_budget_and_a_thread_one_for_all(
    make_model: Make, provider: LocalProvider, invoke: Any
) -> None:
    cost = one_call(make_model(), provider)
    for per, runs in (("run", 3), ("thread", 1)):
        middleware = ZeroGBudgetMiddleware(neuron(cost * 3 // 2), per=per)  # type: ignore[arg-type]
        agent = create_agent(make_model(), middleware=[middleware], checkpointer=InMemorySaver())
        done = 0
        with pytest.raises(zg_core.BudgetExceeded) if per == "thread" else get_zerog_receipts():
            for _ in range(3):
                agent.invoke(ask("Hello"), {"configurable": {"thread_id": "a"}})
                done += 1
        assert done == runs
        agent.invoke(ask("Hello"), {"configurable": {"thread_id": "b"}})  # another thread has its own


def one_call(model: ChatZeroG, provider: LocalProvider) -> int:
    model.invoke("Hello")
    return int(provider.log[-1].fee)


@pytest.mark.parametrize("again", [False, True], ids=["same process", "another process"])
@pytest.mark.parametrize("per", ["run", "thread"])
def test_what_was_spent_before_an_interrupt_counts_after_it(
    make_model: Make, provider: LocalProvider, invoke: Any, per: Any, again: bool
) -> None:
    make_model().invoke(QUESTION)
    limit = neuron(int(provider.log[-1].fee) * 3 // 2)
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "a"}}

    def made() -> Any:
        pause = HumanInTheLoopMiddleware(interrupt_on={"multiply": True})
        middleware = [ZeroGBudgetMiddleware(limit, per=per), pause]
        if again:  # the pause comes after the budget has written its checkpoint
            middleware.reverse()
        return create_agent(make_model(), [multiply], middleware=middleware, checkpointer=saver)

    agent = made()
    assert "__interrupt__" in invoke(agent, ask(), **config)
    before = len(provider.log)
    resume = Command(resume={"decisions": [{"type": "approve"}]})
    with pytest.raises(zg_core.BudgetExceeded):
        invoke(made() if again else agent, resume, **config)
    assert len(provider.log) == before
    assert ran == ["multiply 6 7"]


def test_a_thread_without_a_checkpointer_is_an_error(make_model: Make, provider: LocalProvider, invoke: Any) -> None:
    agent = create_agent(make_model(), middleware=[ZeroGBudgetMiddleware(og("1"), per="thread")])
    before = len(provider.log)
    with pytest.raises(zg_core.ConfigError) as caught:
        invoke(agent, ask("Hello"), configurable={"thread_id": "a"})
    assert caught.value.code == "no_checkpointer"
    assert len(provider.log) == before


def test_what_a_failed_run_spent_counts_in_the_threads_next(make_model: Make, provider: LocalProvider) -> None:
    middleware = ZeroGBudgetMiddleware(og("0.1"), per="thread", unknown_counts_as=og("0.1"))
    agent = create_agent(make_model(), middleware=[middleware], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "a"}}
    with provider.fault("cut_before_first_byte"), pytest.raises(zg_core.OutcomeUnknown):
        agent.invoke(ask("Hello"), config)
    with pytest.raises(zg_core.BudgetExceeded) as caught:
        agent.invoke(ask("Hello"), config)
    assert caught.value.details["left"] == Amount(0)


def test_after_a_call_of_unknown_cost_nobody_can_say_what_is_left(
    make_model: Make, provider: LocalProvider, invoke: Any
) -> None:
    @wrap_model_call
    def twice(request: Any, handler: Any) -> Any:
        try:
            return handler(request)
        except zg_core.OutcomeUnknown:
            return handler(request)

    agent = create_agent(make_model(), middleware=[twice, ZeroGBudgetMiddleware(og("0.1"))])
    before = len(provider.requests)
    with provider.fault("cut_before_first_byte"), pytest.raises(zg_core.BudgetExceeded) as caught:
        agent.invoke(ask("Hello"))
    assert caught.value.code == "fee_unknown"
    assert sum(request.path.endswith("/chat/completions") for request in provider.requests[before:]) == 1


def test_models_inside_tools_and_fallbacks_count(make_model: Make, provider: LocalProvider, invoke: Any) -> None:
    inner = make_model()

    @tool
    def think(thought: str) -> str:
        """Think about a thought."""
        return inner.invoke(thought).text

    budget = ZeroGBudgetMiddleware(neuron(1), unknown_counts_as=neuron(0))
    spent: list[Any] = []
    original = budget._refusal
    budget._refusal = lambda spending: spent.append(spending) or original(_Spending())  # type: ignore[method-assign,func-returns-value]
    before = len(provider.log)
    agent = create_agent(make_model(), [think], middleware=[budget])
    invoke(agent, ask("Think about 'rain'. Use the think tool."))
    entries = provider.log[before:]
    assert len(entries) == 3
    assert spent[-1].spent == {"0G": sum(entry.fee for entry in entries)}


def test_a_replay_from_the_cache_costs_nothing(make_model: Make, provider: LocalProvider, invoke: Any) -> None:
    model = make_model(cache=InMemoryCache())
    model.invoke("Hello")
    cost = int(provider.log[-1].fee)
    budget = ZeroGBudgetMiddleware(neuron(cost * 3 // 2), per="thread")
    agent = create_agent(model, middleware=[budget], checkpointer=InMemorySaver())
    for number in range(3):
        agent.invoke(ask("Hello"), {"configurable": {"thread_id": str(number)}})


def test_currencies_are_never_added_up() -> None:
    spending = _Spending()
    spending.add(Fee(Amount(5, "OPG"), exact=True), None)
    spending.add(Fee(Amount(3), exact=False, upper=7), None)
    assert spending.spent == {"OPG": 5, "0G": 7}
    refusal = ZeroGBudgetMiddleware(og("1"))._refusal(spending)
    assert refusal is not None
    assert refusal.code == "currency_not_budgeted"
    assert ZeroGBudgetMiddleware([og("1"), Amount("1", "OPG")])._refusal(spending) is None
    assert _Spending.of_state(spending.to_state()).to_state() == spending.to_state()


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit": neuron(-1)},
        {"limit": []},
        {"limit": [og("1"), og("2")]},
        {"limit": 5},
        {"limit": og("1"), "per": "day"},
        {"limit": og("1"), "exit_behavior": "stop"},
    ],
    ids=repr,
)
def test_a_wrong_budget_is_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(zg_core.ConfigError) as caught:
        ZeroGBudgetMiddleware(**arguments)
    assert caught.value.code == "bad_budget"


def test_a_budget_per_run_and_one_per_thread_go_together(make_model: Make, invoke: Any) -> None:
    budgets = [ZeroGBudgetMiddleware(og("0.1")), ZeroGBudgetMiddleware(og("1"), per="thread")]
    agent = create_agent(make_model(), [multiply], middleware=budgets, checkpointer=InMemorySaver())
    result = invoke(agent, ask(), configurable={"thread_id": "a"})
    assert set(result) == {"messages"}, "what it keeps is private"


def test_without_langchain_the_import_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['langchain'] = None\nimport langchain_zerog\nimport langchain_zerog.middleware"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'langchain>=1.0'" in result.stderr
