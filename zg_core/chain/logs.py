"""Event logs of a long range of blocks: read in pieces as large as the node allows, and believed only where they fit.

Nodes limit a query by blocks, by results or by time, each in its own words; some cut the answer without a word. So no
word is read: what is refused is asked again in halves, and an answer as large as the limits that are around is, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.chain.failures import RpcFailure
from zg_core.chain.rpc import data_of, quantity, rpc_junk
from zg_core.crypto import same_address
from zg_core.errors import ChainError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from zg_core.chain.rpc import JsonRpc

__all__ = ["Log", "first_block_of", "head_of", "read_logs"]

_CUT = 1_000  # the smallest number of logs at which answers are known to be cut without a word (blockscout#2353)
_TOGETHER = 8  # pieces in one batch
_FANOUT = 16  # blocks asked for at once in a search
_SHORT = 10_000  # blocks that every node gives at once: no search is worth it
_SLOW_BY = 16  # how much smaller pieces become for a node that gives up, rather than refuse
_TROUBLES = 5  # times in a row that it may
_HOPELESS = (-32601, -32004)  # the node has no such method
_PATIENCE = 6  # times in a row that a node may ask to slow down
_LONGEST_WAIT = 30.0


@dataclass(frozen=True, slots=True)
class Log:
    """One event.

    Attributes:
        block: Number of its block.
        index: Its place among the block's events.
        transaction: Hash of its transaction, 0x, lower case.
        topics: 0x, lower case.
        data: Its bytes.
    """

    block: int
    index: int
    transaction: str
    topics: tuple[str, ...]
    data: bytes


async def head_of(rpc: JsonRpc, tag: str = "latest") -> int:
    """The newest block, or the newest ``"safe"`` or ``"finalized"`` one.

    Raises:
        ChainError: the chain cannot be read.
    """
    if tag == "latest":
        return quantity((await rpc.batch([("eth_blockNumber", [])]))[0], "eth_blockNumber")
    (block,) = await rpc.batch([("eth_getBlockByNumber", [tag, False])])
    return quantity(block.get("number") if isinstance(block, dict) else block, f"the {tag} block")


async def first_block_of(rpc: JsonRpc, address: str, head: int) -> int:
    """The first block in which `address` had sent a transaction; `head` + 1 where it has sent none.

    A node that does not keep old states cannot tell: then 0.

    Raises:
        ChainError: the chain cannot be read.
    """
    if head <= _SHORT:
        return 0
    low, high = 0, head + 1  # before `low` it had sent none; in `high` it has
    while low < high:
        step = max(1, (high - low) // _FANOUT)
        blocks = list(range(low, high, step))
        answers = await rpc.batch([("eth_getTransactionCount", [address, hex(block)]) for block in blocks])
        counts = []
        for answer in answers:
            if isinstance(answer, RpcFailure):
                return 0
            counts.append(quantity(answer, "eth_getTransactionCount"))
        sent = next((number for number, count in enumerate(counts) if count), None)
        if sent is None:
            low = blocks[-1] + 1
        else:
            low, high = (blocks[sent - 1] + 1 if sent else low), blocks[sent]
    return low


async def read_logs(
    rpc: JsonRpc,
    sleep: Callable[[float], Awaitable[None]],
    *,
    address: str,
    topics: Sequence[Any],
    first: int,
    last: int,
    newest: bool = False,
    tell: Callable[[int, int], None] | None = None,
) -> list[Log]:
    """All events of a contract between two blocks, in their order.

    Args:
        rpc: The node.
        sleep: Waits, where the node asks to slow down.
        address: The contract.
        topics: As ``eth_getLogs`` takes them.
        first: The first block.
        last: The last one.
        newest: Whether `last` is the chain's head: one of several nodes may be behind it, and all know "latest".
        tell: Called with the block up to which is read, and the number of events so far.

    Raises:
        ChainError: the node refuses even a single block, or its answers are none.
    """
    reader = _Reader(rpc, sleep, address, list(topics), last if newest else None)
    found: dict[tuple[int, int], Log] = {}
    at, pace = first, _Pace(max(1, last - first + 1))
    while at <= last:
        starts = range(at, last + 1, pace.size)[:_TOGETHER]
        read = await reader.pieces([(start, min(start + pace.size - 1, last)) for start in starts])
        for log in read.logs:
            found[log.block, log.index] = log  # again, where a node shows what lies on the edge of two pieces twice
        at = read.next
        if read.refused is None:
            pace.went_on()
            if tell is not None and at <= last:
                tell(at - 1, len(found))
        elif pace.size == 1:
            raise read.refused
        else:
            pace.refused(read.by)
    return [found[place] for place in sorted(found)]


class _Pace:
    """How many blocks a piece has: fewer when it is refused, and now and then an attempt at more."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._grew = False
        self._streak = 0
        self._patience = 1  # batches of one size before the next attempt

    def went_on(self) -> None:
        if self._grew:
            self._patience = max(1, self._patience // 2)
        self._streak += 1
        self._grew = self._streak >= self._patience
        if self._grew:
            self._streak, self.size = 0, self.size * 2

    def refused(self, by: int) -> None:
        if self._grew:
            self._patience *= 2
        self._grew, self._streak, self.size = False, 0, max(1, self.size // by)


@dataclass(slots=True)
class _Read:
    logs: list[Log]
    next: int  # the first block that is not read
    refused: ChainError | None = None  # then pieces have to be smaller
    by: int = 2


class _Reader:
    def __init__(
        self,
        rpc: JsonRpc,
        sleep: Callable[[float], Awaitable[None]],
        address: str,
        topics: list[Any],
        head: int | None,
    ) -> None:
        self._rpc = rpc
        self._sleep = sleep
        self._address = address
        self._topics = topics
        self._head = head
        self._slow = self._troubles = 0

    async def pieces(self, pieces: list[tuple[int, int]]) -> _Read:
        """What the node gives of `pieces`, up to the first that it refuses."""
        try:
            answers = await self._ask(pieces)
        except ChainError as error:
            self._troubles += 1
            never_left = error.details.get("sent") is False
            if error.code not in ("rpc_unavailable", "rpc_junk") or never_left or self._troubles > _TROUBLES:
                raise
            return _Read([], pieces[0][0], error, _SLOW_BY)  # too much for the node, or for what stands before it
        self._troubles = 0
        logs: list[Log] = []
        for (first, last), answer in zip(pieces, answers, strict=True):
            if isinstance(answer, RpcFailure):
                refused = _refusal(answer.message)
                if answer.code in _HOPELESS:
                    raise refused
                return _Read(logs, first, refused)
            if not isinstance(answer, list):
                raise rpc_junk("eth_getLogs is no list")
            if len(answer) >= _CUT and first < last:
                return _Read(logs, first, _refusal("too much"))
            logs += [log for entry in answer if (log := self._log(entry, first, last)) is not None]
        return _Read(logs, pieces[-1][1] + 1)

    async def _ask(self, pieces: list[tuple[int, int]]) -> list[Any]:
        base = {"address": self._address, "topics": self._topics}
        ends = ["latest" if last == self._head else hex(last) for _, last in pieces]
        calls = [
            ("eth_getLogs", [{**base, "fromBlock": hex(first), "toBlock": end}])
            for (first, _), end in zip(pieces, ends, strict=True)
        ]
        while True:
            try:
                answers = await self._rpc.batch(calls)
            except ChainError as error:
                if error.code != "rpc_rate_limited" or self._slow >= _PATIENCE:
                    raise
                self._slow += 1
                wait = error.details.get("retry_after") or 0.5 * 2**self._slow
                await self._sleep(min(float(wait), _LONGEST_WAIT))
            else:
                self._slow = 0
                return answers

    def _log(self, entry: Any, first: int, last: int) -> Log | None:
        """One event; None where it was taken back, or nobody asked for it."""
        if not isinstance(entry, dict):
            raise rpc_junk("an event that is no object")
        if entry.get("removed") is True:
            return None
        topics = entry.get("topics")
        if not isinstance(topics, list) or not topics:
            raise rpc_junk("an event without topics")
        log = Log(
            quantity(entry.get("blockNumber"), "an event's block"),
            quantity(entry.get("logIndex"), "an event's index"),
            _hash(entry.get("transactionHash"), "an event's transaction"),
            tuple(_hash(topic, "an event's topic") for topic in topics),
            data_of(entry.get("data"), "an event's data"),
        )
        place = entry.get("address")
        within = first <= log.block and (log.block <= last or last == self._head)
        asked = within and isinstance(place, str) and same_address(place, self._address)
        return log if asked and _fits(log.topics, self._topics) else None


def _refusal(reason: str) -> ChainError:
    hint = "check ZEROG_RPC_URL (rpc_url=…), or try again"
    return ChainError(f"eth_getLogs answers {reason}", code="call_failed", hint=hint, retryable=True)


def _hash(value: Any, what: str) -> str:
    data = data_of(value, what)
    if len(data) != 32:
        raise rpc_junk(f"{what} is no hash")
    return "0x" + data.hex()


def _fits(topics: tuple[str, ...], wanted: list[Any]) -> bool:
    """Whether a filter lets an event through; nodes are known to ignore filters."""
    if len(topics) < len(wanted):
        return False
    for topic, each in zip(topics, wanted, strict=False):
        allowed = each if isinstance(each, list) else [each]
        if each is not None and topic not in [one.lower() for one in allowed]:
            return False
    return True
