"""The committed artifacts are what the sources compile to, on any machine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from zg_core.localnet.chain.abi import CONTRACTS_DIR

SOURCES = sorted(path for path in CONTRACTS_DIR.rglob("*.sol") if "node_modules" not in path.parts)


def copy_of_the_folder(to: Path) -> Path:
    """Sources and artifacts elsewhere, with the installed compiler."""
    folder = to / "contracts"
    shutil.copytree(CONTRACTS_DIR, folder, ignore=shutil.ignore_patterns("node_modules", "genesis.json"))
    (folder / "node_modules").symlink_to(CONTRACTS_DIR / "node_modules", target_is_directory=True)
    return folder


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", "build.mjs", "--check"], cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.heavy
@pytest.mark.requires("node", "solc")
def test_the_sources_compile_to_the_committed_artifacts_and_nothing_else_passes(tmp_path: Path) -> None:
    """One compilation: everything must match but the two artifacts that this test spoils."""
    folder = copy_of_the_folder(tmp_path)
    spoiled = folder / "artifacts" / "UpgradeableBeacon.json"
    content = json.loads(spoiled.read_text(encoding="utf-8"))
    content["bytecode"] += "00"
    spoiled.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "artifacts" / "Stray.json").write_text("{}\n", encoding="utf-8")

    done = check(folder)
    assert done.returncode == 1, done.stdout + done.stderr
    differences = [line.strip() for line in done.stderr.splitlines() if line.startswith("  ")]
    assert differences == ["UpgradeableBeacon.json: bytecode differ", "Stray.json: no source compiles to it"]


@pytest.mark.requires("node", "solc")
def test_a_source_that_does_not_compile_is_reported(tmp_path: Path) -> None:
    folder = copy_of_the_folder(tmp_path)
    source = folder / "interfaces" / "IERC165.sol"
    source.write_text(source.read_text(encoding="utf-8").replace("bytes4", "bytes5"), encoding="utf-8")
    done = check(folder)
    assert done.returncode == 1, done.stdout
    assert "TypeError" in done.stderr


def test_the_compiler_is_pinned_and_its_lock_names_no_address() -> None:
    package = json.loads((CONTRACTS_DIR / "package.json").read_text(encoding="utf-8"))
    text = (CONTRACTS_DIR / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    assert package["devDependencies"] == {"solc": "0.8.22"}
    assert packages["node_modules/solc"]["version"] == "0.8.22"
    assert re.findall(r'"resolved"|[.]tgz', text) == []
    unchecked = [name for name, entry in packages.items() if name and "integrity" not in entry]
    assert unchecked == [], "npm ci would take any content for these"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(CONTRACTS_DIR).as_posix())
def test_every_source_has_the_licence_and_the_compiler_version_on_top(source: Path) -> None:
    first, second, *_ = source.read_text(encoding="utf-8").splitlines()
    assert (first, second) == ("// SPDX-License-Identifier: Apache-2.0", "pragma solidity 0.8.22;")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(CONTRACTS_DIR).as_posix())
def test_every_import_is_a_file_of_this_folder(source: Path) -> None:
    targets = re.findall(r'^import .* from "([^"]+)";$', source.read_text(encoding="utf-8"), re.MULTILINE)
    missing = [target for target in targets if not (source.parent / target).resolve().is_relative_to(CONTRACTS_DIR)]
    assert missing == []


def test_artifacts_hold_no_path_and_no_metadata() -> None:
    for path in (CONTRACTS_DIR / "artifacts").rglob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        assert not Path(content["sourceName"]).is_absolute()
        # the CBOR map that would follow the code names the metadata by "ipfs" and the compiler by "solc"
        for word in (b"ipfs", b"solc"):
            assert word.hex() not in content["deployedBytecode"], f"{path.name} holds {word!r}"
