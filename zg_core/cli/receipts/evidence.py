"""What needs more than the store: bundles, checks of receipts, and audits of what was charged."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from zg_core.backends.direct.audit.anchors import chain_anchor, resolve_late
from zg_core.backends.opengradient import places
from zg_core.backends.opengradient.anchors import registry_anchor
from zg_core.backends.opengradient.registry import Registry
from zg_core.cli.budget import elsewhere
from zg_core.cli.receipts.shown import Counted, fee_of
from zg_core.cli.terminal.failures import ERROR, NOT_VERIFIED, OK
from zg_core.cli.terminal.keystore import own_wallet
from zg_core.config import NETWORKS
from zg_core.errors import ChainError, ConfigError
from zg_core.http.transport import run as drive
from zg_core.jsontext import parse_json
from zg_core.receipts.anchors import Anchor, read_pins
from zg_core.receipts.bundles import is_bundle, read_bundle, write_bundle
from zg_core.receipts.checking import Check, check
from zg_core.receipts.documents import Documents
from zg_core.receipts.model import Receipt
from zg_core.receipts.plain import DIRECT
from zg_core.verify.conditions import at_least
from zg_core.verify.policy import DEFAULT_MINIMUM, suffices
from zg_core.verify.verdict import Status
from zg_core.wallet import Wallet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from zg_core.audits.result import Audit
    from zg_core.cli.terminal.run import Run

__all__ = ["audited", "bundled", "verified"]

_MOST_BYTES = 512 * 1024 * 1024


def bundled(run: Run, output: Path, rows: Iterable[Any], name: str, evidence: Iterable[Path], *, sign: bool) -> None:
    """``zerog receipts bundle``: write it, and say what is in it."""
    counted = Counted(rows)
    words = Documents()
    wallet = (own_wallet() or Wallet.from_env()) if sign else None
    digest = write_bundle(
        output,
        (words.text(*each) for each in counted),
        run=name,
        wallet=wallet,
        evidence=dict(_files(evidence)),
    )
    run.out.line(f"{counted.count} receipts written to {output}")
    run.out.line(f"manifest  sha256 {digest}{f', signed by {wallet.address}' if wallet else ''}")
    signer = None if wallet is None else wallet.address
    run.out.document({"file": str(output), "count": counted.count, "manifest_sha256": digest, "signer": signer})


def _files(paths: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        inside = [each for each in sorted(path.rglob("*")) if each.is_file()] if path.is_dir() else [path]
        for each in inside:
            yield (each.relative_to(path.parent).as_posix(), each.read_bytes())


def verified(
    run: Run,
    files: list[Path],
    anchors: tuple[str | None, str | None, Path | None],
    minimum: str | None,
    *,
    late: bool,
) -> None:
    """``zerog receipts verify``: check files, or with `late` what is pending in the store; ends with the exit code.

    Args:
        run: The run.
        files: Receipts, or one bundle.
        anchors: What says who the signer is: ``--rpc``, ``--signer`` or ``--pins``.
        minimum: The least verdict that passes.
        late: Make verdicts of the store instead.
    """
    rpc, signer, pins = anchors
    at_least(minimum or DEFAULT_MINIMUM)
    if late:
        _late(run if rpc is None else run.at(rpc_url=rpc), minimum)
        return
    bundles = [path for path in files if is_bundle(path)]
    if bundles:
        if len(files) > 1:
            raise typer.BadParameter("give a bundle by itself", param_hint="FILE")
        _verify_bundle(run, bundles[0], lambda each: _anchor(run, each, rpc, signer, pins), minimum)
    checks: list[tuple[Path, Check]] = []
    for path in files:
        for document in _read(path):
            anchor = _anchor(run, Receipt.from_dict(document), rpc, signer, pins)
            checks.append((path, check(document, anchor, minimum=minimum)))
    checks = _with_twins(checks)
    for path, each in checks:
        run.out.line(f"{each.result:<9} {each.receipt_id}  {path}")
        run.out.line(f"          {each.reason}")
        for note in each.notes:
            run.out.line(f"          {note}")
    results = {each.result for _, each in checks}
    run.out.document({"results": [{"file": str(path), **each.to_dict()} for path, each in checks]})
    raise typer.Exit(ERROR if "failed" in results else OK if results == {"passed"} else NOT_VERIFIED)


def audited(
    run: Run,
    backend: str,
    user: str | None,
    provider: str | None,
    period: tuple[datetime | None, datetime | None],
    from_block: int | None,
) -> NoReturn:
    """``zerog receipts audit``: show what the comparison found; ends with the exit code."""
    found, payer = _audit(run, backend, user, provider, period, from_block)
    if found.providers:
        run.out.table(
            ["provider", "calls", "exact fees", "bounds of others", "settled", "unsettled", "settlements"],
            [
                [
                    each.provider,
                    each.calls,
                    each.exact,
                    "no bound" if each.bounds is None else each.bounds,
                    each.settled,
                    "not asked" if each.unsettled is None else each.unsettled,
                    len(each.settlements),
                ]
                for each in found.providers
            ],
            rank=["provider", "settled", "exact fees", "bounds of others", "unsettled"],
        )
    if any(each.code in ("settled_too_much", "charged_without_receipt") for each in found.findings):
        run.out.warn(f"more was charged than this store has receipts for: {elsewhere(run)}")
    for finding in found.findings:
        run.out.line(f"{'outside' if finding.outside else 'notice'}  {finding.code}: {finding.message}")
    if not found.providers:
        run.out.line("no receipts to compare")
    elif not found.findings:
        run.out.line("nothing outside of what the receipts allow")
    run.out.document({"user": payer, **found.to_dict()})
    raise typer.Exit(NOT_VERIFIED if not found.providers else OK if found.ok else ERROR)


def _audit(
    run: Run,
    backend: str,
    user: str | None,
    provider: str | None,
    period: tuple[datetime | None, datetime | None],
    from_block: int | None,
) -> tuple[Audit, str | None]:
    """What the backend's own account finds, and whose it is."""
    stored = run.stored()
    since, until = period
    if backend == DIRECT:
        with run.reader(user) as broker, run.out.waiting("reading the settlements"), _warnings(run):
            owner = broker.address
            own = stored.audited(payer=owner, provider=provider, chain_id=broker.network.chain_id)
            return broker.audit(own, since=since, until=until, from_block=from_block), owner
    if backend not in ("router", "opengradient"):
        known = f"--backend {DIRECT}, router or opengradient"
        raise ConfigError(f"there is no backend {backend[:40]!r}", code="unknown_backend", hint=known)
    if from_block is not None:
        hint = "leave it out: the receipts say where to look"
        raise ConfigError(f"receipts of {backend} are audited from no block", code="bad_setting", hint=hint)
    from zg_core.cli import opengradient, router

    receipts = [
        each
        for each in stored.select(payer=user, provider=provider, since=since, until=until)
        if each.backend == backend
    ]
    account = router.account_of(run) if backend == "router" else opengradient.account_of(run)
    with account, run.out.waiting("reading what was charged"), _warnings(run):
        return account.audit(receipts), user


