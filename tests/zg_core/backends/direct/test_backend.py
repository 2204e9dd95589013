"""The direct backend over real sockets: which service is chosen, which is refused, and how a signature is fetched."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from tests.moments import instead
from tests.patience import PATIENCE
from zg_core.backends.base import Grant, Route
from zg_core.backends.direct import backend as module
from zg_core.backends.direct.backend import DirectBackend
from zg_core.backends.direct.credentials import ApiKeyCredential, WalletCredential
from zg_core.backends.direct.services import DirectRoute
from zg_core.backends.direct.session import make_token
from zg_core.calls.replays import Replays
from zg_core.config import Network, Secret
from zg_core.contracts.reader import ChainReader
from zg_core.crypto import checksum_address
from zg_core.errors import (
    ConfigError,
    InsufficientFunds,
    ModelNotServed,
    ProviderUnavailable,
    SessionRejected,
    VerificationUnavailable,
    ZeroGError,
)
from zg_core.exchange import Exchange
from zg_core.http.transport import AsyncTransport, SyncTransport, run
from zg_core.receipts.memory import MemoryReceipts
from zg_core.receipts.recorder import Recorder
from zg_core.routing.failover import Chooser
from zg_core.routing.target import Target, named
from zg_core.tasks.base import CHAT, EMBEDDINGS, Task
from zg_core.verify.policy import Policy
from zg_core.verify.replay import ReplayGuard
from zg_core.verify.verdict import Reason, Status
from zg_core.wallet import Wallet

KEY, TEE = "0x" + "11" * 32, "0x" + "44" * 32
OWNER = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
TLS = '{"ProviderType": "centralized"}'
SEPARATED = '{"TargetSeparated": true, "TargetTeeAddress": "0x' + "ef" * 20 + '"}'
STANDARD = '{"ProviderType": "standard"}'
FUNDED = 2 * 10**18


class World:
    """A node, and backends that read it."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.transport: Any = SyncTransport()
        self.network = Network("local", 31337, node.url, "0x" + "1e" * 20, "0x" + "1f" * 20)

    def offer(self, number: int, *, price: int = 100, balance: int | None = None, **changes: Any) -> str:
        """A service for model "m"; with a sub-account of that balance."""
        values = {"model": "m", "input_price": price, "output_price": price} | changes
        acknowledged_by_user = values.pop("acknowledged_by_user", True)
        provider = self.node.add(number, **values)
        if balance is not None:
            row = (OWNER.lower(), provider, 0, balance, 0, [], "", acknowledged_by_user, 0, 0, 0)
            self.node.accounts[OWNER.lower(), provider] = row
        return checksum_address(provider)

    def backend(self, **changes: Any) -> DirectBackend:
        values: dict[str, Any] = {
            "network": self.network,
            "credential": WalletCredential(Wallet.from_key(KEY)),
            "chain": ChainReader(self.network, changes.get("transport", self.transport)),
            "transport": self.transport,
            "policy": Policy(),
            "guard": ReplayGuard(),
            "model": "m",
        }
        return DirectBackend(**values | changes)

    def target(self, *, task: Task = CHAT, **changes: Any) -> Target:
        """What a client with such a backend calls."""
        backend = self.backend(**changes)
        transport, model = changes.get("transport", self.transport), changes.get("model", "m")
        choose = Chooser(None, backend, task, transport, model=model, network="local").choose
        return Target(backend, task, transport, provider=backend.provider, model=model, choose=choose)

    def chosen(self, **changes: Any) -> str:
        return run(self.target(**changes).route(None)).service.provider


@pytest.fixture
def world(node: Any) -> World:
    return World(node)


