"""LangChain's retries and fallbacks where a provider fails: what may have been paid, or was forged, is not repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware
from langchain_core import exceptions
from langchain_core.tools import tool

import zg_core
from langchain_zerog import ChatZeroG
from langchain_zerog._errors import NeverServed, as_model_error
from zg_core.errors import never_served
from zg_core.localnet import LocalNet, LocalProvider

Make = Callable[..., ChatZeroG]
CHAT = "/v1/proxy/chat/completions"
NEVER_AGAIN = {
    "body_changed": zg_core.VerificationFailed,
    "other_signer": zg_core.VerificationFailed,
    "cut_before_first_byte": zg_core.OutcomeUnknown,
    "session_rejected": zg_core.SessionRejected,
}
AGAIN = {"unavailable": exceptions.ModelAPIError, "rate_limited": exceptions.ModelRateLimitError}


def prompts(provider: LocalProvider) -> int:
    """Prompts that have reached the provider."""
    return sum(request.path == CHAT for request in provider.requests)


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


@pytest.fixture(params=["sync", "async"])
def run_agent(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Runs an agent in either way."""

    def blocking(model: ChatZeroG, middleware: Any, question: str) -> Any:
        return create_agent(model, [multiply], middleware=middleware).invoke({"messages": [("user", question)]})

    def asynchronous(model: ChatZeroG, middleware: Any, question: str) -> Any:
        async def work() -> Any:
            async with model:
                agent = create_agent(model, [multiply], middleware=middleware)
                return await agent.ainvoke({"messages": [("user", question)]})

        return asyncio.run(work())

    return blocking if request.param == "sync" else asynchronous


RETRY = {"initial_delay": 0.0, "backoff_factor": 0.0, "jitter": False, "on_failure": "error"}
ASKED = "What is 6 times 7? Use the multiply tool."


# ModelRetryMiddleware


@pytest.mark.parametrize("fault", AGAIN)
def test_the_retry_middleware_repeats_what_was_never_served(
    make_model: Make, provider: LocalProvider, run_agent: Any, fault: str
) -> None:
    before = prompts(provider)
    model = make_model(shared=False, verify="require", max_retries=0)
    with provider.fault(fault, times=2):
        found = run_agent(model, [ModelRetryMiddleware(max_retries=3, **RETRY)], ASKED)
    assert "42" in found["messages"][-1].text
    assert prompts(provider) == before + 4  # two refused, the tool call, the answer


@pytest.mark.parametrize("fault", NEVER_AGAIN)
def test_the_retry_middleware_repeats_nothing_else(
    make_model: Make, provider: LocalProvider, run_agent: Any, fault: str
) -> None:
    before = prompts(provider)
    model = make_model(shared=False, verify="require", max_retries=0)
    with provider.fault(fault, times=None), pytest.raises(NEVER_AGAIN[fault]):
        run_agent(model, [ModelRetryMiddleware(max_retries=3, **RETRY)], ASKED)
    # A rejected session is signed anew once by the client itself: it was never served.
    assert prompts(provider) == before + (2 if fault == "session_rejected" else 1)


# ModelFallbackMiddleware


@pytest.mark.parametrize("fault", [*NEVER_AGAIN, *AGAIN])
def test_the_fallback_middleware_turns_to_another_provider(
    make_model: Make, net: LocalNet, provider: LocalProvider, script: Any, run_agent: Any, fault: str
) -> None:
    script.body = {
        "model": "scripted",
        "choices": [{"message": {"role": "assistant", "content": "from the second"}, "finish_reason": "stop"}],
    }
    second = ChatZeroG(verify="require", provider=net.providers[2].address)
    model = make_model(shared=False, verify="require", max_retries=0)
    with provider.fault(fault, times=None):
        found = run_agent(model, [ModelFallbackMiddleware(second)], "Hello")
    second.close()
    last = found["messages"][-1]
    assert last.text == "from the second"
    assert last.response_metadata["zerog"]["provider"] == net.providers[2].address
    assert last.response_metadata["zerog"]["status"] == "verified"


# with_retry


