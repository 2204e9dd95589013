"""What runs on a network of this machine: the network itself, and the demo."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from zg_core.cli.terminal.options import command
from zg_core.cli.terminal.run import Run

__all__ = ["demo", "localnet"]

localnet = typer.Typer(help="A 0G network on this machine.", no_args_is_help=True)


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


@command
def demo(
    run: Run,
    broken: Annotated[
        str | None, typer.Option("--break", help="Break a part on purpose: client-skips-hash. The demo must then fail.")
    ] = None,
) -> None:
    """Run the main job on a local network: fund, ask, verify, settle, and catch a lying provider."""
    from rich.console import Console

    from zg_core.cli.demo import BREAKS, Demo

    if broken is not None and broken not in BREAKS:
        raise typer.BadParameter(f"use one of {', '.join(BREAKS)}", param_hint="--break")
    stream = sys.stderr if run.out.as_json else sys.stdout
    code = Demo(Console(file=stream, width=None if stream.isatty() else 120), broken=broken).run()
    run.out.document({"ok": code == 0})
    raise typer.Exit(code)
