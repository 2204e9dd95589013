"""One bad moment, or a batch that is too large, does not end batches for good (ethers.js#3155 and #4128, erigon#18074).

What belongs together (service and sub-account, count and receipt) is not read in pieces without need.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases.chain.field import Expectations, Raw, Relay, attempt, network_of, told
from tests.cases.chain.money import User
from zg_core import Broker, og
from zg_core.localnet import LocalNet

MOMENTS: dict[str, Raw] = {
    "502, page": Raw(b"<html>502 Bad Gateway</html>", 502),
    "cut JSON": Raw(b'[{"jsonrpc":"2.0","id":0,"resu', 200),
    "429 object": Raw(b'{"jsonrpc":"2.0","id":null,"error":{"code":429,"message":"Too Many Requests"}}'),
}
TOO_MANY = b'[{"error":{"code":-32600,"message":"Too many [\\"eth_call\\"] methods in the batch"},"id":null}]'


def up(method: str, params: Any, relay: Relay) -> Any:
    return relay.up(method, params)


def requests_for_one_service(relay: Relay, broker: Broker, net: LocalNet) -> int:
    before = relay.posts
    attempt(lambda: broker.service(net.providers[0].address))
    return relay.posts - before


@pytest.mark.parametrize("name", MOMENTS)
def test_after_one_bad_moment_the_node_is_used_in_batches_again(name: str, net: LocalNet, expect: Expectations) -> None:
    with Relay(up, net.rpc_url) as relay, Broker.read_only(network=network_of(net, relay.url), environ={}) as broker:
        broker.services()
        control = requests_for_one_service(relay, broker, net)
    bad = [MOMENTS[name]]

    def before(messages: Any, _relay: Relay) -> None:
        if isinstance(messages, list) and bad:
            raise bad.pop()

    with (
        Relay(up, net.rpc_url, before) as relay,
        Broker.read_only(network=network_of(net, relay.url), user=net.wallet.address, environ={}) as broker,
    ):
        attempt(broker.services)
        seen = [requests_for_one_service(relay, broker, net) for _ in range(3)]
    expect("as many requests as at a healthy node", seen[-1] == control, f"{seen}, control {control}")


@pytest.mark.parametrize("refusal", [Raw(TOO_MANY), Raw(b"", close=True)], ids=["bor's words", "a cut connection"])
def test_a_node_that_takes_three_calls_in_a_batch_is_usable(refusal: Raw, user: User, expect: Expectations) -> None:
    def before(messages: Any, _relay: Relay) -> None:
        if isinstance(messages, list) and len(messages) > 3:
            raise refusal

    with Relay(up, user.net.rpc_url, before) as relay, user.broker(relay) as broker:
        _, error = attempt(lambda: broker.deposit(og("5")))
    expect("the deposit is made", error is None, error and told(error))
