"""Agents of both frameworks run the tools that were called, with the arguments that were sent, and no others."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest

from tests.cases.llm.conftest import Stage
from tests.cases.llm.inputs import CASES, Case
from tests.cases.llm.values import right
from zg_core import VerificationWarning, ZeroGError

CALLS = [case for case in CASES if case.form != "http" and (right(case).calls or right(case).invalid)]


class Ran:
    """Two tools whose arguments all have defaults: they would run with what nobody sent."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def get_weather(self, city: str = "nowhere") -> str:
        """The weather of a city."""
        self.calls.append(("get_weather", {"city": city}))
        return "sunny"

    def ping(self) -> str:
        """Ping."""
        self.calls.append(("ping", {}))
        return "pong"


def wanted(case: Case) -> list[tuple[str, dict[str, Any]]]:
    return sorted(right(case).calls, key=str)


@pytest.mark.parametrize("case", CALLS, ids=str)
@pytest.mark.parametrize("kind", ["TeeML", "TeeML-separated"])
def test_an_agent_of_langchain(stage: Stage, case: Case, kind: str) -> None:
    from langchain.agents import create_agent

    from langchain_zerog import ChatZeroG

    ran = Ran()
    model = ChatZeroG(**stage.settings(kind), streaming=case.form == "stream")
    stage.serve(case)
    agent: Any = create_agent(model, [ran.get_weather, ran.ping])
    try:
        state = agent.invoke({"messages": [("human", "What is it?")]})
    finally:
        model.close()
    assert sorted(ran.calls, key=str) == wanted(case)
    asked = [call["id"] for message in state["messages"] for call in getattr(message, "tool_calls", [])]
    answered = [message.tool_call_id for message in state["messages"] if message.type == "tool"]
    assert sorted(asked) == sorted(answered)


@pytest.mark.parametrize("case", CALLS, ids=str)
@pytest.mark.parametrize("kind", ["TeeML", "TeeML-separated"])
def test_an_agent_of_llamaindex(stage: Stage, case: Case, kind: str) -> None:
    from llama_index.core.agent.workflow import FunctionAgent
    from llama_index.core.tools import FunctionTool

    from llama_index_zerog import ZeroG

    ran = Ran()

    async def run() -> None:
        llm = ZeroG(**stage.settings(kind), context_window=100_000, is_function_calling_model=True)
        tools = [FunctionTool.from_defaults(ran.get_weather), FunctionTool.from_defaults(ran.ping)]
        agent = FunctionAgent(tools=tools, llm=llm, streaming=case.form == "stream", allow_parallel_tool_calls=True)
        try:
            await agent.run("What is it?")
        finally:
            await llm.aclose()

    stage.serve(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerificationWarning)
        if right(case).invalid:
            with pytest.raises(ZeroGError) as caught:
                asyncio.run(run())
            assert caught.value.code == "bad_tool_arguments"
        else:
            asyncio.run(run())
    assert sorted(ran.calls, key=str) == wanted(case)
