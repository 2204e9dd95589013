"""Commands that move money: into the ledger, to a provider, and back. Each says what it will spend, and asks."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import typer

from zg_core.backends.direct.money.accounts import Ledger, SubAccount, no_ledger
from zg_core.backends.direct.money.broker import Broker
from zg_core.chain.intentions import Intention
from zg_core.chain.transactions import TransactionResult
from zg_core.cli.accounts import account_json, chain_time, ledger_json, wallet_balance
from zg_core.cli.terminal.failures import Usage
from zg_core.cli.terminal.options import (
    Again,
    AmountText,
    InNeuron,
    MaxGas,
    Provider,
    Yes,
    amount_of,
    ask,
    command,
    consent,
    parse_address,
    sending_of,
)
from zg_core.cli.terminal.output import money
from zg_core.cli.terminal.run import Run
from zg_core.http.transport import run as drive
from zg_core.money import Amount, og
from zg_core.types import ServiceRecord

__all__ = ["acknowledge", "deposit", "pending", "refund", "retrieve", "sent_json", "show_sent", "transfer"]

# Providers keep 1 0G in reserve, so a sub-account serves from a little more on (0g-direct §4.5).
_SERVES_FROM = og("1.1")


@command
def deposit(
    run: Run,
    amount: AmountText,
    neuron: InNeuron = False,
    yes: Yes = False,
    again: Again = False,
    max_gas: MaxGas = None,
) -> None:
    """Move 0G from the wallet into its ledger; the first time at least 3."""
    value, sending = amount_of(amount, neuron), sending_of(max_gas)
    consent(yes, f"deposit {value}")
    with run.broker(sending) as broker:
        with run.out.waiting("reading the wallet"):
            before, coins = broker.ledger(), wallet_balance(broker, broker.address)
        ask(
            run,
            yes,
            f"deposit {value}",
            ("from", f"the wallet {broker.address}, which holds {coins}"),
            ("to", "its new ledger" if before is None else f"its ledger, with {before.available} available"),
            *_where(broker),
        )
        with run.out.waiting("depositing"):
            done = broker.deposit(value, again=again)
            after = broker.ledger()
    show_sent(run, f"deposited {value}", [done])
    if after is not None:
        run.out.facts(("ledger", f"{after.available} available, {after.locked} in sub-accounts"))
    run.out.document({**sent_json("deposit", [done], broker), "amount": money(value), "ledger": ledger_json(after)})


@command
def transfer(
    run: Run,
    provider: Provider,
    amount: AmountText,
    neuron: InNeuron = False,
    yes: Yes = False,
    again: Again = False,
    max_gas: MaxGas = None,
) -> None:
    """Move 0G from the ledger to the sub-account at a provider, which also acknowledges its signer.

    A new sub-account takes at least 1 0G; to be served it needs about 1.1, since providers keep 1 0G in reserve.
    """
    value, sending = amount_of(amount, neuron), sending_of(max_gas)
    consent(yes, f"transfer {value} to {provider}")
    with run.broker(sending) as broker:
        with run.out.waiting("reading the accounts"):
            service, before, ledger = broker.service(provider), broker.account(provider), broker.ledger()
        if ledger is None:
            raise no_ledger(broker.address)
        usable = value + (Amount(0) if before is None else before.usable)
        if usable < _SERVES_FROM:
            run.out.warn(
                f"with {usable} this sub-account will hardly be served: providers keep 1 0G in reserve, so have at "
                f"least {_SERVES_FROM} there"
            )
        ask(
            run,
            yes,
            f"transfer {value}",
            ("from", f"the ledger of {broker.address}, with {ledger.available} available"),
            ("to", f"{_account_text(before)} at {provider} ({service.model}, {service.kind})"),
            *_where(broker),
        )
        with run.out.waiting("transferring"):
            done = broker.transfer(provider, value, again=again)
            after, ledger = broker.account(provider), broker.ledger()
    show_sent(run, f"transferred {value} to {provider}", [done])
    _show_account(run, after)
    run.out.note("the provider may take 2 minutes to see it")
    document = sent_json("transfer", [done], broker)
    document |= {"amount": money(value), "provider": provider, "account": _json(after, service)}
    run.out.document({**document, "ledger": ledger_json(ledger)})


@command
def retrieve(
    run: Run,
    providers: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROVIDER...", help="Sub-accounts; all without it.", parser=parse_address),
    ] = None,
    yes: Yes = False,
    again: Again = False,
    max_gas: MaxGas = None,
) -> None:
    """Collect refunds that are free into the ledger, and ask back all the rest of the sub-accounts.

    So money comes back with two calls, the lock time apart (a day, normally).
    """
    sending = sending_of(max_gas)
    consent(yes, "retrieve from " + (", ".join(providers) if providers else "all sub-accounts"))
    with run.broker(sending) as broker:
        with run.out.waiting("reading the accounts"):
            ledger, accounts, lock = broker.ledger(), broker.accounts(), timedelta(seconds=broker.lock_time())
            free_since = chain_time(broker) - lock
        if ledger is None:
            raise no_ledger(broker.address)
        chosen = [each for each in accounts if not providers or each.provider in providers]
        missing = set(providers or ()) - {each.provider for each in chosen}
        plans = [plan for each in chosen for plan in _plans(each, free_since)]
        done: tuple[TransactionResult, ...] = ()
        if plans or missing:  # missing ones are refused by the broker, before it sends
            ask(
                run,
                yes,
                f"retrieve to the ledger of {broker.address}",
                *plans,
                (
                    "lock time",
                    f"what is asked back now is free after {_hours(lock)}; collect it then, by the same command",
                ),
                *_where(broker),
            )
            with run.out.waiting("retrieving"):
                done = broker.retrieve(providers or None, again=again)
                accounts, ledger = broker.accounts(), broker.ledger()
    if done:
        show_sent(run, "retrieved", done)
        for each in accounts:
            if not providers or each.provider in providers:
                _show_account(run, each)
        asked_at = [at for each in accounts if not providers or each.provider in providers for at in _asked(each)]
        if asked_at:
            run.out.facts(("free at", f"{max(asked_at) + lock:%Y-%m-%d %H:%M} UTC; the same command collects it then"))
    else:
        run.out.line("nothing to retrieve now")
        waiting = [at for each in chosen for at in _asked(each)]
        if waiting:
            run.out.facts(("free at", f"{min(waiting) + lock:%Y-%m-%d %H:%M} UTC, the first of what was asked back"))
    if ledger is not None:
        run.out.facts(("ledger", f"{ledger.available} available, {ledger.locked} in sub-accounts"))
    document = sent_json("retrieve", done, broker)
    seconds = int(lock.total_seconds())
    document |= {"lock_seconds": seconds, "accounts": [account_json(each, None, seconds) for each in accounts]}
    run.out.document({**document, "ledger": ledger_json(ledger)})


@command
def refund(
    run: Run,
    amount: Annotated[
        str | None, typer.Argument(metavar="AMOUNT|all", help="Amount in 0G; all empties the ledger.")
    ] = None,
    neuron: InNeuron = False,
    yes: Yes = False,
    again: Again = False,
    max_gas: MaxGas = None,
) -> None:
    """Pay out from the ledger to the wallet; nothing or at least 3 0G may stay."""
    if amount is None:
        raise Usage("how much is to be paid out?", "AMOUNT|all", hint="`zerog refund all`, or an amount in 0G")
    value: Amount | Literal["all"] = "all" if amount == "all" else amount_of(amount, neuron)
    sending = sending_of(max_gas)
    consent(yes, f"refund {value}")
    with run.broker(sending) as broker:
        with run.out.waiting("reading the ledger"):
            before = broker.ledger()
        if before is None:
            raise no_ledger(broker.address)
        ask(
            run,
            yes,
            f"refund {before.available if value == 'all' else value}",
            ("from", f"the ledger of {broker.address}, with {before.available} available, {before.locked} locked"),
            ("to", "the wallet" + ("; the empty ledger is deleted" if _takes_all(value, before) else "")),
            *_where(broker),
        )
        with run.out.waiting("paying out"):
            done = broker.refund(value, again=again)
            after = broker.ledger()
    paid = before.available if value == "all" else value
    show_sent(run, f"refunded {paid}", [done])
    run.out.facts(("ledger", "deleted" if after is None else f"{after.available} available"))
    run.out.document({**sent_json("refund", [done], broker), "amount": money(paid), "ledger": ledger_json(after)})


@command
def acknowledge(run: Run, provider: Provider, yes: Yes = False) -> None:
    """Acknowledge the provider's TEE signer; a transfer does that, too."""
    consent(yes, f"acknowledge {provider}")
    with run.broker() as broker:
        with run.out.waiting("reading the account"):
            service, before = broker.service(provider), broker.account(provider)
        done: TransactionResult | None = None
        if before is None:
            drive(broker.core.own_account(provider))  # says that there is none, and how to get one
        if before is None or not before.acknowledged:
            ask(
                run,
                yes,
                f"acknowledge the signer {service.tee_signer}",
                ("of", f"provider {provider} ({service.model}, {service.kind})"),
                *_where(broker),
            )
            with run.out.waiting("acknowledging"):
                done = broker.acknowledge(provider)
    if done is None:
        run.out.line(f"{provider} is acknowledged already; nothing was sent")
    else:
        show_sent(run, f"acknowledged {provider}", [done])
        run.out.note("the provider may take 2 minutes to see it")
    document = sent_json("acknowledge", [] if done is None else [done], broker)
    run.out.document({**document, "provider": provider, "tee_signer": service.tee_signer, "acknowledged": True})