class TestChoice:
    def test_a_funded_account_comes_before_everything(self, world: World) -> None:
        world.offer(1, price=1)
        funded = world.offer(2, price=1000, balance=FUNDED, additional_info=TLS)
        assert world.chosen() == funded

    def test_then_the_stronger_kind(self, world: World) -> None:
        offers = [STANDARD, TLS, "{}", SEPARATED]
        providers = [world.offer(n, price=n, balance=FUNDED, additional_info=info) for n, info in enumerate(offers, 1)]
        for expected in (providers[2], providers[3], providers[1], providers[0]):
            assert world.chosen() == expected
            del world.node.services[expected.lower()]

    def test_then_the_lower_price_of_input_and_output_together(self, world: World) -> None:
        world.offer(1, balance=FUNDED, input_price=1, output_price=300)
        cheap = world.offer(2, balance=FUNDED, input_price=150, output_price=150)
        world.offer(3, balance=FUNDED, input_price=301, output_price=0)
        assert world.chosen() == cheap

    def test_then_the_address(self, world: World) -> None:
        world.offer(9, balance=FUNDED)
        first = world.offer(3, balance=FUNDED)
        world.offer(5, balance=FUNDED)
        assert world.chosen() == first

    @pytest.mark.parametrize(
        "other",
        [
            {"acknowledged": False},
            {"model": "another"},
            {"service_type": "embedding"},
            {"url": "http://provider.example"},
            {"url": "https://user:pw@provider.example"},
            {"url": "nonsense"},
            {"url": ""},
        ],
    )
    def test_what_cannot_be_used_is_passed_over(self, world: World, other: dict[str, Any]) -> None:
        world.offer(1, price=1, balance=FUNDED, **other)
        good = world.offer(2, balance=FUNDED)
        assert world.chosen() == good

    def test_the_type_of_service_can_be_another(self, world: World) -> None:
        world.offer(1, balance=FUNDED)
        embedding = world.offer(2, balance=FUNDED, service_type="embedding")
        assert world.chosen(task=EMBEDDINGS) == embedding

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            (Policy.of(kinds=["TeeTLS"]), 2),
            (Policy.of(kinds=["standard"]), 1),
            (Policy.of("require"), 3),
            (Policy.of("require", kinds=["TeeTLS", "standard"]), 2),
            (Policy(), 3),
        ],
    )
    def test_the_policy_is_heeded(self, world: World, policy: Policy, expected: int) -> None:
        offers = [(1, STANDARD), (2, TLS), (3, SEPARATED)]
        providers = {number: world.offer(number, balance=FUNDED, additional_info=info) for number, info in offers}
        assert world.chosen(policy=policy) == providers[expected]

    def test_when_the_policy_forbids_all_it_says_so(self, world: World) -> None:
        world.offer(1, balance=FUNDED, additional_info=TLS)
        with pytest.raises(VerificationUnavailable, match="the policy allows TeeML"):
            world.chosen(policy=Policy.of(kinds=["TeeML"]))

    @pytest.mark.parametrize(
        "account",
        [{}, {"balance": 0}, {"balance": 10**18 - 1}, {"balance": FUNDED, "acknowledged_by_user": False}],
    )
    def test_without_a_funded_account_the_cheapest_is_named_with_its_command(self, world: World, account: Any) -> None:
        world.offer(1, price=500, **account)
        cheapest = world.offer(2, price=5, additional_info=TLS, **account)
        with pytest.raises(InsufficientFunds, match=f"zerog transfer {cheapest} 1.1") as caught:
            world.chosen()
        assert caught.value.code == "no_account"
        assert "zerog deposit 3" in caught.value.hint
        assert caught.value.details["provider"] == cheapest

    def test_the_cheapest_named_is_one_that_can_be_used(self, world: World) -> None:
        world.offer(1, price=1, url="http://insecure.example")
        usable = world.offer(2, price=50)
        with pytest.raises(InsufficientFunds, match=usable):
            world.chosen()

    def test_a_model_that_nobody_serves_lists_what_there_is(self, world: World) -> None:
        world.offer(1, model="one")
        world.offer(2, model="two", acknowledged=False)
        with pytest.raises(ModelNotServed, match="it has one;") as caught:
            world.chosen()
        assert "'m'" in str(caught.value)

    def test_an_empty_market_is_said_to_be_empty(self, world: World) -> None:
        with pytest.raises(ModelNotServed, match="it has none"):
            world.chosen()

    def test_neither_provider_nor_model_is_an_error_before_anything_is_read(self, world: World) -> None:
        with pytest.raises(ConfigError, match="ZEROG_PROVIDER") as caught:
            world.chosen(model=None)
        assert caught.value.code == "no_target"
        assert world.node.asked == []

    def test_is_made_once_and_stays(self, world: World) -> None:
        first = world.offer(2, balance=FUNDED)
        target = world.target()
        assert run(target.route(None)).service.provider == first
        world.offer(1, price=1, balance=FUNDED)
        assert run(target.route(None)).service.provider == first
        assert world.node.asked == [["eth_chainId", "getAllServices"], ["getAccountsByUser"]]

    def test_is_made_once_for_many_tasks(self, world: World) -> None:
        provider = world.offer(2, balance=FUNDED)

        async def main() -> list[Route]:
            transport = AsyncTransport()
            target = world.target(transport=transport)
            routes = await asyncio.gather(*(target.route(None) for _ in range(10)))
            await transport.close()
            return routes

        assert {route.service.provider for route in asyncio.run(main())} == {provider}
        assert world.node.asked == [["eth_chainId", "getAllServices"], ["getAccountsByUser"]]

    def test_a_failed_one_is_made_again_at_the_next_call(self, world: World) -> None:
        target = world.target()
        with pytest.raises(ModelNotServed):
            run(target.route(None))
        provider = world.offer(1, balance=FUNDED)
        assert run(target.route(None)).service.provider == provider

    def test_the_payloads_model_chooses_when_none_is_set(self, world: World) -> None:
        provider = world.offer(1, balance=FUNDED, model="in-the-payload")
        assert run(world.target(model=None).route("in-the-payload")).service.provider == provider

    def test_a_key_has_chosen_already(self, world: World) -> None:
        world.offer(1, price=1, balance=FUNDED)
        provider = world.offer(2, balance=FUNDED)
        key = make_token(Wallet.from_key(KEY), provider, now_ms=1, generation=0, token_id=3, expires_at=0)
        assert world.chosen(credential=ApiKeyCredential(key)) == provider


