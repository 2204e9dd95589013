"""Auto-funding: keeps sub-accounts filled, within limits, once it is started. Off until then.

The rule (0g-direct §7): what the provider has not settled yet, plus a target, less what the sub-account holds; if that
is more than nothing, at least 1 0G is transferred. One look at a time for each sub-account, in this process and in all
that share its store; nothing is transferred beyond the limits. What was handed to a node counts, whatever it says
afterwards, and the gas that was signed for it counts by itself; while one transfer has no clear end, none is added.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from zg_core.backends.direct.money.accounts import MINIMUM_ACCOUNT, Accounts, address, spendable
from zg_core.backends.direct.money.unsettled import unsettled_fee
from zg_core.budget import Budget, Spending
from zg_core.chain.flights import Handed
from zg_core.errors import ConfigError, ProviderUnavailable, ZeroGError
from zg_core.holders import holder, life_of
from zg_core.http.timeouts import is_seconds
from zg_core.http.transport import run
from zg_core.money import Amount, og
from zg_core.progress import tell
from zg_core.shown.tracebacks import forgetful

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from types import TracebackType

    from zg_core.backends.direct.money.broker import AsyncBroker, Broker
    from zg_core.chain.transactions import TransactionResult
    from zg_core.contracts.abi import Account
    from zg_core.http.transport import Transport
    from zg_core.store import Store
    from zg_core.types import ServiceRecord

__all__ = ["AsyncFunder", "AutoFunding", "Funder"]

logger = logging.getLogger(__name__)

# A look can take as long as two transactions (one whose end was unclear, and the next), plus the reads around them.
_READS_SECONDS = 60.0
# A transfer that a node says has done nothing.
_ENDED = ("reverted", "nonce_taken")


@dataclass(frozen=True, slots=True)
class AutoFunding:
    """How much may be moved from the ledger to sub-accounts without asking, and when.

    Attributes:
        max_total: Most that is transferred in all, as long as the funder lives.
        max_per_provider: Most that is transferred to one provider, as long as the funder lives.
        target: What a sub-account should hold beyond unsettled fees; providers keep 1 0G of it in reserve.
        interval: Seconds between two looks.
        max_gas: Most that gas for transfers may cost, as long as the funder lives; counted as it was signed for, and
            paid by the wallet. The cap of a single one is ``Sending(max_gas_cost=…)``.
        budget: Limits that outlive the funder and are shared by all who share its store, in counters of their own
            beside those of calls (`zg_core.budget.Spending.reserve_transfer`).

    Raises:
        ConfigError: an amount is not positive, or the target is too small to be served.

    Example:
        >>> AutoFunding(max_total=og("10"), max_per_provider=og("5")).target
        Amount('2', '0G')
    """

    max_total: Amount
    max_per_provider: Amount
    target: Amount = field(default_factory=lambda: og("2"))
    interval: float = 30.0
    budget: Budget | None = None
    max_gas: Amount = field(default_factory=lambda: og("1"))

    def __post_init__(self) -> None:
        for amount in (self.max_total, self.max_per_provider, self.target, self.max_gas):
            spendable(amount)
        if self.target < MINIMUM_ACCOUNT:
            raise ConfigError(
                f"a target of {self.target} is never served: providers keep {MINIMUM_ACCOUNT} in reserve",
                code="bad_target",
                hint='target=og("2") is usual',
            )
        budget: object = self.budget
        if budget is not None and not isinstance(budget, Budget):
            message = f"budget is a {type(budget).__name__}, not a Budget"
            raise ConfigError(message, code="bad_budget", hint='budget=Budget(per_day=og("5"))')
        if not is_seconds(self.interval) or not self.interval:
            raise ConfigError("interval must be positive", code="bad_interval", hint="seconds, for example 30")


@dataclass(frozen=True, slots=True)
class _Unclear:
    """A transfer of ours whose end is not known."""

    intention: str
    hold: str
    amount: int


class _Core:
    """One look at one sub-account, and what was spent so far; as coroutines."""

    def __init__(self, accounts: Accounts, transport: Transport, store: Store, plan: AutoFunding) -> None:
        self._accounts = accounts
        self._transport = transport
        self._store = store
        self._plan = plan
        self._lock = threading.Lock()
        self._spent: dict[str, int] = {}
        self._gas = 0
        self._unclear: dict[str, _Unclear] = {}
        budget, chain = plan.budget, accounts.network.chain_id
        self._spending = None if budget is None else Spending(budget, store, chain)

    @property
    def spent(self) -> dict[str, Amount]:
        with self._lock:
            return {provider: Amount(units) for provider, units in self._spent.items()}

    @property
    def gas(self) -> Amount:
        with self._lock:
            return Amount(self._gas)

    async def look(self, provider: str) -> TransactionResult | None:
        """Fund `provider` if it needs it; failures are told and logged, and never end the funder."""
        try:
            async with self._exclusive(provider) as free:
                if not free:
                    return None
                if (unclear := self._unclear.get(provider)) is not None:
                    await self._clear(provider, unclear)
                await self._clear_others(provider)
                return await self._fund(provider)
        except Exception as error:  # the next look, and those at other providers, must not suffer from this one
            known = isinstance(error, ZeroGError)
            reason, code = (error.message, error.code) if isinstance(error, ZeroGError) else (repr(error), "unexpected")
            hint = f" ({error.hint})" if isinstance(error, ZeroGError) and error.hint else ""
            tell(
                self._accounts.listener,
                "funding_failed",
                f"provider {provider} was not funded: {reason}{hint}",
                provider=provider,
                code=code,
                transaction=error.details.get("transaction") if isinstance(error, ZeroGError) else None,
            )
            logger.warning("auto-funding of %s failed: %s", provider, error, exc_info=not known)
            return None

    async def _clear(self, provider: str, unclear: _Unclear) -> None:
        """Wait on for a transfer whose end was unclear: nothing is added while it may still be mined.

        Raises:
            ChainError: it is still unclear.
        """
        try:
            result: TransactionResult | None = await self._accounts.resume(unclear.intention)
        except ZeroGError as error:
            # It did nothing, or another has its nonce; as a node can lie about that, it stays counted.
            if error.code not in (*_ENDED, "unknown_intention"):
                raise
            result = None
        self._unclear.pop(provider, None)
        if result is not None:
            if self._spending is not None:
                await self._transport.blocking(self._spending.settle_transfer, unclear.hold, unclear.amount)
            self._tell_funded(provider, unclear.amount, result)
            await self._accounts.note_change(provider)

    async def _clear_others(self, provider: str) -> None:
        """Wait on for what a funder that was killed, or the user, has left unclear at this sub-account.

        Raises:
            ChainError: it is still unclear.
        """
        for each in await self._accounts.pending_transfers(provider):
            if each.is_settled:
                continue
            try:
                await self._accounts.resume(each.id)
            except ZeroGError as error:
                if error.code not in (*_ENDED, "unknown_intention"):
                    raise
            await self._accounts.note_change(provider)

    def _tell_funded(self, provider: str, amount: int, result: TransactionResult) -> None:
        tell(
            self._accounts.listener,
            "funded",
            f"provider {provider} was funded with {Amount(amount)} ({result.hash})",
            provider=provider,
            amount=amount,
            transaction=result.hash,
        )

    async def _fund(self, provider: str) -> TransactionResult | None:
        accounts, plan = self._accounts, self._plan
        user = accounts.sender.wallet.address
        service, account = await accounts.chain.service_and_account(provider, user)
        unsettled = 0 if account is None else await self._unsettled(service, account)
        deficit = unsettled + plan.target.units - (0 if account is None else account.usable)
        if deficit <= 0:
            return None
        if not self._may_pay_gas(provider):
            return None
        amount = self._reserve(provider, max(deficit, MINIMUM_ACCOUNT.units))  # the minimum is the rule's, §7
        if amount < (MINIMUM_ACCOUNT.units if account is None else 1):
            self._release(provider, amount)
            tell(
                accounts.listener,
                "funding_limit",
                f"provider {provider} lacks {Amount(deficit)}, but the limit of auto-funding is reached",
                provider=provider,
                deficit=deficit,
            )
            return None
        held = await self._hold(provider, amount)
        handed = Handed()
        try:
            # Earlier ones have ended, or this would not be reached.
            result = await accounts.transfer(provider, Amount(amount), True, handed)
        except BaseException as error:
            # What a node was given counts, whatever it has said of it since.
            code, intention = (
                (error.code, error.details.get("intention")) if isinstance(error, ZeroGError) else ("", None)
            )
            moved = bool(handed.forms) or code == "transaction_pending"
            if moved and intention is not None and code not in _ENDED:
                self._unclear[provider] = _Unclear(intention, held, amount)
            if not moved:
                self._release(provider, amount)
            if self._spending is not None:
                if moved:
                    self._transport.aside(self._spending.settle_transfer, held, None)
                else:
                    self._transport.aside(self._spending.release_transfer, held)
            raise
        finally:
            with self._lock:
                self._gas += handed.most_gas.units
        if self._spending is not None:
            await self._transport.blocking(self._spending.settle_transfer, held, amount)
        self._tell_funded(provider, amount, result)
        return result

    def _may_pay_gas(self, provider: str) -> bool:
        """Whether the gas of one more transfer fits, at the most that it may cost."""
        most, used = self._accounts.sender.sending.max_gas_cost, self.gas
        if used + most <= self._plan.max_gas:
            return True
        tell(
            self._accounts.listener,
            "funding_limit",
            f"provider {provider} needs money, but gas may have cost {used} of {self._plan.max_gas} already, and the "
            f"next transfer may cost {most}",
            provider=provider,
            gas=used.units,
        )
        return False

    async def _hold(self, provider: str, amount: int) -> str:
        """Hold what is to be transferred in the budget, where there is one; the id of the hold."""
        if self._spending is None:
            return ""
        user = self._accounts.sender.wallet.address
        try:
            return await self._transport.blocking(self._spending.reserve_transfer, user, provider, amount)
        except BaseException:
            self._release(provider, amount)
            raise

    def _reserve(self, provider: str, wanted: int) -> int:
        """Count up to `wanted` as spent, as far as the limits allow; how much it was."""
        with self._lock:
            left = min(
                self._plan.max_total.units - sum(self._spent.values()),
                self._plan.max_per_provider.units - self._spent.get(provider, 0),
            )
            amount = max(0, min(wanted, left))
            self._spent[provider] = self._spent.get(provider, 0) + amount
            return amount

    def _release(self, provider: str, amount: int) -> None:
        with self._lock:
            self._spent[provider] -= amount

    async def _unsettled(self, service: ServiceRecord, account: Account) -> int:
        """What the provider has served and not yet charged, in neuron.

        Raises:
            ProviderUnavailable: it does not say, or says more than it could have served.
        """
        wallet = self._accounts.sender.wallet
        fee = await unsettled_fee(self._transport, wallet, service, account.generation)
        if fee > account.balance:
            raise ProviderUnavailable(
                f"{service.provider} names {Amount(fee)} of unsettled fees; the account has {Amount(account.balance)}",
                code="absurd_fee",
                hint="nothing was transferred; look at `zerog receipts audit`",
                retryable=False,
                provider=service.provider,
            )
        return fee

    @asynccontextmanager
    async def _exclusive(self, provider: str) -> AsyncIterator[bool]:
        """The right to fund this sub-account, held by one at a time among all who share the store; False if taken."""
        user = self._accounts.sender.wallet.address
        name = f"fund:{self._accounts.network.chain_id}:{user}:{provider}".lower()
        token = uuid.uuid4().hex
        free = await self._transport.blocking(self._take, name, token)
        try:
            yield free
        finally:
            if free:
                await self._transport.blocking(self._give, name, token)

    def _take(self, name: str, token: str) -> bool:
        seconds = 2 * self._accounts.sender.sending.timeout + _READS_SECONDS
        with self._store.transaction() as work:
            now = work.now()
            work.run("DELETE FROM leases WHERE name = :name AND expires < :now", name=name, now=now)
            row = work.first(
                "SELECT p.process AS process FROM leases l JOIN lease_processes p ON p.name = l.name"
                " AND p.holder = l.holder WHERE l.name = :name",
                name=name,
            )
            if row is not None and life_of(row["process"]) == "gone":  # killed in the middle of a look
                work.run("DELETE FROM leases WHERE name = :name", name=name)
            taken = work.run(
                "INSERT INTO leases (name, holder, expires) VALUES (:name, :token, :expires) ON CONFLICT DO NOTHING",
                name=name,
                token=token,
                expires=now + seconds,
            )
            if taken:
                work.run("DELETE FROM lease_processes WHERE name = :name", name=name)
                process = holder()
                work.run(
                    "INSERT INTO lease_processes VALUES (:name, :token, :process)",
                    name=name,
                    token=token,
                    process=process,
                )
            return bool(taken)

    def _give(self, name: str, token: str) -> None:
        with self._store.transaction() as work:
            work.run("DELETE FROM leases WHERE name = :name AND holder = :token", name=name, token=token)
            work.run("DELETE FROM lease_processes WHERE name = :name AND holder = :token", name=name, token=token)


@forgetful
class _Funder:
    def __init__(self, broker: Broker | AsyncBroker, plan: AutoFunding, providers: Iterable[str]) -> None:
        """Prepare; nothing is read or transferred before `start`.

        Args:
            broker: Whose ledger pays; its `on_progress` is told of every transfer with its hash.
            plan: The limits.
            providers: Which sub-accounts.

        Raises:
            ConfigError: a provider is no address, none is named, or the broker is read only.
        """
        self.plan = plan
        """The limits."""
        self.providers = tuple(dict.fromkeys(address(each, "provider") for each in providers))
        """Which sub-accounts."""
        if not self.providers:
            raise ConfigError("auto-funding needs a provider", code="no_target", hint="providers=['0x…']")
        most = broker.core.sender.sending.max_gas_cost  # refuses a read-only broker
        if most > plan.max_gas:
            raise ConfigError(
                f"one transfer may cost {most} of gas, and auto-funding may spend {plan.max_gas} on it in all",
                code="bad_amount",
                hint="give a larger AutoFunding(max_gas=…), or Broker(sending=Sending(max_gas_cost=…)) a lower cap",
            )
        self._core = _Core(broker.core, broker.transport, broker.store, plan)

    @property
    def spent(self) -> dict[str, Amount]:
        """What was transferred so far, by provider, or may have been."""
        return self._core.spent

    @property
    def gas(self) -> Amount:
        """Most that gas for it can have cost; the wallet pays that."""
        return self._core.gas


@forgetful
class Funder(_Funder):
    """Auto-funding in a thread. ``with Funder(broker, plan, [provider]):`` starts and stops it.

    Example:
        >>> from zg_core.backends.direct.money.broker import Broker
        >>> broker = Broker(private_key="0x" + "11" * 32, environ={})
        >>> funder = Funder(broker, AutoFunding(max_total=og("4"), max_per_provider=og("4")), ["0x" + "22" * 20])
        >>> funder.running, funder.spent
        (False, {})
    """

    def __init__(self, broker: Broker, plan: AutoFunding, providers: Iterable[str]) -> None:
        super().__init__(broker, plan, providers)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether it looks after the sub-accounts now."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def start(self) -> Self:
        """Look at once, then every `interval` seconds; again is no error."""
        with self._guard:
            if not self.running:
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._work, args=(self._stop,), name="zerog-funding", daemon=True
                )
                self._thread.start()
        return self

    def look(self) -> None:
        """Look at every sub-account now, in this thread."""
        for provider in self.providers:
            run(self._core.look(provider))

    def stop(self) -> None:
        """Stop; a transfer that is on its way is waited for."""
        with self._guard:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _work(self, stop: threading.Event) -> None:
        while not stop.is_set():
            for provider in self.providers:
                if stop.is_set():
                    return
                try:
                    run(self._core.look(provider))
                except Exception:  # a bug or a full disk must not end the funder silently
                    logger.exception("auto-funding of %s failed", provider)
            stop.wait(self.plan.interval)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@forgetful
class AsyncFunder(_Funder):
    """Auto-funding as a task of the running event loop. ``async with AsyncFunder(…):`` starts and stops it."""

    def __init__(self, broker: AsyncBroker, plan: AutoFunding, providers: Iterable[str]) -> None:
        super().__init__(broker, plan, providers)
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    @property
    def running(self) -> bool:
        """See `Funder.running`."""
        return self._task is not None and not self._task.done()

    def start(self) -> Self:
        """See `Funder.start`; needs a running event loop."""
        if not self.running:
            self._stop = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._work(self._stop))
        return self

    async def look(self) -> None:
        """See `Funder.look`."""
        for provider in self.providers:
            await self._core.look(provider)

    async def stop(self) -> None:
        """See `Funder.stop`."""
        self._stop.set()
        task, self._task = self._task, None
        if task is not None:
            await task

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for provider in self.providers:
                if stop.is_set():
                    return
                try:
                    await self._core.look(provider)
                except Exception:
                    logger.exception("auto-funding of %s failed", provider)
            try:
                await asyncio.wait_for(stop.wait(), self.plan.interval)
            except TimeoutError:
                continue

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
