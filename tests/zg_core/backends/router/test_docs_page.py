"""The blocks of docs/router.md, run in order on a local network with a Router; its codes are those of the code."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from zg_core import VerificationWarning
from zg_core.localnet import LocalNet
from zg_core.verify.attestation import AttestationOptions

ROOT = Path(__file__).resolve().parents[4]
PAGE = (ROOT / "docs" / "router.md").read_text(encoding="utf-8")


def test_its_blocks_run(net: LocalNet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    variables = {"ZEROG_NETWORK": "local", "ZEROG_RPC_URL": net.rpc_url, "ZEROG_ROUTER_URL": net.router.base_url}
    keys = {"ZEROG_API_KEY": net.router.api_key, "ZEROG_ROUTER_MANAGEMENT_KEY": net.router.management_key}
    for name, value in {**variables, **keys}.items():
        monkeypatch.setenv(name, value)
    for name in ("ZEROG_PROVIDER", "ZEROG_MODEL", "ZEROG_PRIVATE_KEY", "ZEROG_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    scope: dict[str, Any] = {
        "attestation": AttestationOptions(root=net.attestation_root, pccs_url=net.pccs_url),
        "__name__": "page",
    }
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerificationWarning)
        for number, block in enumerate(blocks):
            exec(compile(block, f"router.md, block {number}", "exec"), scope)
    said = capsys.readouterr().out
    assert "hello there signer_only" in said
    assert "hello there verified sealed" in said
    assert "agrees" in said


def test_the_codes_that_it_lists_are_in_the_code() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `") and line.count("|") == 4]
    codes = {code for row in rows for code in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    source = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("backends/router", "sealing", "verify", "localnet/router")
        for path in sorted((ROOT / "zg_core" / folder).rglob("*.py"))
    )
    assert len(codes) > 20
    assert not [code for code in sorted(codes) if f'"{code}"' not in source]