@pytest.mark.parametrize("bound", [False, True], ids=["model", "with tools"])
@pytest.mark.parametrize("fault", AGAIN)
def test_with_retry_repeats_what_was_never_served(
    make_model: Make, provider: LocalProvider, talk: Any, fault: str, bound: bool
) -> None:
    model = make_model(verify="require", max_retries=0)
    before = prompts(provider)
    retrying = (model.bind_tools([multiply]) if bound else model).with_retry(
        wait_exponential_jitter=False, stop_after_attempt=3
    )
    with provider.fault(fault, times=2):
        assert talk.invoke(retrying, "Hello").response_metadata["zerog"]["status"] == "verified"
    assert prompts(provider) == before + 3
    with provider.fault(fault, times=None), pytest.raises(AGAIN[fault]):
        talk.invoke(retrying, "Hello")
    assert prompts(provider) == before + 6


@pytest.mark.parametrize("bound", [False, True], ids=["model", "with tools"])
@pytest.mark.parametrize("fault", NEVER_AGAIN)
def test_with_retry_repeats_nothing_else_unasked(
    make_model: Make, provider: LocalProvider, talk: Any, fault: str, bound: bool
) -> None:
    model = make_model(verify="require", max_retries=0)
    before = prompts(provider)
    retrying = (model.bind_tools([multiply]) if bound else model).with_retry(wait_exponential_jitter=False)
    with provider.fault(fault, times=None), pytest.raises(NEVER_AGAIN[fault]):
        talk.invoke(retrying, "Hello")
    assert prompts(provider) == before + (2 if fault == "session_rejected" else 1)


def test_with_retry_repeats_a_forged_answer_for_who_says_so(
    make_model: Make, provider: LocalProvider, talk: Any
) -> None:
    retrying = make_model(verify="require", max_retries=0).with_retry(
        retry_if_exception_type=(zg_core.VerificationFailed,), wait_exponential_jitter=False
    )
    before = prompts(provider)
    with provider.fault("body_changed", times=1):
        assert talk.invoke(retrying, "Hello").response_metadata["zerog"]["status"] == "verified"
    assert prompts(provider) == before + 2


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (zg_core.RateLimited("x", status=429), True),
        (zg_core.ProviderUnavailable("x", status=503), True),
        (zg_core.ProviderUnavailable("x", code="connect_failed"), True),
        (zg_core.ChainError("x", code="rpc_unavailable", retryable=True), True),
        (zg_core.ProviderUnavailable("x", status=502), False),
        (zg_core.ProviderUnavailable("x", status=504), False),
        (zg_core.ProviderUnavailable("x", status=503, retryable=False), False),
        (zg_core.OutcomeUnknown("x", code="connection_lost"), False),
        (zg_core.StreamTruncated("x"), False),
        (zg_core.VerificationUnavailable("x"), False),
        (zg_core.VerificationFailed("x"), False),
        (ValueError("x"), False),
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'details', '')}",
)
def test_only_what_was_never_served_is_tried_again(error: Exception, again: bool) -> None:
    assert never_served(error) is isinstance(error, NeverServed) is again
    if isinstance(error, zg_core.ZeroGError):
        assert never_served(as_model_error(error)) is again


# with_fallbacks


@pytest.mark.parametrize("fault", [*NEVER_AGAIN, *AGAIN])
def test_a_fallback_keeps_its_tools(
    make_model: Make, net: LocalNet, provider: LocalProvider, script: Any, talk: Any, fault: str
) -> None:
    call = {"id": "call_a", "type": "function", "function": {"name": "multiply", "arguments": '{"a": 6, "b": 7}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    script.body = {"model": "scripted", "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    first = make_model(verify="require", max_retries=0)
    second = make_model(verify="require", provider=net.providers[2].address)
    pair = first.bind_tools([multiply]).with_fallbacks([second.bind_tools([multiply])])
    with provider.fault(fault, times=None):
        answer = talk.invoke(pair, ASKED)
    assert [made["name"] for made in answer.tool_calls] == ["multiply"]
    assert answer.response_metadata["zerog"]["provider"] == net.providers[2].address
