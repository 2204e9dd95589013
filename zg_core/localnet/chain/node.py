"""The chain of a local network when it is another program's: anvil, Hardhat, or any node with their methods.

The serving contracts are the packaged ones at their official addresses, written into the node's state; what clients
see is the same as on the chain of this process.
"""

from __future__ import annotations

import http.client
import json
import math
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final

from zg_core.localnet.base.clock import Clock
from zg_core.localnet.base.encoding import checksum, to_address
from zg_core.localnet.chain import genesis
from zg_core.localnet.chain.abi import CHAIN_ID
from zg_core.localnet.chain.blocks import Log, TxReceipt
from zg_core.localnet.chain.chain import DEFAULT_GAS, Reverted
from zg_core.localnet.chain.devaccounts import DEV_BALANCE, DEV_KEYS
from zg_core.localnet.chain.evm import REVERTED

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
_DIALECTS: Final = ("anvil", "hardhat")
# What nodes answer for a method they do not have: the JSON-RPC code, or words.
_NO_METHOD: Final = -32601


class NodeUnfit(RuntimeError):
    """A node cannot carry the local network; nothing was changed on it.

    Attributes:
        hint: what to do about it.
    """

    def __init__(self, message: str, hint: str) -> None:
        self.hint = hint
        super().__init__(message)


class _Refused(Exception):
    """The node answered a request with an error."""

    def __init__(self, method: str, error: Any) -> None:
        error = error if isinstance(error, dict) else {"message": str(error)}
        self.code = error.get("code")
        self.data = error.get("data")
        self.message = str(error.get("message", "no reason"))
        super().__init__(f"{method}: {self.message}")


class NodeClock(Clock):
    """The clock of a network on a node: moving it moves the node's time, too."""

    def __init__(self, ahead: float, move: Callable[[int], None]) -> None:
        super().__init__()
        self._move = move
        super().advance(ahead)

    def advance(self, seconds: float) -> None:
        """See `Clock.advance`; the node gets a block with the new time."""
        super().advance(seconds)
        self._move(math.ceil(seconds))


