"""`ZeroG`: LlamaIndex's LLM on 0G."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW, DEFAULT_NUM_OUTPUTS
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection

from llama_index_zerog._completions import acompletions_of, completion_of, completions_of
from llama_index_zerog._fields import LlamaIndexFields, checked
from llama_index_zerog._messages import assistant_message, openai_messages, tool_arguments, whole_arguments
from llama_index_zerog._receipts import note
from llama_index_zerog._stream import ResponseMaker, logprobs_of, token_counts
from llama_index_zerog._structured import amade_of, announced, anoted, by_schema, made_of, noted, partly, wanted
from llama_index_zerog.instrumentation import current_sinks, get_zerog_receipts, telling
from zg_core.calls.alike import spread
from zg_core.errors import ArgumentError, ConfigError, RequestError, ZeroGError
from zg_core.frameworks.arguments import NOTHING
from zg_core.frameworks.requests import RequestFields, parameters_for, request_of
from zg_core.frameworks.schemas import rooted
from zg_core.receipts.recent import KEY, metadata_of, receipt_in
from zg_core.tasks.base import CHAT
from zg_core.tasks.context import check_fits
from zg_core.tasks.replies import first_choice, usage_in

if TYPE_CHECKING:
    from llama_index.core.chat_engine.types import AgentChatResponse
    from llama_index.core.tools.types import BaseTool

    from zg_core.backends.base import Service
    from zg_core.calls.call import Reply
    from zg_core.tasks.models import ModelInfo

__all__ = ["ZeroG"]

# LlamaIndex's programs take tool_choice and tool_required out of the arguments they pass on; this they leave.
_FORCED = "zerog_tool_required"
# What `predict_and_call` takes for itself where tools are asked for in words.
_OF_REACT = frozenset({
    "chat_history", "memory", "output_parser", "react_chat_formatter", "tool_retriever", "user_msg", "verbose",
    "error_on_no_tool_call", "error_on_tool_error",
})  # fmt: skip
_REFUSE_WITHOUT_TOOLS = frozenset(
    {"llama_index.core.agent.workflow.function_agent", "llama_index.core.program.function_program"}
)


class ZeroG(LlamaIndexFields, RequestFields, FunctionCallingLLM):
    """LLM on 0G: answered in trusted hardware, paid on chain, every reply with a receipt.

    ```python
    from llama_index_zerog import ZeroG, receipt_of

    llm = ZeroG(temperature=0)  # the wallet is ZEROG_PRIVATE_KEY, the provider ZEROG_PROVIDER
    response = llm.complete("What is 2 + 3?")
    print(response.text, receipt_of(response).verdict)
    ```

    Nothing is read or sent when it is made. The last response of a stream holds the receipt. A reply whose evidence
    contradicts it is an error that carries text and receipt (`zg_core.VerificationFailed`).

    `metadata` comes from what the provider says about its model (asked once, when it is first looked at), unless
    `context_window`, `model` and `is_function_calling_model` say it. A prompt that has more tokens than the
    context window, by a bound that holds for every tokenizer, is refused before it is sent.
    """

    context_window: int | None = None
    """Tokens that a request and its answer may have, instead of what the provider says."""
    num_output: int | None = None
    """Tokens that LlamaIndex keeps free in its prompts for the answer: `max_tokens` if that is given, else 256. It
    limits no answer."""
    is_function_calling_model: bool | None = None
    """Whether it calls tools, instead of what the provider says. Without, agents work as `ReActAgent`, and structured
    answers are asked for in words."""

    _of_the_framework: ClassVar[frozenset[str]] = frozenset(
        {_FORCED, "allow_parallel_tool_calls", "formatted", "stream_usage", "tool_required", "verbose"}
    )

    _known: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def class_name(cls) -> str:
        """How LlamaIndex calls it."""
        return "ZeroG"

    @property
    def metadata(self) -> LLMMetadata:
        """What is known of the model; the provider is asked when this is first looked at and something is not given.

        Raises:
            ZeroGError: it cannot be told: the chain or the provider is out of reach.
            ConfigError: a `FunctionAgent` looks at it and the model has no function calling; the hint names providers
                that have it.
        """
        window = self.context_window
        info = self._told() if window is not None and self.model is not None else self._info()
        calls = self._function_calling(info)
        if not calls and sys._getframe(1).f_globals.get("__name__") in _REFUSE_WITHOUT_TOOLS:  # noqa: SLF001
            raise self._no_tools()  # they would raise, too, and name no provider
        window = window or (info and info.context_window) or DEFAULT_CONTEXT_WINDOW
        # Room that LlamaIndex keeps free in every prompt: what the model could write at most is often its whole window.
        output = self.num_output or self.max_tokens or DEFAULT_NUM_OUTPUTS
        return LLMMetadata(
            context_window=window,
            num_output=min(output, window),
            is_chat_model=True,
            is_function_calling_model=calls,
            model_name=info.model if info else self.model or "the provider's own",
        )

    def _info(self) -> ModelInfo:
        if (info := self._told()) is None:
            info = self._known[f"{self.provider} {self.model}"] = self._client().model_info(self.model)
        return info

    def _told(self) -> ModelInfo | None:
        """What the provider was heard to say, without asking it."""
        return self._known.get(f"{self.provider} {self.model}")

    def _function_calling(self, info: ModelInfo | None) -> bool:
        if self.is_function_calling_model is not None:
            return self.is_function_calling_model
        return info is None or info.tools is not False

    # calls

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Ask, and return the whole answer.

        Raises:
            ZeroGError: see `zg_core.errors`; money that may have been spent is on ``error.receipt``.
        """
        return self._answer(messages, kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Async twin of `chat`."""
        return await self._aanswer(messages, kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Ask, and return the answer as it comes; every response holds the message so far."""
        return self._answers(messages, kwargs)

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Async twin of `stream_chat`."""
        return self._aanswers(messages, kwargs)

    # A completion is a chat of one message, and one event for LlamaIndex's callbacks and limiters.

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Ask with one user message, made of `prompt` by `completion_to_prompt` unless it is `formatted`."""
        return completion_of(self._answer(self._asked(prompt, formatted), kwargs))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Async twin of `complete`."""
        return completion_of(await self._aanswer(self._asked(prompt, formatted), kwargs))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Streaming form of `complete`."""
        return completions_of(self._answers(self._asked(prompt, formatted), kwargs))

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Async twin of `stream_complete`."""
        return acompletions_of(self._aanswers(self._asked(prompt, formatted), kwargs))

    def _asked(self, prompt: str, formatted: bool) -> list[ChatMessage]:
        text = prompt if formatted or self.completion_to_prompt is None else self.completion_to_prompt(prompt)
        return [ChatMessage(role=MessageRole.USER, content=text)]

    def _answer(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> ChatResponse:
        payload, options = self._ask(messages, kwargs)
        return _response(self._client().create(payload, **options))

    async def _aanswer(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> ChatResponse:
        payload, options = self._ask(messages, kwargs)
        return _response(await self._async_client().create(payload, **options))

    def _answers(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> ChatResponseGen:
        (payload, options), sinks = self._ask(messages, kwargs), current_sinks()

        def responses() -> Generator[ChatResponse, None, None]:
            maker = ResponseMaker()
            with telling(sinks):
                stream = self._client().stream(payload, **options)
            try:
                while True:
                    with telling(sinks):
                        seen = stream.more()
                    if not seen:
                        break
                    for event in spread(seen):
                        if (response := maker.response(event)) is not None:
                            yield response
            finally:
                with telling(sinks):
                    stream.close()
            yield maker.last(stream.receipt)

        return responses()

    def _aanswers(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> ChatResponseAsyncGen:
        (payload, options), sinks = self._ask(messages, kwargs), current_sinks()

        async def responses() -> AsyncGenerator[ChatResponse, None]:
            maker = ResponseMaker()
            stream = self._async_client().stream(payload, **options)
            try:
                while True:
                    with telling(sinks):
                        seen = await stream.more()
                    if not seen:
                        break
                    for event in spread(seen):
                        if (response := maker.response(event)) is not None:
                            yield response
            finally:
                with telling(sinks):
                    await stream.close()
            yield maker.last(stream.receipt)

        return responses()

    # tools

    def _prepare_chat_with_tools(  # noqa: PLR0917 - LlamaIndex's signature
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,  # noqa: ARG002 - LlamaIndex's signature
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        tool_required = kwargs.pop(_FORCED, False) or tool_required
        messages = list(chat_history or [])  # the caller's list stays as it is
        if user_msg is not None:
            messages.append(ChatMessage(user_msg, role=MessageRole.USER) if isinstance(user_msg, str) else user_msg)
        prepared: dict[str, Any] = {"messages": messages, **kwargs}
        if tools:
            self._need_tools()
            prepared["tools"] = [_tool(tool) for tool in tools]
            prepared["tool_choice"] = _choice(tool_choice) or ("required" if tool_required else "auto")
            prepared["parallel_tool_calls"] = allow_parallel_tool_calls
        return prepared

    def _need_tools(self) -> None:
        """Refuse a model that has no tools, before anything is sent."""
        if self.is_function_calling_model is None and self._info().tools is not False:
            return
        if not self.is_function_calling_model:
            raise self._no_tools()

    def _no_tools(self) -> ConfigError:
        """The error for tools at a model without them, with the names of providers that say they have them."""
        given = self.is_function_calling_model is False
        info = self._told()
        model = info.model if info else self.model
        named = f"model {model!r} of this provider" if model else "the provider's own model"
        try:
            names = ", ".join(f"{s.provider} ({s.model})" for s in self._able(3)) or "none on this network"
        except ZeroGError as error:
            names = f"cannot be looked up now: {error.message}"
        return ConfigError(
            f"{named} has no function calling{' (is_function_calling_model=False)' if given else ''}",
            code="no_tools",
            hint=f"providers that have it: {names}; or use ReActAgent, which needs none",
        )

    def _able(self, most: int) -> list[Service]:
        """Other chat services whose providers say that they call tools."""
        client = self._client()
        own = client.service().provider
        found: list[Service] = []
        for service in client.services():
            if service.task == CHAT.name and service.record.get("acknowledged", True) and service.provider != own:
                with suppress(ZeroGError):  # one that cannot be asked now is no advice
                    found += [service] if client.model_info(service=service).tools else []
            if len(found) == most:
                break
        return found

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],  # noqa: ARG002 - LlamaIndex's signature
        allow_parallel_tool_calls: bool = False,
        **_: Any,
    ) -> ChatResponse:
        if not allow_parallel_tool_calls:
            calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
            for extra in calls[1:]:
                response.message.blocks.remove(extra)
            if len(calls) > 1:
                response.message.additional_kwargs["tool_calls"] = response.message.additional_kwargs["tool_calls"][:1]
        return response

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,
        **_: Any,
    ) -> list[ToolSelection]:
        """The tool calls of a response; of one from the middle of a stream, as far as they have come.

        Raises:
            ValueError: there is none, and that is an error.
            RequestError: the arguments of a call are no JSON object (code ``bad_tool_arguments``). The text and the
                receipt are on it, and ``details`` has ``tool`` and ``arguments``. No tool is called then: one whose
                arguments are optional would run as nobody asked.
        """
        blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if not blocks and error_on_no_tool_call:
            raise ValueError(f"expected at least one tool call, but got {len(blocks)}")
        return [
            ToolSelection(
                tool_id=block.tool_call_id or "",
                tool_name=block.tool_name,
                tool_kwargs=self._arguments(block, response),
            )
            for block in blocks
        ]

    def _arguments(self, block: ToolCallBlock, response: ChatResponse) -> dict[str, Any]:
        if KEY not in response.additional_kwargs:  # of a reply that has come to its end, the facts are there
            return tool_arguments(block.tool_kwargs)
        if (arguments := whole_arguments(block.tool_kwargs)) is not None:
            return arguments
        raise RequestError(
            f"the arguments for tool {block.tool_name!r} are no JSON object",
            code="bad_tool_arguments",
            hint="ask again, raise max_tokens if the answer was cut, or choose another model; the call was billed",
            receipt=receipt_in(response.additional_kwargs),
            text=response.message.content or "",
            tool=block.tool_name,
            arguments=block.tool_kwargs,
        )

    def predict_and_call(self, tools: Sequence[BaseTool], *args: Any, **kwargs: Any) -> AgentChatResponse:
        """Have the model call tools, and return what they say; without function calling it is asked in words."""
        return super().predict_and_call(tools, *args, **self._in_words(kwargs))

    async def apredict_and_call(self, tools: Sequence[BaseTool], *args: Any, **kwargs: Any) -> AgentChatResponse:
        """Async twin of `predict_and_call`."""
        return await super().apredict_and_call(tools, *args, **self._in_words(kwargs))

    def _in_words(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """`kwargs` with what LlamaIndex's way without function calling needs, and has no default for."""
        if self.metadata.is_function_calling_model:
            return kwargs
        self._refuse_beside(kwargs)
        from llama_index.core.agent.react import ReActChatFormatter, ReActOutputParser

        return {"react_chat_formatter": ReActChatFormatter(), "output_parser": ReActOutputParser(), **kwargs}

    def _refuse_beside(self, kwargs: dict[str, Any]) -> None:
        """Refuse what LlamaIndex's way without function calling would drop without a word.

        Raises:
            ArgumentError: it is no argument of a call, or a parameter, which goes into no request of that way.
        """
        given = {name: value for name, value in kwargs.items() if name not in _OF_REACT}
        call = self._rules().split(given, self._secrets)
        parameters = (*call.parameters, *(name for name in given if name in ("extra_body", "additional_kwargs")))
        if dropped := [*parameters, *call.options]:
            raise ArgumentError(
                f"{dropped[0]} goes into no request where a model without function calling is asked in words",
                hint=f"say it where the model is made: ZeroG({dropped[0]}=…)",
            )

    # structured answers: by JSON schema where the provider has that, else by a tool that must be called

    def structured_predict(self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any) -> Any:
        """An answer in the form of `output_cls`; `receipt_of` finds its receipt."""
        if self._by_schema(output_cls):
            messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
            with announced(output_cls, prompt, prompt_args) as ended:
                return ended(made_of(self.chat(messages, **wanted(output_cls, llm_kwargs)), output_cls))
        with get_zerog_receipts() as receipts:
            made = super().structured_predict(output_cls, prompt, _forced(llm_kwargs), **prompt_args)
        note(made, receipts.last)
        return made

    async def astructured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Any:
        """Async twin of `structured_predict`."""
        if await self._aby_schema(output_cls):
            messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
            with announced(output_cls, prompt, prompt_args) as ended:
                return ended(made_of(await self.achat(messages, **wanted(output_cls, llm_kwargs)), output_cls))
        with get_zerog_receipts() as receipts:
            made = await super().astructured_predict(output_cls, prompt, _forced(llm_kwargs), **prompt_args)
        note(made, receipts.last)
        return made

    def _structured_stream_call(self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any) -> Any:
        if self._by_schema(output_cls):
            messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
            return partly(self.stream_chat(messages, **wanted(output_cls, llm_kwargs)), output_cls)
        return noted(super()._structured_stream_call(output_cls, prompt, _forced(llm_kwargs), **prompt_args))

    async def _structured_astream_call(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Any:
        if await self._aby_schema(output_cls):
            messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
            return amade_of(await self.astream_chat(messages, **wanted(output_cls, llm_kwargs)), output_cls)
        return await anoted(super()._structured_astream_call(output_cls, prompt, _forced(llm_kwargs), **prompt_args))

    def _by_schema(self, output_cls: Any) -> bool:
        """Whether the provider is asked by schema: it says that it can, and nobody has said otherwise."""
        if not by_schema(self.pydantic_program_mode, output_cls):
            return False
        info = self._told() if self.is_function_calling_model is not None else self._info()
        return info is not None and info.structured_output is True

    async def _aby_schema(self, output_cls: Any) -> bool:
        if self._told() is None and self.is_function_calling_model is None:
            await asyncio.to_thread(self._info)
        return self._by_schema(output_cls)

    # requests

    def _ask(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The request of one call, and its options.

        Raises:
            ArgumentError: an argument of the call is no parameter of a request.
            ConfigError: it cannot be sent.
        """
        call = self._rules().split(kwargs, self._secrets) if kwargs else NOTHING
        parameters = parameters_for(call, self._parameters(), self.additional_kwargs)
        payload = request_of(openai_messages(messages), parameters, self.model)
        info = self._told() if payload.get("model") == self.model else None
        if window := self.context_window or (info and info.context_window):
            check_fits(payload, window, payload.get("model") or (info.model if info else "the provider's own model"))
        return payload, call.options


# Outermost: spans and events come further in.
_CHATS = ("chat", "achat", "stream_chat", "astream_chat")
for _name in (*_CHATS, *(chat.replace("chat", "complete") for chat in _CHATS), "_prepare_chat_with_tools"):
    setattr(ZeroG, _name, checked(ZeroG, _name))


def _tool(tool: BaseTool) -> dict[str, Any]:
    """`tool` in OpenAI's form; a schema that refers to itself keeps its root, which LlamaIndex leaves out."""
    made = tool.metadata.to_openai_tool(skip_length_check=True)
    schema = None if tool.metadata.fn_schema is None else tool.metadata.fn_schema.model_json_schema()
    if schema is not None and "$ref" in schema:
        whole = {name: value for name, value in rooted(schema).items() if name not in ("title", "description")}
        made = {**made, "function": {**made["function"], "parameters": whole}}
    return made


def _choice(tool_choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    """A tool's name as the choice of that tool."""
    if isinstance(tool_choice, str) and tool_choice not in ("auto", "none", "required", "any"):
        return {"type": "function", "function": {"name": tool_choice}}
    return "required" if tool_choice == "any" else tool_choice


def _forced(llm_kwargs: dict[str, Any] | None) -> dict[str, Any]:
    return {_FORCED: True, **(llm_kwargs or {})}


def _response(reply: Reply) -> ChatResponse:
    """The whole reply as LlamaIndex's response.

    Raises:
        RequestError: there is no choice in it.
    """
    choice = first_choice(reply.body) or {}
    said = choice.get("message")
    if not isinstance(said, dict):
        raise RequestError(
            f"provider {reply.receipt.provider} answered without a choice",
            code="malformed_reply",
            hint="try again, or choose another provider",
            receipt=reply.receipt,
        )
    facts = metadata_of(reply.receipt)
    return ChatResponse(
        message=assistant_message(said),
        raw={**reply.body, KEY: facts},
        logprobs=logprobs_of(choice),
        additional_kwargs={KEY: facts, **token_counts(usage_in(reply.body))},
    )
