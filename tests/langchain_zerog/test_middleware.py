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
from langchain_zerog._purse import Purse
from langchain_zerog.middleware import ZeroGBudgetMiddleware, ZeroGVerificationMiddleware
from tests.zg_core.receipts.test_model import receipt as made_receipt
from tests.zg_core.test_budget import service_of
from zg_core import og
from zg_core.calls.budgets import held_to
from zg_core.localnet import LocalNet, LocalProvider
from zg_core.money import Amount, Fee, neuron
from zg_core.pricing import Tariff

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
    ("arguments", "code"),
    [({"minimum": "good"}, "bad_policy"), ({"timeout": 0}, "bad_timeout"), ({"timeout": 1e300}, "bad_timeout")],
    ids=str,
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


def prompts(provider: LocalProvider) -> int:
    """How many it was asked; background checks of earlier answers may come in between."""
    return sum(request.path.endswith("/chat/completions") for request in provider.requests)


def bound_of_a_call(model: ChatZeroG, provider: LocalProvider, question: Any, **bound: Any) -> int:
    """The most that the next such call can cost, as a budget holds it."""
    with pytest.raises(zg_core.BudgetExceeded) as caught, held_to(Purse({"0G": neuron(1)})):
        (model.bind_tools([multiply]) if bound else model).invoke(question)
    return int(caught.value.details["asked"].units)


def test_the_call_that_could_exceed_it_is_not_made(make_model: Make, provider: LocalProvider, invoke: Any) -> None:
    model = make_model(max_tokens=50)
    most = bound_of_a_call(model, provider, QUESTION, tools=True)
    agent = create_agent(model, [multiply], middleware=[ZeroGBudgetMiddleware(neuron(most - 1))])
    before = len(provider.log)
    with pytest.raises(zg_core.BudgetExceeded) as caught:
        invoke(agent, ask())
    assert isinstance(caught.value, exceptions.ModelError)
    assert (caught.value.details["asked"], caught.value.details["left"]) == (neuron(most), neuron(most - 1))
    assert len(provider.log) == before
    agent = create_agent(model, [multiply], middleware=[ZeroGBudgetMiddleware(neuron(most))])
    with pytest.raises(zg_core.BudgetExceeded) as caught:
        invoke(agent, ask())
    (entry,) = provider.log[before:]
    assert caught.value.details["left"] == neuron(most - entry.fee)


def test_a_price_that_is_raised_inside_a_run_is_held_as_raised(
    make_model: Make, provider: LocalProvider, net: LocalNet, invoke: Any
) -> None:
    @tool("multiply")
    def raise_prices(a: int, b: int) -> int:
        """Multiply two integers."""
        provider.set_price(provider.prices[0] * 10_000, provider.prices[1] * 10_000)
        return a * b

    model = make_model(max_tokens=50, record_age=0)
    limit = neuron(3 * bound_of_a_call(model, provider, QUESTION, tools=True))
    snapshot, before = net.snapshot(), len(provider.log)
    try:
        with pytest.raises(zg_core.BudgetExceeded):
            invoke(create_agent(model, [raise_prices], middleware=[ZeroGBudgetMiddleware(limit)]), ask())
    finally:
        net.revert(snapshot)
    assert sum(entry.fee for entry in provider.log[before:]) <= limit.units


def test_a_limit_of_nothing_sends_nothing(make_model: Make, provider: LocalProvider, invoke: Any) -> None:
    before = prompts(provider)
    with pytest.raises(zg_core.BudgetExceeded):
        invoke(create_agent(make_model(), middleware=[ZeroGBudgetMiddleware(neuron(0))]), ask())
    assert prompts(provider) == before


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
    before = prompts(provider)
    last = invoke(agent, ask())["messages"][-1]
    assert last.text.startswith("Stopped: the next model call may cost")
    assert last.response_metadata["zerog_budget"]["left"] == "0 0G"
    assert prompts(provider) == before


def test_each_run_has_its_own_budget_and_a_thread_one_for_all(
    make_model: Make, provider: LocalProvider, invoke: Any
) -> None:
    model = make_model(max_tokens=50)
    most = bound_of_a_call(model, provider, "Hello")
    for per, runs in (("run", 3), ("thread", 1)):
        middleware = ZeroGBudgetMiddleware(neuron(most), per=per)  # type: ignore[arg-type]
        agent = create_agent(model, middleware=[middleware], checkpointer=InMemorySaver())
        done = 0
        with pytest.raises(zg_core.BudgetExceeded) if per == "thread" else get_zerog_receipts():
            for number in range(3):
                thread = "a" if per == "thread" else f"a{number}"  # no run is longer than the first
                agent.invoke(ask("Hello"), {"configurable": {"thread_id": thread}})
                done += 1
        assert done == runs
        agent.invoke(ask("Hello"), {"configurable": {"thread_id": "b"}})  # another thread has its own


@pytest.mark.parametrize("again", [False, True], ids=["same process", "another process"])
@pytest.mark.parametrize("per", ["run", "thread"])
def test_what_was_spent_before_an_interrupt_counts_after_it(
    make_model: Make, provider: LocalProvider, invoke: Any, per: Any, again: bool
) -> None:
    model = make_model(max_tokens=50)
    limit = neuron(bound_of_a_call(model, provider, QUESTION, tools=True))
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "a"}}

    def made() -> Any:
        pause = HumanInTheLoopMiddleware(interrupt_on={"multiply": True})
        middleware = [ZeroGBudgetMiddleware(limit, per=per), pause]
        if again:  # the pause comes after the budget has written its checkpoint
            middleware.reverse()
        return create_agent(model, [multiply], middleware=middleware, checkpointer=saver)

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


