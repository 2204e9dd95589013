"""LangChain's standard integration suite on OpenGradient; every reply must be proven (`verify="require"`).

What gateways ignore by design is not asked of them: `tool_choice`, `stop`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from langchain_zerog import ChatZeroG
from tests.standard.langchain.suite import Suite
from zg_core import Amount, OpenGradient
from zg_core.localnet import GatewaySettings, OpenGradientNet

pytestmark = [
    pytest.mark.filterwarnings("ignore:OpenAI may require a filename"),
]


@pytest.fixture(scope="session")
def og() -> Iterator[OpenGradientNet]:
    with OpenGradientNet(gateways=1, settings=GatewaySettings(idle=None)) as network:
        yield network


@pytest.fixture
def vcr_cassette_dir(tmp_path: Path) -> str:
    """No cassette: a given HTTP client cannot compare certificates, so nothing can be recorded here."""
    return str(tmp_path)


class TestOpenGradient(Suite):
    """All of it but what is said not to be there."""

    network: OpenGradientNet

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def on_the_network(cls, og: OpenGradientNet) -> None:
        cls.network = og

    @property
    def chat_model_params(self) -> dict[str, Any]:
        net = self.network
        return {
            "backend": OpenGradient(registry_rpc_url=net.registry_rpc_url, rpc_url=net.rpc_url),
            "model": "openai/gpt-5",
            "private_key": net.wallet.private_key,
            "verify": "require",
        }

    @property
    def has_tool_choice(self) -> bool:
        """Gateways ignore `tool_choice` (opengradient §2.2)."""
        return False

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        """Without `tool_choice` a function need not be called."""
        return {"method": "json_schema"}

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str | None:
        return "claude-opus-5"  # as answers name it: vendors are no part of the name on the wire


def test_a_structure_comes_by_schema_because_a_function_need_not_be_called(og: OpenGradientNet) -> None:
    from pydantic import BaseModel

    class Person(BaseModel):
        """A person."""

        name: str
        age: int

    backend = OpenGradient(registry_rpc_url=og.registry_rpc_url, rpc_url=og.rpc_url)
    with ChatZeroG(backend=backend, model="openai/gpt-5", private_key=og.wallet.private_key, verify="require") as model:
        found = model.with_structured_output(Person).invoke("'Ada' is 36 years old.")
    assert found == Person(name="Ada", age=36)


def test_a_model_that_is_made_again_keeps_its_cap_and_images(og: OpenGradientNet) -> None:
    backend = OpenGradient(cap=Amount("0.5", "OPG"), pcrs=["0x" + "11" * 32], settlement="private")
    model = ChatZeroG(backend=backend, model="openai/gpt-5", private_key=og.wallet.private_key)
    again = ChatZeroG(**{**model.model_dump(), "private_key": og.wallet.private_key})
    assert again.backend == backend