class NodeChain:
    """The serving contracts on a node, with what the providers of a `LocalNet` need of a chain.

    Args:
        url: its JSON-RPC endpoint over http.

    Raises:
        NodeUnfit: it does not answer, is another chain, holds something else at the contracts' addresses, or lacks the
            methods to write them (``anvil_setCode`` or ``hardhat_setCode`` and the like).
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise NodeUnfit(f"{url!r} is no http address", "give it as http://host:port")
        self.url = url
        """Where it answers."""
        self._lock = threading.Lock()
        self._dialect = ""
        self._check_chain_id()
        missing = self._missing_contracts()
        self._dialect = self._find_dialect()
        for address, account in missing.items():
            self._cheat("setCode", address, account["code"])
            self._cheat("setNonce", address, account["nonce"])
            for slot, value in account["storage"].items():
                self._cheat("setStorageAt", address, slot, value)
        self.set_balance(next(iter(DEV_KEYS)), DEV_BALANCE)
        head = self._ask("eth_getBlockByNumber", "latest", False)
        self._clock = NodeClock(max(0.0, int(head["timestamp"], 16) - time.time()), self._move)

    def __repr__(self) -> str:
        return f"NodeChain({self.url!r})"

    @property
    def clock(self) -> Clock:
        """The clock that node and providers share."""
        return self._clock

    @property
    def chain_id(self) -> int:
        """What transactions must be signed for: 31337."""
        return CHAIN_ID

    def call(self, *, to: str, data: bytes, sender: str | None = None) -> bytes:
        """Run a contract function without a transaction and return its output.

        Raises:
            Reverted: the contract refuses.
        """
        return self._call({"to": to, "data": "0x" + data.hex(), **({"from": sender} if sender else {})}, "latest")

    def send(
        self, private_key: str | bytes, *, to: str | None, data: bytes = b"", value: int = 0, gas: int | None = None
    ) -> TxReceipt:
        """Sign a transaction with the sender's next nonce, and return its receipt once it is mined.

        Raises:
            Reverted: the mined transaction failed.
            ValueError: the node does not take it, in its words.
            TimeoutError: it was not mined in 30 seconds.
        """
        from zg_core.localnet.chain.transactions import sign

        price = int(self._ask("eth_gasPrice"), 16)
        with self._lock:  # one nonce after the other
            signed = sign(
                private_key,
                lambda sender: int(self._ask("eth_getTransactionCount", "0x" + sender.hex(), "pending"), 16),
                chain_id=CHAIN_ID,
                to=None if to is None else to_address(to, "to"),
                data=data,
                value=value,
                gas=DEFAULT_GAS if gas is None else gas,
                max_fee=2 * price,
                priority_fee=min(10**9, price),
            )
            try:
                tx_hash: str = self._ask("eth_sendRawTransaction", "0x" + signed.raw.hex())
            except _Refused as error:
                raise ValueError(error.message) from None
        receipt = _receipt(self._mined(tx_hash))
        if receipt.status != 1:
            sent = {"from": receipt.sender, "to": receipt.to, "data": "0x" + data.hex(), "value": hex(value)}
            try:
                self._call(sent, hex(receipt.block_number - 1))
            except Reverted as error:
                raise Reverted(error.data, error.error, receipt) from None
            raise Reverted(b"", REVERTED, receipt)
        return receipt

    def set_balance(self, address: str | bytes, wei: int) -> None:
        """Give an account a balance, in neuron."""
        self._cheat("setBalance", checksum(to_address(address)), hex(wei))

    def snapshot(self) -> int:
        """Remember the state."""
        return int(self._ask("evm_snapshot"), 16)

    def revert(self, snapshot_id: int) -> None:
        """Return to a snapshot and use it up.

        Raises:
            KeyError: the node has none with this id.
        """
        if self._ask("evm_revert", hex(snapshot_id)) is not True:
            raise KeyError(snapshot_id)

    # what is asked of the node

    def _ask(self, method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        try:
            request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310 - http
            with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310 - http, as checked
                answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise NodeUnfit(
                f"no JSON-RPC node answers at {self.url} ({reason})", "start it, or check the URL (http://host:port)"
            ) from None
        if not isinstance(answer, dict) or not {"result", "error"} & set(answer):
            raise NodeUnfit(f"{self.url} does not speak JSON-RPC", "give the URL of an Ethereum node's JSON-RPC server")
        if answer.get("error") is not None:
            raise _Refused(method, answer["error"])
        return answer.get("result")

    def _call(self, message: dict[str, Any], block: str) -> bytes:
        try:
            return _unhex(self._ask("eth_call", message, block))
        except _Refused as error:
            data = error.data.get("data") if isinstance(error.data, dict) else error.data
            raise Reverted(_unhex(data) if isinstance(data, str) else b"") from None

    def _mined(self, tx_hash: str) -> dict[str, Any]:
        deadline = time.monotonic() + _SECONDS
        while True:
            found: dict[str, Any] | None = self._ask("eth_getTransactionReceipt", tx_hash)
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"transaction {tx_hash} was not mined in {_SECONDS:.0f} s; does the node mine?")
            time.sleep(_POLL_SECONDS)

    def _cheat(self, name: str, *params: Any) -> None:
        self._ask(f"{self._dialect}_{name}", *params)

    def _move(self, seconds: int) -> None:
        self._ask("evm_increaseTime", seconds)
        self._ask("evm_mine")

    # what has to hold before anything is changed

    def _check_chain_id(self) -> None:
        try:
            found = int(self._ask("eth_chainId"), 16)
        except (_Refused, TypeError, ValueError) as error:
            raise NodeUnfit(f"{self.url} tells no chain id: {error}", "give the URL of an Ethereum node") from None
        if found != CHAIN_ID:
            raise NodeUnfit(
                f"the node at {self.url} is chain {found}, the local network is {CHAIN_ID}",
                f"start it with chain id {CHAIN_ID}, for example `anvil --chain-id {CHAIN_ID}`",
            )

    def _missing_contracts(self) -> dict[str, genesis.Account]:
        contracts = {address: account for address, account in genesis.load().items() if "code" in account}
        codes = {address: _unhex(self._ask("eth_getCode", address, "latest")) for address in contracts}
        for address, code in codes.items():
            if code not in (b"", _unhex(contracts[address]["code"])):
                raise NodeUnfit(
                    f"there is another contract at {address}, where the local network has one of its own",
                    "start the node afresh",
                )
        return {address: account for address, account in contracts.items() if not codes[address]}

    def _find_dialect(self) -> str:
        owner = next(iter(DEV_KEYS))
        for dialect in _DIALECTS:
            try:
                self._ask(f"{dialect}_setBalance", owner, hex(DEV_BALANCE))
            except _Refused as error:
                if error.code != _NO_METHOD and "method" not in error.message.lower():
                    raise NodeUnfit(f"{self.url} refuses {dialect}_setBalance: {error.message}", "use anvil") from None
            else:
                return dialect
        raise NodeUnfit(
            f"the node at {self.url} has neither anvil_setBalance nor hardhat_setBalance",
            "use a development node: anvil, or Hardhat's",
        )


def _unhex(text: Any) -> bytes:
    return bytes.fromhex(text[2:]) if isinstance(text, str) else b""


def _receipt(raw: dict[str, Any]) -> TxReceipt:
    block_hash, tx_hash = _unhex(raw["blockHash"]), _unhex(raw["transactionHash"])
    number, index = int(raw["blockNumber"], 16), int(raw["transactionIndex"], 16)
    logs = tuple(
        Log(
            checksum(_unhex(log["address"])),
            tuple(map(_unhex, log["topics"])),
            _unhex(log["data"]),
            number,
            tx_hash,
            int(log["logIndex"], 16),
            index,
            block_hash,
            int(log.get("blockTimestamp") or "0x0", 16),
        )
        for log in raw["logs"]
    )
    created, receiver, status = raw.get("contractAddress"), raw.get("to"), int(raw["status"], 16)
    return TxReceipt(
        tx_hash=tx_hash,
        status=status,
        block_number=number,
        gas_used=int(raw["gasUsed"], 16),
        logs=logs,
        contract_address=created and checksum(_unhex(created)),
        revert_data=b"",
        error=None if status else REVERTED,
        block_hash=block_hash,
        transaction_index=index,
        cumulative_gas_used=int(raw["cumulativeGasUsed"], 16),
        effective_gas_price=int(raw["effectiveGasPrice"], 16),
        logs_bloom=_unhex(raw["logsBloom"]),
        sender=checksum(_unhex(raw["from"])),
        to=receiver and checksum(_unhex(receiver)),
        type=int(raw["type"], 16),
    )
