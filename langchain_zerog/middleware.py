"""Middleware for LangChain's agents: no tool runs on an unproven answer, and no run spends more than it may.

Needs ``langchain`` (`create_agent`), which the rest of `langchain_zerog` does not.

The first middleware in the list is the outermost. So the useful order is ``[ZeroGBudgetMiddleware(…),
ModelFallbackMiddleware(…), ZeroGVerificationMiddleware()]``: the fallback then sees an answer that failed its check as
an error and asks the next model, and the budget counts both calls.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

try:
    from langchain.agents.middleware.types import AgentMiddleware, AgentState, ModelResponse, PrivateStateAttr
    from langgraph.channels.untracked_value import UntrackedValue
except ImportError as error:
    raise ImportError("langchain_zerog.middleware needs langchain: pip install 'langchain>=1.0'") from error

from langchain_core.messages import AIMessage
from langgraph.config import get_config

from langchain_zerog._errors import as_model_error
from langchain_zerog._purse import Purse
from langchain_zerog._receipts import is_what_was_said, receipt_of
from zg_core.calls.budgets import held_to
from zg_core.errors import BudgetExceeded, ConfigError, VerificationFailed, VerificationUnavailable, ZeroGError
from zg_core.http.timeouts import is_seconds
from zg_core.money import Amount
from zg_core.verify.policy import Policy
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from langchain.agents.middleware.types import ExtendedModelResponse, ModelRequest, ToolCallRequest
    from langchain_core.messages import ToolMessage
    from langgraph.runtime import Runtime
    from langgraph.types import Command

    from zg_core.receipts.model import Receipt

    _Answer = ModelResponse[Any] | AIMessage | ExtendedModelResponse[Any]

__all__ = ["ZeroGBudgetMiddleware", "ZeroGVerificationMiddleware"]


class ZeroGVerificationMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Lets an answer through, and its tools run, only if it is proven.

    It asks for the verdict of every answer of the agent's model, whatever the model's own `verify` says: with
    ``verify="background"`` the check runs while LangChain works on the answer, and this waits for its end. The verdict
    is about what the provider said; so text and tool calls are compared with that: they may have come out of a cache.

    Args:
        minimum: The least verdict, ``"verified"`` by default. With ``"response_bound"`` tools run on answers that may
            belong to another question than the agent's.
        timeout: Seconds to wait for a pending verdict.

    Raises:
        ConfigError: unknown `minimum`, or a timeout that is not positive.

    The agent raises:
        VerificationFailed: the evidence contradicts the answer, or it is not what the reply of its receipt said.
        VerificationUnavailable: the verdict is below the minimum or did not come in time, or the answer has no receipt
            in this process: another model's, or one out of a cache that outlived its process.

    Example:
        ```python
        agent = create_agent(ChatZeroG(verify="background"), tools, middleware=[ZeroGVerificationMiddleware()])
        ```
    """

    def __init__(self, minimum: str = "verified", *, timeout: float = 60.0) -> None:
        super().__init__()
        self._policy = Policy.of("require", minimum=minimum)
        if not is_seconds(timeout) or not timeout:
            raise ConfigError("timeout must be positive", code="bad_timeout", hint="seconds, for example timeout=60")
        self._timeout = timeout

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Judge what the model says before anything is done with it."""
        response = handler(request)
        for message in _answers(response):
            receipt = _receipt(message)
            receipt.resolve(self._timeout)
            self._enforce(receipt, message)
        return response

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Async twin of `wrap_model_call`."""
        response = await handler(request)
        for message in _answers(response):
            receipt = _receipt(message)
            if receipt.verdict.status is Status.PENDING:
                await receipt.aresolve(self._timeout)
            self._enforce(receipt, message)
        return response

    def _enforce(self, receipt: Receipt, message: AIMessage) -> None:
        try:
            if receipt.verdict.status is Status.PENDING:
                raise VerificationUnavailable(
                    f"the check of the reply of {receipt.provider} did not end within {self._timeout:g} s",
                    code="pending",
                    hint="raise timeout=…, or let the model check by itself: ChatZeroG(verify='require')",
                    receipt=receipt,
                    text=message.text,
                )
            if not is_what_was_said(message, receipt):
                raise VerificationFailed(
                    "do not trust this answer: it is not what the reply of its receipt said",
                    code="content_mismatch",
                    hint="it was changed on its way, by a cache or another middleware: list this one after that one",
                    receipt=receipt,
                    text=message.text,
                )
            self._policy.enforce(receipt, message.text)
        except ZeroGError as error:
            raise as_model_error(error) from None


