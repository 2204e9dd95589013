"""LangChain's standard integration suite through 0G Router: sealed, with every reply proven, and in the clear.

In the clear each reply must be `signer_only`, which is all that can be had.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.standard.langchain.suite import Suite
from zg_core import Router
from zg_core.localnet import LocalNet, ProviderSettings
from zg_core.verify.attestation import AttestationOptions

pytestmark = pytest.mark.filterwarnings("ignore:OpenAI may require a filename")


@pytest.fixture(scope="session")
def routed() -> Iterator[LocalNet]:
    settings = replace(ProviderSettings.fast(), settle_interval=None)
    with LocalNet(providers=3, settings=settings, router=True) as network:
        yield network


@pytest.fixture
def vcr_cassette_dir(tmp_path: Path) -> str:
    """No cassette: no two sealed requests are alike."""
    return str(tmp_path)


class RouterSuite(Suite):
    """All but what is recorded."""

    parameters: ClassVar[dict[str, Any]] = {}
    network: LocalNet

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def on_the_network(cls, routed: LocalNet) -> None:
        cls.network = routed

    @property
    def chat_model_params(self) -> dict[str, Any]:
        net = self.network
        return {
            "backend": Router(base_url=net.router.base_url),
            "api_key": net.router.api_key,
            "private_key": None,
            "provider": None,
            "model": "local-chat-1",
            "rpc_url": net.rpc_url,
            "attestation": AttestationOptions(root=net.attestation_root, pccs_url=net.pccs_url),
            "verify": "require",
            **self.parameters,
        }


class TestSealed(RouterSuite):
    """Every reply is `verified`."""

    parameters: ClassVar[dict[str, Any]] = {"sealed": True}


class TestInTheClear(RouterSuite):
    """Every reply is `signer_only`."""

    parameters: ClassVar[dict[str, Any]] = {"minimum": "signer_only"}

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str | None:
        """Another model, of another provider: the key is good for all."""
        return "local-chat-2"
