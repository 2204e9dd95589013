"""Auto-funding: keeps sub-accounts filled, within limits, once it is started. Off until then.

The rule (0g-direct §7): what the provider has not settled yet, plus a target, less what the sub-account holds; if that
is more than nothing, at least 1 0G is transferred. One look at a time for each sub-account, in this process and in all
that share its store; nothing is transferred beyond the limits.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from zg_core.backends.direct.money.accounts import MINIMUM_ACCOUNT, Accounts, address, spendable
from zg_core.backends.direct.session import make_token
from zg_core.budget import Budget, Spending
from zg_core.config import SecretHeaders, check_url
from zg_core.errors import (
    ConfigError,
    InsufficientFunds,
    ProviderUnavailable,
    TransactionReverted,
    WrongChain,
    ZeroGError,
)
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import read_all
from zg_core.http.provider_requests import provider_request
from zg_core.http.timeouts import Timeouts
from zg_core.http.transport import run
from zg_core.jsontext import parse_json
from zg_core.money import Amount, og
from zg_core.progress import tell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from types import TracebackType

    from zg_core.backends.direct.contracts.abi import Account
    from zg_core.backends.direct.money.broker import AsyncBroker, Broker
    from zg_core.chain.transactions import TransactionResult
    from zg_core.http.transport import Transport
    from zg_core.store import Store
    from zg_core.types import Service
    from zg_core.wallet import Wallet

__all__ = ["AsyncFunder", "AutoFunding", "Funder"]

logger = logging.getLogger(__name__)

_TIMEOUTS = Timeouts(connect=10.0, read=15.0)
_MAX_BYTES = 64 * 1024
# Longer than a look with its transaction can take (transactions.Sending.timeout, plus the reads around it).
_LEASE_SECONDS = 400.0
# Nothing was sent, or what was sent can no longer be mined.
_NOT_SENT = frozenset({"node_refused", "nonce_contention", "nonce_taken", "self_as_provider"})


@dataclass(frozen=True, slots=True)
class AutoFunding:
    """How much may be moved from the ledger to sub-accounts without asking, and when.

    Attributes:
        max_total: Most that is transferred in all, as long as the funder lives.
        max_per_provider: Most that is transferred to one provider, as long as the funder lives.
        target: What a sub-account should hold beyond unsettled fees; providers keep 1 0G of it in reserve.
        interval: Seconds between two looks.
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

    def __post_init__(self) -> None:
        for amount in (self.max_total, self.max_per_provider, self.target):
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
        if self.interval <= 0:
            raise ConfigError("interval must be positive", code="bad_interval", hint="seconds, for example 30")


def _nothing_moved(error: BaseException) -> bool:
    """Whether `error` proves that a transfer did not take place; any other may come after it was sent, or mined."""
    return isinstance(error, (InsufficientFunds, TransactionReverted, WrongChain)) or (
        isinstance(error, ZeroGError) and error.code in _NOT_SENT
    )


