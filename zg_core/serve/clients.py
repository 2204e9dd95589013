"""The clients that answer: one for each model, task and budget; the one place where the server makes them.

Callers with budgets of their own have clients of their own, because a budget is a client's; the counters behind them
live in the store, so that an idle client can go at any time.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zg_core.client import AsyncChatClient
from zg_core.errors import ModelNotServed
from zg_core.serve.settings import ANY, budget_of
from zg_core.shown.escaping import line
from zg_core.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zg_core.backends.base import Service
    from zg_core.receipts.model import Receipt
    from zg_core.serve.access import Caller
    from zg_core.serve.settings import Entry, ServeSettings
    from zg_core.tasks.base import Task

__all__ = ["Clients", "Lease"]

_NAMED_HERE = frozenset({"ZEROG_MODEL", "ZEROG_PROVIDER"})
"""What an entry says or leaves open is not filled in from the environment."""
_LONGEST = 500
_MOST = 64  # clients that are kept with their connections


@dataclass(slots=True)
class _Kept:
    client: AsyncChatClient
    users: int = 0


@dataclass(slots=True)
class Lease:
    """A client while a call uses it; leave it, and it may be closed."""

    client: AsyncChatClient
    _kept: _Kept = field(repr=False)

    def leave(self) -> None:
        """The call has ended."""
        self._kept.users -= 1


class Clients:
    """Makes clients as they are needed, and closes them.

    Args:
        settings: What is served.
        on_receipt: Told of the receipt of every request that left, and of whom it was for.
        on_verdict: Told when a background check has ended.
    """

    def __init__(
        self,
        settings: ServeSettings,
        *,
        on_receipt: Callable[[Receipt, Caller, Entry], None],
        on_verdict: Callable[[Receipt], None],
    ) -> None:
        self._settings = settings
        self._on_receipt = on_receipt
        self._on_verdict = on_verdict
        self._kept: OrderedDict[tuple[str, str, str, str], _Kept] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    def entry(self, model: str | None) -> Entry:
        """What answers for `model`.

        Raises:
            ModelNotServed: nothing does (HTTP 404).
        """
        entries = self._settings.entries
        if model is not None and len(model) > _LONGEST:  # it would be kept with its client
            raise ModelNotServed("no model has a name that long", hint="GET /v1/models lists them", status=404)
        if model is not None and model in entries and model != ANY:
            return entries[model]
        if ANY in entries and (model is not None or "provider" in entries[ANY].settings):
            return entries[ANY]
        if model is None and len(entries) == 1 and ANY not in entries:
            return next(iter(entries.values()))
        shown = ", ".join(sorted(map(line, entries))[:20])
        said = "the request names no model" if model is None else f"no model {line(model)[:100]!r} is served here"
        raise ModelNotServed(said, hint=f"ask for one of {shown}", status=404)

    def lease(self, entry: Entry, task: Task, caller: Caller, model: str | None = None) -> Lease:
        """The client for calls of `caller`; to be left when the call has ended.

        Args:
            entry: What answers.
            task: What is asked for.
            caller: Who asks.
            model: The model asked for, where the entry leaves it open: without routing, a client keeps to the provider
                that it has chosen for its first.

        Raises:
            ConfigError: the settings of the entry make none.
        """
        run = "" if caller.key is None else caller.key.run(datetime.now(UTC))
        fixed = entry.name != ANY or entry.settings.keys() & {"provider", "routing"}
        model = None if fixed else model
        name = entry.name, task.service_type, run, model or ""
        kept = self._kept.get(name)
        if kept is None:
            kept = self._kept[name] = _Kept(self._make(entry, task.service_type, caller, run, model))
        self._kept.move_to_end(name)
        kept.users += 1
        self._shrink()
        return Lease(kept.client, kept)

    def _make(self, entry: Entry, service_type: str, caller: Caller, run: str, model: str | None) -> AsyncChatClient:
        allowance = None if caller.key is None else caller.key.allowance
        return AsyncChatClient(
            **{**entry.settings, **({} if model is None else {"model": model})},
            environ={name: value for name, value in os.environ.items() if name not in _NAMED_HERE},
            service_type=service_type,
            store=Store.open(self._settings.store),
            budget=budget_of(self._settings.budget, allowance, run),
            on_receipt=lambda receipt: self._on_receipt(receipt, caller, entry),
            on_verdict=self._on_verdict,
        )

    def check(self, tasks: Iterable[Task], caller: Caller) -> None:
        """Make the client of every entry once, so that what is wrong with the settings is said at the start.

        Raises:
            ConfigError: a setting is missing or malformed.
        """
        task = next(iter(tasks))
        for entry in self._settings.entries.values():
            self.lease(entry, task, caller).leave()

    async def listing(self, task: Task, caller: Caller) -> list[dict[str, Any]]:
        """The models that can be asked for, as ``/v1/models`` lists them.

        Raises:
            ChainError: the chain cannot be read.
        """
        named: dict[str, dict[str, Any]] = {}
        for entry in self._settings.entries.values():
            if entry.name == ANY:
                continue
            named[entry.name] = {"id": entry.name, "object": "model", "created": 0, "owned_by": "zerog"}
        if (others := self._settings.entries.get(ANY)) is not None:
            for service in await self.services(task, caller, others):
                kinds, provider = others.settings.get("kinds"), others.settings.get("provider")
                if service.kind in (kinds or (service.kind,)) and provider in (None, service.provider):
                    one = {"id": service.model, "object": "model", "created": service.record.get("updated_at", 0)}
                    named.setdefault(service.model, {**one, "owned_by": service.provider})
        return list(named.values())

    async def services(self, task: Task, caller: Caller, entry: Entry | None = None) -> list[Service]:
        """Every service on the chain of the first entry, or of `entry`.

        Raises:
            ChainError: the chain cannot be read.
        """
        lease = self.lease(entry or next(iter(self._settings.entries.values())), task, caller)
        try:
            return await lease.client.services()
        finally:
            lease.leave()

    def _shrink(self) -> None:
        """Close clients that nobody uses, those first that were not used for longest."""
        for name in [name for name, kept in self._kept.items() if not kept.users]:
            if len(self._kept) <= _MOST:
                return
            task = asyncio.get_running_loop().create_task(self._kept.pop(name).client.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Finish background checks and writes, and close every connection."""
        kept, self._kept = self._kept, OrderedDict()
        await asyncio.gather(*self._closing, *(each.client.close() for each in kept.values()), return_exceptions=True)
