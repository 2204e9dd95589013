"""A provider that has not seen our own change yet is waited for; everything else is reported at once."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from zg_core import (
    ApiKeys,
    AsyncChatClient,
    Broker,
    ChatClient,
    InsufficientFunds,
    NotAcknowledged,
    SessionRejected,
    og,
)
from zg_core.backends.direct import changes as settling
from zg_core.backends.direct.changes import CHANGES, WINDOW, OwnChanges, is_lag, named_balance, same_balance
from zg_core.http.transport import AsyncTransport, SyncTransport
from zg_core.localnet import LocalNet, ProviderSettings
from zg_core.openai_compat import async_openai_client, openai_client

QUESTION = {"messages": [{"role": "user", "content": "What is 6 times 7?"}]}


@pytest.fixture(scope="module")
def production():
    with LocalNet(providers=1, settings=ProviderSettings.production()) as network:
        yield network


class Clocked:
    """Waiting moves the network's clock instead of taking time."""

    waited: float

    async def sleep(self, seconds: float) -> None:
        self.waited = getattr(self, "waited", 0.0) + seconds
        self.net.clock.advance(seconds)


@pytest.fixture
def setting(production: LocalNet, monkeypatch: pytest.MonkeyPatch, tmp_path) -> dict[str, Any]:
    """Options of a broker and clients whose waits move the clock of the network."""
    monkeypatch.setattr(CHANGES, "now", production.clock.now)
    for module, base in (("zg_core.client", SyncTransport), ("zg_core.client", AsyncTransport)):
        made = type(base.__name__, (Clocked, base), {"net": production})
        monkeypatch.setattr(f"{module}.{base.__name__}", made)
    return {
        "private_key": production.new_wallet().private_key,
        "network": "local",
        "rpc_url": production.rpc_url,
        "ledger": production.ledger,
        "inference": production.inference,
        "environ": {},
    }


def test_the_quickstart_runs_once_against_a_provider_with_production_caches(production, setting):
    # 0g-direct §4.5: a top-up is visible to the provider after up to 2 minutes.
    provider = production.providers[0].address
    steps: list[Any] = []
    with (
        Broker(**setting) as broker,
        ChatClient(**setting, provider=provider, verify="require", on_progress=steps.append) as client,
    ):
        broker.deposit(og("5"))
        broker.transfer(provider, og("1.00000000000000001"))  # enough for the chain's rule, too little for any fee
        with pytest.raises(InsufficientFunds, match="unsettled fees"):
            client.create(QUESTION)
        assert steps == [], "what the provider has seen is not waited for"
        broker.transfer(provider, og("1"))
        reply = client.create(QUESTION)
    assert "42" in reply.text
    assert str(reply.receipt.verdict.status) == "verified"
    assert {step.name for step in steps} == {"waiting_for_provider"}
    assert steps[0].details["provider"] == provider
    assert 100 < client._transport.waited <= WINDOW
    assert reply.receipt.attempts == len(steps) + 1
    assert [receipt.outcome for receipt in client.receipts] == ["refused"] * (len(steps) + 1) + ["answered"]


def test_a_key_made_after_revoking_all_waits_for_the_new_generation(production, setting, tmp_path):
    provider = production.providers[0].address
    steps: list[Any] = []
    with Broker(**setting) as broker, ChatClient(**setting, provider=provider, on_progress=steps.append) as client:
        broker.deposit(og("5"))
        broker.transfer(provider, og("2"))
        assert client.create(QUESTION).text
        steps.clear()
        ApiKeys(broker, f"sqlite:///{tmp_path}/store.db").revoke_all(provider)
        assert client.create(QUESTION).text  # the provider's cache still has the old generation: its session is good
        assert steps == []
        fresh = dict(setting)
        with ChatClient(**fresh, provider=provider, on_progress=steps.append) as another:
            assert another.create(QUESTION).text
    assert {step.details["code"] for step in steps} == {"future_generation"}


def test_the_async_client_waits_as_well(production, setting):
    provider = production.providers[0].address
    steps: list[Any] = []

    async def work() -> str:
        async with AsyncChatClient(**setting, provider=provider, on_progress=steps.append) as client:
            stream = client.stream(QUESTION)
            events = [event async for event in stream]
            return "".join(c["delta"].get("content") or "" for e in events for c in e.get("choices") or [])

    with Broker(**setting) as broker:
        broker.deposit(og("5"))
        broker.transfer(provider, og("1.00000000000000001"))
        with pytest.raises(InsufficientFunds):
            asyncio.run(work())
        broker.transfer(provider, og("1"))
    assert "42" in asyncio.run(work())
    assert steps


