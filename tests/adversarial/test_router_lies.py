"""A Router that lies beside its answers: where to go next, who there is, what it cost, and whatever it can repeat."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from tests.adversarial.operator import Asked, Machine, Said
from tests.zg_core.backends.router.conftest import afresh, settings_for
from zg_core import ChatClient
from zg_core.errors import ConfigError, ZeroGError
from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.localnet.router.faults import RouterFault
from zg_core.verify.verdict import Status

SECRET = "swordfish"
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Say: hello"}]}
MISMATCH = '{"error":"e2ee_key_mismatch: the request is sealed to another key"}'
CONTENT = (
    "documents", "function_call", "functions", "images", "input", "instructions", "negative_prompt", "prediction",
    "prompt", "suffix", "system",
)  # fmt: skip


@pytest.fixture(scope="module")
def routed() -> Iterator[LocalNet]:
    with LocalNet(providers=[ProviderSpec(model="m")], router=True) as net:
        net.open_account(net.wallet, net.providers[0], 10**19)
        yield net


@pytest.fixture
def net(routed: LocalNet) -> Iterator[LocalNet]:
    with afresh(routed) as made:
        yield made
    routed.providers[0].acknowledge()


def client(net: LocalNet, **more: Any) -> ChatClient:
    return ChatClient(**settings_for(net, **{"sealed": True, "verify": "require", "model": "m", **more}))


def sealed_requests(net: LocalNet) -> list[bytes]:
    return [each for each in net.router.seen if each.startswith(b"POST /v1/chat") and b"_e2ee" in each]


@pytest.mark.parametrize("field", CONTENT)
@pytest.mark.parametrize("backend", ["router", "direct"])
def test_nothing_that_is_asked_goes_in_the_clear_beside_the_seal(net: LocalNet, backend: str, field: str) -> None:
    """Servers of models take what is asked in more fields than the seal knows."""
    settings = settings_for(net, sealed=True, verify="require", model="m")
    if backend == "direct":
        settings |= {"backend": "direct", "sealed": True, "private_key": net.wallet.private_key}
        del settings["api_key"]
    provider = net.providers[0]
    before = len(provider.log)
    with ChatClient(**settings) as ours, pytest.raises(ConfigError) as caught:
        ours.create({**ASK, field: [SECRET]})
    assert (caught.value.code, repr(field) in str(caught.value)) == ("cannot_seal", True)
    assert SECRET.encode() not in b"".join(net.router.seen)
    assert len(provider.log) == before


def test_a_new_key_of_an_enclave_that_is_acknowledged_no_more_gets_nothing(net: LocalNet) -> None:
    """The Router says that the key has changed, just as the chain stops to vouch for the enclave."""
    with client(net) as ours:
        assert ours.create(ASK).receipt.verdict.status is Status.VERIFIED
        net.router.forget()
        reads = ours.backend._chain  # type: ignore[attr-defined]
        service = reads.service

        async def revoked(address: str, *, fresh: bool = False, **more: Any) -> Any:
            if fresh:  # after the refusal
                net.providers[0].revoke_acknowledgement()
            return await service(address, fresh=fresh, **more)

        reads.service = revoked
        net.router.fault(RouterFault.REFUSED, times=1, status=409, body=MISMATCH)
        with pytest.raises(ZeroGError) as caught:
            ours.create(ASK)
    assert caught.value.code == "service_not_acknowledged"
    assert len(sealed_requests(net)) == 1


def test_a_key_that_changes_for_ever_is_looked_at_once_more_and_no_oftener(net: LocalNet) -> None:
    refused = net.router.fault(RouterFault.REFUSED, times=None, status=409, body=MISMATCH)
    with refused, client(net) as ours, pytest.raises(ZeroGError) as caught:
        ours.create(ASK)
    assert caught.value.code == "e2ee_key_mismatch"
    assert len(sealed_requests(net)) == 2


@pytest.mark.parametrize("sealed", [False, True])
def test_a_key_that_the_router_repeats_is_shown_nowhere(net: LocalNet, *, sealed: bool) -> None:
    key = net.router.api_key
    body = json.dumps({"error": {"message": f"bad key {key}", "type": "invalid_request_error", "code": "invalid_body"}})
    more: dict[str, Any] = {} if sealed else {"verify": "off"}
    with net.router.fault(RouterFault.REFUSED, status=400, body=body), client(net, sealed=sealed, **more) as ours:
        with pytest.raises(ZeroGError) as caught:
            ours.create(ASK)
        assert "bad key" in str(caught.value)
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(caught.value.details)
        assert key.removeprefix("sk-") not in shown
        assert caught.value.receipt is not None
        assert key.removeprefix("sk-") not in json.dumps(caught.value.receipt.to_dict())


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_key_follows_a_router_that_sends_us_elsewhere(net: LocalNet, status: int) -> None:
    elsewhere = Machine(lambda _: Said(b"{}"))
    try:
        away = {"location": f"{elsewhere.url}/v1/chat/completions"}
        refused = net.router.fault(RouterFault.REFUSED, times=None, status=status, headers=away, body="moved")
        with refused, client(net) as ours, pytest.raises(ZeroGError) as caught:
            ours.create(ASK)
        assert caught.value.code == "redirect"
        assert elsewhere.asked == []
    finally:
        elsewhere.stop()


ODD: list[Any] = [
    None, 7, [], {"providers": None}, {"providers": [None, 7, [], {"address": 7}, {"address": "0x" + "1" * 39}]},
    {"providers": [{"address": "@", "canonical_id": "m\r\nX-Evil: 1"}]},
    {"providers": [{"address": "@", "canonical_id": "m" * 1_000_000}]},
    {"providers": [{"address": "@", "canonical_id": ["m"]}]},
    {"providers": [{"address": "0x" + "00" * 20, "canonical_id": "m"}]},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: str(odd)[:60])
def test_a_preview_of_any_shape_ends_in_words_and_sends_nothing(net: LocalNet, odd: Any) -> None:
    address = net.providers[0].address

    def answer(asked: Asked) -> Said:
        if asked.path.endswith("/routing/preview"):
            return Said(json.dumps(odd).replace("@", address).encode())
        return Said(b'{"data":[]}')

    machine = Machine(answer)
    try:
        settings = settings_for(net, sealed=True, verify="require", model="m")
        settings["backend"] = type(settings["backend"])(sealed=True, base_url=f"{machine.url}/v1")
        with ChatClient(**settings) as ours, pytest.raises(ZeroGError):
            ours.create(ASK)
        assert not [asked for asked in machine.asked if asked.is_chat]
    finally:
        machine.stop()


def test_a_cost_is_not_exact_where_the_enclave_bound_no_count(net: LocalNet) -> None:
    silent = net.providers[0].fault("usage_null")
    with silent, net.router.fault(RouterFault.COST_WRONG) as lie, client(net) as ours:
        receipt = ours.create(ASK).receipt
    assert lie.fired
    assert receipt.verdict.status is Status.VERIFIED
    assert receipt.fee.amount.units == 1000
    assert not receipt.fee.exact
