"""Settlements of one user as the chain shows them: events, and the signer recovered from the provider's calldata.

A provider settles many calls at once; each item is signed by its TEE key over EIP-712 typed data (0g-direct §2.5), so
anyone can check from the transaction alone that the enclave, not just the operator, asked for this money.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from zg_core.chain.failures import RpcFailure
from zg_core.crypto import SignatureError, checksum_address, keccak256, recover, same_address
from zg_core.errors import ChainError
from zg_core.money import Amount

if TYPE_CHECKING:
    from zg_core.chain.rpc import JsonRpc
    from zg_core.config import Network

__all__ = ["Settlement", "SettlementStatus", "read_settlements", "settlement_digest"]

# Topics and the selector: 0g-abi "events", "functions".
RESULT_TOPIC = "0x1f69e5b87fd0ce34b3760ba6e5d8aa95a36e316c3ba44e1e65a9d0eb9e96d0bf"
BALANCE_TOPIC = "0x526824944047da5b81071fb6349412005c5da81380b336103fbe5dd34556c776"
SETTLE_SELECTOR = "0x8be74119"
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
    rpc: JsonRpc, network: Network, user: str, *, from_block: int = 0, to_block: int | str = "latest"
) -> list[Settlement]:
    """All settlement items of `user` between two blocks, oldest first.

    Raises:
        ChainError: the chain cannot be read, or its answers do not fit together.
    """
    filters = {
        "address": network.inference,
        "topics": [[RESULT_TOPIC, BALANCE_TOPIC], _topic(user)],
        "fromBlock": hex(from_block),
        "toBlock": hex(to_block) if isinstance(to_block, int) else to_block,
    }
    logs = _answer((await rpc.batch([("eth_getLogs", [filters])]))[0], "eth_getLogs")
    hashes = list(dict.fromkeys(log["transactionHash"] for log in logs if log["topics"][0] == RESULT_TOPIC))
    transactions = await rpc.batch([("eth_getTransactionByHash", [tx]) for tx in hashes]) if hashes else []
    found: list[Settlement] = []
    for tx, transaction in zip(hashes, transactions, strict=True):
        own = [log for log in logs if log["transactionHash"] == tx]
        found += _of_transaction(network, user, own, _answer(transaction, "eth_getTransactionByHash"))
    return found


def _of_transaction(
    network: Network, user: str, logs: list[dict[str, Any]], transaction: dict[str, Any]
) -> list[Settlement]:
    from eth_abi.abi import decode

    calldata = transaction["input"]
    if not calldata.startswith(SETTLE_SELECTOR):
        return []  # settled through another contract: the items cannot be read from this calldata
    (items,) = decode([_ITEMS], bytes.fromhex(calldata[10:]))
    mine = [item for item in items if same_address(item[0], user)]
    found: list[Settlement] = []
    balance: tuple[int, int] | None = None
    for log in logs:  # per item: BalanceUpdated if something was paid, then TEESettlementResult (0g-contracts A8)
        first, second = decode(["uint256", "uint256"], bytes.fromhex(log["data"][2:]))
        if log["topics"][0] == BALANCE_TOPIC:
            balance = (first, second)
            continue
        if len(found) >= len(mine):
            raise ChainError("a settlement has more results than items", code="rpc_junk", hint="check ZEROG_RPC_URL")
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
                transaction=transaction["hash"],
                block=int(log["blockNumber"], 16),
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


def _answer(value: Any, what: str) -> Any:
    if isinstance(value, RpcFailure) or value is None:
        reason = value.message if isinstance(value, RpcFailure) else "nothing"
        raise ChainError(f"{what} answers {reason}", code="call_failed", hint="check ZEROG_RPC_URL", retryable=True)
    return value
