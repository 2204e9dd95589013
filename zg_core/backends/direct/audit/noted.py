"""The referee's notes in the store: where a wallet stood at a provider, what was charged since, what of it counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zg_core.budget import MOST, discrepancy_of
from zg_core.calls.counters import all_spent, put_all
from zg_core.crypto import checksum_address
from zg_core.money import Amount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.budget import Discrepancy, Spending
    from zg_core.store import Work

__all__ = ["OPEN", "Compared", "Noted"]

OPEN = 3600.0
"""Seconds after which a call is over, and its fee no more corrected."""
_ROW = "SELECT * FROM referee WHERE chain = :chain AND payer = :payer AND provider = :provider"
_UPDATE = (
    "UPDATE referee SET block = :block, settled = :settled, rolled = :rolled, covered = :covered, excess = :excess,"
    " counted = :counted, looked = :looked, run = :run, calls = :calls, alone = :alone"
    " WHERE chain = :chain AND payer = :payer AND provider = :provider"
)


@dataclass(frozen=True, slots=True)
class Compared:
    """A wallet at a provider, of which the referee keeps notes.

    Attributes:
        payer: The wallet.
        provider: The provider.
        since: What was charged before is not compared (UTC).
        looked: When it was compared last (UTC); None: not yet.
        owed: What the provider said was unsettled when it was first seen: it may charge that, too, and nobody else can
            say whether it was so; None where it did not tell.
    """

    payer: str
    provider: str
    since: datetime
    looked: datetime | None
    owed: Amount | None


class Noted:
    """The referee's notes in the store of a budget; processes that open the same store share them."""

    def __init__(self, spending: Spending) -> None:
        self._spending = spending
        self._store = spending.store
        self._chain_id = spending.chain_id

    def seen(self, payer: str, provider: str) -> Mapping[str, Any] | None:
        """What the referee has noted of `payer` at `provider`."""
        with self._store.transaction(durable=False) as work:
            return work.first(_ROW, **self._seen_key(payer, provider))

    def providers_seen(self, payer: str) -> list[str]:
        """The providers that the referee has seen `payer` at."""
        with self._store.transaction(durable=False) as work:
            rows = work.all(
                "SELECT provider FROM referee WHERE chain = :chain AND payer = :payer ORDER BY provider",
                chain=self._chain_id,
                payer=payer.lower(),
            )
        return [row["provider"] for row in rows]

    def compared_at(self) -> list[Compared]:
        """Every wallet and provider that a budget has counted calls of, and when they were compared last."""
        with self._store.transaction(durable=False) as work:
            rows = work.all(
                "SELECT payer, provider, since, told, owed, looked FROM referee WHERE chain = :chain"
                " ORDER BY payer, provider",
                chain=self._chain_id,
            )
        return [
            Compared(
                checksum_address(row["payer"]),
                checksum_address(row["provider"]),
                datetime.fromtimestamp(row["since"], UTC),
                datetime.fromtimestamp(row["looked"], UTC) if row["looked"] > row["since"] else None,
                Amount(int(row["owed"])) if row["told"] else None,
            )
            for row in rows
        ]

    def see(self, payer: str, provider: str, since: float, owed: int | None, block: int) -> None:
        """Note where the account stood when it was first seen; again has no effect.

        Args:
            payer: The wallet.
            provider: The provider.
            since: Unix seconds.
            owed: What was unsettled then; None where the provider does not tell.
            block: What was settled up to it was settled before.
        """
        with self._store.transaction(durable=False) as work:
            work.run(
                "INSERT INTO referee VALUES (:chain, :payer, :provider, :since, :told, :owed, :block, '0', :rolled,"
                " '0', '0', '0', :since, '', 0, :since) ON CONFLICT DO NOTHING",
                since=since,
                told=int(owed is not None),
                owed=str(owed or 0),
                block=block,
                rolled=since - OPEN,
                **self._seen_key(payer, provider),
            )

    def compared(
        self,
        payer: str,
        provider: str,
        *,
        before: Mapping[str, Any],
        block: int,
        settled: int,
        charged: int,
        unsettled: int,
        covered: int,
        rolled: float,
        rolled_cover: int,
    ) -> tuple[Discrepancy | None, bool]:
        """Count what a look has found; the discrepancy, and whether it has grown.

        Args:
            payer: The wallet.
            provider: The provider.
            before: What was noted when the look began; if another look has ended meanwhile, this one counts nothing.
            block: What was settled up to it will not be read again.
            settled: So much was settled up to `block` since the last look, in neuron, as all that follow.
            charged: All that was charged since the last look, the unsettled with it.
            unsettled: What is unsettled now.
            covered: What receipts allow that are not yet rolled up.
            rolled: Receipts begun before are rolled up from now on.
            rolled_cover: What these allow.
        """
        key, now = self._seen_key(payer, provider), datetime.now(UTC)
        with self._store.transaction(durable=False) as work:
            row = work.one(_ROW, lock=True, **key)
            if (row["block"], row["looked"]) != (before["block"], before["looked"]):
                return (discrepancy_of(row) if int(row["excess"]) else None), False
            known = int(row["settled"]) - int(row["owed"]) - int(row["covered"])
            excess = min(max(known + charged - covered, 0), MOST)
            counted = excess if row["told"] and not self._spending.budget.others else int(row["counted"])
            change = counted - int(row["counted"])
            if change:
                alone = row["run"] == self._spending.budget.run and self._is_alone(work, row)
                names = self._spending.counters(payer, provider, now, "")
                totals = all_spent(work, [name for limit, name in names.items() if limit != "per_run" or alone])
                put_all(work, {scope: max(total + change, 0) for scope, total in totals.items()})
            quiet = unsettled == 0 and excess == int(row["excess"])  # all that was billed is accounted for
            work.run(
                _UPDATE,
                block=block,
                settled=str(int(row["settled"]) + settled),
                rolled=rolled,
                covered=str(int(row["covered"]) + rolled_cover),
                excess=str(excess),
                counted=str(counted),
                looked=now.timestamp(),
                run="" if quiet else row["run"],
                calls=0 if quiet else row["calls"],
                alone=now.timestamp() if quiet else row["alone"],
                **key,
            )
            grown = excess > int(row["excess"])
            row = work.one(_ROW, **key)
        return (discrepancy_of(row) if excess else None), grown

    def _is_alone(self, work: Work, row: Mapping[str, Any]) -> bool:
        """Whether no call without this budget was sent to the provider meanwhile."""
        sent = work.one(
            "SELECT COUNT(*) AS n FROM receipts WHERE chain = :chain AND payer = :payer AND provider = :provider"
            " AND started >= :since",
            since=row["alone"],
            **self._seen_key(row["payer"], row["provider"]),
        )
        return int(sent["n"]) <= int(row["calls"])

    def _seen_key(self, payer: str, provider: str) -> dict[str, Any]:
        return {"chain": self._chain_id, "payer": payer.lower(), "provider": provider.lower()}
