"""What became of payments on chain (opengradient §4.2): whether a permit was used, by which transaction, for how much.

The decoding is pure; `find` asks a node for logs of the token, and then for the transactions that made them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zg_core.audits.bills import Bill
from zg_core.backends.opengradient.places import PERMIT2, PROXIES
from zg_core.chain.failures import RpcFailure
from zg_core.chain.rpc import data_of, quantity
from zg_core.crypto import checksum_address, is_address, keccak256, same_address
from zg_core.errors import ChainError, ConfigError
from zg_core.money import METERED, Amount
from zg_core.receipts.audited import Audited

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zg_core.audits.bills import State
    from zg_core.backends.opengradient.publication import Publication
    from zg_core.chain.rpc import JsonRpc
    from zg_core.receipts.model import Receipt

__all__ = ["Settlement", "Taken", "bill_of", "find", "is_used", "taken_by", "used_call", "with_claims"]

_WORD = 32
_SELECTORS = {
    bytes.fromhex("ff11e7b4"): ("upto", 0),
    bytes.fromhex("016c1748"): ("upto", 5),
}
_TRANSFER = "0x" + keccak256(b"Transfer(address,address,uint256)").hex()
_AUTHORIZATION_USED = "0x" + keccak256(b"AuthorizationUsed(address,bytes32)").hex()
_RANGE = 9_000  # blocks that public nodes look through at once
_MOST_RANGES = 40
_BLOCK_SECONDS = 2  # of Base
_LATE = 3600  # seconds after its end within which a permit's transaction is looked for


@dataclass(frozen=True, slots=True)
class Taken:
    """What one transaction took by a permit.

    Attributes:
        nonce: Number of the permit.
        owner: Who paid.
        to: Who was paid.
        token: In which token.
        amount: How much.
    """

    nonce: int
    owner: str
    to: str
    token: str
    amount: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the chain says of a permit.

    Attributes:
        status: ``"settled"``; ``"unused"`` (nothing was taken, and nothing can be any more); ``"open"`` (nothing was
            taken yet); ``"not_located"`` (it was used, and the transaction was not found).
        transaction: Hash of the transaction, "" without one.
        block: Its block.
        amount: What was taken, for all calls under the permit together.
        calls: How many of the receipts at hand share the permit; their claims are `claimed`.
        claimed: What those receipts say that their calls cost, together.
        reason: Why nothing is known, where that is so.
        publication: Where the answer's hashes were published; None where that was not asked.
    """

    status: str
    transaction: str = ""
    block: int | None = None
    amount: Amount | None = None
    calls: int = 1
    claimed: Amount | None = None
    reason: str = ""
    publication: Publication | None = None

    @property
    def excess(self) -> Amount | None:
        """What was taken beyond what the receipts say; None where that is not known, or is not so."""
        if self.amount is None or self.claimed is None or self.amount <= self.claimed:
            return None
        return self.amount - self.claimed

    def to_dict(self) -> dict[str, Any]:
        """Plain data, amounts as texts."""
        return {
            "status": self.status,
            "transaction": self.transaction or None,
            "block": self.block,
            "amount": None if self.amount is None else str(self.amount.units),
            "currency": "OPG",
            "calls": self.calls,
            "claimed": None if self.claimed is None else str(self.claimed.units),
            "excess": None if self.excess is None else str(self.excess.units),
            "reason": self.reason or None,
            "publication": None if self.publication is None else self.publication.to_dict(),
        }


def with_claims(found: Settlement, calls: int, claimed: Amount) -> Settlement:
    """`found`, beside what the receipts that share the permit say."""
    return replace(found, calls=calls, claimed=claimed)


def bill_of(receipts: Sequence[Receipt], found: Settlement) -> Bill:
    """The receipts that share a permit, beside what became of it: what was metered for a call is what it may take."""
    states: dict[str, State] = {"settled": "charged", "unused": "none", "open": "open", "not_located": "not_located"}
    calls, said = [_claim(each) for each in receipts], [each.fee.amount for each in receipts]
    nonce = str(receipts[0].grant.get("nonce", ""))
    return Bill(nonce, calls, said, states[found.status], found.amount, transaction=found.transaction)


def _claim(receipt: Receipt) -> Audited:
    call = Audited.of(receipt)
    return call._replace(exact=True, upper=call.units) if receipt.fee.reason == METERED else call


def used_call(payer: str, nonce: int) -> bytes:
    """The data of the call that tells whether a permit was used: a word of Permit2's bitmap."""
    return keccak256(b"nonceBitmap(address,uint256)")[:4] + _address(payer) + (nonce >> 8).to_bytes(_WORD)


def is_used(word: bytes, nonce: int) -> bool:
    """Whether the bit of a permit is set in its word."""
    return bool(int.from_bytes(word) >> (nonce & 0xFF) & 1)


def taken_by(data: bytes) -> Taken | None:
    """What a call of the payment proxy takes; None where it is none (`settle`, `settleWithPermit`).

    Example:
        >>> taken_by(b"") is None
        True
    """
    found = _SELECTORS.get(data[:4])
    if found is None:
        return None
    skip = found[1]
    words = [data[4 + _WORD * n : 4 + _WORD * (n + 1)] for n in range(skip, skip + 7)]
    if any(len(word) != _WORD for word in words):
        return None
    token, _, nonce, _, amount, owner, to = words
    try:
        return Taken(int.from_bytes(nonce), _checksum(owner), _checksum(to), _checksum(token), int.from_bytes(amount))
    except ValueError:
        return None


