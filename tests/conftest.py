"""Tests that need parts outside Python, those that `make test` leaves out, and where the repository and its data are.

A test says what it needs with `@pytest.mark.requires("node", "solc")`. Where a part is missing the test is
skipped, with the reason. `ZEROG_REQUIRE=node,solc` names parts that have to be there: a test skipped for lack
of one of them is a failure, however it was skipped (marker, fixture, `pytest.skip`, `importorskip`).
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

from tests import effort

ROOT = Path(__file__).resolve().parent.parent
MEMORY = Path("/dev/shm")
CONTRACTS = ROOT / "zg_core" / "localnet" / "contracts"
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# A busy machine is not a failure, and every run sees the same examples (tests/effort.py).
hypothesis.settings.register_profile(
    "zerog",
    max_examples=effort.tries(100, 25),
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("zerog")


def shared_directory() -> Path:
    """Reference data beside the repository (`ZEROG_SHARED`)."""
    return Path(os.environ.get("ZEROG_SHARED") or ROOT.parent / "shared")


def attestation_directory() -> Path:
    """Recorded attestation reports (`ZEROG_ATTESTATION_DATA`)."""
    return Path(os.environ.get("ZEROG_ATTESTATION_DATA") or shared_directory() / "attestation")


def anvil_program() -> str | None:
    """Where anvil is: `ZEROG_ANVIL`, the PATH, or `make interop`."""
    places = [os.environ.get("ZEROG_ANVIL"), shutil.which("anvil")]
    places += map(str, ROOT.glob("tests/interop/node_modules/@foundry-rs/anvil-*/bin/anvil"))
    return next((place for place in places if place and Path(place).is_file()), None)


def postgres_programs() -> str | None:
    """The directory with `initdb` and `postgres`: on the PATH, or where Debian puts them."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((str(place) for place in places if (place / "initdb").is_file()), None)


def pgbouncer_program() -> str | None:
    """Where pgbouncer is: on the PATH, or where Debian puts it."""
    return shutil.which("pgbouncer") or next((p for p in ("/usr/sbin/pgbouncer",) if Path(p).is_file()), None)


def chromium_program() -> str | None:
    """Where a Chromium is: `ZEROG_CHROMIUM`, or on the PATH."""
    places = [os.environ.get("ZEROG_CHROMIUM"), *map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))]
    return next((place for place in places if place and Path(place).is_file()), None)


def has_browser() -> bool:
    """Whether pages can be looked at: a Chromium, and what drives it."""
    return bool(chromium_program()) and importlib.util.find_spec("playwright") is not None


def has_solc() -> bool:
    """Whether the compiler of the contracts is there (`npm ci` beside them)."""
    return bool(shutil.which("node")) and (CONTRACTS / "node_modules" / "solc" / "package.json").is_file()


def has_attestation() -> bool:
    """Whether quotes can be checked: the extra, and the recorded reports."""
    return bool(importlib.util.find_spec("dcap_qvl")) and any(attestation_directory().glob("*.json"))


# Each part: how to see that it is there, and what to do when it is not.
PARTS: dict[str, tuple[Callable[[], object], str]] = {
    "node": (lambda: shutil.which("node") and shutil.which("npm"), "install Node.js with npm"),
    "solc": (has_solc, "run `npm ci` in zg_core/localnet/contracts"),
    "anvil": (anvil_program, "run `make interop`, or set ZEROG_ANVIL"),
    "postgres": (postgres_programs, "install PostgreSQL 15 or newer (the programs, no running server)"),
    "pgbouncer": (pgbouncer_program, "install pgbouncer (the program, no running service)"),
    "cases": (
        (shared_directory() / "cases" / "llm" / "inputs").is_dir,
        "set ZEROG_SHARED to the directory of the reference data",
    ),
    "chromium": (has_browser, "install chromium (or set ZEROG_CHROMIUM), and playwright with `make setup`"),
    "ray": (lambda: importlib.util.find_spec("ray"), "run `make setup` on Linux, or install ray"),
    "attestation": (
        has_attestation,
        "install zerog-integrations[attestation] and set ZEROG_ATTESTATION_DATA to the recorded reports",
    ),
}


