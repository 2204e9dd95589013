"""What LangChain runs paid for, and what was proven of the answers: receipts with the ids of their runs."""

from __future__ import annotations

import html
import importlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook

from langchain_zerog._bridge import ACTIVE, Sink, ended, started
from zg_core.errors import ConfigError
from zg_core.frameworks.collected import Collected
from zg_core.receipts.runs import Step
from zg_core.receipts.totals import Total

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult

    from zg_core.money import Fee
    from zg_core.receipts.model import Receipt

__all__ = ["CachedReply", "RecordedCall", "Total", "ZeroGReceiptsHandler", "get_zerog_receipts"]

_MOST_STEPS = 100_000

# Once for the process: a hook cannot be taken away again, and LangChain looks at every hook in every call.
register_configure_hook(ACTIVE, inheritable=True)


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call that may have cost money, and the run it belongs to.

    Attributes:
        receipt: The live receipt: a verdict that is pending arrives in it later.
        run_id: LangChain's id of the model run; None for embeddings, which have no runs.
        parent_run_id: Id of the run around it.
        tags: Tags of the run.
        metadata: Metadata of the run.
    """

    receipt: Receipt
    run_id: UUID | None
    parent_run_id: UUID | None
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CachedReply:
    """A reply out of LangChain's cache: paid for by an earlier call, so it is in no total."""

    run_id: UUID
    receipt_id: str
    chat_id: str


