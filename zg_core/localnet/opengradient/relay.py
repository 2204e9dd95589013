"""Publication of hashes (opengradient §4.1): batches as a Merkle tree, single answers, and the store of their blobs."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.keys import keccak256
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.localnet.opengradient.places import RELAY, UPTO_PROXY, contract

if TYPE_CHECKING:
    from zg_core.localnet.chain.chain import Chain

_LEAF = ["bytes32", "bytes32", "bytes32", "bytes", "uint256"]
_KEY = next(iter(DEV_KEYS.values()))

Leaf = tuple[bytes, bytes, bytes, bytes, int]
"""Enclave, hash of the request, hash of the output, signature, time."""


class Relay:
    """Publishes on the registry's chain.

    Args:
        chain: That chain.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._lock = threading.Lock()
        self._waiting: list[Leaf] = []
        self.blobs: dict[str, bytes] = {}
        """What the store of blobs holds."""

    def add(self, leaf: Leaf) -> None:
        """Put an answer into the next batch."""
        with self._lock:
            self._waiting.append(leaf)

    def publish(self) -> str:
        """Publish the batch that waits; the hash of the transaction, "" if nothing waits."""
        with self._lock:
            leaves, self._waiting = self._waiting, []
        if not leaves:
            return ""
        root, dump = tree_of(leaves)
        blob = self._store(dump)
        data = contract("SettlementRelay").encode("batchSettle", root, len(leaves), blob.encode())
        return "0x" + self._chain.send(_KEY, to=RELAY, data=data).tx_hash.hex()

    def single(self, leaf: Leaf, request: Any, response: Any) -> tuple[str, str]:
        """Publish one answer with all that it says: the hash of the transaction and the name of the blob.

        The account beside it is the payment proxy's, not the payer's: so does production.
        """
        blob = self._store({"request": request, "response": response})
        tee, inward, outward, signature, time = leaf
        data = contract("SettlementRelay").encode(
            "settleIndividual", tee, inward, outward, time, UPTO_PROXY, blob.encode(), signature
        )
        return "0x" + self._chain.send(_KEY, to=RELAY, data=data).tx_hash.hex(), blob

    def _store(self, value: Any) -> str:
        data = json.dumps(value).encode()
        name = keccak256(data).hex()[:40]
        self.blobs[name] = data
        return name


def tree_of(leaves: list[Leaf]) -> tuple[bytes, dict[str, Any]]:
    """The root of OpenZeppelin's standard Merkle tree over these, and its dump."""
    from eth_abi.abi import encode

    hashed = sorted((keccak256(keccak256(encode(_LEAF, leaf))), number) for number, leaf in enumerate(leaves))
    count = len(leaves)
    nodes = [b""] * (2 * count - 1)
    places = {}
    for place, (leaf, number) in enumerate(hashed):
        nodes[len(nodes) - 1 - place] = leaf
        places[number] = len(nodes) - 1 - place
    for place in range(count - 2, -1, -1):
        nodes[place] = keccak256(b"".join(sorted((nodes[2 * place + 1], nodes[2 * place + 2]))))
    values = [
        {"value": [_shown(part) for part in leaf], "treeIndex": places[number]} for number, leaf in enumerate(leaves)
    ]
    dump = {
        "format": "standard-v1",
        "leafEncoding": _LEAF,
        "tree": ["0x" + node.hex() for node in nodes],
        "values": values,
    }
    return nodes[0], dump


def _shown(part: bytes | int) -> str:
    return str(part) if isinstance(part, int) else "0x" + part.hex()