def test_what_a_failed_run_may_have_spent_counts_in_the_threads_next(make_model: Make, provider: LocalProvider) -> None:
    model = make_model(max_tokens=50)
    most = bound_of_a_call(model, provider, "Hello")
    middleware = ZeroGBudgetMiddleware(neuron(most * 3 // 2), per="thread")
    agent = create_agent(model, middleware=[middleware], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "a"}}
    with provider.fault("cut_before_first_byte"), pytest.raises(zg_core.OutcomeUnknown) as lost:
        agent.invoke(ask("Hello"), config)
    assert lost.value.receipt is not None
    with pytest.raises(zg_core.BudgetExceeded) as caught:
        agent.invoke(ask("Hello"), config)
    assert caught.value.details["left"] == neuron(most * 3 // 2 - lost.value.receipt.fee.upper)


def test_a_call_of_unknown_cost_counts_at_its_bound_in_the_same_run(make_model: Make, provider: LocalProvider) -> None:
    @wrap_model_call
    def twice(request: Any, handler: Any) -> Any:
        try:
            return handler(request)
        except zg_core.OutcomeUnknown:
            return handler(request)

    model = make_model()
    most = bound_of_a_call(model, provider, "Hello")  # of an answer that nothing limits
    agent = create_agent(model, middleware=[twice, ZeroGBudgetMiddleware(neuron(2 * most - 1))])
    before = len(provider.requests)
    with provider.fault("cut_before_first_byte"), pytest.raises(zg_core.BudgetExceeded) as caught:
        agent.invoke(ask("Hello"))
    assert caught.value.details["left"] == neuron(most - 1)
    assert sum(request.path.endswith("/chat/completions") for request in provider.requests[before:]) == 1


def test_models_inside_tools_and_fallbacks_are_held_to_it(
    make_model: Make, provider: LocalProvider, invoke: Any
) -> None:
    inner = make_model(max_tokens=50)

    @tool
    def think(thought: str) -> str:
        """Think about a thought."""
        return inner.invoke(thought).text

    purses: list[Purse] = []
    budget = ZeroGBudgetMiddleware(og("0.1"))
    made = budget._purse
    budget._purse = lambda before: purses.append(made(before)) or purses[-1]  # type: ignore[method-assign,func-returns-value]
    before = len(provider.log)
    agent = create_agent(make_model(max_tokens=50), [think], middleware=[budget])
    invoke(agent, ask("Think about 'rain'. Use the think tool."))
    entries = provider.log[before:]
    assert len(entries) == 3
    assert purses[-1].spent() == {"0G": sum(entry.fee for entry in entries)}

    inner = make_model(max_tokens=10**6)
    before = len(provider.log)
    with pytest.raises(zg_core.BudgetExceeded):
        invoke(agent, ask("Think about 'rain'. Use the think tool."))
    assert len(provider.log) == before + 1


def test_a_replay_from_the_cache_costs_nothing(make_model: Make, provider: LocalProvider, invoke: Any) -> None:
    model = make_model(cache=InMemoryCache(), max_tokens=50)
    model.invoke("Hello")
    agent = create_agent(model, middleware=[ZeroGBudgetMiddleware(neuron(1))])
    for _ in range(3):
        agent.invoke(ask("Hello"))


def test_the_models_own_budget_and_that_of_the_run_hold_both(
    make_model: Make, provider: LocalProvider, invoke: Any
) -> None:
    model = make_model(max_tokens=50, budget=zg_core.Budget(per_run=neuron(1)))
    agent = create_agent(model, middleware=[ZeroGBudgetMiddleware(og("1"), exit_behavior="end")])
    with pytest.raises(zg_core.BudgetExceeded) as caught:
        invoke(agent, ask("Hello"))
    assert caught.value.details["left"] == neuron(1), "it is the model's that refuses, and no end of the run"


class TestPurse:
    def reserve(self, purse: Purse, currency: str) -> int:
        receipt = made_receipt(fee=Fee(Amount(0, currency), exact=False, reason="outcome_unknown"))
        made = purse.reserve(receipt, service_of(tariff=Tariff(1, 1, currency=currency)), b'{"max_tokens":10}')
        purse.settle(receipt, Fee(Amount(7, currency), exact=True))
        return made

    def test_currencies_are_never_added_up(self) -> None:
        limits = {"0G": og("1"), "USD": Amount("1", "USD"), "OPG": Amount("1", "OPG")}
        purse = Purse(limits)
        for currency in ("USD", "0G", "0G", "OPG"):
            self.reserve(purse, currency)
        assert purse.spent() == {"0G": 14, "USD": 7, "OPG": 7}
        assert Purse(limits, spent=purse.spent()).spent() == purse.spent()

    def test_a_currency_without_a_limit_is_refused(self) -> None:
        with pytest.raises(zg_core.BudgetExceeded) as caught:
            self.reserve(Purse({"0G": og("1")}), "USD")
        assert caught.value.code == "currency_not_budgeted"

    def test_amounts_are_told_in_their_currency(self) -> None:
        with pytest.raises(zg_core.BudgetExceeded) as caught:
            self.reserve(Purse({"USD": Amount(3, "USD")}), "USD")
        assert caught.value.details["left"] == Amount(3, "USD")

    def test_a_price_that_nobody_signs_needs_a_word(self) -> None:
        listed = Tariff(1, 1, currency="USD", listed=True)
        with pytest.raises(zg_core.ConfigError) as caught:
            Purse({"USD": Amount("1", "USD")}).reserve(made_receipt(), service_of(tariff=listed), b'{"max_tokens":10}')
        assert caught.value.code == "budget_unpriced"
        purse = Purse({"USD": Amount("1", "USD")}, unpriced=Amount(10**6, "USD"))
        assert purse.reserve(made_receipt(), service_of(tariff=listed), b'{"max_tokens":10}') == 10**6


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
