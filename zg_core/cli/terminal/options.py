"""Options and arguments that several commands have, and the decorator that gives every command the common ones."""

import functools
import inspect
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zg_core.cli.terminal.failures import CommandError, Interrupted, NotConfirmed, unexpected
from zg_core.cli.terminal.output import Output, clean
from zg_core.cli.terminal.run import Run
from zg_core.config import NETWORKS
from zg_core.crypto import typed_address
from zg_core.money import Amount
from zg_core.types import Kind

if TYPE_CHECKING:
    from zg_core.budget import Budget
    from zg_core.chain.sending import Sending

__all__ = [
    "Again",
    "AmountText",
    "InNeuron",
    "MaxGas",
    "MostSpent",
    "Provider",
    "Yes",
    "amount_of",
    "ask",
    "budget_of",
    "command",
    "consent",
    "sending_of",
]

_ENCLAVE = re.compile("0x[0-9a-fA-F]{64}")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?|\.[0-9]+")


def parse_address(text: str) -> str:
    """An address in EIP-55 capitals, from any case."""
    try:
        return typed_address(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def parse_provider(text: str) -> str:
    """The id of a provider: an address, or an enclave's where the backend calls providers by that."""
    return text.lower() if _ENCLAVE.fullmatch(text) else parse_address(text)


def _parse_network(text: str) -> str:
    if text not in NETWORKS:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(NETWORKS)}")
    return text


def parse_kind(text: str) -> Kind:
    """A kind of service, from any case."""
    for kind in Kind:
        if kind.value.lower() == text.lower():
            return kind
    raise typer.BadParameter(f"{text!r} is none of {', '.join(Kind)}")


def amount_of(text: str, in_neuron: bool = False, *, name: str = "AMOUNT") -> Amount:
    """The amount that an argument means.

    Raises:
        typer.BadParameter: not a positive decimal number of 0G (or a whole number of neuron).
    """
    digits = text.strip()
    if in_neuron and not (digits.isascii() and digits.isdigit()):
        raise typer.BadParameter("with --neuron, an amount is a whole number", param_hint=name)
    if not in_neuron and _NUMBER.fullmatch(digits) is None:
        raise typer.BadParameter('an amount is a decimal number of 0G, such as "1.5"', param_hint=name)
    if len(digits) > 60:
        raise typer.BadParameter("the amount has too many digits", param_hint=name)
    if not in_neuron and len(digits.partition(".")[2].rstrip("0")) > 18:
        raise typer.BadParameter("an amount has at most 18 decimals", param_hint=name)
    amount = Amount(int(digits) if in_neuron else digits)
    if amount.units <= 0:
        raise typer.BadParameter("the amount must be more than nothing", param_hint=name)
    return amount


Provider = Annotated[str, typer.Argument(metavar="PROVIDER", help="Provider address (0x…).", parser=parse_address)]
AmountText = Annotated[str, typer.Argument(metavar="AMOUNT", help='Amount in 0G, such as "1.5".')]
InNeuron = Annotated[bool, typer.Option("--neuron", help="AMOUNT is a whole number of neuron (1 0G is 10^18).")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before spending.")]
Again = Annotated[
    bool, typer.Option("--again", help="Send it even if the same was sent before and may still be mined.")
]
MaxGas = Annotated[
    str | None, typer.Option("--max-gas", metavar="AMOUNT", help="Most 0G that its gas may cost; default 0.1.")
]
User = Annotated[
    str | None,
    typer.Option("--user", metavar="ADDRESS", help="Whose, instead of the wallet's.", parser=parse_address),
]

MostSpent = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="AMOUNT",
        help='Most it may cost with all repeats, in 0G; or with its currency: "0.1 OPG". More is not sent.',
    ),
]


def budget_of(text: str | None) -> "Budget | None":
    """The budget of one call that ``--budget`` means.

    Raises:
        typer.BadParameter: it is no positive amount.
        ConfigError: its currency is not known.
    """
    if text is None:
        return None
    from zg_core.budget import Budget

    number, _, currency = text.strip().partition(" ")
    amount = amount_of(number, name="--budget")
    return Budget(per_call=Amount(amount.units, currency.strip() or amount.currency))


