"""The RPC URL holds the API key (edr#358, tycho#906, squid-sdk#557, x402-rs#115): where does it show?"""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest

from tests.cases.chain.field import Expectations, Raw, Relay, attempt
from zg_core import Broker, ChatClient
from zg_core.config import Settings

KEY = "a1b2c3d4e5f6SECRETKEY0987654321"
TAILS = ["/v2/" + KEY, "/?apikey=" + KEY]
PROVIDER = "0x" + "11" * 20


def chain_of(error: BaseException | None) -> str:
    parts: list[str] = []
    while error is not None:
        parts += [str(error), repr(error), repr(error.__dict__), "".join(traceback.format_exception(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(parts)


@pytest.mark.parametrize("tail", TAILS)
def test_no_error_shows_it(tail: str, expect: Expectations, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def refuse(_messages: Any, _relay: Relay) -> None:
        raise Raw(b"<html>403</html>", 403)

    with (
        Relay(lambda *_: None, before=refuse) as page,
        Relay(lambda method, *_: "0x1" if method == "eth_chainId" else "0x") as wrong,
    ):
        bases = ["http://127.0.0.1:9", "http://nosuch.invalid", page.url, wrong.url, "http://127.0.0.1:99999"]
        bases += ["http://127.0.0.1:9/ ", "wss://mainnet.example/ws", "mainnet.example"]
        for base in bases:

            def read(url: str = base + tail) -> None:
                with Broker.read_only(network="testnet", rpc_url=url, environ={}) as broker:
                    broker.services()

            _, error = attempt(read)
            expect(f"{base} is an error", error is not None)
            expect(f"{base} shows no key", KEY not in chain_of(error), chain_of(error)[:200])
    expect("no log shows it", KEY not in caplog.text)


@pytest.mark.parametrize("tail", TAILS)
def test_no_object_shows_it(tail: str, expect: Expectations) -> None:
    from langchain_core.load import dumps

    from langchain_zerog import ChatZeroG
    from llama_index_zerog import ZeroG

    url = "https://rpc.example" + tail
    broker = Broker.read_only(network="testnet", rpc_url=url, environ={})
    options: dict[str, Any] = {
        "provider": PROVIDER,
        "private_key": "0x" + "22" * 32,
        "network": "testnet",
        "rpc_url": url,
    }
    client = ChatClient(**options, environ={})
    chat, index = ChatZeroG(model="m", **options), ZeroG(model="m", **options)
    shown = {
        "broker": repr(broker),
        "network": repr(broker.network),
        "rpc": repr(broker.core.chain.rpc),
        "client": repr(client),
        "description": repr(client.backend),
        "settings": repr(Settings.resolve(rpc_url=url, environ={})),
        "ChatZeroG": repr(chat),
        "dumps": dumps(chat),
        "identifying": repr(chat._identifying_params),
        "model_dump": repr(chat.model_dump()),
        "ZeroG": repr(index),
        "to_dict": repr(index.to_dict()),
    }
    for name, text in shown.items():
        expect(f"{name} shows no key", KEY not in text, text[:200])


def test_a_password_in_it_is_not_shown(expect: Expectations) -> None:
    url = f"https://user:{KEY}@rpc.example"
    _, error = attempt(lambda: Broker.read_only(network="testnet", rpc_url=url, environ={}))
    expect("no key", KEY not in chain_of(error), chain_of(error)[:200])
