"""Reading JSON-RPC parameters: whatever does not fit is -32602 with the position and the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from zg_core.localnet.base.encoding import checksum, to_address, to_bytes, to_number
from zg_core.localnet.chain.blocks import LogFilter
from zg_core.localnet.chain.error import INVALID_PARAMS, RpcError
from zg_core.localnet.chain.evm import BLOCK_GAS_LIMIT, Call

T = TypeVar("T")
_HEAD_TAGS: Final = frozenset({"latest", "safe", "finalized"})
_MAX_TOPICS: Final = 4


def read(position: int, reader: Callable[..., T], *args: Any, **options: Any) -> T:
    """Call a reader for the parameter at `position` and turn its ValueError into an RpcError.

    Raises:
        RpcError: -32602.
    """
    try:
        return reader(*args, **options)
    except ValueError as error:
        raise RpcError(INVALID_PARAMS, f"invalid argument {position}: {error}") from error


@dataclass(frozen=True)
class BlockTag:
    """Which block somebody means: a height, a hash, or neither for the latest (or the pending one)."""

    number: int | None = None
    hash: bytes | None = None
    pending: bool = False


def block_tag(value: Any) -> BlockTag:
    """Read a tag name, a height, or an EIP-1898 object; None means latest.

    Raises:
        ValueError: if it is none of these.
    """
    if value is None or (isinstance(value, str) and value in _HEAD_TAGS):
        return BlockTag()
    if value == "pending":
        return BlockTag(pending=True)
    if value == "earliest":
        return BlockTag(number=0)
    if isinstance(value, Mapping):
        if "blockHash" in value and "blockNumber" not in value:
            return BlockTag(hash=word(value["blockHash"], "blockHash"))
        if "blockNumber" in value and "blockHash" not in value:
            return block_tag(value["blockNumber"])
        raise ValueError("a block object needs either blockHash or blockNumber")
    return BlockTag(number=to_number(value, "block number or tag", maximum=2**63 - 1))


def word(value: Any, what: str = "hash") -> bytes:
    """Read exactly 32 bytes.

    Raises:
        ValueError: if it is anything else.
    """
    data = to_bytes(value, what)
    if len(data) != 32:
        raise ValueError(f"{what} must be 32 bytes, not {len(data)}")
    return data


def flag(value: Any, what: str) -> bool:
    """Read a JSON boolean.

    Raises:
        ValueError: if it is anything else.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{what} must be true or false, not {value!r}")  # noqa: TRY004 - bad input is one class
    return value


def call_object(value: Any, *, default_gas: int = BLOCK_GAS_LIMIT) -> Call:
    """Read the transaction object of eth_call, eth_estimateGas and eth_sendTransaction.

    Raises:
        ValueError: naming the field that does not fit.
    """
    if not isinstance(value, Mapping):
        raise ValueError("a transaction object is needed")  # noqa: TRY004 - bad input is one class
    data = value.get("input")
    if data is None:
        data = value.get("data")
    elif value.get("data") is not None and to_bytes(value["data"], "data") != to_bytes(data, "input"):
        raise ValueError('both "data" and "input" are set and not equal; "input" is the preferred one')
    price = value.get("gasPrice")
    if price is not None and (value.get("maxFeePerGas") or value.get("maxPriorityFeePerGas")):
        raise ValueError("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
    if price is None:
        price = value.get("maxFeePerGas")
    to, sender, gas = value.get("to"), value.get("from"), value.get("gas")
    return Call(
        sender=bytes(20) if sender is None else to_address(sender, "from"),
        to=None if to in (None, "", "0x") else to_address(to, "to"),
        data=b"" if data is None else to_bytes(data, "data"),
        value=to_number(value.get("value") or 0, "value"),
        gas=min(default_gas if gas is None else to_number(gas, "gas"), BLOCK_GAS_LIMIT),
        gas_price=to_number(price or 0, "gasPrice"),
    )


def log_filter(value: Any) -> LogFilter:
    """Read the address and topics of a filter object.

    Raises:
        ValueError: naming the part that does not fit.
    """
    if not isinstance(value, Mapping):
        raise ValueError("a filter object is needed")  # noqa: TRY004 - bad input is one class
    address, topics = value.get("address"), value.get("topics") or []
    addresses = None
    if address is not None:
        several = address if isinstance(address, (list, tuple)) else [address]
        # As with geth, an empty list asks for any address.
        addresses = frozenset(checksum(to_address(each)) for each in several) or None
    if not isinstance(topics, (list, tuple)) or len(topics) > _MAX_TOPICS:
        raise ValueError(f"topics must be a list of at most {_MAX_TOPICS}")
    return LogFilter(addresses, tuple(_alternatives(each) for each in topics))


def _alternatives(value: Any) -> frozenset[bytes] | None:
    if not isinstance(value, (list, tuple)):
        return None if value is None else frozenset({word(value, "topic")})
    if not value or None in value:
        return None
    return frozenset(word(each, "topic") for each in value)
