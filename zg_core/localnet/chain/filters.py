"""Filters a client polls: new logs, new blocks, new transactions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from zg_core.localnet.base.encoding import hex_bytes
from zg_core.localnet.chain import format as rpc_format
from zg_core.localnet.chain.error import SERVER_ERROR, RpcError

if TYPE_CHECKING:
    from zg_core.localnet.chain.blocks import LogFilter
    from zg_core.localnet.chain.chain import Chain  # circle: `Chain.rpc` makes what answers for it

MAX_FILTERS: Final = 1_000
_Kind: TypeAlias = Literal["logs", "blocks", "transactions"]


@dataclass
class _Filter:
    kind: _Kind
    next_block: int
    reverts: int
    logs: LogFilter | None = None
    from_block: int = 0
    to_block: int | None = None
    seen: set[bytes] = field(default_factory=set)


class Filters:
    """All installed filters; beyond `MAX_FILTERS` the oldest is forgotten. Used under the chain's lock."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._filters: dict[int, _Filter] = {}
        self._count = 0

    def add_logs(self, logs: LogFilter, from_block: int | None, to_block: int | None) -> int:
        """Install a filter for events from a block on (default the next) and return its id."""
        start = self._chain.block_number + 1 if from_block is None else from_block
        return self._add("logs", next_block=start, logs=logs, from_block=start, to_block=to_block)

    def add_blocks(self) -> int:
        """Install a filter for block hashes and return its id."""
        return self._add("blocks")

    def add_transactions(self) -> int:
        """Install a filter for transaction hashes and return its id."""
        seen = {waiting.hash for waiting in self._chain.waiting()}
        return self._add("transactions", seen=seen)

    def _add(self, kind: _Kind, **options: Any) -> int:
        if len(self._filters) >= MAX_FILTERS:
            del self._filters[next(iter(self._filters))]
        self._count += 1
        options.setdefault("next_block", self._chain.block_number + 1)
        self._filters[self._count] = _Filter(kind, reverts=len(self._chain.reverts), **options)
        return self._count

    def remove(self, filter_id: int) -> bool:
        """Forget a filter; False if there was none."""
        return self._filters.pop(filter_id, None) is not None

    def _get(self, filter_id: int) -> _Filter:
        found = self._filters.get(filter_id)
        if found is None:
            raise RpcError(SERVER_ERROR, "filter not found")
        return found

    def changes(self, filter_id: int) -> list[Any]:
        """Return what is new since the last poll.

        Raises:
            RpcError: if there is no such filter.
        """
        found = self._get(filter_id)
        head = self._chain.block_number
        # After a revert to a snapshot the heights above it come again with other blocks.
        start = min([found.next_block, *(height + 1 for height in self._chain.reverts[found.reverts :])])
        found.reverts = len(self._chain.reverts)
        found.next_block = max(head + 1, found.from_block)
        if found.kind == "logs":
            return self._logs(found, max(start, found.from_block))
        blocks = [block for number in range(start, head + 1) if (block := self._chain.block(number)) is not None]
        if found.kind == "blocks":
            return [hex_bytes(block.hash) for block in blocks]
        waiting = [each.hash for each in self._chain.waiting()]
        mined = [each.receipt.tx_hash for block in blocks for each in block.transactions]
        new = [tx_hash for tx_hash in [*mined, *waiting] if tx_hash not in found.seen]
        found.seen = set(waiting)
        return [hex_bytes(tx_hash) for tx_hash in new]

    def logs(self, filter_id: int) -> list[Any]:
        """Return everything a log filter matches, seen before or not.

        Raises:
            RpcError: if there is no such filter of logs.
        """
        found = self._get(filter_id)
        if found.kind != "logs":
            raise RpcError(SERVER_ERROR, "filter not found")
        return self._logs(found, found.from_block)

    def _logs(self, found: _Filter, start: int) -> list[Any]:
        if found.logs is None:
            return []
        return [rpc_format.log(each) for each in self._chain.find_logs(found.logs, start, found.to_block)]
