"""What a user can ask for, how candidates are ranked, and what the explanation looks like."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core import ConfigError, Kind, ServiceRecord, neuron, og
from zg_core.backends.direct.services import DirectRoute
from zg_core.config import NETWORKS
from zg_core.crypto import checksum_address
from zg_core.routing.candidates import Candidate, Explanation, Standing, failover, ranked
from zg_core.routing.health import Measured
from zg_core.routing.routing import Routing

A, B, C = ("0x" + letter * 40 for letter in "123")
INFO = {
    "TeeML": "{}",
    "TeeML-separated": '{"TargetSeparated": true}',
    "TeeTLS": '{"ProviderType": "centralized"}',
    "standard": '{"ProviderType": "standard"}',
}


def offer(
    number: int = 1,
    *,
    price: int = 100,
    kind: str = "TeeML",
    doubted: bool = False,
    info: str | None = None,
    **known: Any,
) -> Standing:
    address = f"0x{number:040x}"
    record = ServiceRecord(
        address, "chatbot", "http://localhost", price, price, 0, "m", "TeeML", info or INFO[kind], "", True
    )
    service = DirectRoute.to(record, "m", NETWORKS["local"]).service
    return Standing(service, Measured(**{"calls": 10, **known}), doubted)


def order(offers: list[Standing], *arguments: Any, **named: Any) -> list[int]:
    return [int(one.service.provider, 16) for one in ranked(offers, *arguments, **named)]


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "names"),
        [
            ({"sort": "cheapest"}, "latency"),
            ({"max_price": "0.5"}, "og("),
            ({"max_price": 10**18}, "og("),
            ({"max_price": og("0")}, "og("),
            ({"max_price": neuron(-1)}, "og("),
            ({"kinds": []}, "leave kinds="),
            ({"kinds": ["TEE"]}, "TeeML-separated"),
            ({"kinds": "TeeML"}, "list"),
            ({"kinds": [3]}, "texts"),
            ({"require": {"tool"}}, "structured_output"),
            ({"require": "tools"}, "list"),
            ({"require": 1}, "list"),
            ({"allow": ["not me"]}, "addresses"),
            ({"allow": A}, "list"),
            ({"allow": []}, "leave allow="),
            ({"allow": [A], "deny": [A]}, "deny="),
            ({"deny": ["0x12"]}, "addresses"),
            ({"deny": None}, "list"),
            ({"sticky": ""}, "True, False"),
            ({"sticky": 1.5}, "True, False"),
        ],
    )
    def test_what_is_malformed_is_refused_with_a_hint(self, settings, names):
        with pytest.raises(ConfigError) as caught:
            Routing(**settings)
        assert caught.value.code == "bad_routing"
        assert names in caught.value.hint

    def test_addresses_are_compared_however_they_are_written(self):
        mixed = checksum_address("0x" + "ab" * 20)
        assert Routing(allow=[mixed]).allow == Routing(allow=[mixed.lower()]).allow
        with pytest.raises(ConfigError, match="mistyped"):
            Routing(allow=[mixed.swapcase().replace("X", "x")])
        with pytest.raises(ConfigError):
            Routing(allow=[mixed.lower()], deny=[mixed])

    def test_it_survives_plain_data_and_pickles_whole(self):
        full = Routing("latency", og("0.25"), ["TeeML", "TeeTLS"], {"tools"}, [A, B], {C}, sticky="talk")
        assert Routing.from_dict(full.to_dict()) == pickle.loads(pickle.dumps(full)) == full
        assert Routing.from_dict(Routing().to_dict()) == Routing()

    @pytest.mark.parametrize("plain", [{"sorted": "price"}, {"max_price": "a lot"}, {"max_price": []}, {"sort": "x"}])
    def test_plain_data_that_is_no_routing_is_refused(self, plain):
        with pytest.raises(ConfigError) as caught:
            Routing.from_dict(plain)
        assert caught.value.code == "bad_routing"


class TestOrder:
    def test_by_price_the_cheapest_is_first(self):
        assert order([offer(1, price=30), offer(2, price=10), offer(3, price=20)], "price") == [2, 3, 1]

    def test_prices_that_are_not_on_chain_come_last(self):
        foreign = offer(1, price=1, info='{"priceDenomination": "USD"}')
        many = offer(2, price=1, info='{"MultiModel": true}')
        assert order([foreign, many, offer(3, price=500)], "price") == [3, 1, 2]

    def test_a_price_is_that_of_the_dearest_tier(self):
        tiers = '{"tieredPricing": {"tiers": [{"maxInputTokens": 0, "inputMultiplier": 9, "outputMultiplier": 9}]}}'
        assert order([offer(1, price=10, info=tiers), offer(2, price=20)], "price") == [2, 1]

    def test_ties_go_to_the_stronger_kind_then_the_price_then_the_address(self):
        kinds = [offer(n, kind=kind) for n, kind in enumerate(("standard", "TeeTLS", "TeeML-separated", "TeeML"), 1)]
        assert order(kinds, "price") == [4, 3, 2, 1]
        same = {"stream_latency": 0.5}
        assert order([offer(1, price=20, **same), offer(3, price=10, **same), offer(2, price=10, **same)], "latency",
                     stream=True) == [2, 3, 1]  # fmt: skip

    def test_by_latency_the_fastest_of_the_same_sort_of_call_is_first(self):
        offers = [
            offer(1, stream_latency=0.9, whole_latency=1.0),
            offer(2, stream_latency=0.1, whole_latency=2.0),
        ]
        assert (order(offers, "latency", stream=True), order(offers, "latency")) == ([2, 1], [1, 2])

    def test_by_throughput_more_is_better(self):
        assert order([offer(1, throughput=10.0), offer(2, throughput=90.0)], "throughput") == [2, 1]

    def test_what_is_not_measured_is_tried_first(self):
        assert order([offer(1, whole_latency=0.001), offer(2)], "latency") == [2, 1]
        assert order([offer(1, throughput=1e9), offer(2)], "throughput") == [2, 1]

    def test_what_is_known_to_fail_comes_last_however_cheap(self):
        offers = [offer(1, price=1, failures=0.6), offer(2, price=2, doubted=True), offer(3, price=900, failures=0.4)]
        assert order(offers, "price") == [3, 1, 2]

    def test_one_failure_is_not_held_against_it_nor_many_when_it_is_due_to_be_tried_again(self):
        offers = [
            offer(1, price=1, failures=1.0, calls=1),
            offer(2, price=2, failures=1.0, state="half_open"),
            offer(3),
        ]
        assert order(offers, "price") == [1, 2, 3]

    def test_without_routing_the_kind_is_first_and_nothing_measured_counts(self):
        offers = [offer(1, price=1, kind="TeeTLS"), offer(2, price=9, failures=1.0), offer(3, price=5, doubted=True)]
        assert order(offers, None) == [3, 2, 1]

    @given(
        st.lists(
            st.builds(
                offer,
                st.integers(1, 50),
                price=st.integers(0, 20),
                kind=st.sampled_from(sorted(INFO)),
                doubted=st.booleans(),
                whole_latency=st.none() | st.floats(0, 5),
                throughput=st.none() | st.floats(0, 100),
                failures=st.none() | st.floats(0, 1),
            ),
            max_size=8,
            unique_by=lambda one: one.service.provider,
        ),
        st.sampled_from(["price", "latency", "throughput"]),
        st.randoms(),
    )
    def test_the_order_is_one_whatever_order_the_chain_lists_them_in(self, offers, sort, random):
        first = ranked(offers, sort)
        shuffled = list(offers)
        random.shuffle(shuffled)
        assert ranked(shuffled, sort) == first
        assert sorted(map(id, first)) == sorted(map(id, offers))
        sound = [one for one in first if not (one.doubted or one.measured.shaky)]
        assert first[: len(sound)] == sound
        if sort == "price":
            assert [one.price for one in sound] == sorted(one.price for one in sound)
        elif sort == "latency":
            latencies = [-1.0 if (known := one.latency(stream=False)) is None else known for one in sound]
            assert latencies == sorted(latencies)
        else:
            rates = [math.inf if one.measured.throughput is None else one.measured.throughput for one in sound]
            assert rates == sorted(rates, reverse=True)


class TestFailover:
    def numbers(self, offers: list[Standing], *arguments: Any, **named: Any) -> list[int]:
        return [int(one.service.provider, 16) for one in failover(offers, *arguments, **named)]

    def test_it_never_goes_to_a_weaker_kind_than_the_first_choice(self):
        offers = [offer(1, price=1, kind="TeeML-separated"), offer(2, price=2, kind="TeeTLS"), offer(3, price=3)]
        assert self.numbers(offers, "price") == [1, 3]

    def test_a_first_choice_that_fails_does_not_open_the_way_to_a_weaker_kind(self):
        offers = [offer(1, price=1, failures=1.0), offer(2, price=2, kind="TeeTLS"), offer(3, price=3)]
        assert self.numbers(offers, "price") == [3, 1]

    def test_a_conversation_stays_where_it_is_pinned(self):
        offers = [offer(1, price=1), offer(2, price=2), offer(3, price=3)]
        assert self.numbers(offers, "price", pinned=offers[2].service.provider) == [3, 1, 2]

    def test_but_not_at_a_provider_that_fails_nor_at_one_that_is_out(self):
        offers = [offer(1, price=1), offer(2, price=2), offer(3, price=3, failures=0.9)]
        assert self.numbers(offers, "price", pinned=offers[2].service.provider) == [1, 2, 3]
        assert self.numbers(offers, "price", pinned=C) == [1, 2, 3]

    def test_a_pinned_conversation_does_not_come_to_a_weaker_kind(self):
        offers = [offer(1, price=1, kind="TeeTLS"), offer(2, price=2, failures=1.0), offer(3, price=3)]
        assert self.numbers(offers, "price", pinned=offers[1].service.provider) == [3, 2]

    def test_of_nothing_comes_nothing(self):
        assert failover([], "price") == []

    @given(
        st.lists(
            st.builds(
                offer,
                st.integers(1, 50),
                price=st.integers(0, 20),
                kind=st.sampled_from(sorted(INFO)),
                doubted=st.booleans(),
                failures=st.none() | st.floats(0, 1),
            ),
            min_size=1,
            max_size=8,
            unique_by=lambda one: one.service.provider,
        )
    )
    def test_what_fails_changes_the_order_but_never_the_weakest_kind(self, offers):
        well = [Standing(one.service) for one in offers]
        floor = failover(well, "price")[0].strength
        order = failover(offers, "price")
        assert order
        assert {one.service.provider for one in order} == {
            one.service.provider for one in offers if one.strength >= floor
        }


TABLE = """\
4 services of 'm', by latency
   provider                                    kind    in / out (0G per million)  first byte  tokens/s  failed  why