def _verify_bundle(run: Run, path: Path, anchor: Callable[[Receipt], Anchor | None], minimum: str | None) -> NoReturn:
    found = read_bundle(path)
    lines = found.check(anchor, minimum=minimum)
    twins = _with_twins([(path, each.check) for each in lines])
    run.out.facts(
        ("bundle", f"{path}, {len(lines)} receipts" + (f", run {found.run}" if found.run else "")),
        ("manifest", f"sha256 {found.sha256}"),
        ("signed by", found.signer or "nobody: whoever had it may have changed it"),
    )
    run.out.table(
        ["step", "who answered", "result", "verdict", "fee", "nobody vouches for"],
        [
            [
                f"{each.step} {each.name}".strip(),
                f"{each.receipt.provider} {each.receipt.model}",
                each.check.result,
                each.receipt.verdict if each.check.verdict is None else each.check.verdict,
                fee_of(each.receipt),
                "all of it" if each.check.result != "passed" else ", ".join(each.unvouched),
            ]
            for each in lines
        ],
    )
    for each, (_, checked) in zip(lines, twins, strict=True):
        if each.check.result != "passed":
            run.out.line(f"{each.check.result}  {each.receipt.id}: {each.check.reason}")
        for note in checked.notes[len(each.check.notes) :]:
            run.out.line(f"notice  {each.receipt.id}: {note}")
    results = {each.check.result for each in lines}
    run.out.document(
        {
            "file": str(path),
            "run": found.run,
            "manifest_sha256": found.sha256,
            "signer": found.signer or None,
            "results": [each.to_dict() for each in lines],
        }
    )
    raise typer.Exit(ERROR if "failed" in results else OK if results == {"passed"} else NOT_VERIFIED)


