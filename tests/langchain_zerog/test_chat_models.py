"""`ChatZeroG` on the local network: answers, metadata, receipts, and what goes over the wire."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

from langchain_zerog import ChatZeroG, receipt_of
from tests.patience import PATIENCE
from zg_core.backends.direct.backend import DirectBackend
from zg_core.localnet import LocalNet, LocalProvider
from zg_core.receipts.model import Receipt
from zg_core.verify.verdict import Status

Make = Callable[..., ChatZeroG]
Total = Callable[[list[AIMessageChunk]], AIMessageChunk]
CHAT = "/v1/proxy/chat/completions"


def chats(provider: LocalProvider) -> list[Any]:
    """The chat requests that have reached the provider."""
    return [request for request in provider.requests if request.path == CHAT]


# answers and their metadata


def test_an_answer_says_who_gave_it_what_it_cost_and_what_was_proven(
    model: ChatZeroG, provider: LocalProvider, talk: Any
) -> None:
    message = talk.invoke(model, "Hello")
    billed = provider.log[-1]
    assert isinstance(message, AIMessage)
    assert message.text
    metadata = message.response_metadata
    assert metadata["model_name"] == "local-chat-1"
    assert metadata["model_provider"] == "zerog"
    assert metadata["finish_reason"] == "stop"
    assert metadata["id"].removeprefix("chatcmpl-") == billed.chat_id
    facts = metadata["zerog"]
    assert facts["status"] == facts["verdict"]["status"] == "verified"
    assert (facts["chat_id"], facts["provider"], facts["network"]) == (billed.chat_id, provider.address, "local")
    assert (facts["payment"]["fee"], facts["payment"]["unit"]) == (str(billed.fee), "neuron")
    assert facts["payment"]["exact"] is True
    usage = message.usage_metadata
    assert usage is not None
    assert (usage["input_tokens"], usage["output_tokens"]) == (
        billed.usage.prompt_tokens,
        billed.usage.completion_tokens,
    )
    json.dumps(metadata)


def test_a_stream_says_the_same_once_on_its_last_chunk(
    model: ChatZeroG, provider: LocalProvider, talk: Any, total: Total
) -> None:
    whole_at_once = talk.invoke(model, "Hello")
    chunks = talk.stream(model, "Hello")
    billed = provider.log[-1]
    whole = total(chunks)
    assert whole.text == whole_at_once.text
    assert len([chunk for chunk in chunks if chunk.text]) > 1
    for name in ("zerog", "finish_reason", "model_name", "id"):
        holders = [index for index, chunk in enumerate(chunks) if name in chunk.response_metadata]
        assert holders == [len(chunks) - 1], f"{name} is in chunks {holders} of {len(chunks)}"
    assert [chunk.chunk_position for chunk in chunks].count("last") == 1
    assert chunks[-1].chunk_position == "last"
    assert chunks[-1].content == ""
    assert [index for index, chunk in enumerate(chunks) if chunk.usage_metadata] == [len(chunks) - 1]
    facts = whole.response_metadata["zerog"]
    assert (facts["status"], facts["chat_id"], facts["payment"]["fee"]) == ("verified", billed.chat_id, str(billed.fee))
    assert whole.response_metadata["model_name"] == "local-chat-1"
    assert whole.response_metadata["finish_reason"] == "stop"
    assert whole.usage_metadata == whole_at_once.usage_metadata


def test_every_answer_of_a_batch_has_its_own_receipt(model: ChatZeroG, provider: LocalProvider, talk: Any) -> None:
    messages = talk.batch(model, [f"Say {n}" for n in range(6)])
    ids = [message.response_metadata["zerog"]["chat_id"] for message in messages]
    assert len(set(ids)) == 6
    assert set(ids) <= {entry.chat_id for entry in provider.log}
    assert {message.response_metadata["zerog"]["status"] for message in messages} == {"verified"}


def test_streaming_events_carry_the_metadata_to_the_end(model: ChatZeroG) -> None:
    stream = model.stream_events("Hello", version="v3")
    list(stream)
    assert stream.output.response_metadata["zerog"]["status"] == "verified"
    assert receipt_of(stream.output) is not None


async def test_astream_events_v2_carries_the_metadata_once(model: ChatZeroG) -> None:
    events = [event async for event in model.astream_events("Hello", version="v2")]
    chunks = [event["data"]["chunk"] for event in events if event["event"] == "on_chat_model_stream"]
    assert ["zerog" in chunk.response_metadata for chunk in chunks].count(True) == 1
    (end,) = [event["data"]["output"] for event in events if event["event"] == "on_chat_model_end"]
    assert end.response_metadata["zerog"]["status"] == "verified"
    await model.aclose()


class Tokens(BaseCallbackHandler):
    """Counts what a callback hears."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.ended: list[Any] = []
        self.failed: list[BaseException] = []

    def on_llm_new_token(self, token: Any, **_: Any) -> None:
        self.tokens.append(token)

    def on_llm_end(self, response: Any, **_: Any) -> None:
        self.ended.append(response)

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        self.failed.append(error)