def required_parts() -> set[str]:
    """The parts that `ZEROG_REQUIRE` names."""
    return {part.strip() for part in os.environ.get("ZEROG_REQUIRE", "").split(",") if part.strip()}


def missing_part(reason: str) -> str | None:
    """The required part that a skip reason is about, if any."""
    words = set(re.findall(r"\w+", reason.lower()))
    return next((part for part in sorted(required_parts()) if part in words), None)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a part nobody knows, which would require nothing; choose the event loop."""
    if unknown := required_parts() - set(PARTS):
        raise pytest.UsageError(f"ZEROG_REQUIRE names {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    if effort.LEVEL not in effort.LEVELS:
        raise pytest.UsageError(f"ZEROG_FUZZ is full or exhaustive, not {effort.LEVEL!r}")
    if (loop := os.environ.get("ZEROG_LOOP", "asyncio")) not in ("asyncio", "uvloop"):
        raise pytest.UsageError(f"ZEROG_LOOP is asyncio or uvloop, not {loop!r}")
    if loop == "uvloop":
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    if "TMPDIR" not in os.environ and (memory := memory_for_files()):
        os.environ["TMPDIR"] = str(memory)
        tempfile.tempdir = None


def memory_for_files() -> Path | None:
    """Where temporary files need no disk: no test looks at what a loss of power would leave of its stores."""
    if not os.access(MEMORY, os.W_OK) or sys.platform != "linux":
        return None
    found = os.statvfs(MEMORY)
    fits = found.f_bavail * found.f_frsize >= 4 << 30 and not found.f_flag & os.ST_NOEXEC
    return MEMORY if fits else None


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Give memory back; files of a run that failed stay to be looked at, until the next."""
    files: Path = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    kept = exitstatus != pytest.ExitCode.OK or session.config.option.basetemp is not None
    if not kept and files.is_relative_to(MEMORY):
        shutil.rmtree(files, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage, and never look at what is there then: some tests collect it themselves.

    What 22,000 tests leave is looked through seldom: it was 3 % of their time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that try as many examples as they are told to; refuse a name that is new in every process."""
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"{item.nodeid}: give the parameter an id, workers have to agree on names")
        if hypothesis.is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("fuzz")
            if effort.OTHERS:
                hypothesis.seed(f"{effort.SEED} {item.function.__qualname__}")(item.function)  # type: ignore[attr-defined]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose parts are missing."""
    for marker in item.iter_markers("requires"):
        for part in marker.args:
            if part not in PARTS:
                pytest.fail(f"requires({part!r}): the parts are {', '.join(PARTS)}", pytrace=False)
            is_there, remedy = PARTS[part]
            if not is_there():
                pytest.skip(f"needs {part}: {remedy}")


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason of a skipped report."""
    longrepr = report.longrepr
    return str(longrepr[2] if isinstance(longrepr, tuple) else longrepr).removeprefix("Skipped: ")


def fail_when_required(report: Report) -> Report:
    """Turn a skip for lack of a required part into a failure."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = skip_reason(report)
        if part := missing_part(reason):
            report.outcome = "failed"
            report.longrepr = f"ZEROG_REQUIRE names {part}, so this may not be skipped: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at every skipped test."""
    return fail_when_required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Look at every skipped module."""
    return fail_when_required((yield))


QUOTES = '"'
TALLY = "tally"
CHAOS = "chaos"
STORM_COLUMNS = ("runs", "calls", "answered", "unknown", "truncated", "abandoned", "failed", "refused", "sent again")
COLUMNS = ("tried", "caught", "harmless", "honest", "accepted")


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Counts attacks and honest replies for the table at the end: ``tally("altered body", tried=3, caught=3)``."""

    def count(what: str, **counts: int) -> None:
        assert set(counts) <= set(COLUMNS)
        record_property(TALLY, {"what": what, **counts})

    return count


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table of attacks tried and caught, of honest replies accepted, of a storm; and what was left out."""
    _attacks(terminalreporter)
    for report in (*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())):
        for name, storm in getattr(report, "user_properties", ()):
            if name == CHAOS:
                _storm(terminalreporter, storm)
    if "not heavy" in terminalreporter.config.getoption("markexpr"):
        _left_out(terminalreporter)


def _left_out(terminalreporter: Any) -> None:
    terminalreporter.section("left out, and run by `make test-heavy`")
    for path in sorted(ROOT.glob("tests/**/test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.heavy" in text:
            terminalreporter.line(f"{path.relative_to(ROOT)}: {text.splitlines()[0].strip(QUOTES)}")
    if not effort.FULL:
        terminalreporter.line("most examples of the tests that make them up (ZEROG_FUZZ=full)")


def _storm(terminalreporter: Any, storm: dict[str, Any]) -> None:
    terminalreporter.section(f"faults and outcomes (ZEROG_CHAOS_SEED={storm['seed']})")
    width = max(len(name) for name, _ in storm["rows"])
    terminalreporter.line(" " * width + "".join(f"{column:>11}" for column in STORM_COLUMNS))
    total = dict.fromkeys(STORM_COLUMNS, 0)
    for name, row in storm["rows"]:
        if name.startswith("wave "):
            total = {column: total[column] + row.get(column, 0) for column in STORM_COLUMNS}
    for name, row in [*storm["rows"], ("all", total)]:
        cells = "".join(f"{row.get(column) or '':>11}" for column in STORM_COLUMNS)
        terminalreporter.line(f"{name:<{width}}{cells}".rstrip())


def _attacks(terminalreporter: Any) -> None:
    rows: dict[str, dict[str, int]] = {}
    for report in terminalreporter.stats.get("passed", ()):
        for name, entry in getattr(report, "user_properties", ()):
            if name == TALLY:
                row = rows.setdefault(entry["what"], dict.fromkeys(COLUMNS, 0))
                for column in COLUMNS:
                    row[column] += entry.get(column, 0)
    if not rows:
        return
    total = {column: sum(row[column] for row in rows.values()) for column in COLUMNS}
    terminalreporter.section("attacks and honest replies")
    width = max(map(len, rows))
    for what, row in [("", {column: column for column in COLUMNS}), *sorted(rows.items()), ("all", total)]:
        terminalreporter.line(f"{what:<{width}}" + "".join(f"{row[column] or '':>10}" for column in COLUMNS))


@pytest.fixture(scope="session")
def _zerog_opengradient_net() -> Iterator[Any]:
    """Instead of the plugin's: nothing is settled but where a test says so, after however many seconds."""
    from zg_core.localnet import GatewaySettings, OpenGradientNet

    with OpenGradientNet(settings=GatewaySettings(idle=None)) as network:
        yield network


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference data beside the repository: skipped without, failed when `ZEROG_SHARED` is wrong."""
    directory = shared_directory()
    if not directory.is_dir():
        report = pytest.fail if "ZEROG_SHARED" in os.environ else pytest.skip
        report("needs the reference data: set ZEROG_SHARED to its directory")
    return directory


@pytest.fixture(scope="session")
def attestation_data() -> Path:
    """Recorded attestation reports; for tests marked `requires("attestation")`."""
    return attestation_directory()


@pytest.fixture(scope="session")
def anvil() -> str | None:
    """The anvil program; for tests marked `requires("anvil")`."""
    return anvil_program()


@pytest.fixture(scope="session")
def pgbouncer() -> str | None:
    """The pgbouncer program; for tests marked `requires("pgbouncer")`."""
    return pgbouncer_program()


@pytest.fixture(scope="session")
def postgres_bin() -> str | None:
    """The directory of PostgreSQL's programs; for tests marked `requires("postgres")`."""
    return postgres_programs()


@pytest.fixture(scope="session")
def chromium() -> str | None:
    """The browser; for tests marked `requires("chromium")`."""
    return chromium_program()
