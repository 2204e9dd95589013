"""Compares what clients recorded with the providers' own books and with the chain."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from tests.chaos import plan
from tests.chaos.storm import BUDGET, DEPOSIT, POOR, Result, Storm
from zg_core import Broker, Store
from zg_core.budget import Held, Spending
from zg_core.receipts import Receipt, ReceiptStore

Key = tuple[str, str]


@dataclass(frozen=True)
class Sums:
    """Money of one wallet at one provider, in neuron. `disputable`: what refusals can have cost."""

    settled: int
    unsettled: int
    exact: int
    bounds: int
    disputable: int


class Referee:
    """The books of all providers, and every receipt, by provider and hash of the request; refusals stand apart."""

    def __init__(self, storm: Storm) -> None:
        self.storm = storm
        self.bills: dict[Key, list[Any]] = defaultdict(list)
        self.receipts: dict[Key, list[Receipt]] = defaultdict(list)
        for provider in storm.net.providers:
            for entry in provider.log:
                self.bills[provider.address, entry.received_sha256].append(entry)
        self.refused: dict[Key, list[Receipt]] = defaultdict(list)
        for receipt in storm.receipts:
            key = receipt.provider, receipt.request_sha256
            if receipt.outcome == "refused":
                self.refused[key].append(receipt)
            else:
                self.receipts[key].append(receipt)

    def stored(self) -> list[Receipt]:
        """The receipts of the store, as somebody finds them who opens it later."""
        store = Store(self.storm.store)
        try:
            return ReceiptStore(store).select()
        finally:
            store.close()

    def sums(self) -> dict[tuple[str, str], Sums]:
        """By wallet and provider: what the contract took, what the provider will take, what receipts say."""
        storm, found = self.storm, {}
        with Broker.read_only(network="local", rpc_url=storm.net.rpc_url, environ={}) as broker:
            for place, provider in enumerate(storm.net.providers):
                for wallet, deposit in ((storm.rich, DEPOSIT), (storm.poor, POOR + 10**18)):
                    if wallet is storm.poor and place != plan.LAGGING:
                        continue
                    account = broker.account(provider.address, wallet.address)
                    assert account is not None
                    mine = [
                        each
                        for each in storm.receipts
                        if (each.provider, each.payer) == (provider.address, wallet.address)
                    ]
                    found[wallet.address, provider.address] = Sums(
                        settled=deposit - account.balance.units,
                        unsettled=provider.unsettled(wallet.address),
                        exact=sum(each.fee.amount.units for each in mine if each.fee.exact),
                        bounds=sum(
                            each.fee.upper or 0 for each in mine if not each.fee.exact and each.outcome != "refused"
                        ),
                        disputable=sum(each.fee.upper or 0 for each in mine if each.outcome == "refused"),
                    )
        return found

    def spent(self) -> tuple[int, list[Held]]:
        """Of the budget: what is gone without what the chain showed beyond the receipts, and what is held."""
        store = Store(self.storm.store)
        try:
            spending = Spending(self.storm.budget, store, self.storm.net.chain_id)
            left = spending.left(self.storm.rich.address, self.storm.net.providers[0].address)["per_run"]
            beyond = sum(each.excess.units for each in spending.discrepancies() if each.counted)
            return BUDGET.units - left.units - beyond, spending.held()
        finally:
            store.close()


def outcome_of(result: Result) -> str:
    """How a task ended, in a word."""
    if result.error is None:
        return result.receipts[-1].outcome
    return result.receipts[-1].outcome if not result.refused else "refused"


def table(results: list[Result]) -> list[tuple[str, Counter[str]]]:
    """Rows: what went wrong, and how many tasks ended how."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        names = [f"wave {plan.WEATHER[result.task.wave]}"]
        names.append(f"fault {result.task.trouble}" if result.task.trouble else "fault none")
        again = sum(receipt.attempts - 1 for receipt in result.receipts)
        for name in names:
            row = rows[name]
            row[outcome_of(result)] += 1
            row["runs"] += 1
            row["calls"] += result.calls
            row["sent again"] += again
    return sorted(rows.items())
