"""Providers that bill by a list of their own, in USD or model by model: what their calls cost, and what budgets say."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core import Budget, BudgetExceeded, ChatClient, ConfigError, og
from zg_core.backends.direct.catalogue import Catalogue
from zg_core.http.transport import SyncTransport, run
from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.money import Amount
from zg_core.pricing import Tariff, estimate, fee_of
from zg_core.types import ServiceRecord, Usage

MULTI = '{"MultiModel":true}'
USD = '{"MultiModel":true,"priceDenomination":"USD"}'
PRICES = ("0.0000005", "0.000002")
DOLLAR = 10**18


def service(info: str = USD, url: str = "http://127.0.0.1:1") -> ServiceRecord:
    """A record whose on-chain prices (3 and 5 neuron) are not what is billed."""
    return ServiceRecord("0x" + "ab" * 20, "chatbot", url, 3, 5, 0, "m", "TeeML", info, "", True)


class TestReading:
    def test_a_list_in_neuron(self) -> None:
        entry = {
            "pricing": {
                "prompt": "7",
                "completion": "11",
                "tiered_pricing": [{"max_input_tokens": 0, "input_multiplier": 3, "input_multiplier_denominator": 2}],
                "cache_token_billing": {"write_multiplier": 5, "write_multiplier_denominator": 4},
            }
        }
        tariff = Tariff.read(service(MULTI), entry)
        assert tariff is not None
        assert (tariff.input_price, tariff.output_price, tariff.currency, tariff.listed) == (7, 11, "0G", True)
        assert (tariff.dearest, tariff.cache_divisor, tariff.write_multiplier) == ((10, 11), 4, (5, 4))

    def test_a_list_in_usd_is_read_for_a_service_that_bills_in_usd(self) -> None:
        entry = {
            "pricing": {"prompt": "7", "completion": "11"},
            "pricing_usd": {"prompt": "0.0000005", "completion": "2e-6"},
        }
        tariff = Tariff.read(service(), entry)
        assert tariff is not None
        assert (tariff.input_price, tariff.output_price) == (DOLLAR // 2_000_000, 2 * DOLLAR // 1_000_000)

    @pytest.mark.parametrize(
        "block",
        [
            None, [], {}, {"prompt": "1"}, {"prompt": "x", "completion": "1"}, {"prompt": "-1", "completion": "1"},
            {"prompt": "NaN", "completion": "1"}, {"prompt": "Infinity", "completion": "1"},
            {"prompt": True, "completion": "1"}, {"prompt": None, "completion": "1"},
            {"prompt": 0.5, "completion": "1"},
            {"prompt": "9" * 101, "completion": "1"}, {"prompt": "1e999999999", "completion": "1"},
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("info", [MULTI, USD])
    def test_a_list_that_says_nothing_is_none(self, block: Any, info: str) -> None:
        assert Tariff.read(service(info), {"pricing": block, "pricing_usd": block}) is None

    @given(st.decimals(0, 10, places=24))
    def test_a_price_finer_than_we_count_is_rounded_against_the_user_never_for_him(self, price: Decimal) -> None:
        tariff = Tariff.read(service(), {"pricing_usd": {"prompt": f"{price:f}", "completion": "0"}})
        assert tariff is not None
        assert 0 <= tariff.input_price - price * DOLLAR < 1


class TestFees:
    TARIFF = Tariff(DOLLAR // 2_000_000, 2 * DOLLAR // 1_000_000, currency="USD", listed=True)

    def test_a_usd_fee_stays_in_usd(self) -> None:
        fee = fee_of(service(), Usage(100, 10), self.TARIFF)
        assert fee.amount == Amount("0.00007", "USD")
        assert (fee.exact, fee.reason, fee.lower, fee.upper) == (
            False,
            "usd_priced",
            fee.amount.units,
            fee.amount.units,
        )

    def test_a_listed_price_in_neuron_bounds_the_fee_but_nobody_signs_it(self) -> None:
        fee = fee_of(service(MULTI), Usage(100, 10), Tariff(7, 11, listed=True))
        assert (fee.amount.units, fee.exact, fee.reason, fee.most) == (810, False, "listed_price", 810)

    def test_without_a_list_nothing_is_known(self) -> None:
        fee = fee_of(service(), Usage(100, 10))
        assert (fee.amount, fee.exact, fee.reason, fee.most) == (Amount(0, "USD"), False, "usd_priced", None)
        assert estimate(service(), {"messages": []}) is None

    def test_an_estimate_is_in_the_currency_of_the_list(self) -> None:
        most = estimate(service(), {"messages": [], "max_tokens": 10}, tariff=self.TARIFF)
        assert most is not None
        assert most == Amount(self.TARIFF.most(512 + 31, 10), "USD")


class TestOnTheNetwork:
    """A provider that lists USD prices, and settles them at four 0G for a dollar."""

    @pytest.fixture(scope="class")
    @classmethod
    def net(cls) -> Iterator[LocalNet]:
        with LocalNet(providers=[ProviderSpec(usd_prices=PRICES)]) as net:
            net.open_account(net.wallet, net.providers[0].address, og("2").units)
            yield net

    def client(self, net: LocalNet, **more: Any) -> ChatClient:
        """A client of its only provider."""
        return ChatClient(environ=net.env(), provider=net.providers[0].address, verify="require", **more)

    ASK = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}  # noqa: RUF012

    def test_the_receipt_has_the_fee_in_usd(self, net: LocalNet) -> None:
        with self.client(net) as client:
            receipt = client.create(self.ASK).receipt
        billed = net.providers[0].log[-1]
        assert receipt.usage is not None
        price = [int(Decimal(each) * DOLLAR) for each in PRICES]
        usd = receipt.usage.prompt_tokens * price[0] + receipt.usage.completion_tokens * price[1]
        assert receipt.fee.amount == Amount(usd, "USD")
        assert usd * 4 == billed.fee

    def test_a_budget_without_a_rate_refuses_it_and_sends_nothing(self, net: LocalNet) -> None:
        before = len(net.providers[0].log)
        with self.client(net, budget=Budget(per_run=og("1"))) as client, pytest.raises(ConfigError) as caught:
            client.create(self.ASK)
        assert caught.value.code == "budget_unpriced"
        assert "usd=og" in caught.value.hint
        assert len(net.providers[0].log) == before

    def test_a_rate_makes_it_count(self, net: LocalNet, tmp_path: Path) -> None:
        own = f"sqlite:///{tmp_path / 'store.db'}"  # the process's own store knows what other tests hold
        budget = Budget(per_run=og("1"), usd=og("4"), unpriced=og("0.001"))
        with self.client(net, budget=budget, store=own) as client:
            receipt = client.create(self.ASK).receipt
            assert client.spending is not None
            left = client.spending.left(client.backend.payer, receipt.provider)["per_run"]
        billed = net.providers[0].log[-1]
        assert left == Amount(og("1").units - billed.fee)
        assert client.spending.held() == []

    def test_a_listed_price_alone_is_no_bound(self, net: LocalNet) -> None:
        before = len(net.providers[0].log)
        budget = Budget(per_run=og("1"), usd=og("4"))
        with self.client(net, budget=budget) as client, pytest.raises(ConfigError) as caught:
            client.create(self.ASK)
        assert caught.value.code == "budget_unpriced"
        assert "unpriced=og" in caught.value.hint
        assert len(net.providers[0].log) == before

    def test_what_could_cost_more_than_is_left_is_not_sent(self, net: LocalNet) -> None:
        before = len(net.providers[0].log)
        budget = Budget(per_run=og("0.0001"), usd=og("4"), unpriced=og("0.00001"))
        with self.client(net, budget=budget) as client, pytest.raises(BudgetExceeded):
            client.create({**self.ASK, "max_tokens": 100_000})
        assert len(net.providers[0].log) == before

    def test_a_list_that_cannot_be_had_costs_no_call(self, net: LocalNet, monkeypatch: pytest.MonkeyPatch) -> None:
        async def nothing(self: Catalogue, service: ServiceRecord, model: str) -> None:
            return None

        monkeypatch.setattr(Catalogue, "tariff", nothing)
        with self.client(net) as client:
            fee = client.create(self.ASK).receipt.fee
        assert (fee.reason, fee.most) == ("usd_priced", None)

    def test_a_provider_that_is_not_there_lists_nothing(self) -> None:
        assert run(Catalogue(SyncTransport()).tariff(service(url="http://127.0.0.1:1"), "m")) is None
