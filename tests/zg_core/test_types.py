"""Amounts in exact integers, and what a service's record on chain means, however it is written."""

from __future__ import annotations

import copy
import decimal
import json
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.errors import ConfigError
from zg_core.money import Amount, Fee, neuron, og
from zg_core.types import Kind, PriceTier, ServiceRecord, Usage

units = st.integers(-(10**40), 10**40)
currencies = st.sampled_from(["0G", "OPG", "USD"])


def service(info: object = None, **changes: Any) -> ServiceRecord:
    values: dict[str, Any] = {
        "provider": "0x" + "ab" * 20,
        "service_type": "chatbot",
        "url": "https://provider.example",
        "input_price": 1,
        "output_price": 2,
        "updated_at": 0,
        "model": "m",
        "verifiability": "TeeML",
        "additional_info": info if isinstance(info, str) else json.dumps(info or {}),
        "tee_signer": "0x" + "cd" * 20,
        "acknowledged": True,
    }
    return ServiceRecord(**values | changes)


class TestAmount:
    @given(units=units, currency=currencies)
    def test_its_text_is_read_back(self, units: int, currency: str) -> None:
        amount = Amount(units, currency)
        text, _, name = str(amount).partition(" ")
        assert name == currency
        assert Amount(text, currency) == amount
        assert eval(repr(amount)) == amount
        assert Fraction(text) == Fraction(units, 10**18)

    @given(left=units, right=units, currency=currencies)
    def test_arithmetic_is_exact(self, left: int, right: int, currency: str) -> None:
        one, two = Amount(left, currency), Amount(right, currency)
        assert (one + two).units == left + right
        assert (one - two).units == left - right
        assert (one < two, one <= two, one > two, one >= two) == (
            left < right,
            left <= right,
            left > right,
            left >= right,
        )
        assert (one == two) == (left == right)
        assert left != right or hash(one) == hash(two)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("1", 10**18),
            ("1.5", 15 * 10**17),
            ("0.000000000000000001", 1),
            ("-2.000000000000000001", -2 * 10**18 - 1),
            (" 3 ", 3 * 10**18),
            ("1e-18", 1),
            ("1E3", 10**21),
            ("0", 0),
            ("-0", 0),
            ("1.500000000000000000000000", 15 * 10**17),
            ("9" * 60, (10**60 - 1) * 10**18),
        ],
    )
    def test_reads_text_in_whole_units(self, text: str, expected: int) -> None:
        assert og(text).units == expected

    def test_does_not_depend_on_the_decimal_context(self) -> None:
        text = "123456789.123456789123456789"
        with decimal.localcontext() as context:
            context.prec = 3
            context.traps[decimal.InvalidOperation] = False
            assert og(text).units == 123456789123456789123456789
            with pytest.raises(ConfigError):
                og("not a number")

    @pytest.mark.parametrize("value", [1.5, 0.1, float("nan"), Decimal("1.5"), Fraction(1, 2), None, b"1", True, [1]])
    def test_anything_but_text_and_integers_is_refused(self, value: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            Amount(value, "0G")
        assert caught.value.code == "bad_amount"

    @pytest.mark.parametrize(
        "text",
        ["", " ", "abc", "1,5", "1.2.3", "0x10", "NaN", "inf", "-Infinity", "1e70", "1e-70", "--1", "1 0G", "9" * 5000],
    )
    def test_a_malformed_text_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match="not an amount"):
            og(text)

    def test_more_decimals_than_the_currency_has_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="more than 18 decimals"):
            og("0.0000000000000000015")

    def test_an_unknown_currency_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="0G, OPG or USD"):
            Amount(1, "ETH")

    @pytest.mark.parametrize("value", [1, 1.0, Decimal(1)])
    def test_og_takes_text_only(self, value: Any) -> None:
        with pytest.raises(ConfigError, match="neuron"):
            og(value)

    @pytest.mark.parametrize("value", ["1", 1.0, True])
    def test_neuron_takes_an_int_only(self, value: Any) -> None:
        with pytest.raises(ConfigError, match="neuron"):
            neuron(value)

    def test_currencies_do_not_mix(self) -> None:
        for mix in (Amount.__add__, Amount.__sub__, Amount.__lt__, Amount.__ge__):
            with pytest.raises(ConfigError, match="cannot mix"):
                mix(Amount(1, "0G"), Amount(1, "USD"))
        assert Amount(1, "0G") != Amount(1, "USD")

    @pytest.mark.parametrize("other", [1, 1.5, "1", None])
    def test_nor_do_amounts_and_numbers(self, other: Any) -> None:
        with pytest.raises(TypeError, match="mixes with another"):
            _ = neuron(1) < other
        with pytest.raises(TypeError):
            _ = neuron(1) + other
        assert neuron(1) != other

    @pytest.mark.parametrize("again", [lambda a: pickle.loads(pickle.dumps(a)), copy.copy, copy.deepcopy])
    def test_can_be_copied(self, again: Any) -> None:
        assert again(og("1.5")) == og("1.5")

    def test_does_not_change(self) -> None:
        with pytest.raises(AttributeError):
            og("1").units = 5  # type: ignore[misc]

    def test_knows_its_smallest_unit(self) -> None:
        assert [Amount(1, c).unit for c in ("0G", "OPG", "USD")] == ["neuron", "wei", "1e-18 USD"]


