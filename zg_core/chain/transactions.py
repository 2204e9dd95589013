"""Transactions: preflight, fees, nonce, signature, waiting, replacement.

A transaction is first run locally (``eth_call``), so that one which would revert is never sent. Its nonce comes from
the store (`zg_core.chain.nonces`). While it waits, whoever waits looks after the queue: a transaction that the node
has lost is sent again, one that is stuck is replaced at a higher fee, a gap that a dead process left is filled.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.backends.direct.contracts.events import ContractEvent, decode_logs
from zg_core.backends.direct.contracts.reverts import reverted
from zg_core.chain.encoding import Fees, Unsigned
from zg_core.chain.failures import RpcFailure
from zg_core.chain.nonces import Nonces
from zg_core.chain.rpc import JsonRpc
from zg_core.errors import ChainError, InsufficientFunds, WrongChain
from zg_core.money import Amount
from zg_core.progress import tell

if TYPE_CHECKING:
    from zg_core.chain.nonces import Lease
    from zg_core.config import Network
    from zg_core.http.transport import Transport
    from zg_core.progress import Listener
    from zg_core.store import Store
    from zg_core.wallet import Wallet

__all__ = ["Sender", "Sending", "TransactionResult"]

_TRANSFER_GAS = 21_000
_ATTEMPTS = 20
_POLL = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
_ALIVE_EVERY = 20.0  # seconds between signs of life, well below nonces.LEASE_SECONDS
# A nonce that is mined without a receipt of ours is called taken after so many looks and times `heal_after`.
_LOOKS, _PATIENCE = 8, 5
_GWEI = 10**9


@dataclass(frozen=True, slots=True)
class Sending:
    """How transactions are sent. Times in seconds.

    Attributes:
        timeout: How long to wait for a transaction to be mined.
        stuck_after: After how long without being mined it is replaced at a higher fee.
        raise_percent: By how much; nodes ask for at least 10.
        gas_margin: Percent added to the gas estimate: the state may change until it is mined.
        heal_after: How long a gap before our nonce, or a transaction that the node does not know, is watched first.
    """

    timeout: float = 180.0
    stuck_after: float = 30.0
    raise_percent: int = 20
    gas_margin: int = 25
    heal_after: float = 3.0


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """A transaction that is mined and did what it should.

    Attributes:
        hash: Transaction hash, 0x.
        block: Its block number.
        gas_used: Units of gas.
        fee: What the gas cost.
        nonce: The account's nonce that it used.
        events: Events of the serving contracts, in order.
        replaced: Hashes of earlier forms of it that were stuck, oldest first.
    """

    hash: str
    block: int
    gas_used: int
    fee: Amount
    nonce: int
    events: tuple[ContractEvent, ...] = ()
    replaced: tuple[str, ...] = ()


@dataclass(slots=True)
class _Waiting:
    """A transaction under way: every form of it that was sent."""

    what: str
    call: dict[str, str]
    unsigned: Unsigned
    lease: Lease
    began: float
    raws: list[str] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    signed_at: float = 0.0
    alive_at: float = 0.0
    unknown_since: float | None = None
    gap_since: float | None = None
    taken: int = 0
    taken_since: float | None = None
    percent: int = 0


class Sender:
    """Sends transactions of one wallet.

    Args:
        network: The chain.
        transport: HTTP.
        wallet: Who signs and pays.
        store: Where nonces are kept; shared by all who use the wallet.
        sending: How patient to be.
        on_progress: Told what happens.
    """

    def __init__(
        self,
        network: Network,
        transport: Transport,
        wallet: Wallet,
        *,
        store: Store,
        sending: Sending | None = None,
        on_progress: Listener | None = None,
    ) -> None:
        self.network = network
        self.wallet = wallet
        self._transport = transport
        self._rpc = JsonRpc(network.rpc_url, transport)
        self.store = store
        self._sending = sending or Sending()
        self._listener = on_progress

    async def send(self, what: str, to: str, data: str, value: int = 0) -> TransactionResult:
        """Send a transaction and wait until it is mined.

        Args:
            what: The function's name, for messages.
            to: The contract.
            data: Calldata, 0x.
            value: Neuron sent along.

        Raises:
            TransactionReverted: the contract refuses; nothing was sent unless ``details["transaction"]`` is set.
            InsufficientFunds: the wallet cannot pay value and gas; nothing was sent.
            ChainError: the chain cannot be reached (nothing was sent), or the transaction was not mined in time:
                ``transaction_pending`` (``details["transaction"]``), it may still be.
            WrongChain: the RPC answers for another chain; nothing was sent.
        """
        call = {"from": self.wallet.address, "to": to, "data": data, "value": hex(value)}
        gas, fees = await self._preflight(what, call, value)
        nonces = Nonces(self.store, self.network.chain_id, self.wallet.address)
        waiting = await self._submit(what, call, gas, fees, nonces)
        tell(
            self._listener,
            "sent",
            f"{what}: transaction {waiting.hashes[-1]} is on its way",
            transaction=waiting.hashes[-1],
            nonce=waiting.lease.nonce,
        )
        return await self._wait(waiting, nonces)

    # before sending

    async def _preflight(self, what: str, call: dict[str, str], value: int) -> tuple[int, Fees]:
        chain_id, balance, outcome, estimate, *prices = await self._rpc.batch(
            [
                ("eth_chainId", []),
                ("eth_getBalance", [call["from"], "latest"]),
                ("eth_call", [call, "latest"]),
                ("eth_estimateGas", [call]),
                *_PRICES,
            ]
        )
        if (found := _number(chain_id, "eth_chainId")) != self.network.chain_id:
            raise WrongChain(
                f"the RPC endpoint answers for chain {found}, network {self.network.name!r} is {self.network.chain_id}",
                hint="set ZEROG_NETWORK (network=…) and ZEROG_RPC_URL (rpc_url=…) to the same chain",
            )
        money = _number(balance, "eth_getBalance")
        if money < value:
            raise self._too_poor(what, money, value)
        for answer in (outcome, estimate):
            if isinstance(answer, RpcFailure):
                raise self._refusal(what, answer)
        gas = _number(estimate, "eth_estimateGas") * (100 + self._sending.gas_margin) // 100
        fees = _fees(prices)
        if money < value + gas * fees.cap:
            raise self._too_poor(what, money, value + gas * fees.cap)
        return gas, fees

    def _too_poor(self, what: str, money: int, needed: int) -> InsufficientFunds:
        return InsufficientFunds(
            f"{what} takes up to {Amount(needed)} with gas, the wallet {self.wallet.address} holds {Amount(money)}",
            code="wallet_too_small",
            hint=f"send 0G to {self.wallet.address} on {self.network.name}, or spend less",
        )

    def _refusal(self, what: str, failure: RpcFailure, **details: Any) -> ChainError:
        low = failure.message.lower()
        if failure.data not in ("", "0x") or "revert" in low:
            return reverted(failure.data, what, **details)
        if "insufficient funds" in low or "insufficient balance" in low:
            return InsufficientFunds(
                f"{what}: the wallet {self.wallet.address} cannot pay for it ({failure.message})",
                code="wallet_too_small",
                hint=f"send 0G to {self.wallet.address} on {self.network.name}",
            )
        return ChainError(
            f"{what}: the node refuses: {failure.message}", code="node_refused", hint="check ZEROG_RPC_URL", **details
        )

    # nonce, signature, first sending

    async def _lease(self, nonces: Nonces) -> Lease:
        floor = await self._transport.blocking(nonces.floor)
        abandoned = await self._transport.blocking(nonces.abandoned)
        for pause in (0.0, 0.2, 0.4, 0.8, 1.6):
            if pause:
                await self._transport.sleep(pause)
            mined, pending, *known = await self._rpc.batch(
                [
                    *[("eth_getTransactionCount", [self.wallet.address, tag]) for tag in ("latest", "pending")],
                    *[("eth_getTransactionByHash", [tx_hash]) for tx_hash in abandoned.values()],
                ]
            )
            count = _number(mined, "eth_getTransactionCount")
            if count >= floor:  # otherwise this node lags behind the one that told us before
                break
        else:
            await self._transport.blocking(nonces.rewind, count)
        waiting = _number(pending, "eth_getTransactionCount")
        alive = [nonce for nonce, found in zip(abandoned, known, strict=True) if isinstance(found, dict)]
        return await self._transport.blocking(nonces.take, count, waiting, alive)

    async def _submit(self, what: str, call: dict[str, str], gas: int, fees: Fees, nonces: Nonces) -> _Waiting:
        lease: Lease | None = None
        for _ in range(_ATTEMPTS):
            lease = lease or await self._lease(nonces)
            tx = Unsigned(
                self.network.chain_id,
                lease.nonce,
                call["to"],
                int(call["value"], 16),
                bytes.fromhex(call["data"][2:]),
                gas,
                fees,
            )
            sent = False
            try:
                raw, tx_hash = tx.sign(self.wallet)
                if not await self._transport.blocking(nonces.touch, lease, tx_hash):
                    lease = None  # this process slept too long, and somebody else has the nonce now
                    continue
                sent = True
                failure = await self._broadcast(raw)
            except BaseException:
                if not sent:
                    await self._transport.blocking(nonces.give_back, lease)
                raise
            verdict = _meaning(failure)
            if verdict == "sent":
                now = time.monotonic()
                return _Waiting(what, call, tx, lease, now, [raw], [tx_hash], signed_at=now, alive_at=now)
            if verdict == "too_cheap":
                fees = fees.raised(50)
            elif verdict == "nonce_used":
                await self._transport.blocking(nonces.used, lease)
                lease = None
            elif verdict == "nonce_occupied":
                lease = None  # another program's transaction waits there: leave the lease, so that nobody tries it
            else:
                await self._transport.blocking(nonces.give_back, lease)
                assert failure is not None  # noqa: S101 - only then is it refused
                raise self._refusal(what, failure)
        raise ChainError(
            f"{what}: no free nonce was found in {_ATTEMPTS} attempts",
            code="nonce_contention",
            hint="another program sends with this wallet; share one ZEROG_STORE, or use one wallet each",
            retryable=True,
        )

    async def _broadcast(self, raw: str) -> RpcFailure | None:
        """Hand a transaction to the node; None when it has it, or may have it."""
        try:
            (answer,) = await self._rpc.batch([("eth_sendRawTransaction", [raw])])
        except ChainError as error:
            if error.code not in ("rpc_unavailable", "rpc_junk"):
                raise
            return None  # it may have arrived: whoever waits for it finds out
        return answer if isinstance(answer, RpcFailure) else None

    # waiting

    async def _wait(self, tx: _Waiting, nonces: Nonces) -> TransactionResult:
        looks = 0
        trouble: ChainError | None = None
        while True:
            await self._transport.sleep(_POLL[min(looks, len(_POLL) - 1)])
            looks += 1
            try:
                if (receipt := await self._look(tx, nonces)) is not None:
                    await self._transport.blocking(nonces.used, tx.lease)
                    return await self._result(tx, receipt)
                trouble = None
            except ChainError as error:
                if not error.retryable:
                    raise
                trouble = error
            if time.monotonic() - tx.began > self._sending.timeout:
                raise self._late(tx) from trouble

    async def _look(self, tx: _Waiting, nonces: Nonces) -> dict[str, Any] | None:
        """One look at the chain, and whatever helps; the receipt once there is one."""
        mined, *receipts = await self._rpc.batch(
            [
                ("eth_getTransactionCount", [self.wallet.address, "latest"]),
                *[("eth_getTransactionReceipt", [tx_hash]) for tx_hash in tx.hashes],
            ]
        )
        for receipt in receipts:
            if isinstance(receipt, dict) and receipt.get("blockNumber"):
                return receipt
        count, nonce, now = _number(mined, "eth_getTransactionCount"), tx.lease.nonce, time.monotonic()
        if now - tx.alive_at > _ALIVE_EVERY:
            await self._transport.blocking(nonces.touch, tx.lease)
            tx.alive_at = now
            tell(self._listener, "waiting", f"{tx.what}: still waiting for {tx.hashes[-1]}", transaction=tx.hashes[-1])
        if count > nonce:
            tx.taken += 1
            tx.taken_since = tx.taken_since or now  # a node may know the count before the receipt
            if tx.taken >= _LOOKS and now - tx.taken_since > _PATIENCE * self._sending.heal_after:
                await self._transport.blocking(nonces.used, tx.lease)
                raise ChainError(
                    f"{tx.what}: another transaction of {self.wallet.address} took nonce {nonce}; this one "
                    f"({tx.hashes[-1]}) was dropped",
                    code="nonce_taken",
                    hint="another program sends with this wallet; look at its transactions, then try again",
                    transaction=tx.hashes[-1],
                )
        elif count == nonce:
            await self._help_own(tx, nonces, now)
        else:
            await self._help_before(tx, nonces, count, now)
        return None

    async def _help_own(self, tx: _Waiting, nonces: Nonces, now: float) -> None:
        """Ours is the next one: send it again if the node has lost it, replace it if it is stuck."""
        if now - tx.signed_at > self._sending.stuck_after:
            await self._replace(tx, nonces, now)
            return
        (found,) = await self._rpc.batch([("eth_getTransactionByHash", [tx.hashes[-1]])])
        if found is not None:
            tx.unknown_since = None
        elif tx.unknown_since is None:
            tx.unknown_since = now
        elif now - tx.unknown_since > self._sending.heal_after:
            tx.unknown_since = now
            await self._broadcast(tx.raws[-1])
            tell(
                self._listener,
                "resent",
                f"{tx.what}: the node had lost {tx.hashes[-1]}; it was sent again",
                transaction=tx.hashes[-1],
            )

    async def _replace(self, tx: _Waiting, nonces: Nonces, now: float) -> None:
        tx.percent += self._sending.raise_percent
        fees = tx.unsigned.fees.raised(tx.percent).at_least(_fees(await self._rpc.batch(_PRICES)))
        old = tx.unsigned
        new = Unsigned(old.chain_id, old.nonce, old.to, old.value, old.data, old.gas, fees)
        raw, tx_hash = new.sign(self.wallet)
        tx.signed_at = now
        if not await self._transport.blocking(nonces.touch, tx.lease, tx_hash):
            return  # mined, as another process saw: the next look finds the receipt
        # Noted before it is sent: should the answer be lost, this form may be the one that is mined.
        tx.raws.append(raw)
        tx.hashes.append(tx_hash)
        failure = await self._broadcast(raw)
        if _meaning(failure) == "sent":
            tx.unsigned, tx.percent = new, 0
            tell(
                self._listener,
                "replaced",
                f"{tx.what}: {tx.hashes[-2]} was stuck and is replaced by {tx_hash} at a higher fee",
                transaction=tx_hash,
                replaced=tx.hashes[-2],
                nonce=old.nonce,
            )
        else:  # refused (too cheap still, or the wallet cannot pay more): the earlier form goes on waiting
            tx.raws.pop()
            tx.hashes.pop()

    async def _help_before(self, tx: _Waiting, nonces: Nonces, count: int, now: float) -> None:
        """An earlier nonce is missing: if nobody holds it, fill the gap with a transfer of nothing to ourselves."""
        if await self._transport.blocking(nonces.is_held, count):
            tx.gap_since = None
            return
        if tx.gap_since is None:
            tx.gap_since = now
        if now - tx.gap_since <= self._sending.heal_after:
            return
        pending, *prices = await self._rpc.batch(
            [("eth_getTransactionCount", [self.wallet.address, "pending"]), *_PRICES]
        )
        if _number(pending, "eth_getTransactionCount") > count:
            return  # the node has a transaction for it, of another program
        lease = await self._transport.blocking(nonces.claim, count)
        tx.gap_since = None
        if lease is None:
            return
        filler = Unsigned(
            self.network.chain_id, count, self.wallet.address, 0, b"", _TRANSFER_GAS, _fees(prices).raised(20)
        )
        raw, tx_hash = filler.sign(self.wallet)
        if await self._transport.blocking(nonces.touch, lease, tx_hash):
            await self._broadcast(raw)
            tell(
                self._listener,
                "gap_filled",
                f"nonce {count} was left unused by a failed send and is filled by {tx_hash}",
                transaction=tx_hash,
                nonce=count,
            )

    def _late(self, tx: _Waiting) -> ChainError:
        return ChainError(
            f"{tx.what}: transaction {tx.hashes[-1]} is not mined after {self._sending.timeout:.0f} s; it may still be",
            code="transaction_pending",
            hint="look it up before sending again; until then its nonce stays reserved",
            transaction=tx.hashes[-1],
            replaced=tuple(tx.hashes[:-1]),
            nonce=tx.lease.nonce,
        )

    async def _result(self, tx: _Waiting, receipt: dict[str, Any]) -> TransactionResult:
        tx_hash, block = str(receipt["transactionHash"]), _number(receipt["blockNumber"], "a receipt")
        gas_used = _number(receipt.get("gasUsed"), "a receipt")
        if _number(receipt.get("status"), "a receipt") != 1:
            facts = {"transaction": tx_hash, "block": block, "gas_used": gas_used}
            tell(self._listener, "reverted", f"{tx.what}: {tx_hash} was mined and reverted", **facts)
            (why,) = await self._rpc.batch([("eth_call", [tx.call, hex(block)])])
            failure = why if isinstance(why, RpcFailure) else RpcFailure(3, "execution reverted", "0x")
            raise self._refusal(tx.what, failure, **facts)
        price = receipt.get("effectiveGasPrice") or hex(tx.unsigned.fees.cap)
        try:
            events = decode_logs(receipt.get("logs") or ())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ChainError(
                f"{tx.what} was mined ({tx_hash}), but the RPC endpoint answers junk about it: {error}",
                code="rpc_junk",
                hint="check ZEROG_RPC_URL; do not send again",
                transaction=tx_hash,
            ) from error
        tell(self._listener, "mined", f"{tx.what}: {tx_hash} is in block {block}", transaction=tx_hash, block=block)
        return TransactionResult(
            tx_hash,
            block,
            gas_used,
            Amount(gas_used * _number(price, "a receipt")),
            tx.lease.nonce,
            events,
            tuple(each for each in tx.hashes if each != tx_hash),
        )


_PRICES: list[tuple[str, list[Any]]] = [
    ("eth_getBlockByNumber", ["latest", False]),
    ("eth_gasPrice", []),
    ("eth_maxPriorityFeePerGas", []),
]


def _fees(answers: list[Any]) -> Fees:
    """Fees from the answers to `_PRICES`: EIP-1559 where the block has a base fee."""
    block, price, tip = answers
    legacy = _number(price, "eth_gasPrice")
    base = block.get("baseFeePerGas") if isinstance(block, dict) else None
    if base is None:
        return Fees(legacy)
    floor = _number(base, "baseFeePerGas")
    least = max(legacy - floor, 0)  # what the node's own price has above the base fee
    wanted = least if isinstance(tip, RpcFailure) else max(_number(tip, "eth_maxPriorityFeePerGas"), least)
    wanted = wanted or _GWEI
    return Fees(2 * floor + wanted, wanted)


def _meaning(failure: RpcFailure | None) -> str:
    """What a node's answer to ``eth_sendRawTransaction`` means; the words are those of geth, anvil and their kin."""
    if failure is None:
        return "sent"
    low = failure.message.lower()
    if "already known" in low or "already imported" in low or "known transaction" in low or "already in" in low:
        return "sent"
    if "nonce too low" in low or "nonce is too low" in low or "invalid nonce" in low:
        return "nonce_used"
    if "replacement" in low or "could not replace" in low:
        return "nonce_occupied"
    if "underpriced" in low or "less than block base fee" in low or "fee too low" in low or "min gas price" in low:
        return "too_cheap"
    return "refused"


def _number(value: Any, what: str) -> int:
    try:
        return int(value, 16)
    except (TypeError, ValueError):
        reason = f": {value.message}" if isinstance(value, RpcFailure) else " is not a number"
        message = f"the chain's RPC endpoint answers junk: {what}{reason}"
        raise ChainError(message, code="rpc_junk", hint="check ZEROG_RPC_URL (rpc_url=…)", retryable=True) from None