def test_callbacks_hear_every_chunk_once(make_model: Make, talk: Any) -> None:
    heard = Tokens()
    chunks = talk.stream(make_model(), "Hello", config={"callbacks": [heard]})
    assert heard.tokens == [chunk.text for chunk in chunks]
    (end,) = heard.ended
    assert end.generations[0][0].message.response_metadata["zerog"]["status"] == "verified"


def test_with_streaming_set_invoke_streams_for_its_callbacks(make_model: Make, talk: Any) -> None:
    heard = Tokens()
    message = talk.invoke(make_model(streaming=True), "Hello", config={"callbacks": [heard]})
    assert "".join(heard.tokens) == message.text
    assert len(heard.tokens) > 2
    assert message.response_metadata["zerog"]["status"] == "verified"


def test_chunks_made_for_a_run_manager_are_announced_to_it(model: ChatZeroG) -> None:
    heard: list[tuple[str, Any]] = []

    class Manager:
        def on_llm_new_token(self, token: str, *, chunk: Any) -> None:
            heard.append((token, chunk))

    chunks = list(model._stream([HumanMessage("Hello")], run_manager=Manager()))  # type: ignore[arg-type]
    assert heard == [(chunk.text, chunk) for chunk in chunks]


def test_langchains_usage_callback_sums_up_what_was_billed(
    make_model: Make, provider: LocalProvider, talk: Any
) -> None:
    model = make_model()
    before = len(provider.log)
    with get_usage_metadata_callback() as usage:
        talk.invoke(model, "Hello")
        talk.stream(model, "Hello")
    billed = provider.log[before:]
    assert len(billed) == 2
    counted = usage.usage_metadata["local-chat-1"]
    assert counted["input_tokens"] == sum(entry.usage.prompt_tokens for entry in billed)
    assert counted["output_tokens"] == sum(entry.usage.completion_tokens for entry in billed)


def test_token_usage_stands_in_the_output_of_a_run_and_is_summed_over_its_prompts(model: ChatZeroG) -> None:
    one, two = (model.generate([[HumanMessage(text)]]) for text in ("Hello", "Say yes"))
    both = model.generate([[HumanMessage("Hello")], [HumanMessage("Say yes")]])
    assert one.llm_output is not None
    assert two.llm_output is not None
    assert both.llm_output is not None
    usage = one.llm_output["token_usage"]
    assert set(usage) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert both.llm_output["token_usage"] == {
        name: count + two.llm_output["token_usage"][name] for name, count in usage.items()
    }
    assert both.llm_output["model_name"] == "local-chat-1"


# receipts


def test_a_message_leads_to_its_receipt(make_model: Make, provider: LocalProvider, talk: Any, total: Total) -> None:
    kept: list[Receipt] = []
    model = make_model(on_receipt=kept.append)
    message = talk.invoke(model, "Hello")
    streamed = total(talk.stream(model, "Hello"))
    assert [receipt_of(message), receipt_of(streamed)] == kept
    assert kept[0].fee.amount.units == provider.log[-2].fee
    assert kept[1].chat_id == provider.log[-1].chat_id