class TestARefusedProvider:
    def route(self, world: World, provider: str, **changes: Any) -> Route:
        return run(world.target(provider=provider, model=None, **changes).route(None))

    @pytest.mark.parametrize("url", ["http://provider.example", "ftp://p", "https://a:b@p", "", "https://p\\x"])
    def test_has_a_url_that_no_prompt_may_go_to(self, world: World, url: str) -> None:
        provider = world.offer(1, url=url)
        with pytest.raises(ConfigError, match=provider) as caught:
            self.route(world, provider)
        assert caught.value.code in ("insecure_url", "bad_url")

    @pytest.mark.parametrize("url", ["http://127.0.0.1:80", "https://localhost", "http://[::1]:9"])
    def test_points_at_the_users_own_machine_from_a_public_chain(self, world: World, url: str) -> None:
        provider = world.offer(1, url=url)
        assert self.route(world, provider).service.provider == provider
        public = Network("public", 31337, "https://rpc.example", "0x" + "1e" * 20, "0x" + "1f" * 20)
        with pytest.raises(ConfigError, match="loopback") as caught:
            self.route(world, provider, network=public, chain=ChainReader(world.network, world.transport))
        assert caught.value.code == "insecure_url"

    def test_is_not_on_chain(self, world: World) -> None:
        with pytest.raises(ConfigError, match="no provider"):
            self.route(world, checksum_address("0x" + "77" * 20))

    def test_signs_nothing_where_proof_is_required(self, world: World) -> None:
        provider = world.offer(1, additional_info=STANDARD)
        with pytest.raises(VerificationUnavailable):
            self.route(world, provider, policy=Policy("require"))


