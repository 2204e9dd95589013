"""``zerog receipts``: what was recorded of calls, checked again, and compared with what was charged."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zg_core.cli.receipts.shown import Counted, fee_of
from zg_core.cli.terminal.options import User, command
from zg_core.cli.terminal.run import Run
from zg_core.errors import ConfigError
from zg_core.receipts.anchors import id_of
from zg_core.receipts.plain import DIRECT

if TYPE_CHECKING:
    from zg_core.receipts.model import Receipt

__all__ = ["receipts"]

receipts = typer.Typer(help="Receipts of calls: list, show, export, verify, audit.", no_args_is_help=True)

_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


def _id(text: str) -> str:
    try:
        return id_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


class Format(StrEnum):
    """Forms of an export."""

    JSON = "json"
    CSV = "csv"


OfProvider = Annotated[
    str | None, typer.Option("--provider", metavar="ADDRESS", help="Only of this provider.", parser=_id)
]
Since = Annotated[datetime | None, typer.Option(formats=_TIMES, help="Only calls begun at this time (UTC) or later.")]
Until = Annotated[datetime | None, typer.Option(formats=_TIMES, help="Only calls begun before this time (UTC).")]
OfRun = Annotated[str | None, typer.Option("--run", metavar="RUN", help="Only of this run of an agent.")]


@receipts.command("list")
@command
def list_(
    run: Run,
    provider: OfProvider = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    name: OfRun = None,
) -> None:
    """List the newest receipts of the store."""
    found = run.stored().select(provider=provider, since=_utc(since), until=_utc(until), newest=limit, run=name)
    if found:
        run.out.table(
            ["begun (UTC)", "receipt", "provider", "model", "outcome", "verdict", "fee", "flags"],
            [
                [
                    f"{each.started_at:%Y-%m-%d %H:%M:%S}",
                    each.id[:12],
                    each.provider,
                    each.model,
                    each.outcome,
                    each.verdict,
                    fee_of(each),
                    " ".join(each.flags) or "-",
                ]
                for each in found
            ],
            rank=["receipt", "verdict", "fee", "begun (UTC)", "provider", "outcome", "model"],
        )
    else:
        run.out.line("no receipts")
    run.out.document({"receipts": [each.to_dict() for each in found]})


@receipts.command()
@command
def show(
    run: Run,
    receipt_id: Annotated[str, typer.Argument(metavar="RECEIPT", help="Its id, or the first 8 digits or more.")],
) -> None:
    """Show one receipt."""
    stored = run.stored()
    receipt = stored.get(receipt_id)
    if receipt is None:
        raise ConfigError(
            "no receipt with this id, or more than one", code="unknown_receipt", hint="see `zerog receipts list`"
        )
    verdict = receipt.verdict
    run.out.facts(
        ("receipt", receipt.id),
        ("begun", f"{receipt.started_at.isoformat()}, {receipt.seconds:.3f} s, {receipt.outcome}"),
        ("run", receipt.run or None),
        ("network", f"{receipt.network}, {receipt.realm}, contract {receipt.inference or 'none'}"),
        ("payer", receipt.payer or None),
        ("provider", f"{receipt.provider}, {receipt.model}, {receipt.kind}, {receipt.task}"),
        ("verdict", f"{verdict}: {verdict.explain()}"),
        ("signer", verdict.recovered_signer or None),
        ("record read", _read_at(receipt)),
        ("fee", fee_of(receipt)),
        ("usage", None if receipt.usage is None else _usage(receipt)),
        ("request", f"sha256 {receipt.request_sha256}, {_kept(receipt.request_body, receipt.request_bytes)}"),
        ("response", f"sha256 {receipt.response_sha256}, {_kept(receipt.response_body, receipt.response_bytes)}"),
        ("chat id", receipt.chat_id or None),
        ("certificate", receipt.certificate_sha256 or None),
        ("flags", " ".join(receipt.flags) or None),
    )
    later = stored.verdicts(receipt.id)
    run.out.document({"receipt": receipt.to_dict(), "verdicts": [each.to_dict() for each in later]})


@receipts.command()
@command
def export(
    run: Run,
    form: Annotated[Format, typer.Option("--format", help="json or csv.")] = Format.JSON,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.")] = None,
    provider: OfProvider = None,
    since: Since = None,
    until: Until = None,
    name: OfRun = None,
) -> None:
    """Export receipts, oldest first; the JSON form is what `zerog receipts verify` reads."""
    from zg_core.receipts.documents import as_csv, as_json

    counted = Counted(run.stored().rows(provider=provider, since=_utc(since), until=_utc(until), run=name))
    pieces = as_csv(counted) if form is Format.CSV else as_json(counted)
    if output is not None:
        with output.open("w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
        run.out.line(f"{counted.count} receipts written to {output}")
        run.out.document({"file": str(output), "format": str(form), "count": counted.count})
    elif run.out.as_json:
        text = "".join(pieces)
        run.out.document(json.loads(text) if form is Format.JSON else {"csv": text})
    else:
        for piece in pieces:
            run.out.raw(piece)


@receipts.command()
@command
def bundle(
    run: Run,
    output: Annotated[Path, typer.Argument(metavar="OUT.zip", help="The file to write.", dir_okay=False)],
    name: OfRun = None,
    provider: OfProvider = None,
    since: Since = None,
    until: Until = None,
    sign: Annotated[bool, typer.Option("--sign", help="Sign the manifest with the wallet.")] = False,
    evidence: Annotated[
        list[Path] | None,
        typer.Option(
            "--evidence",
            metavar="FILE|DIR",
            help="Put this in, too: what `zerog verify` wrote (--report-dir), for example.",
        ),
    ] = None,
) -> None:
    """Put receipts into one file for an auditor, who checks it offline with `zerog receipts verify OUT.zip`.

    Receipts hold prompts and answers where the client kept bytes.
    """
    if name is None and since is None:
        raise typer.BadParameter("say which receipts: --run RUN or --since TIME", param_hint="--run")
    from zg_core.cli.receipts.evidence import bundled

    rows = run.stored().rows(provider=provider, since=_utc(since), until=_utc(until), run=name)
    bundled(run, output, rows, name or "", evidence or [], sign=sign)


@receipts.command()
@command
def verify(
    run: Run,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE…", help="Receipts as JSON (one, a list, an export) or a bundle."),
    ] = None,
    rpc: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Ask this JSON-RPC endpoint who the signer is (of OpenGradient's receipts: the registry's).",
        ),
    ] = None,
    signer: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The signer must be this.", parser=_id)] = None,
    pins: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON object: provider address to signer address or list.")
    ] = None,
    minimum: Annotated[
        str | None,
        typer.Option(metavar="VERDICT", help="The least verdict that passes: verified (default) or response_bound."),
    ] = None,
    late: Annotated[
        bool, typer.Option("--late", help="Make the verdicts of the store that are pending, while signatures last.")
    ] = False,
) -> None:
    """Check receipts again, offline; without --rpc, --signer or --pins they can only be consistent (exit code 3).

    Exit code 0: all are proven, to --minimum or more; 1: one contradicts itself, its anchor or its evidence; 3: less.
    """
    if late == bool(files):
        raise typer.BadParameter("give receipt files, or --late", param_hint="FILE")
    if sum(each is not None for each in (rpc, signer, pins)) > 1 or (late and (signer or pins)):
        raise typer.BadParameter("give one of --rpc, --signer and --pins; --late asks the chain", param_hint="--rpc")
    from zg_core.cli.receipts.evidence import verified

    verified(run, files or [], (rpc, signer, pins), minimum, late=late)


@receipts.command()
@command
def audit(
    run: Run,
    user: User = None,
    provider: OfProvider = None,
    since: Since = None,
    until: Until = None,
    from_block: Annotated[
        int | None, typer.Option(min=0, help="First block; default the first that knows the wallet.")
    ] = None,
    backend: Annotated[str, typer.Option(help="Whose calls: each backend is settled in its own way.")] = DIRECT,
) -> None:
    """Compare receipts with what was charged; exit code 1 if sums lie outside of what they allow.

    0G Direct: with what providers settled on chain. Router: with its book (management key). OpenGradient: with what
    payments took on chain.
    """
    from zg_core.cli.receipts.evidence import audited

    audited(run, backend, user, provider, (_utc(since), _utc(until)), from_block)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def _read_at(receipt: "Receipt") -> str | None:
    signer = getattr(receipt.service, "signer", None)
    return None if signer is None else f"at block {receipt.service_block}, signer {signer}"


def _usage(receipt: "Receipt") -> str:
    usage = receipt.usage
    assert usage is not None  # noqa: S101 - the caller looked
    return f"{usage.prompt_tokens} prompt and {usage.completion_tokens} completion tokens"


def _kept(body: bytes | None, size: int) -> str:
    return f"{size} bytes, {'kept' if body is not None else 'hash only'}"