@command
def pending(
    run: Run,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="ID", help="Wait on for this one; it is not sent twice.")
    ] = None,
) -> None:
    """List transactions that had no clear end, and what the chain shows of them now.

    They are remembered in the store (ZEROG_STORE). One that is mined, reverted or dropped is listed once more.
    """
    with run.broker() as broker:
        if resume is not None:
            with run.out.waiting("waiting"):
                done = broker.resume(resume)
            show_sent(run, "mined", [done])
            run.out.document({**sent_json("resume", [done], broker), "intention": resume})
            return
        with run.out.waiting("looking"):
            found = broker.pending()
    if found:
        rows = [
            (each.id, each.what, str(each.value), f"{each.asked_at:%Y-%m-%d %H:%M}", each.state, each.hashes[-1])
            for each in found
        ]
        run.out.table(
            ["id", "call", "value", "asked for (UTC)", "state", "transaction"],
            rows,
            rank=["id", "state", "call", "value"],
        )
    else:
        run.out.line("no transaction is without a clear end")
    run.out.document(
        {
            "network": broker.network.name,
            "chain_id": broker.network.chain_id,
            "wallet": broker.address,
            "pending": [_intention_json(each) for each in found],
        }
    )


def _intention_json(each: Intention) -> dict[str, Any]:
    return {
        "id": each.id,
        "call": each.what,
        "to": each.to,
        "value": money(each.value),
        "asked_at": each.asked_at.isoformat(),
        "state": each.state,
        "nonce": each.nonce,
        "transactions": list(each.hashes),
    }


