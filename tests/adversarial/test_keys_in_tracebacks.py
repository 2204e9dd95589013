"""Error reporters record the locals of every frame: none of ours may hold a key, whatever fails in the OpenAI clients.

The chain's RPC was down for a moment, and `openai_client(private_key=…)` showed the key in its own frame.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.adversarial.conftest import settings_for
from tests.adversarial.operator import Operator, Said
from zg_core import (
    ChatClient,
    OpenGradient,
    OpenGradientAccount,
    Router,
    RouterAccount,
    Wallet,
    async_openai_client,
    ensure_opg_approval,
    openai_client,
)
from zg_core.backends.direct.options import Direct
from zg_core.backends.direct.session import make_token
from zg_core.localnet import LocalNet, LocalProvider

CHAT = {"model": "chat-ml", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
ASKED = {"messages": CHAT["messages"], "max_tokens": 20}
NOBODY = "0x" + "11" * 20


def shown(error: BaseException, secret: str) -> list[str]:
    """Where an error, all that led to it, and the locals of their frames show `secret`; those of tests do not count."""
    found: list[str] = []
    links, seen = [error], set()
    while links:
        link = links.pop()
        seen.add(id(link))
        texts = {"its text": f"{link} {link!r} {vars(link)!r}"}
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if Path(frame.f_code.co_filename).name not in (Path(__file__).name, "python.py"):
                texts |= {f"{frame.f_code.co_qualname}: {n}": repr(v) for n, v in frame.f_locals.items()}
        found += [where for where, text in texts.items() if secret.removeprefix("0x") in text]
        links += [other for other in (link.__cause__, link.__context__) if other is not None and id(other) not in seen]
    return found


@pytest.fixture
def operator(net: LocalNet, provider: LocalProvider) -> Iterator[Operator]:
    made = Operator(net, provider)
    yield made
    made.stop()


def failing(settings: dict[str, Any], *, loop: bool, stream: bool = False, **call: Any) -> Exception:
    """What a client made of `settings` raises, in the constructor or in a call."""

    async def running() -> None:
        client = async_openai_client(**settings)
        try:
            made: Any = await client.chat.completions.create(**CHAT, stream=stream, **call)
            if stream:
                async for _ in made:
                    pass
        finally:
            await client.close()

    def blocking() -> None:
        client = openai_client(**settings)
        try:
            made: Any = client.chat.completions.create(**CHAT, stream=stream, **call)
            for _ in made if stream else ():
                pass
        finally:
            client.close()

    with pytest.raises(Exception) as caught:
        asyncio.run(running()) if loop else blocking()
    return caught.value


def secrets_of(net: LocalNet, provider: LocalProvider) -> dict[str, dict[str, str]]:
    """Settings that hold a key each, and what must not be shown."""
    now = time.time_ns() // 1_000_000
    wallet = Wallet.from_key(net.wallet.private_key)
    later = now + 3_600_000
    key = make_token(wallet, provider.address, now_ms=now, generation=0, token_id=3, expires_at=later).reveal()
    return {"private_key": {"private_key": net.wallet.private_key}, "api_key": {"api_key": key}}


BEFORE: dict[str, dict[str, Any]] = {
    "RPC down": {"rpc_url": "http://127.0.0.1:9"},
    "unknown provider": {"provider": NOBODY},
    "bad setting": {"verify": "requre"},
    "unknown setting": {"max_retrys": 3},
    "bad kind": {"kinds": ["TeeTLS"]},
    "store that is none": {"store": "sqlite:////dev/null/store.db"},
}


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("kind", ["private_key", "api_key"])
@pytest.mark.parametrize("name", BEFORE)
def test_a_client_that_cannot_be_made(net, provider, tally, name, kind, loop):
    secret = secrets_of(net, provider)[kind]
    where = {**settings_for(net, net.wallet, provider.address), "environ": {}}
    del where["private_key"]
    error = failing({**where, **secret, **BEFORE[name]}, loop=loop)
    assert shown(error, *secret.values()) == []
    tally("key in a traceback", tried=1, caught=1)


def altered(said: Said) -> Said:
    return replace(said, body=said.body.replace(b"Paris", b"Hades"))


ANSWERS: dict[str, Callable[[Operator, Any], Said]] = {
    "an altered answer": lambda o, asked: altered(o.forward(asked)),
    "a stream cut short": lambda o, asked: Said(o.forward(asked).body[:60]),
    "a page": lambda o, asked: Said(b"<html></html>"),
    "429": lambda o, asked: Said(b"{}", 429),
    "500": lambda o, asked: Said(b"{}", 500),
    "401": lambda o, asked: Said(b'{"error":"' + asked.headers["authorization"].encode() + b'"}', 401),
}


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("stream", [False, True], ids=["create", "stream"])
@pytest.mark.parametrize("name", ANSWERS)
def test_a_call_that_fails(net, operator, tally, name, stream, loop):
    where = {**settings_for(net, net.wallet, operator.provider.address), "environ": {}}
    tokens: list[str] = []

    def plan(asked: Any) -> Said | None:
        if not asked.is_chat:
            return None
        tokens.append(asked.headers["authorization"].removeprefix("Bearer "))
        return ANSWERS[name](operator, asked)

    operator.plan = plan
    error = failing(where, loop=loop, stream=stream)
    assert tokens
    for secret in (net.wallet.private_key, tokens[0]):
        assert shown(error, secret) == []
    tally("key in a traceback", tried=1, caught=1)


def test_the_walk_sees_a_key_in_a_frame_that_is_not_a_tests() -> None:
    made = compile("def fails(hidden):\n    raise ValueError('x')", "somebody.py", "exec")
    scope: dict[str, Any] = {}
    exec(made, scope)
    with pytest.raises(ValueError, match="x") as caught:
        scope["fails"]("0x" + "ab" * 32)
    assert shown(caught.value, "0x" + "ab" * 32) == ["fails: hidden"]


HEX = "c0ffee" * 10 + "abcd"
ROUTER_KEY = "sk-" + "r0uterKey" * 4
MANAGEMENT_KEY = "mk-" + "manag3Key" * 4
NOWHERE = "http://127.0.0.1:9"
HIDDEN = (HEX, ROUTER_KEY.removeprefix("sk-"), MANAGEMENT_KEY.removeprefix("mk-"))
USER = f"http://me:{HEX}@rpc.example"  # what must not stand in a URL is not shown when that is said


def _framework(name: str, **more: Any) -> Any:
    from langchain_zerog import ChatZeroG
    from llama_index_zerog import ZeroG

    where = {"provider": NOBODY, "network": "local", "private_key": "0x" + HEX, "rpc_url": NOWHERE, **more}
    return ChatZeroG(**where).invoke("hi") if name == "langchain" else ZeroG(**where).complete("hi")


def _opengradient(**more: Any) -> Any:
    urls = {"registry_rpc_url": NOWHERE, "rpc_url": NOWHERE}
    return OpenGradient(**{**urls, **more})


def _router(**more: Any) -> Any:
    where = {"backend": Router(base_url=f"{NOWHERE}/v1"), "api_key": ROUTER_KEY, "model": "m", "max_retries": 0}
    return ChatClient(**{**where, "environ": {}, **more})


NEWER: dict[str, Callable[[], Any]] = {
    "a Router's URL with a password": lambda: Router(base_url=USER),
    "an RPC URL of Direct with a password": lambda: Direct(rpc_url=USER),
    "an RPC URL of OpenGradient with a password": lambda: OpenGradient(rpc_url=USER),
    "an RPC URL of a chat model with a password": lambda: _framework("langchain", rpc_url=USER),
    "an RPC URL of an LLM with a password": lambda: _framework("llama", rpc_url=USER),
    "a chat model, RPC down": lambda: _framework("langchain"),
    "an LLM, RPC down": lambda: _framework("llama"),
    "a Router that is not there": lambda: _router().create(ASKED),
    "a Router that is not there, sealed": lambda: _router(backend=Router(base_url=f"{NOWHERE}/v1", sealed=True)).create(
        ASKED
    ),
    "a Router's key with a line break": lambda: _router(api_key=f"{ROUTER_KEY}\nx").create(ASKED),
    "a Router's key for a provider": lambda: _router(provider=ROUTER_KEY),
    "an account with the wrong key": lambda: RouterAccount(management_key=ROUTER_KEY, environ={}),
    "an account at a Router that is not there": lambda: RouterAccount(
        management_key=MANAGEMENT_KEY, base_url=f"{NOWHERE}/v1", environ={}
    ).balance(),
    "OpenGradient that is not there": lambda: ChatClient(
        backend=_opengradient(), private_key="0x" + HEX, model="m", max_retries=0, environ={}
    ).create(ASKED),
    "a key of OpenGradient that is none": lambda: OpenGradientAccount(private_key=f"0x{HEX}00", environ={}),
    "an approval whose chain is not there": lambda: ensure_opg_approval(
        "2", private_key="0x" + HEX, options=_opengradient(), environ={}
    ),
    "an approval with an unknown setting": lambda: ensure_opg_approval("2", private_key="0x" + HEX, nonsense=1),
    "a sealed call, RPC down": lambda: ChatClient(
        provider=NOBODY, private_key="0x" + HEX, network="local", rpc_url=NOWHERE, sealed=True, environ={}
    ).create(ASKED),
}


@pytest.mark.parametrize("name", NEWER)
def test_what_any_backend_refuses(name: str, tally: Any) -> None:
    """Beyond 0G Direct: the Router, OpenGradient, sealed calls, and the objects that their settings are."""
    with pytest.raises(Exception) as caught:
        NEWER[name]()
    assert [place for secret in HIDDEN for place in shown(caught.value, secret)] == []
    tally("key in a traceback", tried=1, caught=1)
