"""Prices of gas: what a node asks for, the caps, and that a named minimum is followed under them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.chain.encoding import Fees
from zg_core.chain.failures import RpcFailure
from zg_core.chain.fees import Lid, quoted
from zg_core.chain.sending import Sending
from zg_core.chain.words import Minimum
from zg_core.errors import ChainError, ConfigError
from zg_core.money import neuron, og

GWEI = 10**9
BLOCK = {"baseFeePerGas": hex(5 * GWEI)}


class TestQuotes:
    def test_twice_the_base_fee_and_the_tip(self) -> None:
        assert quoted([BLOCK, hex(6 * GWEI), hex(2 * GWEI)]) == (Fees(12 * GWEI, 2 * GWEI), 7 * GWEI)

    def test_a_tip_no_less_than_the_nodes_own_price_has(self) -> None:
        assert quoted([BLOCK, hex(9 * GWEI), hex(2 * GWEI)])[0].tip == 4 * GWEI
        assert quoted([BLOCK, hex(9 * GWEI), RpcFailure(-32601, "no such method")])[0].tip == 4 * GWEI

    def test_a_chain_without_base_fees_has_one_price(self) -> None:
        for block in ({}, None, RpcFailure(-32000, "header not found")):
            assert quoted([block, hex(6 * GWEI), "0x1"]) == (Fees(6 * GWEI), 6 * GWEI)

    @pytest.mark.parametrize("junk", [None, "12", "0x" + "f" * 65, RpcFailure(-32000, "busy")])
    def test_no_price_is_junk(self, junk: Any) -> None:
        with pytest.raises(ChainError) as caught:
            quoted([BLOCK, junk, "0x1"])
        assert caught.value.code == "rpc_junk"


class TestCaps:
    @pytest.mark.parametrize(
        ("sending", "name"),
        [
            (Sending(max_fee_per_gas=neuron(9 * GWEI)), "max_fee_per_gas"),
            (Sending(max_gas_cost=neuron(9 * GWEI * 100_000)), "max_gas_cost"),
        ],
    )
    def test_what_is_needed_above_them_is_refused_by_name(self, sending: Sending, name: str) -> None:
        lid = Lid(sending, 100_000)
        assert lid.on(Fees(30 * GWEI, 2 * GWEI), 9 * GWEI) == Fees(9 * GWEI, 2 * GWEI)
        with pytest.raises(ChainError, match=f"the cap {name} is") as caught:
            lid.on(Fees(30 * GWEI, 2 * GWEI), 9 * GWEI + 1)
        assert caught.value.code == "gas_too_expensive"
        assert f"Sending({name}=…)" in caught.value.hint

    def test_a_tip_of_a_lying_node_is_refused(self) -> None:
        fees, needed = quoted([BLOCK, hex(17 * 10**14), hex(17 * 10**14)])
        with pytest.raises(ChainError, match="gas"):
            Lid(Sending(), 400_000).on(fees, needed)

    @given(
        base=st.integers(0, 10**15),
        tip=st.integers(0, 10**15),
        gas=st.integers(21_000, 10**7),
        percents=st.lists(st.integers(10, 300), max_size=6),
        tip_min=st.integers(0, 10**15),
        cap_min=st.integers(0, 10**15),
    )
    def test_no_form_ever_costs_more(
        self, base: int, tip: int, gas: int, percents: list[int], tip_min: int, cap_min: int
    ) -> None:
        sending = Sending(max_fee_per_gas=neuron(500 * GWEI), max_gas_cost=og("0.1"))
        lid = Lid(sending, gas)
        try:
            fees = lid.on(Fees(2 * base + tip, tip), base + tip)
        except ChainError:
            return
        for percent in percents:
            dearer = lid.dearer(fees, percent, minimum=Minimum(tip_min, cap_min))
            if dearer is None:
                break
            assert dearer.cap >= fees.cap * 11 // 10
            assert dearer.tip is not None
            assert dearer.tip >= tip_min
            assert dearer.cap >= dearer.tip
            fees = dearer
        assert fees.cap <= 500 * GWEI
        assert fees.cap * gas <= og("0.1").units

    def test_a_named_minimum_is_followed_and_above_the_cap_it_is_not(self) -> None:
        lid = Lid(Sending(max_fee_per_gas=neuron(10 * GWEI)), 21_000)
        assert lid.dearer(Fees(3 * GWEI, 1), 50, minimum=Minimum(tip=2 * GWEI)) == Fees(
            3 * GWEI + 2 * GWEI - 1, 2 * GWEI
        )
        assert lid.dearer(Fees(3 * GWEI, 1), 50, minimum=Minimum(tip=11 * GWEI)) is None
        assert lid.dearer(Fees(3 * GWEI), 50, minimum=Minimum(cap=8 * GWEI)) == Fees(8 * GWEI)
        assert lid.dearer(Fees(10 * GWEI), 50) is None


class TestSending:
    def test_has_caps_by_default(self) -> None:
        assert (Sending().max_gas_cost, Sending().confirmations) == (og("0.1"), 1)

    @pytest.mark.parametrize(
        "changes",
        [
            {"timeout": -1},
            {"timeout": float("inf")},
            {"timeout": 1e300},
            {"timeout": True},
            {"stuck_after": "30"},
            {"heal_after": float("nan")},
            {"raise_percent": 9},
            {"raise_percent": 20.0},
            {"gas_margin": -1},
            {"confirmations": 0},
            {"confirmations": True},
            {"max_fee_per_gas": 5},
            {"max_gas_cost": og("0")},
            {"max_gas_cost": None},
        ],
    )
    def test_what_makes_no_sense_is_refused(self, changes: dict[str, Any]) -> None:
        with pytest.raises(ConfigError) as caught:
            Sending(**changes)
        assert caught.value.code == "bad_sending"
        assert caught.value.hint
