"""LangChain's standard suites for embeddings, over real HTTP; every vector must be proven (`verify="require"`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_zerog import ZeroGEmbeddings
from zg_core.localnet import LocalNet, ProviderSettings, ProviderSpec

KEY = "0x" + "11" * 32


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    """One embedding service, and a wallet with a sub-account there."""
    spec = ProviderSpec(model="local-embed-1", service_type="embedding", output_price=0, lora=False)
    with LocalNet(providers=[spec], settings=ProviderSettings.fast()) as running:
        running.open_account(running.wallet, running.providers[0])
        yield running


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return ZeroGEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "local-embed-1", "private_key": KEY}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"ZEROG_PRIVATE_KEY": KEY}, {"model": "local-embed-1"}, {"private_key": KEY}


class TestIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return ZeroGEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "local-embed-1", "verify": "require"}
