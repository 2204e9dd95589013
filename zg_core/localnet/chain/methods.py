"""The JSON-RPC methods of the local chain: geth's, and the test controls of anvil and hardhat."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from eth_hash.auto import keccak

from zg_core.localnet.base.encoding import hex_bytes, hex_word, to_address, to_bytes, to_number
from zg_core.localnet.chain import format as rpc_format
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.localnet.chain.error import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    REVERTED_CODE,
    SERVER_ERROR,
    RpcError,
)
from zg_core.localnet.chain.evm import BASE_FEE, BLOCK_GAS_LIMIT, PRIORITY_FEE, REVERTED, Call
from zg_core.localnet.chain.filters import Filters
from zg_core.localnet.chain.params import BlockTag, block_tag, call_object, flag, log_filter, read, word
from zg_core.localnet.chain.revert_reason import explain
from zg_core.localnet.chain.transactions import sign

if TYPE_CHECKING:
    from zg_core.localnet.chain.blocks import Block, Mined
    from zg_core.localnet.chain.chain import Chain  # circle: `Chain.rpc` makes what answers for it

logger = logging.getLogger(__name__)

CLIENT_VERSION: Final = "zerog-localnet/py-evm"
MAX_FEE_HISTORY: Final = 1_024
MAX_STEPS: Final = 100_000


class Methods:
    """Answers calls for one chain. `dispatch` must be called under the chain's lock."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._filters = Filters(chain)
        self._dev_keys = {to_address(address): key for address, key in DEV_KEYS.items()}
        self._table: dict[str, tuple[Callable[..., Any], int, int]] = {
            name: (handler, *_arity(handler)) for name, handler in self._handlers().items()
        }

    @property
    def names(self) -> frozenset[str]:
        """All methods there are."""
        return frozenset(self._table)

    def dispatch(self, method: str, params: Sequence[Any]) -> Any:
        """Run one method.

        Raises:
            RpcError: for everything that goes wrong.
        """
        entry = self._table.get(method)
        if entry is None:
            raise RpcError(METHOD_NOT_FOUND, f"the method {method} does not exist/is not available")
        handler, least, most = entry
        arguments = list(params)
        while arguments and arguments[-1] is None:
            arguments.pop()
        if len(arguments) < least:
            raise RpcError(INVALID_PARAMS, f"missing value for required argument {len(arguments)}")
        if len(arguments) > most:
            raise RpcError(INVALID_PARAMS, f"too many arguments, want at most {most}")
        try:
            return handler(*arguments)
        except RpcError:
            raise
        except ValueError as error:
            raise RpcError(SERVER_ERROR, str(error)) from error
        except Exception as error:
            logger.exception("%s failed", method)
            raise RpcError(INTERNAL_ERROR, f"internal error: {type(error).__name__}") from error

    def _handlers(self) -> dict[str, Callable[..., Any]]:
        return {
            "web3_clientVersion": lambda: CLIENT_VERSION,
            "web3_sha3": lambda data: hex_bytes(keccak(read(0, to_bytes, data, "data"))),
            "net_version": lambda: str(self._chain.chain_id),
            "net_listening": lambda: True,
            "net_peerCount": lambda: "0x0",
            "eth_chainId": lambda: hex(self._chain.chain_id),
            "eth_syncing": lambda: False,
            "eth_mining": lambda: False,
            "eth_accounts": lambda: [address.lower() for address in DEV_KEYS],
            "eth_blockNumber": lambda: hex(self._chain.block_number),
            "eth_gasPrice": lambda: hex(self._chain.gas_price),
            "eth_maxPriorityFeePerGas": lambda: hex(PRIORITY_FEE),
            "eth_feeHistory": self._fee_history,
            "eth_getBalance": self._get_balance,
            "eth_getCode": self._get_code,
            "eth_getStorageAt": self._get_storage_at,
            "eth_getTransactionCount": self._get_transaction_count,
            "eth_call": self._call,
            "eth_estimateGas": self._estimate_gas,
            "eth_sendRawTransaction": self._send_raw_transaction,
            "eth_sendTransaction": self._send_transaction,
            "eth_getBlockByNumber": self._get_block_by_number,
            "eth_getBlockByHash": self._get_block_by_hash,
            "eth_getBlockTransactionCountByNumber": self._count_by_number,
            "eth_getBlockTransactionCountByHash": self._count_by_hash,
            "eth_getBlockReceipts": self._get_block_receipts,
            "eth_getTransactionByHash": self._get_transaction_by_hash,
            "eth_getTransactionByBlockNumberAndIndex": self._transaction_by_number_and_index,
            "eth_getTransactionByBlockHashAndIndex": self._transaction_by_hash_and_index,
            "eth_getTransactionReceipt": self._get_transaction_receipt,
            "eth_getRawTransactionByHash": self._get_raw_transaction_by_hash,
            "eth_getLogs": self._get_logs,
            "eth_newFilter": self._new_filter,
            "eth_newBlockFilter": lambda: hex(self._filters.add_blocks()),
            "eth_newPendingTransactionFilter": lambda: hex(self._filters.add_transactions()),
            "eth_getFilterChanges": lambda i: self._filters.changes(read(0, to_number, i, "filter id")),
            "eth_getFilterLogs": lambda i: self._filters.logs(read(0, to_number, i, "filter id")),
            "eth_uninstallFilter": lambda i: self._filters.remove(read(0, to_number, i, "filter id")),
            "evm_snapshot": lambda: hex(self._chain.snapshot()),
            "evm_revert": self._revert,
            "evm_increaseTime": self._increase_time,
            "evm_setNextBlockTimestamp": self._set_next_timestamp,
            "evm_mine": self._mine,
            "anvil_mine": self._mine_many,
            "hardhat_mine": self._mine_many,
            "evm_setAutomine": self._set_automine,
            "anvil_setBalance": self._set_balance,
            "hardhat_setBalance": self._set_balance,
        }

    # ---- which block ----

    def _height(self, position: int, value: Any) -> tuple[int | None, bool]:
        """Return the height a state is asked for (None: the head) and whether "pending" was said."""
        tag = read(position, block_tag, value)
        if tag.number is None and tag.hash is None:
            return None, tag.pending
        found = self._find(tag)
        if found is None:
            raise RpcError(SERVER_ERROR, "header not found")
        return found.number, False

    def _find(self, tag: BlockTag) -> Block | None:
        if tag.hash is not None:
            return self._chain.block(tag.hash)
        return self._chain.head if tag.number is None else self._chain.block(tag.number)

    def _block(self, value: Any) -> Block | None:
        return self._find(read(0, block_tag, value))

    def _by_hash(self, value: Any) -> Block | None:
        return self._chain.block(read(0, word, value, "block hash"))

    # ---- accounts ----

    def _get_balance(self, address: Any, block: Any = None) -> str:
        height, _ = self._height(1, block)
        return hex(self._chain.balance(read(0, to_address, address), block=height))

    def _get_code(self, address: Any, block: Any = None) -> str:
        height, _ = self._height(1, block)
        return hex_bytes(self._chain.code(read(0, to_address, address), block=height))

    def _get_storage_at(self, address: Any, slot: Any, block: Any = None) -> str:
        height, _ = self._height(2, block)
        account, index = read(0, to_address, address), read(1, to_number, slot, "storage slot")
        return hex_word(self._chain.storage(account, index, block=height))

    def _get_transaction_count(self, address: Any, block: Any = None) -> str:
        height, pending = self._height(1, block)
        account = read(0, to_address, address)
        return hex(self._chain.pending_nonce(account) if pending else self._chain.nonce(account, block=height))

    # ---- calls ----

    def _call(self, transaction: Any, block: Any = None, overrides: Any = None) -> str:
        if overrides:
            raise RpcError(INVALID_PARAMS, "invalid argument 2: state overrides are not supported")
        call = read(0, call_object, transaction)
        height, pending = self._height(1, block)
        outcome = self._chain.simulate(call, block=height, pending=pending)
        if outcome.error is not None:
            raise _failed(outcome.error, outcome.output)
        return hex_bytes(outcome.output)

    def _estimate_gas(self, transaction: Any, block: Any = None, overrides: Any = None) -> str:
        if overrides:
            raise RpcError(INVALID_PARAMS, "invalid argument 2: state overrides are not supported")
        call = read(0, call_object, transaction)
        height, _ = self._height(1, block)
        return hex(self._estimate(call, height))

    def _estimate(self, call: Call, height: int | None = None) -> int:
        from zg_core.localnet.chain.chain import Reverted  # circle: see above

        try:
            return self._chain.estimate_gas(call, block=height)
        except Reverted as failure:
            raise _failed(failure.error, failure.data) from failure

    # ---- transactions ----

    def _send_raw_transaction(self, raw: Any) -> str:
        return hex_bytes(self._chain.submit(read(0, to_bytes, raw, "transaction")))

    def _send_transaction(self, transaction: Any) -> str:
        call = read(0, call_object, transaction)
        key = self._dev_keys.get(call.sender)
        if key is None:
            raise RpcError(SERVER_ERROR, "unknown account")
        chain_id = transaction.get("chainId")
        if chain_id is not None and read(0, to_number, chain_id, "chainId") != self._chain.chain_id:
            raise RpcError(SERVER_ERROR, "chainId does not match node's chain")
        price, cap, tip = (
            None if transaction.get(name) is None else read(0, to_number, transaction[name], name)
            for name in ("gasPrice", "maxFeePerGas", "maxPriorityFeePerGas")
        )
        gas, nonce = transaction.get("gas"), transaction.get("nonce")
        if tip is None:
            tip = PRIORITY_FEE if cap is None else min(PRIORITY_FEE, cap)
        waiting = sign(
            key,
            self._chain.pending_nonce if nonce is None else lambda _: read(0, to_number, nonce, "nonce"),
            chain_id=self._chain.chain_id,
            to=call.to,
            data=call.data,
            value=call.value,
            gas=self._estimate(call) if gas is None else read(0, to_number, gas, "gas"),
            max_fee=price or cap or 2 * BASE_FEE + tip,
            priority_fee=price or tip,
        )
        return hex_bytes(self._chain.submit(waiting.raw))

    def _get_transaction_by_hash(self, tx_hash: Any) -> dict[str, Any] | None:
        wanted = read(0, word, tx_hash, "transaction hash")
        mined = self._chain.mined(wanted)
        if mined is not None:
            return self._shown(mined)
        waiting = self._chain.waiting(wanted)
        return rpc_format.transaction(waiting[0], self._chain.chain_id) if waiting else None

    def _get_raw_transaction_by_hash(self, tx_hash: Any) -> str | None:
        wanted = read(0, word, tx_hash, "transaction hash")
        mined = self._chain.mined(wanted)
        found = [mined.tx] if mined is not None else self._chain.waiting(wanted)
        return hex_bytes(found[0].raw) if found else None

    def _get_transaction_receipt(self, tx_hash: Any) -> dict[str, Any] | None:
        receipt = self._chain.receipt(read(0, word, tx_hash, "transaction hash"))
        return None if receipt is None else rpc_format.receipt(receipt)

    def _shown(self, mined: Mined) -> dict[str, Any]:
        return rpc_format.mined_transaction(mined, self._chain.chain_id)

    def _at_index(self, block: Block | None, index: Any) -> dict[str, Any] | None:
        position = read(1, to_number, index, "transaction index")
        if block is None or position >= len(block.transactions):
            return None
        return self._shown(block.transactions[position])

    def _transaction_by_number_and_index(self, block: Any, index: Any) -> dict[str, Any] | None:
        return self._at_index(self._block(block), index)

    def _transaction_by_hash_and_index(self, block: Any, index: Any) -> dict[str, Any] | None:
        return self._at_index(self._by_hash(block), index)

    # ---- blocks ----

    def _get_block_by_number(self, block: Any, full: Any = False) -> dict[str, Any] | None:
        tag, whole = read(0, block_tag, block), read(1, flag, full, "full transactions")
        chain = self._chain
        if tag.pending:
            timestamp = chain.next_timestamp
            return rpc_format.pending_block(chain.head, timestamp, chain.waiting(), chain.chain_id, full=whole)
        return self._shown_block(self._find(tag), whole)

    def _get_block_by_hash(self, block: Any, full: Any = False) -> dict[str, Any] | None:
        return self._shown_block(self._by_hash(block), read(1, flag, full, "full transactions"))

    def _shown_block(self, block: Block | None, full: bool) -> dict[str, Any] | None:
        return None if block is None else rpc_format.block(block, self._chain.chain_id, full=full)

    def _count_by_number(self, block: Any) -> str | None:
        found = self._block(block)
        return None if found is None else hex(len(found.transactions))

    def _count_by_hash(self, block: Any) -> str | None:
        found = self._by_hash(block)
        return None if found is None else hex(len(found.transactions))

    def _get_block_receipts(self, block: Any) -> list[dict[str, Any]] | None:
        found = self._block(block)
        return None if found is None else [rpc_format.receipt(each.receipt) for each in found.transactions]

    def _fee_history(self, count: Any, newest: Any, percentiles: Any = None) -> dict[str, Any]:
        wanted = min(read(0, to_number, count, "block count"), MAX_FEE_HISTORY)
        height, _ = self._height(1, newest)
        last = self._chain.block_number if height is None else height
        first = max(0, last - wanted + 1)
        blocks = [block for number in range(first, last + 1) if (block := self._chain.block(number)) is not None]
        history: dict[str, Any] = {
            "oldestBlock": hex(first),
            "baseFeePerGas": [hex(BASE_FEE)] * (len(blocks) + 1 if wanted else 0),
            "gasUsedRatio": [block.header.gas_used / BLOCK_GAS_LIMIT for block in blocks],
        }
        if percentiles:
            ranks = read(2, _percentiles, percentiles)
            history["reward"] = [[hex(_tip_at(block, rank)) for rank in ranks] for block in blocks]
        return history

    # ---- logs ----

    def _get_logs(self, wanted: Any) -> list[dict[str, Any]]:
        logs = read(0, log_filter, wanted)
        if wanted.get("blockHash") is not None:
            if wanted.get("fromBlock") is not None or wanted.get("toBlock") is not None:
                raise RpcError(
                    INVALID_PARAMS,
                    "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other",
                )
            block = self._by_hash(wanted["blockHash"])
            if block is None:
                raise RpcError(SERVER_ERROR, "unknown block")
            return [rpc_format.log(entry) for entry in block.logs if logs.matches(entry)]
        first, last = self._range(wanted)
        head = self._chain.block_number
        first, last = (head if first is None else first), (head if last is None else last)
        if first > last:
            raise RpcError(INVALID_PARAMS, "invalid block range params")
        return [rpc_format.log(entry) for entry in self._chain.find_logs(logs, first, last)]

    def _range(self, wanted: Mapping[str, Any]) -> tuple[int | None, int | None]:
        tags = [read(0, block_tag, wanted.get(name)) for name in ("fromBlock", "toBlock")]
        return tags[0].number, tags[1].number

    def _new_filter(self, wanted: Any) -> str:
        logs = read(0, log_filter, wanted)
        return hex(self._filters.add_logs(logs, *self._range(wanted)))

    # ---- test controls ----

    def _revert(self, snapshot_id: Any) -> bool:
        wanted = read(0, to_number, snapshot_id, "snapshot id")
        try:
            self._chain.revert(wanted)
        except ValueError:
            return False
        return True

    def _increase_time(self, seconds: Any) -> int:
        self._chain.increase_time(read(0, _seconds, seconds))
        return int(self._chain.clock.offset)

    def _set_next_timestamp(self, timestamp: Any) -> None:
        self._chain.set_next_timestamp(read(0, _seconds, timestamp))

    def _mine(self, options: Any = None) -> str:
        blocks = 1
        if isinstance(options, Mapping):
            blocks = read(0, to_number, options.get("blocks") or 1, "blocks", maximum=MAX_STEPS)
            options = options.get("timestamp")
        if options is not None:
            self._set_next_timestamp(options)
        self._chain.mine(blocks)
        return "0x0"

    def _mine_many(self, blocks: Any = 1, interval: Any = None) -> None:
        count = read(0, to_number, blocks, "number of blocks", maximum=MAX_STEPS)
        seconds = 0 if interval is None else read(1, _seconds, interval)
        if not seconds:
            self._chain.mine(count)
            return
        for _ in range(count):
            self._chain.set_next_timestamp(self._chain.timestamp + seconds)
            self._chain.mine()

    def _set_automine(self, on: Any) -> bool:
        self._chain.automine = read(0, flag, on, "automine")
        return True

    def _set_balance(self, address: Any, amount: Any) -> bool:
        self._chain.set_balance(read(0, to_address, address), read(1, to_number, amount, "balance"))
        return True


