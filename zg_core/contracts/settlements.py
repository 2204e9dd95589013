"""Settlements of one user as the chain shows them: events, and the signer recovered from the provider's calldata.

A provider settles many calls at once; each item is signed by its TEE key over EIP-712 typed data (0g-direct §2.5), so
anyone can check from the transaction alone that the enclave, not just the operator, asked for this money.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from zg_core.chain.failures import RpcFailure
from zg_core.chain.logs import first_block_of, head_of, read_logs
from zg_core.chain.rpc import data_of, rpc_junk
from zg_core.crypto import SignatureError, checksum_address, keccak256, recover, same_address
from zg_core.errors import ChainError
from zg_core.money import Amount
from zg_core.progress import tell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from zg_core.chain.logs import Log
    from zg_core.chain.rpc import JsonRpc
    from zg_core.config import Network
    from zg_core.progress import Listener

__all__ = ["Settlement", "SettlementStatus", "read_settlements", "settlement_digest"]

# Topics and the selector: 0g-abi "events", "functions".
RESULT_TOPIC = "0x1f69e5b87fd0ce34b3760ba6e5d8aa95a36e316c3ba44e1e65a9d0eb9e96d0bf"
BALANCE_TOPIC = "0x526824944047da5b81071fb6349412005c5da81380b336103fbe5dd34556c776"
SETTLE_SELECTOR = "8be74119"
_ITEMS = "(address,address,uint256,bytes32,uint256,bytes)[]"
_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_ITEM_TYPE = b"TEESettlement(bytes32 requestsHash,uint256 nonce,address provider,address user,uint256 totalFee)"


class SettlementStatus(IntEnum):
    """Outcome of one settlement item (0g-contracts C6)."""

    SUCCESS = 0
    PARTIAL = 1
    PROVIDER_MISMATCH = 2
    NO_TEE_SIGNER = 3
    INVALID_NONCE = 4
    INVALID_SIGNATURE = 5


_STATUSES = frozenset(SettlementStatus)


@dataclass(frozen=True, slots=True)
class Settlement:
    """One settlement item of one user.

    Attributes:
        transaction: Hash of the transaction, 0x.
        block: Its block number.
        provider: Who settled.
        user: Who pays.
        status: What the contract decided.
        total_fee: What the provider asked for.
        unsettled: What was not paid.
        nonce: The provider's settlement nonce.
        requests_hash: Hash over the provider's own records, 0x.
        signer: Address recovered from the EIP-712 signature, "" if it is none.
        balance: The sub-account's balance afterwards, None when nothing was paid.
        pending_refund: Its pending refunds afterwards, None when nothing was paid.
    """

    transaction: str
    block: int
    provider: str
    user: str
    status: SettlementStatus
    total_fee: Amount
    unsettled: Amount
    nonce: int
    requests_hash: str
    signer: str
    balance: Amount | None
    pending_refund: Amount | None

    @property
    def paid(self) -> Amount:
        """What went to the provider."""
        return self.total_fee - self.unsettled


def settlement_digest(
    network: Network, *, requests_hash: bytes, nonce: int, provider: str, user: str, total_fee: int
) -> bytes:
    """The EIP-712 digest that the TEE key signs (0g-direct §2.5, §12.3)."""
    from eth_abi.abi import encode

    name, version = keccak256(b"0G Inference Serving"), keccak256(b"1")
    domain = keccak256(
        encode(
            ["bytes32", "bytes32", "bytes32", "uint256", "address"],
            [keccak256(_DOMAIN_TYPE), name, version, network.chain_id, network.inference],
        )
    )
    item = keccak256(
        encode(
            ["bytes32", "bytes32", "uint256", "address", "address", "uint256"],
            [keccak256(_ITEM_TYPE), requests_hash, nonce, provider, user, total_fee],
        )
    )
    return keccak256(b"\x19\x01" + domain + item)


async def read_settlements(
    rpc: JsonRpc,
    network: Network,
    user: str,
    *,
    sleep: Callable[[float], Awaitable[None]],
    from_block: int | None = None,
    to_block: int | str = "latest",
    on_progress: Listener | None = None,
) -> list[Settlement]:
    """All settlement items of `user` between two blocks, oldest first, in pieces as large as the node allows.

    Args:
        rpc: The node.
        network: The chain and its contracts.
        user: Who pays.
        sleep: Waits, where the node asks to slow down.
        from_block: The first block; without it the first in which `user` had sent a transaction, as far as the node
            knows: before that it had no money at a provider.
        to_block: The last block.
        on_progress: Told how far it is (`reading_settlements`), where it takes more than one piece.

    Raises:
        ChainError: the chain cannot be read, or its answers do not fit together.
    """
    last = to_block if isinstance(to_block, int) else await head_of(rpc, to_block)
    first = await first_block_of(rpc, user, last) if from_block is None else from_block

    def progress(block: int, count: int) -> None:
        message = f"reading the settlements: block {block} of {last}"
        tell(on_progress, "reading_settlements", message, block=block, last=last, events=count)

    topics = [[RESULT_TOPIC, BALANCE_TOPIC], _topic(user)]
    logs = await read_logs(
        rpc,
        sleep,
        address=network.inference,
        topics=topics,
        first=first,
        last=last,
        newest=to_block == "latest",
        tell=progress,
    )
    by_transaction: dict[str, list[Log]] = {}
    for log in logs:
        by_transaction.setdefault(log.transaction, []).append(log)
    settled = {tx: own for tx, own in by_transaction.items() if any(log.topics[0] == RESULT_TOPIC for log in own)}
    transactions = await rpc.batch([("eth_getTransactionByHash", [tx]) for tx in settled])
    found: list[Settlement] = []
    for (tx, own), transaction in zip(settled.items(), transactions, strict=True):
        if not isinstance(transaction, dict) or str(transaction.get("hash")).lower() != tx:
            raise _unreadable(transaction)
        found += _of_transaction(network, user, own, data_of(transaction.get("input"), "a settlement's calldata"))
    return found


def _of_transaction(network: Network, user: str, logs: list[Log], calldata: bytes) -> list[Settlement]:
    if calldata[:4].hex() != SETTLE_SELECTOR:
        return []  # settled through another contract: the items cannot be read from this calldata
    (items,) = _decoded([_ITEMS], calldata[4:])
    mine = [item for item in items if same_address(item[0], user)]
    found: list[Settlement] = []
    balance: tuple[int, int] | None = None
    for log in logs:  # per item: BalanceUpdated if something was paid, then TEESettlementResult (0g-contracts A8)
        first, second = _decoded(["uint256", "uint256"], log.data)
        if log.topics[0] == BALANCE_TOPIC:
            balance = (first, second)
            continue
        if len(found) >= len(mine) or first not in _STATUSES:
            raise rpc_junk("a settlement has more results than items, or a status that is none")
        _, provider, total_fee, requests_hash, nonce, signature = mine[len(found)]
        digest = settlement_digest(
            network, requests_hash=requests_hash, nonce=nonce, provider=provider, user=user, total_fee=total_fee
        )
        try:
            signer = recover(digest, signature)
        except SignatureError:
            signer = ""
        found.append(
            Settlement(
                transaction=log.transaction,
                block=log.block,
                provider=checksum_address(provider),
                user=checksum_address(user),
                status=SettlementStatus(first),
                total_fee=Amount(total_fee),
                unsettled=Amount(second),
                nonce=nonce,
                requests_hash="0x" + requests_hash.hex(),
                signer=signer,
                balance=None if balance is None else Amount(balance[0]),
                pending_refund=None if balance is None else Amount(balance[1]),
            )
        )
        balance = None
    return found


def _topic(address: str) -> str:
    return "0x" + address[2:].lower().rjust(64, "0")


def _decoded(types: list[str], data: bytes) -> Any:
    """The values in `data`, which has to be all there."""
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    try:
        return decode(types, data)
    except (DecodingError, OverflowError, ValueError):
        raise rpc_junk("a settlement whose data is not whole") from None


def _unreadable(value: Any) -> ChainError:
    reason = value.message if isinstance(value, RpcFailure) else "nothing" if value is None else "another transaction"
    message = f"the transaction of a settlement cannot be read: the node answers {reason}"
    hint = "the node may not keep old transactions: use another one (rpc_url=…), or read newer blocks (from_block=…)"
    return ChainError(message, code="call_failed", hint=hint, retryable=True)
