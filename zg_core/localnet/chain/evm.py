"""Running transactions and calls on py-evm: the one module that knows its state and computation classes.

The rules are those of the Cancun fork, mainnet's contract size limit included. There are no py-evm "chain" or
"virtual machine" objects: a `World` is one state database plus the state object at its head, which is kept
warm between calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from eth_typing import Address, BlockNumber, Hash32

from zg_core.localnet.base.encoding import hex_bytes, to_address, to_bytes, to_number
from zg_core.localnet.chain.pyevm import (
    BLANK_ROOT_HASH,
    CREATE_CONTRACT_ADDRESS,
    AtomicDB,
    CancunState,
    CancunTransactionContext,
    CancunTransactionExecutor,
    ExecutionContext,
    Message,
    generate_contract_address,
    vm_errors,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zg_core.localnet.chain.pyevm import ComputationAPI, SignedTransactionAPI

BLOCK_GAS_LIMIT: Final = 30_000_000
BASE_FEE: Final = 10**9
"""Burned per gas, in neuron; the same in every block."""
PRIORITY_FEE: Final = 10**9
"""The tip suggested to senders, in neuron per gas; with the base fee this is a gas price of 2·10⁹ neuron."""
COINBASE: Final = bytes(20)
MAX_INITCODE: Final = 49_152  # EIP-3860
_MAX_CODE: Final = 24_576  # EIP-170
_MAX_NONCE: Final = 2**64 - 2
_MOST_KNOWN: Final = 500


@dataclass(frozen=True)
class BlockContext:
    """What the EVM can see of the block it runs in."""

    number: int
    timestamp: int
    prevrandao: bytes
    ancestor_hashes: Iterable[bytes]
    """Newest first, read lazily by BLOCKHASH."""


@dataclass(frozen=True)
class Call:
    """A message to run without a signature; `to` None creates a contract."""

    sender: bytes
    to: bytes | None
    data: bytes = b""
    value: int = 0
    gas: int = BLOCK_GAS_LIMIT
    gas_price: int = 0

    @property
    def intrinsic_gas(self) -> int:
        """Gas charged before the first opcode, as for a transaction without an access list."""
        zeros = self.data.count(0)
        gas = 21_000 + 4 * zeros + 16 * (len(self.data) - zeros)
        return gas if self.to is not None else gas + 32_000


RawLog: TypeAlias = tuple[bytes, tuple[bytes, ...], bytes]
"""Address, topics and data of an event."""


@dataclass(frozen=True)
class Outcome:
    """The result of running a transaction or a call.

    `error` is None on success, else the words geth uses ("execution reverted", "out of gas" …); `output` is
    the return data, or the revert data. `contract_address` is where a creation put its contract, or would have.
    """

    output: bytes
    gas_used: int
    gas_refund: int
    error: str | None
    logs: tuple[RawLog, ...]
    contract_address: bytes | None

    @property
    def reverted(self) -> bool:
        """Whether the contract itself refused (REVERT), as opposed to running out of gas and the like."""
        return self.error == REVERTED


REVERTED: Final = "execution reverted"

_ERROR_WORDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (vm_errors.Revert, REVERTED),
    (vm_errors.OutOfGas, "out of gas"),
    (vm_errors.InvalidJumpDestination, "invalid jump destination"),
    (vm_errors.InsufficientStack, "stack underflow"),
    (vm_errors.FullStack, "stack limit reached 1024 (1023)"),
    (vm_errors.WriteProtection, "write protection"),
    (vm_errors.OutOfBoundsRead, "return data out of bounds"),
    (vm_errors.StackDepthLimit, "max call depth exceeded"),
    (vm_errors.InsufficientFunds, "insufficient balance for transfer"),
    (vm_errors.ContractCreationCollision, "contract address collision"),
    (vm_errors.ReservedBytesInCode, "invalid code: must not begin with 0xef"),
)


def _words(error: Exception) -> str:
    if isinstance(error, vm_errors.InvalidInstruction):
        return f"invalid opcode: {error}"
    if isinstance(error, vm_errors.OutOfGas) and "EIP170" in str(error):
        return "max code size exceeded"
    return next((words for kind, words in _ERROR_WORDS if isinstance(error, kind)), f"vm error: {error}")


class _Executor(CancunTransactionExecutor):
    def validate_transaction(self, transaction: SignedTransactionAPI) -> None:
        """Do nothing: signature, nonce, gas and funds were checked when the pool took the transaction."""


class _State(CancunState):
    transaction_executor_class = _Executor

    def set_system_contracts(self) -> None:
        """Do nothing: there is no beacon chain whose roots could be stored."""


class World:
    """All accounts, at the head and at every earlier state root. Not thread-safe; `Chain` holds the lock."""

    def __init__(self, chain_id: int) -> None:
        self._chain_id = chain_id
        self._db = AtomicDB()
        self._known: dict[tuple[object, ...], Outcome] = {}
        self._context = self._execution_context(BlockContext(0, 0, bytes(32), ()))
        self._head = self._state(BLANK_ROOT_HASH)

    def _execution_context(self, block: BlockContext) -> ExecutionContext:
        return ExecutionContext(
            coinbase=Address(COINBASE),
            timestamp=block.timestamp,
            block_number=BlockNumber(block.number),
            difficulty=0,
            mix_hash=Hash32(block.prevrandao),
            gas_limit=BLOCK_GAS_LIMIT,
            prev_hashes=map(Hash32, block.ancestor_hashes),
            chain_id=self._chain_id,
            base_fee_per_gas=BASE_FEE,
            excess_blob_gas=0,
        )

    def _state(self, root: bytes) -> _State:
        return _State(self._db, self._context, Hash32(root))

    @property
    def root(self) -> bytes:
        """The state root of everything committed so far."""
        return bytes(self._head.state_root)

    def reset(self, root: bytes) -> None:
        """Go back to an earlier root."""
        self._known.clear()
        self._head = self._state(root)

    def commit(self) -> bytes:
        """Write what transactions changed into the database and return the new root."""
        self._head.persist()
        root = self.root
        # A new object, since py-evm's remembers every trie node it ever read.
        self.reset(root)
        return root

    def _at(self, root: bytes | None) -> Any:
        return self._head if root is None or root == self.root else self._state(root)

    # ---- reading and setting accounts ----

    # `root` is an earlier state to look at; None is the head.

    def balance(self, address: bytes, root: bytes | None = None) -> int:
        """Return neuron."""
        return int(self._at(root).get_balance(address))

    def nonce(self, address: bytes, root: bytes | None = None) -> int:
        """Return the number of transactions sent, or contracts created."""
        return int(self._at(root).get_nonce(address))

    def code(self, address: bytes, root: bytes | None = None) -> bytes:
        """Return the contract's code, empty if it is none."""
        return bytes(self._at(root).get_code(address))

    def storage(self, address: bytes, slot: int, root: bytes | None = None) -> int:
        """Return one storage word."""
        return int(self._at(root).get_storage(address, slot))

    def set_balance(self, address: bytes, amount: int) -> None:
        """Set and commit a balance in neuron."""
        self._head.set_balance(Address(address), amount)
        self._head.lock_changes()
        self.commit()

    def load(self, accounts: Mapping[str, Any]) -> None:
        """Put accounts into the state.

        Args:
            accounts: address to a mapping with any of "balance", "nonce", "code" and "storage" (slot to
                value), all as 0x hex.

        Raises:
            ValueError: naming the account and the entry that cannot be used.
        """
        if not isinstance(accounts, Mapping):
            raise ValueError(f"genesis must map addresses to accounts, not be a {type(accounts).__name__}")  # noqa: TRY004 - bad input is one class
        state: Any = self._head
        for text, account in accounts.items():
            address = to_address(text, "genesis address")
            if not isinstance(account, Mapping):
                raise ValueError(f"genesis account {text} must be a mapping, not a {type(account).__name__}")  # noqa: TRY004 - bad input is one class
            unknown = set(account) - {"balance", "nonce", "code", "storage"}
            if unknown:
                raise ValueError(f"genesis account {text} has unknown entries: {', '.join(sorted(map(str, unknown)))}")
            where = f"in genesis account {text}"
            state.set_balance(address, to_number(account.get("balance", 0), f"balance {where}"))
            state.set_nonce(address, to_number(account.get("nonce", 0), f"nonce {where}", maximum=_MAX_NONCE))
            code = to_bytes(account.get("code", "0x"), f"code {where}")
            if len(code) > _MAX_CODE:
                raise ValueError(f"code {where} has {len(code)} bytes; the limit is {_MAX_CODE}")
            if code:
                state.set_code(address, code)
            storage = account.get("storage", {})
            if not isinstance(storage, Mapping):
                raise ValueError(f"storage {where} must be a mapping of slots to values")  # noqa: TRY004 - bad input is one class
            for slot, value in storage.items():
                state.set_storage(
                    address,
                    to_number(slot, f"storage slot {where}"),
                    to_number(value, f"storage value {where}"),
                )
        state.lock_changes()
        self.commit()

    # ---- running code ----

    def apply(self, transaction: SignedTransactionAPI, block: BlockContext) -> Outcome:
        """Run a checked transaction on the head; its changes stay until `commit` or `reset`."""
        self._known.clear()
        state = self._head
        state.execution_context = self._execution_context(block)
        sender, to = transaction.sender, transaction.to
        created = generate_contract_address(sender, state.get_nonce(sender)) if to == CREATE_CONTRACT_ADDRESS else None
        computation = state.apply_transaction(transaction)
        state.lock_changes()
        return _outcome(computation, transaction.gas, created)

    def simulate(self, call: Call, block: BlockContext, root: bytes | None = None) -> Outcome:
        """Run a call and leave no trace. What was asked already, of the same state in the same block, is not run again.

        Args:
            call: what to run. Gas is not paid for, value is.
            block: what the code sees as its block.
            root: an earlier state to run on, default the head.

        Raises:
            ValueError: in geth's words, when no transaction like it could even start.
        """
        # Clients ask for the same again and again. What `block` does not say of it, hashes of earlier blocks, changes
        # with a `reset` only.
        asked = (root or self.root, call, block.number, block.timestamp, block.prevrandao)
        if asked in self._known:
            return self._known[asked]
        balance = self.balance(call.sender, root)
        if balance < call.value:
            raise ValueError(
                "insufficient funds for gas * price + value: "
                f"address {hex_bytes(call.sender)} have {balance} want {call.value}"
            )
        if call.to is None and len(call.data) > MAX_INITCODE:
            raise ValueError(f"max initcode size exceeded: code size {len(call.data)} limit {MAX_INITCODE}")
        intrinsic = call.intrinsic_gas
        if call.gas < intrinsic:
            raise ValueError(f"intrinsic gas too low: have {call.gas}, want {intrinsic}")
        state = self._at(root)
        state.execution_context = self._execution_context(block)
        with _undone(state):
            outcome = _run(state, call, call.gas - intrinsic)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[asked] = outcome
        return outcome


