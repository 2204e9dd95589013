"""The desk of a gateway: challenges, permits, sessions, and what they come to on chain (opengradient §2.3 to §2.5).

Permits are checked and settled by the facilitator of x402, in this process, on the local chain.
"""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.keys import Key
from zg_core.localnet.opengradient.faults import Fault
from zg_core.localnet.opengradient.places import OTHER_TOKEN, PAYMENT_CHAIN_ID, TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.localnet.base.clock import Clock
    from zg_core.localnet.opengradient.faults import FaultPlan
    from zg_core.localnet.opengradient.settings import GatewaySettings

NETWORK = f"eip155:{PAYMENT_CHAIN_ID}"
_STRANGER = Key("0x" + "ee" * 32).address
_YEAR = 365 * 86_400


class Facilitator:
    """Checks and settles payments.

    Args:
        private_key: Of the account that sends transactions.
        rpc_url: The payment chain.
    """

    def __init__(self, private_key: str, rpc_url: str) -> None:
        from x402 import x402FacilitatorSync
        from x402.mechanisms.evm import FacilitatorWeb3Signer
        from x402.mechanisms.evm.exact import ExactEvmFacilitatorScheme
        from x402.mechanisms.evm.upto import UptoEvmFacilitatorScheme

        signer = FacilitatorWeb3Signer(private_key, rpc_url)
        self._signer: Any = signer
        self.address = signer.address
        self._x402 = x402FacilitatorSync()
        for scheme in (UptoEvmFacilitatorScheme(signer), ExactEvmFacilitatorScheme(signer)):
            self._x402.register([NETWORK], scheme)
        self._settling = threading.Lock()

    def forget(self) -> None:
        """Ask the chain again how many transactions its account has sent: the chain went back."""
        self._signer._next_nonce = None  # noqa: SLF001 - x402 has no other way

    def objection(self, payload: Any, requirements: Any) -> str:
        """Why a payment is not accepted; "" where it is."""
        said = self._x402.verify(payload, requirements)
        return "" if said.is_valid else str(said.invalid_reason or "invalid_payment")

    def settle(self, payload: Any, requirements: Any, amount: int) -> Any:
        """Take `amount`; x402's answer."""
        wanted = requirements.model_copy(update={"amount": str(amount)})
        with self._settling:  # one account sends: one number after the other
            return self._x402.settle(payload, wanted)


@dataclass(slots=True)
class Session:
    """A permit, and what calls have cost under it.

    Attributes:
        id: What requests show.
        path: Where it counts.
        payload: The permit as it came.
        requirements: What it fulfils.
        payer: Who pays.
        cap: The most that it allows.
        deadline: When it ends.
        used: When a request came last.
        cost: What was metered.
        settled: The transaction, once there is one; "" for nothing to settle.
        busy: Requests under way.
    """

    id: str
    path: str
    payload: Any
    requirements: Any
    payer: str
    cap: int
    deadline: float
    used: float
    cost: int = 0
    settled: str | None = None
    settled_amount: int = 0
    busy: int = 0
    identifier: str = ""
    nonce: str = ""

    def charge(self, amount: int) -> int:
        """Meter a call; what of it is billed: nothing beyond the cap."""
        billed = min(amount, self.cap - self.cost)
        self.cost += billed
        return billed


@dataclass(frozen=True, slots=True)
class Refusal:
    """A 402.

    Attributes:
        error: Why.
        challenge: The header that says what to pay; None for a session that is over.
    """

    error: str
    challenge: str | None


