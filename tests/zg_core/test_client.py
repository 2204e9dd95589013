"""The one path every call takes, over real sockets and a real EVM: sync and async, whole and streamed."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.patience import PATIENCE, until
from zg_core import (
    AsyncChatClient,
    ChatClient,
    ConfigError,
    InsufficientFunds,
    Limits,
    ModelNotServed,
    NotAcknowledged,
    SessionRejected,
    VerificationFailed,
    VerificationUnavailable,
    VerificationWarning,
    Wallet,
    WrongChain,
    ZeroGError,
)
from zg_core.backends.direct.session import make_token
from zg_core.calls.gate import gate_of
from zg_core.calls.pace import MemoryPace
from zg_core.http.signals import ThreadSignal
from zg_core.http.transport import SyncTransport
from zg_core.http.wires import SyncWire
from zg_core.verify.verdict import Binding, Status

if TYPE_CHECKING:
    from zg_core.localnet import LocalNet, LocalProvider

QUESTION = "What is the capital of France?"


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def at(options: dict[str, Any], provider: LocalProvider, **more: Any) -> dict[str, Any]:
    return {**options, "provider": provider.address, **more}


def sent_prompts(net: LocalNet) -> int:
    return sum(r.path.endswith("/chat/completions") for p in net.providers for r in p.requests)


def api_key(private_key: str, provider: str, *, token_id: int = 7, generation: int = 0, hours: float = 1) -> str:
    now = time.time_ns() // 1_000_000
    expires_at = now + int(hours * 3_600_000)
    wallet = Wallet.from_key(private_key)
    return make_token(
        wallet, provider, now_ms=now, generation=generation, token_id=token_id, expires_at=expires_at
    ).reveal()


class TestAnswer:
    def test_an_honest_answer_is_verified_and_its_fee_is_the_providers(self, caller, options, provider):
        answered = caller.call(at(options, provider, verify="require"), ask(QUESTION))
        assert "Paris" in answered.text
        receipt = answered.receipt
        assert receipt.verdict.status is Status.VERIFIED
        assert receipt.verdict.binding is Binding.EXACT
        assert receipt.verdict.recovered_signer == provider.tee_signer
        entry = next(e for e in provider.log if e.chat_id == receipt.chat_id)
        assert (receipt.fee.amount.units, receipt.fee.exact) == (entry.fee, True)
        assert receipt.request_sha256 == entry.request_sha256
        assert receipt.response_sha256 == entry.response_sha256
        assert receipt.outcome == "answered"

    @pytest.mark.parametrize(
        ("kind", "status", "binding"),
        [
            ("TeeML", Status.VERIFIED, Binding.EXACT),
            ("TeeTLS", Status.VERIFIED, Binding.REWRITTEN),
            ("TeeML-separated", Status.VERIFIED, Binding.REWRITTEN),
            ("standard", Status.NOT_VERIFIABLE, Binding.UNCHECKED),
        ],
    )
    def test_each_kind_gets_the_verdict_it_can_have(self, caller, options, net, kind, status, binding):
        provider = next(p for p in net.providers if p.kind == kind and p.model.startswith("chat"))
        answered = caller.call(at(options, provider, verify="background"), ask(QUESTION))
        verdict = answered.receipt.resolve(timeout=PATIENCE)
        assert (verdict.status, verdict.binding) == (status, binding), verdict
        assert verdict.prompt == ("declared" if kind.startswith("TeeML") else "vendor" if kind == "TeeTLS" else "open")
        if kind == "TeeTLS":
            assert verdict.provider_identity in provider.spec.identities
            assert "outside the enclave" in verdict.explain()

    def test_the_body_goes_out_in_the_callers_key_order(self, options, provider):
        schema = {"zebra": {"type": "string"}, "apple": {"type": "string"}}
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": schema}}}
        payload = ask(QUESTION, tools=[tool], model=provider.model)
        with ChatClient(**at(options, provider)) as client:
            receipt = client.create(payload).receipt
        compact = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        import hashlib

        assert receipt.request_sha256 == hashlib.sha256(compact).hexdigest() == provider.log[-1].request_sha256

    def test_a_stream_asks_for_usage_and_is_read_to_its_end(self, options, provider):
        with ChatClient(**at(options, provider)) as client:
            stream = client.stream(ask(QUESTION))
            events = list(stream)
        assert events[-1]["usage"]["completion_tokens"] == stream.receipt.usage.completion_tokens
        assert stream.receipt.verdict.satisfies("verified")

    def test_in_steady_state_nothing_is_read_from_the_chain(self, options, provider, net, monkeypatch):
        with ChatClient(**at(options, provider), record_age=60) as client:
            client.create(ask(QUESTION))
            calls: list[str] = []
            answer = net.chain.rpc
            monkeypatch.setattr(net.chain, "rpc", lambda method, params: calls.append(method) or answer(method, params))
            for _ in range(3):
                client.create(ask(QUESTION))
        assert calls == []

    def test_many_event_loops_one_after_the_other(self, options, provider):
        client = AsyncChatClient(**at(options, provider))

        async def once() -> str:
            try:
                return (await client.create(ask(QUESTION))).text
            finally:
                await client.close()

        assert all("Paris" in asyncio.run(once()) for _ in range(3))

    def test_many_tasks_and_threads_share_a_client(self, options, provider):
        async def many() -> list[str]:
            async with AsyncChatClient(**at(options, provider)) as client:
                replies = await asyncio.gather(*(client.create(ask(f"What is {n} + {n}?")) for n in range(12)))
            return [reply.text for reply in replies]

        assert [str(2 * n) in text for n, text in enumerate(asyncio.run(many()))] == [True] * 12
        with ChatClient(**at(options, provider)) as client:
            texts: dict[int, str] = {}

            def one(n: int) -> None:
                texts[n] = client.create(ask(f"What is {n} + {n}?")).text

            threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert [str(2 * n) in texts[n] for n in range(8)] == [True] * 8

    def test_ten_streams_use_one_connection(self, options, provider, net, monkeypatch):
        made: list[str] = []
        connect = SyncWire.connect

        def counting(host: str, port: int, *rest: Any) -> Any:
            made.append(f"http://{host}:{port}")
            return connect(host, port, *rest)

        monkeypatch.setattr(SyncWire, "connect", counting)
        monkeypatch.setattr("zg_core.calls.path.TAIL_SECONDS", 60.0)  # a slow machine's streams end late
        with ChatClient(**at(options, provider)) as client:
            for _ in range(10):
                list(client.stream(ask(QUESTION)))
        assert sorted(made) == sorted([provider.url, net.rpc_url])


class TestPolicy:
    def test_off_checks_nothing(self, caller, options, provider):
        before = len([r for r in provider.requests if "/signature/" in r.path])
        receipt = caller.call(at(options, provider, verify="off"), ask(QUESTION)).receipt
        assert receipt.verdict.status is Status.NOT_CHECKED
        assert len([r for r in provider.requests if "/signature/" in r.path]) == before

    def test_background_answers_at_once_and_tells_later(self, caller, options, provider):
        told: list[Any] = []
        heard = threading.Event()

        def listen(receipt: Any) -> None:
            told.append(receipt)
            heard.set()

        answered = caller.call(at(options, provider, verify="background", on_verdict=listen), ask(QUESTION))
        assert heard.wait(PATIENCE)
        assert told == [answered.receipt]
        assert answered.receipt.resolve().status is Status.VERIFIED

    def test_require_refuses_a_provider_that_cannot_prove_before_sending(self, caller, options, net):
        provider = net.providers[3]
        before = sent_prompts(net)
        with pytest.raises(VerificationUnavailable) as caught:
            caller.call(at(options, provider, verify="require"), ask(QUESTION))
        assert caught.value.code == "not_verifiable"
        assert sent_prompts(net) == before

    def test_a_kind_that_is_not_allowed_never_sees_the_prompt(self, caller, options, net):
        before = sent_prompts(net)
        with pytest.raises(VerificationUnavailable) as caught:
            caller.call(at(options, net.providers[1], kinds=["TeeML"]), ask(QUESTION))
        assert caught.value.code == "kind_not_allowed"
        assert sent_prompts(net) == before

    def test_warn_warns_once_per_provider_and_reason(self, options, net):
        with ChatClient(**at(options, net.providers[3])) as client:
            with pytest.warns(VerificationWarning, match="signs nothing"):
                client.create(ask(QUESTION))
            client.create(ask(QUESTION))  # a second warning would be an error under -W error

    def test_hold_keeps_the_chunks_until_the_verdict(self, options, provider):
        with ChatClient(**at(options, provider, stream="hold")) as client:
            provider.fault("body_changed")
            stream = client.stream(ask(QUESTION))
            seen = []
            with pytest.raises(VerificationFailed) as caught:
                for event in stream:
                    seen.append(event)  # noqa: PERF402 - what was seen before the error is the point
        assert seen == []
        assert "Pa" in caught.value.text or caught.value.text

    def test_a_pinned_vendor_that_did_not_answer_is_refused(self, options, net):
        tls = net.providers[1]
        mine = at(options, tls, verify="require", identity="somebody-else")
        with ChatClient(**mine) as client, pytest.raises(VerificationUnavailable) as caught:
            client.create(ask(QUESTION))
        assert caught.value.code == "identity_mismatch"


class TestChoice:
    def test_a_model_alone_finds_its_funded_provider(self, caller, options, provider):
        answered = caller.call({**options, "model": provider.model}, ask(QUESTION))
        assert answered.receipt.provider == provider.address

    def test_without_funds_the_cheapest_and_its_command_are_named(self, caller, options, provider, net):
        poor = net.new_wallet()
        before = sent_prompts(net)
        with pytest.raises(InsufficientFunds) as caught:
            caller.call({**options, "private_key": poor.private_key, "model": provider.model}, ask(QUESTION))
        assert f"zerog transfer {provider.address} 1.1" in caught.value.hint
        assert sent_prompts(net) == before

    def test_an_adapter_name_works_as_model(self, caller, options, provider):
        answered = caller.call(at(options, provider), ask(QUESTION, model=provider.adapter))
        assert answered.receipt.verdict.satisfies("response_bound")
        assert answered.receipt.model == provider.adapter

    def test_what_can_be_proven_is_known_beforehand(self, options, net):
        from zg_core import AsyncChatClient

        def found(number: int, model: str | None, **more: Any) -> tuple[str, str]:
            made = at({**options, **more}, net.providers[number])
            with ChatClient(**made) as client:
                reach = client.reach(model)

            async def twin() -> Any:
                async with AsyncChatClient(**made) as other:
                    return await other.reach(model)

            assert asyncio.run(twin()) == reach
            return str(reach.status), reach.objection.code if reach.objection else ""

        adapter, before = net.providers[0].adapter, [len(one.requests) for one in net.providers]
        for require in ({}, {"verify": "require"}):
            assert found(0, None, **require) == found(0, "chat-ml", **require) == ("verified", "")
            assert found(0, adapter, **require) == ("response_bound", "model_renamed")
            assert found(0, adapter, accept_models={adapter: "chat-ml"}, **require) == ("verified", "")
            assert found(1, "another", **require) == ("response_bound", "model_renamed")
            assert found(3, None, **require) == ("not_verifiable", "not_verifiable")
        assert [len(one.requests) for one in net.providers] == before, "a provider was asked"

    def test_the_environment_is_enough(self, net, wallet, provider):
        environ = {
            "ZEROG_NETWORK": "local",
            "ZEROG_RPC_URL": net.rpc_url,
            "ZEROG_PRIVATE_KEY": wallet.private_key,
            "ZEROG_PROVIDER": provider.address.lower(),
            "ZEROG_VERIFY": "require",
        }
        with ChatClient(environ=environ) as client:
            assert client.create(ask(QUESTION)).receipt.verdict.satisfies("verified")


class TestApiKey:
    def test_a_key_alone_is_enough(self, caller, options, provider, wallet):
        key = api_key(wallet.private_key, provider.address)
        answered = caller.call({**options, "private_key": None, "api_key": key, "verify": "require"}, ask(QUESTION))
        assert answered.receipt.provider == provider.address

    @pytest.mark.parametrize(
        ("fault", "code"), [("expired", "expired"), ("other", "other_provider"), ("generation", "revoked")]
    )
    def test_a_useless_key_is_refused_before_the_prompt_leaves(
        self, caller, options, provider, wallet, net, fault, code
    ):
        changes = {"expired": {"hours": -1}, "generation": {"generation": 5}}.get(fault, {})
        key = api_key(wallet.private_key, provider.address, **changes)
        target = net.providers[1].address if fault == "other" else provider.address
        before = sent_prompts(net)
        with pytest.raises(SessionRejected) as caught:
            caller.call({**options, "private_key": None, "api_key": key, "provider": target}, ask(QUESTION))
        assert caught.value.code == code
        assert "zerog keys create" in caught.value.hint
        assert sent_prompts(net) == before

    def test_a_revoked_key_is_refused(self, caller, options, provider, net):
        owner = net.new_wallet()
        net.open_account(owner, provider)
        key = api_key(owner.private_key, provider.address, token_id=9)
        from zg_core.localnet.chain.abi import inference

        contract = inference()
        net.chain.send(owner.private_key, to=contract.address, data=contract.encode("revokeToken", provider.address, 9))
        with pytest.raises(SessionRejected) as caught:
            caller.call({**options, "private_key": None, "api_key": key}, ask(QUESTION))
        assert caught.value.code == "revoked"


class TestSession:
    def test_after_revoking_all_tokens_the_session_is_signed_anew(self, caller, options, provider, net):
        owner = net.new_wallet()
        net.open_account(owner, provider)
        mine = at({**options, "private_key": owner.private_key}, provider)
        assert caller.call(mine, ask(QUESTION)).receipt.outcome == "answered"
        from zg_core.localnet.chain.abi import inference

        contract = inference()
        if caller.loop:
            client: Any = AsyncChatClient(**mine)
        else:
            client = ChatClient(**mine)
            client.create(ask(QUESTION))
        net.chain.send(
            owner.private_key, to=contract.address, data=contract.encode("revokeAllTokens", provider.address)
        )
        provider.drop_caches()
        answered = caller.call(mine, ask(QUESTION), client=None if caller.loop else client)
        assert answered.receipt.outcome == "answered"
        if not caller.loop:
            client.close()

    def test_a_session_is_reused(self, options, provider):
        with ChatClient(**at(options, provider)) as client:
            assert client.token().reveal() == client.token().reveal()


class TestBadInput:
    """Each one class of error, with a hint, and no prompt leaves the machine."""

    @pytest.mark.parametrize(
        ("changes", "error", "code"),
        [
            ({"private_key": None}, ConfigError, "no_credential"),
            ({"private_key": "0x1234"}, ConfigError, "bad_private_key"),
            ({"private_key": None, "api_key": "app-sk-something"}, ConfigError, "bad_api_key"),
            ({"provider": "0x" + "ab" * 20}, ConfigError, "unknown_provider"),
            ({"provider": "nonsense"}, ConfigError, "bad_address"),
            ({"provider": None, "model": "no-such-model"}, ModelNotServed, "model_not_served"),
            ({"model": "no-such-model"}, ModelNotServed, "model_not_served"),
            ({"provider": None}, ConfigError, "no_target"),
            ({"network": "testnet"}, WrongChain, "wrong_chain"),
            ({"network": "moonnet"}, ConfigError, "unknown_network"),
            ({"verify": "maybe"}, ConfigError, "bad_policy"),
            ({"timeout": 0}, ConfigError, "bad_timeout"),
            ({"rpc_url": "ftp://localhost"}, ConfigError, "bad_url"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
    )
    def test_a_wrong_setting_is_named_with_its_fix(self, caller, options, provider, net, changes, error, code):
        before = sent_prompts(net)
        with pytest.raises(error) as caught:
            caller.call({**at(options, provider), **changes}, ask(QUESTION))
        assert caught.value.code == code
        assert caught.value.hint
        assert sent_prompts(net) == before

    def test_a_provider_without_https_is_refused(self, caller, options, net, wallet):
        from zg_core.localnet.chain.abi import inference

        snapshot = net.chain.snapshot()
        stranger = net.new_wallet(200 * 10**18)
        contract = inference()
        record = ("chatbot", "http://provider.example", "plain", "TeeML", 1, 1, "{}", stranger.address)
        data = contract.encode("addOrUpdateService", record)
        net.chain.send(stranger.private_key, to=contract.address, data=data, value=100 * 10**18)
        try:
            with pytest.raises(ConfigError) as caught:
                caller.call({**options, "provider": stranger.address}, ask(QUESTION))
        finally:
            net.chain.revert(snapshot)
        assert caught.value.code == "insecure_url"

    def test_a_balance_below_the_reserve_is_refused_locally(self, caller, options, provider, net):
        poor = net.new_wallet()
        net.open_account(poor, provider, 10**18)
        provider_side = net.chain
        from zg_core.localnet.chain.abi import inference, ledger

        del provider_side, inference
        data = ledger().encode("retrieveFund", [provider.address], "inference-v1.0")
        net.chain.send(poor.private_key, to=net.ledger, data=data)
        before = sent_prompts(net)
        with pytest.raises(InsufficientFunds) as caught:
            caller.call(at({**options, "private_key": poor.private_key}, provider), ask(QUESTION))
        assert caught.value.code == "balance_too_small"
        assert f"zerog transfer {provider.address}" in caught.value.hint
        assert sent_prompts(net) == before

    def test_a_service_the_owner_has_not_acknowledged_is_refused(self, caller, options, provider, net):
        provider.revoke_acknowledgement()
        try:
            with pytest.raises(NotAcknowledged) as caught:
                caller.call(at(options, provider), ask(QUESTION))
        finally:
            provider.acknowledge()
        assert caught.value.code == "service_not_acknowledged"

    def test_a_payload_that_is_no_json_is_refused(self, caller, options, provider, net):
        before = sent_prompts(net)
        with pytest.raises(ConfigError) as caught:
            caller.call(at(options, provider), ask(QUESTION, temperature=float("nan")))
        assert caught.value.code == "bad_request_body"
        assert sent_prompts(net) == before

    def test_an_rpc_that_does_not_answer_is_named(self, caller, options, provider):
        with pytest.raises(ZeroGError) as caught:
            caller.call(at(options, provider, rpc_url="http://127.0.0.1:9"), ask(QUESTION))
        assert caught.value.code == "rpc_unavailable"
        assert "ZEROG_RPC_URL" in caught.value.hint


class TestReceipts:
    def test_token_counts_that_cannot_be_true_are_flagged(self, caller, options, provider):
        provider.fault("usage_inflated", factor=1000)
        receipt = caller.call(at(options, provider, verify="require"), ask(QUESTION)).receipt
        assert receipt.verdict.satisfies("verified"), "signed and billed so, all the same"
        assert receipt.flags == ("usage_implausible",)
        assert caller.call(at(options, provider), ask(QUESTION)).receipt.flags == ()

    def test_breaking_off_a_stream_leaves_a_receipt(self, options, provider):
        told: list[Any] = []
        with ChatClient(**at(options, provider, on_receipt=told.append)) as client:
            stream = client.stream(ask(QUESTION))
            next(stream)
            stream.close()
            assert client.receipts.last is told[0]
        assert (told[0].outcome, told[0].verdict.status) == ("abandoned", Status.NOT_CHECKED)
        assert not told[0].fee.exact

    def test_dropping_a_stream_unread_leaves_a_receipt(self, options, provider):
        with ChatClient(**at(options, provider)) as client:
            for _ in client.stream(ask(QUESTION)):
                break
            assert client.receipts.last.outcome == "abandoned"

    def test_cancelling_a_task_leaves_a_receipt(self, options, provider):
        before = len(provider.log)
        provider.fault("slow_drip", size=1000, delay=0.5)  # event by event

        async def main() -> Any:
            async with AsyncChatClient(**at(options, provider)) as client:
                stream = client.stream(ask(QUESTION))
                await anext(stream)

                async def rest() -> None:
                    async for _ in stream:
                        continue

                task = asyncio.create_task(rest())
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                return client.receipts.last

        assert asyncio.run(main()).outcome == "abandoned"
        until(lambda: len(provider.log) > before)  # it bills once it sees that nobody listens: not in the next test

    def test_a_listener_that_fails_costs_no_answer(self, options, provider, caplog):
        def broken(_: Any) -> None:
            raise RuntimeError("listener")

        with ChatClient(**at(options, provider, on_receipt=broken)) as client:
            assert "Paris" in client.create(ask(QUESTION)).text
        assert "receipt listener failed" in caplog.text

    def test_metadata_holds_no_floats_and_amounts_are_text(self, caller, options, provider):
        metadata = caller.call(at(options, provider), ask(QUESTION)).receipt.metadata()

        def floats(value: Any) -> bool:
            if isinstance(value, dict):
                return any(floats(item) for item in value.values())
            return isinstance(value, float)

        assert not floats(metadata)
        assert metadata["payment"]["unit"] == "neuron"
        assert metadata["payment"]["fee"].isdigit()
        json.dumps(metadata)


class TestLimits:
    def test_calls_beyond_the_burst_wait_for_their_turn(self, options, provider, net, wallet, clock, monkeypatch):
        waits: list[float] = []

        class Noted(ThreadSignal):
            async def wait(self, seconds: float | None) -> None:
                waits.append(seconds or 0)
                clock.now += seconds or 0

        monkeypatch.setattr(SyncTransport, "signal", lambda self: Noted())
        gate = gate_of(f"eip155:{net.chain_id}", wallet.address, provider.address)
        monkeypatch.setattr(gate, "pace", MemoryPace(clock=clock))
        limits = Limits(per_minute=60, burst=2)
        with ChatClient(**at(options, provider, verify="off", limits=limits)) as client:
            for _ in range(3):
                client.create(ask(QUESTION))
        (wait,) = waits
        assert 1.0 <= wait <= 1.1