async def find(rpc: JsonRpc, facts: Mapping[str, Any], *, since: float, now: float) -> Settlement:
    """What became of the permit that a receipt's facts describe.

    Args:
        rpc: A node of the payment chain.
        facts: Scheme, number, end, payer, payee and token of the permit.
        since: When it was signed, unix seconds.
        now: The time.

    Raises:
        ChainError: the chain cannot be read.
        ConfigError: the facts are no permit's (code ``bad_receipt``).
    """
    payer, pay_to, token, nonce, deadline = _told(facts)
    by_permit = not str(facts["nonce"]).startswith("0x")
    if by_permit:
        data = "0x" + used_call(payer, nonce).hex()
        to = PERMIT2
    else:
        call = keccak256(b"authorizationState(address,bytes32)")[:4] + _address(payer) + nonce.to_bytes(_WORD)
        data, to = "0x" + call.hex(), token
    chain, used, head = await _asked(
        rpc, ("eth_chainId", []), ("eth_call", [{"to": to, "data": data}, "latest"]), ("eth_blockNumber", [])
    )
    if f"eip155:{quantity(chain, 'eth_chainId')}" != (network := facts.get("network")):
        raise ChainError(
            f"this is not the chain {str(network)[:40]}", code="wrong_chain", hint="check ZEROG_BASE_RPC_URL"
        )
    word = data_of(used, "eth_call")
    if not (is_used(word, nonce) if by_permit else any(word)):
        return Settlement("unused" if now > deadline else "open")
    newest = quantity(head, "eth_blockNumber")
    back = int(now - since) // _BLOCK_SECONDS + 900
    first = max(newest - back, 0)
    last = min(newest, first + 900 + (deadline + _LATE - int(since)) // _BLOCK_SECONDS + 900)
    topics = [_TRANSFER, "0x" + _address(payer).hex(), "0x" + _address(pay_to).hex()]
    seen: set[str] = set()
    for number in range(_MOST_RANGES):
        start = first + number * _RANGE
        if start > last:
            break
        wanted = {"address": token, "topics": topics, "fromBlock": hex(start)}
        wanted["toBlock"] = hex(min(start + _RANGE - 1, newest))
        (logs,) = await _asked(rpc, ("eth_getLogs", [wanted]))
        for log in logs if isinstance(logs, list) else ():
            name = str(log.get("transactionHash")) if isinstance(log, dict) else ""
            if name in seen or not name:
                continue
            seen.add(name)
            if (found := await _amount(rpc, name, log, nonce, facts)) is not None:
                block = quantity(log.get("blockNumber"), "eth_getLogs")
                return Settlement("settled", name, block, Amount(found, "OPG"))
    return Settlement("not_located", reason="the permit was used; the transaction is not among the node's logs")


def _told(facts: Mapping[str, Any]) -> tuple[str, str, str, int, int]:
    """Payer, payee, token, number and end of a permit, as a receipt says: it may be a stranger's."""
    addresses = [str(facts.get(name)) for name in ("payer", "pay_to", "asset")]
    try:
        nonce, deadline = int(str(facts["nonce"]), 0), int(facts["deadline"])
        fits = 0 <= nonce < 2**256 and 0 <= deadline < 2**64 and all(map(is_address, addresses))
    except (KeyError, ValueError, TypeError):
        fits = False
    if not fits:
        message = "the receipt does not describe a permit"
        raise ConfigError(message, code="bad_receipt", hint="it was altered, or written by another program")
    payer, pay_to, token = addresses
    return payer, pay_to, token, nonce, deadline


async def _amount(rpc: JsonRpc, name: str, log: Mapping[str, Any], nonce: int, facts: Mapping[str, Any]) -> int | None:
    """What a transaction took by the permit; None where it is another's."""
    moved = int.from_bytes(data_of(log.get("data"), "eth_getLogs"))
    transaction, receipt = await _asked(
        rpc, ("eth_getTransactionByHash", [name]), ("eth_getTransactionReceipt", [name])
    )
    if not isinstance(transaction, dict) or not isinstance(receipt, dict) or receipt.get("status") != "0x1":
        return None
    data = data_of(transaction.get("input"), "eth_getTransactionByHash")
    target = str(transaction.get("to") or "")
    if same_address(target, PROXIES["upto"]):
        taken = taken_by(data)
        return taken.amount if taken is not None and taken.nonce == nonce and taken.amount == moved else None
    # The other ways carry the number among their arguments, and take what the permit says.
    known = same_address(target, PROXIES["exact"]) or same_address(target, str(facts["asset"]))
    return moved if known and nonce.to_bytes(_WORD) in data and str(moved) == str(facts.get("cap")) else None


async def _asked(rpc: JsonRpc, *calls: tuple[str, list[Any]]) -> list[Any]:
    answers = await rpc.batch(list(calls))
    for (method, _), answer in zip(calls, answers, strict=True):
        if isinstance(answer, RpcFailure):
            raise ChainError(
                f"the node refuses {method}: {answer.message}",
                code="rpc_refused",
                hint="choose another node (ZEROG_BASE_RPC_URL, OpenGradient(rpc_url=…))",
            )
    return answers


def _address(text: str) -> bytes:
    return bytes(12) + bytes.fromhex(text.removeprefix("0x"))


def _checksum(word: bytes) -> str:
    if any(word[:12]):
        raise ValueError("no address")
    return checksum_address("0x" + word[12:].hex())
