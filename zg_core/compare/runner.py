"""Running a comparison: the same prompts to several targets at once, within a budget, each finished call kept."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from zg_core.backends.direct.money.broker import AsyncBroker
from zg_core.budget import Budget
from zg_core.client import AsyncChatClient
from zg_core.compare.cache import Cache, default_directory
from zg_core.compare.inputs import Prompt, by_name, choose
from zg_core.compare.plan import Plan, make_plan
from zg_core.compare.progress import Bar
from zg_core.compare.result import Comparison
from zg_core.compare.rows import Row
from zg_core.errors import BudgetExceeded, ConfigError, ZeroGError
from zg_core.money import Amount
from zg_core.progress import tell
from zg_core.shown.tracebacks import clears_locals
from zg_core.verify.policy import Policy
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from zg_core.compare.inputs import Target
    from zg_core.compare.rows import Job
    from zg_core.progress import Listener
    from zg_core.receipts.model import Receipt
    from zg_core.types import ServiceRecord

__all__ = ["BudgetWarning", "acompare", "aestimate", "compare", "estimate", "run_plan"]

logger = logging.getLogger(__name__)
_T = TypeVar("_T")
_WHERE = ("network", "rpc_url", "ledger", "inference", "ca_file", "allow_private_providers", "environ")
_FIXED = {"provider", "model", "verify", "budget", "stream", "service_type", "on_progress"}
_DEFAULT: Any = object()
MAX_TOKENS = 256


class BudgetWarning(UserWarning):
    """A budget is too small for all calls of a comparison; says how far it gets."""


_OF_THE_POLICY = ("minimum", "kinds", "identity", "attest", "accept_models")


class _Record(Policy):
    """Checks every reply and raises nothing: what was found is in the row."""

    def enforce(self, receipt: Receipt, text: str = "") -> None:
        """Leave it to the reader of the table."""


@clears_locals
async def aestimate(
    targets: Iterable[str | Target | ServiceRecord] | str | Target | ServiceRecord | None,
    prompts: Iterable[Any],
    *,
    repeats: int = 1,
    budget: Amount | str | None = None,
    cache: str | Path | None = _DEFAULT,
    again: bool = False,
    max_tokens: int = MAX_TOKENS,
    parameters: Mapping[str, Any] | None = None,
    **options: Any,
) -> Plan:
    """Async twin of `estimate`."""
    _check(options, repeats=repeats, max_tokens=max_tokens)
    asked = [Prompt.of(value, number) for number, value in enumerate(_listed(prompts), start=1)]
    if not asked:
        raise ConfigError("nothing to compare: no prompt is given", code="bad_prompts", hint="prompts=[…]")
    backend = _backend(options)
    cap = _cap(budget, options.get("environ"), backend)
    if backend != "direct":
        choices = by_name(targets)
        own = {name: value for name, value in options.items() if name not in _OF_THE_POLICY}
        async with AsyncChatClient(model=choices[0].model, **own) as client:
            network = client.network
    else:
        where = {name: options[name] for name in _WHERE if name in options}
        async with AsyncBroker.read_only(**where) as broker:
            network = broker.network
            choices = choose(targets, await broker.services())
    return make_plan(
        choices,
        asked,
        network=network,
        repeats=repeats,
        parameters={**(parameters or {}), "max_tokens": max_tokens},
        budget=cap,
        cache=_known(cache, options.get("environ"), fleeting=backend != "direct" and network.name == "local"),
        again=again,
        way=" ".join(([] if backend == "direct" else [backend]) + (["sealed"] if options.get("sealed") else [])),
    )


@clears_locals
def estimate(
    targets: Iterable[str | Target | ServiceRecord] | str | Target | ServiceRecord | None,
    prompts: Iterable[Any],
    **options: Any,
) -> Plan:
    """What `compare` would do with the same arguments, and the most it can cost. Reads the chain and sends no prompt.

    Returns:
        The plan: ``plan.calls``, ``plan.most`` (`Amount`), ``plan.covered`` (calls that the budget pays for).

    Raises:
        ConfigError: no provider matches, no prompts, or a malformed argument.
        ChainError: the chain cannot be read.
    """
    return _drive(lambda: aestimate(targets, prompts, **options))


@clears_locals
async def acompare(
    targets: Iterable[str | Target | ServiceRecord] | str | Target | ServiceRecord | None,
    prompts: Iterable[Any],
    *,
    repeats: int = 1,
    concurrency: int = 4,
    budget: Amount | str | None = None,
    cache: str | Path | None = _DEFAULT,
    again: bool = False,
    max_tokens: int = MAX_TOKENS,
    parameters: Mapping[str, Any] | None = None,
    grader: Callable[[Prompt, str], bool] | None = None,
    progress: bool = False,
    on_progress: Listener | None = None,
    **options: Any,
) -> Comparison:
    """Async twin of `compare`."""
    if progress:
        on_progress = Bar(sys.stderr, on_progress)
    planned: dict[str, Any] = {"repeats": repeats, "budget": budget, "cache": cache, "again": again}
    plan = await aestimate(targets, prompts, max_tokens=max_tokens, parameters=parameters, **planned, **options)
    return await run_plan(plan, concurrency=concurrency, cache=cache, grader=grader, on_progress=on_progress, **options)


@clears_locals
def compare(
    targets: Iterable[str | Target | ServiceRecord] | str | Target | ServiceRecord | None,
    prompts: Iterable[Any],
    **options: Any,
) -> Comparison:
    """Send the same prompts to several providers or models, and tell what each call cost, took and proved.

    Calls are streamed, to see when the first piece comes, and made in turns: every target once, then every target
    again. A call that fails is a row with its error, and the others go on. Each call that ends is kept at once, so
    that the next run of the same pays for none of them again. It works in a notebook, too, whose event loop runs.

    Args:
        targets: Models, provider addresses, ``"ADDRESS/model"``, `Target` or `Service` objects; None takes every chat
            service on chain. A model stands for every provider that lists it. With another ``backend`` (among the
            options) these are names of models, such as ``"anthropic/claude-opus-5"``.
        prompts: Texts, lists of messages, or mappings with ``prompt`` or ``messages``, ``id`` and ``expected``.
        repeats: How often each prompt goes to each target.
        concurrency: Calls under way at once, over all targets.
        budget: The most that may be spent, an `Amount` or text in 0G (OpenGradient: an amount of OPG); default
            ``ZEROG_MAX_SPEND``. It is a `Budget` of this run: each call is held at its upper bound until its fee is
            known, and one that does not fit is not sent. Only the local network does without.
        cache: Directory of finished calls; by default ``compare`` beside the command line's store, None keeps nothing.
        again: Make those known calls again that ended in an error.
        max_tokens: Longest answer, in tokens; with the prices on chain it bounds what a call can cost.
        parameters: Further request parameters, such as ``{"temperature": 0}``.
        grader: Says whether an answer to a prompt is right. By default, where a prompt says what is ``expected``, an
            answer that contains it is.
        progress: Draw a progress bar on stderr.
        on_progress: Called with a `Progress`: ``planned``, ``budget_too_small``, ``call_done``.
        **options: For the clients, as in `AsyncChatClient`: ``network``, ``private_key``, ``rpc_url``, ``limits``,
            ``kinds``, ``timeout``, ``store``, …

    Returns:
        One row per call, with `Comparison.summary`, `Comparison.to_pandas` and `Comparison.plot`.

    Raises:
        ConfigError: no provider matches, no prompts, no budget on a real network, or a malformed argument.
        BudgetExceeded: the budget is too small for a single call; nothing was sent.
        ChainError: the chain cannot be read.

    Example:
        ```python
        result = compare(["local-chat-1", "local-chat-2"], ["What is the capital of France?"], budget="0.01")
        print(result.summary())
        ```
    """
    return _drive(lambda: acompare(targets, prompts, **options))


@clears_locals
async def run_plan(
    plan: Plan,
    *,
    concurrency: int = 4,
    cache: str | Path | None = _DEFAULT,
    grader: Callable[[Prompt, str], bool] | None = None,
    on_progress: Listener | None = None,
    **options: Any,
) -> Comparison:
    """Make the calls of a plan; arguments and errors as in `compare`."""
    _check(options, concurrency=concurrency)
    if plan.new and plan.budget is None and plan.network.name != "local" and plan.network.ledger:
        raise ConfigError(
            f"no budget is set, and the calls cost up to {plan.most}",
            code="no_budget",
            hint='budget="0.1" (in 0G) or ZEROG_MAX_SPEND: the most that may be spent',
        )
    tell(on_progress, "planned", str(plan), calls=plan.calls, new=len(plan.new), most=plan.most, budget=plan.budget)
    if plan.new and not plan.enough:
        if plan.covered == 0:
            raise BudgetExceeded(
                f"{plan.shortfall()}; nothing was sent",
                code="budget_exceeded",
                hint=f"budget={str(plan.most).split()[0]!r} is enough for all; or fewer prompts, or max_tokens=…",
            )
        tell(on_progress, "budget_too_small", plan.shortfall(), covered=plan.covered, most=plan.most)
        warnings.warn(plan.shortfall(), BudgetWarning, stacklevel=2)
    fleeting = _backend(options) != "direct" and plan.network.name == "local"
    kept = _known(cache, options.get("environ"), fleeting=fleeting)
    if kept is not None and plan.new:
        kept.check()
    rows = await _Run(plan, kept, on_progress, options).rows(concurrency)
    return Comparison(rows, grader=grader, prompts=[job.prompt for job in plan.jobs])


class _Run:
    """One run of a plan."""

    def __init__(self, plan: Plan, cache: Cache | None, listener: Listener | None, options: Mapping[str, Any]) -> None:
        self._plan = plan
        self._cache = cache
        self._listener = listener
        demanded: dict[str, Any] = {name: options.get(name) for name in _OF_THE_POLICY}
        self._policy = _Record(**demanded)
        self._options = {name: value for name, value in options.items() if name not in _OF_THE_POLICY}
        self._budget = (
            None if plan.budget is None else _budget_of(plan, plan.budget, routed=_backend(options) == "router")
        )
        self._clients: dict[str, AsyncChatClient] = {}
        self._rows: dict[int, Row] = {}

    async def rows(self, concurrency: int) -> list[Row]:
        """All rows, in the order of the plan."""
        waiting: deque[int] = deque()
        for number, job in enumerate(self._plan.jobs):
            if job.known is None:
                waiting.append(number)
            else:
                self._done(number, job.known)
        async with AsyncExitStack() as stack:
            for job in self._plan.new:
                if job.choice.name not in self._clients:
                    service = job.choice.service
                    client = AsyncChatClient(
                        provider=service.provider or None,
                        model=job.choice.model,
                        verify=self._policy,
                        budget=self._budget,
                        **self._options,
                    )
                    self._clients[job.choice.name] = await stack.enter_async_context(client)
            await asyncio.gather(*map(_greet, self._clients.values()))
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(waiting))):
                    group.create_task(self._work(waiting))
        return [self._rows[number] for number in range(len(self._plan.jobs))]

    async def _work(self, waiting: deque[int]) -> None:
        while waiting:
            number = waiting.popleft()
            job = self._plan.jobs[number]
            self._done(number, await self._call(job))

    def _done(self, number: int, row: Row) -> None:
        self._rows[number] = row
        cost = "" if row.fee is None else f", {row.fee}"
        tell(
            self._listener,
            "call_done",
            f"{len(self._rows)} of {self._plan.calls}: {row.target}: {row.error or row.verdict}{cost}",
            done=len(self._rows),
            total=self._plan.calls,
            failed=sum(1 for one in self._rows.values() if one.error),
            row=row,
        )

    async def _call(self, job: Job) -> Row:
        if job.most is None and self._budget is not None and not job.choice.by_name:
            message = f"the price of {job.choice.name} is not on chain, so a budget cannot hold it"
            return Row.of(job, error="price_unknown", message=message)
        row = await self._ask(job)
        if self._cache is not None and row.receipt is not None:
            await asyncio.to_thread(self._cache.put, job.key, row.kept())
        return row

    async def _ask(self, job: Job) -> Row:
        stream = self._clients[job.choice.name].stream(job.payload)
        clock, text = _Clock(), []
        error = message = ""
        try:
            async with stream:
                async for event in stream:
                    piece, anything = _piece(event)
                    clock.saw(anything)
                    text.append(piece)
        except ZeroGError as problem:
            error, message = problem.code, str(problem)
            receipt = stream.receipt or problem.receipt
        except Exception as problem:  # whatever it is, the other calls are paid for and go on
            logger.exception("a call to %s failed", job.choice.name)
            error, message, receipt = "internal", f"{type(problem).__name__}: {problem}", stream.receipt
        else:
            receipt = stream.receipt
            if receipt is not None and receipt.verdict.status is Status.FAILED:
                error, message = str(receipt.verdict.reason), receipt.verdict.explain()
        if receipt is not None and receipt.outcome == "refused":
            receipt = None  # nothing was answered: it is asked again the next time
        first = None if receipt is None else clock.first_token(receipt)
        return Row.of(job, answer="".join(text), receipt=receipt, first_token=first, error=error, message=message)


class _Clock:
    """When the first event and the first piece of an answer came.

    The receipt knows how long the first byte took from sending; from there to the first piece is measured here.
    """

    def __init__(self) -> None:
        self._event: float | None = None
        self._token: float | None = None

    def saw(self, anything: bool) -> None:
        now = time.monotonic()
        if self._event is None:
            self._event = now
        if anything and self._token is None:
            self._token = now

    def first_token(self, receipt: Receipt) -> float | None:
        if self._token is None or self._event is None or receipt.first_byte_seconds is None:
            return None
        return receipt.first_byte_seconds + self._token - self._event


def _piece(event: Mapping[str, Any]) -> tuple[str, bool]:
    """The text that an event brings, and whether it brings anything of an answer."""
    text, anything = "", False
    for choice in event.get("choices") or ():
        delta = choice.get("delta") if isinstance(choice, dict) else None
        if not isinstance(delta, dict):
            continue
        content = delta.get("content")
        text += content if isinstance(content, str) else ""
        anything = anything or bool(content or delta.get("reasoning_content") or delta.get("tool_calls"))
    return text, anything


async def _greet(client: AsyncChatClient) -> None:
    """Open the connection and read what the chain holds, so that the first call is not slower than the others."""
    with suppress(ZeroGError):  # the calls will say what is wrong
        await client.model_info()


def _budget_of(plan: Plan, most: Amount, *, routed: bool) -> Budget:
    """What the calls may spend. One whose price nobody signs (the Router's) is held at its share of it."""
    smallest = Amount(1, most.currency)  # of nothing, which no budget can be, calls that cost nothing may still be made
    share = Amount(most.units // max(len(plan.new), 1), most.currency)
    return Budget(per_run=max(most, smallest), unpriced=max(share, smallest) if routed else None)


def _check(options: Mapping[str, Any], **numbers: int) -> None:
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            message = f"{name} is a whole number from 1, not {number!r}"
            raise ConfigError(message, code=f"bad_{name}", hint=f"{name}=1")
    if wrong := sorted(_FIXED & set(options)):
        raise ConfigError(f"a comparison sets {', '.join(wrong)} itself", code="bad_option", hint="leave it out")


def _backend(options: Mapping[str, Any]) -> str:
    """The name of the backend that is asked; ``direct`` is the one whose services are on 0G's chain."""
    environ = options.get("environ")
    said = options.get("backend") or (os.environ if environ is None else environ).get("ZEROG_BACKEND") or "direct"
    return str(said if isinstance(said, str) else said.name)


def _listed(prompts: Iterable[Any]) -> list[Any]:
    return [prompts] if isinstance(prompts, str | Mapping | Prompt) else list(prompts)


def _cap(budget: Amount | str | None, environ: Mapping[str, str] | None, backend: str) -> Amount | None:
    value = budget
    if value is None:
        value = (os.environ if environ is None else environ).get("ZEROG_MAX_SPEND") or None
    if value is None:
        return None
    amount = value if isinstance(value, Amount) else Amount(value)
    if (amount.currency != "0G" and backend == "direct") or amount.units < 0:
        raise ConfigError(f"a budget is an amount of 0G, not {amount}", code="bad_budget", hint='budget="0.1"')
    return amount


def _known(cache: str | Path | None, environ: Mapping[str, str] | None, *, fleeting: bool) -> Cache | None:
    """Where finished calls are. By name on a local network, `fleeting`, nothing tells one network's from the next's."""
    if cache is None or (fleeting and cache is _DEFAULT):
        return None
    return Cache(default_directory(environ) if cache is _DEFAULT else cache)


def _drive(make: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run a coroutine to its end, with a loop of its own even where one is running (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    box: dict[str, Any] = {}
    ready = threading.Event()

    async def inside() -> _T:
        box["loop"], box["task"] = asyncio.get_running_loop(), asyncio.current_task()
        ready.set()
        return await make()

    def work() -> None:
        try:
            box["result"] = asyncio.run(inside())
        except BaseException as error:  # noqa: BLE001 - raised again where the caller waits
            box["error"] = error
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="zerog-compare", daemon=True)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        ready.wait()
        if "task" in box:
            with suppress(RuntimeError):  # it has just ended
                box["loop"].call_soon_threadsafe(box["task"].cancel)
        thread.join()
        raise
    if "error" in box:
        raise box["error"]
    result: _T = box["result"]
    return result
