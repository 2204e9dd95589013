"""`Broker.audit` and `Broker.anchor`: the chain's side of receipts, asked in one line."""

from __future__ import annotations

import asyncio

import pytest

from zg_core import AsyncBroker, Broker, ChatClient
from zg_core.localnet import LocalNet, ProviderSettings
from zg_core.receipts import check

ASK = {"messages": [{"role": "user", "content": "What is 2 plus 2?"}], "max_tokens": 20}


@pytest.fixture(scope="module")
def net():
    with LocalNet(settings=ProviderSettings(settle_interval=None)) as running:
        running.open_account(running.wallet, running.providers[0])
        yield running


@pytest.fixture(scope="module")
def where(net):
    return {"network": "local", "rpc_url": net.rpc_url, "private_key": net.wallet.private_key, "environ": {}}


@pytest.fixture(scope="module")
def receipt(net, where):
    with ChatClient(provider=net.providers[0].address, verify="require", **where) as client:
        return client.create(ASK).receipt


def test_the_chain_anchors_a_receipt(receipt, where):
    with Broker(**where) as broker:
        anchor = broker.anchor(receipt)
    assert check(receipt.to_dict()).result == "unproven"
    assert check(receipt.to_dict(), anchor).result == "passed"


def test_what_is_settled_beyond_the_receipts_is_found_and_what_is_owed_is_not(net, receipt, where):
    provider = net.providers[0]
    with Broker(**where) as broker:
        owed = broker.audit([receipt])
        assert owed.ok
        assert owed.providers[0].unsettled == receipt.fee.amount
        with provider.fault("settlement_inflated", factor=3):
            provider.settle()
        found = broker.audit([receipt])
    assert [each.code for each in found.findings] == ["settled_too_much"]
    assert found.findings[0].excess == receipt.fee.amount + receipt.fee.amount

    async def again():
        async with AsyncBroker(**where) as broker:
            anchor = await broker.anchor(receipt)
            return await broker.audit(iter([receipt])), anchor

    audit, anchor = asyncio.run(again())
    assert audit.findings == found.findings
    assert anchor.signers