@pytest.mark.parametrize("stream", [False, True], ids=["create", "stream"])
@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
def test_the_official_openai_client_waits_as_well(production, setting, loop, stream):
    provider = production.providers[0]
    steps: list[Any] = []
    options = {**setting, "provider": provider.address, "verify": "require", "on_progress": steps.append}
    question = {**QUESTION, "model": provider.model, "stream": stream}

    def joined(chunks: Any) -> str:
        return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)

    async def ask_async() -> str:
        client = async_openai_client(**options)
        try:
            made = await client.chat.completions.create(**question)
            return joined([chunk async for chunk in made]) if stream else made.choices[0].message.content
        finally:
            await client.close()

    def ask() -> str:
        if loop:
            return asyncio.run(ask_async())
        client = openai_client(**options)
        try:
            made = client.chat.completions.create(**question)
            return joined(made) if stream else made.choices[0].message.content
        finally:
            client.close()

    with Broker(**setting) as broker:
        broker.deposit(og("5"))
        broker.transfer(provider.address, og("1.00000000000000001"))
        with pytest.raises(openai.APIStatusError) as caught:
            ask()
        assert "unsettled fees" in str(caught.value.body)
        assert steps == []
        broker.transfer(provider.address, og("1"))
        assert "42" in ask()
        assert {step.name for step in steps} == {"waiting_for_provider"}


def test_without_a_change_of_ours_nothing_is_waited_for(production, setting):
    provider = production.providers[0]
    wallet = production.new_wallet()
    with Broker(**{**setting, "private_key": wallet.private_key}) as broker:
        broker.deposit(og("5"))
        broker.transfer(provider.address, og("1.00000000000000001"))
    production.clock.advance(WINDOW + 1)
    steps: list[Any] = []
    with ChatClient(
        **{**setting, "private_key": wallet.private_key}, provider=provider.address, on_progress=steps.append
    ) as client:
        with pytest.raises(InsufficientFunds):
            client.create(QUESTION)
        assert not hasattr(client._transport, "waited")
    assert steps == []


def test_a_transfer_of_another_process_is_waited_for_where_the_store_is_shared(
    production, setting, monkeypatch, tmp_path
):
    provider = production.providers[0].address
    setting["environ"] = {"ZEROG_STORE": f"sqlite:///{tmp_path}/store.db"}
    steps: list[Any] = []
    with (
        Broker(**setting) as broker,
        ChatClient(**setting, provider=provider, on_progress=steps.append) as client,
    ):
        broker.deposit(og("5"))
        broker.transfer(provider, og("1.00000000000000001"))
        with pytest.raises(InsufficientFunds):
            client.create(QUESTION)
        broker.transfer(provider, og("1"))
        monkeypatch.setattr(CHANGES, "_changed", {})  # as in a process that has just begun
        assert "42" in client.create(QUESTION).text
    assert steps


def test_a_change_counts_for_its_own_account_and_for_150_seconds():
    now = [10.0]
    changes = OwnChanges(now=lambda: now[0])
    changes.note(1, "0xAA", "0xBB")
    assert changes.left(1, "0xaa", "0xbb") == WINDOW
    assert [changes.left(*key) for key in ((2, "0xaa", "0xbb"), (1, "0xab", "0xbb"), (1, "0xaa", "0xbc"))] == [0, 0, 0]
    now[0] += 149
    assert changes.left(1, "0xaa", "0xbb") == 1
    now[0] += 2
    assert changes.left(1, "0xaa", "0xbb") == 0


@pytest.mark.parametrize(
    ("error", "lag"),
    [
        (InsufficientFunds("insufficient balance", status=400), True),
        (InsufficientFunds("the chain says so"), False),
        (NotAcknowledged("user not acknowledge the provider", status=400), True),
        (NotAcknowledged("provider 0x1 answered 400: service not acknowledge the tee signer", status=400), False),
        (SessionRejected("future", code="future_generation", status=400), True),
        (SessionRejected("revoked", code="revoked", status=400), False),
    ],
)
def test_only_refusals_that_a_cache_explains_are_waited_for(error, lag):
    assert is_lag(error) is lag


def test_the_balance_that_a_provider_names_is_read():
    error = InsufficientFunds("your locked balance is 1.25 0G, but the required minimum is 2 0G", status=400)
    assert named_balance(error) == 125 * 10**16
    assert named_balance(InsufficientFunds("insufficient balance")) is None
    assert same_balance(10**18, 10**18 + 5)
    assert not same_balance(10**18, 2 * 10**18)
    assert settling.STEP < WINDOW