def _answers(response: _Answer) -> Iterator[AIMessage]:
    inner: Any = getattr(response, "model_response", response)
    for message in [inner] if isinstance(inner, AIMessage) else inner.result:
        if isinstance(message, AIMessage):
            yield message


def _receipt(message: AIMessage) -> Receipt:
    receipt = receipt_of(message)
    if receipt is None:
        raise as_model_error(
            VerificationUnavailable(
                "the answer has no receipt in this process, so nothing is proven about it",
                code="no_receipt",
                hint="use ChatZeroG as the agent's model, without a cache that other processes fill",
                text=message.text,
            )
        )
    return receipt


# Where LangGraph tells nodes of the checkpointer; there is no public name.
_CHECKPOINTER = "__pregel_checkpointer"


class _BudgetState(AgentState[Any]):
    # The live objects stay out of checkpoints; a thread's totals go in as plain data.
    zerog_run_spending: NotRequired[Annotated[Any, UntrackedValue, PrivateStateAttr]]
    zerog_thread_spending: NotRequired[Annotated[Any, UntrackedValue, PrivateStateAttr]]
    zerog_thread_spent: NotRequired[Annotated[dict[str, Any], PrivateStateAttr]]
    zerog_run_spent: NotRequired[Annotated[dict[str, Any] | None, PrivateStateAttr]]


