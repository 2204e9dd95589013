"""``zerog serve``: an OpenAI-compatible server for programs that know a base URL only, and keys for its users."""

import asyncio
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zg_core.calls.limits import Limits
from zg_core.cli.terminal.options import command
from zg_core.cli.terminal.output import money
from zg_core.cli.terminal.run import Run
from zg_core.config import Secret
from zg_core.errors import ConfigError
from zg_core.store import Store

if TYPE_CHECKING:
    from zg_core.serve.access import Key, Keys
    from zg_core.serve.app import Server
    from zg_core.serve.settings import ServeSettings

__all__ = ["serve"]

serve = typer.Typer(help="An OpenAI-compatible server whose answers are paid, recorded and verified.")
keys = typer.Typer(help="Keys for users of the server, with budgets of their own.", no_args_is_help=True)
serve.add_typer(keys, name="keys")

_LIMITS = re.compile(r"([0-9]{1,6})/([0-9]{1,6})/([0-9]{1,6})")
_UNLIKE_A_TOKEN = re.compile(r"[^\x21-\x7e]")
_SHORTEST = 16


@serve.callback(invoke_without_command=True)
@command
def start(
    run: Run,
    context: typer.Context,
    backend: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="direct, router, opengradient; default as for the key."),
    ] = None,
    provider: Annotated[str | None, typer.Option(metavar="ID", help="Serve what this provider serves.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Serve this model; repeatable. Default: all on chain.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Several named models, in TOML (docs/serve.md).")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", envvar="ZEROG_API_KEY", show_envvar=False, help="Pay with it; ZEROG_API_KEY."),
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen; elsewhere than here only with a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 3000,
    verify: Annotated[str, typer.Option(metavar="MODE", help="off, background, warn or require.")] = "require",
    minimum: Annotated[
        str | None, typer.Option(metavar="VERDICT", help="Least verdict that will do: verified (default), …")
    ] = None,
    hold: Annotated[bool, typer.Option("--hold", help="Streams wait for their verdict.")] = False,
    budget: Annotated[
        list[str] | None,
        typer.Option(metavar="0G/PERIOD", help="Most that all calls cost: 5/day, 0.05/call, 20/total; repeatable."),
    ] = None,
    limits: Annotated[
        str | None, typer.Option(metavar="N/N/N", help="Requests a minute, in a burst, at once; or none.")
    ] = None,
    routing: Annotated[
        str | None, typer.Option(metavar="ORDER", help="Choose for each call, and fail over: price, latency, …")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            envvar="ZEROG_SERVE_TOKEN",
            show_envvar=False,
            help="What callers must show; default ZEROG_SERVE_TOKEN, else a random one that is printed.",
        ),
    ] = None,
    no_token: Annotated[bool, typer.Option("--no-token", help="Let every program of this machine in.")] = False,
    store: Annotated[str | None, typer.Option(metavar="URL", help="Receipts, budgets, keys; ZEROG_STORE.")] = None,
    public_name: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="A further host name it may be asked by; repeatable.")
    ] = None,
    telemetry: Annotated[
        bool, typer.Option("--telemetry", help="Hand spans and metrics to OpenTelemetry (extra otel).")
    ] = False,
    max_body: Annotated[int, typer.Option(metavar="MB", min=1, max=1024, help="Largest request.")] = 32,
    grace: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="How long calls may take to end.")] = 30.0,
) -> None:
    """Serve models to programs that know a base URL only; Ctrl-C or SIGTERM ends it once calls under way are done.

    Every answer is paid from the wallet, recorded, and verified as --verify says; what fails is an error.
    """
    if context.invoked_subcommand is not None:
        return
    from zg_core.serve.access import new_token
    from zg_core.serve.settings import ANY, ServeSettings, allowance_of, entry_of, read_toml

    shared: dict[str, Any] = {
        **{name: value for name, value in run.where.items() if name != "store"},
        "verify": verify,
        "minimum": minimum,
    }
    if api_key is not None:
        shared["api_key"] = Secret(api_key)
    if backend is not None:
        shared["backend"] = backend
    if limits is not None:
        shared["limits"] = _limits(limits)
    told = None if token is None else _checked(token)
    if not (provider or model or config):
        provider, model = os.environ.get("ZEROG_PROVIDER"), _one(os.environ.get("ZEROG_MODEL"))
    settings = ServeSettings(
        entries={ANY: entry_of(ANY, {}, shared)},
        host=host,
        port=port,
        token=None if no_token else told or new_token(),
        budget=tuple(map(allowance_of, budget or [])),
        store=store or run.where["store"],
        max_body=max_body * 1024 * 1024,
        grace=grace,
        names=frozenset(name.lower() for name in public_name or ()),
        traced=telemetry,
    )
    if config is not None:
        if model or provider or routing:
            raise typer.BadParameter("the file names the models", param_hint="--config")
        settings = read_toml(config, settings, shared)
    else:
        said = {name: value for name, value in (("provider", provider), ("routing", routing)) if value is not None}
        named = [(name, {**said, "model": name}) for name in model or ()] or [(ANY, said)]
        entries = [entry_of(name, each, shared, hold=hold) for name, each in named]
        settings = replace(settings, entries={each.name: each for each in entries})
    _run(run, settings, told is None and not no_token)


