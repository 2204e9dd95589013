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
from zg_core import Wallet, async_openai_client, openai_client
from zg_core.backends.direct.session import make_token
from zg_core.localnet import LocalNet, LocalProvider

CHAT = {"model": "chat-ml", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
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
    key = make_token(wallet, provider.address, now_ms=now, generation=0, token_id=3, expires_at=now + 60_000).reveal()
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
