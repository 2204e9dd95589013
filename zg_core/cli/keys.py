"""``zerog keys``: API keys for programs that shall spend from one sub-account without the wallet."""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

import typer

from zg_core.backends.direct.money.api_keys import ApiKey, ApiKeys, NewKey
from zg_core.cli.money import sent_json, show_sent
from zg_core.cli.terminal.options import Provider, Yes, ask, command, consent, parse_address
from zg_core.cli.terminal.run import Run
from zg_core.errors import ZeroGError

__all__ = ["keys"]

keys = typer.Typer(help="API keys (app-sk-…) of the wallet's sub-accounts.", no_args_is_help=True)

_LIFETIME = re.compile(r"([1-9][0-9]{0,5})([hd])")
KeyId = Annotated[int, typer.Argument(metavar="ID", min=0, max=254, help="Id of the key, 0 to 254.")]
Expires = Annotated[str, typer.Option(metavar="TIME", help="How long it is valid: 12h, 30d, never.")]
Somewhere = Annotated[
    str | None,
    typer.Argument(
        metavar="PROVIDER",
        parser=parse_address,
        envvar="ZEROG_PROVIDER",
        show_envvar=False,
        help="Provider address; default ZEROG_PROVIDER.",
    ),
]


def _lifetime(text: str) -> timedelta | Literal["never"]:
    if text == "never":
        return "never"
    found = _LIFETIME.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time such as 12h, 30d or never", param_hint="--expires")
    return timedelta(hours=int(found[1])) if found[2] == "h" else timedelta(days=int(found[1]))


@keys.command("create")
@command
def create(
    run: Run,
    provider: Somewhere = None,
    expires: Expires = "30d",
    name: Annotated[str, typer.Option(help="What to call it.")] = "",
) -> None:
    """Make an API key for a provider and print it. It is a secret, shown this once; no transaction is sent."""
    lifetime = _lifetime(expires)
    if provider is None:
        raise typer.BadParameter("give a provider's address, or set ZEROG_PROVIDER", param_hint="PROVIDER")
    with run.broker() as broker, run.out.waiting("making the key"):
        service = broker.service(provider)
        made = ApiKeys(broker).create(provider, expires_in=lifetime, name=name)
    _show_new(run, made)
    run.out.note(f"base URL: {service.endpoint}")
    run.out.document({"api_key": made.token.reveal(), "base_url": service.endpoint, **_json(made.key)})


@keys.command("list")
@command
def list_keys(
    run: Run,
    provider: Annotated[
        str | None, typer.Argument(metavar="PROVIDER", parser=parse_address, help="Only of this provider.")
    ] = None,
) -> None:
    """List the keys that were made here, without the keys themselves."""
    with run.broker() as broker, run.out.waiting("reading the keys"):
        found = ApiKeys(broker).list(provider)
    if found:
        run.out.table(
            ["provider", "id", "name", "status", "made", "expires", "fingerprint"],
            [
                [
                    each.provider,
                    each.token_id,
                    each.name or "-",
                    each.status,
                    f"{each.created_at:%Y-%m-%d %H:%M}",
                    "never" if each.expires_at is None else f"{each.expires_at:%Y-%m-%d %H:%M}",
                    each.fingerprint[:12],
                ]
                for each in found
            ],
            rank=["id", "provider", "status", "name", "expires"],
        )
    else:
        run.out.line("no keys were made here")
    run.out.document({"keys": [_json(each) for each in found]})


@keys.command("revoke")
@command
def revoke(run: Run, provider: Provider, token_id: KeyId, yes: Yes = False) -> None:
    """Revoke one key on chain; the provider may take 5 minutes to see it."""
    consent(yes, f"revoke key {token_id} at {provider}")
    with run.broker() as broker:
        ask(run, yes, f"revoke key {token_id} at provider {provider}", ("gas", f"paid by the wallet {broker.address}"))
        with run.out.waiting("revoking"):
            done = ApiKeys(broker).revoke(provider, token_id)
    show_sent(run, f"revoked key {token_id} at {provider}", [done])
    run.out.note("the provider may take 5 minutes to see it")
    run.out.document({**sent_json("revoke", [done], broker), "provider": provider, "id": token_id})


@keys.command("revoke-all")
@command
def revoke_all(run: Run, provider: Provider, yes: Yes = False) -> None:
    """Revoke every key and every session at a provider, and free all ids."""
    consent(yes, f"revoke all keys at {provider}")
    with run.broker() as broker:
        ledger = ApiKeys(broker)
        with run.out.waiting("reading the keys"):
            live = sum(each.status == "live" for each in ledger.list(provider))
        ask(
            run,
            yes,
            f"revoke all keys and sessions at provider {provider}",
            ("ends", f"{live} live keys made here, and all that were made elsewhere"),
            ("gas", f"paid by the wallet {broker.address}"),
        )
        with run.out.waiting("revoking"):
            done = ledger.revoke_all(provider)
    show_sent(run, f"revoked all keys at {provider}", [done])
    run.out.note("the provider may take 5 minutes to see it")
    run.out.document({**sent_json("revoke-all", [done], broker), "provider": provider, "live_keys_ended": live})


@keys.command("rotate")
@command
def rotate(
    run: Run,
    provider: Provider,
    token_id: KeyId,
    expires: Expires = "30d",
    name: Annotated[str | None, typer.Option(help="What to call it; default as the old one.")] = None,
    yes: Yes = False,
) -> None:
    """Make a new key in place of a live one, print it, and revoke the old one. The new key is a secret."""
    lifetime = _lifetime(expires)
    consent(yes, f"rotate key {token_id} at {provider}")
    with run.broker() as broker:
        ask(
            run,
            yes,
            f"make a new key at provider {provider}, then revoke key {token_id}",
            ("gas", f"paid by the wallet {broker.address}"),
        )
        try:
            with run.out.waiting("rotating"):
                made = ApiKeys(broker).rotate(provider, token_id, expires_in=lifetime, name=name)
        except ZeroGError as error:
            created = error.details.pop("created", None)
            if isinstance(created, NewKey):  # it is valid and kept nowhere: it must not be lost
                error.message = error.message.replace("error.details['created']", "printed on stdout")
                error.hint = f"use the new key, then run `zerog keys revoke {provider} {token_id}`"
                _show_new(run, created)
                run.out.document({"api_key": created.token.reveal(), **_json(created.key), "revoked": None})
            raise
    _show_new(run, made)
    done = [] if made.revocation is None else [made.revocation]
    for each in done:
        run.out.note(f"key {token_id} is revoked by transaction {each.hash}, gas {each.fee}")
    run.out.document(
        {**sent_json("rotate", done, broker), "api_key": made.token.reveal(), **_json(made.key), "revoked": token_id}
    )


def _show_new(run: Run, made: NewKey) -> None:
    key = made.key
    until = "it never expires" if key.expires_at is None else f"valid until {key.expires_at:%Y-%m-%d %H:%M} UTC"
    run.out.line(made.token.reveal())
    run.out.note(
        f"this is a secret, shown this once: whoever has it can spend the sub-account at {key.provider}; {until}"
    )
    run.out.note(f"revoke it with `zerog keys revoke {key.provider} {key.token_id}`")


def _json(key: ApiKey) -> dict[str, Any]:
    return {
        "provider": key.provider,
        "id": key.token_id,
        "name": key.name,
        "status": key.status,
        "generation": key.generation,
        "created_at": key.created_at.isoformat(),
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
        "fingerprint": key.fingerprint,
    }