def show_sent(run: Run, what: str, done: Sequence[TransactionResult]) -> None:
    """Say what was done, by which transactions, and what the gas cost."""
    run.out.line(what)
    for each in done:
        run.out.facts(("transaction", f"{each.hash}, block {each.block}, gas {each.fee}"))


def sent_json(action: str, done: Sequence[TransactionResult], broker: Broker) -> dict[str, Any]:
    """The part of the JSON document that all commands with transactions share."""
    return {
        "action": action,
        "network": broker.network.name,
        "chain_id": broker.network.chain_id,
        "wallet": broker.address,
        "transactions": [
            {
                "hash": each.hash,
                "block": each.block,
                "gas_used": each.gas_used,
                "fee": money(each.fee),
                "nonce": each.nonce,
                "replaced": list(each.replaced),
            }
            for each in done
        ],
    }


def _where(broker: Broker) -> tuple[tuple[str, str], ...]:
    network = broker.network
    return (("network", f"{network.name}, chain {network.chain_id}"), ("gas", f"paid by the wallet {broker.address}"))


def _takes_all(value: Amount | Literal["all"], ledger: Ledger) -> bool:
    return (ledger.available if value == "all" else value) == ledger.total


def _account_text(account: SubAccount | None) -> str:
    return "a new sub-account" if account is None else f"the sub-account, with {account.usable} usable,"


def _plans(account: SubAccount, free_since: datetime) -> Iterator[tuple[str, str]]:
    """What a retrieval does at one provider."""
    free = [each.amount for each in account.refunds if each.requested_at <= free_since]
    if free:
        yield "collect", f"{sum(free, Amount(0))} at {account.provider}"
    if account.usable.units:
        yield "ask back", f"{account.usable} at {account.provider}"


def _asked(account: SubAccount | None) -> list[datetime]:
    """When what is not back yet was asked back."""
    return [] if account is None else [each.requested_at for each in account.refunds]


def _hours(lock: timedelta) -> str:
    return f"{lock.total_seconds() / 3600:g} hours"


def _show_account(run: Run, account: SubAccount | None) -> None:
    if account is not None:
        run.out.facts(
            ("sub-account", f"{account.usable} usable, {account.pending_refund} pending refund, at {account.provider}")
        )


def _json(account: SubAccount | None, service: ServiceRecord) -> dict[str, Any] | None:
    return None if account is None else account_json(account, service)
