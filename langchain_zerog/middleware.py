"""Middleware for LangChain's agents: no tool runs on an unproven answer, and no run spends more than it may.

Needs ``langchain`` (`create_agent`), which the rest of `langchain_zerog` does not.

The first middleware in the list is the outermost. So the useful order is ``[ZeroGBudgetMiddleware(…),
ModelFallbackMiddleware(…), ZeroGVerificationMiddleware()]``: the fallback then sees an answer that failed its check as
an error and asks the next model, and the budget counts both calls.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

try:
    from langchain.agents.middleware.types import AgentMiddleware, AgentState, ModelResponse, PrivateStateAttr
    from langgraph.channels.untracked_value import UntrackedValue
except ImportError as error:
    raise ImportError("langchain_zerog.middleware needs langchain: pip install 'langchain>=1.0'") from error

from langchain_core.messages import AIMessage
from langgraph.config import get_config

from langchain_zerog._errors import as_model_error
from langchain_zerog._receipts import is_what_was_said, receipt_of
from langchain_zerog.callbacks import get_zerog_receipts
from zg_core.errors import BudgetExceeded, ConfigError, VerificationFailed, VerificationUnavailable, ZeroGError
from zg_core.money import Amount
from zg_core.verify.policy import Policy
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from langchain.agents.middleware.types import ExtendedModelResponse, ModelRequest, ToolCallRequest
    from langchain_core.messages import ToolMessage
    from langgraph.runtime import Runtime
    from langgraph.types import Command

    from zg_core.money import Fee
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
        if timeout <= 0:
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


@dataclass(slots=True)
class _Spending:
    """What a run or thread has spent; all amounts in smallest units by currency."""

    spent: dict[str, int] = field(default_factory=dict)
    dearest: dict[str, int] = field(default_factory=dict)
    unbounded: int = 0  # calls whose fee has no known bound
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, fee: Fee, unknown: Amount | None) -> None:
        """Count a fee: exact ones as they are, others at their upper bound."""
        currency, units = fee.amount.currency, fee.most
        with self._lock:
            if units is None:
                if unknown is None or unknown.currency != currency:
                    self.unbounded += 1
                    return
                units = unknown.units
            self.spent[currency] = self.spent.get(currency, 0) + units
            self.dearest[currency] = max(self.dearest.get(currency, 0), units)

    def to_state(self) -> dict[str, Any]:
        """Plain data for a checkpoint; amounts are decimal strings."""
        with self._lock:
            return {
                "spent": {name: str(units) for name, units in self.spent.items()},
                "dearest": {name: str(units) for name, units in self.dearest.items()},
                "unbounded": self.unbounded,
            }

    @classmethod
    def of_state(cls, state: dict[str, Any] | None) -> _Spending:
        """From what `to_state` made."""
        if state is None:
            return cls()
        spent, dearest = ({name: int(units) for name, units in state[key].items()} for key in ("spent", "dearest"))
        return cls(spent, dearest, state["unbounded"])


# Where LangGraph tells nodes of the checkpointer; there is no public name.
_CHECKPOINTER = "__pregel_checkpointer"


class _BudgetState(AgentState[Any]):
    # The live objects stay out of checkpoints; a thread's totals go in as plain data.
    zerog_run_spending: NotRequired[Annotated[Any, UntrackedValue, PrivateStateAttr]]
    zerog_thread_spending: NotRequired[Annotated[Any, UntrackedValue, PrivateStateAttr]]
    zerog_thread_spent: NotRequired[Annotated[dict[str, Any], PrivateStateAttr]]
    zerog_run_spent: NotRequired[Annotated[dict[str, Any] | None, PrivateStateAttr]]


class ZeroGBudgetMiddleware(AgentMiddleware[_BudgetState, Any, Any]):
    """Refuses the next model call of an agent when the budget would not suffice.

    It counts every call of `ChatZeroG` that ends inside the agent's model calls and tools: answered, failed and
    broken off, with retries and fallbacks if it is listed before them. Exact fees count as they are, others at their
    upper bound. The next call is taken to cost as much as the dearest one so far, so a run can exceed its limit by what
    one call costs more than all before it.

    Args:
        limit: The most that may be spent, ``og("0.1")``; several amounts for several currencies, which are never
            added up. A call paid in a currency without a limit is the last one.
        per: ``"run"`` (one invocation) or ``"thread"`` (all invocations of one ``thread_id``: kept in the agent's
            checkpoints, so it needs a checkpointer).
        exit_behavior: ``"error"`` raises; ``"end"`` ends the run with a message that says why.
        unknown_counts_as: What a call counts as whose fee has no known bound, such as one that was sent and not
            answered. Without it such a call is the last one: nobody can say what is left.

    Raises:
        ConfigError: no limit, one that is negative, two in one currency, or an unknown word.

    The agent raises:
        BudgetExceeded: nothing was sent; ``error.details`` has ``asked`` and ``left``.

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
        return {"zerog_run_spending": _Spending(), "zerog_run_spent": None}

    async def abefore_agent(self, state: _BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Async twin of `before_agent`."""
        return self.before_agent(state, runtime)

    def before_model(self, state: _BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Begin to count."""
        if state.get(self._key) is not None:
            return None
        return {self._key: self._begun(state)}

    async def abefore_model(self, state: _BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Async twin of `before_model`."""
        return self.before_model(state, runtime)

    def after_model(self, state: _BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Put the total into the checkpoint: a run may be interrupted, and be resumed in another process."""
        spending = self._spending(state)
        with self._lock:
            self._unsaved.pop(_thread_id(), None)
        return {f"zerog_{self._per}_spent": spending.to_state()}

    async def aafter_model(self, state: _BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Async twin of `after_model`."""
        return self.after_model(state, runtime)

    # calls

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        """Refuse the call, or count what it costs."""
        spending = self._spending(request.state)
        if (refusal := self._refusal(spending)) is not None:
            return self._end(refusal)
        with self._counting(spending):
            return handler(request)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | AIMessage:
        """Async twin of `wrap_model_call`."""
        spending = self._spending(request.state)
        if (refusal := self._refusal(spending)) is not None:
            return self._end(refusal)
        with self._counting(spending):
            return await handler(request)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Count what models inside a tool cost."""
        with self._counting(self._spending(request.state)):
            return handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Async twin of `wrap_tool_call`."""
        with self._counting(self._spending(request.state)):
            return await handler(request)

    def _spending(self, state: Any) -> _Spending:
        spending = state.get(self._key)
        if isinstance(spending, _Spending):
            return spending
        return self._begun(state)  # resumed inside a run: the live object was in no checkpoint

    def _begun(self, state: Any) -> _Spending:
        with self._lock:
            unsaved = self._unsaved.pop(_thread_id(), None)
        return _Spending.of_state(unsaved or state.get(f"zerog_{self._per}_spent"))

    @contextmanager
    def _counting(self, spending: _Spending) -> Iterator[None]:
        with get_zerog_receipts() as receipts:
            try:
                yield
            finally:
                for receipt in receipts.receipts:
                    if receipt.outcome != "refused":
                        spending.add(receipt.fee, self._unknown)
                if thread := _thread_id():  # until the checkpoint has it
                    with self._lock:
                        self._unsaved[thread] = spending.to_state()

    def _refusal(self, spending: _Spending) -> BudgetExceeded | None:
        """Why the next call must not be made; None if it may."""
        if spending.unbounded:
            return BudgetExceeded(
                f"{spending.unbounded} call(s) of this {self._per} may have cost more than anybody can say, "
                "so what is left of the budget is not known",
                code="fee_unknown",
                hint="pass unknown_counts_as=og(…) to count such calls at an amount of yours",
                asked=None,
                left=None,
            )
        for currency, units in spending.spent.items():
            if units and currency not in self._limits:
                return BudgetExceeded(
                    f"a call of this {self._per} was paid in {currency}, for which there is no limit",
                    code="currency_not_budgeted",
                    hint=f'pass a limit for each currency: limit=[…, Amount("1", "{currency}")]',
                    asked=None,
                    left=None,
                )
        for currency, limit in self._limits.items():
            asked = Amount(spending.dearest.get(currency, 0), currency)
            left = limit - Amount(spending.spent.get(currency, 0), currency)
            if left.units <= 0 or asked > left:
                return BudgetExceeded(
                    f"the next model call may cost {asked}, and {left} of {limit} per {self._per} is left",
                    hint="raise limit=…",
                    asked=asked,
                    left=left,
                    limit=limit,
                )
        return None

    def _end(self, refusal: BudgetExceeded) -> AIMessage:
        if self._exit_behavior == "error":
            raise as_model_error(refusal)
        return AIMessage(
            f"Stopped: {refusal.message}.",
            response_metadata={"zerog_budget": {"code": refusal.code, **_plain(refusal.details)}},
        )


def _listed(amounts: object) -> list[Amount]:
    return list(amounts) if isinstance(amounts, list | tuple) else []


def _plain(details: dict[str, Any]) -> dict[str, str | None]:
    return {name: None if value is None else str(value) for name, value in details.items()}


def _thread_id() -> str:
    return str(get_config().get("configurable", {}).get("thread_id", ""))
