"""What the repository may hold: top level, module sizes, and nothing of the machine it was written on."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("zg_core", "langchain_zerog", "llama_index_zerog")
DOCUMENTS = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
REQUIRED = {"pyproject.toml", "Makefile", "LICENSE", "constraints.txt", "tests", *DOCUMENTS, *PACKAGES}
ALLOWED = {*REQUIRED, "notebooks", "docs", "mkdocs.yml", "llms.txt", "AGENTS.md"}
ALLOWED_PATTERNS = ("constraints*.txt", ".*")
MOST_LINES = 600


def tracked() -> list[Path]:
    """Every file git tracks, as far as it is on disk."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def modules(*folders: str) -> Iterator[Path]:
    """Every Python file under these folders of the repository."""
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return (path for path in found if "node_modules" not in path.parts)


def place(path: Path, line: int = 0) -> str:
    """A path as a person writes it."""
    return path.relative_to(ROOT).as_posix() + (f":{line}" if line else "")


def report(problems: list[str], rule: str) -> None:
    """Fail with every problem on its own line."""
    if problems:
        pytest.fail("\n".join([f"{rule} ({len(problems)}):", *problems[:40]]), pytrace=False)


def text_of(path: Path) -> str:
    """The text of a file, empty when it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def test_the_top_level_holds_only_what_the_layout_names() -> None:
    names = {path.relative_to(ROOT).parts[0] for path in tracked()}
    surplus = [
        name for name in sorted(names - ALLOWED) if not any(fnmatch(name, pattern) for pattern in ALLOWED_PATTERNS)
    ]
    report(surplus, "at the top level, but not in the layout")
    report(sorted(REQUIRED - names), "missing at the top level (or not added to git)")


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_names_the_two_commands(command: str) -> None:
    lines = [line.partition("#")[0].strip() for line in text_of(ROOT / "README.md").splitlines()]
    assert command in lines, f"README.md has no line `{command}`"


def test_no_module_is_longer_than_600_lines() -> None:
    lengths = {path: len(text_of(path).splitlines()) for path in modules(*PACKAGES, "tests", ".ci")}
    report(
        [f"{place(path)}: {lines}" for path, lines in lengths.items() if lines > MOST_LINES],
        f"longer than {MOST_LINES} lines: split by idea",
    )


PRINTING = {"print", "sys.stdout.write", "sys.stderr.write"}


def name_of(node: ast.expr) -> str:
    """The dotted name that is called, empty where it is no name."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def printing_calls(path: Path) -> Iterator[ast.Call]:
    """Calls that write to the terminal, outside a function `main` (reached by `python -m` alone)."""
    tree = ast.parse(text_of(path), str(path))
    mains = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    exempt = {id(node) for main in mains for node in ast.walk(main)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and id(node) not in exempt and name_of(node.func) in PRINTING:
            yield node


def test_only_the_command_line_prints() -> None:
    problems = [
        f"{place(path, call.lineno)}: {ast.unparse(call)[:60]}"
        for path in modules(*PACKAGES)
        if "zg_core/cli/" not in path.as_posix()
        for call in printing_calls(path)
    ]
    report(problems, "prints: use logging.getLogger(__name__)")


def test_no_test_changes_time_for_all_threads() -> None:
    """What is patched in `time` or `asyncio` themselves reaches the networks that a worker's tests share."""
    whole = re.compile(
        r"""setattr\(\s*(?:time|asyncio|"(?:[\w.]+\.)?(?:time|asyncio)\.\w+"|[\w.]+\.(?:time|asyncio))\b"""
    )
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in (ROOT / "tests").rglob("*.py")
        if path.name != "moments.py"
        for match in whole.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found, "tests.moments.instead changes it for one module"


@pytest.fixture(scope="module")
def read() -> list[tuple[Path, ast.Module]]:
    """Every module of the tests."""
    return [(path, ast.parse(text_of(path))) for path in modules("tests")]


def test_no_test_forks_the_process_that_runs_tests(read: list[tuple[Path, ast.Module]]) -> None:
    """A child would inherit what threads of other tests hold, SQLite's own locks with it, and could wait for ever."""
    found = [
        f"{place(path, call.lineno)}: {function.name}"
        for path, tree in read
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for call in ast.walk(function)
        if (isinstance(call, ast.Attribute) and call.attr == "fork" and path.name != "processes.py")
        or (isinstance(call, ast.Name) and call.id == "child_of" and function.name.startswith("test_"))
    ]
    report(found, "tests.processes.alone runs a function in a process of its own, where `child_of` may be called")


WAITS = {"wait", "join", "result", "exception", "acquire", "communicate", "wait_for", "poll", "resolve", "aresolve"}
OPENS = {"run", "open", "urlopen", "HTTPConnection", "create_connection", "wait_for_transaction_receipt"}


def test_what_must_come_is_waited_for_as_long_as_it_takes(read: list[tuple[Path, ast.Module]]) -> None:
    """A few seconds are enough until a machine is busy: then they decide, and what is tested does not."""
    found = []
    for path, tree in read:
        if path.parent.name in {"bench", "soak"}:
            continue
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            given = [word.value for word in call.keywords if word.arg == "timeout" and name in WAITS | OPENS]
            handed = [getattr(each, "attr", "") for each in call.args]  # asyncio.to_thread(event.wait, 10)
            limits = [*given, *(call.args[-1:] if WAITS & {name, *handed} else [])]
            if any(isinstance(limit, ast.Constant) and _takes_long(limit.value) for limit in limits):
                found.append(f"{place(path, call.lineno)}: {ast.unparse(call)[:100]}")
    report(found, "wait with tests.patience.PATIENCE")


def _takes_long(limit: object) -> bool:
    """Whether so many seconds are meant for what comes: what shall not come is waited for a moment only."""
    return isinstance(limit, int | float) and not isinstance(limit, bool) and limit >= 5


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file(), f"{package}/py.typed is missing"
    assert (ROOT / package / "__init__.py").is_file(), f"{package}/__init__.py is missing"


# Machines, workplaces and registries a file was made with; bracketed, so that no line here matches itself
FORBIDDEN = {
    "a path of the machine": r"(?<![\w.$}~-])/(?:[w]ork|[r]oot|[h]ome|opt/[a-z]+|tmp/[a-z])[\w-]*/",
    "a file address": r"\b[f]ile://",
    "a registry host": r"(?:[p]ypi|[p]ythonhosted|[n]pmjs|[y]arnpkg|[c]onda|[d]ebian)[.](?:org|com|net|io)\b",
    "an index address": r"--[e]xtra-index-url|--[i]ndex-url|--[f]ind-links[ =]|^\s*[r]egistry\s*=",
}


def test_no_file_names_the_machine_or_the_registry_it_was_made_with() -> None:
    problems = [
        f"{place(path, text.count(chr(10), 0, match.start()) + 1)}: {what}: {match.group().strip()}"
        for path in tracked()
        for text in [text_of(path)]
        for what, pattern in FORBIDDEN.items()
        for match in re.finditer(pattern, text, re.MULTILINE | re.IGNORECASE)
    ]
    report(problems, "not part of the project")


def test_lock_files_name_no_download_address() -> None:
    locks = [path for path in tracked() if path.name in {"package-lock.json", "npm-shrinkwrap.json"}]
    problems = [
        f"{place(path)}: {name}: resolved {entry['resolved']}"
        for path in locks
        for name, entry in json.loads(text_of(path))["packages"].items()
        if "resolved" in entry
    ]
    report(problems, "set omit-lockfile-registry-resolved=true in .npmrc and lock again")


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-openai2.txt", "constraints-newest.txt"])
def test_constraints_pin_versions_and_name_no_address(name: str) -> None:
    pins = [line for line in text_of(ROOT / name).splitlines() if line and not line.startswith("#")]
    pin = re.compile(r"[a-z0-9][a-z0-9._-]*==[0-9][\w.!+]*( ; .+)?")
    assert len(pins) > 100, f"{name} pins only {len(pins)} packages"
    report([f"{name}: {line}" for line in pins if not pin.fullmatch(line)], "not of the form name==version")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constraints.txt", {"langchain-core": "1.7.2", "langchain": "1.4.7", "openai": "3."}),
        ("constraints-openai2.txt", {"langchain-core": "1.7.2", "openai": "2.45.", "httpx": "0."}),
        ("constraints-newest.txt", {"langchain-core": "1.8.1", "langchain": "1.5.0", "openai": "3."}),
    ],
)
def test_each_environment_has_the_versions_it_exists_for(name: str, expected: dict[str, str]) -> None:
    pins = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text_of(ROOT / name), re.MULTILINE))
    wrong = [
        f"{name}: {package}=={pins.get(package)}, wanted {version}"
        for package, version in expected.items()
        if not pins.get(package, "").startswith(version)
    ]
    report(wrong, "not what this environment is for")


