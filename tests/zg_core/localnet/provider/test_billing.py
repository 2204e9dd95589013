"""Fees to the neuron, and the book."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.localnet.provider.billing import BillingEntry, BillingLog, Prices, Usage
from zg_core.localnet.provider.settings import Tier

TIERS = (Tier(1000), Tier(4000, 3, 3, 2, 4), Tier(0, 2, 5))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, Usage(3, 4)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}}, Usage(3, 4, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(3, 4, 3)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": None}, Usage(3, 4)),
        ({"prompt_tokens": 5, "total_tokens": 5}, Usage(5, 0)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
        ({"prompt_tokens": -1, "completion_tokens": 2}, Usage(0, 2)),
        ({}, None),
        (None, None),
        ("x", None),
    ],
)
def test_usage_is_read_as_the_provider_reads_it(usage, expected):
    assert Usage.from_json(usage) == expected


def test_a_flat_fee_is_tokens_times_price():
    assert Prices(7, 11).fee(Usage(100, 10)) == (700, 110)


def test_cached_tokens_cost_a_fraction_rounded_down():
    # 10 full and 3 cached tokens at price 7, divisor 4: 70 + 21 // 4
    assert Prices(7, 11, cache_divisor=4).fee(Usage(13, 0, 3)) == (75, 0)
    assert Prices(7, 11, cache_divisor=None).fee(Usage(13, 0, 3)) == (91, 0)


@pytest.mark.parametrize(
    ("tokens", "prices"),
    [
        (1, (101, 103)),
        (1000, (101, 103)),
        (1001, (151, 77)),
        (4000, (151, 77)),
        (4001, (202, 515)),
        (10**9, (202, 515)),
    ],
)
def test_tiers_multiply_then_divide_rounding_down(tokens, prices):
    assert Prices(101, 103, TIERS).at(tokens) == prices


def test_beyond_all_bounded_tiers_the_last_one_applies():
    assert Prices(10, 10, (Tier(5), Tier(10, 3, 3))).at(11) == (30, 30)


def test_without_usage_the_words_are_billed_as_output():
    assert Prices(7, 11).estimate("four words are here") == (0, 44)
    assert Prices(7, 11).estimate("") == (0, 0)


@given(
    st.integers(0, 10**18),
    st.integers(0, 10**18),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(1, 10),
)
def test_cached_tokens_never_cost_more_and_the_price_is_monotone(
    input_price, output_price, prompt, completion, cached, divisor
):
    prices = Prices(input_price, output_price, cache_divisor=divisor)
    full, _ = prices.fee(Usage(prompt, completion))
    reduced, output = prices.fee(Usage(prompt, completion, min(cached, prompt)))
    assert 0 <= reduced <= full == input_price * prompt
    assert output == output_price * completion


def entry(user="0xA", fee=10, time=100.0, number=0, **changes):
    return BillingEntry(
        user=user,
        chat_id="c",
        model="m",
        usage=None,
        input_fee=0,
        output_fee=fee,
        request_sha256="",
        response_sha256="",
        time=time,
        request_id=f"{user}{number}",
        **changes,
    )


def test_the_book_adds_up_by_user():
    log = BillingLog()
    log.add(entry())
    log.add(entry(fee=5))
    log.add(entry("0xB", 3))
    assert (log.unsettled("0xA"), log.unsettled("0xB"), log.unsettled("0xC")) == (15, 3, 0)


def test_only_unpaid_old_entries_are_due():
    log = BillingLog()
    log.add(entry(number=1, time=100.0))
    log.add(entry(number=2, time=200.0))
    log.add(entry(number=3, time=100.0, fee=0))
    assert {user: [e.request_id for e in due] for user, due in log.due(not_after=150).items()} == {"0xA": ["0xA1"]}


def test_a_settlement_marks_exactly_its_requests():
    log = BillingLog()
    for number in range(3):
        log.add(entry(number=number))
    log.settle({"0xA": (["0xA0", "0xA2"], 20)}, "0xtx")
    assert [(e.settled, e.settled_tx) for e in log.entries()] == [(10, "0xtx"), (0, None), (10, "0xtx")]
    assert log.unsettled("0xA") == 10


def test_a_partial_settlement_pays_the_oldest_first():
    log = BillingLog()
    for number in range(3):
        log.add(entry(number=number))
    log.settle({"0xA": (["0xA0", "0xA1", "0xA2"], 14)}, "0x1")
    assert [e.settled for e in log.entries()] == [10, 4, 0]
    assert log.unsettled("0xA") == 16
    log.settle({"0xA": (["0xA1", "0xA2"], 16)}, "0x2")
    assert [(e.settled, e.settled_tx) for e in log.entries()] == [(10, "0x1"), (10, "0x2"), (10, "0x2")]


def test_a_saved_book_comes_back_with_its_sums():
    log = BillingLog()
    log.add(entry(number=1))
    saved = log.save()
    log.add(entry(number=2))
    log.settle({"0xA": (["0xA1"], 10)}, "0xtx")
    log.restore(saved)
    assert [e.request_id for e in log.entries()] == ["0xA1"]
    assert log.unsettled("0xA") == 10