def test_copies_of_a_message_lead_to_the_same_receipt(model: ChatZeroG) -> None:
    message = model.invoke("Hello")
    receipt = receipt_of(message)
    assert receipt is not None
    copies = [
        message.model_copy(),
        copy.deepcopy(message),
        pickle.loads(pickle.dumps(message)),
        AIMessage(**message.model_dump()),
    ]
    assert [receipt_of(made) for made in copies] == [receipt] * 4


def test_a_message_without_a_receipt_leads_nowhere(model: ChatZeroG) -> None:
    assert receipt_of(AIMessage("from elsewhere")) is None
    assert receipt_of(AIMessage("odd", response_metadata={"zerog": "text"})) is None
    message = model.invoke("Hello")
    forgotten = message.model_copy(
        update={"response_metadata": {"zerog": {**message.response_metadata["zerog"], "receipt_id": "00" * 16}}}
    )
    assert receipt_of(forgotten) is None


def test_the_newest_receipts_are_kept_and_no_more(make_receipt: Callable[..., Receipt]) -> None:
    from zg_core.receipts.recent import RECENT, metadata_of

    first = AIMessage("", response_metadata={"zerog": metadata_of(make_receipt())})
    assert receipt_of(first) is not None
    for _ in range(3000):
        metadata_of(make_receipt())
    assert receipt_of(first) is None
    assert len(RECENT) == 2048


def test_a_cached_answer_costs_nothing_and_leads_to_the_first_receipt(
    make_model: Make, provider: LocalProvider, talk: Any
) -> None:
    model = make_model(cache=InMemoryCache())
    first = talk.invoke(model, "Say it once")
    sent = len(provider.requests)
    again = talk.invoke(model, "Say it once")
    assert len(provider.requests) == sent, "a cached answer was asked for again"
    assert again.text == first.text
    assert receipt_of(again) is receipt_of(first)
    assert again.usage_metadata["total_cost"] == 0


def test_answers_cached_under_another_policy_or_model_are_not_used(make_model: Make, provider: LocalProvider) -> None:
    cache = InMemoryCache()
    for settings in ({"verify": "off"}, {"verify": "require"}, {"verify": "require", "temperature": 0.5}):
        sent = len(chats(provider))
        make_model(cache=cache, **settings).invoke("Say it once")
        assert len(chats(provider)) == sent + 1, f"{settings} took an answer made under other settings"