def _run(run: Run, settings: "ServeSettings", fresh: bool) -> None:
    try:
        from zg_core.serve.running import bound
        from zg_core.serve.running import serve as serving
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn", "h11"):
            raise
        raise ConfigError(
            f"serving needs {error.name}", code="missing_extra", hint="pip install 'zerog-integrations[serve]'"
        ) from None
    if settings.traced:
        from zg_core.telemetry import instrument

        instrument()
    sock = bound(settings.host, settings.port)
    url = _url(settings.host, sock.getsockname()[1])

    def ready(server: "Server", stop: Callable[[], None]) -> None:  # noqa: ARG001 - signals stop it
        _announce(run, server, url, fresh=fresh)

    asyncio.run(serving(settings, sock, ready))
    run.out.line("stopped")


def _announce(run: Run, server: "Server", url: str, *, fresh: bool) -> None:
    from zg_core.serve.settings import ANY

    settings = server.settings
    shown = "every model on chain" if ANY in settings.entries else ", ".join(settings.entries)
    run.out.line(f"serving  {shown} at {url}/v1")
    token = None if settings.token is None or not fresh else settings.token.reveal()
    if settings.token is None:
        run.out.line(f"console  {url}/")
        run.out.note("without a token: every program of this machine can spend")
    elif token is None:
        run.out.line(f"console  {url}/ (it asks for your token)")
    else:
        run.out.line(f"token    {token}")
        run.out.line(f"console  {url}/#token={token}")
        run.out.note("the token is a secret, made for this run and shown this once; set ZEROG_SERVE_TOKEN to keep one")
    if server.settings.host not in ("127.0.0.1", "localhost", "::1"):
        run.out.note("other machines can reach it: put TLS in front of it, the token goes over the wire as it is")
    run.out.line("Ctrl-C ends it")
    run.out.document(
        {"url": url, "base_url": f"{url}/v1", "models": [*settings.entries], "token": token, "store": _store(settings)}
    )


def _store(settings: "ServeSettings") -> str:
    return settings.store.partition("://")[0]  # the rest may hold a password


def _url(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{shown}:{port}"


def _checked(token: str) -> Secret:
    if len(token) < _SHORTEST or _UNLIKE_A_TOKEN.search(token):
        raise typer.BadParameter(f"a token has {_SHORTEST} or more printable ASCII characters", param_hint="--token")
    return Secret(token)


def _one(name: str | None) -> list[str]:
    return [name] if name else []


def _limits(text: str) -> Limits | None:
    if text == "none":
        return None
    found = _LIMITS.fullmatch(text)
    if found is None:
        raise typer.BadParameter("write a minute/burst/at once, such as 30/5/5, or none", param_hint="--limits")
    return Limits(*map(int, found.groups()))


@keys.command("create")
@command
def create(
    run: Run,
    name: Annotated[str, typer.Option(help="Whose it is.")],
    budget: Annotated[str, typer.Option(metavar="0G/PERIOD", help="Most that its calls cost: 2/day, 10/total.")],
) -> None:
    """Make a key for a user and print it. It is a secret, shown this once; only its hash is kept."""
    from zg_core.serve.settings import allowance_of

    allowance = allowance_of(budget)
    secret, key = _keys(run).create(name, allowance)
    run.out.line(secret.reveal())
    run.out.note(f"this is a secret, shown this once: with it {key.name} can spend {allowance} in 0G")
    run.out.note(f"revoke it with `zerog serve keys revoke {key.id}`")
    run.out.document({"key": secret.reveal(), **_json(run, key)})


@keys.command("list")
@command
def list_keys(run: Run) -> None:
    """List the keys, and what each has spent of its budget."""
    found = _keys(run).all()
    facts = [_json(run, each) for each in found]
    if found:
        run.out.table(
            ["id", "name", "budget (0G)", "spent (0G)", "made", "status"],
            [
                [
                    each.id,
                    each.name,
                    each.allowance,
                    fact["spent"]["amount"],
                    f"{each.created:%Y-%m-%d %H:%M}",
                    "works" if each.revoked is None else f"revoked {each.revoked:%Y-%m-%d %H:%M}",
                ]
                for each, fact in zip(found, facts, strict=True)
            ],
        )
    else:
        run.out.line("no keys were made")
    run.out.document({"keys": facts})


@keys.command("revoke")
@command
def revoke(run: Run, key: Annotated[str, typer.Argument(metavar="KEY", help="Its id or name.")]) -> None:
    """End a key; a server that shares the store notices within two seconds."""
    gone = _keys(run).revoke(key)
    run.out.line(f"revoked the key of {gone.name}")
    run.out.document(_json(run, gone))


def _keys(run: Run) -> "Keys":
    from zg_core.serve.access import Keys

    return Keys(Store.open(run.where["store"]))


def _json(run: Run, key: "Key") -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "budget": str(key.allowance),
        "spent": money(key.spent(Store.open(run.where["store"]))),
        "created_at": key.created.isoformat(),
        "revoked_at": None if key.revoked is None else key.revoked.isoformat(),
    }
