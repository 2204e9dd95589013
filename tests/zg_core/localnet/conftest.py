"""A hand-made client for the provider tests: tokens, requests and checks from the protocol, not from the package."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from tests.patience import PATIENCE, until

OG = 10**18


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sign_token(message: str, private_key: str) -> str:
    """The Authorization header for a token message, signed with eth_account (0g-direct §3.1)."""
    from eth_account import Account
    from eth_account.messages import encode_defunct
    from eth_utils import keccak

    signed = Account.sign_message(encode_defunct(primitive=keccak(text=message)), private_key)
    payload = f"{message}|0x{bytes(signed.signature).hex()}"
    return "Bearer app-sk-" + base64.b64encode(payload.encode()).decode()


def recover(text: str, signature: str) -> str:
    """Who signed a text with personal_sign."""
    from eth_account import Account
    from eth_account.messages import encode_defunct

    return Account.recover_message(encode_defunct(text=text), signature=signature)


@dataclass
class Caller:
    """One wallet talking to one provider over HTTP."""

    provider: Any
    wallet: Any
    clock: Any
    http: Any
    generation: int = 0
    sent: bytes = field(default=b"", repr=False)

    def message(self, **changes: Any) -> str:
        """A token message; keyword arguments replace fields."""
        now = int(self.clock.now() * 1000)
        fields = {
            "address": self.wallet.address,
            "provider": self.provider.address,
            "timestamp": now,
            "expiresAt": now + 86_400_000,
            "nonce": "n",
            "generation": self.generation,
            "tokenId": 255,
        }
        fields.update(changes)
        return json.dumps({k: v for k, v in fields.items() if v is not ...}, separators=(",", ":"))

    def token(self, **changes: Any) -> str:
        return sign_token(self.message(**changes), self.wallet.private_key)

    def body(self, content: str = "What is 2 + 2?", *, stream: bool = False, **extra: Any) -> bytes:
        document = {"model": self.provider.model, "messages": [{"role": "user", "content": content}]}
        if stream:
            document |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(document | extra, separators=(",", ":")).encode()

    def post(
        self, body: bytes, *, token: str | None = "", path: str = "/v1/proxy/chat/completions", headers: Any = None
    ) -> Any:
        """POST bytes; the token is made unless given (None: none)."""
        self.sent = body
        all_headers = {"content-type": "application/json", **(headers or {})}
        if token is not None:
            all_headers["authorization"] = token or self.token()
        return self.http.post(self.provider.url + path, content=body, headers=all_headers)

    def chat(self, content: str = "What is 2 + 2?", *, stream: bool = False, **extra: Any) -> Any:
        return self.post(self.body(content, stream=stream, **extra))

    def get(self, path: str, *, token: str | None = None) -> Any:
        return self.http.get(self.provider.url + path, headers={"authorization": token} if token else {})

    def signature(self, key: str) -> Any:
        return self.get(f"/v1/proxy/signature/{key}")

    def signed(self, response: Any) -> dict[str, Any]:
        """The signature object of a response; fails the test if there is none."""
        answer = self.signature(response.headers["zg-res-key"])
        assert answer.status_code == 200, answer.text
        return answer.json()


def error_of(response: Any) -> Any:
    """The ``error`` of a refusal."""
    return response.json()["error"]


def events(response: Any) -> list[Any]:
    """The JSON payloads of a stream; the text of a line that is none."""
    found = []
    for line in response.content.decode().split("\n"):
        if line.startswith("data: "):
            payload = line.removeprefix("data: ")
            found.append(json.loads(payload) if payload.startswith("{") else payload)
        elif line:
            found.append(line)
    return found


def text_of(response: Any) -> str:
    """The answer's text, streamed or not."""
    if response.headers["content-type"].startswith("text/event-stream"):
        parts = [
            e["choices"][0]["delta"].get("content")
            for e in events(response)
            if isinstance(e, dict) and e.get("choices")
        ]
        return "".join(part or "" for part in parts)
    return response.json()["choices"][0]["message"]["content"]


class Tools:
    """The helpers above as a fixture, since test modules cannot import a conftest."""

    OG = OG
    Caller = Caller
    sha256 = staticmethod(sha256)
    sign_token = staticmethod(sign_token)
    recover = staticmethod(recover)
    error_of = staticmethod(error_of)
    events = staticmethod(events)
    text_of = staticmethod(text_of)

    until = staticmethod(until)


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    return Tools


@pytest.fixture(scope="session")
def http() -> Any:
    """An HTTP client that follows no redirects and knows no proxies."""
    import httpx2

    with httpx2.Client(timeout=PATIENCE, trust_env=False) as client:
        yield client


@pytest.fixture
def connect(http: Any) -> Any:
    """Make a `Caller` with a funded sub-account: ``connect(net, provider=0, amount=…)``."""

    taken: dict[str, int] = {}

    def make(net: Any, provider: Any = 0, *, amount: int | None = 3 * OG) -> Caller:
        one = net.providers[provider] if isinstance(provider, int) else provider
        if amount == 3 * OG and net in _READY:
            ready = _READY[net].setdefault(one.address, [])
            number = taken[one.address] = taken.get(one.address, -1) + 1
            if number < len(ready):
                return Caller(one, ready[number], net.clock, http)
        wallet = net.new_wallet()
        if amount is not None:
            net.open_account(wallet, one, amount)
        return Caller(one, wallet, net.clock, http)

    return make


_READY: WeakKeyDictionary[Any, dict[str, list[Any]]] = WeakKeyDictionary()
"""By network whose tests are reverted, wallets with an account at each provider asked for: as new in every test."""


@pytest.fixture
def reverting() -> Any:
    """Return a network to the state it had before the test: ``reverting(net)``."""
    undo = []

    def watch(net: Any) -> Any:
        for address, wallets in _READY.setdefault(net, {}).items():
            while len(wallets) < 2:
                wallets.append(net.new_wallet())
                net.open_account(wallets[-1], address, 3 * OG)
        snapshot = net.snapshot()
        undo.append(lambda: net.revert(snapshot))
        return net

    yield watch
    for action in undo:
        action()
