"""A budget against counts that lie: flagged, bounded by what the bytes can cost, and no other provider pays for it.

Beside each lie stands the honest control: the same call through the same machine, with nothing changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from zg_core import Budget, ChatClient, ConfigError, og
from zg_core.localnet import LocalNet, LocalProvider
from zg_core.localnet.provider.operator import Operator, Passed, Said
from zg_core.pricing import PROMPT_ALLOWANCE, Tariff

QUESTION = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 20}
LIES = {
    "negative": '{"prompt_tokens":-5,"completion_tokens":1}',
    "cached": '{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":1000000000}}',
    "10^30": '{"prompt_tokens":1,"completion_tokens":1' + "0" * 30 + "}",
    "4290 digits": '{"prompt_tokens":1,"completion_tokens":1' + "0" * 4289 + "}",
    "fractions": '{"prompt_tokens":9.0,"completion_tokens":2.5}',
    "text": '{"prompt_tokens":"9","completion_tokens":"9"}',
    "true": '{"prompt_tokens":true,"completion_tokens":true}',
    "a list": "[1, 2]",
}


@pytest.fixture
def operator(net: LocalNet, provider: LocalProvider) -> Iterator[Operator]:
    with net.operator(provider) as made:
        yield made


def saying(operator: Operator, usage: str) -> None:
    """Answers of the enclave, with another usage object."""

    def plan(passed: Passed) -> Said | None:
        if not passed.is_call:
            return None
        said = operator.forward(passed)
        document = json.loads(said.body)
        document["usage"] = "@"
        return Said(json.dumps(document).replace('"@"', usage).encode(), said.status, said.headers)

    operator.plan = plan


@pytest.mark.parametrize("store", ["memory:", "sqlite"])
@pytest.mark.parametrize("lie", LIES)
def test_a_count_that_lies_costs_what_the_bytes_can(
    lie: str, store: str, net: LocalNet, provider: LocalProvider, operator: Operator, tmp_path: Any
) -> None:
    url = store if store == "memory:" else f"sqlite:///{tmp_path}/store.db"
    budget = Budget(per_run=og("0.01"), per_wallet=og("0.02"))
    options: dict[str, Any] = {"provider": provider.address, "network": "local", "rpc_url": net.rpc_url}
    options |= {"private_key": net.wallet.private_key, "budget": budget, "store": url, "verify": "off", "environ": {}}
    with ChatClient(**options) as client:
        assert client.spending is not None
        honest = client.create(QUESTION).receipt
        assert (honest.flags, honest.fee.exact) == ((), True)
        before = client.spending.left(honest.payer, honest.provider)
        assert before["per_run"] == budget.per_run - honest.fee.amount

        saying(operator, LIES[lie])
        receipt = client.create(QUESTION).receipt
        assert "usage_implausible" in receipt.flags
        assert not receipt.fee.exact
        assert receipt.service is not None
        tariff = Tariff.of(receipt.service)
        assert tariff is not None
        bytes_can = tariff.most(receipt.request_bytes + PROMPT_ALLOWANCE, receipt.response_bytes)
        assert receipt.fee.upper is not None
        assert 0 <= receipt.fee.amount.units <= receipt.fee.upper <= bytes_can
        after = client.spending.left(honest.payer, honest.provider)
        for limit in ("per_run", "per_wallet"):
            assert before[limit].units - after[limit].units == receipt.fee.upper

        operator.honest()
        client.create(QUESTION)  # the next call is not refused
    elsewhere = net.providers[1].address
    with ChatClient(**options | {"provider": elsewhere}) as client:
        assert client.create(QUESTION).receipt.fee.exact


@pytest.mark.parametrize(
    "odd",
    [
        {"max_tokens": 500000.0}, {"max_tokens": 1, "n": 500000.0}, {"max_tokens": "500000"}, {"max_tokens": -1},
        {"max_tokens": 1, "n": True}, {"max_tokens": 1, "best_of": 10**30}, {"max_completion_tokens": [5]},
    ],
    ids=str,
)  # fmt: skip
def test_a_bound_of_an_odd_type_is_not_sent_under_a_budget(
    odd: dict[str, Any], net: LocalNet, provider: LocalProvider
) -> None:
    options: dict[str, Any] = {"provider": provider.address, "network": "local", "rpc_url": net.rpc_url}
    options |= {"private_key": net.wallet.private_key, "budget": Budget(per_call=og("0.05")), "environ": {}}
    before = len(provider.log)
    with ChatClient(**options) as client:
        with pytest.raises(ConfigError) as caught:
            client.create(QUESTION | odd)
        assert caught.value.code == "budget_unbounded"
        assert len(provider.log) == before
        client.create(QUESTION)
        assert len(provider.log) == before + 1
