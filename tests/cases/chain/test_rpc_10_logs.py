"""Settlements over a long range of blocks, from nodes that limit ranges, and from logs that are odd.

INFURA/infura#237, omni/token-bridge#144, bancor/webapp#523, ethers-rs#954, blockscout#2353, aurora-relayer#327,
go-ethereum#27353.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cases.chain.field import Expectations, Relay, RpcError, attempt, forward, network_of, ours, told
from tests.zg_core.conftest import CALM
from zg_core import Broker, ChatClient
from zg_core.localnet import LocalNet, LocalWallet

FAR = 30_000


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet(providers=1, settings=CALM) as network:
        yield network


@pytest.fixture(scope="module")
def wallet(net: LocalNet) -> LocalWallet:
    """Has paid for three calls, two of them in one settlement."""
    made = net.new_wallet()
    net.open_account(made, net.providers[0])
    place: dict[str, Any] = {"network": network_of(net), "verify": "require", "limits": None, "environ": {}}
    with ChatClient(provider=net.providers[0].address, private_key=made.private_key, **place) as client:
        for count in (1, 2):
            for _ in range(count):
                client.create({"messages": [{"role": "user", "content": "Hello"}]})
            net.providers[0].settle()
    return made


@pytest.fixture(scope="module")
def truth(net: LocalNet, wallet: LocalWallet) -> list[Any]:
    return settlements_of(net, wallet, net.rpc_url)


def settlements_of(net: LocalNet, wallet: LocalWallet, url: str, **window: Any) -> list[Any]:
    with Broker.read_only(network=network_of(net, url), user=wallet.address, environ={}) as broker:
        return broker.settlements(**window)


def node(
    net: LocalNet,
    *,
    logs: Callable[[Any], Any] | None = None,
    tx: Callable[[Any], Any] | None = None,
    head: int | None = None,
    most: tuple[int, RpcError] | None = None,
) -> Relay:
    """The network's node with other logs, other transactions, a head far away, or a limit to ranges."""
    real = int(forward(net.rpc_url, "eth_blockNumber", []), 16)

    def hook(method: str, params: Any, relay: Relay) -> Any:
        if method == "eth_blockNumber" and head:
            return hex(head)
        if method == "eth_getLogs":
            first, end = int(params[0]["fromBlock"], 16), params[0]["toBlock"]
            last = (head or real) if end == "latest" else int(end, 16)
            if most is not None and last - first > most[0]:
                raise most[1]
            window = {"fromBlock": hex(min(first, real)), "toBlock": hex(min(last, real))}
            found = relay.up(method, [params[0] | window]) if first <= real else []
            return logs(found) if logs else found
        found = relay.up(method, params)
        return tx(found) if method == "eth_getTransactionByHash" and tx else found

    return Relay(hook, net.rpc_url)


REFUSALS = {
    "geth-like: range too large (-32602)": RpcError(-32602, "range 1000000 exceeds limit of 10000"),
    "Infura (-32005)": RpcError(-32005, "query returned more than 10000 results"),
    "Alchemy": RpcError(
        -32602, "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range"
    ),
    "0G public node words": RpcError(-32000, "block range too large, maximum allowed is 10000"),
    "erigon/CometBFT": RpcError(-32000, "maximum [from, to] blocks distance: 10000"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_range_that_is_refused_is_read_in_pieces(
    name: str, net: LocalNet, wallet: LocalWallet, truth: list[Any], expect: Expectations
) -> None:
    with node(net, head=FAR, most=(10_000, REFUSALS[name])) as relay:
        found, error = attempt(lambda: settlements_of(net, wallet, relay.url))
    met = error is None and found == truth
    expect(f"settlements() on a chain of 30,000 blocks, {name}: read in pieces", met, error and told(error))


def odd(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Any], Any]:
    return lambda found: [change(entry) for entry in found]


STATUS_6 = odd(
    lambda entry: (
        entry | ({"data": f"0x{6:064x}" + entry["data"][66:]} if entry["topics"][0].startswith("0x1f69") else {})
    )
)
LOGS: dict[str, tuple[dict[str, Any], str]] = {
    "null instead of a list": ({"logs": lambda _: None}, "error"),
    "removed logs (reorg) among them": ({"logs": lambda v: v + [x | {"removed": True} for x in v]}, "same"),
    "log without topics": ({"logs": lambda v: [*v, {k: x for k, x in v[0].items() if k != "topics"}]}, "error"),
    "blockNumber null (pending log)": ({"logs": odd(lambda entry: entry | {"blockNumber": None})}, "error"),
    "logs out of order": ({"logs": lambda v: list(reversed(v))}, "same or error"),
    "every log twice (overlapping pages)": ({"logs": lambda v: v + v}, "same or error"),
    "status 6 (a newer contract)": ({"logs": STATUS_6}, "error"),
    "data cut": ({"logs": odd(lambda entry: entry | {"data": entry["data"][:40]})}, "error"),
    "transaction pruned (null)": ({"tx": lambda _: None}, "error"),
    "calldata under the name 'data'": (
        {"tx": lambda v: {("data" if k == "input" else k): x for k, x in v.items()}},
        "error",
    ),
    "calldata cut": ({"tx": lambda v: v | {"input": v["input"][:200]}}, "error"),
    "capitals in hex": (
        {
            "tx": lambda v: v | {"input": "0x" + v["input"][2:].upper()},
            "logs": odd(lambda entry: entry | {"data": "0x" + entry["data"][2:].upper()}),
        },
        "same",
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_odd_logs_and_transactions(
    name: str, net: LocalNet, wallet: LocalWallet, truth: list[Any], expect: Expectations
) -> None:
    changes, wanted = LOGS[name]
    with node(net, **changes) as relay:
        found, error = attempt(lambda: settlements_of(net, wallet, relay.url))
    same = error is None and found == truth
    outcome = {"error": error is not None and ours(error), "same": same, "same or error": same or ours(error)}[wanted]
    expect(f"{name}: {wanted}", outcome, told(error) if error else f"{len(found)} settlements, same={same}")
