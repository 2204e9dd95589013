"""The chain of a local network: blocks, accounts, time and snapshots around a real EVM."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from zg_core.localnet.base.clock import Clock
from zg_core.localnet.base.encoding import checksum, hex_bytes, to_address, to_bytes, to_number
from zg_core.localnet.chain.blocks import Block, LogFilter, prevrandao_of, seal
from zg_core.localnet.chain.devaccounts import DEV_BALANCE, DEV_KEYS
from zg_core.localnet.chain.evm import (
    BASE_FEE,
    BLOCK_GAS_LIMIT,
    PRIORITY_FEE,
    REVERTED,
    BlockContext,
    Call,
    Outcome,
    World,
)
from zg_core.localnet.chain.gas import estimate
from zg_core.localnet.chain.pool import Pool, Waiting, decode
from zg_core.localnet.chain.revert_reason import explain
from zg_core.localnet.chain.transactions import sign

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zg_core.localnet.chain.blocks import Log, Mined, TxReceipt
    from zg_core.localnet.chain.methods import Methods

logger = logging.getLogger(__name__)

DEFAULT_GAS: Final = 10_000_000
_MAX_TIME: Final = 2**40


class Reverted(Exception):
    """Code refused to run to its end.

    Attributes:
        data: what the contract returned with REVERT; empty if it gave no reason or failed otherwise.
        error: "execution reverted", or geth's words for another failure such as "out of gas".
        receipt: the receipt, if this was a mined transaction.
    """

    def __init__(self, data: bytes, error: str = REVERTED, receipt: TxReceipt | None = None) -> None:
        self.data = data
        self.error = error
        self.receipt = receipt
        super().__init__(explain(error, data) + (f" (data {hex_bytes(data)})" if data else ""))


@dataclass(frozen=True)
class _Snapshot:
    root: bytes
    height: int
    pool: list[Waiting]
    forced_timestamp: int | None


class Chain:
    """An Ethereum chain in this process: real EVM (Cancun rules), one block for each transaction.

    Every method may be called from any thread. Blocks mined within one second carry the same timestamp, so
    chain time never runs ahead of the clock. The base fee is constant: 10⁹ neuron per gas.
    """

    def __init__(
        self, *, chain_id: int = 31337, clock: Clock | None = None, genesis: Mapping[str, Any] | None = None
    ) -> None:
        """Make a chain with a genesis block.

        Args:
            chain_id: what transactions must be signed for.
            clock: where time comes from; a new one by default.
            genesis: the accounts it starts with: {"0xaddress": {"balance": "0x…", "nonce": "0x…",
                "code": "0x…", "storage": {"0xslot": "0xvalue"}}}. None takes the packaged one with the
                serving contracts; an empty mapping only the ten development accounts.

        Raises:
            ValueError: naming what cannot be used in `chain_id` or `genesis`.
        """
        if isinstance(chain_id, bool) or not isinstance(chain_id, int) or not 0 < chain_id < 2**63:
            raise ValueError(f"chain_id must be a positive number below 2**63, not {chain_id!r}")
        self._lock = threading.RLock()
        self._chain_id = chain_id
        self._clock = clock if clock is not None else Clock()
        self._world = World(chain_id)
        self._world.load(_genesis_accounts(genesis))
        self._pool = Pool()
        self._automine = True
        self._forced_timestamp: int | None = None
        self._snapshots: dict[int, _Snapshot] = {}
        self._snapshot_count = 0
        self._reverts: list[int] = []
        self._tx_index: dict[bytes, tuple[int, int]] = {}
        self._methods: Methods | None = None
        first = BlockContext(0, int(self._clock.now()), prevrandao_of(0), ())
        self._blocks = [seal(first, bytes(32), self._world.root, ())]

    def __repr__(self) -> str:
        return f"Chain(chain_id={self._chain_id}, block_number={self.block_number})"

    # ---- what it is and where it stands ----

    @property
    def clock(self) -> Clock:
        """The clock it shares with the providers of its network."""
        return self._clock

    @property
    def chain_id(self) -> int:
        """What transactions must be signed for."""
        return self._chain_id

    @property
    def lock(self) -> threading.RLock:
        """The one re-entrant lock; hold it to make several calls in one go."""
        return self._lock

    @property
    def head(self) -> Block:
        """The latest block."""
        return self._blocks[-1]

    @property
    def block_number(self) -> int:
        """Height of the latest block."""
        return self.head.number

    @property
    def timestamp(self) -> int:
        """Unix seconds of the latest block."""
        return self.head.timestamp

    @property
    def next_timestamp(self) -> int:
        """Unix seconds a block mined now would have."""
        with self._lock:
            return self._next_timestamp()

    @property
    def gas_price(self) -> int:
        """What `eth_gasPrice` answers: base fee and suggested tip, in neuron per gas."""
        return BASE_FEE + PRIORITY_FEE

    # ---- accounts ----

    def balance(self, address: str | bytes, *, block: int | None = None) -> int:
        """Return the balance in neuron, now or as of an earlier block."""
        with self._lock:
            return self._world.balance(to_address(address), self._root(block))

    def nonce(self, address: str | bytes, *, block: int | None = None) -> int:
        """Return the number of transactions sent, now or as of an earlier block."""
        with self._lock:
            return self._world.nonce(to_address(address), self._root(block))

    def pending_nonce(self, address: str | bytes) -> int:
        """Return the nonce for the next transaction, counting those that wait to be mined."""
        sender = to_address(address)
        with self._lock:
            return self._pool.pending_nonce(sender, self._world.nonce(sender))

    def code(self, address: str | bytes, *, block: int | None = None) -> bytes:
        """Return a contract's code; empty for other accounts."""
        with self._lock:
            return self._world.code(to_address(address), self._root(block))

    def storage(self, address: str | bytes, slot: int, *, block: int | None = None) -> int:
        """Return one storage word of a contract."""
        with self._lock:
            return self._world.storage(to_address(address), to_number(slot, "storage slot"), self._root(block))

    def set_balance(self, address: str | bytes, wei: int) -> None:
        """Give an account a balance, in neuron, without a transaction.

        Raises:
            ValueError: if the address or the amount is not one.
        """
        account, amount = to_address(address), to_number(wei, "balance")
        with self._lock:
            self._world.set_balance(account, amount)

    def _root(self, block: int | None) -> bytes | None:
        if block is None:
            return None
        found = self.block(block)
        if found is None:
            raise ValueError(f"block {block} does not exist; the latest is {self.block_number}")
        # Balances set from outside belong to the head although no block holds them yet.
        return None if found is self.head else found.header.state_root

    # ---- calls ----

    def call(
        self,
        *,
        to: str | bytes,
        data: bytes,
        sender: str | bytes | None = None,
        value: int = 0,
        block: int | None = None,
    ) -> bytes:
        """Run a contract function without a transaction and return its output.

        Args:
            to: the contract.
            data: selector and arguments.
            sender: the account in whose name, default the zero address.
            value: neuron sent along, taken from `sender`'s balance.
            block: run on the state after this block, default the latest.

        Raises:
            Reverted: if the contract refuses or fails.
            ValueError: for a malformed address, an unknown block or a value `sender` does not have.
        """
        call = Call(bytes(20) if sender is None else to_address(sender, "sender"), to_address(to, "to"), data, value)
        outcome = self.simulate(call, block=block)
        if outcome.error is not None:
            raise Reverted(outcome.output, outcome.error)
        return outcome.output

    def simulate(self, call: Call, *, block: int | None = None, pending: bool = False) -> Outcome:
        """Run a call and return everything about it, also of a failed one.

        On the latest block, code sees the time the next block would have, so that a call agrees with a
        transaction sent right after it. `pending` also gives it the next block's number.

        Raises:
            ValueError: in geth's words, if the call cannot even start; for an unknown block.
        """
        with self._lock:
            root = self._root(block)
            if root is None:
                context = self._context(self.head.number + 1 if pending else self.head.number)
            else:
                header = self._blocks[block or 0].header
                context = BlockContext(
                    header.number, header.timestamp, header.prevrandao, self._hashes_before(header.number)
                )
            return self._world.simulate(call, context, root)

    def estimate_gas(self, call: Call, *, block: int | None = None) -> int:
        """Return a gas limit with which the call succeeds as a transaction; at most a few per cent too high.

        Raises:
            Reverted: if it fails with any amount of gas.
            ValueError: if it cannot even start, or the sender cannot pay for enough gas.
        """
        with self._lock:
            most = min(call.gas, BLOCK_GAS_LIMIT)
            balance = self._world.balance(call.sender, self._root(block))
            if call.gas_price:
                most = min(most, max(0, balance - call.value) // call.gas_price)
            limit, outcome = estimate(call, most, lambda trial: self.simulate(trial, block=block, pending=True))
        if outcome.error == "out of gas" and most < BLOCK_GAS_LIMIT:
            raise ValueError(f"gas required exceeds allowance ({most})")
        if outcome.error is not None:
            raise Reverted(outcome.output, outcome.error)
        return limit

    # ---- transactions ----

    def send(
        self,
        private_key: str | bytes,
        *,
        to: str | bytes | None,
        data: bytes = b"",
        value: int = 0,
        gas: int | None = None,
    ) -> TxReceipt:
        """Sign a transaction with the sender's next nonce, mine it and return its receipt.

        With automine off, everything that waits is mined with it.

        Args:
            private_key: 32 bytes, or the same as hex.
            to: the receiver; None creates a contract from `data`.
            data: the input.
            value: neuron to transfer.
            gas: the limit, default 10 million.

        Raises:
            Reverted: if the mined transaction failed; `receipt` is on the exception.
            ValueError: if it cannot be sent, in geth's words ("insufficient funds …").
        """
        receiver = None if to is None else to_address(to, "to")
        with self._lock:
            waiting = sign(
                private_key,
                lambda sender: self._pool.pending_nonce(sender, self._world.nonce(sender)),
                chain_id=self._chain_id,
                to=receiver,
                data=data,
                value=value,
                gas=DEFAULT_GAS if gas is None else gas,
                max_fee=BASE_FEE * 2 + PRIORITY_FEE,
                priority_fee=PRIORITY_FEE,
            )
            self._admit(waiting)
            while self._pool.get(waiting.hash) is not None:
                self._mine_block()
            receipt = self.receipt(waiting.hash)
        if receipt is None:
            raise ValueError("the transaction was dropped: its sender could no longer pay for it")
        if receipt.status != 1:
            raise Reverted(receipt.revert_data, receipt.error or REVERTED, receipt)
        return receipt

    def submit(self, raw: bytes) -> bytes:
        """Take a signed transaction (legacy, EIP-2930 or EIP-1559) and return its hash.

        It is mined at once unless automine is off or an earlier nonce of its sender is still missing.

        Raises:
            ValueError: in geth's words ("nonce too low: …", "insufficient funds …", "already known").
        """
        waiting = decode(raw, self._chain_id)
        with self._lock:
            self._admit(waiting)
            if self._automine:
                self._mine_ready()
        return waiting.hash

    def _admit(self, waiting: Waiting) -> None:
        sender = waiting.sender
        if self._world.code(sender):
            raise ValueError(f"sender not an eoa: address {hex_bytes(sender)} has code")
        self._pool.add(waiting, mined_nonce=self._world.nonce(sender), balance=self._world.balance(sender))

    # ---- mining ----

    @property
    def automine(self) -> bool:
        """Whether a transaction gets its block at once. Switching it on mines what waits."""
        return self._automine

    @automine.setter
    def automine(self, on: bool) -> None:
        with self._lock:
            self._automine = bool(on)
            if on:
                self._mine_ready()

    def mine(self, blocks: int = 1) -> None:
        """Mine blocks; the first takes the waiting transactions that fit, the next the rest, and so on."""
        with self._lock:
            for _ in range(to_number(blocks, "number of blocks", maximum=100_000)):
                self._mine_block()

    def increase_time(self, seconds: float) -> None:
        """Move the shared clock forward; the next block shows it."""
        if not 0 <= seconds < _MAX_TIME:
            raise ValueError(f"seconds must be between 0 and {_MAX_TIME}, not {seconds!r}")
        self._clock.advance(seconds)

    def set_next_timestamp(self, timestamp: int) -> None:
        """Fix the time of the next block, in unix seconds; the clock moves along if that is in the future.

        Raises:
            ValueError: if it is before the latest block.
        """
        moment = to_number(timestamp, "timestamp", maximum=_MAX_TIME)
        with self._lock:
            if moment < self.timestamp:
                raise ValueError(f"timestamp {moment} is before the latest block, which has {self.timestamp}")
            self._forced_timestamp = moment

    def _mine_ready(self) -> None:
        while self._pool.ready(self._world.nonce, BLOCK_GAS_LIMIT) is not None:
            self._mine_block()

    def _next_timestamp(self) -> int:
        if self._forced_timestamp is not None:
            return self._forced_timestamp
        return max(self.timestamp, int(self._clock.now()))

    def _hashes_before(self, number: int) -> Iterator[bytes]:
        return (self._blocks[n].hash for n in range(number - 1, -1, -1))

    def _context(self, number: int) -> BlockContext:
        return BlockContext(number, self._next_timestamp(), prevrandao_of(number), self._hashes_before(number))

    def _mine_block(self) -> Block:
        context = self._context(self.head.number + 1)
        before, root = self._pool.snapshot(), self._world.root
        done: list[tuple[Waiting, Outcome]] = []
        gas_left = BLOCK_GAS_LIMIT
        while (waiting := self._pool.ready(self._world.nonce, gas_left)) is not None:
            self._pool.remove(waiting)
            if self._world.balance(waiting.sender) < waiting.max_cost:
                logger.warning("dropped transaction %s: its sender cannot pay for it", hex_bytes(waiting.hash))
                continue
            try:
                outcome = self._world.apply(waiting.tx, context)
            except BaseException:
                self._world.reset(root)
                self._pool.restore([other for other in before if other is not waiting])
                raise
            gas_left -= outcome.gas_used
            done.append((waiting, outcome))
        block = seal(context, self.head.hash, self._world.commit() if done else root, done)
        self._blocks.append(block)
        for index, mined in enumerate(block.transactions):
            self._tx_index[mined.receipt.tx_hash] = (block.number, index)
        if self._forced_timestamp is not None:
            self._clock.advance(max(0.0, self._forced_timestamp - self._clock.now()))
            self._forced_timestamp = None
        return block

    # ---- snapshots ----

    def snapshot(self) -> int:
        """Remember blocks, state and waiting transactions; `revert` goes back there."""
        with self._lock:
            self._snapshot_count += 1
            self._snapshots[self._snapshot_count] = _Snapshot(
                self._world.root, len(self._blocks), self._pool.snapshot(), self._forced_timestamp
            )
            return self._snapshot_count

    def revert(self, snapshot_id: int) -> None:
        """Go back to a snapshot, which uses it and all later ones up. The clock does not go back.

        Raises:
            ValueError: if there is no such snapshot (any more).
        """
        with self._lock:
            saved = self._snapshots.get(snapshot_id)
            if saved is None:
                raise ValueError(f"snapshot {snapshot_id!r} does not exist or was used before; take a new one")
            for later in [each for each in self._snapshots if each >= snapshot_id]:
                del self._snapshots[later]
            for block in self._blocks[saved.height :]:
                for mined in block.transactions:
                    del self._tx_index[mined.receipt.tx_hash]
            del self._blocks[saved.height :]
            self._reverts.append(self.block_number)
            self._world.reset(saved.root)
            self._pool.restore(saved.pool)
            self._forced_timestamp = saved.forced_timestamp

    @property
    def reverts(self) -> Sequence[int]:
        """The height after each revert so far, for those who remember blocks."""
        return self._reverts

    # ---- looking back ----

    def block(self, number_or_hash: int | bytes) -> Block | None:
        """Return a block by height or hash; None if there is none."""
        with self._lock:
            if isinstance(number_or_hash, int):
                return self._blocks[number_or_hash] if 0 <= number_or_hash < len(self._blocks) else None
            return next((block for block in reversed(self._blocks) if block.hash == number_or_hash), None)

    def mined(self, tx_hash: bytes) -> Mined | None:
        """Return a mined transaction by hash."""
        with self._lock:
            place = self._tx_index.get(tx_hash)
            return None if place is None else self._blocks[place[0]].transactions[place[1]]

    def receipt(self, tx_hash: bytes | str) -> TxReceipt | None:
        """Return the receipt of a mined transaction by hash."""
        mined = self.mined(to_bytes(tx_hash, "transaction hash"))
        return None if mined is None else mined.receipt

    def waiting(self, tx_hash: bytes | None = None) -> list[Waiting]:
        """Return what waits to be mined, in order of arrival; if a hash is given only that one."""
        with self._lock:
            if tx_hash is None:
                return list(self._pool)
            found = self._pool.get(tx_hash)
            return [] if found is None else [found]

    def logs(
        self,
        *,
        address: str | bytes | Sequence[str | bytes] | None = None,
        topics: Sequence[bytes | Sequence[bytes] | None] = (),
        from_block: int = 0,
        to_block: int | None = None,
    ) -> list[Log]:
        """Return events in order.

        Args:
            address: the emitting contract, or several.
            topics: for each position one topic, a sequence of alternatives, or None for any.
            from_block: first height.
            to_block: last height, default the latest.
        """
        addresses = None
        if address is not None:
            several = [address] if isinstance(address, (str, bytes)) else address
            addresses = frozenset(checksum(to_address(each)) for each in several)
        wanted = tuple(
            None if each is None else frozenset([each] if isinstance(each, bytes) else each) for each in topics
        )
        return self.find_logs(LogFilter(addresses, wanted), from_block, to_block)

    def find_logs(self, wanted: LogFilter, from_block: int = 0, to_block: int | None = None) -> list[Log]:
        """Return the events of a range of blocks that a filter matches."""
        with self._lock:
            blocks = self._blocks[max(0, from_block) : None if to_block is None else max(0, to_block + 1)]
        return [log for block in blocks for log in block.logs if wanted.matches(log)]

    # ---- JSON-RPC ----

    def rpc(self, method: str, params: Sequence[Any] = ()) -> Any:
        """Answer a JSON-RPC call in process, as the HTTP server would.

        Args:
            method: such as "eth_getBalance".
            params: positional.

        Returns:
            The JSON result.

        Raises:
            RpcError: with `code`, `message` and `data`.
        """
        with self._lock:
            if self._methods is None:
                from zg_core.localnet.chain.methods import Methods

                self._methods = Methods(self)
            return self._methods.dispatch(method, params)


def _genesis_accounts(genesis: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if genesis is None:
        from zg_core.localnet.chain import genesis as packaged

        return packaged.load()
    if genesis == {}:
        return {address: {"balance": hex(DEV_BALANCE)} for address in DEV_KEYS}
    return genesis