def test_a_background_check_ends_on_the_receipt(make_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    may_check, ended = threading.Event(), threading.Event()
    told: list[Receipt] = []
    verify = DirectBackend.verify

    async def when_allowed(*arguments: Any) -> Any:
        may_check.wait(PATIENCE)
        return await verify(*arguments)

    def tell(receipt: Receipt) -> None:
        told.append(receipt)
        ended.set()

    monkeypatch.setattr(DirectBackend, "verify", when_allowed)
    message = make_model(verify="background", on_verdict=tell).invoke("Hello")
    assert message.response_metadata["zerog"]["status"] == "pending"
    may_check.set()
    receipt = receipt_of(message)
    assert receipt is not None
    assert receipt.resolve(timeout=PATIENCE).status is Status.VERIFIED
    assert ended.wait(PATIENCE)
    assert told == [receipt]


def test_with_the_policy_off_nothing_is_looked_up(make_model: Make, provider: LocalProvider, talk: Any) -> None:
    model = make_model(verify="off")
    before = len(provider.requests)
    message = talk.invoke(model, "Hello")
    assert message.response_metadata["zerog"]["status"] == "not_checked"
    assert [request.path for request in provider.requests[before:]] == [CHAT]


def test_a_stream_that_is_left_early_is_on_record(make_model: Make, talk: Any) -> None:
    kept: list[Receipt] = []
    model = make_model(on_receipt=kept.append)

    async def leave() -> None:
        stream = model.astream("Write a long story")
        await anext(aiter(stream))
        await stream.aclose()  # type: ignore[attr-defined]
        await model.aclose()

    if type(talk).__name__ == "Asynchronous":
        asyncio.run(leave())
    else:
        stream = model.stream("Write a long story")
        next(iter(stream))
        stream.close()  # type: ignore[attr-defined]
    (receipt,) = kept
    assert (receipt.outcome, receipt.verdict.status) == ("abandoned", Status.NOT_CHECKED)


def test_reasoning_and_logprobs_arrive(make_model: Make, talk: Any, total: Total) -> None:
    model = make_model(reasoning_effort="high", logprobs=True, top_logprobs=1)
    at_once = talk.invoke(model, "Hello")
    streamed = total(talk.stream(model, "Hello"))
    for message in (at_once, streamed):
        assert message.additional_kwargs["reasoning_content"]
        assert message.content_blocks[0]["type"] == "reasoning"
        said = [entry["token"] for entry in message.response_metadata["logprobs"]["content"]]
        assert "".join(said) == message.text
    assert streamed.text == at_once.text


def test_under_v1_text_reasoning_and_tool_calls_stay_apart(
    make_model: Make, net: LocalNet, script: Any, talk: Any, total: Total
) -> None:
    call = {"index": 0, "id": "call_a", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    deltas = [{"reasoning_content": "Hm."}, {"content": "I look."}, {"tool_calls": [call]}]
    about = {"id": "chatcmpl-1", "model": "scripted", "object": "chat.completion.chunk"}
    script.events = [{**about, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    script.events.append({**about, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    model = make_model(provider=net.providers[2].address, output_version="v1")
    whole = total(talk.stream(model, "Hello"))
    kinds = [
        (block["type"], block.get("reasoning") or block.get("text") or block.get("name")) for block in whole.content
    ]  # type: ignore[union-attr]
    assert kinds == [("reasoning", "Hm."), ("text", "I look."), ("tool_call", "weather")]
    assert [(made["id"], made["args"]) for made in whole.tool_calls] == [("call_a", {"city": "Paris"})]


# one model, many loops and threads


def test_one_model_serves_one_event_loop_after_another(model: ChatZeroG) -> None:
    statuses = [asyncio.run(model.ainvoke("Hello")).response_metadata["zerog"]["status"] for _ in range(4)]
    assert statuses == ["verified"] * 4

    async def streamed() -> str:
        return "".join([chunk.text async for chunk in model.astream("Hello")])

    assert asyncio.run(streamed()) == asyncio.run(streamed())


def test_many_calls_at_once_do_not_mix(model: ChatZeroG, talk: Any) -> None:
    asked = [f"Repeat the word 'w{n}'." for n in range(16)]
    alone = [model.invoke(question).text for question in asked]
    together = talk.batch(model, asked)
    assert [message.text for message in together] == alone


def test_threads_share_one_client(model: ChatZeroG) -> None:
    with ThreadPoolExecutor(8) as pool:
        messages = list(pool.map(lambda n: model.invoke(f"Say {n}"), range(24)))
        clients = {id(model._clients.blocking(model._client_settings())) for _ in range(8)}
    assert {message.response_metadata["zerog"]["status"] for message in messages} == {"verified"}
    assert len({message.response_metadata["zerog"]["receipt_id"] for message in messages}) == 24
    assert len(clients) == 1


def test_a_model_can_be_closed_and_used_again(make_model: Make) -> None:
    model = make_model()
    model.close()
    assert model.invoke("Hello").text
    model.close()
    assert model.invoke("Hello").text

    async def twice() -> list[str]:
        texts = []
        for _ in range(2):
            texts.append((await model.ainvoke("Hello")).text)
            await model.aclose()
        return texts

    assert all(asyncio.run(twice()))


def test_a_changed_setting_is_obeyed(make_model: Make, net: LocalNet, script: Any) -> None:
    script.body = {
        "model": "scripted",
        "choices": [{"message": {"content": "from the other"}, "finish_reason": "stop"}],
    }
    model = make_model(shared=False)
    assert model.invoke("Hello").response_metadata["model_name"] == "local-chat-1"
    copied = model.model_copy(update={"provider": net.providers[2].address})
    assert copied.invoke("Hello").text == "from the other"
    assert model.invoke("Hello").response_metadata["model_name"] == "local-chat-1"
    model.provider = net.providers[2].address
    assert model.invoke("Hello").text == "from the other"
