"""0G Direct with sealed requests: the operator in front of the enclave reads nothing, and the reply is proven."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from zg_core import ChatClient
from zg_core.backends.direct.options import Direct
from zg_core.errors import ConfigError, ZeroGError
from zg_core.localnet import LocalNet
from zg_core.types import Prompt
from zg_core.verify.attestation import AttestationOptions
from zg_core.verify.verdict import Status

PAYLOAD: dict[str, Any] = {"messages": [{"role": "user", "content": "Say: the word is swordfish"}]}


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet(providers=4) as started:
        for provider in started.providers:
            started.open_account(started.wallet, provider)
        yield started


def settings(net: LocalNet, model: str = "local-chat-1", **more: Any) -> dict[str, Any]:
    attested = AttestationOptions(root=net.attestation_root, pccs_url=net.pccs_url)
    where = {"private_key": net.wallet.private_key, "network": "local", "rpc_url": net.rpc_url, "environ": {}}
    return {
        **where,
        "model": model,
        "attestation": attested,
        "verify": "require",
        "max_retries": 0,
        "sealed": True,
        **more,
    }


@pytest.mark.parametrize("model", ["local-chat-1", "local-chat-2", "local-chat-3"])
def test_a_sealed_reply_of_every_kind_is_verified(net: LocalNet, model: str) -> None:
    with net.operator(net.provider(model)) as operator, ChatClient(**settings(net, model)) as client:
        reply = client.create(PAYLOAD)
        with client.stream(PAYLOAD) as stream:
            assert len(list(stream)) > 1
        passed = b"".join(each.body for each in operator.seen)
    for receipt in (reply.receipt, stream.receipt):
        assert receipt is not None
        assert receipt.verdict.status is Status.VERIFIED
        assert receipt.verdict.prompt is (Prompt.VENDOR if model == "local-chat-2" else Prompt.SEALED)
        assert receipt.fee.exact
    assert "swordfish" in reply.text
    assert b"_e2ee" in passed
    assert b"swordfish" not in passed


def test_the_options_say_the_same(net: LocalNet) -> None:
    with ChatClient(**settings(net, sealed=False, backend=Direct(sealed=True))) as client:
        assert client.create(PAYLOAD).receipt.verdict.prompt is Prompt.SEALED


def test_an_enclave_with_a_new_key_is_sealed_to_anew(net: LocalNet) -> None:
    with ChatClient(**settings(net)) as client:
        client.create(PAYLOAD)
        net.provider("local-chat-1").rotate_signer()
        assert "swordfish" in client.create(PAYLOAD).text


@pytest.mark.parametrize("fault", ["key_swapped", "legacy", "unsigned"])
def test_no_prompt_is_sealed_to_an_operators_key(net: LocalNet, fault: str) -> None:
    provider = net.provider("local-chat-1")
    provider.quote_fault(fault)
    before = len(provider.requests)
    try:
        with ChatClient(**settings(net)) as client, pytest.raises(ZeroGError):
            client.create(PAYLOAD)
    finally:
        provider.clear_faults()
    assert not [each for each in provider.requests[before:] if each.method == "POST"]


def test_what_has_no_enclave_gets_nothing(net: LocalNet) -> None:
    with ChatClient(**settings(net, "local-chat-4", verify="warn")) as client, pytest.raises(ZeroGError) as caught:
        client.create(PAYLOAD)
    assert caught.value.code == "cannot_seal"


def test_a_backend_that_cannot_seal_is_not_made() -> None:
    with pytest.raises(ConfigError) as caught:
        ChatClient(backend="opengradient", private_key="0x" + "11" * 32, model="m", sealed=True, environ={})
    assert caught.value.code == "cannot_seal"