def test_the_version_is_the_same_everywhere() -> None:
    literals = {}
    for path in modules(*PACKAGES):
        for match in re.finditer(r'^__version__(?:: \w+)? = "([^"]+)"', text_of(path), re.MULTILINE):
            literals[place(path)] = match.group(1)
    assert list(literals) == ["zg_core/__init__.py"], "it stands in one place"
    (version,) = literals.values()
    try:
        installed = importlib.metadata.version("zerog-integrations")
    except importlib.metadata.PackageNotFoundError:
        pytest.fail("zerog-integrations is not installed here: run `make setup`", pytrace=False)
    found = {"the installed distribution": installed}
    newest = re.search(r"^## \[?v?(\d[\w.]*)", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)
    if "dev" not in version:
        found["CHANGELOG.md"] = newest.group(1) if newest else "no version heading"
    report([f"{where}: {other}" for where, other in found.items() if other != version], f"not {version}")


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_a_page_for_contributors_names_only_places_that_are_there(page: str) -> None:
    named = re.findall(r"`((?:zg_core|tests|docs|langchain_zerog|llama_index_zerog)/[\w/.]+)`", text_of(ROOT / page))
    assert len(named) > 8
    report([f"{page}: {name}" for name in sorted(set(named)) if not (ROOT / name).exists()], "not there")
