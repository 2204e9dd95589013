"""``zerog verify``: is the key that signs a provider's replies inside the enclave it should be in?"""

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zg_core.cli.terminal.failures import ERROR, NOT_VERIFIED
from zg_core.cli.terminal.options import Provider, command
from zg_core.cli.terminal.run import Run
from zg_core.cli.terminal.trust import local_trust
from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from zg_core.verify.attestation import AttestationOptions, AttestationReport

__all__ = ["verify"]

_LACKING = ("fail", "unavailable")


@command
def verify(
    run: Run,
    provider: Provider,
    level: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=4,
            help="0 chain, 1 binding, 2 hardware (default), 3 configuration (if you say what of it), 4 GPU.",
        ),
    ] = None,
    report_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the report and the evidence as it was served here.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model to ask a separate model enclave for.")] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(metavar="STATUS", help="Accept this TCB status. May be given several times."),
    ] = None,
    compose_hash: Annotated[
        list[str] | None,
        typer.Option(metavar="HEX", help="Accept only this compose hash. May be given several times."),
    ] = None,
    os_image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MRTD:RTMR1:RTMR2",
            help="Believe in this OS image, which level 3 needs. May be given several times.",
        ),
    ] = None,
    pinned: Annotated[
        bool, typer.Option("--pinned", help="The compose file must fix what is started, every image by its digest.")
    ] = False,
    collateral: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Collateral (dcap-qvl's JSON) instead of fetching it.")
    ] = None,
    collateral_max_age: Annotated[
        float | None, typer.Option(metavar="DAYS", min=0.01, help="Collateral may be no older.")
    ] = None,
    pccs: Annotated[str | None, typer.Option(metavar="URL", help="Where collateral is fetched.")] = None,
    nvidia: Annotated[bool, typer.Option(help="At level 4, ask NVIDIA's service about the GPU.")] = True,
    local_root: Annotated[
        bool, typer.Option("--local-root", help="Local network: believe in its made-up hardware. Never elsewhere.")
    ] = False,
    status_url: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="ZEROG_STATUS_URL", show_envvar=False, help="Local network: its service."),
    ] = None,
) -> None:
    """Check a provider's attestation. Exit code 0: it holds; 1: it does not; 3: it could not be checked.

    Level 3 needs --os-image: on genuine hardware anybody can start a system of his own. What was measured is shown.
    """
    from zg_core.http.transport import run as drive
    from zg_core.verify.attestation import AttestationOptions, Level, attest

    of_level_3 = {"--os-image": os_image, "--compose-hash": compose_hash, "--pinned": pinned}
    named = [name for name, value in of_level_3.items() if value]
    if level is None:
        level = int(Level.CONFIG if named else Level.DCAP)
    elif named and level < Level.CONFIG:
        raise typer.BadParameter(f"{named[0]} is a matter of level 3", param_hint="--level")
    given: dict[str, Any] = {
        "statuses": tuple(status) if status else None,
        "compose_hashes": frozenset(compose_hash) if compose_hash else None,
        "os_images": frozenset(os_image) if os_image else None,
        "collateral_max_age": None if collateral_max_age is None else timedelta(days=collateral_max_age),
        "require_pinned": pinned,
        "collateral": collateral,
        "pccs_url": pccs,
    }
    with run.public() as broker:
        with run.out.waiting("reading the provider's record"):
            service = broker.service(provider)
        if local_root:
            given = {**local_trust(broker.network, broker.transport, status_url, pccs), **_said(given)}
        options = AttestationOptions(**_said(given))
        if not nvidia:
            options = _without_nvidia(options)
        with run.out.waiting("verifying"):
            looked = max(level, int(Level.CONFIG)) if level >= Level.DCAP else level  # level 3 asks nobody anything
            report = drive(
                attest(service, broker.transport, level=looked, model=model, options=options, on_step=run.out.note)
            )
        network, local = broker.network.name, broker.network.is_local
    if report_dir is not None:
        _keep(report, report_dir)
        run.out.note(f"report and evidence: {report_dir}")
    _show(run, report, level, made_up=local and not local_root and level >= Level.DCAP)
    found = report.to_dict()
    found |= {"explanation": report.explain(level), "by_hand": report.by_hand()}
    run.out.document({"network": network, "level": level, "satisfied": report.satisfies(level), **found})
    if not report.satisfies(level):
        raise typer.Exit(ERROR if report.failed_by(level) else NOT_VERIFIED)


def _said(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _show(run: Run, report: "AttestationReport", level: int, *, made_up: bool) -> None:
    from zg_core.verify.attestation import Level

    run.out.table(["level", "of", "outcome", "why"], [list(row.values()) for row in report.rows()], prose="why")
    run.out.facts(
        ("signer", report.signer),
        ("prompt", report.kind.prompt),
        ("TCB status", report.find("tcb_status")),
        ("advisories", ", ".join(report.find("advisories") or []) or None),
        ("compose hash", report.find("compose_hash")),
        ("valid until", None if report.expires_at is None else report.expires_at.isoformat()),
    )
    genuine = report.satisfies(Level.DCAP)  # else anybody may have written what was measured
    for image in dict.fromkeys(":".join(each) for each in report.every("os_image") if genuine):
        run.out.line(f"measured here, to be believed if you know it from elsewhere: --os-image {image}")
    for reason in dict.fromkeys(each for reasons in report.every("loose") for each in reasons):
        run.out.line(f"not pinned: {reason}")
    if genuine and (left := report.by_hand()):
        run.out.line("left to be checked by hand:")
        for each in left:
            run.out.line(f"  {each['what']}: {each['how']}")
    if not report.satisfies(level):
        run.out.line(f"level {level} does not hold: {report.explain(level)}")
        if made_up:
            run.out.note("the hardware of a local network is made up; --local-root believes in it")
        return
    run.out.line(f"level {level} holds")
    if level == Level.DCAP and report.outcome(Level.CONFIG) in _LACKING:
        run.out.line(f"not asked for, and lacking: {report.explain(int(Level.CONFIG))}")


def _keep(report: "AttestationReport", directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for subject, body in report.bodies.items():
            (directory / f"{subject}.json").write_bytes(body)
        (directory / "report.json").write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"the report cannot be kept in {directory}: {error.strerror}",
            code="bad_report_dir",
            hint="--report-dir DIR",
        ) from None


def _without_nvidia(options: "AttestationOptions") -> "AttestationOptions":
    from dataclasses import replace

    return replace(options, nras_url=None)
