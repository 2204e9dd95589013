"""What every LLM class for LlamaIndex has to do, each case with and without an event loop, over HTTP.

There is no published kit of such tests (unlike LangChain's), so this is ours; where the `openai-like` integration is
installed, the same cases run on that class as a control: a case that it fails would be a fault of the case,
or one of the faults of that class that are named below.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core import Document, SummaryIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ImageBlock, MessageRole, TextBlock
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms import ChatMessage, CompletionResponse
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

QUESTION, ANSWER = "What is the capital of France?", "The capital of France is Paris."
PIXEL = b"\x89PNG\r\n\x1a\n" + bytes(16)


class Person(BaseModel):
    """A person."""

    name: str = Field(description="the person's name")
    age: int = Field(description="age in years")


def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


def now() -> str:
    """Tell the time."""
    return "noon"


MULTIPLY, NOW = FunctionTool.from_defaults(multiply), FunctionTool.from_defaults(now)
SIX_BY_SEVEN = "What is 6 times 7? Use multiply."
ADA = PromptTemplate("'Ada' is 36 years old.")


async def collect(stream: Any) -> list[Any]:
    return [each async for each in await stream]


def of(loop: bool, sync: Callable[[], Any], asynchronous: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """The result of one of the twins."""
    return asyncio.run(asynchronous()) if loop else sync()


Case = Callable[[Any, bool], None]
CASES: dict[str, Case] = {}
# Known faults of that class, which ours is made to avoid; should one be mended there, the test says so.
FAULTS_OF_THE_CONTROL = {
    "leaves_the_history_alone_when_it_streams": "it appends the user's message to the list that it is given",
    "streams_a_structure": "its streamed structures come out empty",
    "streams_chats_in_a_structure": "its streamed structures come out empty",
}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


@case
def completes(llm: Any, loop: bool) -> None:
    response = of(loop, lambda: llm.complete(QUESTION), lambda: llm.acomplete(QUESTION))
    assert isinstance(response, CompletionResponse)
    assert response.text == ANSWER


@case
def chats(llm: Any, loop: bool) -> None:
    messages = [ChatMessage("You are terse.", role=MessageRole.SYSTEM), ChatMessage(QUESTION)]
    response = of(loop, lambda: llm.chat(messages), lambda: llm.achat(messages))
    assert (response.message.role, response.message.content) == (MessageRole.ASSISTANT, ANSWER)


@case
def streams_completions(llm: Any, loop: bool) -> None:
    parts = of(loop, lambda: list(llm.stream_complete(QUESTION)), lambda: collect(llm.astream_complete(QUESTION)))
    assert len(parts) > 2
    assert parts[-1].text == ANSWER == "".join(part.delta or "" for part in parts)


@case
def streams_chats(llm: Any, loop: bool) -> None:
    messages = [ChatMessage(QUESTION)]
    parts = of(loop, lambda: list(llm.stream_chat(messages)), lambda: collect(llm.astream_chat(messages)))
    assert parts[-1].message.content == ANSWER
    assert [len(part.message.content or "") for part in parts] == sorted(len(p.message.content or "") for p in parts)


@case
def remembers_a_conversation(llm: Any, loop: bool) -> None:
    messages = [ChatMessage(QUESTION), ChatMessage(ANSWER, role=MessageRole.ASSISTANT), ChatMessage("Say 'thanks'")]
    assert of(loop, lambda: llm.chat(messages), lambda: llm.achat(messages)).message.content == "thanks"


@case
def leaves_the_history_alone(llm: Any, loop: bool) -> None:
    history = [ChatMessage(QUESTION)]
    of(
        loop,
        lambda: llm.chat_with_tools([MULTIPLY], chat_history=history),
        lambda: llm.achat_with_tools([MULTIPLY], chat_history=history),
    )
    assert history == [ChatMessage(QUESTION)]


@case
def copies_unicode(llm: Any, loop: bool) -> None:
    text = "Say 'héllo 日本 😀'"
    assert of(loop, lambda: llm.complete(text), lambda: llm.acomplete(text)).text == "héllo 日本 😀"


@case
def streams_unicode(llm: Any, loop: bool) -> None:
    text = "Say 'héllo 日本 😀'"
    parts = of(loop, lambda: list(llm.stream_complete(text)), lambda: collect(llm.astream_complete(text)))
    assert parts[-1].text == "héllo 日本 😀"


@case
def takes_parameters_for_one_call(llm: Any, loop: bool) -> None:
    long = "Write a long story"
    response = of(loop, lambda: llm.complete(long, max_tokens=3), lambda: llm.acomplete(long, max_tokens=3))
    assert len(response.text.split()) <= 4


@case
def reports_usage(llm: Any, loop: bool) -> None:
    response = of(loop, lambda: llm.chat([ChatMessage("hi")]), lambda: llm.achat([ChatMessage("hi")]))
    usage = response.raw["usage"] if isinstance(response.raw, dict) else response.raw.usage.model_dump()
    assert usage["prompt_tokens"] > 0
    assert usage["completion_tokens"] > 0


@case
def reads_an_image(llm: Any, loop: bool) -> None:
    blocks = [TextBlock(text="What is this?"), ImageBlock(image=PIXEL, image_mimetype="image/png")]
    messages = [ChatMessage(role=MessageRole.USER, blocks=blocks)]
    assert of(loop, lambda: llm.chat(messages), lambda: llm.achat(messages)).message.content


@case
def calls_a_tool(llm: Any, loop: bool) -> None:
    response = of(
        loop,
        lambda: llm.chat_with_tools([MULTIPLY, NOW], user_msg=SIX_BY_SEVEN),
        lambda: llm.achat_with_tools([MULTIPLY, NOW], user_msg=SIX_BY_SEVEN),
    )
    (call,) = llm.get_tool_calls_from_response(response)
    assert (call.tool_name, call.tool_kwargs) == ("multiply", {"a": 6, "b": 7})
    assert call.tool_id


@case
def streams_a_tool_call(llm: Any, loop: bool) -> None:
    parts = of(
        loop,
        lambda: list(llm.stream_chat_with_tools([MULTIPLY], user_msg=SIX_BY_SEVEN)),
        lambda: collect(llm.astream_chat_with_tools([MULTIPLY], user_msg=SIX_BY_SEVEN)),
    )
    (call,) = llm.get_tool_calls_from_response(parts[-1])
    assert (call.tool_name, call.tool_kwargs) == ("multiply", {"a": 6, "b": 7})


@case
def calls_a_tool_without_arguments(llm: Any, loop: bool) -> None:
    response = of(
        loop,
        lambda: llm.chat_with_tools([NOW], user_msg="Tell the time. Use now.", tool_required=True),
        lambda: llm.achat_with_tools([NOW], user_msg="Tell the time. Use now.", tool_required=True),
    )
    (call,) = llm.get_tool_calls_from_response(response)
    assert (call.tool_name, call.tool_kwargs) == ("now", {})


@case
def is_made_to_call(llm: Any, loop: bool) -> None:
    response = of(
        loop,
        lambda: llm.chat_with_tools([MULTIPLY], user_msg="Hello 3 4", tool_required=True),
        lambda: llm.achat_with_tools([MULTIPLY], user_msg="Hello 3 4", tool_required=True),
    )
    assert len(llm.get_tool_calls_from_response(response)) == 1


@case
def may_answer_in_words(llm: Any, loop: bool) -> None:
    response = of(
        loop,
        lambda: llm.chat_with_tools([MULTIPLY], user_msg=QUESTION),
        lambda: llm.achat_with_tools([MULTIPLY], user_msg=QUESTION),
    )
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="tool call"):
        llm.get_tool_calls_from_response(response)


@case
def reads_a_tools_result(llm: Any, loop: bool) -> None:
    first = llm.chat_with_tools([MULTIPLY], user_msg=SIX_BY_SEVEN)
    (call,) = llm.get_tool_calls_from_response(first)
    history = [
        ChatMessage(SIX_BY_SEVEN),
        first.message,
        ChatMessage("42", role=MessageRole.TOOL, additional_kwargs={"tool_call_id": call.tool_id}),
    ]
    response = of(
        loop,
        lambda: llm.chat_with_tools([MULTIPLY], chat_history=history),
        lambda: llm.achat_with_tools([MULTIPLY], chat_history=history),
    )
    assert "42" in response.message.content


@case
def predicts_and_calls(llm: Any, loop: bool) -> None:
    response = of(
        loop,
        lambda: llm.predict_and_call([MULTIPLY], SIX_BY_SEVEN),
        lambda: llm.apredict_and_call([MULTIPLY], SIX_BY_SEVEN),
    )
    assert str(response) == "42"


@case
def predicts_a_structure(llm: Any, loop: bool) -> None:
    found = of(loop, lambda: llm.structured_predict(Person, ADA), lambda: llm.astructured_predict(Person, ADA))
    assert found == Person(name="Ada", age=36)


@case
def is_a_structured_llm(llm: Any, loop: bool) -> None:
    structured = llm.as_structured_llm(Person)
    text = "'Ada' is 36 years old."
    found = of(loop, lambda: structured.complete(text), lambda: structured.acomplete(text))
    assert found.raw == Person(name="Ada", age=36)


@case
def drives_a_function_agent(llm: Any, loop: bool) -> None:
    async def run() -> str:
        return str(await FunctionAgent(tools=[MULTIPLY], llm=llm, streaming=loop).run(SIX_BY_SEVEN))

    assert "42" in asyncio.run(run())


@case
def drives_a_react_agent(llm: Any, loop: bool) -> None:
    async def run() -> str:
        return str(await ReActAgent(tools=[MULTIPLY], llm=llm, streaming=loop).run(SIX_BY_SEVEN))

    assert "42" in asyncio.run(run())


@case
def answers_a_query_engine(llm: Any, loop: bool) -> None:
    engine = SummaryIndex.from_documents([Document(text="The capital of France is Paris.")]).as_query_engine(llm=llm)
    assert "Paris" in str(of(loop, lambda: engine.query(QUESTION), lambda: engine.aquery(QUESTION)))


@case
def says_what_it_is(llm: Any, loop: bool) -> None:
    metadata = of(loop, lambda: llm.metadata, lambda: asyncio.sleep(0, llm.metadata))
    assert metadata.is_chat_model
    assert metadata.is_function_calling_model
    assert metadata.context_window > 0
    assert metadata.model_name == "local-chat-1"


@case
def streams_are_generators(llm: Any, loop: bool) -> None:
    async def kind() -> bool:
        return isinstance(await llm.astream_chat([ChatMessage("hi")]), AsyncGenerator)

    assert of(loop, lambda: isinstance(llm.stream_chat([ChatMessage("hi")]), Generator), kind)


@case
def stops_at_a_word(llm: Any, loop: bool) -> None:
    response = of(loop, lambda: llm.complete(QUESTION, stop=["Paris"]), lambda: llm.acomplete(QUESTION, stop=["Paris"]))
    assert response.text.strip() == "The capital of France is"


@case
def takes_consecutive_messages_of_one_role(llm: Any, loop: bool) -> None:
    messages = [ChatMessage("Hello."), ChatMessage("Say 'both'")]
    assert of(loop, lambda: llm.chat(messages), lambda: llm.achat(messages)).message.content == "both"


@case
def refuses_a_wrong_parameter(llm: Any, loop: bool) -> None:
    with pytest.raises(Exception, match="temperature"):
        of(loop, lambda: llm.complete("hi", temperature=99), lambda: llm.acomplete("hi", temperature=99))


@case
def predicts_a_prompt(llm: Any, loop: bool) -> None:
    prompt = PromptTemplate("What is the capital of {country}?")
    found = of(loop, lambda: llm.predict(prompt, country="France"), lambda: llm.apredict(prompt, country="France"))
    assert found == ANSWER


@case
def streams_a_prediction(llm: Any, loop: bool) -> None:
    prompt = PromptTemplate("What is the capital of {country}?")
    found = of(
        loop,
        lambda: list(llm.stream(prompt, country="France")),
        lambda: collect(llm.astream(prompt, country="France")),
    )
    assert len(found) > 2
    assert "".join(found) == ANSWER


@case
def serves_many_at_once(llm: Any, loop: bool) -> None:
    async def tasks() -> list[Any]:
        return await asyncio.gather(*(llm.acomplete(f"Say 'number {number}'") for number in range(6)))

    def threads() -> list[Any]:
        with ThreadPoolExecutor(6) as pool:
            return list(pool.map(lambda number: llm.complete(f"Say 'number {number}'"), range(6)))

    assert [answer.text for answer in of(loop, threads, tasks)] == [f"number {number}" for number in range(6)]


@case
def tells_of_its_calls(llm: Any, loop: bool) -> None:
    told: list[str] = []

    class Listener(BaseEventHandler):
        @classmethod
        def class_name(cls) -> str:
            return "Listener"

        def handle(self, event: Any, **_: Any) -> None:
            told.append(type(event).__name__)

    dispatcher, listener = get_dispatcher("root"), Listener()
    dispatcher.add_event_handler(listener)
    try:
        of(loop, lambda: llm.chat([ChatMessage("hi")]), lambda: llm.achat([ChatMessage("hi")]))
    finally:
        dispatcher.event_handlers.remove(listener)
    assert told == ["LLMChatStartEvent", "LLMChatEndEvent"]


@case
def calls_a_tool_by_name(llm: Any, loop: bool) -> None:
    response = of(
        loop,
        lambda: llm.chat_with_tools([NOW, MULTIPLY], user_msg="Hello 3 4", tool_choice="multiply"),
        lambda: llm.achat_with_tools([NOW, MULTIPLY], user_msg="Hello 3 4", tool_choice="multiply"),
    )
    assert [call.tool_name for call in llm.get_tool_calls_from_response(response)] == ["multiply"]


@case
def leaves_the_history_alone_when_it_streams(llm: Any, loop: bool) -> None:
    history = [ChatMessage(QUESTION)]
    of(
        loop,
        lambda: list(llm.stream_chat_with_tools([MULTIPLY], user_msg=SIX_BY_SEVEN, chat_history=history)),
        lambda: collect(llm.astream_chat_with_tools([MULTIPLY], user_msg=SIX_BY_SEVEN, chat_history=history)),
    )
    assert history == [ChatMessage(QUESTION)]


@case
def reads_a_streamed_calls_result(llm: Any, loop: bool) -> None:
    parts = of(
        loop,
        lambda: list(llm.stream_chat_with_tools([MULTIPLY], user_msg=SIX_BY_SEVEN)),
        lambda: collect(llm.astream_chat_with_tools([MULTIPLY], user_msg=SIX_BY_SEVEN)),
    )
    (call,) = llm.get_tool_calls_from_response(parts[-1])
    result = ChatMessage("42", role=MessageRole.TOOL, additional_kwargs={"tool_call_id": call.tool_id})
    history = [ChatMessage(SIX_BY_SEVEN), parts[-1].message, result]  # an agent keeps the last response only
    assert "42" in llm.chat_with_tools([MULTIPLY], chat_history=history).message.content


@case
def reports_a_tool_that_fails(llm: Any, loop: bool) -> None:
    def multiply(a: int, b: int) -> int:
        """Multiply two integers."""
        raise RuntimeError("no multiplying today")

    tool = FunctionTool.from_defaults(multiply)
    response = of(
        loop,
        lambda: llm.predict_and_call([tool], SIX_BY_SEVEN),
        lambda: llm.apredict_and_call([tool], SIX_BY_SEVEN),
    )
    assert response.sources[0].is_error
    assert "no multiplying today" in str(response)


@case
def raises_for_a_tool_that_fails_when_told(llm: Any, loop: bool) -> None:
    def multiply(a: int, b: int) -> int:
        """Multiply two integers."""
        raise RuntimeError("no multiplying today")

    tool = FunctionTool.from_defaults(multiply)
    with pytest.raises(ValueError, match="no multiplying today"):
        of(
            loop,
            lambda: llm.predict_and_call([tool], SIX_BY_SEVEN, error_on_tool_error=True),
            lambda: llm.apredict_and_call([tool], SIX_BY_SEVEN, error_on_tool_error=True),
        )


@case
def predicts_a_structure_where_words_would_do(llm: Any, loop: bool) -> None:
    prompt = PromptTemplate("Hello 'Ada', 36.")
    found = of(loop, lambda: llm.structured_predict(Person, prompt), lambda: llm.astructured_predict(Person, prompt))
    assert isinstance(found, Person)


@case
def streams_a_structure(llm: Any, loop: bool) -> None:
    async def objects() -> list[Any]:
        return [each async for each in await llm.astream_structured_predict(Person, ADA)]

    found = of(loop, lambda: list(llm.stream_structured_predict(Person, ADA)), objects)
    assert len(found) > 1
    assert (found[-1].name, found[-1].age) == ("Ada", 36)


@case
def chats_in_a_structure(llm: Any, loop: bool) -> None:
    structured, messages = llm.as_structured_llm(Person), [ChatMessage("'Ada' is 36 years old.")]
    found = of(loop, lambda: structured.chat(messages), lambda: structured.achat(messages))
    assert found.raw == Person(name="Ada", age=36)


@case
def streams_chats_in_a_structure(llm: Any, loop: bool) -> None:
    structured, messages = llm.as_structured_llm(Person), [ChatMessage("'Ada' is 36 years old.")]
    found = of(
        loop,
        lambda: list(structured.stream_chat(messages)),
        lambda: collect(structured.astream_chat(messages)),
    )
    assert (found[-1].raw.name, found[-1].raw.age) == ("Ada", 36)


@case
def drives_a_workflow_of_agents(llm: Any, loop: bool) -> None:
    async def run() -> str:
        agent = FunctionAgent(name="one", description="Multiplies.", tools=[MULTIPLY], llm=llm, streaming=loop)
        return str(await AgentWorkflow(agents=[agent], root_agent="one").run(SIX_BY_SEVEN))

    assert "42" in asyncio.run(run())


def engine_case(mode: str) -> None:
    def answers(llm: Any, loop: bool) -> None:
        texts = ["The capital of France is Paris.", "Bees make honey."]
        index = SummaryIndex.from_documents([Document(text=text) for text in texts])
        engine = index.as_query_engine(llm=llm, response_mode=mode)
        assert "Paris" in str(of(loop, lambda: engine.query(QUESTION), lambda: engine.aquery(QUESTION)))

    answers.__name__ = f"answers_in_mode_{mode}"
    case(answers)


for _mode in ("refine", "tree_summarize", "compact"):
    engine_case(_mode)


@case
def streams_a_query_engine(llm: Any, loop: bool) -> None:
    index = SummaryIndex.from_documents([Document(text="The capital of France is Paris.")])
    engine = index.as_query_engine(llm=llm, streaming=True)

    async def parts() -> list[str]:
        return [part async for part in (await engine.aquery(QUESTION)).async_response_gen()]

    found = of(loop, lambda: list(engine.query(QUESTION).response_gen), parts)
    assert len(found) > 2
    assert "Paris" in "".join(found)


@case
def answers_a_query_engine_in_a_structure(llm: Any, loop: bool) -> None:
    index = SummaryIndex.from_documents([Document(text="'Ada' is 36 years old.")])
    engine = index.as_query_engine(llm=llm, output_cls=Person)
    found = of(loop, lambda: engine.query("How old is 'Ada'?"), lambda: engine.aquery("How old is 'Ada'?"))
    assert isinstance(found.response, Person)


@case
def chats_with_an_engine(llm: Any, loop: bool) -> None:
    index = SummaryIndex.from_documents([Document(text="The capital of France is Paris.")])
    engine = index.as_chat_engine(llm=llm, chat_mode="context", memory=ChatMemoryBuffer.from_defaults(token_limit=4000))

    async def talk() -> list[str]:
        return [str(await engine.achat(text)) for text in (QUESTION, "Thank you.")]

    answers = of(loop, lambda: [str(engine.chat(text)) for text in (QUESTION, "Thank you.")], talk)
    assert "Paris" in answers[0]
    assert [message.role.value for message in engine.chat_history] == ["user", "assistant"] * 2


@case
def streams_a_chat_engine(llm: Any, loop: bool) -> None:
    index = SummaryIndex.from_documents([Document(text="The capital of France is Paris.")])
    engine = index.as_chat_engine(llm=llm, chat_mode="context")

    async def parts() -> list[str]:
        return [part async for part in (await engine.astream_chat(QUESTION)).async_response_gen()]

    found = of(loop, lambda: list(engine.stream_chat(QUESTION).response_gen), parts)
    assert "Paris" in "".join(found)


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", CASES)
def test_a_model(llm: Any, name: str, loop: bool, request: pytest.FixtureRequest) -> None:
    if type(llm).__name__ == "OpenAILike" and (reason := FAULTS_OF_THE_CONTROL.get(name)):
        request.applymarker(pytest.mark.xfail(reason=reason, raises=AssertionError, strict=True))
    CASES[name](llm, loop)


def test_the_matrix_is_as_large_as_it_says() -> None:
    assert len(CASES) >= 40
