"""The script that makes the virtual environments (.ci/environment.py)."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, on a copy of the files it reads, and where uv must not be needed."""
    for name in (
        "pyproject.toml",
        "constraints.txt",
        "constraints-openai2.txt",
        "constraints-newest.txt",
        ".ci/overrides-newest.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    spec = importlib.util.spec_from_file_location("environment_script", ROOT / ".ci" / "environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "uv", lambda: pytest.fail("asked for uv", pytrace=False))
    return module


def install(script: ModuleType, name: str) -> None:
    """Leave what a successful set-up leaves."""
    environment = script.ENVIRONMENTS[name]
    environment.python.parent.mkdir(parents=True)
    environment.python.touch()
    (environment.path / script.STAMP).write_text(script.fingerprint(environment))


NAMES = ["main", "demo", "openai2", "newest"]


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_names_only_extras_and_groups_that_exist(script: ModuleType, name: str) -> None:
    environment = script.ENVIRONMENTS[name]
    assert set(environment.extras) <= set(PYPROJECT["project"]["optional-dependencies"])
    assert set(environment.groups) <= set(PYPROJECT["dependency-groups"])
    assert (ROOT / environment.constraints).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_done_and_nothing_is_said_when_nothing_changed(
    script: ModuleType, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    install(script, name)
    script.setup(script.ENVIRONMENTS[name])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("change", ["pyproject.toml", "constraints-newest.txt", ".ci/overrides-newest.txt"])
def test_a_change_of_what_it_holds_installs_again(script: ModuleType, tmp_path: Path, change: str) -> None:
    install(script, "newest")
    with (tmp_path / change).open("a") as file:
        file.write("# another line\n")
    with pytest.raises(pytest.fail.Exception, match="asked for uv"):
        script.setup(script.ENVIRONMENTS["newest"])


def test_an_installation_that_did_not_finish_is_done_again(script: ModuleType) -> None:
    install(script, "main")
    (script.ENVIRONMENTS["main"].path / script.STAMP).unlink()
    with pytest.raises(pytest.fail.Exception, match="asked for uv"):
        script.setup(script.ENVIRONMENTS["main"])


def test_what_uv_installs_is_told_in_one_paragraph_and_its_failure_ends_the_run(
    script: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    uv = tmp_path / "uv.py"
    uv.write_text(
        "import sys\nprint('Resolved 2 packages in 3ms', file=sys.stderr)\n"
        "print(' + web3==8.0.0\\n - rlp==4.0.0\\n + rlp==5.0.0', file=sys.stderr)\nsys.exit(int(sys.argv[1]))\n"
    )
    script.install([sys.executable, str(uv), "0"])
    assert capsys.readouterr().out.splitlines() == [
        "  Resolved 2 packages in 3ms",
        "  web3 8.0.0, -rlp 4.0.0, rlp 5.0.0",
    ]
    with pytest.raises(SystemExit, match="3"):
        script.install([sys.executable, str(uv), "3"])


def test_a_python_that_is_not_here_is_told_and_skipped(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "interpreter", lambda version: None if version == "3.13" else sys.executable)
    environment = script.ENVIRONMENTS["3.13"]
    environment.path.mkdir()
    script.setup(environment)
    assert capsys.readouterr().out == ".venv-3.13: SKIPPED, there is no Python 3.13 on this machine\n"
    assert not environment.path.exists(), "an old one would be tested in its place"


def test_a_python_is_one_that_runs_and_has_the_version(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert script.interpreter(None) == sys.executable
    shim = tmp_path / "bin" / "python9.9"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(shim.parent))
    assert script.interpreter("9.9") is None
    shim.write_text(f'#!/bin/sh\n[ "$3" = 9.9 ] && exec {sys.executable} -c "raise SystemExit(0)"\n')
    assert script.interpreter("9.9") == str(shim)