def _late(run: Run, minimum: str | None) -> None:
    stored = run.stored()
    with run.public() as broker, run.out.waiting("fetching signatures"):
        done = drive(resolve_late(stored, broker.core.chain, broker.transport))
    for each in done:
        run.out.line(f"{each.verdict!s:<28} {each.id}  {each.provider}")
    run.out.line(f"{len(done)} receipts looked at" if done else "no receipt is pending")
    run.out.document({"results": [{"receipt_id": each.id, "verdict": each.verdict.to_dict()} for each in done]})
    if any(each.verdict.status is Status.FAILED for each in done):
        raise typer.Exit(ERROR)
    if not all(suffices(each.verdict, minimum) for each in done):
        raise typer.Exit(NOT_VERIFIED)


def _anchor(run: Run, receipt: Receipt, rpc: str | None, signer: str | None, pins: Path | None) -> Anchor | None:
    if signer is not None:
        return Anchor("--signer", (signer,))
    if pins is not None:
        return read_pins(pins, receipt.provider, receipt.chain_id)
    if rpc is None:
        return None
    names = (name for name, network in NETWORKS.items() if network.chain_id == receipt.chain_id)
    at = run.at(rpc_url=rpc, network=None if run.chosen else next(names, None))
    try:
        with at.public() as broker:
            if receipt.backend == "opengradient":  # its keys are on a chain of their own
                enclaves = Registry(rpc, places.REGISTRY, places.REGISTRY_CHAIN_ID, broker.transport)
                return drive(registry_anchor(receipt, enclaves))
            return drive(chain_anchor(receipt, broker.core.chain))
    except ChainError as error:
        run.out.warn(f"the chain cannot be read: {error.message}")
        return None


def _with_twins(checks: list[tuple[Path, Check]]) -> list[tuple[Path, Check]]:
    """The checks, with a note where two receipts show one and the same signed answer."""
    first: dict[str, str] = {}
    noted = []
    for path, each in checks:
        text = "" if each.verdict is None else each.verdict.signed_text
        other = first.setdefault(text, each.receipt_id) if text else each.receipt_id
        if other != each.receipt_id:
            each = replace(each, notes=(*each.notes, f"receipt {other} shows the same signed answer"))  # noqa: PLW2901
        noted.append((path, each))
    return noted


def _read(path: Path) -> list[Any]:
    if path.stat().st_size > _MOST_BYTES:
        raise ConfigError(f"{path} is larger than {_MOST_BYTES} bytes", code="bad_receipt", hint="split the export")
    try:
        value: Any = parse_json(path.read_bytes(), unique=True)  # people may be shown the other of two
    except (ValueError, RecursionError) as error:
        message = f"{path} is not JSON that can be read: {str(error)[:100]}"
        raise ConfigError(message, code="bad_receipt", hint="see docs/receipts.md") from None
    if isinstance(value, dict):
        value = value.get("receipts", value.get("receipt", value))
    found: list[Any] = value if isinstance(value, list) else [value]
    if not found:
        raise ConfigError(f"{path} holds no receipt", code="bad_receipt", hint="see `zerog receipts export`")
    return found


class _warnings(logging.Handler):  # noqa: N801 - a context manager
    """Shows what the library warns of as warnings of the command."""

    def __init__(self, run: Run) -> None:
        super().__init__(logging.WARNING)
        self._run = run
        self._logger = logging.getLogger("zg_core.receipts")

    def emit(self, record: logging.LogRecord) -> None:
        self._run.out.warn(record.getMessage())

    def __enter__(self) -> None:
        self._logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
