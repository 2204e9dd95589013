"""The real contracts, as the official client carries them in its package; nothing of it is kept in the repository."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE

INTEROP = Path(__file__).resolve().parent.parent / "interop"
PACKAGE = "@0gfoundation/0g-compute-ts-sdk"
VERSION = "0.9.0"
FACTORIES = {"LedgerManager": "ledger", "InferenceServing": "inference"}

# Node reads the factories with ethers, as a user of the package does.
_PRINT = """
const {FACTORIES, PACKAGE} = JSON.parse(process.argv[1]);
const path = require("node:path");
const found = {version: require(`./node_modules/${PACKAGE}/package.json`).version};
for (const [name, folder] of Object.entries(FACTORIES)) {
  const at = `./node_modules/${PACKAGE}/lib.commonjs/${folder}/contract/typechain/factories/${name}__factory.js`;
  const factory = require(path.resolve(at))[`${name}__factory`];
  found[name] = {abi: factory.abi, bytecode: factory.bytecode};
}
process.stdout.write(JSON.stringify(found));
"""


@functools.cache
def contracts() -> Mapping[str, Mapping[str, Any]]:
    """``abi`` and ``bytecode`` of LedgerManager and InferenceServing; the test is skipped without the package."""
    if not (INTEROP / "node_modules" / PACKAGE / "package.json").is_file():
        pytest.skip(f"needs node programs: run `make interop`, {PACKAGE} is not installed")
    names = json.dumps({"FACTORIES": FACTORIES, "PACKAGE": PACKAGE})
    command = ["node", "--input-type=commonjs", "--eval", _PRINT, names]
    done = subprocess.run(command, cwd=INTEROP, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        pytest.fail(f"the factories of {PACKAGE} cannot be read:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    if found["version"] != VERSION:
        pytest.fail(f"{PACKAGE} is {found['version']}, the suite is about {VERSION}: run `make interop`")
    return found
