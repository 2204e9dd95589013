"""LangChain's standard unit suite."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd, load
from langchain_tests.unit_tests import ChatModelUnitTests
from syrupy.assertion import SnapshotAssertion

from langchain_zerog import ChatZeroG

PROVIDER = "0x" + "11" * 20
KEY = "0x" + "22" * 32


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the environment: a constructor that is told all needs none of it."""
    for name in ("NETWORK", "RPC_URL", "LEDGER", "INFERENCE", "PRIVATE_KEY", "PROVIDER"):
        monkeypatch.delenv(f"ZEROG_{name}", raising=False)


class TestUnit(ChatModelUnitTests):
    """The ten tests of the suite."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatZeroG

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "local-chat-1", "provider": PROVIDER, "private_key": KEY, "network": "local"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {
            "ZEROG_PRIVATE_KEY": KEY,
            "ZEROG_PROVIDER": PROVIDER,
            "ZEROG_MODEL": "local-chat-1",
            "ZEROG_NETWORK": "local",
            "ZEROG_VERIFY": "require",
        }
        names = ("private_key", "provider", "model", "network", "verify")
        return (
            environment,
            {},
            dict(zip(names, environment.values(), strict=True))
            | {
                "private_key": KEY,
                "provider": PROVIDER,
                "model": "local-chat-1",
            },
        )

    @pytest.mark.xfail(
        raises=ValueError,
        reason="load(allowed_objects='all') takes only the classes in langchain-core's own list; "
        "test_a_serialised_model_comes_back_as_it_was does the round trip with ours allowed",
    )
    def test_serdes(self, model: BaseChatModel, snapshot: SnapshotAssertion) -> None:
        super().test_serdes(model, snapshot)


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_a_serialised_model_comes_back_as_it_was() -> None:
    model = ChatZeroG(
        model="local-chat-1",
        provider=PROVIDER,
        private_key=KEY,
        network="local",
        temperature=0,
        max_tokens=100,
        stop=["x"],
        timeout=60,
    )
    written = dumpd(model)
    assert KEY[2:] not in str(written)
    with mock.patch.dict(os.environ, {"ZEROG_PRIVATE_KEY": KEY}):
        again = load(written, allowed_objects=[ChatZeroG], valid_namespaces=["langchain_zerog"], secrets_from_env=True)
    assert isinstance(again, ChatZeroG)
    assert {name: getattr(again, name) for name in ChatZeroG.model_fields} == {
        name: getattr(model, name) for name in ChatZeroG.model_fields
    }
    assert dumpd(again) == written
