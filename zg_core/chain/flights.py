"""A transaction under way: every form of it that was signed, and how it is signed and handed to a node."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.chain.failures import RpcFailure
from zg_core.chain.nonces import Form
from zg_core.chain.words import Meaning, meaning
from zg_core.errors import ChainError
from zg_core.money import Amount

if TYPE_CHECKING:
    from zg_core.chain.encoding import Unsigned
    from zg_core.chain.nonces import Lease, Nonces
    from zg_core.chain.rpc import JsonRpc
    from zg_core.http.transport import Transport
    from zg_core.wallet import Wallet

__all__ = ["Desk", "Flight", "Handed"]


@dataclass(slots=True)
class Handed:
    """What may have reached a node for one intention; who asked can read it even when sending failed.

    Attributes:
        forms: Every signed form, oldest first.
        gaps: What was sent of nothing to ourselves, so that it can be mined: their nonces were used by nobody.
    """

    forms: list[Form] = field(default_factory=list)
    gaps: list[Form] = field(default_factory=list)

    @property
    def hashes(self) -> list[str]:
        """Their hashes."""
        return [form.hash for form in self.forms]

    @property
    def most_gas(self) -> Amount:
        """Most that their gas costs, whatever a node says: of the forms with one nonce, one at most is mined."""
        dearest: dict[int, int] = {}
        for form in (*self.forms, *self.gaps):
            dearest[form.nonce] = max(dearest.get(form.nonce, 0), form.cost)
        return Amount(sum(dearest.values()))


@dataclass(slots=True)
class Flight:
    """One intention on its way.

    Attributes:
        what: The function's name, for messages.
        call: Sender, receiver, data and value, as ``eth_call`` takes them.
        handed: Every form of it.
        id: Of the intention in the store.
        lease: The nonce that it has now.
        unsigned: The newest form with that nonce.
        raws: All signed forms with that nonce.
        began: When the first was handed over.
        left: Whether one may have reached a node.
        accepted: Whether a node has said that it has one with this nonce, or was seen to know it.
        occupied: Whether a node has said that another transaction waits with this nonce.
        said: What the node said last instead of taking it.
        outcome: What the store is told when it ends; None for an unclear end.
        taker: The transaction that has taken its nonce.
        resumed: Whether it goes on with an intention: then it has no other nonce than that one's.
    """

    what: str
    call: dict[str, str]
    handed: Handed = field(default_factory=Handed)
    id: str = ""
    lease: Lease | None = None
    unsigned: Unsigned | None = None
    raws: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    left: bool = False
    accepted: bool = False
    occupied: bool = False
    said: str = ""
    failure: RpcFailure | None = None
    outcome: str | None = None
    taker: str = ""
    resumed: bool = False
    # what whoever waits remembers between two looks
    signed_at: float = 0.0
    told_at: float = field(default_factory=time.monotonic)
    unknown_since: float | None = None
    gap_since: float | None = None
    passed: int = 0
    searched_at: float = 0.0
    percent: int = 0

    def begin(self, lease: Lease) -> None:
        """Start with a nonce; what was signed for an earlier one can no longer be mined."""
        self.lease, self.unsigned, self.raws = lease, None, []
        self.accepted = self.occupied = False
        self.taker = ""
        self.unknown_since = self.gap_since = None
        self.passed, self.searched_at, self.percent = 0, 0.0, 0

    @property
    def nonce(self) -> int:
        """The nonce that it has now."""
        assert self.lease is not None  # noqa: S101 - it has one from `begin` on
        return self.lease.nonce

    def named(self) -> dict[str, Any]:
        """What an error or a step of progress says of it."""
        hashes = self.handed.hashes
        return {
            "transaction": hashes[-1],
            "replaced": tuple(hashes[:-1]),
            "intention": self.id,
            **({} if self.lease is None else {"nonce": self.lease.nonce}),
        }


class Desk:
    """Signs with one wallet, notes what it signs, and hands it over."""

    def __init__(self, transport: Transport, rpc: JsonRpc, wallet: Wallet, nonces: Nonces) -> None:
        self._transport = transport
        self._rpc = rpc
        self._wallet = wallet
        self._nonces = nonces

    async def sign(self, flight: Flight, unsigned: Unsigned) -> bool:
        """Sign a form and note it before a node can see it; False if the nonce was lost meanwhile."""
        assert flight.lease is not None  # noqa: S101 - it is taken before
        raw, tx_hash = unsigned.sign(self._wallet)
        form = Form.of(unsigned, tx_hash, flight.id)
        if not await self._transport.blocking(self._nonces.sign, flight.lease, form):
            return False
        flight.unsigned = unsigned
        if form.hash not in flight.handed.hashes:
            flight.handed.forms.append(form)
        flight.raws.append(raw)
        flight.signed_at = time.monotonic()
        return True

    async def hand_over(self, flight: Flight) -> Meaning:
        """Give the newest form to the node: what its answer means, as far as one can tell."""
        found, said = await self.give(flight.raws[-1])
        flight.left |= not isinstance(said, ChainError) or bool(said.details.get("sent", True))
        flight.said = "" if said is None or found is Meaning.SENT else said.message
        flight.failure = said if isinstance(said, RpcFailure) else None
        flight.accepted |= found is Meaning.SENT
        flight.occupied = found is Meaning.NONCE_OCCUPIED and not flight.accepted
        return found

    def signed(self, unsigned: Unsigned) -> tuple[str, str]:
        """Raw bytes and hash of a transaction that belongs to no intention."""
        return unsigned.sign(self._wallet)

    async def give(self, raw: str) -> tuple[Meaning, RpcFailure | ChainError | None]:
        """Hand over signed bytes; an answer that was lost is unclear."""
        try:
            (answer,) = await self._rpc.batch([("eth_sendRawTransaction", [raw])])
        except ChainError as error:
            return Meaning.UNCLEAR, error
        failure = answer if isinstance(answer, RpcFailure) else None
        return meaning(failure), failure