class TestKind:
    @pytest.mark.parametrize(
        ("verifiability", "info", "kind"),
        [
            ("TeeML", {}, Kind.TEE_ML),
            ("TeeML", "", Kind.TEE_ML),
            ("TeeML", {"TargetSeparated": False}, Kind.TEE_ML),
            ("TeeML", {"ProviderType": "decentralized"}, Kind.TEE_ML),
            ("TeeML", {"TargetSeparated": True}, Kind.TEE_ML_SEPARATED),
            ("TeeML", {"ProviderType": "centralized"}, Kind.TEE_TLS),
            ("TeeML", {"ProviderType": "centralized", "TargetSeparated": True}, Kind.TEE_TLS),
            ("TeeML", {"ProviderType": "standard"}, Kind.STANDARD),
            ("TeeML", {"ProviderType": "Centralized"}, Kind.STANDARD),
            ("TeeML", {"ProviderType": ["centralized"]}, Kind.STANDARD),
            ("TeeML", {"ProviderType": None}, Kind.STANDARD),
            ("TeeML", "not json", Kind.STANDARD),
            ("TeeML", '{"ProviderType": "centralized"', Kind.STANDARD),
            ("TeeML", "[1]", Kind.STANDARD),
            ("TeeML", "[" * 4000, Kind.STANDARD),
            ("teeml", {}, Kind.STANDARD),
            ("TeeTLS", {}, Kind.STANDARD),
            ("OpML", {}, Kind.STANDARD),
            ("standard", {}, Kind.STANDARD),
            ("", {}, Kind.STANDARD),
        ],
    )
    def test_is_derived_from_the_record_and_never_overstated(self, verifiability: str, info: Any, kind: Kind) -> None:
        assert service(info, verifiability=verifiability).kind is kind

    @pytest.mark.parametrize(
        ("kind", "prompt", "strength"),
        [
            (Kind.TEE_ML, "declared", 3),
            (Kind.TEE_ML_SEPARATED, "declared", 2),
            (Kind.TEE_TLS, "vendor", 1),
            (Kind.STANDARD, "open", 0),
        ],
    )
    def test_says_who_could_see_the_prompt(self, kind: Kind, prompt: str, strength: int) -> None:
        assert (kind.prompt, kind.strength) == (prompt, strength)


