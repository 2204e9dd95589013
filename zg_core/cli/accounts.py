"""``zerog account`` and ``zerog settlements``: what a wallet holds, and what was charged to it."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from zg_core.backends.direct.money.accounts import Ledger, SubAccount
from zg_core.backends.direct.money.broker import Broker
from zg_core.chain.rpc import quantity
from zg_core.cli.terminal.options import User, command, parse_address
from zg_core.cli.terminal.output import money
from zg_core.cli.terminal.run import Run
from zg_core.contracts.settlements import Settlement
from zg_core.crypto import same_address
from zg_core.http.transport import run as drive
from zg_core.money import Amount
from zg_core.types import ServiceRecord

__all__ = ["account", "account_json", "chain_time", "ledger_json", "settlements", "wallet_balance"]


@command
def account(run: Run, user: User = None) -> None:
    """Show the wallet, its ledger, and its sub-accounts at providers."""
    with run.reader(user) as broker, run.out.waiting("reading the accounts"):
        owner = broker.address
        balance = wallet_balance(broker, owner)
        ledger = broker.ledger(owner)
        accounts = broker.accounts(owner)
        lock = broker.lock_time() if any(each.refunds for each in accounts) else None
        services = {each.provider: each for each in broker.services()} if accounts else {}
        network = broker.network
    run.out.facts(
        ("wallet", f"{owner}, {balance}"),
        ("network", f"{network.name}, chain {network.chain_id}"),
        (
            "ledger",
            "none; make one with `zerog deposit 3`"
            if ledger is None
            else f"{ledger.available} available, {ledger.locked} in sub-accounts",
        ),
    )
    if accounts:
        run.out.line()
        run.out.table(
            ["sub-account at", "model", "usable", "pending refund", "acknowledged", "revoked keys"],
            [_row(each, services.get(each.provider), lock) for each in accounts],
            rank=["sub-account at", "usable", "pending refund", "model"],
        )
    run.out.document(
        {
            "network": network.name,
            "chain_id": network.chain_id,
            "wallet": owner,
            "balance": money(balance),
            "ledger": ledger_json(ledger),
            "accounts": [account_json(each, services.get(each.provider), lock) for each in accounts],
        }
    )


@command
def settlements(
    run: Run,
    user: User = None,
    provider: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Only of this provider.", parser=parse_address)
    ] = None,
    from_block: Annotated[
        int | None, typer.Option(min=0, help="First block; default the first that knows the wallet.")
    ] = None,
    to_block: Annotated[int | None, typer.Option(min=0, help="Last block; default the newest.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
) -> None:
    """List what providers charged on chain, the newest first, with the TEE key that signed for it."""
    with run.reader(user) as broker, run.out.waiting("reading the settlements"):
        owner = broker.address
        signers = {each.provider: each.tee_signer for each in broker.services()}  # also checks which chain this is
        found = broker.settlements(owner, from_block=from_block, to_block="latest" if to_block is None else to_block)
        found = [each for each in found if provider is None or each.provider == provider]
        network = broker.network
    found.sort(key=lambda each: each.block, reverse=True)
    paid = Amount(sum(each.paid.units for each in found))
    if found:
        run.out.table(
            ["block", "provider", "asked", "paid", "status", "signed by the TEE key", "nonce", "transaction"],
            [
                [
                    each.block,
                    each.provider,
                    each.total_fee,
                    each.paid,
                    each.status.name.lower(),
                    _signed(each, signers),
                    each.nonce,
                    each.transaction,
                ]
                for each in found[:limit]
            ],
            rank=["block", "paid", "status", "provider", "transaction", "asked", "signed by the TEE key", "nonce"],
        )
        if len(found) > limit:
            run.out.note(f"the newest {limit} are shown; --limit {len(found)} shows all")
    run.out.line(f"{len(found)} settlements, {paid} paid" if found else "no settlements")
    run.out.document(
        {
            "network": network.name,
            "chain_id": network.chain_id,
            "user": owner,
            "paid": money(paid),
            "count": len(found),
            "settlements": [_settlement_json(each, signers) for each in found[:limit]],
        }
    )


def wallet_balance(broker: Broker, owner: str) -> Amount:
    """The coins of `owner` outside the ledger.

    Raises:
        ChainError: the chain cannot be read.
    """
    return Amount(_number(broker, "eth_getBalance", [owner, "latest"]))


def chain_time(broker: Broker) -> datetime:
    """The time of the newest block: refunds become free by it.

    Raises:
        ChainError: the chain cannot be read.
    """
    return datetime.fromtimestamp(_number(broker, "eth_getBlockByNumber", ["latest", False], "timestamp"), UTC)


def _number(broker: Broker, method: str, params: list[Any], field: str | None = None) -> int:
    (answer,) = drive(broker.core.chain.rpc.batch([(method, params)]))
    return quantity(answer.get(field) if field is not None and isinstance(answer, dict) else answer, method)


def ledger_json(ledger: Ledger | None) -> dict[str, Any] | None:
    """A ledger in a JSON document."""
    if ledger is None:
        return None
    return {"available": money(ledger.available), "locked": money(ledger.locked), "total": money(ledger.total)}


def account_json(found: SubAccount, service: ServiceRecord | None, lock: int | None = None) -> dict[str, Any]:
    """A sub-account in a JSON document; `lock` is the lock time of refunds in seconds."""
    return {
        "provider": found.provider,
        "model": None if service is None else service.model,
        "balance": money(found.balance),
        "usable": money(found.usable),
        "pending_refund": money(found.pending_refund),
        "refunds": [
            {
                "amount": money(each.amount),
                "requested_at": each.requested_at.isoformat(),
                "free_at": None if lock is None else (each.requested_at + timedelta(seconds=lock)).isoformat(),
            }
            for each in found.refunds
        ],
        "acknowledged": found.acknowledged,
        "generation": found.generation,
        "revoked_keys": sorted(found.revoked_keys),
    }


def _row(found: SubAccount, service: ServiceRecord | None, lock: int | None) -> list[object]:
    refund = "-"
    if found.refunds and lock is not None:
        free = max(each.requested_at for each in found.refunds) + timedelta(seconds=lock)
        refund = f"{found.pending_refund}, all free at {free:%Y-%m-%d %H:%M} UTC"
    return [
        found.provider,
        "not registered" if service is None else service.model,
        found.usable,
        refund,
        "yes" if found.acknowledged else "no",
        ", ".join(map(str, sorted(found.revoked_keys))) or "-",
    ]


def _signed(item: Settlement, signers: dict[str, str]) -> str:
    return {True: "yes", False: f"no, by {item.signer or 'nobody'}", None: f"by {item.signer}"}[_by_tee(item, signers)]


def _by_tee(item: Settlement, signers: dict[str, str]) -> bool | None:
    """Whether the key that is on chain now signed; None if the provider has left."""
    now = signers.get(item.provider)
    return None if now is None else bool(item.signer) and same_address(item.signer, now)


def _settlement_json(item: Settlement, signers: dict[str, str]) -> dict[str, Any]:
    return {
        "transaction": item.transaction,
        "block": item.block,
        "provider": item.provider,
        "status": item.status.name.lower(),
        "asked": money(item.total_fee),
        "paid": money(item.paid),
        "unsettled": money(item.unsettled),
        "nonce": str(item.nonce),
        "requests_hash": item.requests_hash,
        "signer": item.signer,
        "signed_by_tee_key_on_chain": _by_tee(item, signers),
        "balance": money(item.balance),
        "pending_refund": money(item.pending_refund),
    }
