"""What a client takes beside a payload: headers and timeouts; what no request holds; and what is read for free."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.patience import hastily, until
from zg_core import (
    ArgumentError,
    AsyncChatClient,
    ChatClient,
    ConfigError,
    OutcomeUnknown,
    Policy,
    ProviderUnavailable,
    VerificationWarning,
    openai_client,
)

if TYPE_CHECKING:
    from zg_core.localnet import LocalNet, LocalProvider

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


class Wire(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Sends, and keeps the heads of what was sent for an answer."""

    def __init__(self) -> None:
        self.heads: list[dict[str, str]] = []
        self._sync, self._async = httpx2.HTTPTransport(), httpx2.AsyncHTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self._keep(request)
        return self._sync.handle_request(request)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._keep(request)
        return await self._async.handle_async_request(request)

    def _keep(self, request: httpx2.Request) -> None:
        if request.url.path.endswith("/chat/completions"):
            self.heads.append({name.lower(): value for name, value in request.headers.items()})


@pytest.fixture
def at(options: dict[str, Any], provider: LocalProvider) -> dict[str, Any]:
    """Settings of a client for the first provider."""
    return {**options, "provider": provider.address}


@pytest.fixture
def wire() -> Wire:
    return Wire()


def ask(options: dict[str, Any], way: str, **more: Any) -> None:
    """One call, in one of four ways."""
    if way.startswith("async"):

        async def work() -> None:
            async with AsyncChatClient(**options) as client:
                if way.endswith("stream"):
                    async for _ in client.stream(QUESTION, **more):
                        continue
                else:
                    await client.create(QUESTION, **more)

        asyncio.run(work())
        return
    with ChatClient(**options) as client:
        if way.endswith("stream"):
            list(client.stream(QUESTION, **more))
        else:
            client.create(QUESTION, **more)


WAYS = ["create", "stream", "async create", "async stream"]


def chats(provider: LocalProvider) -> int:
    return sum(request.path.endswith("/chat/completions") for request in provider.requests)


@pytest.mark.parametrize("way", WAYS)
def test_headers_of_client_and_call_go_out_beside_ours(at: dict[str, Any], wire: Wire, way: str) -> None:
    mine = httpx2.AsyncClient(transport=wire) if way.startswith("async") else httpx2.Client(transport=wire)
    ask({**at, "http_client": mine, "headers": {"X-Team": "search", "X-Both": "client"}}, way,
        headers={"X-Run": "7", "X-Both": "call"})  # fmt: skip
    (head,) = wire.heads
    assert (head["x-team"], head["x-run"], head["x-both"]) == ("search", "7", "call")
    assert head["authorization"].startswith("Bearer app-sk-")


def test_the_headers_reach_a_provider_over_our_own_connections_too(at: dict[str, Any], provider: LocalProvider) -> None:
    with ChatClient(**at, headers={"X-Team": "search"}) as client:
        assert client.create(QUESTION).receipt.verdict.status == "verified"
    with pytest.raises(ConfigError, match="Authorization is ours"):
        ChatClient(**at, headers={"Authorization": "Bearer mine"})
    with ChatClient(**at) as client, pytest.raises(ConfigError, match="Host is ours"):
        client.create(QUESTION, headers={"Host": "elsewhere"})


