"""Where hashes of an answer were published (opengradient §4.1): the event, the blob, the leaf, all compared.

Nobody checks what is written there, so an event proves nothing alone: the tree is rebuilt from its leaves, and the leaf
has to hold the signature that the receipt holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.chain.failures import RpcFailure
from zg_core.chain.rpc import data_of, quantity
from zg_core.crypto import keccak256
from zg_core.errors import ChainError, RequestError, ZeroGError
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.chain.rpc import JsonRpc
    from zg_core.http.transport import Transport
    from zg_core.verify.schemes.rsa_pss import Signed

__all__ = ["Publication", "find", "included", "leaf_hash", "proof_of", "root_of"]

_BATCH = "0x" + keccak256(b"BatchSettlement(bytes32,uint256,bytes)").hex()
_SINGLE = "0x" + keccak256(b"IndividualSettlement(bytes32,address,bytes32,bytes32,uint256,bytes,bytes)").hex()
_LEAF = ("bytes32", "bytes32", "bytes32", "bytes", "uint256")
_SINGLE_DATA = ("bytes32", "bytes32", "uint256", "bytes", "bytes")
_MOST_BLOB = 16 * 1024 * 1024
_MOST_LEAVES = 10_000
_MOST_LOGS = 500
_TIMEOUTS = Timeouts(connect=10.0, read=30.0, whole=60.0)


@dataclass(frozen=True, slots=True)
class Publication:
    """What was found of an answer.

    Attributes:
        status: ``"published"``, ``"private"`` (nothing was asked to be), or ``"not_located"``, which is not "absent".
        mode: What was asked for.
        transaction: Hash of the transaction.
        block: Its block.
        root: Root of the batch's tree, "" for a single one.
        blob: Name of the blob that was published with it.
        reason: Why it was not located.
        proof: Of a batch: the hashes that lead from the answer's leaf to `root`, see `included`.
    """

    status: str
    mode: str
    transaction: str = ""
    block: int | None = None
    root: str = ""
    blob: str = ""
    reason: str = ""
    proof: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        found = {name: getattr(self, name) or None for name in self.__slots__}
        return {**found, "proof": list(self.proof)}


def leaf_hash(tee_id: str, signed: Signed) -> bytes:
    """The leaf of an answer in OpenZeppelin's standard tree."""
    from eth_abi.abi import encode

    parts = [bytes.fromhex(tee_id[2:]), signed.request_hash, signed.output_hash, signed.signature, signed.timestamp]
    return keccak256(keccak256(encode(_LEAF, parts)))


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaves in any order.

    Example:
        >>> root_of([bytes(32)]) == bytes(32)
        True
    """
    return _tree(leaves)[0] if leaves else b""


def proof_of(leaves: Sequence[bytes], leaf: bytes) -> list[bytes]:
    """The hashes that lead from `leaf`, one of `leaves`, to the root.

    Example:
        >>> proof_of([bytes(32), b"1" * 32], bytes(32)) == [b"1" * 32]
        True
    """
    nodes, found = _tree(leaves), []
    place = nodes.index(leaf, len(leaves) - 1)
    while place:
        found.append(nodes[place - 1 if place % 2 == 0 else place + 1])
        place = (place - 1) // 2
    return found


def included(leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` leads from `leaf` to `root`, as the contract's own check does.

    Example:
        >>> included(bytes(32), [], bytes(32))
        True
    """
    for other in proof:
        leaf = keccak256(b"".join(sorted((leaf, other))))
    return leaf == root


def _tree(leaves: Sequence[bytes]) -> list[bytes]:
    """The nodes of OpenZeppelin's standard tree, root first."""
    count = len(leaves)
    nodes = [b""] * (count - 1) + sorted(leaves, reverse=True)
    for place in range(count - 2, -1, -1):
        nodes[place] = keccak256(b"".join(sorted(nodes[2 * place + 1 : 2 * place + 3])))
    return nodes


