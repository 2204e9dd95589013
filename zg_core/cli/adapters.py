"""``zerog adapters``: fine-tuned adapters of the wallet at a provider."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from zg_core.backends.direct.adapters import Adapter, Adapters
from zg_core.cli.chat import Model, OptionalProvider
from zg_core.cli.terminal.options import command
from zg_core.cli.terminal.run import Run

__all__ = ["adapters"]

adapters = typer.Typer(help="Fine-tuned adapters (LoRA); the name of one is a model.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the adapter, or id of the task that made it.")]


@adapters.command("list")
@command
def list_adapters(run: Run, provider: OptionalProvider = None, model: Model = None) -> None:
    """Show the adapters of the wallet at a provider."""
    with run.client(provider=provider, model=model) as client, run.out.waiting("asking the provider"):
        found = Adapters(client).list()
    run.out.table(["name", "state", "base model", "task"], [_row(one) for one in found])
    if not found:
        run.out.note("no adapters; fine-tuning is done with the official client, 0g-compute-cli")
    run.out.document({"adapters": [asdict(one) for one in found]})


@adapters.command("status")
@command
def status(run: Run, name: Name, provider: OptionalProvider = None, model: Model = None) -> None:
    """Show the state of one adapter."""
    with run.client(provider=provider, model=model) as client, run.out.waiting("asking the provider"):
        found = Adapters(client).status(name)
    _show(run, found)


@adapters.command("deploy")
@command
def deploy(
    run: Run,
    name: Name,
    provider: OptionalProvider = None,
    model: Model = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it answers.")] = True,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait.")] = 120.0,
) -> None:
    """Deploy an adapter, so that its name can be asked for as a model."""
    with run.client(provider=provider, model=model) as client, run.out.waiting("deploying"):
        found = Adapters(client).deploy(name, wait=wait, timeout=timeout, on_progress=run.out.step)
    _show(run, found)
    if found.usable:
        run.out.note(f"ask it: zerog chat --provider {found.provider} --model {found.name} 'hello'")


def _row(one: Adapter) -> list[str]:
    return [one.name, one.state, one.base_model, one.task_id]


def _show(run: Run, one: Adapter) -> None:
    run.out.line(f"{one.name} is {one.state} (base model {one.base_model or '-'}, task {one.task_id or '-'})")
    document: dict[str, Any] = asdict(one)
    run.out.document(document)
