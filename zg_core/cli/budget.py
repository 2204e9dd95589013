"""``zerog budget``: what is held, what was charged beyond all receipts, and holds whose outcome is known by now."""

from typing import Annotated, Any

import typer

from zg_core.backends.direct.audit.referee import Referee
from zg_core.budget import MOST, Budget, Discrepancy, Held, Spending
from zg_core.cli.terminal.options import command
from zg_core.cli.terminal.output import money
from zg_core.cli.terminal.run import Run
from zg_core.errors import ConfigError
from zg_core.http.transport import run as drive
from zg_core.money import Amount
from zg_core.store import Store

__all__ = ["budget"]

budget = typer.Typer(help="What budgets hold, and what was charged beyond all receipts.", no_args_is_help=True)


@budget.command()
@command
def show(run: Run) -> None:
    """Show what is held in the store, and what providers charged beyond the receipts when it was last compared."""
    with run.public() as broker:
        chain = broker.network.chain_id
    spending = _spending(run, chain)
    _print(run, spending.held(), spending.discrepancies())


@budget.command()
@command
def reconcile(
    run: Run,
    others: Annotated[
        bool, typer.Option("--others", help="Programs with other stores use the wallet: report, do not count.")
    ] = False,
) -> None:
    """Compare what was settled on chain with all receipts of the wallet; exit code 1 if more was charged."""
    with run.broker() as broker, run.out.waiting("reading the settlements"):
        spending = _spending(run, broker.network.chain_id, others=others)
        address = broker.address
        referee = Referee(
            spending,
            run.stored(),
            broker.core.chain,
            broker.transport,
            payer=lambda: address,
            wallet=broker.core.wallet_of(address),
        )
        found = drive(referee.look_at_all())
    _print(run, spending.held(), found)
    if found:
        raise typer.Exit(1)


@budget.command()
@command
def release(
    run: Run,
    hold: Annotated[str, typer.Argument(metavar="HOLD", help="Its id, or the first 8 characters or more.")],
    cost: Annotated[
        str | None, typer.Option("--cost", help="What it cost, in 0G; default what its receipt says.")
    ] = None,
) -> None:
    """Count what a call cost whose outcome was unknown, and give the rest of its hold back."""
    with run.public() as broker:
        chain = broker.network.chain_id
    spending = _spending(run, chain)
    paid = _said(run, hold) if cost is None else Amount(cost)
    held = spending.release_held(hold, paid)
    run.out.line(f"{held.receipt}: {held.upper} was held, {paid} is counted")
    run.out.document({"released": _held(held), "cost": money(paid)})


def _spending(run: Run, chain: int, *, others: bool = False) -> Spending:
    """What the store has counted; no limit of its own."""
    return Spending(Budget(per_wallet=Amount(MOST), others=others), Store.open(run.where["store"]), chain)


def _said(run: Run, hold: str) -> Amount:
    receipt = run.stored().get(hold)
    if receipt is not None and receipt.outcome == "refused":
        return Amount(0)
    if receipt is not None and receipt.fee.exact and receipt.fee.amount.currency == "0G":
        return receipt.fee.amount
    raise ConfigError(
        f"no receipt says what {hold} cost",
        code="cost_unknown",
        hint="say it with --cost, as the provider's log or `zerog settlements` shows it; --cost 0 if it was not billed",
    )


def _print(run: Run, held: list[Held], found: list[Discrepancy]) -> None:
    if held:
        run.out.table(
            ["since (UTC)", "hold", "provider", "state", "at most"],
            [(f"{e.since:%Y-%m-%d %H:%M:%S}", e.receipt, e.provider, e.state, str(e.upper)) for e in held],
            rank=["hold", "at most", "state", "provider"],
        )
    else:
        run.out.line("nothing is held")
    if found:
        run.out.table(
            ["compared (UTC)", "wallet", "provider", "charged beyond receipts", "counted"],
            [
                (f"{e.looked:%Y-%m-%d %H:%M:%S}", e.payer, e.provider, str(e.excess), "yes" if e.counted else "no")
                for e in found
            ],
            rank=["provider", "charged beyond receipts", "counted", "wallet"],
        )
    else:
        run.out.line("no provider charged more than the receipts allow")
    run.out.document({"held": [_held(each) for each in held], "discrepancies": [_discrepancy(each) for each in found]})


def _held(each: Held) -> dict[str, Any]:
    return {
        "hold": each.receipt,
        "payer": each.payer,
        "provider": each.provider,
        "state": each.state,
        "upper": money(each.upper),
        "since": each.since.isoformat(),
    }


def _discrepancy(each: Discrepancy) -> dict[str, Any]:
    return {
        "payer": each.payer,
        "provider": each.provider,
        "excess": money(each.excess),
        "counted": each.counted,
        "looked": each.looked.isoformat(),
    }
