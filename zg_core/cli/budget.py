"""``zerog budget``: what is held, what was charged beyond all receipts, and holds whose outcome is known by now."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zg_core.cli.terminal.failures import ERROR, NOT_VERIFIED, OK
from zg_core.cli.terminal.options import command
from zg_core.cli.terminal.output import money, shown_store
from zg_core.cli.terminal.run import Run
from zg_core.errors import ConfigError
from zg_core.money import Amount
from zg_core.store import Store

if TYPE_CHECKING:
    from zg_core.backends.direct.audit.counters import Counter
    from zg_core.backends.direct.audit.noted import Compared
    from zg_core.budget import Discrepancy, Held, Spending

__all__ = ["budget", "elsewhere"]

_UNNAMED = re.compile("[0-9a-f]{32}")  # what `Budget` calls a run that nobody named

budget = typer.Typer(help="What budgets hold, and what was charged beyond all receipts.", no_args_is_help=True)


ELSEWHERE = (
    "receipts may be in another store, or were kept in memory (the library's default) and ended with their program: "
    "set ZEROG_STORE (store=…) to one store for all programs that use this wallet"
)
"""Why more may be charged than this store has receipts for, though the provider is honest."""


def elsewhere(run: Run) -> str:
    """`ELSEWHERE`, with the store that was looked into."""
    return f"{ELSEWHERE}; this is {shown_store(run.where['store'])}"


@budget.command()
@command
def show(run: Run) -> None:
    """Show what is counted and left, what is held, and what was charged beyond the receipts when last compared."""
    spending = _spending(run, run.network().chain_id)
    _print(run, spending, spending.discrepancies())


@budget.command()
@command
def reconcile(
    run: Run,
    others: Annotated[
        bool, typer.Option("--others", help="Programs with other stores use the wallet: report, do not count.")
    ] = False,
) -> None:
    """Compare what was settled on chain with all receipts of the wallet.

    Exit code 1 if more was charged, 3 if there was nothing to compare.
    """
    from zg_core.backends.direct.audit.noted import Noted
    from zg_core.backends.direct.audit.referee import Referee
    from zg_core.http.transport import run as drive

    with run.broker() as broker, run.out.waiting("reading the settlements"):
        spending = _spending(run, broker.network.chain_id, others=others)
        address = broker.address
        wallet = broker.core.wallet_of(address)
        if wallet is not None:
            wallet.unlock()  # who cannot ask what is unsettled would compare half
        referee = Referee(
            spending, run.stored(), broker.core.chain, broker.transport, payer=lambda: address, wallet=wallet
        )
        began = datetime.now(UTC)
        found = drive(referee.look_at_all())
    looked = [each for each in Noted(spending).compared_at() if each.looked is not None and each.looked >= began]
    _print(run, spending, found)
    if found:
        raise typer.Exit(ERROR)
    raise typer.Exit(OK if looked else NOT_VERIFIED)


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
    spending = _spending(run, run.network().chain_id)
    paid = _said(run, hold) if cost is None else Amount(cost)
    held = spending.release_held(hold, paid)
    run.out.line(f"{held.receipt}: {held.upper} was held, {paid} is counted")
    run.out.document({"released": _held(held), "cost": money(paid)})


def _spending(run: Run, chain: int, *, others: bool = False) -> "Spending":
    """What the store has counted; no limit of its own."""
    from zg_core.budget import MOST, Budget, Spending

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


def _print(run: Run, spending: "Spending", found: "list[Discrepancy]") -> None:
    from zg_core.backends.direct.audit.counters import counters
    from zg_core.backends.direct.audit.noted import Noted

    held, counted = spending.held(), counters(spending.store, spending.chain_id)
    compared = Noted(spending).compared_at()
    _print_counted(run, counted)
    if held:
        run.out.table(
            ["since (UTC)", "hold", "provider", "state", "at most"],
            [(f"{e.since:%Y-%m-%d %H:%M:%S}", e.receipt, e.provider, e.state, str(e.upper)) for e in held],
            rank=["hold", "at most", "state", "provider"],
        )
    else:
        run.out.line("nothing is held")
    _print_compared(run, compared, found)
    run.out.document(
        {
            "counted": [_counter(each) for each in counted],
            "held": [_held(each) for each in held],
            "compared": [_compared(each) for each in compared],
            "discrepancies": [_discrepancy(each) for each in found],
        }
    )


def _print_counted(run: Run, counted: "list[Counter]") -> None:
    shown = [each for each in counted if each.limit != "per_run" or _UNNAMED.fullmatch(each.whose) is None]
    if shown:
        run.out.table(
            ["limit", "of", "spent and held", "left", "of at most"],
            [
                (
                    f"{each.limit}, moved" if each.moving else each.limit,
                    each.whose,
                    str(each.spent),
                    "not told" if each.left is None else str(each.left),
                    "not told" if each.most is None else str(each.most),
                )
                for each in shown
            ],
            rank=["limit", "spent and held", "left", "of", "of at most"],
        )
    if len(counted) > len(shown):
        run.out.line(f"{len(counted) - len(shown)} runs without a name are counted, too; --json lists them")
    if not counted:
        run.out.line(f"no budget has counted anything in {shown_store(run.where['store'])}")


def _print_compared(run: Run, compared: "list[Compared]", found: "list[Discrepancy]") -> None:
    beyond = {(each.payer, each.provider): each for each in found}
    if not any(each.looked for each in compared):
        run.out.line(
            "nothing was compared with the chain: no call under a budget is in "
            f"{shown_store(run.where['store'])}; programs count in the store of their ZEROG_STORE (store=…)"
            if not compared
            else "nothing was compared with the chain yet; `zerog budget reconcile` does"
        )
    if found:
        run.out.warn(f"more was charged than this store has receipts for: {elsewhere(run)}")
    if compared:
        run.out.table(
            ["compared (UTC)", "wallet", "provider", "unsettled before", "charged beyond receipts", "counted"],
            [_comparison(each, beyond.get((each.payer, each.provider))) for each in compared],
            rank=["provider", "charged beyond receipts", "compared (UTC)", "counted", "unsettled before", "wallet"],
        )
    if not found and any(each.looked for each in compared):
        run.out.line("no provider charged more than the receipts allow")


def _comparison(each: "Compared", beyond: "Discrepancy | None") -> tuple[str, str, str, str, str, str]:
    looked = f"{each.looked:%Y-%m-%d %H:%M:%S}" if each.looked else "not yet"
    excess, counted = "nothing" if each.looked else "-", "-"
    if beyond is not None:
        excess, counted = str(beyond.excess), "yes" if beyond.counted else "no"
    owed = "not told" if each.owed is None else str(each.owed)
    return looked, each.payer, each.provider, owed, excess, counted


def _counter(each: "Counter") -> dict[str, Any]:
    return {
        "limit": each.limit,
        "of": each.whose,
        "moving": each.moving,
        "spent": money(each.spent),
        "most": None if each.most is None else money(each.most),
        "left": None if each.left is None else money(each.left),
    }


def _compared(each: "Compared") -> dict[str, Any]:
    return {
        "payer": each.payer,
        "provider": each.provider,
        "since": each.since.isoformat(),
        "looked": None if each.looked is None else each.looked.isoformat(),
        "owed": None if each.owed is None else money(each.owed),
    }


def _held(each: "Held") -> dict[str, Any]:
    return {
        "hold": each.receipt,
        "payer": each.payer,
        "provider": each.provider,
        "state": each.state,
        "upper": money(each.upper),
        "since": each.since.isoformat(),
    }


def _discrepancy(each: "Discrepancy") -> dict[str, Any]:
    return {
        "payer": each.payer,
        "provider": each.provider,
        "excess": money(each.excess),
        "counted": each.counted,
        "looked": each.looked.isoformat(),
    }