class ZeroGReceiptsHandler(Collected, BaseCallbackHandler):
    """Keeps the receipt of every call of `ChatZeroG` that may have cost money.

    Pass it as a callback, or use `get_zerog_receipts`. It hears of calls in chains, agents, graphs, batches and event
    streams, with and without an event loop, and of those that LangChain reports no end of: broken-off streams,
    cancelled tasks, failed checks. Replies from LangChain's cache are in `cached`, not in the totals. Safe from many
    threads.

    Example:
        >>> handler = ZeroGReceiptsHandler()
        >>> handler
        ZeroGReceiptsHandler(no calls)
        >>> handler.spent("0G").amount
        Amount('0', '0G')
    """

    run_inline = True  # on an event loop, too, in the order of the calls

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[str, RecordedCall] = {}
        self._cached: dict[tuple[UUID, str], CachedReply] = {}
        self._outer: ZeroGReceiptsHandler | None = None
        self._steps: dict[UUID, Step] = {}

    # what LangChain and ChatZeroG call

    def on_zerog_receipt(
        self,
        receipt: Receipt,
        *,
        run_id: UUID | None = None,
        parent_run_id: UUID | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep the receipt of a call that has ended; the same receipt counts once."""
        call = RecordedCall(receipt, run_id, parent_run_id, tuple(tags or ()), dict(metadata or {}))
        with self._lock:
            self._calls.setdefault(receipt.id, call)
        if self._outer is not None:
            self._outer.on_zerog_receipt(
                receipt, run_id=run_id, parent_run_id=parent_run_id, tags=tags, metadata=metadata
            )

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,  # noqa: ARG002
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Note a step of the run: a chain, a graph or one of its nodes."""
        self._began(run_id, parent_run_id, "chain", serialized, kwargs)

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,  # noqa: ARG002
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Note a step of the run: a tool."""
        self._began(run_id, parent_run_id, "tool", serialized, kwargs)

    def on_retriever_start(
        self,
        serialized: dict[str, Any] | None,
        query: str,  # noqa: ARG002
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Note a step of the run: a retriever."""
        self._began(run_id, parent_run_id, "retriever", serialized, kwargs)

    def _began(
        self,
        run_id: UUID,
        parent_run_id: UUID | None,
        kind: str,
        serialized: dict[str, Any] | None,
        given: Mapping[str, Any],
    ) -> None:
        if len(self._steps) < _MOST_STEPS:
            name = given.get("name") or (serialized or {}).get("name") or kind
            self._steps[run_id] = Step(str(run_id), _text(parent_run_id) or "", str(name)[:200], kind)
        if self._outer is not None:
            self._outer._began(run_id, parent_run_id, kind, serialized, given)  # noqa: SLF001

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],  # noqa: ARG002
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Tell the model that is about to stream which run it is."""
        if (kwargs.get("invocation_params") or {}).get("_type") == "chat-zerog":
            started(Sink((self,), run_id, parent_run_id, tuple(tags or ()), metadata))
            self._began(run_id, parent_run_id, "model", serialized, kwargs)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:  # noqa: ARG002
        """Forget the run; what it cost is known from its receipt."""
        ended(run_id)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Note a reply whose receipt belongs to another run: it came out of the cache."""
        ended(run_id)
        for facts in _facts(response):
            receipt_id = str(facts["receipt_id"])
            with self._lock:
                known = self._calls.get(receipt_id)
                if known is None or known.run_id != run_id:
                    self._cached[run_id, receipt_id] = CachedReply(run_id, receipt_id, str(facts.get("chat_id", "")))
        if self._outer is not None:
            self._outer.on_llm_end(response, run_id=run_id, **kwargs)

    # what a user asks

    @property
    def calls(self) -> tuple[RecordedCall, ...]:
        """The calls with their runs, in the order in which they ended."""
        with self._lock:
            return tuple(self._calls.values())

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts of `calls`."""
        return tuple(call.receipt for call in self.calls)

    @property
    def steps(self) -> tuple[Step, ...]:
        """What ran, in the order in which it began, with the receipts of each: chains, tools, calls of models."""
        calls = self.calls
        of_runs: dict[UUID, list[str]] = {}
        for call in calls:
            if call.run_id is not None:
                of_runs.setdefault(call.run_id, []).append(call.receipt.id)
        found = {run: replace(step, receipts=tuple(of_runs.pop(run, ()))) for run, step in list(self._steps.items())}
        rest = [call for call in calls if call.run_id is None or call.run_id in of_runs]
        alone = (
            Step(
                _text(call.run_id) or call.receipt.id, _text(call.parent_run_id) or "", call.receipt.model,
                call.receipt.task, (call.receipt.id,),
            )
            for call in rest
        )  # fmt: skip
        return (*found.values(), *alone)

    @property
    def cached(self) -> tuple[CachedReply, ...]:
        """Replies that came out of LangChain's cache."""
        with self._lock:
            return tuple(self._cached.values())

    def to_pandas(self) -> Any:
        """The calls as a pandas table, one row each; fees are Python integers in the smallest unit.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            raise ConfigError(
                "to_pandas() needs pandas", code="missing_extra", hint="pip install 'zerog-integrations[notebooks]'"
            ) from None
        return pandas.DataFrame([_row(call) for call in self.calls], columns=list(_COLUMNS)).astype({"fee": object})

    def __len__(self) -> int:
        return len(self._calls)

    def __bool__(self) -> bool:
        return True  # an empty handler is a handler

    def __iter__(self) -> Iterator[Receipt]:
        return iter(self.receipts)

    def __deepcopy__(self, _memo: object) -> ZeroGReceiptsHandler:
        return self  # configurations are copied, what they report to is not

    def __copy__(self) -> ZeroGReceiptsHandler:
        return self

    def __repr__(self) -> str:
        said = [f"{total.model} at {total.provider}: {total}" for total in self.totals] or ["no calls"]
        if self.cached:
            said.append(f"{len(self.cached)} from the cache")
        return f"{type(self).__name__}({'; '.join(said)})"

    def _repr_html_(self) -> str:
        """A table for notebooks: the totals, then the newest hundred calls."""
        totals = ((t.provider, t.model, t.calls, t.amount if t.exact else str(t)) for t in self.totals)
        rows = (
            (r.outcome, r.provider, r.model, r.chat_id, str(r.verdict), _fee_text(r.fee)) for r in self.receipts[-100:]
        )
        return _table(("provider", "model", "calls", "paid"), totals) + _table(
            ("outcome", "provider", "model", "chat id", "verdict", "fee"), rows
        )


@contextmanager
def get_zerog_receipts() -> Iterator[ZeroGReceiptsHandler]:
    """Collect the receipts of everything that runs inside the `with` block.

    It reaches chains, agents, graphs, batches, event streams and tasks started inside; not threads that you start
    yourself, which begin with an empty context: pass the handler as a callback there, or run them in
    ``contextvars.copy_context()``. An outer block hears of what an inner one collects.

    Yields:
        The handler; it stays readable after the block.

    Example:
        >>> with get_zerog_receipts() as receipts:
        ...     len(receipts)
        0
    """
    handler = ZeroGReceiptsHandler()
    handler._outer = ACTIVE.get()  # noqa: SLF001
    token = ACTIVE.set(handler)
    try:
        yield handler
    finally:
        ACTIVE.reset(token)


def _facts(response: LLMResult) -> Iterator[Mapping[str, Any]]:
    for generations in response.generations:
        for generation in generations:
            metadata = getattr(getattr(generation, "message", None), "response_metadata", None) or {}
            facts = metadata.get("zerog")
            if isinstance(facts, dict) and facts.get("receipt_id"):
                yield facts


_COLUMNS = (
    "started_at", "outcome", "provider", "model", "chat_id", "verdict", "reason", "fee", "unit", "currency", "exact",
    "prompt_tokens", "completion_tokens", "seconds", "run_id", "parent_run_id", "receipt_id",
)  # fmt: skip


def _row(call: RecordedCall) -> tuple[Any, ...]:
    receipt, fee, usage = call.receipt, call.receipt.fee, call.receipt.usage
    return (
        receipt.started_at, receipt.outcome, receipt.provider, receipt.model, receipt.chat_id,
        str(receipt.verdict.status), str(receipt.verdict.reason), fee.amount.units, fee.amount.unit,
        fee.amount.currency, fee.exact, usage.prompt_tokens if usage else None,
        usage.completion_tokens if usage else None, receipt.seconds, _text(call.run_id), _text(call.parent_run_id),
        receipt.id,
    )  # fmt: skip


def _text(run_id: UUID | None) -> str | None:
    return None if run_id is None else str(run_id)


def _fee_text(fee: Fee) -> str:
    return str(fee.amount) if fee.exact else f"not exact ({fee.reason})"


def _table(names: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
