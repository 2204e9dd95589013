"""The blocks of docs/opengradient.md, run in order on a local OpenGradient."""

from __future__ import annotations

import pytest

from tests.docs.pasting import ROOT, blocks
from zg_core.localnet.opengradient.network import OpenGradientNet

PAGE = ROOT / "docs/opengradient.md"


def test_the_blocks_run_in_order(og: OpenGradientNet, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name in ("ZEROG_PROVIDER", "ZEROG_MODEL", "ZEROG_API_KEY", "ZEROG_VERIFY", "ZEROG_STORE", "PRIVATE_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in og.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ZEROG_PRIVATE_KEY")
    monkeypatch.setenv("OG_PRIVATE_KEY", og.wallet.private_key)
    shared: dict[str, object] = {"__name__": "page"}
    for block in blocks(PAGE):
        if block.language == "python":
            exec(compile(block.text, str(PAGE), "exec"), shared)
    said = capsys.readouterr().out
    assert "2+3 = 5" in said
    assert all(model in said for model in ("openai/gpt-5", "anthropic/claude-sonnet-4-6", "x-ai/grok-4"))
    assert "OPG metered_by_gateway" in said
    assert "open the permit is open" in said
    assert sum(gateway.permits for gateway in og.gateways) == 3  # two kinds of publication, and a budget
