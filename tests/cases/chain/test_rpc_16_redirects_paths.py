"""RPC and provider behind redirects and paths (301 by nginx or Cloudflare, 308 for a slash, 302 to a login page)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases.chain.field import Connection, Expectations, FieldServer, Raw, Relay, answer, attempt, network_of, told
from zg_core import Broker, ChatClient
from zg_core.localnet import LocalNet
from zg_core.localnet.chain.abi import inference


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_of_the_rpc_says_where_to(status: int, net: LocalNet, expect: Expectations) -> None:
    def before(_messages: Any, _relay: Relay) -> None:
        raise Raw(b"<html>moved</html>", status, {"Location": "https://rpc.example/new"})

    with (
        Relay(lambda *_: None, before=before) as relay,
        Broker.read_only(network=network_of(net, relay.url), environ={}) as broker,
    ):
        _, error = attempt(broker.services)
    said = str(error)
    expect("that it is a redirect, and to where", "rpc.example" in said or "redirect" in said.lower(), said)


@pytest.mark.parametrize(
    ("given", "asked"),
    [("/v2/key", "/v2/key"), ("/v2/key/", "/v2/key"), ("/?apikey=x", "/?apikey=x"), ("/ext/bc/C", "/ext/bc/C")],
)
def test_paths_are_kept_and_a_slash_at_the_end_is_dropped(
    given: str, asked: str, net: LocalNet, expect: Expectations
) -> None:
    """json-rpc-tools#5, EthereumKit#161, foundry#6593: Infura, 1rpc and WalletConnect refuse the slash."""
    where = {"ledger": net.ledger, "inference": net.inference, "environ": {}}
    with (
        Relay(lambda method, params, relay: relay.up(method, params), net.rpc_url) as relay,
        Broker.read_only(network="local", rpc_url=relay.url + given, **where) as broker,
    ):
        broker.services()
    expect("the path that is asked for", relay.path == asked, relay.path)


def test_a_redirect_of_a_provider_is_not_followed(net: LocalNet, expect: Expectations) -> None:
    stolen: list[Any] = []

    def steals(connection: Connection) -> None:
        stolen.append(connection.request())
        connection.send(answer(b"{}"))

    def redirects(connection: Connection) -> None:
        while connection.request() is not None:
            there = f"http://127.0.0.1:{thief.port}/x"
            connection.send(answer(b"", status="308 Permanent Redirect", Location=there))

    contract = inference()
    selector = "0x" + contract.encode("getService", net.providers[0].address).hex()[:8]

    def hook(method: str, params: Any, relay: Relay) -> Any:
        value = relay.up(method, params)
        if method == "eth_call" and params[0]["data"].startswith(selector):
            old = net.providers[0].url.encode().hex()
            new = provider.url.encode().hex()
            assert len(old) == len(new)
            value = value.replace(old, new)
        return value

    with FieldServer(steals) as thief, FieldServer(redirects) as provider, Relay(hook, net.rpc_url) as relay:
        options: dict[str, Any] = {"provider": net.providers[0].address, "private_key": net.wallet.private_key}
        options |= {"network": network_of(net, relay.url), "verify": "require", "limits": None, "environ": {}}
        with ChatClient(**options) as client:
            _, error = attempt(lambda: client.create({"messages": [{"role": "user", "content": "Hello"}]}))
    said = told(error) if error is not None else ""
    expect("nothing reaches the thief", not stolen, stolen)
    expect("that it redirects", "redirect" in said.lower() or "308" in said, said)
    receipt = getattr(error, "receipt", None)  # whatever left is on record; this one was refused
    expect("no error that may have cost money", receipt is None or receipt.outcome == "refused", said)
