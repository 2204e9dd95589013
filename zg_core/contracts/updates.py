"""What a provider's record said between two reads of it: every change is an event, with the prices from then on.

Two reads show the first and the last price only; an operator may have billed another in between (0g-contracts).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zg_core.chain.logs import head_of, read_logs
from zg_core.chain.rpc import rpc_junk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from zg_core.chain.rpc import JsonRpc
    from zg_core.config import Network

__all__ = ["Update", "read_updates"]

# ServiceUpdated: 0g-abi "events"; the provider is indexed.
TOPIC = "0x30ecc203691b2d18e17ee75d47caf34a3fb9f86e855f7e0414d3cec26d0c424b"
_TYPES = ("string", "string", "uint256", "uint256", "uint256", "string", "string")


@dataclass(frozen=True, slots=True)
class Update:
    """One change of a record.

    Attributes:
        at: When, in seconds since 1970.
        input_price: Neuron per input token from then on.
        output_price: Neuron per output token from then on.
    """

    at: int
    input_price: int
    output_price: int


async def read_updates(
    rpc: JsonRpc, network: Network, provider: str, first: int, *, sleep: Callable[[float], Awaitable[None]]
) -> list[Update]:
    """The changes of the provider's record from block `first` on, oldest first.

    Raises:
        ChainError: the chain cannot be read, or its answers do not fit together.
    """
    last = await head_of(rpc)
    if first > last:
        return []
    topics = [TOPIC, "0x" + provider[2:].lower().rjust(64, "0")]
    logs = await read_logs(rpc, sleep, address=network.inference, topics=topics, first=first, last=last, newest=True)
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    try:
        found = [decode(_TYPES, log.data) for log in logs]
    except (DecodingError, OverflowError) as error:
        raise rpc_junk(f"an event is no ServiceUpdated: {error}") from error
    return [Update(at, input_price, output_price) for _, _, input_price, output_price, at, _, _ in found]
