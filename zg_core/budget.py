"""Budgets: the most that calls may cost, held before anything is sent and shared by all who share the store.

A call holds its upper bound (`zg_core.pricing.estimate`), and gives back what it did not cost once its fee is known.
What cannot be known, because the answer or this process was lost, stays held at its bound: never free, always visible
in `Spending.held`.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from zg_core.calls.counters import add, all_spent, put_all
from zg_core.crypto import checksum_address
from zg_core.errors import BudgetExceeded, ConfigError
from zg_core.holders import holder, life_of
from zg_core.money import Amount
from zg_core.pricing import Asked, bound_of
from zg_core.receipts.model import chain_of
from zg_core.types import MOST_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.backends.service import Service
    from zg_core.calls.budgets import Referee
    from zg_core.money import Fee
    from zg_core.receipts.model import Receipt
    from zg_core.store import Store, Work

__all__ = ["Budget", "Discrepancy", "Held", "Spending", "Spent"]

# Longer than a call can take; until then a process on another machine is taken to live.
_LOST_AFTER = 3600.0
_FUNDING = "funding:"
_HELD = "SELECT * FROM budget_holds WHERE realm = :realm ORDER BY at, id"
_DOLLAR = 10**18
MOST = 2**128  # neuron; there are not so many, and a price or count that says so must still fit into the store


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be spent; every limit that is given holds. All amounts are of one currency, or some in USD.

    Attributes:
        per_call: Most that one call may cost, with all requests that are sent for it: one that was refused may have
            been billed.
        per_run: Most for all clients that are given this `run`.
        per_day: Most for one wallet on one UTC day; needs a store that outlives the process.
        per_provider: Most for one wallet at one provider, as long as the store lives.
        per_wallet: Most for one wallet, as long as the store lives.
        usd: What one US dollar costs: ``og("4")``, ``Amount("20", "OPG")``. At this rate, which is your word, limits in
            USD hold for calls that are paid in 0G or OPG, and calls at providers that bill in USD are counted. Without
            it, calls in any other currency than the limits' are refused.
        unpriced: What to hold for a call whose price is not on chain: providers that bill in USD or model by model. A
            price that they list is signed by nobody, so it is no bound; the larger of both is held. Without it they
            are refused. It is your word, not a bound.
        completion_tokens: Length of an answer that no ``max_tokens`` limits; an answer that is longer counts in full.
        run: Name of the run; by default each budget object is a run of its own.
        others: Programs with other stores pay with the same wallet: what is charged beyond the receipts of this store
            is reported, and not counted.

    Raises:
        ConfigError: no limit is given, or one is not a positive amount of the same currency.

    Example:
        >>> from zg_core.money import og
        >>> Budget(per_call=og("0.01"), per_run=og("1")).per_call
        Amount('0.01', '0G')
        >>> Budget(per_run=Amount("0.5", "USD"), usd=Amount("20", "OPG")).limit("per_run")
        Amount('10', 'OPG')
    """

    per_call: Amount | None = None
    per_run: Amount | None = None
    per_day: Amount | None = None
    per_provider: Amount | None = None
    per_wallet: Amount | None = None
    usd: Amount | None = None
    unpriced: Amount | None = None
    completion_tokens: int = 32_768
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    others: bool = False

    def __post_init__(self) -> None:
        given, currency = 0, self.usd.currency if isinstance(self.usd, Amount) else ""
        for name in (f.name for f in fields(self) if f.name.startswith("per_") or f.name in ("usd", "unpriced")):
            amount = getattr(self, name)
            if amount is None:
                continue
            given += name.startswith("per_")
            if not isinstance(amount, Amount) or amount.units <= 0:
                message = f"{name} is not a positive amount: {amount!r}"
                raise ConfigError(message, code="bad_budget", hint=f'{name}=og("0.5"), or Amount("0.5", "USD")')
            if name == "usd" and currency == "USD":
                raise ConfigError("usd is in USD", code="bad_budget", hint='say what a dollar costs: usd=og("4")')
            currency = currency or amount.currency
            if amount.currency != currency and not (self.usd is not None and amount.currency == "USD"):
                message = f"{name} is in {amount.currency}, another amount of the budget in {currency}"
                hint = 'give all in one currency, or say what a dollar costs: usd=Amount("20", "OPG")'
                raise ConfigError(message, code="bad_budget", hint=hint)
        if not given:
            raise ConfigError("a budget without a limit", code="bad_budget", hint='Budget(per_run=og("1"))')
        if self.completion_tokens < 1:
            raise ConfigError("completion_tokens must be at least 1", code="bad_budget")
        if not 0 < len(self.run) <= 64:
            raise ConfigError("run is a name of 1 to 64 characters", code="bad_budget")

    @property
    def currency(self) -> str:
        """What calls are paid and counted in: that of `usd`, or else of the limits."""
        limits = (self.usd, self.per_call, self.per_run, self.per_day, self.per_provider, self.per_wallet)
        return next(limit.currency for limit in limits if limit is not None)

    def limit(self, name: str) -> Amount | None:
        """The limit of this name in `currency`, rounded down where it is given in USD."""
        given: Amount | None = getattr(self, name)
        if given is None or given.currency == self.currency or self.usd is None:
            return given
        return Amount(given.units * self.usd.units // _DOLLAR, self.currency)

    def in_usd(self, amount: Amount) -> Amount:
        """`amount` at the rate of `usd`, rounded up to a millionth."""
        if self.usd is None or amount.currency == "USD":
            return amount
        return Amount(-(-amount.units * 10**6 // self.usd.units) * 10**12, "USD")

    @property
    def least(self) -> Amount | None:
        """The smallest limit for several calls, in `currency`; None if there is one for each call only."""
        limits = map(self.limit, ("per_run", "per_day", "per_provider", "per_wallet"))
        return min((limit for limit in limits if limit is not None), default=None, key=lambda limit: limit.units)


@dataclass(frozen=True, slots=True)
class Held:
    """An amount that is held for a call.

    Attributes:
        receipt: Id of the call's receipt; ``transfer-…`` for money on its way into a sub-account.
        payer: The wallet.
        provider: The provider.
        state: ``"open"`` while the call is under way, ``"unknown"`` when what it cost will not be known.
        upper: Most it costs; least is nothing.
        since: When it was held.
    """

    receipt: str
    payer: str
    provider: str
    state: str
    upper: Amount
    since: datetime


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """What a provider charged beyond all receipts of a wallet in the store, as the chain showed it last.

    Attributes:
        payer: The wallet.
        provider: The provider.
        excess: How much more was settled, or is claimed as unsettled, than the receipts allow.
        counted: Whether budgets count it: not where they say `others`, nor where the provider did not tell what was
            unsettled when it was first seen.
        looked: When it was compared (UTC).
    """

    payer: str
    provider: str
    excess: Amount
    counted: bool
    looked: datetime


@dataclass(frozen=True, slots=True)
class Spent:
    """What a budget has counted.

    Attributes:
        amounts: By limit, what counts against it; what is held counts, and so does every counted discrepancy.
        held: What is held of it for calls that are open or whose cost is not known.
        discrepancies: What providers charged beyond the receipts.
        usd: `amounts` in USD, where the budget says what a dollar costs.
    """

    amounts: dict[str, Amount]
    held: Amount
    discrepancies: tuple[Discrepancy, ...]
    usd: dict[str, Amount] = field(default_factory=dict)


class Spending:
    """What was spent and is held of one budget.

    Args:
        budget: The limits.
        store: Where it is counted; processes that open the same one share the budget.
        realm: Whose money it is (`Backend.realm`); the number of a chain stands for it.

    Raises:
        ConfigError: `budget` has a limit per day and `store` is ``memory:`` (code ``budget_needs_store``).
    """

    def __init__(self, budget: Budget, store: Store, realm: str | int) -> None:
        if budget.per_day is not None and store.kind == "memory":
            raise ConfigError(
                "a budget per day is forgotten with the process where the store is memory:",
                code="budget_needs_store",
                hint="set ZEROG_STORE (store=…) to sqlite:///path, or use per_run",
            )
        self.budget = budget
        self.store = store
        self.realm = f"eip155:{realm}" if isinstance(realm, int) else realm
        self.chain_id = chain_of(self.realm)
        """The chain, where the realm is one of 0G's kind; 0 otherwise."""
        self.currency = budget.currency
        self._reconcile: Callable[[], list[Discrepancy]] | None = None
        self._told: set[str] = set()
        self.referee: Referee | None = None
        """Looks at the chain before calls; None without a store that keeps receipts."""

    @property
    def stores(self) -> tuple[Store]:
        """Where it is counted: in `store`."""
        return (self.store,)

    def reserve(
        self,
        receipt: Receipt,
        service: Service,
        request: bytes | Asked,
        most: Amount | None = None,
        *,
        earlier: int = 0,
    ) -> int:
        """Hold the most that `request` can cost at `service`, for the call of `receipt`; how much that is, in neuron.

        Args:
            receipt: Of the request.
            service: Who is asked.
            request: Its bytes, or what they say of its cost.
            most: The most it can cost by what it is paid with; None: what the service's prices say.
            earlier: What earlier requests of the same call may have cost: they count against ``per_call``.

        Raises:
            BudgetExceeded: it is more than is left; nothing is held. ``details`` has ``limit``, ``asked``, ``left``
                (amounts) and ``until`` (a UTC time, None if it never ends).
            ConfigError: the price is not on chain and the budget has no amount for that (code ``budget_unpriced``), a
                parameter that should limit the answer is no count (``budget_unbounded``), or the store fails.
        """
        units = self._most(service, request, most)
        self._hold(receipt.id, receipt.payer, receipt.provider, units, earlier=earlier)
        return units

    def fits_call(self, units: int) -> bool:
        """Whether one call, all its requests together, may cost `units` neuron."""
        limit = self.budget.limit("per_call")
        return limit is None or units <= limit.units

    def settle(self, receipt: Receipt, fee: Fee | None = None) -> None:
        """Count what the call of `receipt` cost: its fee where that is known, else its upper bound, held as unknown.

        Args:
            receipt: Of the call.
            fee: The fee as it is known now, where that of the receipt may change meanwhile.
        """
        fee = fee or receipt.fee
        self._settle(receipt.id, self.cost(fee), known=fee.exact or fee.lower == fee.upper)

    def recount(self, receipt: Receipt, before: Fee, after: Fee | None = None) -> None:
        """Count by how much more the call of `receipt` can have cost, after its fee was corrected from `before`.

        What it can have cost is held as unknown then, and may be released once that is known (`release_held`).

        Args:
            receipt: Of the call.
            before: The fee that was counted.
            after: The fee as it is known now, where that of the receipt may change meanwhile.
        """
        old, new = self.cost(before), self.cost(after or receipt.fee)
        if old is None or new is None or new <= old:
            return
        with self.store.transaction(durable=False) as work:
            row = work.first("SELECT * FROM budget_holds WHERE id = :id", lock=True, id=receipt.id)
            scopes = sorted(self._scopes(receipt.payer, receipt.provider, receipt.started_at, ""))
            if row is None:  # it was known, and is known no more
                self._note(work, (receipt.id, receipt.payer, receipt.provider, "unknown"), new, scopes)
            elif row["state"] == "unknown":
                scopes, units = json.loads(row["scopes"]), str(int(row["units"]) + new - old)
                work.run("UPDATE budget_holds SET units = :units WHERE id = :id", units=units, id=receipt.id)
            add(work, scopes, new - old)

    def release(self, receipt: Receipt) -> None:
        """Give back what is held for a request that was refused or never sent."""
        self._settle(receipt.id, 0, known=True)

    def release_held(self, id_: str, cost: Amount) -> Held:
        """Count `cost` for what is held as unknown, once its outcome is known; the hold that is gone then.

        Args:
            id_: `Held.receipt`, or the only one that begins so (8 characters or more).
            cost: What it cost: nothing, or up to what was held and more.

        Raises:
            ConfigError: nothing with this id is held as unknown (code ``not_held``), or `cost` is no amount of 0G.
        """
        if cost.currency != self.currency or cost.units < 0:
            message = f"what it cost is 0 {self.currency} or more"
            raise ConfigError(message, code="bad_amount", hint=f'Amount("0.001", "{self.currency}")')
        fitting = [each for each in self.held() if each.state == "unknown" and each.receipt.startswith(id_)]
        if len(id_) < 8 or len(fitting) != 1:
            raise ConfigError(
                f"nothing is held as unknown with the id {id_!r}",
                code="not_held",
                hint="zerog budget show lists what is held; a call that is open cannot be released",
            )
        self._settle(fitting[0].receipt, cost.units, known=True, durable=True)
        return fitting[0]

    def spent(self, payer: str, provider: str) -> Spent:
        """What counts against each limit for `payer` at `provider`, and what was charged beyond its receipts."""
        left = self.left(payer, provider)
        scopes = dict(self._scopes(payer, provider, datetime.now(UTC), "").values())
        mine = [each for each in self.held() if each.payer.lower() == payer.lower()]
        amounts = {name: limit - left[name] for name, limit in scopes.items()}
        return Spent(
            amounts,
            Amount(sum(each.upper.units for each in mine if each.upper.currency == self.currency), self.currency),
            tuple(each for each in self.discrepancies() if each.payer.lower() == payer.lower()),
            {} if self.budget.usd is None else {name: self.budget.in_usd(each) for name, each in amounts.items()},
        )

    def carry(self, units: int) -> None:
        """Count `units` neuron against ``per_run`` that were spent before, and counted in a store that is gone."""
        scope = self.counters("", "", datetime.now(UTC), "")["per_run"]
        with self.store.transaction(durable=False) as work:
            add(work, (scope,), units)

    # the chain as referee

    def reconcile(self) -> list[Discrepancy]:
        """Compare now what was charged on chain with all receipts of the wallet in the store; what is beyond.

        It reads the chain and asks each provider that was used, and blocks until that is done: in an event loop,
        ``await asyncio.to_thread(client.spending.reconcile)``.

        Raises:
            ConfigError: the store is ``memory:``, which keeps no receipts to compare with (code
                ``budget_needs_store``), or it cannot be used.
            ChainError: the chain cannot be read.
        """
        if self._reconcile is None:
            raise ConfigError(
                "without a store that keeps receipts, there is nothing to compare the chain with",
                code="budget_needs_store",
                hint="set ZEROG_STORE (store=…) to sqlite:///path, and take client.spending",
            )
        return self._reconcile()

    def attach(self, referee: Referee, reconcile: Callable[[], list[Discrepancy]]) -> None:
        """Who looks at the chain beside calls, and how `reconcile` is done; the client's affair."""
        self.referee, self._reconcile = referee, reconcile

    def discrepancies(self) -> list[Discrepancy]:
        """What providers charged beyond the receipts, as it was found last; nothing is read outside of the store."""
        with self.store.transaction(durable=False) as work:
            rows = work.all("SELECT * FROM referee WHERE chain = :chain ORDER BY payer, provider", chain=self.chain_id)
        return [discrepancy_of(row) for row in rows if int(row["excess"])]

    def reserve_transfer(self, payer: str, provider: str, units: int) -> str:
        """Hold `units` neuron that are to be moved into the sub-account at `provider` (auto-funding); an id for them.

        Money that is moved is not spent yet, and the calls that spend it are counted by themselves; so it has counters
        of its own, with the same limits: ``per_call`` is the most for one movement.

        Raises:
            BudgetExceeded: it is more than is left; nothing is held.
        """
        id_ = f"transfer-{uuid.uuid4().hex}"
        self._hold(id_, payer, provider, units, _FUNDING)
        return id_

    def settle_transfer(self, id_: str, units: int | None) -> None:
        """Count what was moved; None where that is not known: then the whole stays held, as unknown."""
        self._settle(id_, units, known=units is not None, durable=True)

    def release_transfer(self, id_: str) -> None:
        """Give back what is held for a movement that did not take place."""
        self.settle_transfer(id_, 0)

    def _hold(self, id_: str, payer: str, provider: str, units: int, kind: str = "", *, earlier: int = 0) -> None:
        if (limit := self.budget.limit("per_call")) is not None and units + earlier > limit.units:
            raise self._exceeded("per_call", units, limit, limit.units - earlier, kind)
        scopes = self._scopes(payer, provider, datetime.now(UTC), kind)
        with self.store.transaction(durable=bool(kind)) as work:
            if not kind:  # which run uses the provider: the one alone is charged what nobody has a receipt for
                work.run(  # first, as by who compares (`Noted.compared`): none waits for the other's counters
                    "UPDATE referee SET calls = calls + 1,"
                    " run = CASE WHEN run = '' OR run = :run THEN :run ELSE '*' END"
                    " WHERE chain = :chain AND payer = :payer AND provider = :provider",
                    run=self.budget.run,
                    chain=self.chain_id,
                    payer=payer.lower(),
                    provider=provider.lower(),
                )
            totals = all_spent(work, scopes)
            for scope, (name, limit) in scopes.items():
                left = limit.units - totals[scope]
                if units > left:
                    raise self._exceeded(name, units, limit, left, kind)
            put_all(work, {scope: total + units for scope, total in totals.items()})
            self._tell_limits(work, scopes)
            self._note(work, (id_, payer, provider, "open"), units, sorted(scopes))

    def _note(self, work: Work, what: tuple[str, str, str, str], units: int, scopes: list[str]) -> None:
        """Hold `units` under an id, for a payer at a provider, in a state."""
        id_, payer, provider, state = what
        work.run(
            "INSERT INTO budget_holds VALUES"
            " (:id, :realm, :payer, :provider, :state, :units, :currency, :scopes, :holder, :at)",
            id=id_,
            realm=self.realm,
            payer=payer,
            provider=provider,
            state=state,
            units=str(units),
            currency=self.currency,
            scopes=json.dumps(scopes),
            holder=holder(),
            at=datetime.now(UTC).timestamp(),
        )

    def _tell_limits(self, work: Work, scopes: Mapping[str, tuple[str, Amount]]) -> None:
        """Note what the limits are, for whoever looks into the store without this budget."""
        new = sorted(scopes.keys() - self._told)
        for scope in new:
            work.run(
                "INSERT INTO budget_limits VALUES (:scope, :units, :currency)"
                " ON CONFLICT (scope) DO UPDATE SET units = :units, currency = :currency",
                scope=scope,
                units=str(scopes[scope][1].units),
                currency=self.currency,
            )
        if new:
            self.store.when_kept(lambda: self._told.update(new))

    def _settle(self, id_: str, cost: int | None, *, known: bool, durable: bool = False) -> None:
        with self.store.transaction(durable=durable) as work:
            row = work.first("SELECT units, scopes FROM budget_holds WHERE id = :id", lock=True, id=id_)
            if row is None:
                return
            held = int(row["units"])
            cost = held if cost is None else cost
            if known:
                work.run("DELETE FROM budget_holds WHERE id = :id", id=id_)
            else:
                work.run(
                    "UPDATE budget_holds SET state = 'unknown', units = :units WHERE id = :id",
                    units=str(cost),
                    id=id_,
                )
            if cost != held:
                add(work, json.loads(row["scopes"]), cost - held)

    def left(self, payer: str, provider: str, *, moving: bool = False) -> dict[str, Amount]:
        """What each limit has left for `payer` at `provider`; what is held counts as spent.

        Args:
            payer: The wallet.
            provider: The provider.
            moving: For money that is moved into sub-accounts, instead of calls.
        """
        scopes = self._scopes(payer, provider, datetime.now(UTC), _FUNDING if moving else "")
        with self.store.transaction(durable=False) as work:
            spent = all_spent(work, scopes)
        return {name: Amount(limit.units - spent[s], self.currency) for s, (name, limit) in scopes.items()}

    def held(self) -> list[Held]:
        """What is held in this store, oldest first; calls whose process has ended are ``unknown``."""
        with self.store.transaction(durable=False) as work:
            rows = work.all(_HELD, lock=True, realm=self.realm)
            before = time.time() - _LOST_AFTER
            gone = {row["id"] for row in rows if row["at"] < before or life_of(row["holder"]) == "gone"}
            lost = {row["id"] for row in rows if row["state"] == "open"} & gone
            for id_ in lost:
                work.run("UPDATE budget_holds SET state = 'unknown' WHERE id = :id", id=id_)
        return [
            Held(
                row["id"],
                row["payer"],
                row["provider"],
                "unknown" if row["id"] in lost else row["state"],
                Amount(int(row["units"]), row["currency"]),
                datetime.fromtimestamp(row["at"], UTC),
            )
            for row in rows
        ]

    def _most(self, service: Service, request: bytes | Asked, most: Amount | None) -> int:
        asked = Asked.read(request)
        if most is not None and (capped := self._in_own(most.units, most.currency)) is not None:
            return capped
        if asked.odd:
            raise ConfigError(
                f"{asked.odd} is no whole number from 0 to {MOST_TOKENS}, so a budget cannot bound the call",
                code="budget_unbounded",
                hint=f"pass {asked.odd} as an int, or leave it out",
            )
        tariff = service.tariff
        bound = None if tariff is None else bound_of(tariff, asked, self.budget.completion_tokens)
        units = None if bound is None else self._in_own(bound.units, bound.currency)
        listed = tariff is not None and tariff.listed
        if units is not None and not listed:
            return units
        if self.budget.unpriced is not None:  # a list that nobody signs may say more, never less
            unpriced = self._in_own(self.budget.unpriced.units, self.budget.unpriced.currency)
            return max(units or 0, unpriced or 0)
        if listed and units is not None:
            how = "lists its prices by itself, where nobody signs them"
            fix = 'say what a call costs at most: Budget(unpriced=og("0.05"), …)'
        elif service.currency != self.currency and not (service.currency == "USD" and self.budget.usd is not None):
            how = f"bills in {service.currency}"
            fix = 'say what a dollar and a call cost: Budget(usd=og("4"), unpriced=og("0.05"), …)'
            if service.currency != "USD":
                fix = f'give the budget in it, or say what a dollar costs: usd=Amount("20", "{service.currency}")'
        else:
            how = "serves several models at prices of their own, and lists none for this one"
            fix = 'say what to hold for each call: Budget(unpriced=og("0.05"), …)'
        raise ConfigError(
            f"provider {service.provider} {how}, so a budget in {self.currency} cannot bound the call",
            code="budget_unpriced",
            hint=f"choose another provider, or {fix}",
        )

    def cost(self, fee: Fee) -> int | None:
        """The most that `fee` can be, in units of the budget; None where that is not known."""
        units = None if fee.most is None else self._in_own(fee.most, fee.amount.currency)
        return None if units is None else min(units, MOST)

    def _in_own(self, units: int, currency: str) -> int | None:
        if currency == self.currency:
            return units
        usd = self.budget.usd
        return None if usd is None or currency != "USD" else -(-units * usd.units // _DOLLAR)

    def _exceeded(self, name: str, asked: int, limit: Amount, left: int, kind: str) -> BudgetExceeded:
        amounts = Amount(asked, self.currency), limit, Amount(max(left, 0), self.currency)
        words = [f"{each} ({self.budget.in_usd(each)})" if self.budget.usd else str(each) for each in amounts]
        until = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        end = f" until {until:%Y-%m-%d %H:%M} UTC" if name == "per_day" else ""
        what, fix = ("movement is of", "target") if kind else ("call can cost", "max_tokens, a shorter prompt")
        return BudgetExceeded(
            f"the {what} {words[0]}, and the budget {name} of {words[1]} has {words[2]} left{end}",
            hint=f"give a lower {fix}, or a larger budget",
            limit=name,
            asked=amounts[0],
            left=amounts[2],
            until=until if end else None,
            usd=self.budget.usd,
        )

    def _scopes(self, payer: str, provider: str, now: datetime, kind: str) -> dict[str, tuple[str, Amount]]:
        """The counters that a call counts in, in the order in which they are locked."""
        names = self.counters(payer, provider, now, kind)
        limits = {name: self.budget.limit(name) for name in names}
        return {names[name]: (name, limit) for name, limit in limits.items() if limit is not None}

    def counters(self, payer: str, provider: str, now: datetime, kind: str) -> dict[str, str]:
        """The counter of each limit."""
        place = self.realm.removeprefix("eip155:") + ("" if self.currency == "0G" else f":{self.currency}")
        wallet = f"{place}:{payer.lower()}"
        return {
            "per_day": f"{kind}day:{wallet}:{now:%Y-%m-%d}",
            "per_provider": f"{kind}provider:{wallet}:{provider.lower()}",
            "per_run": f"{kind}run:{place}:{self.budget.run}",
            "per_wallet": f"{kind}wallet:{wallet}",
        }


def discrepancy_of(row: Mapping[str, Any]) -> Discrepancy:
    """What a row of the referee says."""
    return Discrepancy(
        checksum_address(row["payer"]),
        checksum_address(row["provider"]),
        Amount(int(row["excess"])),
        int(row["counted"]) > 0,
        datetime.fromtimestamp(row["looked"], UTC),
    )