class TestService:
    def test_the_broker_signs_unless_the_model_enclave_is_separate(self) -> None:
        target = "0x" + "ef" * 20
        assert service({"TargetTeeAddress": target}).signer == "0x" + "cd" * 20
        assert service({"TargetTeeAddress": target, "ProviderType": "centralized"}).signer == "0x" + "cd" * 20
        assert service({"TargetTeeAddress": target, "TargetSeparated": True}).signer == target

    @pytest.mark.parametrize("target", [None, 5, "", "0x", "0x" + "0" * 40, ["0x" + "ef" * 20]])
    def test_a_separate_enclave_without_an_address_has_no_signer(self, target: Any) -> None:
        assert service({"TargetSeparated": True, "TargetTeeAddress": target}).signer == ""

    def test_the_zero_address_is_no_signer(self) -> None:
        assert service(tee_signer="0x" + "0" * 40).signer == ""

    def test_its_routes_lie_below_its_url(self) -> None:
        assert service().endpoint == "https://provider.example/v1/proxy"

    def test_flags(self) -> None:
        assert service({"priceDenomination": "USD", "MultiModel": True}).usd_priced
        assert service({"MultiModel": True}).multi_model
        assert not service().usd_priced
        assert not service().multi_model

    def test_tiers_are_exact_fractions(self) -> None:
        info = {
            "tieredPricing": {
                "tiers": [
                    {
                        "maxInputTokens": 1000,
                        "inputMultiplier": 3,
                        "inputMultiplierDenominator": 2,
                        "outputMultiplier": 2,
                    },
                    {"inputMultiplier": 2},
                ]
            }
        }
        assert service(info).tiers == (PriceTier(1000, (3, 2), (2, 1)), PriceTier(0, (2, 1), (1, 1)))

    @pytest.mark.parametrize(
        "entry",
        [
            None,
            [],
            "tier",
            {"maxInputTokens": "many"},
            {"maxInputTokens": None},
            {"maxInputTokens": 1.5},
            {"maxInputTokens": True},
            {"maxInputTokens": -1},
            {"inputMultiplier": 1.5},
            {"inputMultiplier": -2},
            {"outputMultiplier": "2"},
            {"outputMultiplierDenominator": -3},
            {"inputMultiplierDenominator": 0.5},
        ],
    )
    def test_a_malformed_tier_is_left_out(self, entry: Any) -> None:
        good = {"maxInputTokens": 5}
        assert service({"tieredPricing": {"tiers": [entry, good]}}).tiers == (PriceTier(5, (1, 1), (1, 1)),)

    def test_a_bound_beyond_all_numbers_is_left_out(self) -> None:
        assert service('{"tieredPricing": {"tiers": [{"maxInputTokens": 1e999}]}}').tiers == ()

    @pytest.mark.parametrize("block", [None, [], "x", {}, {"tiers": None}, {"tiers": {}}, {"tiers": "x"}])
    def test_a_malformed_block_is_no_tiers(self, block: Any) -> None:
        assert service({"tieredPricing": block}).tiers == ()

    @pytest.mark.parametrize(
        ("info", "divisor"),
        [
            ({}, 0),
            ({"cacheTokenBilling": {}}, 4),
            ({"cacheTokenBilling": {"divisor": 10}}, 10),
            ({"cacheTokenBilling": {"divisor": 0}}, 0),
            ({"cacheTokenBilling": {"divisor": -2}}, 0),
            ({"cacheTokenBilling": {"divisor": "4"}}, 0),
            ({"cacheTokenBilling": None}, 0),
        ],
    )
    def test_cached_tokens_have_a_divisor_where_it_is_advertised(self, info: Any, divisor: int) -> None:
        assert service(info).cache_divisor == divisor

    @given(info=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(["tieredPricing", "tiers", "maxInputTokens", "inputMultiplier", "cacheTokenBilling",
                             "divisor", "ProviderType", "TargetSeparated", "TargetTeeAddress", "MultiModel"]),
            inner, max_size=4), max_leaves=12))  # fmt: skip
    def test_no_record_on_chain_makes_it_fail(self, info: Any) -> None:
        record = service(json.dumps(info))
        assert record.kind in Kind
        assert isinstance(record.signer, str)
        assert record.cache_divisor >= 0
        assert all(t.input_multiplier[1] > 0 and t.output_multiplier[1] > 0 for t in record.tiers)

    def test_can_be_copied(self) -> None:
        record = service({"MultiModel": True})
        assert record.multi_model
        assert pickle.loads(pickle.dumps(record)) == copy.deepcopy(record) == record


class TestUsage:
    @pytest.mark.parametrize("count", [2**53 + 1, 10**30, 10**4200])
    def test_a_count_beyond_all_is_cut(self, count: int) -> None:
        assert Usage.parse({"prompt_tokens": count, "completion_tokens": 1}) == Usage(2**53, 1)

    @pytest.mark.parametrize(
        ("value", "usage"),
        [
            ({"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}, Usage(3, 5)),
            ({"prompt_tokens": 3}, Usage(3, 0)),
            ({"completion_tokens": 5}, Usage(0, 5)),
            (
                {
                    "prompt_tokens": 3,
                    "completion_tokens": 5,
                    "prompt_tokens_details": {"cached_tokens": 2},
                    "completion_tokens_details": {"reasoning_tokens": 4},
                },
                Usage(3, 5, 2, 4),
            ),
            ({"prompt_tokens": 3, "completion_tokens": 5, "prompt_tokens_details": None}, Usage(3, 5)),
            ({"prompt_tokens": 3, "completion_tokens": 5, "prompt_tokens_details": [1]}, Usage(3, 5)),
            ({"prompt_tokens": 3, "completion_tokens": -5}, Usage(3, 0)),
            ({"prompt_tokens": 3, "completion_tokens": 1.5}, Usage(3, 0)),
            ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
            ({"prompt_tokens": True, "completion_tokens": "5"}, None),
            ({}, None),
            (None, None),
            ([], None),
            ("usage", None),
        ],
    )
    def test_is_read_from_what_providers_send(self, value: Any, usage: Usage | None) -> None:
        assert Usage.parse(value) == usage

    def test_has_a_total(self) -> None:
        assert Usage(3, 5, 2, 4).total_tokens == 8


class TestFee:
    def test_is_plain_data_with_decimal_strings(self) -> None:
        exact = Fee(neuron(10**30), exact=True, lower=10**30, upper=10**30)
        assert exact.to_dict() == {"fee": str(10**30), "unit": "neuron", "currency": "0G", "exact": True}
        vague = Fee(neuron(5), exact=False, reason="no_usage", lower=1)
        assert vague.to_dict() == {
            "fee": "5",
            "unit": "neuron",
            "currency": "0G",
            "exact": False,
            "reason": "no_usage",
            "lower": "1",
            "upper": None,
        }
        assert json.loads(json.dumps(exact.to_dict())) == exact.to_dict()
