"""`ZeroG`: calls, streams, tools, structured answers, and what rides on responses."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.base.llms.types import ImageBlock, MessageRole, TextBlock, ToolCallBlock
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import ChatMessage
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

import zg_core
from llama_index_zerog import ZeroG, get_zerog_receipts, receipt_of
from llama_index_zerog._messages import _one, openai_messages
from tests.llama_index_zerog.conftest import CHAT, OTHER, SCRIPTED, Script
from zg_core.frameworks.history import complete_calls
from zg_core.localnet import LocalNet, LocalProvider, ProviderSpec

QUESTION = "What is the capital of France?"
ADA = PromptTemplate("'{name}' is 36 years old.")


class Person(BaseModel):
    """A person."""

    name: str = Field(description="the person's name")
    age: int = Field(description="age in years")


def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


TOOL = FunctionTool.from_defaults(multiply)


class TestAnswers:
    def test_every_way_is_verified_and_carries_the_receipt(self, llm: ZeroG, provider: LocalProvider, way: Any) -> None:
        response = way.chat(llm, QUESTION)
        assert response.message.content == "The capital of France is Paris."
        receipt = receipt_of(response)
        assert receipt.verdict.satisfies("verified")
        assert receipt.chat_id == provider.log[-1].chat_id
        assert receipt.fee.amount.units == provider.log[-1].fee
        facts = response.additional_kwargs["zerog"]
        assert facts == response.raw["zerog"]
        assert (facts["status"], facts["chat_id"]) == ("verified", receipt.chat_id)
        assert response.raw["usage"]["completion_tokens"] == receipt.usage.completion_tokens

    def test_a_stream_tells_the_message_so_far_and_repeats_it_at_the_end(self, llm: ZeroG) -> None:
        responses = list(llm.stream_chat([ChatMessage("Say 'one two three four'")]))
        texts = [response.message.content for response in responses]
        assert texts == sorted(texts, key=len)
        assert "".join(response.delta for response in responses) == texts[-1] == texts[-2]
        assert [receipt_of(response) is not None for response in responses] == [False] * (len(texts) - 1) + [True]

    def test_completions_in_all_forms(self, llm: ZeroG) -> None:
        async def both() -> list[Any]:
            stream = [each async for each in await llm.astream_complete(QUESTION)]
            return [await llm.acomplete(QUESTION), stream[-1]]

        answers = [llm.complete(QUESTION), list(llm.stream_complete(QUESTION))[-1], *asyncio.run(both())]
        assert {answer.text for answer in answers} == {"The capital of France is Paris."}
        assert all(receipt_of(answer).verdict.satisfies("verified") for answer in answers)

    def test_parameters_are_sent_only_when_set(self, make_llm: Any, sent: Any) -> None:
        make_llm().chat([ChatMessage("hi")])
        assert set(sent()) == {"model", "messages"}
        make_llm(temperature=0.0, seed=7).chat([ChatMessage("hi")], max_tokens=9)
        assert {k: v for k, v in sent().items() if k not in ("model", "messages")} == {
            "temperature": 0.0, "seed": 7, "max_tokens": 9,
        }  # fmt: skip

    def test_nothing_of_ours_goes_back_to_a_provider(self, llm: ZeroG, sent: Any) -> None:
        first = llm.chat([ChatMessage(QUESTION)])
        llm.chat([ChatMessage(QUESTION), first.message, ChatMessage("And of Italy?")])
        assert "zerog" not in json.dumps(sent())
        assert [message["role"] for message in sent()["messages"]] == ["user", "assistant", "user"]

    def test_blocks_are_sent_as_openai_has_them(self, llm: ZeroG, sent: Any) -> None:
        pixel = b"\x89PNG\r\n\x1a\n" + bytes(16)
        image = ImageBlock(image=pixel, image_mimetype="image/png")
        llm.chat([ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="What is this?"), image])])
        parts = sent()["messages"][0]["content"]
        assert [part["type"] for part in parts] == ["text", "image_url"]
        assert parts[1]["image_url"]["url"].startswith("data:image/png;base64,")

    def test_token_counting_counts(self, make_llm: Any) -> None:
        counter = TokenCountingHandler()
        llm = make_llm(callback_manager=CallbackManager([counter]))
        receipt = receipt_of(llm.chat([ChatMessage(QUESTION)]))
        assert counter.prompt_llm_token_count == receipt.usage.prompt_tokens
        assert counter.completion_llm_token_count == receipt.usage.completion_tokens

    def test_the_namespace_of_integrations_leads_here(self) -> None:
        from llama_index.embeddings.zerog import ZeroGEmbedding as FromNamespace
        from llama_index.llms.zerog import ZeroG as Same

        from llama_index_zerog import ZeroGEmbedding

        assert (Same, FromNamespace) == (ZeroG, ZeroGEmbedding)
        assert ZeroG.class_name() == "ZeroG"
        assert issubclass(ZeroG, FunctionCallingLLM)


class TestMetadata:
    def test_comes_from_what_the_provider_says(self, llm: ZeroG) -> None:
        found = llm.metadata
        assert (found.context_window, found.model_name) == (32_768, "local-chat-1")
        assert found.is_function_calling_model
        assert found.is_chat_model

    def test_what_is_given_wins_and_nothing_is_asked(self) -> None:
        llm = ZeroG(
            model="m", provider="0x" + "11" * 20, context_window=1000, num_output=100, rpc_url="http://127.0.0.1:9"
        )
        assert (llm.metadata.context_window, llm.metadata.num_output, llm.metadata.model_name) == (1000, 100, "m")

    def test_the_constructor_reads_and_sends_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("zg_core.http.transport.SyncTransport.send", lambda *_: pytest.fail("it did I/O"))
        assert ZeroG(provider="0x" + "11" * 20, rpc_url="http://127.0.0.1:9").model is None


class TestTools:
    def test_chat_with_tools(self, llm: ZeroG, sent: Any) -> None:
        response = llm.chat_with_tools([TOOL], user_msg="What is 6 times 7? Use multiply.")
        (call,) = llm.get_tool_calls_from_response(response)
        assert (call.tool_name, call.tool_kwargs) == ("multiply", {"a": 6, "b": 7})
        assert sent()["tool_choice"] == "auto"

    def test_async_and_streamed(self, llm: ZeroG) -> None:
        async def last() -> Any:
            stream = await llm.astream_chat_with_tools([TOOL], user_msg="What is 6 times 7? Use multiply.")
            return [each async for each in stream][-1]

        (call,) = llm.get_tool_calls_from_response(asyncio.run(last()))
        assert call.tool_kwargs == {"a": 6, "b": 7}

    @pytest.mark.parametrize(
        ("choice", "wire"),
        [
            ({"tool_required": True}, "required"),
            ({"tool_choice": "any"}, "required"),
            ({"tool_choice": "multiply"}, {"type": "function", "function": {"name": "multiply"}}),
        ],
    )
    def test_choices(self, llm: ZeroG, sent: Any, choice: dict[str, Any], wire: Any) -> None:
        llm.chat_with_tools([TOOL], user_msg="Hello 1 2", **choice)
        assert sent()["tool_choice"] == wire

    def test_predict_and_call(self, llm: ZeroG) -> None:
        assert str(llm.predict_and_call([TOOL], "What is 6 times 7? Use multiply.")) == "42"
        assert str(asyncio.run(llm.apredict_and_call([TOOL], "What is 6 times 7? Use multiply."))) == "42"

    def test_a_whole_turn_with_the_tools_result(self, llm: ZeroG) -> None:
        response = llm.chat_with_tools([TOOL], user_msg="What is 6 times 7? Use multiply.")
        block = next(b for b in response.message.blocks if isinstance(b, ToolCallBlock))
        history = [
            ChatMessage("What is 6 times 7? Use multiply."),
            response.message,
            ChatMessage("42", role=MessageRole.TOOL, additional_kwargs={"tool_call_id": block.tool_call_id}),
        ]
        before = list(history)
        answer = llm.chat_with_tools([TOOL], chat_history=history)
        assert "42" in answer.message.content
        assert history == before, "the caller's history is changed"

    def test_no_call_is_an_error_where_one_is_needed(self, llm: ZeroG) -> None:
        with pytest.raises(ValueError, match="at least one tool call"):
            llm.get_tool_calls_from_response(llm.chat([ChatMessage("hi")]))


def completions(provider: LocalProvider) -> int:
    """How many prompts reached the provider."""
    return len([request for request in provider.requests if request.path.endswith("/chat/completions")])


class TestWithoutFunctionCalling:
    """Models that call no tools, by the user's word or by the provider's."""

    @pytest.fixture(params=["said by the user", "said by the provider"])
    def unable(
        self, request: pytest.FixtureRequest, make_llm: Any, net: LocalNet, script: Script
    ) -> tuple[ZeroG, LocalProvider]:
        if request.param == "said by the user":
            return make_llm(is_function_calling_model=False), net.providers[CHAT]
        script.listed = [{"id": "scripted", "supported_parameters": ["temperature", "max_tokens"]}]
        script.text('Thought: I can answer.\nAnswer: {"name": "Ada", "age": 36}')
        return make_llm(provider=net.providers[SCRIPTED].address), net.providers[SCRIPTED]

    def refused(self, net: LocalNet, provider: LocalProvider, work: Callable[[], Any]) -> None:
        """`work` sends no prompt, and its error names providers that have function calling."""
        before = completions(provider)
        with pytest.raises(zg_core.ConfigError, match="no function calling") as caught:
            work()
        assert caught.value.code == "no_tools"
        assert net.providers[OTHER].address in caught.value.hint
        assert provider.address not in caught.value.hint
        assert completions(provider) == before

    def test_metadata_says_so(self, unable: Any) -> None:
        assert unable[0].metadata.is_function_calling_model is False

    @pytest.mark.parametrize("streaming", [False, True])
    def test_a_function_agent_is_refused_and_others_are_named(
        self, unable: Any, net: LocalNet, streaming: bool
    ) -> None:
        from llama_index.core.agent.workflow import FunctionAgent

        llm, provider = unable

        async def run() -> None:
            await FunctionAgent(tools=[TOOL], llm=llm, streaming=streaming).run("What is 6 times 7?")

        self.refused(net, provider, lambda: asyncio.run(run()))

    def test_a_workflow_takes_the_agent_that_needs_none(self, unable: Any) -> None:
        from llama_index.core.agent.workflow import AgentWorkflow, ReActAgent

        flow = AgentWorkflow.from_tools_or_functions([TOOL], llm=unable[0])
        assert [type(agent) for agent in flow.agents.values()] == [ReActAgent]

    @pytest.mark.parametrize("form", ["whole", "async", "stream", "async stream"])
    def test_chat_with_tools_is_refused_in_every_form(self, unable: Any, net: LocalNet, form: str) -> None:
        llm, provider = unable

        async def astream() -> Any:
            return [each async for each in await llm.astream_chat_with_tools([TOOL], user_msg="6 times 7?")]

        self.refused(
            net,
            provider,
            {
                "whole": lambda: llm.chat_with_tools([TOOL], user_msg="6 times 7?"),
                "async": lambda: asyncio.run(llm.achat_with_tools([TOOL], user_msg="6 times 7?")),
                "stream": lambda: list(llm.stream_chat_with_tools([TOOL], user_msg="6 times 7?")),
                "async stream": lambda: asyncio.run(astream()),
            }[form],
        )

    def test_a_program_of_function_calls_is_refused(self, unable: Any, net: LocalNet) -> None:
        from llama_index.core.program import FunctionCallingProgram

        llm, provider = unable
        self.refused(net, provider, lambda: FunctionCallingProgram.from_defaults(Person, prompt=ADA, llm=llm))

    @pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
    def test_a_structure_is_asked_for_in_words(
        self, make_llm: Any, net: LocalNet, script: Script, sent: Any, loop: bool
    ) -> None:
        script.text('{"name": "Ada", "age": 36}')
        ada = PromptTemplate("'{name}' is 36 years old.")  # such a program leaves its parser in the prompt it is given
        llm = make_llm(provider=net.providers[SCRIPTED].address, is_function_calling_model=False)
        predicted = (
            asyncio.run(llm.astructured_predict(Person, ada, name="Ada"))
            if loop
            else llm.structured_predict(Person, ada, name="Ada")
        )
        assert predicted == Person(name="Ada", age=36)
        assert set(sent()) == {"model", "messages"}

    @pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
    def test_predict_and_call_needs_none(self, make_llm: Any, sent: Any, loop: bool) -> None:
        llm, text = make_llm(is_function_calling_model=False), "What is 6 times 7? Use multiply."
        answer = asyncio.run(llm.apredict_and_call([TOOL], text)) if loop else llm.predict_and_call([TOOL], text)
        assert str(answer) == "42"
        assert "tools" not in sent()

    def test_the_users_word_wins_over_the_providers(self, make_llm: Any, net: LocalNet, script: Script) -> None:
        script.listed = [{"id": "scripted", "supported_parameters": ["temperature"]}]
        script.call('{"a": 6, "b": 7}')
        llm = make_llm(provider=net.providers[SCRIPTED].address, is_function_calling_model=True)
        assert llm.metadata.is_function_calling_model
        assert str(llm.predict_and_call([TOOL], "6 times 7?")) == "42"

    def test_what_the_provider_says_counts_as_soon_as_it_is_known(
        self, make_llm: Any, net: LocalNet, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script.listed = [{"id": "scripted", "supported_parameters": ["temperature"]}]
        given = {"model": "scripted", "context_window": 1000, "num_output": 100}
        llm = make_llm(provider=net.providers[SCRIPTED].address, **given)
        with monkeypatch.context() as patch:
            patch.setattr("zg_core.http.transport.SyncTransport.send", lambda *_: pytest.fail("it did I/O"))
            assert llm.metadata.is_function_calling_model  # all is given, so nobody is asked
        with pytest.raises(zg_core.ConfigError, match="no function calling"):
            llm.chat_with_tools([TOOL], user_msg="6 times 7?")
        with monkeypatch.context() as patch:
            patch.setattr("zg_core.http.transport.SyncTransport.send", lambda *_: pytest.fail("it did I/O"))
            assert not llm.metadata.is_function_calling_model

    def test_a_network_without_any_is_said(self, net: LocalNet, make_llm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(zg_core.ChatClient, "services", lambda _: [])
        with pytest.raises(zg_core.ConfigError, match="none on this network"):
            make_llm(is_function_calling_model=False).chat_with_tools([TOOL], user_msg="6 times 7?")


class TestToolArguments:
    """Arguments that are no JSON object: no tool is called with what nobody asked for."""

    BAD = ('{"a": 6, "b": ', "six by seven", "[6, 7]", "7")

    @pytest.fixture
    def scripted(self, make_llm: Any, net: LocalNet, script: Script) -> ZeroG:
        return make_llm(provider=net.providers[SCRIPTED].address)

    def refused(self, work: Callable[[], Any], arguments: str) -> None:
        with get_zerog_receipts() as receipts, pytest.raises(zg_core.RequestError, match="no JSON object") as caught:
            work()
        error = caught.value
        assert (error.code, error.text) == ("bad_tool_arguments", "I call a tool.")
        assert error.details == {"tool": "multiply", "arguments": arguments}
        assert [error.receipt] == list(receipts)
        assert error.receipt.verdict.satisfies("verified")
        assert not error.retryable

    @pytest.mark.parametrize("arguments", BAD)
    @pytest.mark.parametrize("lenient", [False, True], ids=["must call", "may call"])
    def test_a_selection_is_refused(
        self, scripted: ZeroG, script: Script, way: Any, arguments: str, lenient: bool
    ) -> None:
        script.call(arguments)
        self.refused(
            lambda: scripted.get_tool_calls_from_response(
                way.chat(scripted, "6 times 7?"), error_on_no_tool_call=not lenient
            ),
            arguments,
        )

    @pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
    def test_predict_and_call_calls_nothing(self, scripted: ZeroG, script: Script, loop: bool) -> None:
        called: list[str] = []

        def multiply(a: int = 0, b: int = 0) -> int:
            """Multiply two integers."""
            called.append("multiply")
            return a * b

        tool = FunctionTool.from_defaults(multiply)
        script.call("six by seven")
        self.refused(
            lambda: (
                asyncio.run(scripted.apredict_and_call([tool], "6 times 7?"))
                if loop
                else scripted.predict_and_call([tool], "6 times 7?")
            ),
            "six by seven",
        )
        assert called == []

    @pytest.mark.parametrize("streaming", [False, True])
    def test_an_agent_stops_and_calls_nothing(self, scripted: ZeroG, script: Script, streaming: bool) -> None:
        from llama_index.core.agent.workflow import FunctionAgent

        script.call("six by seven")

        async def run() -> None:
            await FunctionAgent(tools=[TOOL], llm=scripted, streaming=streaming).run("6 times 7?")

        self.refused(lambda: asyncio.run(run()), "six by seven")

    @pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
    def test_a_structured_answer_is_refused(self, scripted: ZeroG, script: Script, loop: bool) -> None:
        script.call('{"name": "Ada", ')
        self.refused(
            lambda: (
                asyncio.run(scripted.astructured_predict(Person, ADA, name="Ada"))
                if loop
                else scripted.structured_predict(Person, ADA, name="Ada")
            ),
            '{"name": "Ada", ',
        )

    def test_a_streamed_structured_answer_ends_with_what_was_read_and_a_warning(
        self, scripted: ZeroG, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        script.call('{"name": "Ada", "age": 36')
        *_, last = scripted.stream_structured_predict(Person, ADA, name="Ada")
        assert last.name == "Ada"
        assert "no JSON object" in caplog.text

    @pytest.mark.parametrize("arguments", ["", "null", "{}"])
    def test_none_at_all_are_no_arguments(self, scripted: ZeroG, script: Script, way: Any, arguments: str) -> None:
        script.call(arguments)
        (call,) = scripted.get_tool_calls_from_response(way.chat(scripted, "6 times 7?"))
        assert call.tool_kwargs == {}

    def test_a_stream_under_way_shows_what_has_come(self, scripted: ZeroG, script: Script) -> None:
        script.call('{"a": 6, "b": 7}')
        responses = list(scripted.stream_chat([ChatMessage("6 times 7?")]))
        seen = [scripted.get_tool_calls_from_response(each, error_on_no_tool_call=False) for each in responses]
        found = [calls[0].tool_kwargs for calls in seen if calls]
        assert found[-1] == {"a": 6, "b": 7}
        assert {} in found or {"a": 6} in found

    @pytest.mark.parametrize("form", ["error_on_tool_error", "answer"])
    def test_a_tool_that_fails_is_as_llamaindex_has_it(self, scripted: ZeroG, script: Script, form: str) -> None:
        script.call('{"a": 6, "x": 7}')  # a JSON object, but not what the function takes
        if form == "answer":
            assert scripted.predict_and_call([TOOL], "6 times 7?").sources[0].is_error
        else:
            with pytest.raises(ValueError, match="multiply"):
                scripted.predict_and_call([TOOL], "6 times 7?", error_on_tool_error=True)


def test_content_in_parts_is_read_whole_and_streamed(make_llm: Any, net: LocalNet, script: Script, way: Any) -> None:
    script.text([{"type": "text", "text": "The capital "}, {"type": "text", "text": "is Paris."}])
    seen: list[Any] = []
    response = way.chat(make_llm(provider=net.providers[SCRIPTED].address), QUESTION, seen=seen)
    assert response.message.content == "The capital is Paris."
    assert "".join(each.delta for each in seen) == ("The capital is Paris." if way.stream else "")


class TestStructured:
    """The traps of LlamaIndex's structured answers, each with its test."""

    def test_trap_1_streams_are_real_generators(self, llm: ZeroG) -> None:
        from collections.abc import Generator

        assert isinstance(llm.stream_chat([ChatMessage("hi")]), Generator)

    @pytest.mark.parametrize("form", ["whole", "async", "stream", "async stream"])
    @pytest.mark.parametrize("mode", ["default", "function"])
    def test_trap_2_a_schema_or_a_call_is_asked_for_in_every_form(
        self, make_llm: Any, sent: Any, form: str, mode: str
    ) -> None:
        llm = make_llm(pydantic_program_mode=mode)

        async def astream() -> Any:
            return [each async for each in await llm.astream_structured_predict(Person, ADA, name="Ada")][-1]

        found = {
            "whole": lambda: llm.structured_predict(Person, ADA, name="Ada"),
            "async": lambda: asyncio.run(llm.astructured_predict(Person, ADA, name="Ada")),
            "stream": lambda: list(llm.stream_structured_predict(Person, ADA, name="Ada"))[-1],
            "async stream": lambda: asyncio.run(astream()),
        }[form]()
        assert (found.name, found.age) == ("Ada", 36)
        if mode == "function":
            assert (sent()["tool_choice"], "response_format" in sent()) == ("required", False)
        else:  # the provider says that it can be held to a schema
            wanted = sent()["response_format"]
            assert (wanted["type"], wanted["json_schema"]["name"], "tools" in sent()) == (
                "json_schema",
                "Person",
                False,
            )
            assert set(wanted["json_schema"]["schema"]["properties"]) == {"name", "age"}
        assert receipt_of(found).verdict.status == "verified"

    def test_trap_3_streamed_objects_grow(self, llm: ZeroG) -> None:
        objects = list(llm.stream_structured_predict(Person, ADA, name="Ada"))
        assert {getattr(each, "name", None) for each in objects} >= {"Ada"}
        assert isinstance(objects[-1], Person)

    def test_trap_4_the_last_response_repeats_the_calls(self, llm: ZeroG) -> None:
        *_, last = llm.stream_chat_with_tools([TOOL], user_msg="What is 6 times 7? Use multiply.")
        assert [b.tool_name for b in last.message.blocks if isinstance(b, ToolCallBlock)] == ["multiply"]
        assert receipt_of(last) is not None

    def test_trap_5_the_history_stays_the_callers(self, llm: ZeroG) -> None:
        history = [ChatMessage("hi")]
        llm.chat_with_tools([TOOL], user_msg="What is 6 times 7?", chat_history=history)
        assert history == [ChatMessage("hi")]

    def test_as_structured_llm(self, llm: ZeroG) -> None:
        assert llm.as_structured_llm(Person).complete("'Ada' is 36 years old.").raw == Person(name="Ada", age=36)


