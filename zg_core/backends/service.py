"""The words that all backends share: who can answer, where a call goes, its bytes, and what lets it in. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.config import LONGEST_ID
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.config import SecretHeaders
    from zg_core.errors import ZeroGError
    from zg_core.http.messages import Upload
    from zg_core.money import Amount, Fee
    from zg_core.pricing import Tariff
    from zg_core.types import Kind, Usage
    from zg_core.verify.attestation import AttestationReport

__all__ = ["LONGEST_ID", "Body", "Correction", "Grant", "Offer", "Route", "Service"]


@dataclass(frozen=True, slots=True)
class Service:
    """Who can answer, in words that every backend shares.

    Attributes:
        provider: Its id in the backend's words (an address, the id of an enclave, ``"router"``): opaque text of at most
            `LONGEST_ID` characters.
        model: The model that it is asked for; "" is the service's own, where only its backend knows which that is.
        task: Name of the task that it serves (`zg_core.tasks`).
        url: What the path of a task is put behind; "" where it is not known yet.
        kind: What stands behind its word that an answer can be verified.
        tariff: What it bills; None where that is not known before the call.
        reach: The best verdict that a reply can get: a policy that requires more refuses it before the prompt leaves.
        currency: What it bills in.
        certificate_sha256: The leaf certificate that must be presented before a byte is sent, as hex; "" is any that
            the system's authorities have signed.
        private: Whether `url` may lead to this machine and into private networks: on a local network.
        record: What the backend itself has read of it, as plain data. It goes into receipts, and only the same backend
            reads it again.

    Example:
        >>> from zg_core.types import Kind
        >>> Service("router", "m", "chat", "https://router.example/v1", Kind.TEE_ML).reach
        <Status.VERIFIED: 'verified'>
    """

    provider: str
    model: str
    task: str
    url: str
    kind: Kind
    tariff: Tariff | None = None
    reach: Status = Status.VERIFIED
    currency: str = "0G"
    certificate_sha256: str = ""
    private: bool = field(default=False, repr=False, compare=False)
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Offer:
    """A service, and why it cannot be used now, if it cannot.

    Attributes:
        service: The service, for the model that was asked for.
        objection: Why it cannot be used (no sub-account, not acknowledged, a measurement that nobody approved, …).
        abilities: What it says that its model can do: words of `zg_core.routing.ABILITIES`.
    """

    service: Service
    objection: ZeroGError | None = None
    abilities: frozenset[str] = frozenset()

    @property
    def doubted(self) -> bool:
        """Whether somebody who watches the service says now that it is down."""
        return False

    async def look(self) -> None:
        """Ask whoever watches it now, where that is due: for who explains, and does not call."""

    async def able(self) -> frozenset[str]:
        """`abilities`, where asking for them is a request of its own: done only for who requires one.

        Raises:
            RequestError: it does not tell now.
        """
        return self.abilities


@dataclass(frozen=True, slots=True)
class Correction:
    """What a receipt has to say instead once it shows that a service had changed while its call was under way.

    Attributes:
        fee: What it cost, where nobody can tell before or after the change.
        kind: What the service is now.
        signer: The only key that can have signed; "" if none can.
        tariff: What the service bills now; None where that is not known.
    """

    fee: Fee
    kind: Kind
    signer: str
    tariff: Tariff | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Where one call goes, checked: nothing was sent yet.

    A backend whose services change under its feet returns a subclass with its own `settled` and `rests`.

    Attributes:
        service: Who will answer.
        model: The name to ask for.
        attestation: The service's report, where the policy asks for one.
    """

    service: Service
    model: str
    attestation: AttestationReport | None = None

    async def settled(self, *, patient: bool) -> Route:  # noqa: ARG002 - for those that override it
        """The same, with what the verdict and the fee of its call may rest on; asked once the reply is there.

        `patient` tries again what failed, as often as the call may.
        """
        return self

    def rests(self, usage: Usage | None, changed: Callable[[Correction], None]) -> None:
        """A call has ended that used so much and rests on this route; `changed` is told if that turns out wrong."""


@dataclass(frozen=True, slots=True)
class Body:
    """The exact bytes of a request, and what is needed to open a sealed reply.

    Attributes:
        data: The bytes, or where they are read from while they are sent.
        content_type: What they are.
        key: What opens the reply; in the backend's own form, never shown.
        held: Seconds for which its reply may be held back without a byte, beside what the model takes.
        facts: What the payload asks of the backend alone, and is no part of the bytes.
    """

    data: bytes | Upload = field(repr=False)
    content_type: str = "application/json"
    key: Any = field(default=None, repr=False)
    held: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grant:
    """What lets one request in and pays for it.

    Attributes:
        headers: Sent with it; they never show themselves.
        most: The most it can cost by this grant (a permit's cap); None: what the tariff says.
        facts: For the receipt, as plain data without secrets: number and deadline of a permit, the session, ….
        heard: Told once of the headers of the answer to the request that it was sent with (names in lower case), as
            soon as they are there; of None where none came, or the request was not sent after all.
        stands: Whether whoever has it can be paid by it, also where the request was refused: a permit. Until it is
            known what was taken, a budget holds all of it.
    """

    headers: SecretHeaders
    most: Amount | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    heard: Callable[[Mapping[str, str] | None], None] | None = field(default=None, repr=False, compare=False)
    stands: bool = False
