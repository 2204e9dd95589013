"""The commands of `zerog`, and how their errors are shown: one line with a hint, no traceback."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer
from rich.console import Console

from zg_core.errors import ZeroGError

__all__ = ["app"]

cli = typer.Typer(
    name="zerog",
    help="Provable LLM inference on 0G: discover, fund, call, verify.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
localnet = typer.Typer(help="A 0G network on this machine.", no_args_is_help=True)
cli.add_typer(localnet, name="localnet")


@cli.callback()
def _root() -> None:
    """Provable LLM inference on 0G: discover, fund, call, verify."""


@localnet.command("up")
def localnet_up(
    providers: Annotated[int, typer.Option(min=1, max=20, help="How many providers to start.")] = 1,
    rpc_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the JSON-RPC server; 0 takes a free one.")
    ] = 0,
    env_file: Annotated[
        Path | None, typer.Option(help="Write settings here (mode 0600) once the network is ready.")
    ] = None,
    upstream: Annotated[str | None, typer.Option(help="Forward to this OpenAI-compatible server instead.")] = None,
    tls: Annotated[bool, typer.Option(help="Serve https with a throw-away certificate authority.")] = False,
    production: Annotated[bool, typer.Option(help="Use the real providers' limits, caches and intervals.")] = False,
) -> None:
    """Start a local 0G network in the foreground; end it with Ctrl-C or SIGTERM."""
    from zg_core.cli.localnet import up

    up(
        providers=providers,
        rpc_port=rpc_port,
        env_file=env_file,
        upstream=upstream,
        tls=tls,
        production=production,
        console=Console(),
    )


@cli.command("demo")
def demo(
    broken: Annotated[
        str | None, typer.Option("--break", help="Break a part on purpose: client-skips-hash. The demo must then fail.")
    ] = None,
) -> None:
    """Run the main job on a local network: fund, ask, verify, settle, and catch a lying provider."""
    from zg_core.cli.demo import BREAKS, Demo

    if broken is not None and broken not in BREAKS:
        raise typer.BadParameter(f"use one of {', '.join(BREAKS)}", param_hint="--break")
    console = Console(width=None if sys.stdout.isatty() else 120)
    sys.exit(Demo(console, broken=broken).run())


def app() -> None:
    """Run a command line; errors of this package are one line and exit code 1."""
    try:
        cli()
    except ZeroGError as error:
        Console(stderr=True).print(f"error: {error.message}", style="red", markup=False, highlight=False)
        if error.hint:
            Console(stderr=True).print(f"hint: {error.hint}", markup=False, highlight=False)
        sys.exit(1)
    except OSError as error:  # a port in use, a file that cannot be written
        sys.exit(f"error: {error}")
    except ImportError as error:  # a part that lives in an extra says which one
        if "zerog-integrations[" not in str(error):
            raise
        sys.exit(f"error: {error}")
