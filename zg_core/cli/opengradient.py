"""``zerog opengradient``: approval and funds of OpenGradient's payments, and a look at all that a call needs."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from zg_core.cli.terminal.options import Yes, amount_of, ask, command, consent
from zg_core.cli.terminal.output import money
from zg_core.cli.terminal.run import Run  # noqa: TC001 - typer reads the annotations
from zg_core.errors import ConfigError
from zg_core.money import Amount

__all__ = ["account_of", "opengradient"]

opengradient = typer.Typer(help="OpenGradient: pay from a wallet on Base, look at enclaves.", no_args_is_help=True)

_FAILED = 1
_MARKS = {"pass": "ok", "fail": "FAILED"}


def account_of(run: Run, nitro_root: str | None = None) -> Any:
    """OpenGradient's account of this command's settings."""
    from zg_core.backends.opengradient.account import OpenGradientAccount
    from zg_core.backends.opengradient.options import OpenGradient
    from zg_core.cli.terminal.keystore import own_wallet

    where = run.where
    own = None if os.environ.get("OG_PRIVATE_KEY") else own_wallet()
    options = OpenGradient() if nitro_root is None else OpenGradient(nitro_root=nitro_root)
    settings: dict[str, Any] = {"store": where["store"], "ca_file": where["ca_file"], "on_progress": run.out.step}
    return OpenGradientAccount(options, wallet=own, **settings)


@opengradient.command("approve")
@command
def approve(
    run: Run,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help='Amount in OPG that payments may take, such as "5".')],
    yes: Yes = False,
) -> None:
    """Let payments take up to AMOUNT of OPG; sends a transaction on Base only if they may take less now."""
    wanted = Amount(amount_of(amount).units, "OPG")
    consent(yes, f"approve {wanted}")
    with account_of(run) as account:
        with run.out.waiting("reading the account"):
            funds = account.funds()
        if funds.allowance < wanted:
            ask(
                run,
                yes,
                f"approve {wanted} for payments",
                ("of", f"{account.address}, which holds {funds.balance}"),
                ("until now", f"{funds.allowance} are approved"),
            )
        with run.out.waiting("approving"):
            done = account.ensure_approval(wanted, wanted)
    if done.transaction:
        run.out.line(f"approved {done.after} (before: {done.before}), transaction {done.transaction}")
    else:
        run.out.line(f"{done.before} are approved already; nothing was sent")
    document = {"before": money(done.before), "after": money(done.after), "transaction": done.transaction or None}
    run.out.document(document)


@opengradient.command("balance")
@command
def balance(run: Run) -> None:
    """What the wallet holds on Base, and how much of it payments may take."""
    with account_of(run) as account:
        with run.out.waiting("reading the account"):
            funds = account.funds()
        run.out.facts(
            ("wallet", account.address),
            ("balance", funds.balance),
            ("approved", f"{funds.allowance} for payments"),
            ("gas", f"{funds.gas / 10**18:.6f} ETH"),
        )
        facts = {"balance": money(funds.balance), "approved": money(funds.allowance), "gas_wei": str(funds.gas)}
        run.out.document({"wallet": account.address, **facts})


@opengradient.command("doctor")
@command
def doctor(
    run: Run,
    model: Annotated[str, typer.Option(help="The model that gateways are asked for.")] = "openai/gpt-5",
    nitro_root: Annotated[
        str | None, typer.Option(metavar="SHA256", help="Root that attests enclaves, on a local network.")
    ] = None,
) -> None:
    """Look at registry, enclaves, attestation, challenge, policy and funds, in this order, without paying."""
    with account_of(run, nitro_root) as account, run.out.waiting("looking at the enclaves"):
        findings = account.doctor(model)
    for each in findings:
        mark = _MARKS.get(each.outcome, each.outcome)
        run.out.line(f"{mark:<12} {each.step:<12} {each.subject[:18]:<19} {each.said}")
    failed = [each for each in findings if each.outcome == "fail"]
    run.out.document({"findings": [each.to_dict() for each in findings], "well": not failed})
    if failed:
        raise typer.Exit(_FAILED)


@opengradient.command("settlement")
@command
def settlement(run: Run, receipt: Annotated[str, typer.Argument(metavar="RECEIPT", help="Id of a receipt.")]) -> None:
    """What the chain says of the permit that a call was paid by, beside what the calls under it claim."""
    stored = run.stored()
    chosen = stored.get(receipt)
    if chosen is None:
        raise ConfigError(f"there is no receipt {receipt[:64]!r}", code="no_receipt", hint="see `zerog receipts list`")
    nonce = chosen.grant.get("nonce")
    own = stored.select(provider=chosen.provider, payer=chosen.payer or None)
    shared = [each for each in own if nonce and each.grant.get("nonce") == nonce]
    with account_of(run) as account, run.out.waiting("asking the chain"):
        found = account.settlement(chosen, *(each for each in shared if each.id != chosen.id))
    run.out.facts(
        ("permit", f"{found.status}{f' ({found.reason})' if found.reason else ''}"),
        ("transaction", found.transaction or "none yet"),
        ("taken", "not known" if found.amount is None else found.amount),
        ("claimed", f"{found.claimed} by {found.calls} call{'' if found.calls == 1 else 's'}"),
    )
    if found.excess is not None:
        run.out.warn(f"{found.excess} more than the calls claim was taken")
    run.out.document(found.to_dict())