async def find(
    rpc: JsonRpc, transport: Transport, *, mode: str, tee_id: str, signed: Signed, relay: str | None, blobs_url: str
) -> Publication:
    """Where an answer was published.

    Args:
        rpc: A node of the registry's chain.
        transport: For blobs.
        mode: What was asked for.
        tee_id: Who signed.
        signed: The answer's signature.
        relay: The contract; None for any that has such events.
        blobs_url: Where blobs are.

    Raises:
        ChainError: the chain cannot be read.
    """
    if mode == "private":
        return Publication("private", mode)
    topics: list[Any] = [_SINGLE, tee_id] if mode == "individual" else [_BATCH]
    first = await _block_before(rpc, signed.timestamp)
    wanted: dict[str, Any] = {"topics": topics, "fromBlock": hex(first), "toBlock": "latest"}
    if relay is not None:
        wanted["address"] = relay
    (logs,) = await _asked(rpc, ("eth_getLogs", [wanted]))
    reason, listed = "no event of this answer was found; a batch is published after minutes", logs
    if not isinstance(listed, list):
        listed = []
    if len(listed) > _MOST_LOGS:  # anybody can write such events
        reason = f"the first {_MOST_LOGS} events since the answer do not hold it, and there are more"
    for log in listed[:_MOST_LOGS]:
        if not isinstance(log, dict):
            continue
        try:
            if mode == "individual":
                found = _single(log, signed)
            else:
                found = await _batch(log, tee_id, signed, transport, blobs_url)
        except (ZeroGError, ValueError, BodyBroken) as error:
            reason = f"a blob could not be read: {error}"
            continue
        if found is not None:
            root, blob, proof = found
            place = quantity(log.get("blockNumber"), "eth_getLogs")
            where = str(log.get("transactionHash")), place, root, blob
            return Publication("published", mode, *where, proof=proof)
    return Publication("not_located", mode, reason=reason)


def _single(log: dict[str, Any], signed: Signed) -> tuple[str, str, tuple[str, ...]] | None:
    from eth_abi.abi import decode

    try:
        inward, outward, time, blob, signature = decode(_SINGLE_DATA, data_of(log.get("data"), "eth_getLogs"))
    except Exception as error:
        raise ValueError("the event cannot be read") from error
    own = (signed.request_hash, signed.output_hash, signed.timestamp, signed.signature)
    return ("", blob.decode("ascii", "replace"), ()) if (inward, outward, time, signature) == own else None


async def _batch(
    log: dict[str, Any], tee_id: str, signed: Signed, transport: Transport, blobs_url: str
) -> tuple[str, str, tuple[str, ...]] | None:
    from eth_abi.abi import decode

    topics = log.get("topics")
    root = str(topics[1]) if isinstance(topics, list) and len(topics) > 1 else ""
    try:
        _, name = decode(("uint256", "bytes"), data_of(log.get("data"), "eth_getLogs"))
    except Exception as error:
        raise ValueError("the event cannot be read") from error
    blob = name.decode("ascii", "replace")
    if not blob or not all(each.isalnum() or each in "-_" for each in blob):
        return None
    response = await transport.send(Request("GET", f"{blobs_url}/{blob}", timeouts=_TIMEOUTS, public=False))
    body = await read_all(response, _MOST_BLOB)
    if response.status != 200:
        raise RequestError(f"status {response.status} for blob {blob}", code="no_blob")
    leaves, own = _leaves(parse_json(body)), leaf_hash(tee_id, signed)
    if "0x" + root_of(leaves).hex() != root.lower():
        raise ValueError(f"blob {blob} is not the tree that was published")
    if own not in leaves:
        return None
    return root, blob, tuple("0x" + each.hex() for each in proof_of(leaves, own))


def _leaves(dump: Any) -> list[bytes]:
    from eth_abi.abi import encode

    values = dump.get("values") if isinstance(dump, dict) else None
    if not isinstance(values, list) or not 0 < len(values) <= _MOST_LEAVES:
        raise ValueError("the blob is no tree")
    found = []
    for each in values:
        parts = each.get("value") if isinstance(each, dict) else None
        if not isinstance(parts, list) or len(parts) != len(_LEAF):
            raise ValueError("a leaf is none")
        try:
            encoded = [bytes.fromhex(part.removeprefix("0x")) for part in parts[:4]]
            found.append(keccak256(keccak256(encode(_LEAF, [*encoded, int(parts[4])]))))
        except Exception as error:
            raise ValueError("a leaf is none") from error
    return found


async def _block_before(rpc: JsonRpc, moment: int) -> int:
    """A block that is not after `moment`, found by halving."""
    (head,) = await _asked(rpc, ("eth_blockNumber", []))
    low, high = 0, quantity(head, "eth_blockNumber")
    while high - low > 64:
        middle = (low + high) // 2
        (block,) = await _asked(rpc, ("eth_getBlockByNumber", [hex(middle), False]))
        time = quantity(block.get("timestamp") if isinstance(block, dict) else None, "eth_getBlockByNumber")
        low, high = (middle, high) if time < moment else (low, middle)
    return low


async def _asked(rpc: JsonRpc, *calls: tuple[str, list[Any]]) -> list[Any]:
    answers = await rpc.batch(list(calls))
    for (method, _), answer in zip(calls, answers, strict=True):
        if isinstance(answer, RpcFailure):
            hint = "choose another node (ZEROG_OPENGRADIENT_RPC_URL)"
            raise ChainError(f"the node refuses {method}: {answer.message}", code="rpc_refused", hint=hint)
    return answers
