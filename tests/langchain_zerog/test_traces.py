"""Beside the OpenTelemetry instrumentations of LangChain, a call is one span: theirs, with our facts on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from zg_core.localnet import LocalNet

pytest.importorskip("opentelemetry.sdk.trace", reason="the SDK of OpenTelemetry is not installed")
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["traceloop", "openinference"])
def test_a_call_is_one_span_with_our_facts(local: LocalNet, name: str) -> None:
    environ = {**os.environ, "ZEROG_PROVIDER": local.providers[0].address, "ZEROG_VERIFY": "require"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.langchain_zerog.traced", name],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said: dict[str, Any] = json.loads(done.stdout)
    receipts = said.pop("receipts")
    for way, spans in said.items():
        assert not [span for span in spans if span["scope"] == "zg_core"], f"{way}: a second span"
        ours = [span for span in spans if "zerog.receipt" in span]
        assert len(ours) == (6 if way == "batch" else 1), way
        assert {span["zerog.verdict"] for span in ours} == {"verified"}
    assert sorted(span["zerog.receipt"] for span in said["batch"]) == receipts