class Provider:
    """A provider's free routes: answers by path, and a record of what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, bytes]]] = {}
        self.asked: list[tuple[str, str]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                provider.asked.append((self.path, self.headers.get("Authorization", "")))
                answers = provider.answers.get(self.path.partition("?")[0], [(404, b"no such route")])
                status, body = answers.pop(0) if len(answers) > 1 else answers[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body) if status != 299 else len(body) + 10))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = status == 299

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def says(self, path: str, *answers: tuple[int, Any]) -> None:
        """Answer with these, one after the other, the last one for ever. Status 299 cuts the body."""
        self.answers[path] = [(s, b if isinstance(b, bytes) else json.dumps(b).encode()) for s, b in answers]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.stop()


MODELS = {"object": "list", "data": [{"id": "alias", "canonical_id": "vendor/m"}, {"id": 5}, "junk", {"id": "other"}]}


class TestModels:
    @pytest.fixture
    def target(self, world: World, provider: Provider) -> Target:
        address = world.offer(1, url=provider.url, balance=FUNDED)
        return world.target(provider=address, model=None)

    def test_the_one_on_chain_needs_no_question(self, target: Target, provider: Provider) -> None:
        assert [run(target.route(model)).model for model in (None, "m")] == ["m", "m"]
        assert provider.asked == []

    @pytest.mark.parametrize("model", ["alias", "vendor/m", "other", "my-adapter"])
    def test_listed_names_and_adapters_are_served(self, target: Target, provider: Provider, model: str) -> None:
        provider.says("/v1/models", (200, MODELS))
        provider.says("/v1/lora/adapters", (200, {"adapters": [{"adapterName": "my-adapter"}]}))
        for _ in range(3):
            assert run(target.route(model)).model == model
        assert [path for path, _ in provider.asked] == ["/v1/models", "/v1/lora/adapters"]

    def test_only_the_private_list_is_asked_with_the_token(self, target: Target, provider: Provider) -> None:
        with pytest.raises(ModelNotServed):
            run(target.route("x"))
        assert [token[:14] for _, token in provider.asked] == ["", "Bearer app-sk-"]

    def test_any_other_is_refused_before_a_prompt_is_sent(self, target: Target, provider: Provider) -> None:
        provider.says("/v1/models", (200, MODELS))
        with pytest.raises(ModelNotServed, match="it serves m, alias, other, vendor/m") as caught:
            run(target.route("typo"))
        assert caught.value.details["model"] == "typo"

    @pytest.mark.parametrize(
        "listed", [(404, b""), (400, b"unsupported"), (200, b"junk"), (200, []), (200, b"[" * 9999)]
    )
    def test_a_provider_without_a_list_serves_the_one_on_chain(
        self, target: Target, provider: Provider, listed: Any
    ) -> None:
        provider.says("/v1/models", listed)
        for _ in range(2):
            with pytest.raises(ModelNotServed, match="it serves m;"):
                run(target.route("alias"))
        assert run(target.route(None)).model == "m"

    @pytest.mark.parametrize("trouble", [(503, b""), (429, b""), (502, b""), (504, b""), (299, b"half a bo")])
    def test_a_list_that_cannot_be_had_now_is_asked_for_again(
        self, target: Target, provider: Provider, trouble: Any
    ) -> None:
        provider.says("/v1/models", trouble, (200, MODELS))
        with pytest.raises(ProviderUnavailable):
            run(target.route("alias"))
        assert run(target.route("alias")).model == "alias"

    def test_a_new_adapter_is_found_later(self, target: Target, provider: Provider, monkeypatch: Any) -> None:
        now = 1000.0
        instead(monkeypatch, "zg_core.backends.direct.backend.time", monotonic=lambda: now)
        provider.says("/v1/lora/adapters", (200, {"adapters": []}), (200, {"adapters": [{"adapterName": "ft-new"}]}))
        for _ in range(3):
            with pytest.raises(ModelNotServed):
                run(target.route("ft-new"))
        now += 61
        assert run(target.route("ft-new")).model == "ft-new"
        now += 3600
        assert run(target.route("ft-new")).model == "ft-new"
        assert [path for path, _ in provider.asked] == ["/v1/models", "/v1/lora/adapters"] * 2

    def test_a_listed_model_that_the_provider_refuses_is_not_asked_for_five_times(
        self, target: Target, provider: Provider
    ) -> None:
        provider.says("/v1/lora/adapters", (200, {"adapters": [{"adapterName": "ft-gone"}]}), (200, {"adapters": []}))
        route = run(target.route("ft-gone"))
        call: Any = SimpleNamespace(route=route)
        refused = target._backend.refusal(call, 400, {}, b'{"error":"model not supported: requested ft-gone"}')
        assert isinstance(refused, ModelNotServed)
        for _ in range(5):
            with pytest.raises(ModelNotServed, match="it serves m;"):
                run(target.route("ft-gone"))


def called(route: Route, grant: Grant | None = None) -> Any:
    return SimpleNamespace(
        route=route, receipt=SimpleNamespace(provider=route.service.provider), grant=grant, hasty=False
    )


class TestGrants:
    def test_a_header_does_not_show_itself(self, world: World) -> None:
        target = world.target(provider=world.offer(1, balance=FUNDED), model=None)
        route = run(target.route(None))
        grant = run(target._backend.grant(called(route)))
        assert isinstance(grant, Grant)
        assert grant.headers["Authorization"].startswith("Bearer app-sk-")
        assert "app-sk-" not in repr(grant)
        assert isinstance(run(world.backend().token(route.service.provider)), Secret)

    def test_a_rejected_session_is_made_anew_once_and_by_a_wallet_only(self, world: World) -> None:
        address = world.offer(1, balance=FUNDED)
        key = make_token(Wallet.from_key(KEY), address, now_ms=1, generation=0, token_id=3, expires_at=0)
        for credential, renewable in ((WalletCredential(Wallet.from_key(KEY)), True), (ApiKeyCredential(key), False)):
            target = world.target(provider=address, model=None, credential=credential)
            route, backend = run(target.route(None)), target._backend
            first = run(backend.grant(called(route)))
            again = run(backend.grant(called(route, first), SessionRejected("no")))
            assert (again is not None) is renewable
            assert run(backend.grant(called(route, again or first), SessionRejected("no"))) is None

    def test_paths_lie_below_the_providers_url(self, world: World) -> None:
        target = world.target(provider=world.offer(1, url="https://p.example//"), model=None)
        assert run(target.route(None)).service.url == "https://p.example/v1/proxy"


REQUEST, ANSWER = b'{"model":"m","b":1}', b'{"id":"chatcmpl-abc","choices":[]}'


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def document(request: bytes = REQUEST, answer: bytes = ANSWER, key: str = TEE) -> dict[str, str]:
    text = f"{sha(request)}:{sha(answer)}"
    signature = Account.sign_message(encode_defunct(text=text), key).signature
    return {"text": text, "signature": "0x" + bytes(signature).hex()}


MISSING = (400, {"error": "prepare HTTP request: Chat id not found or expired, chat_id_not_found"})
PATH = "/v1/proxy/signature/"


class TestVerification:
    @pytest.fixture(autouse=True)
    def quickly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SIGNATURE_DELAYS", (0.0,) * 4)

    @pytest.fixture
    def backend(self, world: World, provider: Provider) -> DirectBackend:
        signer = Account.from_key(TEE).address
        address = world.offer(1, url=provider.url, balance=FUNDED, tee_signer=signer)
        return world.backend(provider=address, model=None)

    def exchange(self, sent: bytes = REQUEST, chat_id: str = "abc", received: bytes = ANSWER) -> Exchange:
        made = Exchange(sent)
        made.feed(received)
        made.headers = {"zg-res-key": chat_id}
        made.complete = True
        return made

    def judge(self, backend: DirectBackend, exchange: Exchange) -> tuple[str, str]:
        route = run(backend.route(named(backend.provider, CHAT), ""))
        receipt = SimpleNamespace(provider=route.service.provider)
        facts = {"exchange": exchange, "receipt": receipt, "task": CHAT, "streamed": False, "marks": set()}
        call: Any = SimpleNamespace(route=route, **facts)
        replays = Replays(backend._guard, Recorder(MemoryReceipts(), None, SyncTransport()))
        replays.sent(call)
        replays.arrived(call)
        verdict = run(backend.verify(call))
        replays.judged(call, verdict)
        return str(verdict.status), str(verdict.reason)

    @pytest.mark.parametrize(("mode", "looked"), [("warn", 4 + 3 + 3), ("require", 12), ("background", 12)])
    def test_who_is_only_warned_does_not_wait_for_each_of_a_row_of_missing_signatures(
        self, world: World, provider: Provider, mode: str, looked: int
    ) -> None:
        signer = Account.from_key(TEE).address
        address = world.offer(1, url=provider.url, balance=FUNDED, tee_signer=signer)
        backend = world.backend(provider=address, model=None, policy=Policy.of(mode))
        for chat_id in ("first", "second", "third"):
            provider.says(PATH + chat_id, *[MISSING] * 4)
            self.judge(backend, self.exchange(chat_id=chat_id, received=chat_id.encode()))
        assert len(provider.asked) == looked

    @pytest.mark.parametrize(
        "misses",
        [
            *([], [MISSING], [MISSING] * 3, [(404, b"")], [(500, b""), (503, b"")]),
            *([(299, b"half"), MISSING, (404, b"")], [(429, b"slow down")] * 2, [(408, b""), (425, b"")]),
            # what a gateway answers in the provider's place
            *([(200, page)] for page in (b"<html>", b"", b"null", b"[]", b'{"text":', b'{"error":{"message":"soon"}}')),
            [(200, {"text": {"request": "a"}, "signature": "0x"}), (200, {"text": "a:b"})],
        ],
    )
    def test_a_signature_that_comes_late_is_waited_for(
        self, backend: Any, provider: Provider, misses: list[Any]
    ) -> None:
        provider.says(PATH + "abc", *misses, (200, document()))
        assert self.judge(backend, self.exchange()) == ("verified", "")
        assert len(provider.asked) == len(misses) + 1
        assert {token for _, token in provider.asked} == {""}, "the route is free: it gets no token"

    def test_a_gateway_that_always_answers_in_its_place_accuses_nobody(self, backend: Any, provider: Provider) -> None:
        provider.says(PATH + "abc", (200, b"<!DOCTYPE html><title>Just a moment...</title>"))
        assert self.judge(backend, self.exchange()) == ("unavailable", "no_signature")

    def test_one_that_never_comes_ends_the_waiting(self, backend: Any, provider: Provider) -> None:
        provider.says(PATH + "abc", MISSING)
        assert self.judge(backend, self.exchange()) == ("unavailable", "no_signature")
        assert len(provider.asked) == 4

    @pytest.mark.parametrize("answer", [(400, b"bad"), (401, b""), (403, b""), (302, b""), (204, b""), (410, b"")])
    def test_a_refusal_is_not_asked_again(self, backend: Any, provider: Provider, answer: Any) -> None:
        provider.says(PATH + "abc", answer)
        assert self.judge(backend, self.exchange()) == ("unavailable", "no_signature")
        assert len(provider.asked) == 1

    def test_a_document_too_large_is_none(self, backend: Any, provider: Provider) -> None:
        provider.says(PATH + "abc", (200, b"x" * 70_000))
        assert self.judge(backend, self.exchange()) == ("unavailable", "no_signature")

    @pytest.mark.parametrize(
        ("info", "query"),
        [("{}", ""), ('{"MultiModel": true}', "?model=m%2F1%20x"), (SEPARATED, "?model=m%2F1%20x"), (TLS, "")],
    )
    def test_the_model_is_named_where_the_route_is_proxied(
        self, world: World, provider: Provider, info: str, query: str
    ) -> None:
        address = world.offer(1, url=provider.url, balance=FUNDED, model="m/1 x", additional_info=info)
        provider.says(PATH + "abc", (401, b""))
        self.judge(world.backend(provider=address, model=None), self.exchange())
        asked = [path for path, _ in provider.asked if path != "/v1/models"]  # the price list of several models
        assert asked == [PATH + "abc" + query]

    def test_a_provider_that_left_the_chain_is_not_acknowledged(
        self, world: World, backend: Any, provider: Provider
    ) -> None:
        provider.says(PATH + "abc", (200, document(key="0x" + "55" * 32)))
        service = named(backend.provider, CHAT)
        run(backend.route(service, ""))
        world.node.services.clear()
        route = run(backend.route(service, ""))
        exchange = self.exchange()
        verdict = run(backend.judge(route, exchange))
        assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.SIGNER_MISMATCH)
        provider.says(PATH + "abc", (200, document()))
        unread = DirectRoute.to(replace(route.service.on_chain, acknowledged=False), "m", world.network)
        assert run(backend.judge(unread, exchange)).reason is Reason.SIGNER_NOT_ACKNOWLEDGED

    @pytest.mark.parametrize(
        ("again", "received"),
        [
            ("abc", ANSWER),
            ("ABC", ANSWER),
            ("fresh", b'{"id":"chatcmpl-1b4e28ba-2fa1-11d2-883f-0016d3cca427"}'),
        ],
        ids=["same id", "other spelling", "other header, same id inside"],
    )
    def test_a_reply_that_came_before_is_replayed(
        self, backend: Any, provider: Provider, again: str, received: bytes
    ) -> None:
        def arriving(chat_id: str) -> Exchange:
            made = self.exchange(chat_id=chat_id, received=received)
            made.body_id = json.loads(received)["id"]
            return made

        for chat_id in ("abc", again):
            provider.says(PATH + chat_id, (200, document(answer=received)))
        assert self.judge(backend, arriving("abc")) == ("verified", "")
        assert self.judge(backend, arriving(again)) == ("failed", "replayed")

    @pytest.mark.parametrize("forwarded", [REQUEST, b'{"b":1,"model":"m"}'], ids=["as sent", "rewritten"])
    def test_an_earlier_exchange_is_known_under_a_new_id(
        self, backend: Any, provider: Provider, forwarded: bytes
    ) -> None:
        for chat_id in ("abc", "fresh"):
            provider.says(PATH + chat_id, (200, document(request=forwarded)))
        assert self.judge(backend, self.exchange()) == ("verified", "")
        other = self.exchange(sent=b'{"model":"m","b":2}', chat_id="fresh")
        assert self.judge(backend, other) == ("failed", "replayed")

    def test_somebody_elses_exchange_is_not_called_a_replay(self, backend: Any, provider: Provider) -> None:
        provider.says(PATH + "abc", (200, document(request=b"theirs")))
        assert self.judge(backend, self.exchange()) == ("response_bound", "request_unknown")


def test_errors_of_the_choice_are_ours(world: World) -> None:
    world.node.body = lambda honest: b"junk"
    with pytest.raises(ZeroGError):
        world.chosen()