@pytest.mark.parametrize("way", WAYS)
def test_the_timeout_of_a_call_is_that_calls(at: dict[str, Any], provider: LocalProvider, way: str) -> None:
    def given_up(seconds: float) -> OutcomeUnknown:
        with pytest.raises(OutcomeUnknown) as caught:
            ask(at, way, timeout=seconds)
        return caught.value

    before = len(provider.log)
    with provider.fault("hang", times=None) as hang:
        assert hastily(given_up, ProviderUnavailable).code == "timeout"
        until(lambda: hang.fired)
    until(lambda: len(provider.log) > before)  # it bills once it sees that nobody listens: not in the next test


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["private_key", "verify", "timeout"])
def test_no_setting_of_a_client_leaves_in_a_payload(
    at: dict[str, Any], provider: LocalProvider, way: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = chats(provider)
    monkeypatch.setitem(QUESTION, name, "something")
    with pytest.raises(ArgumentError, match=name):
        ask(at, way)
    assert chats(provider) == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("spelling", ["as it is", "bare", "upper case", "session token"])
@pytest.mark.parametrize("place", ["user", "metadata", "messages", "header"])
def test_no_key_leaves_whatever_holds_it(
    at: dict[str, Any], provider: LocalProvider, way: str, spelling: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = at["private_key"]
    with ChatClient(**at) as client:
        secret = {
            "as it is": key,
            "bare": key.removeprefix("0x"),
            "upper case": key.upper(),
            "session token": client.token().reveal(),
        }[spelling]
    if spelling == "session token":  # another client has one of its own: an API key is always the same
        at = {**at, "private_key": None, "api_key": secret}
    more: dict[str, Any] = {}
    if place == "header":
        more["headers"] = {"X-Note": f"it is {secret}"}
    elif place == "messages":
        monkeypatch.setitem(QUESTION, "messages", [{"role": "user", "content": f"My key is {secret}."}])
    else:
        monkeypatch.setitem(QUESTION, place, {"note": secret} if place == "metadata" else secret)
    before = chats(provider)
    with pytest.raises(ConfigError) as caught:
        ask(at, way, **more)
    assert caught.value.code == "secret_in_request"
    assert secret not in str(caught.value)
    assert chats(provider) == before


@pytest.mark.parametrize(
    "body", [{"private_key": "x"}, {"verify": "off"}, {"providerOptions": {}, "apiKey": "x"}], ids=str
)
def test_the_official_clients_extra_body_holds_no_setting(
    at: dict[str, Any], provider: LocalProvider, body: dict[str, Any]
) -> None:
    before = chats(provider)
    with openai_client(**at) as client, pytest.raises(ArgumentError, match="a setting of the client"):
        client.chat.completions.create(model="chat-ml", extra_body=body, **QUESTION)  # type: ignore[call-overload]
    assert chats(provider) == before


def test_the_official_clients_extra_body_holds_no_key(at: dict[str, Any], provider: LocalProvider) -> None:
    before = chats(provider)
    with openai_client(**at) as client, pytest.raises(ConfigError) as caught:
        client.chat.completions.create(model="chat-ml", extra_body={"x": at["private_key"]}, **QUESTION)  # type: ignore[call-overload]
    assert caught.value.code == "secret_in_request"
    assert chats(provider) == before


# who answers


def test_an_argument_for_who_answers_replaces_both_variables(
    at: dict[str, Any], net: LocalNet, provider: LocalProvider
) -> None:
    other = net.providers[1]
    environ = {"ZEROG_PROVIDER": provider.address, "ZEROG_MODEL": "chat-ml"}
    for argument in ({"provider": other.address}, {"model": "chat-tls"}, {"provider": None, "model": "chat-tls"}):
        with ChatClient(**{**at, "provider": None, **argument, "environ": environ}) as client:
            assert client.create(QUESTION).receipt.provider == other.address
    with ChatClient(**{**at, "provider": None, "environ": environ}) as client:
        assert client.create(QUESTION).receipt.provider == provider.address


@pytest.mark.parametrize(
    ("argument", "variable", "payload"),
    [
        ({"provider": "0x" + "ab" * 20}, "ZEROG_PROVIDER", {}),
        ({"provider": "nonsense"}, "ZEROG_PROVIDER", {}),
        ({"network": "moonnet"}, "ZEROG_NETWORK", {}),
        ({"verify": "requre"}, "ZEROG_VERIFY", {}),
        ({"model": "no-such-model"}, "ZEROG_MODEL", {}),
        ({"private_key": "0x1234"}, "PRIVATE_KEY", {}),
        ({"rpc_url": "ftp://nowhere"}, "ZEROG_RPC_URL", {}),
        ({"ledger": "vitalik.eth"}, "ZEROG_LEDGER", {}),
        ({"store": "x"}, "ZEROG_STORE", {}),
    ],
    ids=lambda value: next(iter(value), None) if isinstance(value, dict) else None,
)
def test_an_error_names_where_the_setting_came_from(
    at: dict[str, Any], argument: dict[str, str], variable: str, payload: dict[str, Any]
) -> None:
    ((name, value),) = argument.items()
    from zg_core import ZeroGError

    def said(settings: dict[str, Any]) -> str:
        with pytest.raises(ZeroGError) as caught, ChatClient(**settings) as client:
            client.create({**QUESTION, **payload})
        return str(caught.value)

    who = {"provider": None} if name == "model" else {}
    by_variable = {**{k: v for k, v in at.items() if k != name}, **who, "environ": {variable: value}}
    assert variable in said(by_variable)
    if name not in ("private_key", "store"):  # their errors name both ways
        assert variable not in said({**at, **who, **argument})


def test_a_provider_of_the_environment_is_named_where_it_does_not_serve_the_calls_model(
    at: dict[str, Any], provider: LocalProvider
) -> None:
    from zg_core import ModelNotServed

    settings = {**at, "provider": None, "environ": {"ZEROG_PROVIDER": provider.address}}
    with ChatClient(**settings) as client, pytest.raises(ModelNotServed, match="ZEROG_PROVIDER names the provider"):
        client.create({**QUESTION, "model": "chat-tls"})
    with ChatClient(**at) as client, pytest.raises(ModelNotServed, match=r"leave out provider=…"):
        client.create({**QUESTION, "model": "chat-tls"})


# without a wallet


def test_what_the_chain_says_is_read_without_a_wallet(at: dict[str, Any], provider: LocalProvider) -> None:
    nobody = {**at, "private_key": None, "provider": None, "model": "chat-ml"}
    with ChatClient(**nobody) as client:
        assert provider.address in [service.provider for service in client.services()]
        assert client.service().model == "chat-ml"
        assert client.model_info().model == "chat-ml"
        assert "chat-ml" in str(client.explain())
        before = chats(provider)
        with pytest.raises(ConfigError) as caught:
            client.create(QUESTION)
    assert caught.value.code == "no_credential"
    assert chats(provider) == before


def test_each_client_warns_for_itself_also_where_they_share_a_policy(
    at: dict[str, Any], provider: LocalProvider
) -> None:
    policy = Policy()
    arguments = {**at, "model": provider.adapter, "verify": policy}  # signed under another name: less than is asked for
    for _ in range(2):
        with ChatClient(**arguments) as client, warnings.catch_warnings(record=True) as caught:
            client.create(QUESTION)
            client.create(QUESTION)
        assert [warning.category for warning in caught] == [VerificationWarning]