class ZeroGBudgetMiddleware(AgentMiddleware[_BudgetState, Any, Any]):
    """Holds a run of an agent to a budget (`zg_core.budget`): a call that might cost more than is left is not sent.

    It holds for every call of our models and clients inside the agent's model calls and tools, with retries and
    fallbacks if it is listed before them: the most that a request can cost is put aside before it is sent, and what it
    did not cost is given back once its fee is known. What nobody can know, because the answer was lost, counts at its
    bound. So a limit cannot be overshot, and `max_tokens` decides how near a run gets to it: an answer that nothing
    limits is held for 32,768 tokens.

    Args:
        limit: The most that may be spent, ``og("0.1")``; several amounts for several currencies, never added up. A call
            paid in a currency without a limit is refused.
        per: ``"run"`` (one invocation) or ``"thread"`` (all invocations of one ``thread_id``: kept in the agent's
            checkpoints, so it needs a checkpointer).
        exit_behavior: ``"error"`` raises; ``"end"`` ends the run with a message that says why.
        unknown_counts_as: What to put aside for a call whose price nobody signs (`Budget(unpriced=…)`). Without it,
            such a call is refused (``budget_unpriced``).

    Raises:
        ConfigError: no limit, one that is negative, two in one currency, or an unknown word.

    The agent raises:
        BudgetExceeded: nothing was sent; ``error.details`` has ``asked`` and ``left``.
        ConfigError: the call cannot be bounded (``budget_unpriced``, ``budget_unbounded``); nothing was sent.

    Example:
        ```python
        agent = create_agent(ChatZeroG(), tools, middleware=[ZeroGBudgetMiddleware(og("0.1"))])
        ```
    """

    state_schema = _BudgetState

    def __init__(
        self,
        limit: Amount | Sequence[Amount],
        *,
        per: Literal["run", "thread"] = "run",
        exit_behavior: Literal["error", "end"] = "error",
        unknown_counts_as: Amount | None = None,
    ) -> None:
        super().__init__()
        limits: list[Amount] = [limit] if isinstance(limit, Amount) else _listed(limit)
        if not limits or not all(isinstance(one, Amount) and one.units >= 0 for one in limits):
            raise ConfigError("limit must be an amount, 0 or more", code="bad_budget", hint='limit=og("0.1")')
        self._limits = {one.currency: one for one in limits}
        if len(self._limits) != len(limits):
            raise ConfigError("two limits in one currency", code="bad_budget", hint="pass one amount per currency")
        for name, word, allowed in (
            ("per", per, ("run", "thread")),
            ("exit_behavior", exit_behavior, ("error", "end")),
        ):
            if word not in allowed:
                raise ConfigError(f"{name}={word!r} is unknown", code="bad_budget", hint=f"use {', '.join(allowed)}")
        self._per = per
        self._exit_behavior = exit_behavior
        self._unknown = unknown_counts_as
        # A run that ends with an error, or is interrupted, writes no checkpoint of its last step: what it spent waits
        # here for what comes next in its thread.
        self._unsaved: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """One agent may have a budget per run and one per thread."""
        return f"{type(self).__name__}[{self._per}]"

    # state

    @property
    def _key(self) -> str:
        return f"zerog_{self._per}_spending"

    def before_agent(self, state: _BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """A new run begins, which a resumed one does not: what the last one spent is not its affair."""
        if self._per == "thread":
            if not get_config().get("configurable", {}).get(_CHECKPOINTER):
                raise ConfigError(
                    "a budget per thread is kept in the agent's checkpoints, and the agent has no checkpointer",
                    code="no_checkpointer",
                    hint='create_agent(…, checkpointer=…), or per="run"',
                )
            return None
        with self._lock:
            self._unsaved.pop(_thread_id(), None)
        return {"zerog_run_spending": self._purse(None), "zerog_run_spent": None}

    async def abefore_agent(self, state: _BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Async twin of `before_agent`."""
        return self.before_agent(state, runtime)

    def before_model(self, state: _BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Open the purse."""
        if state.get(self._key) is not None:
            return None
        return {self._key: self._begun(state)}

    async def abefore_model(self, state: _BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Async twin of `before_model`."""
        return self.before_model(state, runtime)

    def after_model(self, state: _BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Put the total into the checkpoint: a run may be interrupted, and be resumed in another process."""
        purse = self._purse_of(state)
        with self._lock:
            self._unsaved.pop(_thread_id(), None)
        return {f"zerog_{self._per}_spent": _plain_of(purse)}

    async def aafter_model(self, state: _BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Async twin of `after_model`."""
        return self.after_model(state, runtime)

    # calls

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        """Hold the call to the budget."""
        purse = self._purse_of(request.state)
        try:
            with self._holding(purse):
                return handler(request)
        except BudgetExceeded as refusal:
            return self._end(refusal, purse)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | AIMessage:
        """Async twin of `wrap_model_call`."""
        purse = self._purse_of(request.state)
        try:
            with self._holding(purse):
                return await handler(request)
        except BudgetExceeded as refusal:
            return self._end(refusal, purse)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Hold models inside a tool to the budget."""
        with self._holding(self._purse_of(request.state)):
            return handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Async twin of `wrap_tool_call`."""
        with self._holding(self._purse_of(request.state)):
            return await handler(request)

    def _purse_of(self, state: Any) -> Purse:
        purse = state.get(self._key)
        if isinstance(purse, Purse):
            return purse
        return self._begun(state)  # resumed inside a run: the live object was in no checkpoint

    def _begun(self, state: Any) -> Purse:
        with self._lock:
            unsaved = self._unsaved.pop(_thread_id(), None)
        return self._purse(unsaved or state.get(f"zerog_{self._per}_spent"))

    def _purse(self, before: Any) -> Purse:
        spent = {name: int(units) for name, units in (before or {}).get("spent", {}).items()}
        return Purse(self._limits, unpriced=self._unknown, per=self._per, spent=spent)

    @contextmanager
    def _holding(self, purse: Purse) -> Iterator[None]:
        try:
            with held_to(purse):
                yield
        finally:
            if thread := _thread_id():  # until the checkpoint has it
                with self._lock:
                    self._unsaved[thread] = _plain_of(purse)

    def _end(self, refusal: BudgetExceeded, purse: Purse) -> AIMessage:
        """The end of the run, if the budget refused and not one of the model's own."""
        if self._exit_behavior == "error" or not purse.refused(refusal):
            raise as_model_error(refusal)
        return AIMessage(
            f"Stopped: {refusal.message}.",
            response_metadata={"zerog_budget": _told(refusal)},
        )


def _listed(amounts: object) -> list[Amount]:
    return list(amounts) if isinstance(amounts, list | tuple) else []


def _told(refusal: BudgetExceeded) -> dict[str, str | None]:
    shown = {name: refusal.details.get(name) for name in ("asked", "left", "limit")}
    return {"code": refusal.code, **{name: None if value is None else str(value) for name, value in shown.items()}}


def _plain_of(purse: Purse) -> dict[str, Any]:
    """Plain data for a checkpoint; amounts are decimal strings."""
    return {"spent": {name: str(units) for name, units in purse.spent().items()}}


def _thread_id() -> str:
    return str(get_config().get("configurable", {}).get("thread_id", ""))
