"""The fee against an independent computation, and when it may be called exact."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.localnet.provider.billing import Prices
from zg_core.localnet.provider.billing import Usage as BilledUsage
from zg_core.localnet.provider.settings import Tier
from zg_core.pricing import estimate, fee_of
from zg_core.types import ServiceRecord, Usage

counts = st.integers(0, 10**7)
prices = st.integers(0, 10**16)
tiers = st.lists(
    st.fixed_dictionaries(
        {
            "maxInputTokens": st.integers(0, 10**6),
            "inputMultiplier": st.integers(0, 9),
            "outputMultiplier": st.integers(0, 9),
        },
        optional={"inputMultiplierDenominator": st.integers(1, 9), "outputMultiplierDenominator": st.integers(1, 9)},
    ),
    max_size=4,
)  # fmt: skip


def service(info: dict[str, Any], input_price: int, output_price: int) -> ServiceRecord:
    provider = "0x" + "ab" * 20
    return ServiceRecord(
        provider, "chatbot", "https://p", input_price, output_price, 0, "m", "TeeML", json.dumps(info), provider, True
    )


def reference(info: dict[str, Any], prices: tuple[int, int], usage: Usage) -> int:
    """0g-direct §4.7 in fractions, rounded down where the provider's integers are."""
    fitting = [
        t
        for t in info["tieredPricing"]["tiers"]
        if not t["maxInputTokens"] or usage.prompt_tokens <= t["maxInputTokens"]
    ]
    tier = (fitting or info["tieredPricing"]["tiers"][-1:] or [{}])[0]

    def scaled(price: int, name: str) -> int:
        return math.floor(price * Fraction(tier.get(name, 1), tier.get(name + "Denominator", 1)))

    inward, outward = scaled(prices[0], "inputMultiplier"), scaled(prices[1], "outputMultiplier")
    cached, part = 0, 0
    if divisor := info.get("cacheTokenBilling", {}).get("divisor"):
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        part = math.floor(Fraction(inward * cached, divisor))
    return inward * (usage.prompt_tokens - cached) + part + outward * usage.completion_tokens  # fmt: skip


@given(
    tiers=tiers,
    divisor=st.none() | st.integers(1, 20),
    input_price=prices,
    output_price=prices,
    prompt=counts,
    completion=counts,
    cached=counts,
)
def test_the_fee_equals_the_providers_integer_arithmetic(
    tiers: list[dict[str, int]],
    divisor: int | None,
    input_price: int,
    output_price: int,
    prompt: int,
    completion: int,
    cached: int,
) -> None:
    info: dict[str, Any] = {"tieredPricing": {"tiers": tiers}}
    if divisor:
        info["cacheTokenBilling"] = {"divisor": divisor}
    usage = Usage(prompt, completion, cached)
    fee = fee_of(service(info, input_price, output_price), usage)
    expected = reference(info, (input_price, output_price), usage)
    assert fee.amount.units == fee.lower == fee.upper == expected
    assert (fee.exact, fee.reason, fee.amount.currency) == (True, "", "0G")


TIERED = {
    "tieredPricing": {
        "tiers": [
            {"maxInputTokens": 100, "inputMultiplier": 1, "outputMultiplier": 1},
            {"maxInputTokens": 200, "inputMultiplier": 3, "inputMultiplierDenominator": 2, "outputMultiplier": 2},
        ]
    }
}


