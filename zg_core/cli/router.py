"""``zerog router``: what 0G Router offers and holds of ours, its keys, and receipts beside its book."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zg_core.cli.terminal.options import Yes, command, consent
from zg_core.cli.terminal.output import money
from zg_core.cli.terminal.run import Run  # noqa: TC001 - typer reads the annotations

__all__ = ["account_of", "router"]

router = typer.Typer(help="0G Router: balance, usage and keys (needs a management key).", no_args_is_help=True)
keys = typer.Typer(help="Inference keys (sk-…) of the account.", no_args_is_help=True)
router.add_typer(keys, name="keys")

_DIFFERS = 1


def account_of(run: Run) -> Any:
    """The Router's account of this command's settings."""
    from zg_core.backends.router.account import RouterAccount

    where = run.where
    return RouterAccount(network=where["network"], ca_file=where["ca_file"])


@router.command("balance")
@command
def balance(run: Run) -> None:
    """What the Router's ledger holds, what is pending, and an estimate of what requests can spend."""
    with account_of(run) as account, run.out.waiting("asking the Router"):
        ledger, funds = account.balance(), account.funds()
    run.out.facts(
        ("account", ledger.address),
        ("balance", f"{ledger.total} ({ledger.deposit} deposited, {ledger.credit} given)"),
        ("pending", funds.pending),
        ("vault", funds.vault),
        ("available", f"about {funds.available}"),
    )
    facts = {"total": money(ledger.total), "deposit": money(ledger.deposit), "credit": money(ledger.credit)}
    more = {"pending": money(funds.pending), "vault": money(funds.vault), "available": money(funds.available)}
    run.out.document({"account": ledger.address, **facts, **more})


@router.command("usage")
@command
def usage(
    run: Run,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many requests, the newest first.")] = 20,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Of this model only.")] = None,
) -> None:
    """What requests cost, by the Router's book."""
    with account_of(run) as account, run.out.waiting("asking the Router"):
        entries = account.usage(limit=limit, model=model)
    for entry in entries:
        counts = f"{entry.input_tokens} + {entry.output_tokens} tokens"
        run.out.line(f"{entry.created_at}  {entry.request_id}  {entry.model}  {entry.cost}  {counts}")
    shown = [
        {
            "request_id": entry.request_id,
            "provider": entry.provider,
            "model": entry.model,
            "cost": money(entry.cost),
            "input_tokens": entry.input_tokens,
            "output_tokens": entry.output_tokens,
            "trust_mode": entry.trust_mode,
            "created_at": entry.created_at,
        }
        for entry in entries
    ]
    run.out.document({"requests": shown})


@router.command("audit")
@command
def audit(
    run: Run,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many entries of the book are read.")] = 1000,
) -> None:
    """Receipts of calls through the Router beside its book. Exit code 1 if one differs."""
    receipts = [receipt for receipt in run.stored() if receipt.backend == "router"]
    with account_of(run) as account, run.out.waiting("asking the Router"):
        found = account.audit(receipts, limit=limit)
    for each in found:
        charged = "not in the book" if each.charged is None else f"charged {each.charged}"
        run.out.line(f"{each.result:<8} {each.receipt_id}  {each.request_id or '-'}  said {each.said}, {charged}")
    counts = {word: sum(each.result == word for each in found) for word in ("agrees", "differs", "missing", "unknown")}
    run.out.line(", ".join(f"{number} {word}" for word, number in counts.items()))
    run.out.document({"receipts": [each.to_dict() for each in found], **counts})
    if counts["differs"]:
        raise typer.Exit(_DIFFERS)


@router.command("models")
@command
def models(run: Run) -> None:
    """The models that the Router lists; needs no key."""
    with account_of(run) as account, run.out.waiting("asking the Router"):
        rows = account.models()
    for row in rows:
        run.out.line(f"{row.get('id')}  {row.get('type')}  {row.get('verifiability') or 'None'}")
    shown = ("id", "type", "context_length", "verifiability", "provider_count", "pricing", "supported_parameters")
    run.out.document({"models": [{name: row.get(name) for name in shown} for row in rows]})


@keys.command("list")
@command
def list_keys(run: Run) -> None:
    """The inference keys; none of them is shown."""
    with account_of(run) as account, run.out.waiting("asking the Router"):
        found = account.api_keys()
    for each in found:
        run.out.line(f"{each.key_id}  {each.status:<8} {each.preview}  {each.name}")
    names = ("key_id", "name", "preview", "status", "trust_mode")
    run.out.document({"keys": [{name: getattr(each, name) for name in names} for each in found]})


@keys.command("create")
@command
def create_key(
    run: Run,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the key.")],
    limit: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="The most that it may spend, such as 1.5.")
    ] = None,
    trust_mode: Annotated[str | None, typer.Option(metavar="TIER", help="Pin it to verified or private.")] = None,
    model: Annotated[list[str] | None, typer.Option(metavar="NAME", help="May ask for this only; repeatable.")] = None,
) -> None:
    """Make an inference key and print it. It is a secret, shown this once."""
    settings: dict[str, Any] = {"credit_limit": limit, "trust_mode": trust_mode, "allowed_models": model}
    with account_of(run) as account, run.out.waiting("asking the Router"):
        made = account.create_key(name, **{key: value for key, value in settings.items() if value})
    secret = "" if made.key is None else made.key.reveal()
    run.out.line(secret)
    run.out.note("this is a secret: whoever has it spends the account's balance; set ZEROG_API_KEY to it")
    run.out.document({"key": secret, "key_id": made.key_id, "name": made.name})


@keys.command("update")
@command
def update_key(
    run: Run,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Call it so.")] = None,
    limit: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="The most that it may spend, such as 1.5, or none.")
    ] = None,
    trust_mode: Annotated[
        str | None, typer.Option(metavar="TIER", help="Pin it to verified or private, or to none.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(metavar="NAME", help="May ask for this only; repeatable.")] = None,
) -> None:
    """Change what an inference key may do; what is not named stays."""
    said: dict[str, Any] = {"name": name, "credit_limit": limit, "trust_mode": trust_mode, "allowed_models": model}
    settings = {key: value for key, value in said.items() if value}
    if limit == "none":
        settings["credit_limit"] = None
    if trust_mode == "none":
        settings["trust_mode"] = ""
    with account_of(run) as account, run.out.waiting("asking the Router"):
        made = account.update_key(key_id, **settings)
    run.out.line(f"{made.key_id}  {made.status:<8} {made.preview}  {made.name}")
    run.out.document({field: getattr(made, field) for field in ("key_id", "name", "preview", "status", "trust_mode")})


@keys.command("revoke")
@command
def revoke_key(
    run: Run, key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key.")], yes: Yes = False
) -> None:
    """End an inference key for good."""
    consent(yes, f"revoke the key {key_id}")
    with account_of(run) as account, run.out.waiting("asking the Router"):
        account.revoke_key(key_id)
    run.out.line(f"revoked {key_id}")
    run.out.document({"key_id": key_id, "revoked": True})