@contextmanager
def _undone(state: Any) -> Iterator[None]:
    """Take back all changes made inside, also to transient storage and the record of what was accessed."""
    checkpoint = state.snapshot()
    try:
        yield
    finally:
        state.revert(checkpoint)


def _run(state: Any, call: Call, gas: int) -> Outcome:
    nonce = state.get_nonce(call.sender)
    state.set_nonce(call.sender, nonce + 1)
    sender = Address(call.sender)
    created = generate_contract_address(sender, nonce) if call.to is None else None
    message = Message(
        gas=gas,
        to=CREATE_CONTRACT_ADDRESS if call.to is None else Address(call.to),
        sender=sender,
        value=call.value,
        data=b"" if call.to is None else call.data,
        code=call.data if call.to is None else state.get_code(call.to),
        create_address=created,  # type: ignore[arg-type] # None is the default
    )
    state.mark_address_warm(call.sender)
    state.mark_address_warm(message.storage_address)
    context = CancunTransactionContext(gas_price=call.gas_price, origin=sender)
    run = state.computation_class.apply_message if created is None else state.computation_class.apply_create_message
    if created is not None and state.has_code_or_nonce(created):
        return Outcome(b"", call.gas, 0, "contract address collision", (), created)
    return _outcome(run(state, message, context), call.gas, created)


def _outcome(computation: ComputationAPI, gas: int, created: bytes | None) -> Outcome:
    left = computation.get_gas_remaining()
    refund = _Executor.calculate_gas_refund(computation, gas - left)
    return Outcome(
        output=bytes(computation.output),
        gas_used=gas - left - refund,
        gas_refund=refund,
        error=_words(computation.error) if computation.is_error else None,
        logs=tuple(
            (bytes(address), tuple(topic.to_bytes(32, "big") for topic in topics), bytes(data))
            for address, topics, data in computation.get_log_entries()
        ),
        contract_address=created,
    )
