"""A provider with the limits of the real ones, only faster: who follows them is refused next to nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.processes import together
from zg_core import AsyncChatClient, ChatClient, Limits, ModelNotServed
from zg_core.calls.gate import gate_of
from zg_core.localnet import LocalNet, ProviderSettings, ProviderSpec

ROOT = Path(__file__).resolve().parents[3]
PAYLOAD = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 20}
PER_MINUTE = 1200


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    settings = replace(
        ProviderSettings.fast(),
        requests_per_minute=PER_MINUTE,
        burst=8,
        concurrent_per_user=4,
        model_mismatches=5,
        model_mismatch_window=300.0,
        model_block=3600.0,
    )
    usual = replace(ProviderSettings.fast(), requests_per_minute=PER_MINUTE, burst=5, concurrent_per_user=5)
    specs = [ProviderSpec(model="strict", settings=settings), ProviderSpec(model="usual", settings=usual)]
    with LocalNet(providers=specs) as made:
        yield made


@pytest.fixture
def mine(net: LocalNet) -> dict[str, Any]:
    """Settings of a wallet that the provider has not counted yet."""
    wallet = net.new_wallet()
    net.open_account(wallet, net.providers[0], 20 * 10**18)
    return {
        "private_key": wallet.private_key,
        "network": "local",
        "rpc_url": net.rpc_url,
        "ledger": net.ledger,
        "inference": net.inference,
        "provider": net.providers[0].address,
        "environ": {},
        "verify": "off",
        "max_retries": 6,
    }


def prompts(net: LocalNet, number: int = 0) -> int:
    return sum(request.path.endswith("/chat/completions") for request in net.providers[number].requests)


def test_who_sets_no_limits_on_a_local_network_keeps_the_pace_from_the_first_refusal(
    net: LocalNet, mine: dict[str, Any]
) -> None:
    provider, before = net.providers[1], prompts(net, 1)
    wallet = net.new_wallet()
    net.open_account(wallet, provider, 20 * 10**18)
    settings = {**mine, "private_key": wallet.private_key, "provider": provider.address, "max_retries": 6}

    async def tasks(count: int) -> list[str]:
        async with AsyncChatClient(**settings) as client:
            replies = await asyncio.gather(*(client.create(PAYLOAD) for _ in range(count)))
            return [reply.receipt.outcome for reply in replies]

    assert asyncio.run(tasks(20)) == ["answered"] * 20
    refused = prompts(net, 1) - before - 20
    assert refused <= 20, "each at most once: what was refused queues"
    if refused:  # none where calls take longer than the provider's pace
        assert gate_of("eip155:31337", wallet.address, provider.address).rated, "its replies name a rate"
    assert asyncio.run(tasks(10)) == ["answered"] * 10, "another client of the wallet keeps the pace from the start"
    assert prompts(net, 1) - before - 30 - refused <= 10, "each at most once, however slow this machine is"


def test_a_provider_that_names_no_rate_in_its_replies_is_not_believed_to_have_one() -> None:
    with LocalNet(providers=1) as free:
        free.open_account(free.wallet, free.providers[0])
        gate = gate_of("eip155:31337", free.wallet.address, free.providers[0].address)
        with ChatClient(environ=free.env(), verify="off") as client:
            for calls in range(2):
                with free.providers[0].fault("rate_limited", reset=0) as refused:  # and names one
                    assert client.create(PAYLOAD).receipt.outcome == "answered"
                    assert refused.fired == 1
                assert gate.rated is False, calls


def test_threads_and_tasks_together_keep_the_pace_and_the_number_under_way(net: LocalNet, mine: dict[str, Any]) -> None:
    limits, before = Limits(per_minute=PER_MINUTE, burst=4, in_flight=3), prompts(net)

    def blocking(_: int) -> str:
        with ChatClient(**mine, limits=limits) as client:
            return client.create(PAYLOAD).receipt.outcome

    async def tasks() -> list[str]:
        async with AsyncChatClient(**mine, limits=limits) as client:
            return [
                reply.receipt.outcome for reply in await asyncio.gather(*(client.create(PAYLOAD) for _ in range(12)))
            ]

    with ThreadPoolExecutor(8) as pool:
        loops = [pool.submit(asyncio.run, tasks()) for _ in range(2)]
        outcomes = list(pool.map(blocking, range(12)))
        for loop in loops:
            outcomes += loop.result(PATIENCE)
    assert outcomes == ["answered"] * 36
    assert prompts(net) - before - 36 <= 12  # refused, and sent again


WORKER = """
import json, sys
from zg_core import ChatClient, Limits

options, payload, limits = (json.loads(text) for text in sys.argv[1:])
with ChatClient(**options, limits=Limits(**limits)) as client:
    print(sum(client.create(payload).receipt.outcome == "answered" for _ in range(10)))
"""


def test_processes_with_one_store_keep_the_pace_together(net: LocalNet, mine: dict[str, Any], tmp_path: Path) -> None:
    before, options = prompts(net), {**mine, "store": f"sqlite:///{tmp_path}/store.db"}
    limits = {"per_minute": PER_MINUTE, "burst": 4, "in_flight": 1}
    arguments = [json.dumps(part) for part in (options, PAYLOAD, limits)]
    said = together(4, WORKER, *arguments, preload=("zg_core.client", "sqlalchemy.dialects.sqlite"))
    assert list(map(int, said)) == [10] * 4
    assert prompts(net) - before - 40 <= 12  # each with a pace of its own: twice as many, or worse


@pytest.mark.parametrize("model", ["strictt", "gpt-9", "ft-nobody-has-it"])
def test_wrong_models_never_lead_to_the_block(net: LocalNet, mine: dict[str, Any], model: str) -> None:
    before = prompts(net)
    with ChatClient(**mine) as client:
        for _ in range(6):
            with pytest.raises(ModelNotServed, match="it serves strict"):
                client.create({**PAYLOAD, "model": model})
        assert prompts(net) == before
        assert client.create({**PAYLOAD, "model": "strict"}).receipt.outcome == "answered"
