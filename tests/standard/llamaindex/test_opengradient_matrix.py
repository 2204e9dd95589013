"""The matrix of LlamaIndex on OpenGradient, every reply proven; what gateways ignore by design is named as such."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from llama_index_zerog import ZeroG
from tests.standard.llamaindex.test_matrix import CASES
from zg_core import OpenGradient
from zg_core.localnet import GatewaySettings, OpenGradientNet

TOOL_CHOICE = (
    "gateways ignore `tool_choice` (opengradient §2.2): a tool that the question does not ask for is not called"
)
STOP = "gateways sign `stop` and do not stop there (opengradient §2.8)"
LEFT_OUT = {
    "calls_a_tool_by_name": TOOL_CHOICE,
    "is_made_to_call": TOOL_CHOICE,
    "stops_at_a_word": STOP,
    "says_what_it_is": "it names the model of the other network",
}


@pytest.fixture(scope="module")
def og() -> Iterator[OpenGradientNet]:
    with OpenGradientNet(gateways=1, settings=GatewaySettings(idle=None)) as network:
        yield network


@pytest.fixture(scope="module")
def llm(og: OpenGradientNet) -> Iterator[Any]:
    backend = OpenGradient(registry_rpc_url=og.registry_rpc_url, rpc_url=og.rpc_url)
    with ZeroG(backend=backend, model="openai/gpt-5", private_key=og.wallet.private_key, verify="require") as made:
        yield made


@pytest.mark.parametrize("loop", [False, True], ids=["blocking", "loop"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_case(name: str, loop: bool, llm: Any) -> None:
    if name in LEFT_OUT:
        pytest.skip(LEFT_OUT[name])
    CASES[name](llm, loop)
