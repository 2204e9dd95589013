"""How transactions are sent: how patiently, at what price at most, and when one counts as final."""

from __future__ import annotations

from dataclasses import dataclass, field

from zg_core.errors import ConfigError
from zg_core.http.timeouts import is_seconds
from zg_core.money import Amount, neuron, og

__all__ = ["Sending"]


@dataclass(frozen=True, slots=True)
class Sending:
    """How transactions are sent. Times in seconds.

    Attributes:
        timeout: How long to wait for a transaction to be mined.
        stuck_after: After how long without being mined it is replaced at a higher fee, as far as the caps allow.
        raise_percent: By how much; nodes ask for at least 10.
        gas_margin: Percent added to the gas estimate: the state may change until it is mined.
        heal_after: How long a gap before our nonce, or a transaction that the node does not know, is watched first.
        max_fee_per_gas: Most that one unit of gas may cost, tip included. What a node names above it is refused before
            anything is signed.
        max_gas_cost: Most that the gas of one transaction may cost.
        confirmations: In how many blocks, its own included, a transaction must lie before it counts as mined. One is
            usual on 0G; a block that is undone later takes with it what one confirmation has told.

    Raises:
        ConfigError: one of them is out of range (code ``bad_sending``).

    Example:
        >>> Sending(max_gas_cost=og("0.01"), confirmations=2).max_fee_per_gas
        Amount('0.0000005', '0G')
    """

    timeout: float = 180.0
    stuck_after: float = 30.0
    raise_percent: int = 20
    gas_margin: int = 25
    heal_after: float = 3.0
    # A first transfer to a provider takes 445,000 units (0g-contracts L4); at the 12·10^9 neuron each that 0G's own
    # scripts pay (0g-direct §1.1), it costs 0.005 0G.
    max_fee_per_gas: Amount = field(default_factory=lambda: neuron(500 * 10**9))
    max_gas_cost: Amount = field(default_factory=lambda: og("0.1"))
    confirmations: int = 1

    def __post_init__(self) -> None:
        for name in ("timeout", "stuck_after", "heal_after"):
            seconds = getattr(self, name)
            if not is_seconds(seconds):
                raise _bad(f"{name} must be a number of seconds, not {seconds!r}", f"for example {name}=30")
        for name, least in (("raise_percent", 10), ("gas_margin", 0), ("confirmations", 1)):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise _bad(f"{name} must be a whole number of at least {least}, not {number!r}", f"{name}={least}")
        for name in ("max_fee_per_gas", "max_gas_cost"):
            amount = getattr(self, name)
            if not isinstance(amount, Amount) or amount.currency != "0G" or amount.units <= 0:
                raise _bad(f"{name} is not a positive amount of 0G: {amount!r}", f'{name}=og("0.1")')


def _bad(message: str, hint: str) -> ConfigError:
    return ConfigError(message, code="bad_sending", hint=hint)
