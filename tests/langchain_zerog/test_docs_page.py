"""The examples of the pages on LangChain run in order, as they stand, and print what their comments say."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path

import pytest

from zg_core.localnet import LocalNet, ProviderSpec

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of any model, and what a page loads is forgotten afterwards."""
    monkeypatch.setattr("langchain_zerog._profile._KNOWN", OrderedDict())


@pytest.mark.parametrize("page", ["langchain.md", "chat-model.md"])
def test_the_examples_of_a_page(page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from langchain.chat_models import base as chat_base
    from langchain.embeddings import base as embeddings_base

    for module in (chat_base, embeddings_base):  # what the page registers is forgotten afterwards
        monkeypatch.setattr(module, "_BUILTIN_PROVIDERS", dict(module._BUILTIN_PROVIDERS))
    names: dict[str, object] = {"__name__": "page"}
    specs = [
        ProviderSpec(model="local-chat-1"),
        ProviderSpec(model="local-embed-1", service_type="embedding", output_price=0, lora=False),
    ]
    with LocalNet(providers=specs) as net:
        for provider in net.providers:
            net.open_account(net.wallet, provider)
        for name, value in net.env().items():
            if name.startswith("ZEROG_") and name not in ("ZEROG_PROVIDER", "ZEROG_MODEL"):
                monkeypatch.setenv(name, value)
        for number, block in enumerate(blocks(page), 1):
            exec(compile(block, f"{page}, block {number}", "exec"), names)
            said = capsys.readouterr().out
            for printed in re.findall(r"^ *print\(.*\)\s+# (.*)$", block, re.MULTILINE):
                assert printed in said, said
    chat_base._get_chat_model_creator.cache_clear()
    embeddings_base._get_embeddings_class_creator.cache_clear()


def test_there_are_examples_of_every_part() -> None:
    code = "\n".join(blocks("langchain.md"))
    for name in (
        "get_zerog_receipts", "ZeroGVerificationMiddleware", "ZeroGBudgetMiddleware", "ZeroGEmbeddings", "register()",
        "configurable_fields",
    ):  # fmt: skip
        assert name in code, name
