"""The changes of a provider's record, as the chain's events tell them."""

from __future__ import annotations

from typing import Any

import pytest

from zg_core.chain.logs import Log, head_of
from zg_core.chain.rpc import JsonRpc
from zg_core.config import Network
from zg_core.contracts.updates import read_updates
from zg_core.errors import ChainError
from zg_core.http.transport import SyncTransport, run
from zg_core.localnet import LocalNet, LocalProvider


@pytest.fixture
def network(options: dict[str, Any]) -> Network:
    where = {name: options[name] for name in ("ledger", "inference", "rpc_url")}
    return Network(name="local", chain_id=31337, **where)


def test_each_price_is_there_with_its_time_and_no_other_provider_s(
    net: LocalNet, provider: LocalProvider, network: Network
) -> None:
    snapshot, (low, high) = net.snapshot(), provider.prices
    transport = SyncTransport()
    rpc = JsonRpc(network.rpc_url, transport)

    def since(block: int) -> list[tuple[int, int]]:
        found = run(read_updates(rpc, network, provider.address, block, sleep=transport.sleep))
        assert [each.at for each in found] == sorted(each.at for each in found)
        assert all(abs(each.at - net.clock.now()) < 3600 for each in found)
        return [(each.input_price, each.output_price) for each in found]

    try:
        first = run(head_of(rpc)) + 1
        assert since(first) == []
        provider.set_price(low * 3, high * 3)
        net.providers[1].set_price(1, 1)
        provider.set_price(low, high)
        assert since(first) == [(low * 3, high * 3), (low, high)]
        assert since(first + 1) == [(low, high)]
    finally:
        net.revert(snapshot)
        transport.close()


def test_an_event_that_is_none_is_the_node_s_fault(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    async def junk(*_: Any, **__: Any) -> list[Log]:
        return [Log(1, 0, "0x" + "1" * 64, (), b"\xff" * 40)]

    monkeypatch.setattr("zg_core.contracts.updates.read_logs", junk)
    transport = SyncTransport()
    with pytest.raises(ChainError) as caught:
        run(read_updates(JsonRpc(network.rpc_url, transport), network, "0x" + "1" * 40, 0, sleep=transport.sleep))
    transport.close()
    assert caught.value.code == "rpc_junk"