@pytest.mark.parametrize(
    ("info", "usage", "units"),
    [
        ({}, Usage(10, 2), 10 * 7 + 2 * 11),
        ({}, Usage(10, 2, cached_tokens=8), 10 * 7 + 2 * 11),
        ({"cacheTokenBilling": {}}, Usage(10, 2, cached_tokens=5), 7 * 5 + 7 * 5 // 4 + 2 * 11),
        ({"cacheTokenBilling": {"divisor": 2}}, Usage(10, 0, cached_tokens=99), 7 * 10 // 2),
        (TIERED, Usage(100, 1), 700 + 11),
        (TIERED, Usage(101, 1), 101 * (7 * 3 // 2) + 22),
        (TIERED, Usage(5000, 1), 5000 * (7 * 3 // 2) + 22),
    ],
)
def test_worked_examples(info: dict[str, Any], usage: Usage, units: int) -> None:
    assert fee_of(service(info, 7, 11), usage).amount.units == units


@pytest.mark.parametrize(
    ("info", "usage", "reason"),
    [
        ({}, None, "no_usage"),
        ({"priceDenomination": "USD"}, Usage(1, 1), "usd_priced"),
        ({"MultiModel": True}, Usage(1, 1), "multi_model"),
        ({"MultiModel": True, "priceDenomination": "USD"}, None, "no_usage"),
    ],
)
def test_a_fee_that_cannot_be_known_is_not_called_exact(info: dict[str, Any], usage: Usage | None, reason: str) -> None:
    fee = fee_of(service(info, 7, 11), usage)
    assert (fee.exact, fee.reason, fee.lower, fee.upper) == (False, reason, 0, None)


def test_all_that_the_smallest_and_the_largest_numbers_need_is_an_int() -> None:
    fee = fee_of(service({}, 2**255, 2**255), Usage(2**63, 2**63))
    assert fee.amount.units == 2**255 * 2**64


@given(
    entries=tiers,
    divisor=st.none() | st.integers(1, 20),
    input_price=prices,
    output_price=prices,
    prompt=st.integers(0, 1000),
    completion=st.integers(0, 50),
    cached=st.integers(0, 1000),
    text=st.text(max_size=50),
)
def test_the_local_provider_bills_what_we_compute_and_never_more_than_the_estimate(
    entries: list[dict[str, int]],
    divisor: int | None,
    input_price: int,
    output_price: int,
    prompt: int,
    completion: int,
    cached: int,
    text: str,
) -> None:
    info: dict[str, Any] = {"tieredPricing": {"tiers": entries}}
    if divisor:
        info["cacheTokenBilling"] = {"divisor": divisor}
    payload = {"messages": [{"role": "user", "content": text}], "max_tokens": 50}
    prompt = min(prompt, len(json.dumps(payload, ensure_ascii=False).encode()))
    cached = min(cached, prompt)
    billed = Prices(
        input_price,
        output_price,
        tuple(
            Tier(
                max_input_tokens=t["maxInputTokens"],
                input_multiplier=t["inputMultiplier"],
                output_multiplier=t["outputMultiplier"],
                input_multiplier_denominator=t.get("inputMultiplierDenominator", 1),
                output_multiplier_denominator=t.get("outputMultiplierDenominator", 1),
            )
            for t in entries
        ),
        divisor,
    ).fee(BilledUsage(prompt, completion, cached))
    here = service(info, input_price, output_price)
    assert fee_of(here, Usage(prompt, completion, cached)).amount.units == sum(billed)
    most = estimate(here, payload)
    assert most is not None
    assert sum(billed) <= most.units


@pytest.mark.parametrize(
    ("payload", "tokens"),
    [
        ({"max_tokens": 7}, 7),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"messages": []}, 1000),
        ({"messages": [], "n": 2}, 2000),
        ({"max_tokens": True, "n": -1}, 1000),
        ({"input": ["text"]}, 0),
    ],
)
def test_the_estimate_takes_the_longest_answer(payload: dict[str, Any], tokens: int) -> None:
    most = estimate(service({}, 0, 1), payload, completion_tokens=1000)
    assert most is not None
    assert most.units == tokens


@pytest.mark.parametrize("info", [{"priceDenomination": "USD"}, {"MultiModel": True}])
def test_prices_that_are_not_on_chain_have_no_estimate(info: dict[str, Any]) -> None:
    assert estimate(service(info, 1, 1), {"max_tokens": 1}) is None


def test_tokens_written_to_the_cache_make_a_range_of_the_fee() -> None:
    info = {"cacheTokenBilling": {"divisor": 4, "writeMultiplier": 5, "writeMultiplierDenominator": 4}}
    fee = fee_of(service(info, 8, 1), Usage(10, 2, cached_tokens=4))
    assert (fee.exact, fee.reason) == (False, "cache_write")
    assert (fee.lower, fee.upper) == (8 * 6 + 8 + 2, 8 * 6 * 5 // 4 + 8 + 2)