1  0x0000000000000000000000000000000000000001  TeeML   0.1 / 0.1                  120 ms      35.1      0%      chosen: the lowest latency
2  0x0000000000000000000000000000000000000002  TeeML   0.2 / 0.2                  2000 ms     ?         25%     next: if the first fails before it answers
-  0x0000000000000000000000000000000000000003  TeeTLS  0.1 / 0.1                  ?           ?         ?       too_dear: more than 0.05 0G
-  0x0000000000000000000000000000000000000004  TeeML   0.1 / 0.1                  ?           ?         ?       no_account: run `zerog transfer`"""  # noqa: E501


def test_the_explanation_is_a_table():
    price = 100_000_000_000
    first = offer(1, price=price).service
    known = Measured(stream_latency=0.12, whole_latency=3.0, throughput=35.12, failures=0.0)
    explanation = Explanation(
        "m",
        "latency",
        (
            Candidate(first, "chosen", "the lowest latency", 1, known),
            Candidate(
                offer(2, price=2 * price).service,
                "next",
                "if the first fails before it answers",
                2,
                Measured(whole_latency=2.0, failures=0.25),
            ),
            Candidate(offer(3, price=price, kind="TeeTLS").service, "too_dear", "more than 0.05 0G"),
            Candidate(offer(4, price=price).service, "no_account", "run `zerog transfer`"),
        ),
    )
    assert str(explanation) == TABLE
    assert explanation.chosen is not None
    assert explanation.chosen.service is first
    assert [candidate.chosen for candidate in explanation] == [True, False, False, False]


def test_an_explanation_of_nothing_says_so():
    empty = Explanation("m", "price", ())
    assert (empty.chosen, len(empty), str(empty).splitlines()[0]) == (None, 0, "0 services of 'm', by price")


def test_kinds_are_kinds():
    assert Routing(kinds=["TeeTLS"]).kinds == {Kind.TEE_TLS}
