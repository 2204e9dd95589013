"""Settlements read back from the chain: amounts, status, and the signer recovered from the calldata."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from zg_core import NETWORKS, Amount, ChatClient
from zg_core.chain.rpc import JsonRpc
from zg_core.contracts.settlements import SettlementStatus, read_settlements, settlement_digest
from zg_core.crypto import recover
from zg_core.http.transport import SyncTransport, run
from zg_core.localnet.chain.abi import inference


@pytest.fixture
def network(net: Any) -> Any:
    return replace(NETWORKS["local"], rpc_url=net.rpc_url, ledger=net.ledger, inference=net.inference)


@pytest.fixture
def payer(net: Any, provider: Any) -> Any:
    """A wallet of its own, so that only its calls are in its settlements."""
    snapshot = net.snapshot()
    wallet = net.new_wallet()
    net.open_account(wallet, provider)
    yield wallet
    net.revert(snapshot)


def read(network: Any, user: str, **window: Any) -> list[Any]:
    transport = SyncTransport()
    try:
        return run(
            read_settlements(JsonRpc(network.rpc_url, transport), network, user, sleep=transport.sleep, **window)
        )
    finally:
        transport.close()


def test_the_digest_is_the_one_of_the_known_answer():
    # 0g-direct §12.3
    digest = settlement_digest(
        NETWORKS["testnet"],
        requests_hash=b"\x01" * 32,
        nonce=17672256000000000,
        provider="0xa48f01287233509FD694a22Bf840225062E67836",
        user="0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A",
        total_fee=123456789,
    )
    assert digest.hex() == "33ceee9efbee8a0e8615f234352d75a7f9ed062f50aa6c463da8e001b98f289a"
    signature = (
        "568a844110832d2ad1076acddd7a035ed8a874f97a17e05ad3f7fe36d153ceb264add55936138c34ca75ab150dd5acbc9b8d139c"
        "3863dff6f3bf9fa86f3d9ff41c"
    )
    assert recover(digest, bytes.fromhex(signature)) == "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"


def test_settled_amounts_are_the_receipts_fees(network, payer, options, provider):
    with ChatClient(**{**options, "private_key": payer.private_key, "provider": provider.address}) as client:
        fees = [
            client.create({"messages": [{"role": "user", "content": f"What is {n} + 1?"}]}).receipt.fee.amount.units
            for n in range(3)
        ]
    provider.settle()
    found = read(network, payer.address)
    assert sum(item.paid.units for item in found) == sum(fees) > 0
    for item in found:
        assert item.status is SettlementStatus.SUCCESS
        assert item.signer == provider.tee_signer
        assert (item.provider, item.user) == (provider.address, payer.address)
        assert item.unsettled == Amount(0)
        assert item.block > 0
    nonces = [item.nonce for item in found]
    assert nonces == sorted(set(nonces))
    assert found[-1].balance == Amount(3 * 10**18 - sum(fees))


def test_another_users_settlements_are_not_mine(network, payer, net):
    assert read(network, net.new_wallet().address) == []


def test_a_window_of_blocks_leaves_the_rest_out(network, payer, options, provider, net):
    with ChatClient(**{**options, "private_key": payer.private_key, "provider": provider.address}) as client:
        client.create({"messages": [{"role": "user", "content": "What is 1 + 1?"}]})
    provider.settle()
    (item,) = read(network, payer.address)
    assert read(network, payer.address, from_block=item.block) == [item]
    assert read(network, payer.address, to_block=item.block - 1) == []


def test_a_forged_item_is_shown_with_its_status_and_whoever_signed_it(network, payer, net, provider):
    # The contract answers with a status instead of reverting, so anyone's call leaves a trace.
    from zg_core.localnet.chain.devaccounts import DEV_KEYS

    contract = inference()
    key = next(iter(DEV_KEYS.values()))
    item = (payer.address, provider.address, 5, b"\x02" * 32, 1, b"\x00" * 65)
    net.chain.send(key, to=contract.address, data=contract.encode("settleFeesWithTEE", [item]))
    (found,) = read(network, payer.address)
    assert found.status is SettlementStatus.PROVIDER_MISMATCH
    assert (found.paid, found.signer, found.balance) == (Amount(0), "", None)
