"""The RPC is rate-limited for a moment, in all its forms (viem#3680, antseed#841, vfat-tools#2451, Infura, Alchemy).

How many more requests are sent, is it tried again, and is it told apart from junk and from a wrong setting?
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases.chain.field import Expectations, Raw, Relay, RpcError, attempt, network_of, told
from zg_core import Broker, ChatClient
from zg_core.localnet import LocalNet

WORDS = b"daily request count exceeded, request rate limited"
SAID = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"%s"}}' % WORDS
FORMS: dict[str, Exception] = {
    "JSON error per call": RpcError(-32005, "request rate limited"),
    "one object for the batch": Raw(SAID),
    "429, JSON object": Raw(SAID, 429, {"Retry-After": "1"}),
    "429, text": Raw(b"Too Many Requests", 429, {"Retry-After": "1", "Content-Type": "text/plain"}),
    "503, page": Raw(b"<html>503</html>", 503),
    "connection cut": Raw(b"", close=True),
}


def relay_of(net: LocalNet, form: Exception, times: float) -> Relay:
    left = [times]

    def fail() -> None:
        if left[0] > 0:
            left[0] -= 1
            raise form

    def hook(method: str, params: Any, relay: Relay) -> Any:
        if isinstance(form, RpcError):
            fail()
        return relay.up(method, params)

    return Relay(hook, net.rpc_url, None if isinstance(form, RpcError) else lambda _messages, _relay: fail())


@pytest.mark.parametrize("name", FORMS)
def test_a_chat_call_outlives_two_refusals(name: str, net: LocalNet, expect: Expectations) -> None:
    with relay_of(net, FORMS[name], 2) as relay:
        options: dict[str, Any] = {"provider": net.providers[0].address, "private_key": net.wallet.private_key}
        options |= {"network": network_of(net, relay.url), "verify": "require", "limits": None, "environ": {}}
        with ChatClient(**options, max_retries=3) as client:
            _, error = attempt(lambda: client.create({"messages": [{"role": "user", "content": "Hello"}]}))
    expect("nothing was sent and nothing paid, so it is tried again", error is None, error and told(error))


@pytest.mark.parametrize("name", FORMS)
def test_a_read_says_what_it_is_and_sends_nothing_more(name: str, net: LocalNet, expect: Expectations) -> None:
    with (
        relay_of(net, FORMS[name], float("inf")) as relay,
        Broker.read_only(network=network_of(net, relay.url), environ={}) as broker,
    ):
        _, error = attempt(broker.services)
    said = told(error) if error is not None else ""
    expect("it may be tried again", error is not None and error.retryable is True, said)  # type: ignore[attr-defined]
    if "503" not in name and "cut" not in name:
        expect("it is called a rate limit", "rate" in str(error).lower() or "429" in str(error), said)
        hint = getattr(error, "hint", "")
        expect("the hint is not to check the address", "check ZEROG_RPC_URL" not in hint, hint)
    expect("it is not answered by more requests at once", relay.posts <= 1, relay.posts)
