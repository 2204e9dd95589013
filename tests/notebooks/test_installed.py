"""The notebooks from an installed wheel: copied by the command, and run, in an environment that has the extra alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.notebooks.running import NAMES, ROOT
from tests.patience import PATIENCE

STARTS = f"--startup_timeout={PATIENCE}"

pytestmark = pytest.mark.heavy


def succeed(*command: str | Path, directory: Path) -> str:
    """Run a command that has to work, away from the source tree; its output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL", "ZEROG"))}
    environ = {**kept, "HOME": str(directory), "IPYTHONDIR": str(directory), "JUPYTER_RUNTIME_DIR": str(directory)}
    if "UV_CACHE_DIR" not in environ:
        environ["UV_CACHE_DIR"] = str(Path.home() / ".cache" / "uv")
    words = [str(word) for word in command]
    result = subprocess.run(words, cwd=directory, env=environ, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.fail(f"{' '.join(words)}\n{result.stdout}{result.stderr}", pytrace=False)
    return result.stdout + result.stderr


def test_a_notebook_is_copied_and_run_from_the_wheel_with_its_extra_alone(tmp_path):
    from uv import find_uv_bin

    succeed(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, directory=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    succeed(find_uv_bin(), "venv", "--quiet", "--python", sys.executable, "env", directory=tmp_path)
    programs = tmp_path / "env" / "bin"
    install = [find_uv_bin(), "pip", "install", "--quiet", "--python", programs / "python"]
    succeed(*install, f"{wheel}[notebooks]", "--constraints", ROOT / "constraints.txt", directory=tmp_path)

    listed = succeed(programs / "zerog", "notebooks", "list", directory=tmp_path)
    assert all(name in listed for name in NAMES)
    succeed(programs / "zerog", "notebooks", "copy", "mine", directory=tmp_path)
    assert sorted(path.stem for path in (tmp_path / "mine").iterdir()) == NAMES
    assert succeed(programs / "jupyter", "lab", "--version", directory=tmp_path)
    for name in ("01_quickstart", "03_verified_agent", "07_sealed_prompts"):
        succeed(programs / "jupyter", "execute", "--inplace", STARTS, f"mine/{name}.ipynb", directory=tmp_path)
        assert "verified" in (tmp_path / "mine" / f"{name}.ipynb").read_text(encoding="utf-8")
