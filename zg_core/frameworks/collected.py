"""Sums over the receipts of what ran, under the same names in every framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core.money import Amount
from zg_core.receipts.runs import Step
from zg_core.receipts.totals import spent_in, totals_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from zg_core.receipts.model import Receipt
    from zg_core.receipts.totals import Total
    from zg_core.wallet import Wallet

__all__ = ["Collected"]


class Collected:
    """Receipts in the order in which their calls ended; whoever collects them says which."""

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """All of them."""
        raise NotImplementedError

    def __getitem__(self, position: int) -> Receipt:
        return self.receipts[position]

    @property
    def last(self) -> Receipt | None:
        """The newest of them; None if there is none."""
        return self.receipts[-1] if self.receipts else None

    @property
    def chat_ids(self) -> tuple[str, ...]:
        """The ids under which providers keep their signatures, without calls that got none."""
        return tuple(receipt.chat_id for receipt in self.receipts if receipt.chat_id)

    @property
    def fees(self) -> dict[str, Amount]:
        """The sum of the exact fees, by currency."""
        found: dict[str, Amount] = {}
        for receipt in self.receipts:
            if receipt.fee.exact:
                amount = receipt.fee.amount
                found[amount.currency] = found.get(amount.currency, Amount(0, amount.currency)) + amount
        return found

    @property
    def unknown(self) -> list[Receipt]:
        """Those whose fee is not exactly known; each has its bounds in ``receipt.fee``. Refused ones stand apart."""
        return [receipt for receipt in self.receipts if not receipt.fee.exact and receipt.outcome != "refused"]

    @property
    def refused(self) -> list[Receipt]:
        """Those of requests that were refused, which cost nothing by the word of whoever refused them."""
        return [receipt for receipt in self.receipts if receipt.outcome == "refused"]

    @property
    def totals(self) -> tuple[Total, ...]:
        """What was paid, by provider, model and currency; with bounds where a fee is not exactly known."""
        return totals_of(self.receipts)

    def spent(self, currency: str = "0G") -> Total:
        """What was paid in one currency, over all providers and models.

        Raises:
            ConfigError: unknown currency.
        """
        return spent_in(self.receipts, currency)

    @property
    def steps(self) -> tuple[Step, ...]:
        """What ran, and which receipts belong to it: here each call by itself."""
        return tuple(Step(each.id, "", each.model, each.task, (each.id,)) for each in self.receipts)

    def bundle(
        self,
        path: str | os.PathLike[str],
        *,
        run: str = "",
        wallet: Wallet | None = None,
        evidence: Mapping[str, bytes] | None = None,
    ) -> str:
        """Write all receipts and the steps of the run to one file that ``zerog receipts verify`` reads offline.

        It is for an auditor who has neither key nor network; with ``keep_bytes=True`` it holds prompts and answers.
        Checks that are still running are waited for, ten seconds each at the most.

        Args:
            path: A zip file; what is there is replaced.
            run: Name of the run.
            wallet: Signs the manifest: whoever opens the bundle then knows who made it.
            evidence: Further files by name, for example the report of an attestation and its collateral.

        Returns:
            The SHA-256 of the manifest: two bundles with the same one are the same.

        Raises:
            ConfigError: there are no receipts, or a name of `evidence` is none (code ``bad_bundle``).
        """
        from zg_core.receipts.bundles import write_bundle

        return write_bundle(path, self.receipts, steps=self.steps, run=run, wallet=wallet, evidence=evidence)