class _Core:
    """One look at one sub-account, and what was spent so far; as coroutines."""

    def __init__(self, accounts: Accounts, transport: Transport, store: Store, plan: AutoFunding) -> None:
        self._accounts = accounts
        self._transport = transport
        self._store = store
        self._plan = plan
        self._lock = threading.Lock()
        self._spent: dict[str, int] = {}
        budget, chain = plan.budget, accounts.network.chain_id
        self._spending = None if budget is None else Spending(budget, store, chain)

    @property
    def spent(self) -> dict[str, Amount]:
        with self._lock:
            return {provider: Amount(units) for provider, units in self._spent.items()}

    async def look(self, provider: str) -> TransactionResult | None:
        """Fund `provider` if it needs it; failures are told and logged, and never end the funder."""
        try:
            async with self._exclusive(provider) as free:
                return await self._fund(provider) if free else None
        except ZeroGError as error:
            hint = f" ({error.hint})" if error.hint else ""
            tell(
                self._accounts.listener,
                "funding_failed",
                f"provider {provider} was not funded: {error.message}{hint}",
                provider=provider,
                code=error.code,
                transaction=error.details.get("transaction"),
            )
            logger.warning("auto-funding of %s failed: %s", provider, error)
            return None

    async def _fund(self, provider: str) -> TransactionResult | None:
        accounts, plan = self._accounts, self._plan
        user = accounts.sender.wallet.address
        service, account = await accounts.chain.service_and_account(provider, user)
        unsettled = 0 if account is None else await self._unsettled(service, account)
        deficit = unsettled + plan.target.units - (0 if account is None else account.usable)
        if deficit <= 0:
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
        try:
            result = await accounts.transfer(provider, Amount(amount))
        except BaseException as error:
            # What may still be mined counts as spent.
            moved = not _nothing_moved(error)
            if not moved:
                self._release(provider, amount)
            if self._spending is not None:
                if moved:
                    self._transport.aside(self._spending.settle_transfer, held, None)
                else:
                    self._transport.aside(self._spending.release_transfer, held)
            raise
        if self._spending is not None:
            await self._transport.blocking(self._spending.settle_transfer, held, amount)
        tell(
            accounts.listener,
            "funded",
            f"provider {provider} was funded with {Amount(amount)} ({result.hash})",
            provider=provider,
            amount=amount,
            transaction=result.hash,
        )
        return result

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

    async def _unsettled(self, service: Service, account: Account) -> int:
        """What the provider has served and not yet charged, in neuron."""
        wallet = self._accounts.sender.wallet
        return await unsettled_fee(self._transport, wallet, service, account.generation)

    @asynccontextmanager
    async def _exclusive(self, provider: str) -> AsyncIterator[bool]:
        """The right to fund this sub-account, held by one at a time among all who share the store; False if taken."""
        user = self._accounts.sender.wallet.address
        name = f"fund:{self._accounts.network.chain_id}:{user}:{provider}".lower()
        holder = uuid.uuid4().hex
        free = await self._transport.blocking(self._take, name, holder)
        try:
            yield free
        finally:
            if free:
                await self._transport.blocking(self._give, name, holder)

    def _take(self, name: str, holder: str) -> bool:
        now = time.time()
        with self._store.transaction() as work:
            work.run("DELETE FROM leases WHERE name = :name AND expires < :now", name=name, now=now)
            return bool(
                work.run(
                    "INSERT INTO leases (name, holder, expires) VALUES (:name, :holder, :expires)"
                    " ON CONFLICT DO NOTHING",
                    name=name,
                    holder=holder,
                    expires=now + _LEASE_SECONDS,
                )
            )

    def _give(self, name: str, holder: str) -> None:
        with self._store.transaction() as work:
            work.run("DELETE FROM leases WHERE name = :name AND holder = :holder", name=name, holder=holder)


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
        _ = broker.core.sender  # refuses a read-only broker
        self._core = _Core(broker.core, broker.transport, broker.store, plan)

    @property
    def spent(self) -> dict[str, Amount]:
        """What was transferred so far, by provider."""
        return self._core.spent


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


async def unsettled_fee(transport: Transport, wallet: Wallet, service: Service, generation: int) -> int:
    """What a provider says it has served to `wallet` and not yet charged (0g-direct §4.5), in neuron.

    Raises:
        ConfigError: the provider's URL is no place for a token.
        ProviderUnavailable: it does not say.
    """
    provider = service.provider
    check_url(service.url, f"the URL of provider {provider}", private=service.private)  # before anything is signed
    now = time.time_ns() // 1_000_000
    token = make_token(wallet, provider, now_ms=now, generation=generation, expires_at=now + 600_000)
    headers = SecretHeaders({"Authorization": f"Bearer {token.reveal()}"})
    path = f"/v1/user/{wallet.address}/unsettledfee"
    hint = "nothing was transferred; the next look tries again"
    request = provider_request("GET", service, path, headers=headers, timeouts=_TIMEOUTS)
    response = await transport.send(request)
    try:
        body: Any = parse_json(await read_all(response, _MAX_BYTES))
        fee = int(body["unsettledFee"])
    except (BodyBroken, ValueError, KeyError, TypeError, RecursionError):
        fee = -1
    if response.status != 200 or fee < 0:
        raise ProviderUnavailable(
            f"{provider} does not tell the unsettled fees (HTTP {response.status})", hint=hint, provider=provider
        )
    return fee
