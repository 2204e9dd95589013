"""The provider's record changes between two calls of one client: re-priced, moved, or removed from the chain."""

from __future__ import annotations

from typing import Any

from eth_abi import encode
from eth_utils import keccak

from tests.cases.chain.field import Expectations, Relay, RpcError, attempt, network_of, told
from tests.cases.chain.gateway import GET_SERVICE, records
from zg_core import ChatClient
from zg_core.localnet import LocalNet

HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}


def client_of(net: LocalNet, node: Relay) -> ChatClient:
    options: dict[str, Any] = {"provider": net.providers[0].address, "private_key": net.wallet.private_key}
    options |= {"network": network_of(net, node.url), "verify": "require", "limits": None, "max_retries": 0}
    return ChatClient(**options, environ={})


def test_a_price_that_doubles_is_never_told_as_the_old_one_exactly(net: LocalNet, expect: Expectations) -> None:
    doubled: list[bool] = []

    def change(fields: list[Any]) -> None:
        if doubled:
            fields[3], fields[4] = fields[3] * 2, fields[4] * 2

    with records(net, change) as node, client_of(net, node) as client:
        before = client.create(HELLO).receipt
        doubled.append(True)
        after = client.create(HELLO).receipt
    usage = after.usage
    assert usage is not None
    old = before.input_price * usage.prompt_tokens + before.output_price * usage.completion_tokens
    exact, paid = after.fee.exact, after.fee.amount.units
    expect("the fee after is by the new price, or not exact", not exact or paid == 2 * old, after)


def test_a_provider_that_left_the_chain_is_told_by_name(net: LocalNet, expect: Expectations) -> None:
    gone: list[bool] = []

    def hook(method: str, params: Any, relay: Relay) -> Any:
        if gone and method == "eth_call" and params[0].get("data", "").startswith(GET_SERVICE):
            selector = keccak(text="ServiceNotExist(address)")[:4].hex()
            raise RpcError(
                3, "execution reverted", "0x" + selector + encode(["address"], [net.providers[0].address]).hex()
            )
        return relay.up(method, params)

    with Relay(hook, net.rpc_url) as node, client_of(net, node) as client:
        _, error = attempt(lambda: client.create(HELLO))
        expect("it answers while it is there", error is None, error and told(error))
        gone.append(True)
        client.backend._chain._services.clear()  # type: ignore[attr-defined]
        _, error = attempt(lambda: client.create(HELLO))
    expect(
        "a provider that left the chain: our error that says so",
        error is not None and getattr(error, "code", "") == "unknown_provider",
        error and told(error),
    )