class TestContextWindow:
    """A prompt that is too long is one error with both numbers, whoever refuses it."""

    @pytest.fixture(scope="class")
    def small(self) -> Iterator[LocalNet]:
        with LocalNet(providers=[ProviderSpec(context_length=100)]) as running:
            running.open_account(running.wallet, running.providers[0])
            yield running

    @pytest.fixture
    def make(self, small: LocalNet) -> Iterator[Callable[..., ZeroG]]:
        made: list[ZeroG] = []

        def one(**arguments: Any) -> ZeroG:
            network = {"network": "local", "rpc_url": small.rpc_url, "private_key": small.wallet.private_key}
            made.append(ZeroG(provider=small.providers[0].address, **network, **arguments))
            return made[-1]

        yield one
        for llm in made:
            llm.close()

    def asked(self, net: LocalNet) -> int:
        return len([r for r in net.providers[0].requests if r.path.endswith("/chat/completions")])

    def test_by_the_catalogue_before_anything_is_sent(self, make: Any, small: LocalNet, way: Any) -> None:
        before, llm = self.asked(small), make()
        assert llm.metadata.context_window == 100
        with pytest.raises(zg_core.RequestError) as caught:
            way.chat(llm, "word " * 500)
        assert caught.value.code == "context_length_exceeded"
        assert caught.value.details == {"context_window": 100, "prompt_tokens": 500}
        assert re.findall(r"(\d+) tokens", str(caught.value)) == ["500", "100"]
        assert caught.value.receipt is None
        assert self.asked(small) == before

    def test_by_what_the_user_says_before_anything_is_sent(self, make: Any, small: LocalNet, way: Any) -> None:
        before = self.asked(small)
        with pytest.raises(zg_core.RequestError) as caught:
            way.chat(make(context_window=20), "word " * 30)
        assert caught.value.details == {"context_window": 20, "prompt_tokens": 30}
        assert self.asked(small) == before

    def test_what_may_fit_is_left_to_the_provider_whose_refusal_has_both_numbers(
        self, make: Any, small: LocalNet, way: Any
    ) -> None:
        before = self.asked(small)
        with pytest.raises(zg_core.RequestError) as caught:
            way.chat(make(), "a,b;" * 90)  # one word, many tokens
        assert caught.value.code == "context_length_exceeded"
        assert caught.value.details["context_window"] == 100
        assert caught.value.details["prompt_tokens"] > 100
        assert self.asked(small) == before + 1

    def test_what_fits_is_answered(self, make: Any, way: Any) -> None:
        assert way.chat(make(), "Say 'x' " + "word " * 60).message.content

    def test_the_users_word_wins_over_the_catalogue(self, make: Any, small: LocalNet) -> None:
        before = self.asked(small)
        with pytest.raises(zg_core.RequestError) as caught:
            make(context_window=1000).complete("word " * 500)
        assert caught.value.details["context_window"] == 100  # the provider's refusal
        assert self.asked(small) == before + 1


