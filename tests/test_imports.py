"""Who may import whom, what an import may load, and what each package exports."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("zg_core", "langchain_zerog", "llama_index_zerog")
FRAMEWORKS = ("langchain", "llama_index", "langgraph", "langsmith")
# Loaded when first needed, never by an import of ours.
HEAVY = (
    "web3",
    "eth_account",
    "openai",
    "sqlalchemy",
    "starlette",
    "eth_abi",
    "typer",
    "rich",
    "uvicorn",
    "eth",
)


class Import(NamedTuple):
    """One import statement: where it is, and what it names."""

    importer: str
    imported: str
    place: str
    lazy: bool

    def __str__(self) -> str:
        return f"{self.place}: {self.importer} imports {self.imported}"

    def inside(self, *packages: str) -> bool:
        """Whether it names one of these packages or something in them."""
        return any(self.imported == package or self.imported.startswith(package + ".") for package in packages)


def module_name(path: Path) -> str:
    """The dotted name of a module of ours."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def only_for_types(node: ast.AST) -> bool:
    """Whether this is an `if TYPE_CHECKING:` block."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a module, those for type checkers too: they are dependencies of the reader."""
    name = module_name(path)
    package = name if path.stem == "__init__" else name.rpartition(".")[0]

    def visit(node: ast.AST, *, lazy: bool) -> Iterator[Import]:
        place = f"{path.relative_to(ROOT).as_posix()}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, place, lazy)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            for alias in node.names:
                yield Import(name, f"{base}.{alias.name}", place, lazy)
        deeper = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or only_for_types(node)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                yield from visit(child, lazy=deeper)

    yield from visit(ast.parse(path.read_text(encoding="utf-8"), str(path)), lazy=False)


