"""Over https: the certificate of the connection is on the receipt, and a wrong one ends the call before the prompt."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from zg_core import AsyncChatClient, ChatClient, ProviderUnavailable, RequestError
from zg_core.http.wires import AsyncWire, SyncWire
from zg_core.localnet import LocalNet, ProviderSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


@pytest.fixture(scope="module")
def secure() -> Iterator[LocalNet]:
    specs = [ProviderSpec(model="chat-ml"), ProviderSpec(model="chat-elsewhere", tls_host="elsewhere.example")]
    with LocalNet(providers=specs, tls=True) as network:
        for provider in network.providers:
            network.open_account(network.wallet, provider)
        yield network


def options_for(net: LocalNet, number: int, **more: Any) -> dict[str, Any]:
    return {
        "provider": net.providers[number].address,
        "private_key": net.wallet.private_key,
        "network": "local",
        "rpc_url": net.rpc_url,
        "ca_file": str(net.ca_file),
        "environ": {},
        "max_retries": 0,
        **more,
    }


def prompts(net: LocalNet) -> int:
    return sum(r.path.endswith("/chat/completions") for p in net.providers for r in p.requests)


def test_the_leaf_certificate_is_on_the_receipt(caller, secure):
    receipt = caller.call(options_for(secure, 0, verify="require"), QUESTION).receipt
    address = urlsplit(secure.providers[0].url)
    pem = ssl.get_server_certificate((address.hostname, address.port), ca_certs=str(secure.ca_file))
    assert receipt.certificate_sha256 == hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


@pytest.mark.parametrize(
    ("number", "changes"), [(1, {}), (0, {"ca_file": None})], ids=["wrong host name", "unknown authority"]
)
def test_a_certificate_that_does_not_fit_keeps_the_prompt_here(caller, secure, number, changes):
    before = prompts(secure)
    with pytest.raises(ProviderUnavailable) as caught:
        caller.call(options_for(secure, number, **changes), QUESTION)
    assert caught.value.code == "connect_failed"
    assert "certificate" in str(caught.value).lower()
    assert prompts(secure) == before


def test_a_redirect_is_not_followed(caller, secure):
    provider = secure.providers[0]
    with provider.fault("redirect", times=None), pytest.raises(RequestError) as caught:
        caller.call(options_for(secure, 0), QUESTION)
    assert caught.value.code == "redirect"
    assert not [r for r in provider.requests if r.path == "/_local/redirected"]


def test_calls_share_one_connection(secure, monkeypatch):
    made: list[tuple[str, int]] = []
    for wire in (SyncWire, AsyncWire):

        def counting(host: str, port: int, *rest: Any, connect: Any = wire.connect, kind: str = wire.__name__) -> Any:
            made.append((kind, port))
            return connect(host, port, *rest)

        monkeypatch.setattr(wire, "connect", counting)

    async def calls() -> None:
        async with AsyncChatClient(**options_for(secure, 0)) as client:
            for _ in range(3):
                await client.create(QUESTION)

    with ChatClient(**options_for(secure, 0)) as client:
        for _ in range(3):
            client.create(QUESTION)
    asyncio.run(calls())
    port = urlsplit(secure.providers[0].url).port
    assert [kind for kind, to in made if to == port] == ["SyncWire", "AsyncWire"], made
