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
    ModelNotServed,
    OutcomeUnknown,
    Policy,
    ProviderUnavailable,
    SessionRejected,
    VerificationWarning,
    async_openai_client,
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


def sent(at: dict[str, Any], wire: Wire, way: str, ours: dict[str, str], calls: dict[str, str]) -> Any:
    """The headers of one request, of a client that has some and a call that has others."""
    mine = httpx2.AsyncClient(transport=wire) if way.startswith("async") else httpx2.Client(transport=wire)
    ask({**at, "http_client": mine, "headers": ours}, way, headers=calls)
    (head,) = wire.heads
    return head


@pytest.mark.parametrize("way", WAYS)
def test_headers_of_client_and_call_go_out_beside_ours(at: dict[str, Any], wire: Wire, way: str) -> None:
    head = sent(at, wire, way, {"X-Team": "search", "X-Both": "client"}, {"X-Run": "7", "X-Both": "call"})
    assert (head["x-team"], head["x-run"], head["x-both"]) == ("search", "7", "call")
    assert head["authorization"].startswith("Bearer app-sk-")


@pytest.mark.parametrize("way", WAYS)
def test_a_header_goes_out_once_however_its_name_is_written(at: dict[str, Any], wire: Wire, way: str) -> None:
    calls = {"x-team": "chat", "USER-AGENT": "call"}
    head = sent(at, wire, way, {"X-TEAM": "search", "user-agent": "client"}, calls)
    assert (head["x-team"], head["user-agent"]) == ("chat", "call")


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
@pytest.mark.parametrize("place", ["user", "metadata", "messages", "header", "client's header"])
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
    elif place == "client's header":
        at = {**at, "headers": {"X-Note": f"it is {secret}"}}
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


PLACES: dict[str, Any] = {
    "user": lambda secret: ({"user": secret}, {}, {}),
    "stop": lambda secret: ({"stop": [secret]}, {}, {}),
    "metadata": lambda secret: ({"metadata": {"note": f"it is {secret}"}}, {}, {}),
    "deep": lambda secret: ({"provider_options": {"a": [{secret: 1}]}}, {}, {}),
    "header": lambda secret: ({}, {"X-Note": secret}, {}),
    "client's header": lambda secret: ({}, {}, {"X-Note": secret}),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("token", ["anybody's", "our own of another client"])
def test_no_token_leaves_in_a_parameter_or_header_whosever_it_is(
    at: dict[str, Any], provider: LocalProvider, place: str, token: str
) -> None:
    secret = "app-sk-" + "c2VjcmV0" * 8
    if token != "anybody's":
        with ChatClient(**at) as other:
            secret = other.token().reveal()
    parameters, headers, settings = PLACES[place](secret)
    before = chats(provider)
    with ChatClient(**at, headers=settings) as client, pytest.raises(ConfigError) as caught:
        client.create({**QUESTION, **parameters}, headers=headers)
    assert caught.value.code == "secret_in_request"
    assert secret[:40] not in str(caught.value)
    assert chats(provider) == before


def test_no_token_leaves_beside_many_words(at: dict[str, Any], provider: LocalProvider) -> None:
    question = {"messages": [{"role": "user", "content": "well " * 60_000}], "user": "app-sk-" + "c2VjcmV0" * 8}
    before = chats(provider)
    with ChatClient(**at) as client, pytest.raises(ConfigError) as caught:
        client.create(question)
    assert caught.value.code == "secret_in_request"
    assert chats(provider) == before


def test_no_key_leaves_as_the_name_of_a_header(at: dict[str, Any], provider: LocalProvider) -> None:
    before, name = chats(provider), f"X-{at['private_key']}"
    for settings, call in (({name: "1"}, {}), ({}, {name: "1"})):
        with ChatClient(**at, headers=settings) as client, pytest.raises(ConfigError) as caught:
            client.create(QUESTION, headers=call)
        assert caught.value.code == "secret_in_request"
    assert chats(provider) == before


def test_what_tokens_look_like_may_be_said(at: dict[str, Any]) -> None:
    said = [{"role": "user", "content": "Is app-sk-" + "c2VjcmV0" * 8 + " an API key?"}]
    with ChatClient(**at) as client:
        assert client.create({"messages": said, "user": "who has app-sk-…"}).text


def test_a_key_in_the_place_of_a_model_is_not_repeated(at: dict[str, Any]) -> None:
    key = at["private_key"]
    with ChatClient(**{**at, "provider": None, "model": key}) as client, pytest.raises(ModelNotServed) as caught:
        client.create(QUESTION)
    assert key[2:] not in str(caught.value)
    with openai_client(**at) as official, pytest.raises(ConfigError) as refused:
        official.chat.completions.create(model="chat-ml", extra_query={"a": key}, **QUESTION)  # type: ignore[call-overload]
    assert key[2:20] not in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        {"private_key": "x"},
        {"verify": "off"},
        {"providerOptions": {}, "apiKey": "x"},
        {"a": [{"privateKey": "5e" * 32}]},
    ],
    ids=str,
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
    settings = {**at, "provider": None, "environ": {"ZEROG_PROVIDER": provider.address}}
    with ChatClient(**settings) as client, pytest.raises(ModelNotServed, match="ZEROG_PROVIDER names the provider"):
        client.create({**QUESTION, "model": "chat-tls"})
    with ChatClient(**at) as client, pytest.raises(ModelNotServed, match=r"leave out provider=…"):
        client.create({**QUESTION, "model": "chat-tls"})


