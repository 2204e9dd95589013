"""The matrix of LlamaIndex through 0G Router: sealed, with every reply proven, and in the clear, where none can be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from llama_index_zerog import ZeroG
from tests.standard.llamaindex.test_matrix import CASES
from zg_core import Router
from zg_core.localnet import LocalNet
from zg_core.verify.attestation import AttestationOptions


@pytest.fixture(scope="module")
def routed() -> Iterator[LocalNet]:
    with LocalNet(router=True) as network:
        yield network


@pytest.fixture(scope="module", params=["sealed", "clear"])
def llm(routed: LocalNet, request: pytest.FixtureRequest) -> Iterator[Any]:
    demand = {"sealed": True} if request.param == "sealed" else {"minimum": "signer_only"}
    where = {"private_key": None, "provider": None, "network": "local", "rpc_url": routed.rpc_url}
    attested = AttestationOptions(root=routed.attestation_root, pccs_url=routed.pccs_url)
    with ZeroG(
        backend=Router(base_url=routed.router.base_url),
        api_key=routed.router.api_key,
        model="local-chat-1",
        verify="require",
        attestation=attested,
        **where,
        **demand,
    ) as made:
        yield made


@pytest.mark.parametrize("loop", [False, True], ids=["blocking", "loop"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_case(name: str, loop: bool, llm: Any) -> None:
    CASES[name](llm, loop)