def _arity(handler: Callable[..., Any]) -> tuple[int, int]:
    parameters = inspect.signature(handler).parameters.values()
    return sum(each.default is inspect.Parameter.empty for each in parameters), len(parameters)


def _failed(error: str, output: bytes) -> RpcError:
    if error == REVERTED:
        return RpcError(REVERTED_CODE, explain(error, output), hex_bytes(output))
    return RpcError(SERVER_ERROR, error)


def _seconds(value: Any) -> int:
    """Read a number of seconds, which test tools also send as decimal text."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    return to_number(value, "seconds", maximum=2**40 - 1)


def _percentiles(value: Any) -> list[float]:
    numeric = isinstance(value, list) and all(
        isinstance(each, (int, float)) and not isinstance(each, bool) and 0 <= each <= 100 for each in value
    )
    if not numeric or value != sorted(value):
        raise ValueError("reward percentiles must be rising numbers between 0 and 100")
    return [float(each) for each in value]


def _tip_at(block: Block, percentile: float) -> int:
    """Return the tip below which this share of the block's gas was bought."""
    tips = sorted((each.receipt.effective_gas_price - BASE_FEE, each.receipt.gas_used) for each in block.transactions)
    threshold = block.header.gas_used * percentile / 100
    bought = 0
    for tip, gas in tips:
        bought += gas
        if bought >= threshold:
            return tip
    return 0
