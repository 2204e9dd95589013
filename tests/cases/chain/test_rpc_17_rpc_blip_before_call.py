"""The RPC drops one connection before a call (raiden#7114, web3.py#1911 and #2512): it is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases.chain.field import Expectations, Raw, Relay, attempt, network_of, told
from zg_core import ChatClient
from zg_core.errors import never_served
from zg_core.localnet import LocalNet

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
BLIPS: dict[str, Raw] = {"dropped": Raw(b"", close=True), "502, page": Raw(b"<html>502</html>", 502)}


@pytest.mark.parametrize("name", BLIPS)
def test_one_blip_before_a_call_is_outlived(name: str, net: LocalNet, expect: Expectations) -> None:
    left = [0]

    def before(_messages: Any, _relay: Relay) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise BLIPS[name]

    with Relay(lambda method, params, relay: relay.up(method, params), net.rpc_url, before) as relay:
        options: dict[str, Any] = {"provider": net.providers[0].address, "private_key": net.wallet.private_key}
        options |= {"network": network_of(net, relay.url), "verify": "require", "limits": None, "environ": {}}
        with ChatClient(**options, max_retries=3) as client:
            left[0] = 1
            _, error = attempt(lambda: client.create(HELLO))
            expect("at the first read", error is None, error and (told(error), never_served(error)))
            client.create(HELLO)
            client.backend._credential._tokens.clear()  # type: ignore[attr-defined]
            left[0] = 1
            _, error = attempt(lambda: client.create(HELLO))
            expect("when the session is made", error is None, error and told(error))