@dataclass(slots=True)
class Desk:
    """One gateway's desk."""

    facilitator: Facilitator
    pay_to: str
    settings: GatewaySettings
    faults: FaultPlan
    clock: Clock
    sessions: dict[str, Session] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _answers: dict[str, Any] = field(default_factory=dict)

    def admit(self, path: str, url: str, headers: Mapping[str, str]) -> Session | Refusal:
        """The session under which a request is served, or why it is not."""
        shown = headers.get("x-upto-session")
        if shown and self.settings.scheme == "upto":
            return self._reuse(shown, path)
        signed = headers.get("payment-signature") or headers.get("x-payment")
        if not signed:
            return self._refuse("Payment required", url)
        return self._take(signed, path, url)

    def _reuse(self, shown: str, path: str) -> Session | Refusal:
        with self._lock:
            session, now = self.sessions.get(shown), self.clock.now()
            if (
                session is None
                or self.faults.take(Fault.SESSION_EXPIRED)
                or session.path != path
                or session.settled is not None
                or session.cost >= session.cap
                or now > session.deadline - self.settings.refuse_before
            ):
                return Refusal("Session expired or exhausted", None)
            session.used = now
            session.busy += 1
            return session

    def _take(self, signed: str, path: str, url: str) -> Session | Refusal:
        from x402.http.utils import decode_payment_signature_header

        try:
            payload: Any = decode_payment_signature_header(signed)
            wanted = self._requirements()
            reason = self._differs(payload.accepted, wanted) or self.facilitator.objection(payload, payload.accepted)
        except (ValueError, KeyError, AttributeError, TypeError):
            return self._refuse("invalid_payload", url)
        if refused := self.faults.take(Fault.PAYMENT_REFUSED):
            reason = str(refused.options["reason"])
        said = payload.payload.get("permit2Authorization") or payload.payload.get("authorization") or {}
        nonce = str(said.get("nonce"))
        with self._lock:
            known = next((each for each in self.sessions.values() if each.nonce == nonce), None)
        identifier = _identifier(payload)
        if known is not None and identifier and known.identifier == identifier:
            known.busy += 1
            return known
        if reason or known is not None:
            return self._refuse(reason or "permit2_invalid_nonce", url)
        now = self.clock.now()
        session = Session(
            str(uuid.uuid4()),
            path,
            payload,
            payload.accepted,
            str(said.get("from")),
            int(payload.accepted.amount),
            float(said.get("deadline") or said.get("validBefore") or 0),
            now,
            busy=1,
            identifier=identifier,
            nonce=nonce,
        )
        with self._lock:
            self.sessions[session.id] = session
        return session

    def _refuse(self, error: str, url: str) -> Refusal:
        return Refusal(error, self.challenge(error, url))

    def done(self, session: Session) -> None:
        """A request of it has ended."""
        with self._lock:
            session.busy -= 1
            session.used = self.clock.now()

    # what is asked

    def _requirements(self) -> dict[str, Any]:
        settings = self.settings
        upto = settings.scheme == "upto"
        extra: dict[str, Any] = {"name": "OpenGradient", "version": "1"}
        if settings.scheme != "exact-eip3009":
            extra["assetTransferMethod"] = "permit2"
        if upto:
            extra["facilitatorAddress"] = self.facilitator.address
        return {
            "scheme": "upto" if upto else "exact",
            "network": NETWORK,
            "asset": TOKEN,
            "amount": str(settings.cap if upto else settings.price),
            "payTo": self.pay_to,
            "maxTimeoutSeconds": settings.lifetime,
            "extra": extra,
        }

    def _differs(self, accepted: Any, wanted: dict[str, Any]) -> str:
        """Why what was accepted is not what is asked; what a fault asked for in its place would do."""
        if accepted.scheme != wanted["scheme"] or str(accepted.network) != wanted["network"]:
            return "invalid_payment_requirements"
        return ""

    def challenge(self, error: str, url: str) -> str:
        """The header of a 402: Base64 of JSON."""
        import base64

        wanted = self._requirements()
        if greedy := self.faults.take(Fault.GREEDY_AMOUNT):
            wanted["amount"] = str(int(wanted["amount"]) * int(greedy.options["factor"]))
        if self.faults.take(Fault.WRONG_PAYEE):
            wanted["payTo"] = _STRANGER
        if self.faults.take(Fault.WRONG_ASSET):
            wanted["asset"] = OTHER_TOKEN
        if self.faults.take(Fault.WRONG_NETWORK):
            wanted["network"] = "eip155:1"
        if self.faults.take(Fault.UNKNOWN_SCHEME):
            wanted["scheme"] = "batch-settlement"
        if self.faults.take(Fault.LONG_LIFETIME):
            wanted["maxTimeoutSeconds"] = _YEAR
        extensions: dict[str, Any] = {
            "erc20ApprovalGasSponsoring": {
                "info": {"description": "The facilitator pays for the approval.", "version": "1"},
                "schema": {"type": "object"},
            }
        }
        if self.settings.identifier:
            extensions["payment-identifier"] = {"info": {"required": False}, "schema": {"type": "object"}}
        said = {
            "x402Version": 2,
            "error": error,
            "resource": {"url": url, "description": "Chat completion", "mimeType": "application/json"},
            "accepts": [wanted],
            "extensions": extensions,
        }
        return base64.b64encode(json.dumps(said).encode()).decode()

    # what it comes to

    def settle(self, session: Session) -> str:
        """Take what was metered; the hash of the transaction, "" where nothing was."""
        with self._lock:
            if session.settled is not None:
                return session.settled
            session.settled = ""
        amount = session.cost if self.settings.scheme == "upto" else session.cap
        if session.cost and (inflated := self.faults.take(Fault.SETTLEMENT_INFLATED)):
            amount = min(session.cap, amount * int(inflated.options["factor"]))
        if amount:
            said = self.facilitator.settle(session.payload, session.requirements, amount)
            if not said.success:
                raise RuntimeError(f"a settlement failed: {said.error_reason} {said.error_message or ''}")
            session.settled, session.settled_amount = str(said.transaction), amount
        return session.settled or ""

    def due(self) -> list[Session]:
        """Sessions that are to be settled: idle for long enough, or about to end."""
        now, idle = self.clock.now(), self.settings.idle
        with self._lock:
            return [
                each
                for each in self.sessions.values()
                if each.settled is None and not each.busy and (idle is not None and now >= each.used + idle)
            ]

    def open(self) -> list[Session]:
        """Sessions that are not settled."""
        with self._lock:
            return [each for each in self.sessions.values() if each.settled is None]


def _identifier(payload: Any) -> str:
    extension = (payload.extensions or {}).get("payment-identifier") or {}
    said = (extension.get("info") or {}).get("id")
    return said if isinstance(said, str) else ""
