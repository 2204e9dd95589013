"""Each extra alone, in a fresh environment with the wheel: the example that docs/extras.md has for it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests import postgres
from tests.docs.pasting import ROOT, blocks
from tests.patience import PATIENCE
from zg_core.localnet import LocalNet
from zg_core.localnet.opengradient.network import OpenGradientNet

EXTRAS = list(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"])
EXAMPLES = {
    Path(block.note.removeprefix("file: ")).stem: block
    for block in blocks(ROOT / "docs/extras.md")
    if block.note.startswith("file: ")
}
WITH = {"serve": "cli,serve"}
ELSEWHERE = {"opengradient": "2+3 = 5 verified", "postgres": "local-chat-1 verified", "all": "6 rooms open"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built once."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet() as running:
        running.open_account(running.wallet, running.providers[0])
        yield running


def settings_of(extra: str, net: LocalNet, folder: Path) -> dict[str, str]:
    """The environment of an example: a network in this process, and nothing of whoever runs the test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ZEROG", "PYTHON", "VIRTUAL"))}
    (folder / "root.der").write_bytes(net.attestation_root)
    return {**kept, **net.env(), "PCCS_URL": net.pccs_url, "ZEROG_HOME": str(folder / "home")}


def test_every_extra_has_an_example() -> None:
    assert EXAMPLES.keys() == {"none", *EXTRAS}


@pytest.fixture
def database(postgres_bin: str) -> Iterator[str]:
    with postgres.running(postgres_bin) as url:
        yield url


def cases() -> list[object]:
    needs = {"postgres": [pytest.mark.requires("postgres")]}
    return [pytest.param(extra, marks=needs.get(extra, [])) for extra in ("none", *EXTRAS)]


@pytest.mark.heavy
@pytest.mark.parametrize("extra", cases())
def test_the_example_of_an_extra_runs_with_that_extra_alone(
    extra: str, wheel: Path, net: LocalNet, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environ = settings_of(extra, net, tmp_path)
    programs = tmp_path / "env" / "bin"
    uv = find_uv_bin()
    named = "" if extra == "none" else f"[{WITH.get(extra, extra)}]"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "env")], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(programs / "python"), f"{wheel}{named}"]
    done = subprocess.run(
        [*install, "--constraints", str(ROOT / "constraints.txt")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if extra == "opengradient":
        gateways = request.getfixturevalue("opengradient")
        environ = {name: value for name, value in environ.items() if not name.startswith("ZEROG")} | gateways.env()
    if extra == "postgres":
        environ["ZEROG_STORE"] = request.getfixturevalue("database")
    example = EXAMPLES[extra]
    file = tmp_path / example.note.removeprefix("file: ")
    file = file.with_name(f"example_{file.name}")  # not the name of what it imports
    file.write_text(example.text, encoding="utf-8")
    environ["PATH"] = f"{programs}:{environ.get('PATH', '')}"
    command = ["bash", "-eu", str(file)] if file.suffix == ".sh" else [str(programs / "python"), str(file)]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = f"{ran.stdout} {ran.stderr}"
    if extra in ELSEWHERE:
        assert ELSEWHERE[extra] in said, said
    else:
        assert "The capital of France is Paris." in said, said
        assert "verified" in said, said


@pytest.fixture
def opengradient() -> Iterator[OpenGradientNet]:
    with OpenGradientNet() as running:
        yield running
