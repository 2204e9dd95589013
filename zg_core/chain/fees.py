"""What a unit of gas is offered: what the node asks for, never above the caps of `Sending`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.chain.encoding import Fees
from zg_core.chain.failures import RpcFailure
from zg_core.chain.rpc import quantity
from zg_core.errors import ChainError
from zg_core.money import Amount

if TYPE_CHECKING:
    from zg_core.chain.rpc import Call
    from zg_core.chain.sending import Sending
    from zg_core.chain.words import Minimum

__all__ = ["PRICES", "Lid", "quoted"]

PRICES: list[Call] = [
    ("eth_getBlockByNumber", ["latest", False]),
    ("eth_gasPrice", []),
    ("eth_maxPriorityFeePerGas", []),
]
_GWEI = 10**9


def quoted(answers: list[Any]) -> tuple[Fees, int]:
    """Fees from the answers to `PRICES`, EIP-1559 where the block has a base fee, and the least that does for now."""
    block, price, tip = answers
    legacy = quantity(price, "eth_gasPrice")
    base = block.get("baseFeePerGas") if isinstance(block, dict) else None
    if base is None:
        return Fees(legacy), legacy
    floor = quantity(base, "baseFeePerGas")
    least = max(legacy - floor, 0)  # what the node's own price has above the base fee
    wanted = least if isinstance(tip, RpcFailure) else max(quantity(tip, "eth_maxPriorityFeePerGas"), least)
    wanted = wanted or _GWEI
    return Fees(2 * floor + wanted, wanted), floor + wanted


class Lid:
    """The most that a unit of gas may cost in one transaction.

    Args:
        sending: The caps.
        gas: Units of gas of the transaction, at most.

    Example:
        >>> from zg_core.chain.sending import Sending
        >>> from zg_core.money import og
        >>> lid = Lid(Sending(max_gas_cost=og("0.001")), 100_000)
        >>> lid.most
        10000000000
        >>> lid.on(Fees(30 * 10**9, 2 * 10**9), needed=9 * 10**9)
        Fees(cap=10000000000, tip=2000000000)
    """

    def __init__(self, sending: Sending, gas: int) -> None:
        self._sending = sending
        self._gas = gas
        self.most = min(sending.max_fee_per_gas.units, sending.max_gas_cost.units // max(gas, 1))

    def on(self, fees: Fees, needed: int) -> Fees:
        """`fees`, with less headroom where they are above the lid.

        Args:
            fees: What is to be offered.
            needed: The least that does for now: base fee and tip.

        Raises:
            ChainError: even that is above it (``gas_too_expensive``); nothing was sent.
        """
        if needed > self.most:
            cost, limit = Amount(needed * self._gas), self._sending.max_gas_cost
            by_price = needed > self._sending.max_fee_per_gas.units
            name, value = ("max_fee_per_gas", self._sending.max_fee_per_gas) if by_price else ("max_gas_cost", limit)
            raise ChainError(
                f"the node asks for {Amount(needed)} per unit of gas, {cost} in all; the cap {name} is {value}",
                code="gas_too_expensive",
                hint=f"wait, check the RPC endpoint, or allow more: Sending({name}=…), --max-gas",
                retryable=True,
                needed=needed,
                cost=cost,
            )
        return self.over(fees)

    def over(self, fees: Fees) -> Fees:
        """`fees`, cut off at the lid."""
        tip = None if fees.tip is None else min(fees.tip, self.most)
        return Fees(min(fees.cap, self.most), tip)

    def dearer(self, fees: Fees, percent: int, *, minimum: Minimum | None = None) -> Fees | None:
        """Higher by at least `percent`, and at least what a node named; None where the lid does not allow it."""
        wanted = fees.raised(percent)
        if minimum is not None:
            tip = None if wanted.tip is None else max(wanted.tip, minimum.tip)
            more = 0 if tip is None or fees.tip is None else tip - fees.tip
            wanted = Fees(max(wanted.cap, fees.cap + more, minimum.cap, minimum.tip), tip)
        under = self.over(wanted)
        if minimum is not None and (under.cap < minimum.cap or (under.tip or under.cap) < minimum.tip):
            return None
        return under if under.at_least(fees.raised(10)) == under else None