_COMMON: dict[str, Any] = {
    "network": Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"{', '.join(NETWORKS)}; default ZEROG_NETWORK, else what `zerog network` remembers, else testnet.",
            parser=_parse_network,
            autocompletion=lambda: list(NETWORKS),
            rich_help_panel="Common options",
        ),
    ],
    "rpc_url": Annotated[
        str | None,
        typer.Option(metavar="URL", help="JSON-RPC endpoint; default ZEROG_RPC_URL.", rich_help_panel="Common options"),
    ],
    "ca_file": Annotated[
        Path | None,
        typer.Option(
            envvar="ZEROG_CA_FILE",
            show_envvar=False,
            help="Trust this certificate authority (PEM) instead of the system's.",
            rich_help_panel="Common options",
        ),
    ],
    "allow_private_providers": Annotated[
        bool | None,
        typer.Option(
            "--allow-private-providers/--no-private-providers",
            help="Dial providers on this machine and in private networks; for your own. "
            "Default ZEROG_ALLOW_PRIVATE_PROVIDERS.",
            show_default=False,
            rich_help_panel="Common options",
        ),
    ],
}
_AS_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel="Common options")]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command its `Run`: the common options, where to print, and how errors are shown.

    `function` takes the `Run` first, then its own arguments.
    """
    signature = inspect.signature(function, eval_str=True)
    own = list(signature.parameters.values())[1:]
    common = {**_COMMON, "as_json": _AS_JSON}
    keyword = inspect.Parameter.KEYWORD_ONLY
    extra = [
        inspect.Parameter(name, keyword, default=False if name == "as_json" else None, annotation=kind)
        for name, kind in common.items()
    ]

    @functools.wraps(function)
    def invoke(**values: Any) -> None:
        out = Output(as_json=values.pop("as_json"))
        common = {name: values.pop(name) for name in _COMMON}
        try:
            function(Run(out, **common), **values)
        except (CommandError, typer.Exit):
            raise
        except KeyboardInterrupt:
            late = f"; transaction {out.sent} was sent and may still be mined" if out.sent else ""
            raise typer.Exit(unexpected(Interrupted(f"interrupted{late}"), **_shown(out))) from None
        except BrokenPipeError:
            # Whoever read our output has gone; the interpreter must not fail again when it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except Exception as error:  # whatever it is, people get one line
            raise typer.Exit(unexpected(error, **_shown(out))) from error

    parameters = [each.replace(kind=keyword) for each in own] + extra
    invoke.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    invoke.__annotations__ = {each.name: each.annotation for each in parameters}
    del invoke.__wrapped__
    return invoke


def _shown(out: Output) -> dict[str, Any]:
    return {"as_json": out.as_json, "warnings": out.warnings}


def sending_of(max_gas: str | None) -> "Sending":
    """How transactions are sent, with another cap for their gas where one is given.

    Raises:
        typer.BadParameter: it is no amount.
    """
    from zg_core.chain.sending import Sending

    usual = Sending()
    if max_gas is None:
        return usual
    cost = amount_of(max_gas, name="--max-gas")
    return Sending(max_gas_cost=cost, max_fee_per_gas=max(cost, usual.max_fee_per_gas))


def consent(yes: bool, what: str) -> None:
    """Refuse at once, before anything is read or sent, where the user cannot be asked.

    Raises:
        NotConfirmed: there is no terminal, and no ``--yes``.
    """
    if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise NotConfirmed(
            f"not confirmed, nothing was sent: {what}", hint="there is no terminal to ask on; --yes goes ahead unasked"
        )


def ask(run: Run, yes: bool, what: str, *facts: tuple[str, object]) -> None:
    """Show what will be spent, and ask unless `yes`.

    Raises:
        NotConfirmed: the answer is not yes.
    """
    if yes and run.out.as_json:
        return
    lines = [clean(line) for line in (what, *(f"  {name:<11}{value}" for name, value in facts))]
    for line in lines:
        run.out.note(line)
    if yes:
        return
    sys.stderr.write("".join(f"{line}\n" for line in lines if run.out.as_json) + "send it? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotConfirmed(f"not confirmed, nothing was sent: {what}", hint="answer y, or give --yes")
