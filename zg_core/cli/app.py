"""The commands of `zerog`, put together; each lives in a module of its own."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from zg_core.cli.accounts import account, settlements
from zg_core.cli.adapters import adapters
from zg_core.cli.budget import budget
from zg_core.cli.chat import chat, token
from zg_core.cli.compare import compare
from zg_core.cli.keys import keys
from zg_core.cli.market import models, providers
from zg_core.cli.media import check, image, transcribe
from zg_core.cli.money import acknowledge, deposit, pending, refund, retrieve, transfer
from zg_core.cli.notebooks.commands import notebooks
from zg_core.cli.opengradient import opengradient
from zg_core.cli.receipts import receipts
from zg_core.cli.router import router as router_commands
from zg_core.cli.serve import serve
from zg_core.cli.terminal.failures import Commands
from zg_core.cli.terminal.options import command
from zg_core.cli.terminal.run import Run
from zg_core.cli.verify import verify
from zg_core.cli.wallet import login, logout, network, status

__all__ = ["app", "cli"]

cli = typer.Typer(
    cls=Commands,
    name="zerog",
    help="Provable LLM inference on 0G: discover, fund, call, verify.",
    epilog="Exit codes: 0 done, 1 error, 2 usage or not confirmed, 3 could not be verified, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
localnet = typer.Typer(help="A 0G network on this machine.", no_args_is_help=True)

MARKET, MONEY, LOCAL = "Ask", "Money", "On this machine"
for name, function, panel in (
    ("providers", providers, MARKET),
    ("models", models, MARKET),
    ("verify", verify, MARKET),
    ("chat", chat, MARKET),
    ("image", image, MARKET),
    ("transcribe", transcribe, MARKET),
    ("check", check, MARKET),
    ("compare", compare, MARKET),
    ("token", token, MARKET),
    ("account", account, MONEY),
    ("deposit", deposit, MONEY),
    ("transfer", transfer, MONEY),
    ("retrieve", retrieve, MONEY),
    ("refund", refund, MONEY),
    ("acknowledge", acknowledge, MONEY),
    ("pending", pending, MONEY),
    ("settlements", settlements, MONEY),
    ("login", login, LOCAL),
    ("logout", logout, LOCAL),
    ("status", status, LOCAL),
    ("network", network, LOCAL),
):
    cli.command(name, rich_help_panel=panel)(function)
cli.add_typer(adapters, name="adapters", rich_help_panel=MARKET)
cli.add_typer(keys, name="keys", rich_help_panel=MARKET)
cli.add_typer(serve, name="serve", rich_help_panel=MARKET)
cli.add_typer(budget, name="budget", rich_help_panel=MONEY)
cli.add_typer(receipts, name="receipts", rich_help_panel=MONEY)
cli.add_typer(opengradient, name="opengradient", rich_help_panel=MONEY)
cli.add_typer(router_commands, name="router", rich_help_panel=MONEY)
cli.add_typer(localnet, name="localnet", rich_help_panel=LOCAL)
cli.add_typer(notebooks, name="notebooks", rich_help_panel=LOCAL)


def _version(wanted: bool) -> None:
    if wanted:
        from zg_core import __version__

        sys.stdout.write(f"zerog {__version__}\n")
        raise typer.Exit


@cli.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Provable LLM inference on 0G: discover, fund, call, verify."""


@localnet.command("up")
@command
def localnet_up(
    run: Run,
    providers: Annotated[int, typer.Option(min=1, max=20, help="How many providers to start.")] = 1,
    services: Annotated[
        str,
        typer.Option(
            help="What they serve, with commas between: chat,embedding,image,edit,speech. One provider each at least."
        ),
    ] = "",
    fund: Annotated[
        bool, typer.Option("--fund", help="Open the wallet's accounts: 10 0G at every provider, ready for calls.")
    ] = False,
    rpc_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the JSON-RPC server; 0 takes a free one.")
    ] = 0,
    env_file: Annotated[
        Path | None, typer.Option(help="Write settings here (mode 0600) once the network is ready.")
    ] = None,
    legacy_names: Annotated[
        bool,
        typer.Option("--legacy-names", help="Write RPC_URL, PRIVATE_KEY, PROVIDERS … as well as the ZEROG_ names."),
    ] = False,
    upstream: Annotated[str | None, typer.Option(help="Forward to this OpenAI-compatible server instead.")] = None,
    tls: Annotated[bool, typer.Option(help="Serve https with a throw-away certificate authority.")] = False,
    production: Annotated[bool, typer.Option(help="Use the real providers' limits, caches and intervals.")] = False,
    anvil: Annotated[str | None, typer.Option(metavar="PATH", help="Run the chain in this anvil program.")] = None,
    rpc: Annotated[
        str | None, typer.Option(metavar="URL", help="Use the development node that answers here (chain id 31337).")
    ] = None,
    router: Annotated[
        bool, typer.Option("--router", help="Put a Router before the providers: one key, one balance.")
    ] = False,
    opengradient: Annotated[
        bool, typer.Option("--opengradient", help="Start a local OpenGradient instead: its chains and gateways.")
    ] = False,
) -> None:
    """Start a local 0G network in the foreground; end it with Ctrl-C or SIGTERM."""
    from zg_core.cli.localnet import up, up_opengradient

    if opengradient:
        if tls or production or anvil or rpc or fund or upstream or services or router:
            raise typer.BadParameter("goes with --providers, --rpc-port, --env-file and --legacy-names only")
        up_opengradient(providers, rpc_port=rpc_port, env_file=env_file, legacy_names=legacy_names, out=run.out)
        return
    up(
        providers=providers,
        services=[name for part in services.split(",") if (name := part.strip())],
        fund=fund,
        rpc_port=rpc_port,
        env_file=env_file,
        legacy_names=legacy_names,
        upstream=upstream,
        tls=tls,
        production=production,
        anvil=anvil,
        rpc=rpc,
        router=router,
        out=run.out,
    )


@cli.command("demo", rich_help_panel=LOCAL)
@command
def demo(
    run: Run,
    broken: Annotated[
        str | None, typer.Option("--break", help="Break a part on purpose: client-skips-hash. The demo must then fail.")
    ] = None,
) -> None:
    """Run the main job on a local network: fund, ask, verify, settle, and catch a lying provider."""
    from zg_core.cli.demo import BREAKS, Demo

    if broken is not None and broken not in BREAKS:
        raise typer.BadParameter(f"use one of {', '.join(BREAKS)}", param_hint="--break")
    stream = sys.stderr if run.out.as_json else sys.stdout
    code = Demo(Console(file=stream, width=None if stream.isatty() else 120), broken=broken).run()
    run.out.document({"ok": code == 0})
    raise typer.Exit(code)


def app() -> None:
    """Run the command line of this process and exit."""
    cli(prog_name="zerog")
