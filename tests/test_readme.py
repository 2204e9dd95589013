"""The examples of the README run as they stand, on a local network."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from zg_core.localnet import LocalNet

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
BLOCKS = [block for block in BLOCKS if "import ray" not in block]  # tests/fleet runs that one, with PostgreSQL


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n", 1)[0])
def test_an_example_runs(block, monkeypatch, tmp_path):
    monkeypatch.setenv("ZEROG_HOME", str(tmp_path))  # where the key ledger would go
    with LocalNet() as net:
        net.open_account(net.wallet, net.providers[0])
        for name, value in net.env().items():
            if name not in ("ZEROG_PROVIDER", "ZEROG_MODEL"):
                monkeypatch.setenv(name, value)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(block, "README.md", "exec"), {})
    for line in block.splitlines():  # a comment after print(…) is what it prints
        printed = re.match(r"print\(.*\)\s+# (.*)", line)
        if printed:
            assert printed[1] in output.getvalue(), output.getvalue()


def test_there_are_examples():
    assert len(BLOCKS) >= 3