@pytest.mark.parametrize(
    "argument",
    [
        {"verify": ""},
        {"attest": 9},
        {"minimum": "x"},
        {"kinds": ["x"]},
        {"stream": "x"},
        {"inference": "0x" + "cd" * 20},
        {"network": "testnet"},
    ],
    ids=lambda each: next(iter(each)),
)
def test_a_variable_is_not_blamed_for_what_an_argument_says(at: dict[str, Any], argument: dict[str, Any]) -> None:
    from zg_core import ZeroGError

    environ = {"ZEROG_VERIFY": "require", "ZEROG_PROVIDER": at["provider"]}
    settings = {**at, "provider": None, **argument, "environ": environ}
    with pytest.raises(ZeroGError) as caught, ChatClient(**settings) as client:
        client.create(QUESTION)
    assert "ZEROG_VERIFY" not in str(caught.value)
    assert "ZEROG_PROVIDER" not in str(caught.value)
    if "inference" in argument:
        assert "inference=" in caught.value.hint


@pytest.mark.parametrize("by_variable", [("api_key", "provider"), ("provider",), ("api_key",), ()])
def test_whoever_named_another_providers_key_or_that_provider_is_blamed_for_it(
    at: dict[str, Any], net: LocalNet, by_variable: tuple[str, ...]
) -> None:
    with ChatClient(**at) as client:
        given = {"api_key": client.token().reveal(), "provider": net.providers[1].address}
    settings = {**at, "private_key": None, "api_key": None, "provider": None}
    settings |= {name: value for name, value in given.items() if name not in by_variable}
    environ = {f"ZEROG_{name.upper()}": given[name] for name in by_variable}
    with ChatClient(**{**settings, "environ": environ}) as client, pytest.raises(SessionRejected) as caught:
        client.create(QUESTION)
    blamed = [name for name in ("ZEROG_API_KEY", "ZEROG_PROVIDER") if f"{name} says so" in caught.value.hint]
    assert blamed == list(environ)


def test_the_backend_is_blamed_on_whoever_named_it(at: dict[str, Any]) -> None:
    settings = {name: value for name, value in at.items() if name != "provider"} | {"model": "chat-ml"}
    with pytest.raises(ConfigError, match="no Router is known") as caught:
        ChatClient(**{**settings, "environ": {"ZEROG_BACKEND": "router"}})
    assert "ZEROG_BACKEND says so" in caught.value.hint
    for backend in ("moon", "router"):
        with pytest.raises(ConfigError) as caught:
            ChatClient(**{**settings, "backend": backend, "environ": {"ZEROG_BACKEND": "router"}})
        assert "ZEROG_BACKEND" not in str(caught.value)


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
def test_the_official_client_names_who_named_the_provider(at: dict[str, Any], loop: bool) -> None:
    def said(**settings: Any) -> str:
        question = {"model": "chat-tls", **QUESTION}

        async def work() -> None:
            async with async_openai_client(**settings) as client:
                await client.chat.completions.create(**question)  # type: ignore[call-overload]

        with pytest.raises(ModelNotServed) as caught:
            if loop:
                asyncio.run(work())
            else:
                with openai_client(**settings) as client:
                    client.chat.completions.create(**question)  # type: ignore[call-overload]
        return caught.value.hint

    who = at["provider"]
    assert "leave out provider=" in said(**at)
    assert "ZEROG_PROVIDER names the provider" in said(**{**at, "provider": None, "environ": {"ZEROG_PROVIDER": who}})
    chosen = said(**{**at, "provider": None, "model": "chat-ml"})
    assert "provider=" not in chosen
    assert "this client chose it" in chosen


def test_the_official_client_says_where_a_mistyped_setting_belongs(at: dict[str, Any]) -> None:
    for make in (openai_client, async_openai_client):
        with pytest.raises(TypeError, match=r"'verfy': did you mean 'verify'"):
            make(**at, verfy="off")
        with pytest.raises(TypeError, match=r"pass headers=\{…\}"):
            make(**at, default_headers={"X-Team": "search"})


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
