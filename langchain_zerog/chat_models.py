"""`ChatZeroG`: LangChain's chat model on 0G."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, Self

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.load.dump import dumpd
from langchain_core.messages.utils import count_tokens_approximately
from pydantic import BaseModel, PrivateAttr, model_validator

from langchain_zerog import _blocks
from langchain_zerog._bridge import awatched, scope, sink_of, trace_runs, watched
from langchain_zerog._convert import chat_result, combined_usage
from langchain_zerog._errors import NeverServed, as_model_error
from langchain_zerog._fields import ChatFields, plain_values
from langchain_zerog._payload import trace_parameters_of
from langchain_zerog._profile import default_method, profile_of, recall, remember
from langchain_zerog._schemas import openai_tool, openai_tool_choice
from langchain_zerog._stream import ChunkMaker
from langchain_zerog._version import __version__
from langchain_zerog.media.pictures import typed
from zg_core.config import Network
from zg_core.errors import ZeroGError
from zg_core.tasks.parameters import refuse_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models import LangSmithParams, LanguageModelInput, ModelProfile
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, ChatResult
    from langchain_core.prompt_values import PromptValue
    from langchain_core.runnables import Runnable, RunnableConfig
    from langchain_core.tools import BaseTool

    from zg_core.tasks.models import ModelInfo

__all__ = ["ChatZeroG"]

_blocks.register()
trace_runs()


class ChatZeroG(ChatFields, BaseChatModel):
    """Chat model on 0G: answered in trusted hardware, paid on chain, every reply with a receipt.

    Setup:
        Install the package and name the wallet that pays. It needs a ledger and a sub-account at a provider
        (`zerog deposit`, `zerog transfer`); `zerog providers` lists them.

        ```bash
        pip install 'zerog-integrations[langchain]'
        export ZEROG_PRIVATE_KEY=0x…        # or ZEROG_API_KEY=app-sk-… instead of a wallet
        export ZEROG_NETWORK=mainnet        # testnet if not set
        export ZEROG_PROVIDER=0x…           # or pass provider=… or model=…
        ```

    Key init args (completion):
        model: Name of the model; the provider's own if not given. `model_name` is the same.
        temperature, top_p, max_tokens, stop, seed, presence_penalty, frequency_penalty, logprobs, top_logprobs,
        reasoning_effort, parallel_tool_calls: As in OpenAI's API, sent only when set.
        extra_body, model_kwargs: Anything else a provider takes.

    Key init args (client):
        provider: The provider's address. Without it, the best funded one that serves `model` is chosen.
        private_key: Key of the wallet that pays; default ``ZEROG_PRIVATE_KEY``.
        api_key: A 0G API key (``app-sk-…``) instead of a wallet; default ``ZEROG_API_KEY``.
        network: ``"mainnet"``, ``"testnet"`` or ``"local"``.
        verify: ``"off"``, ``"background"``, ``"warn"`` (default) or ``"require"``: what is done with the verdict.
        minimum: The least verdict that ``"require"`` accepts, ``"verified"`` if not given.
        stream_policy: ``"hold"`` keeps a stream's chunks until the verdict is made, ``"after"`` (default) does not.
        timeout: Seconds until the first byte of a reply and between two of them, or `zg_core.Timeouts` with `connect`,
            `read`, `first_token` and `stall`, or an ``httpx.Timeout``. `request_timeout` is the same.
        headers: Beside our own headers; `default_headers` is the same, `extra_headers` those of one call.
        http_client, http_async_client: HTTP clients of your own.
        max_retries: Further attempts where nothing was served, begun within `retry_deadline` seconds (60).
        retry_unknown: Whether a call that may have been billed is repeated as well; off by default.
        limits: Rate and requests under way (`zg_core.Limits`); None lifts them.

    Instantiate:
        ```python
        from langchain_zerog import ChatZeroG

        model = ChatZeroG(temperature=0, max_tokens=200)  # ChatZeroG(provider="0x…"), ChatZeroG(model="…")
        ```
        Nothing is read or sent yet; the first call looks the provider up on chain.

    Invoke:
        ```python
        reply = model.invoke([("system", "You are terse."), ("human", "What is 2 + 3?")])
        print(reply.text)
        ```

    Stream:
        ```python
        for chunk in model.stream("Write a line about trust."):
            print(chunk.text, end="", flush=True)
        ```
        The verdict comes with the last chunk, which is empty. A stream whose bytes are not those that were signed ends
        with an error; with ``stream_policy="hold"`` nothing is shown before that is known.

    Async:
        ```python
        import asyncio


        async def ask() -> None:
            print((await model.ainvoke("Hello")).text)
            async for chunk in model.astream("Hello"):
                print(chunk.text, end="")


        asyncio.run(ask())
        ```

    Tool calling:
        ```python
        from langchain_core.tools import tool


        @tool
        def multiply(a: int, b: int) -> int:
            '''Multiply two integers.'''
            return a * b


        calls = model.bind_tools([multiply]).invoke("What is 6 times 7? Use multiply.").tool_calls
        print(calls[0]["name"], calls[0]["args"])
        ```

    Structured output:
        ```python
        from pydantic import BaseModel, Field


        class Person(BaseModel):
            '''A person.'''

            name: str = Field(description="the person's name")
            age: int = Field(description="age in years")


        person = model.with_structured_output(Person).invoke("'Ada' is 36 years old.")
        print(person)
        ```

    Token usage:
        ```python
        print(model.invoke("Hello").usage_metadata)
        ```

    Response metadata:
        ```python
        from langchain_zerog import receipt_of

        reply = model.invoke("Hello")
        facts = reply.response_metadata["zerog"]
        print(facts["status"], facts["chat_id"], facts["payment"]["fee"], facts["payment"]["unit"])

        receipt = receipt_of(reply)
        print(receipt.verdict.explain(), receipt.fee.amount)
        ```

    Errors are those of `zg_core` and LangChain's own at once: ``except zg_core.RateLimited`` and ``except
    ModelRateLimitError`` catch the same one. `VerificationFailed` carries the text and the receipt.

    Pickles and serialised forms hold neither keys nor connections; where they are loaded, the environment's apply.
    """

    streaming: bool = False
    """Whether `invoke` streams too, for the sake of callbacks."""

    if TYPE_CHECKING:
        model_name: str | None = None  # another name of the argument `model`, for type checkers
    else:

        @property
        def model_name(self) -> str | None:
            """The same as `model`."""
            return self.model

    _dumped: dict[str, Any] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _set_zerog_version(self) -> Self:
        if hasattr(self, "_add_version"):
            self._add_version("langchain-zerog", __version__)
        return self

    @property
    def _serialized(self) -> dict[str, Any]:
        # LangChain keeps it in the instance's dictionary, which then grows while another thread reads it.
        if self._dumped is None:
            self._dumped = dumpd(self)
        return self._dumped

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._dumped = None  # noqa: SLF001
        return copied

    # what it is

    @property
    def _llm_type(self) -> str:
        return "chat-zerog"

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Where secrets come from when a serialised model is loaded."""
        return {"private_key": "ZEROG_PRIVATE_KEY", "api_key": "ZEROG_API_KEY"}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether LangChain may serialise it: yes, without keys, and with an address instead of a URL."""
        return True

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """Serialised instead of the objects among the arguments: the plain values that make them."""
        return plain_values(self)

    @property
    def _identifying_params(self) -> dict[str, Any]:
        network = self.network.name if isinstance(self.network, Network) else self.network
        named = (("model", self.model), ("provider", self.provider), ("network", network))
        return {name: str(value) for name, value in named if value is not None} | self._parameters()

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return trace_parameters_of(self.model, self._parameters(), stop, kwargs)

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        # Before a run is announced to its callbacks, which are told all of this.
        if kwargs or stop:
            self._check_call(kwargs if stop is None else {**kwargs, "stop": stop})
        if type(self).dict is not BaseChatModel.dict:
            return super()._get_invocation_params(stop=stop, **kwargs)
        # LangChain asks its deprecated `dict()`, and keeps Python's warnings still meanwhile: for all threads at once.
        return {**self.asdict(), "stop": stop, **kwargs}

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
        return combined_usage(llm_outputs)

    def get_num_tokens(self, text: str) -> int:
        """About how many tokens `text` has, counted offline: the provider's tokenizer is not known."""
        if self.custom_get_token_ids is not None:
            return len(self.custom_get_token_ids(text))
        return count_tokens_approximately([text], extra_tokens_per_message=0, count_name=False)

    def get_num_tokens_from_messages(
        self,
        messages: Sequence[BaseMessage],
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
    ) -> int:
        """About how many tokens `messages` and `tools` have, counted offline."""
        formatted = [openai_tool(tool) for tool in tools or ()]
        return count_tokens_approximately(messages) + (self.get_num_tokens(str(formatted)) if formatted else 0)

    # calls

    def _convert_input(self, model_input: LanguageModelInput) -> PromptValue:
        if isinstance(model_input, str):
            return super()._convert_input(model_input)
        try:
            return typed(super()._convert_input(model_input))
        except ZeroGError as error:
            raise as_model_error(error) from error.__cause__

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        try:
            payload, options = self._ask(messages, stop, kwargs)
            with scope(sink_of(run_manager)):
                reply = self._client().create(payload, **options)
            return chat_result(reply)
        except ZeroGError as error:
            raise as_model_error(error) from error.__cause__

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        try:
            payload, options = self._ask(messages, stop, kwargs)
            with scope(sink_of(run_manager)):
                reply = await self._async_client().create(payload, **options)
            return chat_result(reply)
        except ZeroGError as error:
            raise as_model_error(error) from error.__cause__

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        chunks = ChunkMaker(self.output_version)
        try:
            payload, options = self._ask(messages, stop, kwargs)
            with watched(self._client().stream(payload, **options), run_manager) as events:
                for seen in events:
                    for chunk in chunks.chunks(seen):
                        if run_manager is not None:
                            run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk
                last = chunks.last(events.receipt)
        except ZeroGError as error:
            raise as_model_error(error) from error.__cause__
        if run_manager is not None:
            run_manager.on_llm_new_token("", chunk=last)
        yield last

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        chunks = ChunkMaker(self.output_version)
        try:
            payload, options = self._ask(messages, stop, kwargs)
            client = self._async_client()
            async with awatched(client.stream(payload, **options), run_manager) as events:
                async for seen in events:
                    for chunk in chunks.chunks(seen):
                        if run_manager is not None:
                            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk
                last = chunks.last(events.receipt)
        except ZeroGError as error:
            raise as_model_error(error) from error.__cause__
        if run_manager is not None:
            await run_manager.on_llm_new_token("", chunk=last)
        yield last

    def _payload(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        return self._ask(messages, stop, kwargs).payload

    def _generate_with_cache(self, *arguments: Any, **kwargs: Any) -> ChatResult:
        from langchain_zerog._cache import judged

        return super(ChatZeroG, judged(self, self._demands))._generate_with_cache(*arguments, **kwargs)

    async def _agenerate_with_cache(self, *arguments: Any, **kwargs: Any) -> ChatResult:
        from langchain_zerog._cache import judged

        return await super(ChatZeroG, judged(self, self._demands))._agenerate_with_cache(*arguments, **kwargs)

    # what the provider says about the model

    def load_profile(self) -> ModelProfile:
        """Ask the provider what the model can do, and keep the answer as `profile`.

        A constructor asks nobody: a new model has a profile only if it was given one, or if this process loaded that of
        the same model before. `with_structured_output`, `create_agent` and `SummarizationMiddleware` look at it.

        Returns:
            The profile. It is the provider's word, signed by nobody; what it does not say is missing.

        Raises:
            ChainError: the chain cannot be read.
            ProviderUnavailable: the provider cannot be asked now.
        """
        try:
            return self._learn(self._client().model_info())
        except ZeroGError as error:
            raise as_model_error(error) from error.__cause__

    async def aload_profile(self) -> ModelProfile:
        """Async twin of `load_profile`."""
        try:
            return self._learn(await self._async_client().model_info())
        except ZeroGError as error:
            raise as_model_error(error) from error.__cause__

    def _learn(self, info: ModelInfo) -> ModelProfile:
        remember(self._profile_key, info)
        self.profile = profile_of(info)
        return self.profile

    def _resolve_model_profile(self) -> ModelProfile | None:
        self._forget_replaced()  # LangChain asks while the object is being made
        info = recall(self._profile_key)
        return None if info is None else profile_of(info)

    @property
    def _profile_key(self) -> tuple[str, ...]:
        network = self.network.name if isinstance(self.network, Network) else self.network
        provider = (self.provider or "").lower()
        return (self._backend_name, network or "", self.inference or "", self.rpc_url or "", provider, self.model or "")

    def with_retry(
        self,
        *,
        retry_if_exception_type: tuple[type[BaseException], ...] | Callable[[BaseException], bool] = (NeverServed,),
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """A model that tries again; by default only where nothing was served, so that nothing is paid twice.

        Args:
            retry_if_exception_type: Which errors to retry on. A reply that failed its check, or that may have been
                billed, is repeated only where this names it.
            **kwargs: See `Runnable.with_retry`.
        """
        return super().with_retry(retry_if_exception_type=retry_if_exception_type, **kwargs)

    if not TYPE_CHECKING:  # they return what LangChain's return

        def bind(self, **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
            """A model whose calls get `kwargs`, parameters of requests; for settings make another model.

            Raises:
                TypeError: a call takes no such argument (`zg_core.ArgumentError`).
            """
            self._check_call(kwargs)
            return super().bind(**kwargs)

        def with_config(
            self, config: RunnableConfig | None = None, **kwargs: Any
        ) -> Runnable[LanguageModelInput, AIMessage]:
            """A model whose runs get LangChain's `config`.

            Raises:
                TypeError: it holds a setting of the model, which LangChain would put into traces and nobody would read.
            """
            try:
                refuse_settings({**(config or {}), **kwargs}, self._rules().settings, "the configuration of a run")
            except ZeroGError as error:
                raise as_model_error(error) from None
            return super().with_config(config, **kwargs)

    # tools and structured output

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools to the model.

        Args:
            tools: Functions, tools, pydantic classes, typed dictionaries or OpenAI-shaped tools.
            tool_choice: ``"auto"``, ``"none"``, ``"required"`` (or ``"any"``, or True), a tool's name, or OpenAI's
                own form.
            strict: Whether arguments must follow the schema exactly, where the provider can do that.
            parallel_tool_calls: Whether one reply may hold several calls.
            **kwargs: Further parameters of the calls.

        Raises:
            ValueError: `tool_choice` is neither of those nor the name of a tool.
        """
        self._check_call({"tool_choice": tool_choice})  # an error would repeat it
        formatted = [openai_tool(tool, strict=strict) for tool in tools]
        if parallel_tool_calls is not None:
            kwargs["parallel_tool_calls"] = parallel_tool_calls
        if tool_choice:
            kwargs["tool_choice"] = openai_tool_choice(tool_choice, formatted)
        return self.bind(tools=formatted, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Literal["function_calling", "json_schema", "json_mode"] | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """A model whose replies are parsed into `schema`.

        Args:
            schema: A pydantic class, a typed dictionary, a JSON schema or an OpenAI-shaped tool. Only ``"json_mode"``
                works without.
            method: ``"function_calling"``, ``"json_schema"`` (the server enforces the schema), or ``"json_mode"`` (any
                JSON object; describe it in the prompt). By default what `profile` says the model can do, and function
                calling, which most open servers know, without a profile (see `load_profile`).
            include_raw: Return ``{"raw": message, "parsed": …, "parsing_error": …}``, so that the receipt is at hand.
            strict: Whether the schema must be followed exactly, where the provider can do that.
            **kwargs: Further parameters of the calls.

        Raises:
            ValueError: unknown method, no schema, or `strict` with ``"json_mode"``.
        """
        by_default = default_method(self.profile, recall(self._profile_key), strict=strict)
        if self._backend_name == "opengradient":  # its gateways ignore `tool_choice`: a function need not be called
            by_default = "json_schema"
        chosen = method or by_default
        from langchain_zerog._structured import structured_output

        return structured_output(self, schema, method=chosen, include_raw=include_raw, strict=strict, kwargs=kwargs)


# LangChain looks at the parameters of both in every call: here it finds them.
for _method in ("_generate", "_agenerate"):
    _function: Any = getattr(ChatZeroG, _method)
    _function.__signature__ = signature(_function)
