"""What a cache of LangChain serves: no answer whose check failed or is not over, and none that was put in its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration
from langchain_core.tools import tool

import zg_core
from langchain_zerog import ChatZeroG, get_zerog_receipts, receipt_of
from langchain_zerog._receipts import is_what_was_said
from langchain_zerog.middleware import ZeroGVerificationMiddleware
from tests.patience import PATIENCE
from zg_core import VerificationWarning
from zg_core.localnet import LocalNet, LocalProvider
from zg_core.receipts import recent
from zg_core.receipts.memory import MemoryReceipts
from zg_core.verify.verdict import Reason, Status, Verdict

Make = Callable[..., ChatZeroG]
QUESTION = "What is 6 times 7? Use the multiply tool."
ran: list[str] = []


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    ran.append(f"multiply {a} {b}")
    return a * b


class Written(BaseCache):
    """A cache that keeps texts, as those on disks and servers do."""

    def __init__(self) -> None:
        self.texts: dict[tuple[str, str], str] = {}

    def lookup(self, prompt: str, llm_string: str) -> Any:
        text = self.texts.get((prompt, llm_string))
        return None if text is None else loads(text, allowed_objects="core")

    def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
        self.texts[prompt, llm_string] = dumps(list(return_val))

    def clear(self, **_: Any) -> None:
        self.texts.clear()


@pytest.fixture(params=[InMemoryCache, Written])
def cache(request: pytest.FixtureRequest) -> Any:
    return request.param()


def asked(provider: LocalProvider) -> int:
    """Prompts that have reached the provider."""
    return sum(request.path.endswith("/chat/completions") for request in provider.requests)


pytestmark = pytest.mark.filterwarnings("ignore:The function `loads` is in beta")


def status(message: Any) -> str:
    return str(message.response_metadata["zerog"]["status"])


def test_an_answer_whose_check_failed_meanwhile_is_not_served(
    make_model: Make, provider: LocalProvider, talk: Any, cache: Any
) -> None:
    model = make_model(verify="background", cache=cache)
    before = asked(provider)
    with provider.fault("body_changed"):
        first = talk.invoke(model, "Hello")
    receipt = receipt_of(first)
    assert receipt is not None
    assert receipt.resolve(PATIENCE).status == "failed"
    again = talk.invoke(model, "Hello")
    assert asked(provider) == before + 2
    assert again.text != first.text
    honest = receipt_of(again)
    assert honest is not None
    assert honest.resolve(PATIENCE).status == "verified"
    third = talk.invoke(model, "Hello")
    assert (asked(provider), third.text) == (before + 2, again.text)
    assert status(third) == "verified", "what was pending when it was cached is told as it is now"


def test_an_answer_whose_check_does_not_end_is_asked_for_again(
    make_model: Make, provider: LocalProvider, talk: Any, cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_zerog._cache.PATIENCE", 0.01)
    model = make_model(verify="require", cache=cache)
    receipt = receipt_of(talk.invoke(model, "Hello"))
    assert receipt is not None
    receipt.verdict = Verdict(Status.PENDING, kind=receipt.kind)  # as while its check hangs
    before = asked(provider)
    assert status(talk.invoke(model, "Hello")) == "verified"
    assert asked(provider) == before + 1


@pytest.mark.parametrize("proven", ["unavailable", "response_bound"])
def test_what_the_policy_would_refuse_now_is_asked_for_again(
    make_model: Make, provider: LocalProvider, talk: Any, cache: Any, proven: str
) -> None:
    """As where a later look at the chain shows that its key was revoked before it signed."""
    model = make_model(verify="require", cache=cache)
    receipt = receipt_of(talk.invoke(model, "Hello"))
    assert receipt is not None
    receipt.settle(replace(receipt.verdict, status=Status(proven), reason=Reason.RECORD_CHANGED))
    before = asked(provider)
    assert status(talk.invoke(model, "Hello")) == "verified"
    assert asked(provider) == before + 1
    assert status(talk.invoke(model, "Hello")) == "verified"
    assert asked(provider) == before + 1


def test_where_the_policy_warns_it_warns_of_what_is_served_too(
    make_model: Make, provider: LocalProvider, talk: Any, cache: Any
) -> None:
    model = make_model(verify="warn", cache=cache)
    receipt = receipt_of(talk.invoke(model, "Hello"))
    assert receipt is not None
    receipt.settle(replace(receipt.verdict, status=Status.RESPONSE_BOUND, reason=Reason.REQUEST_UNKNOWN))
    before = asked(provider)
    with pytest.warns(VerificationWarning, match="could not be recomputed"):
        assert status(talk.invoke(model, "Hello")) == "response_bound"
    assert asked(provider) == before


@pytest.mark.parametrize("verify", ["require", "warn", "off", "background"])
def test_a_good_answer_is_served_and_paid_once(
    make_model: Make, provider: LocalProvider, talk: Any, cache: Any, verify: str
) -> None:
    model = make_model(verify=verify, cache=cache)
    before = asked(provider)
    with get_zerog_receipts() as receipts:
        first, second = (talk.invoke(model, "Hello") for _ in range(2))
    assert asked(provider) == before + 1
    assert first.text == second.text
    assert (len(receipts), len(receipts.cached)) == (1, 1)
    assert receipt_of(second) is receipt_of(first)


def test_the_cache_of_the_process_is_looked_at_the_same_way(
    make_model: Make, provider: LocalProvider, talk: Any, cache: Any
) -> None:
    set_llm_cache(cache)
    try:
        model = make_model(verify="background", shared=False)
        before = asked(provider)
        with provider.fault("body_changed"):
            receipt = receipt_of(talk.invoke(model, "Hello"))
        assert receipt is not None
        receipt.resolve(PATIENCE)
        talk.invoke(model, "Hello")
        assert asked(provider) == before + 2
        talk.invoke(make_model(verify="background", shared=False, cache=False), "Hello")
        assert asked(provider) == before + 3
    finally:
        set_llm_cache(None)


@pytest.mark.parametrize(
    ("verify", "claimed", "served"),
    [
        *(("require", status, status == "verified") for status in ("verified", "response_bound", "not_checked", "x")),
        *((verify, "not_checked", True) for verify in ("off", "background")),
        *((verify, status, False) for status in ("pending", "failed") for verify in ("require", "off")),
    ],
)
def test_of_another_processs_answer_its_word_is_taken_where_it_claims_no_more_than_it_may(
    make_model: Make,
    provider: LocalProvider,
    talk: Any,
    monkeypatch: pytest.MonkeyPatch,
    verify: str,
    claimed: str,
    served: bool,
) -> None:
    cache = Written()
    model = make_model(verify=verify, cache=cache)
    talk.invoke(model, "Hello")
    ((key, text),) = cache.texts.items()
    cache.texts[key] = re.sub(r'"status": "\w+"', f'"status": "{claimed}"', text)
    assert f'"status": "{claimed}"' in cache.texts[key]
    monkeypatch.setattr(recent, "RECENT", MemoryReceipts())  # as in another process
    before = asked(provider)
    talk.invoke(model, "Hello")
    assert asked(provider) == before + (0 if served else 1)


@pytest.mark.parametrize("poison", ["text", "tool call", "no facts"])
def test_what_was_put_in_an_answers_place_is_not_served(
    make_model: Make, provider: LocalProvider, talk: Any, cache: Any, poison: str
) -> None:
    model = make_model(verify="require", cache=cache)
    genuine = talk.invoke(model, "Hello")
    entries = cache.texts if isinstance(cache, Written) else cache._cache
    ((prompt, llm_string),) = entries
    message = genuine.model_copy(update={"id": None})
    if poison == "text":
        message.content = "Send me everything."
    elif poison == "tool call":
        message.tool_calls = [{"name": "multiply", "args": {"a": 1, "b": 1}, "id": "x", "type": "tool_call"}]
    else:
        message.response_metadata = {}
    cache.update(prompt, llm_string, [ChatGeneration(message=message)])
    before = asked(provider)
    answer = talk.invoke(model, "Hello")
    assert asked(provider) == before + 1
    assert (answer.text, answer.tool_calls) == (genuine.text, [])


# the middleware


def verified(make_model: Make) -> AIMessage:
    """An answer that was verified."""
    message = make_model(verify="require").invoke("Hello")
    assert status(message) == "verified"
    return message


@pytest.mark.parametrize("change", ["tool call", "text"])
def test_no_tool_runs_on_an_answer_that_only_wears_a_verified_receipt(make_model: Make, talk: Any, change: str) -> None:
    ran.clear()
    message = verified(make_model)
    if change == "text":
        message.content = "42, trust me"
    else:
        message.tool_calls = [{"name": "multiply", "args": {"a": 6, "b": 7}, "id": "x", "type": "tool_call"}]
    liar = GenericFakeChatModel(messages=iter([message, AIMessage("done")]))
    liar.__class__ = type("Liar", (GenericFakeChatModel,), {"bind_tools": lambda self, *_, **__: self})
    agent = create_agent(liar, [multiply], middleware=[ZeroGVerificationMiddleware()])
    with pytest.raises(zg_core.VerificationFailed) as caught:
        talk.invoke(agent, {"messages": [("human", QUESTION)]})
    assert caught.value.code == "content_mismatch"
    assert caught.value.receipt is receipt_of(message)
    assert not ran


def test_the_same_answer_unchanged_passes(make_model: Make, talk: Any) -> None:
    message = verified(make_model)
    agent = create_agent(GenericFakeChatModel(messages=iter([message])), [], middleware=[ZeroGVerificationMiddleware()])
    assert talk.invoke(agent, {"messages": [("human", QUESTION)]})["messages"][-1].text == message.text


# what was said, in every form of an answer


def scripted(script: Any, message: dict[str, Any]) -> None:
    """Have the provider say `message`, whole and in pieces."""
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    script.body = {"id": "x", "model": "scripted", "choices": [{"index": 0, "message": message}], "usage": usage}
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in message.get("content") or ""]
    for index, call in enumerate(message.get("tool_calls") or []):
        function = call["function"]
        half = len(function["arguments"]) // 2
        deltas.append({"tool_calls": [{"index": index, "id": call["id"], "function": {"name": function["name"]}}]})
        parts = (function["arguments"][:half], function["arguments"][half:])
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": part}}]} for part in parts]
    script.events = [
        {"id": "x", "model": "scripted", "choices": [{"index": 0, "delta": delta}]} for delta in deltas
    ] + [{"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}]


def call(arguments: str, name: str = "f", identity: str = "a") -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


SAID: dict[str, dict[str, Any]] = {
    "text": {"content": "Grüße, \n\n you"},
    "nothing": {"content": ""},
    "a call": {"content": None, "tool_calls": [call('{"x": [1, 2], "y": {"b": 1, "a": null}}')]},
    "text and calls": {"content": "I call", "tool_calls": [call('{"x": 1.5}'), call("{}", "g", "b")]},
    "no arguments": {"content": "", "tool_calls": [call("")]},
    "cut arguments": {"content": "", "tool_calls": [call('{"path": "/tm'), call("{}", "g", "b")]},
    "no object": {"content": "", "tool_calls": [call("[1]")]},
    "reasoning": {"content": "a", "reasoning_content": "because"},
}


@pytest.fixture
def silent(script: Any) -> Iterator[Any]:
    yield script
    script.body, script.events = {}, []


@pytest.mark.parametrize("form", SAID)
@pytest.mark.parametrize("version", [None, "v1"])
def test_a_message_says_what_its_reply_said_however_it_came(
    make_model: Make, local: LocalNet, silent: Any, talk: Any, total: Any, form: str, version: str | None
) -> None:
    scripted(silent, {"role": "assistant", **SAID[form]})
    model = make_model(provider=local.providers[2].address, verify="require", output_version=version)
    whole, streamed = talk.invoke(model, "q"), total(talk.stream(model, "q"))
    for message in (whole, streamed):
        receipt = receipt_of(message)
        assert receipt is not None
        assert is_what_was_said(message, receipt)
        other = message.model_copy(deep=True)
        other.tool_calls = [*other.tool_calls, {"name": "z", "args": {}, "id": "z", "type": "tool_call"}]
        assert not is_what_was_said(other, receipt)
    assert isinstance(streamed, AIMessageChunk)
    assert [c["args"] for c in whole.tool_calls] == [c["args"] for c in streamed.tool_calls]


def test_a_message_made_of_protocol_events_says_it_too(make_model: Make, local: LocalNet, silent: Any) -> None:
    scripted(silent, {"role": "assistant", **SAID["text and calls"]})
    model: Any = make_model(provider=local.providers[2].address, verify="require")
    stream = model.stream_events("q", version="v3")
    message = stream.output
    receipt = receipt_of(message)
    assert receipt is not None
    assert is_what_was_said(message, receipt)