class TestLife:
    def test_many_event_loops_one_after_the_other(self, llm: ZeroG) -> None:
        for _ in range(3):
            assert asyncio.run(llm.acomplete(QUESTION)).text

    def test_many_threads_share_one(self, llm: ZeroG) -> None:
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.append(llm.complete(QUESTION).text)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == ["The capital of France is Paris."] * 4

    def test_is_a_context_manager_both_ways(self, make_llm: Any) -> None:
        with make_llm() as llm:
            assert llm.complete(QUESTION).text

        async def work() -> str:
            async with make_llm() as asynchronous:
                return (await asynchronous.acomplete(QUESTION)).text

        assert asyncio.run(work())


@pytest.mark.parametrize("role", list(MessageRole))
@pytest.mark.parametrize("text", ["Hi", ""])
def test_a_plain_text_goes_out_as_any_other_message(role: MessageRole, text: str) -> None:
    message = ChatMessage(text, role=role)
    assert openai_messages([message]) == complete_calls([_one(message, 0)])
    named = ChatMessage(text, role=role, additional_kwargs={"name": "ada"})
    assert openai_messages([message, named]) == complete_calls([_one(message, 0), _one(named, 1)])


@pytest.mark.parametrize("name", ["chat", "achat", "stream_chat", "complete", "acomplete", "stream_complete"])
def test_spans_find_what_a_method_takes(name: str) -> None:
    method = inspect.getattr_static(ZeroG, name).__wrapped__
    inner = method.__wrapped__
    kept = inner.__signature__
    del inner.__signature__
    try:
        assert inspect.signature(inner) == kept
    finally:
        inner.__signature__ = kept
