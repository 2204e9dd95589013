"""What a mined transaction did: its receipt read with care, its events, and what its contract's refusal means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from zg_core.chain.rpc import quantity
from zg_core.chain.traces import block_of
from zg_core.chain.words import Meaning, meaning
from zg_core.errors import ChainError, InsufficientFunds, TransactionReverted
from zg_core.money import Amount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zg_core.chain.failures import RpcFailure
    from zg_core.chain.flights import Flight
    from zg_core.chain.traces import Seen
    from zg_core.config import Network

__all__ = ["AnyContract", "Contracts", "Event", "TransactionResult", "refusal", "result_of", "status_of"]


class Event(Protocol):
    """An event of a contract."""

    @property
    def name(self) -> str:
        """Its Solidity name."""
        ...

    @property
    def arguments(self) -> dict[str, Any]:
        """Its arguments by name."""
        ...


class Contracts(Protocol):
    """What the contracts that are called mean by their events and refusals."""

    def events(self, logs: Sequence[Mapping[str, Any]]) -> tuple[Event, ...]:
        """The events among the logs of a receipt, in order.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: a log is none.
        """
        ...

    def reverted(self, data: str, what: str, **details: Any) -> ChainError:
        """The error for a call of `what` that reverted with `data`."""
        ...


class AnyContract:
    """A contract that nothing is known of."""

    def events(self, logs: Sequence[Mapping[str, Any]]) -> tuple[Event, ...]:  # noqa: ARG002 - of any contract
        """See `Contracts.events`: none is known."""
        return ()

    def reverted(self, data: str, what: str, **details: Any) -> ChainError:
        """See `Contracts.reverted`."""
        return TransactionReverted(f"{what} is refused by the contract", data=data, **details)


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """A transaction that is mined and did what it should.

    Attributes:
        hash: Transaction hash, 0x.
        block: Its block number.
        gas_used: Units of gas.
        fee: What the gas cost; never more than was signed for.
        nonce: The account's nonce that it used.
        events: Events of the serving contracts, in order.
        replaced: Hashes of other forms of it, oldest first.
    """

    hash: str
    block: int
    gas_used: int
    fee: Amount
    nonce: int
    events: tuple[Event, ...] = ()
    replaced: tuple[str, ...] = ()


def result_of(flight: Flight, seen: Seen, contracts: Contracts) -> TransactionResult | dict[str, Any]:
    """What the receipt of a mined transaction says; facts of it where it says that it was reverted.

    Raises:
        ChainError: it does not say whether it succeeded, or its logs are none (``rpc_junk``).
    """
    receipt = seen.receipt or {}
    block = block_of(receipt) or 0
    form = next(each for each in flight.handed.forms if each.hash == seen.hash)
    status = status_of(receipt)
    # A receipt cannot show more than was signed for.
    gas_used, price = _bounded(receipt.get("gasUsed"), form.gas), _bounded(_price(receipt), form.fees.cap)
    if status is None:
        raise ChainError(
            f"{flight.what} is mined ({seen.hash}, block {block}), but the RPC endpoint does not show whether it did "
            "what it should",
            code="rpc_junk",
            hint="look at what it should have changed; do not send it again",
            transaction=seen.hash,
            block=block,
        )
    if not status:
        flight.outcome = "reverted"
        return {"transaction": seen.hash, "block": block, "gas_used": gas_used}
    flight.outcome = "mined"
    try:
        events = contracts.events(receipt.get("logs") or ())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ChainError(
            f"{flight.what} was mined ({seen.hash}), but the RPC endpoint answers junk about it: {error}",
            code="rpc_junk",
            hint="check ZEROG_RPC_URL; do not send again",
            transaction=seen.hash,
        ) from error
    others = tuple(each for each in flight.handed.hashes if each != seen.hash)
    return TransactionResult(seen.hash, block, gas_used, Amount(gas_used * price), form.nonce, events, others)


def status_of(receipt: dict[str, Any]) -> bool | None:
    """Whether a receipt says that its transaction succeeded; None if it does not say."""
    value = receipt.get("status")
    try:
        number = int(value) if isinstance(value, int) else quantity(value, "a receipt")
    except ChainError:
        return None
    return {0: False, 1: True}.get(number)


def refusal(
    what: str, failure: RpcFailure, contracts: Contracts, payer: str, network: Network, **details: Any
) -> ChainError:
    """The error for a call that a node or a contract refuses."""
    if failure.data not in ("", "0x") or "revert" in failure.message.lower():
        return contracts.reverted(failure.data, what, **details)
    if meaning(failure) is Meaning.TOO_POOR:
        return InsufficientFunds(
            f"{what}: the wallet {payer} cannot pay for it ({failure.message})",
            code="wallet_too_small",
            hint=f"send 0G to {payer} on {network.name}",
            **details,
        )
    return ChainError(
        f"{what}: the node refuses: {failure.message}", code="node_refused", hint="check ZEROG_RPC_URL", **details
    )


def _price(receipt: dict[str, Any]) -> Any:
    return receipt.get("effectiveGasPrice")


def _bounded(value: Any, most: int) -> int:
    try:
        return min(quantity(value, "a receipt"), most)
    except ChainError:
        return most
