"""Estimating gas the way geth does: one run with plenty, one with a close guess, then bisection."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.localnet.chain.evm import Call, Outcome

_CALL_STIPEND: Final = 2_300
# Bisecting further would cost a run of the EVM for less than 2.5 % or one call stipend.
_TOLERANCE: Final = 40


def estimate(call: Call, most: int, run: Callable[[Call], Outcome]) -> tuple[int, Outcome]:
    """Find a gas limit that is enough, and not much more.

    Gas used is not enough as a limit: refunds come only at the end, a nested call gets at most 63/64 of what
    is left, and a transfer needs a stipend in hand.

    Args:
        call: what to estimate; its own gas is ignored.
        most: the highest limit to try.
        run: runs a call.

    Returns:
        The limit, and the outcome of the run with `most`. If that failed the limit is `most`.

    Raises:
        ValueError: from `run`, if `most` does not even pay for starting.
    """
    first = run(replace(call, gas=most))
    if first.error is not None:
        return most, first
    if first.gas_used == call.intrinsic_gas and not first.gas_refund:
        return first.gas_used, first
    too_little = first.gas_used - 1
    enough = most
    guess = (first.gas_used + first.gas_refund + _CALL_STIPEND) * 64 // 63
    while enough - too_little > max(enough // _TOLERANCE, _CALL_STIPEND + 1):
        if not too_little < guess < enough:
            guess = (enough + too_little) // 2
        if guess >= call.intrinsic_gas and run(replace(call, gas=guess)).error is None:
            enough = guess
        else:
            too_little = guess
        # The answer is mostly near the bottom, so do not start in the middle of a wide range.
        guess = min((enough + too_little) // 2, too_little * 2)
    return enough, first