@cache
def all_imports() -> tuple[Import, ...]:
    """The imports of all three packages."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return tuple(one for path in paths if "node_modules" not in path.parts for one in imports_of(path))


def refuse(problems: list[Import], rule: str) -> None:
    """Fail with every import that breaks a rule."""
    if problems:
        pytest.fail("\n".join([f"{rule}:", *map(str, problems)]), pytrace=False)


def is_in(module: str, package: str) -> bool:
    """Whether a module is this package or in it."""
    return module == package or module.startswith(package + ".")


def test_the_scan_sees_lazy_relative_and_type_checking_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "zg_core" / "chain").mkdir(parents=True)
    source = tmp_path / "zg_core" / "chain" / "reads.py"
    source.write_text(
        "import web3.eth\nfrom .. import errors\nfrom .abi import encode\n"
        "if TYPE_CHECKING:\n    import rich\ndef f():\n    from zg_core.localnet import Chain\n"
    )
    found = [(one.imported, one.lazy) for one in imports_of(source)]
    assert found == [
        ("web3.eth", False),
        ("zg_core.errors", False),
        ("zg_core.chain.abi.encode", False),
        ("rich", True),
        ("zg_core.localnet.Chain", True),
    ]


def test_the_core_imports_no_framework() -> None:
    problems = [
        one
        for one in all_imports()
        if is_in(one.importer, "zg_core")
        and one.imported.startswith((*FRAMEWORKS, "langchain_zerog", "llama_index_zerog"))
        # the demo shows LangChain, once its command runs
        and not (one.importer == "zg_core.cli.demo" and one.inside("langchain_zerog", "langchain_core") and one.lazy)
    ]
    refuse(problems, "zg_core imports no framework")


@pytest.mark.parametrize(
    ("package", "other"),
    [
        ("langchain_zerog", ("llama_index_zerog", "llama_index")),
        ("llama_index_zerog", ("langchain_zerog", "langchain", "langchain_core", "langgraph")),
    ],
)
def test_the_framework_packages_do_not_import_each_other(package: str, other: tuple[str, ...]) -> None:
    problems = [one for one in all_imports() if is_in(one.importer, package) and one.inside(*other)]
    refuse(problems, f"{package} imports zg_core and its own framework")


def test_the_local_network_imports_nothing_from_the_rest_of_the_core() -> None:
    problems = [
        one
        for one in all_imports()
        if is_in(one.importer, "zg_core.localnet") and one.inside("zg_core") and not one.inside("zg_core.localnet")
    ]
    refuse(problems, "zg_core.localnet imports nothing else of zg_core")


def test_nothing_imports_the_local_network_but_the_command_line() -> None:
    problems = [
        one
        for one in all_imports()
        if one.inside("zg_core.localnet")
        and not is_in(one.importer, "zg_core.localnet")
        and not is_in(one.importer, "zg_core.cli")
    ]
    refuse(problems, "only zg_core.cli imports zg_core.localnet")


BACKENDS = tuple(path.parent.name for path in sorted((ROOT / "zg_core" / "backends").glob("*/__init__.py")))
# Who may know one backend: whoever chooses it, the commands, and lists of names that load nothing by themselves.
KNOWING = ("zg_core.backends.registry", "zg_core.cli")
LISTS = ("zg_core", "zg_core.receipts")
# What is about accounts of one wallet on 0G's chain, and not about calls.
OF_ACCOUNTS = ("zg_core.compare.runner", "zg_core.serve.ledgers")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_is_known_by_its_registry_and_the_command_line_only(backend: str) -> None:
    folder = f"zg_core.backends.{backend}"
    problems = [
        one
        for one in all_imports()
        if one.inside(folder)
        and not is_in(one.importer, folder)
        and not any(is_in(one.importer, place) for place in KNOWING)
        and one.importer not in (*LISTS, *OF_ACCOUNTS)
    ]
    refuse(problems, f"only the registry and the command line know {folder}")


def loaded_by(statement: str, after: str) -> set[str]:
    """The modules that a statement adds to those of another before it, in a fresh process."""
    code = f"import sys, json\n{after}\nbefore = set(sys.modules)\n{statement}\n"
    code += "print(json.dumps(sorted(set(sys.modules) - before)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{statement}\n{result.stderr}"
    return set(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("package", "framework"),
    [
        ("zg_core", "pass"),
        ("langchain_zerog", "import langchain_core.language_models.chat_models"),
        ("llama_index_zerog", "import llama_index.core.llms.function_calling"),
    ],
)
def test_an_import_of_ours_loads_nothing_heavy(package: str, framework: str) -> None:
    # every public name too: an attribute that is looked up lazily must not hide the cost
    exports(package)
    statement = f"import {package}\nfor name in {package}.__all__: getattr({package}, name)"
    added = loaded_by(statement, framework)
    heavy = sorted({name.partition(".")[0] for name in added} & set(HEAVY))
    if heavy:
        pytest.fail(f"`import {package}` loads {', '.join(heavy)}, which {framework!r} does not", pytrace=False)


def exports(name: str) -> tuple[ModuleType, set[str]]:
    """A package of ours and what it exports."""
    package = importlib.import_module(name)
    if not hasattr(package, "__all__"):
        pytest.fail(f"{name}/__init__.py has no __all__", pytrace=False)
    return package, set(package.__all__)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_exported_name_is_there_documented_and_ours(name: str) -> None:
    package, exported = exports(name)
    problems = []
    for public in sorted(exported):
        if not hasattr(package, public):
            problems.append(f"{public}: in __all__, but not in the package")
            continue
        value = getattr(package, public)
        if inspect.isclass(value) or inspect.isroutine(value):
            if not (value.__doc__ or "").strip():
                problems.append(f"{public}: no docstring")
            if not is_in(value.__module__, name) and not is_in(value.__module__, "zg_core"):
                problems.append(f"{public}: comes from {value.__module__}")
    if problems:
        pytest.fail("\n".join([f"{name}.__all__:", *problems]), pytrace=False)


@pytest.mark.parametrize("name", PACKAGES)
def test_no_public_name_is_missing_from_the_exports(name: str) -> None:
    package, exported = exports(name)
    submodules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    ours = {
        public
        for public, value in vars(package).items()
        if not public.startswith("_")
        and public not in submodules
        and is_in(str(getattr(value, "__module__", "")), name)
    }
    missing = sorted(ours - exported)
    assert not missing, f"public in {name}, but not in __all__: {', '.join(missing)}"
