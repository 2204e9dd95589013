"""What a receipt keeps of one reply's proof, and what a scheme is given to make the verdict again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zg_core.exchange import Exchange
    from zg_core.verify.verdict import Verdict

__all__ = ["Evidence", "Kept", "Remake", "Scheme"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The proof of one reply, as it was served: what ``evidence`` of a receipt holds.

    Attributes:
        scheme: Name of the scheme that reads it (`zg_core.verify.schemes.registry`), "" where there is none.
        ids: Ids under which the signature is kept, the likeliest first.
        signed_text: The text that was signed, as the signer wrote it.
        signature: Its signature as text: 0x and hex digits, or base64.
        signer: Whose signature that is: an address, or the SHA-256 of a key.
        time: Unix seconds, where the signed text holds a time.
        facts: What else the scheme needs, as plain JSON without floats, for example the key's bytes.

    Example:
        >>> Evidence("signed_hashes", signed_text="a:b").to_dict()["signed_text"]
        'a:b'
    """

    scheme: str = ""
    ids: tuple[str, ...] = ()
    signed_text: str = ""
    signature: str = ""
    signer: str = ""
    time: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "scheme": self.scheme,
            "ids": list(self.ids),
            "signed_text": self.signed_text,
            "signature": self.signature,
            "signer": self.signer,
            "time": self.time,
            "facts": dict(self.facts),
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """All that a scheme may look at. It asks nobody else, and no clock.

    Attributes:
        exchange: Hashes of request and response, whether it is complete, whether it was there before. The bytes of the
            request are there only where they were kept (``b""`` otherwise); its hash always is.
        evidence: The proof.
        record: The service's record to measure against, which says whose key must have signed: of 0G's chain a
            `zg_core.types.ServiceRecord`, of other backends what their ``Service.record`` holds. It is the anchor's
            where there is one, else the receipt's own.
        claimed: The verdict that the receipt holds; nothing in it is believed.
        accept_models: Renames of models that the receipt's owner accepted.
        response: The bytes of the response, None where they were not kept.
        provider: Who answered, by the receipt.
        model: The model, by the receipt.
    """

    exchange: Exchange
    evidence: Evidence
    record: Any
    claimed: Verdict
    accept_models: Mapping[str, str] = field(default_factory=dict, hash=False)
    response: bytes | None = field(default=None, repr=False)
    provider: str = ""
    model: str = ""


class Remake(Protocol):
    """Makes a verdict again: a pure function of what was kept."""

    def __call__(self, kept: Kept, /) -> Verdict:
        """The verdict that the evidence gives."""
        ...


def _nothing(_: Kept, __: Verdict) -> Iterable[str]:
    return ()


def _as_it_is(record: Any, _: Kept) -> Any:
    return record


class Vouch(Protocol):
    """Which fields a signature vouches for."""

    def __call__(self, kept: Kept, verdict: Verdict, /) -> Iterable[str]:
        """Their names."""
        ...


class Assume(Protocol):
    """Which record a receipt rests on."""

    def __call__(self, record: Any, kept: Kept, /) -> Any:
        """`record`, as it has to have been for what the receipt says."""
        ...


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to prove a reply.

    Attributes:
        remade: The verdict that the evidence gives. It says ``failed`` where the evidence contradicts the exchange or
            the record, and what it compared in ``response_sha256``, ``expected_signer``, ``recovered_signer``, ….
        vouches: Names of fields of the receipt (``response.sha256``, ``request.body``, ``evidence.time``, …) for which
            the signature vouches where `remade` found nothing wrong. The verdict, and ``scheme``, ``signed_text``,
            ``signature`` and ``signer`` of the evidence need no mention. What nobody names is listed as vouched for by
            nobody.
        assumed: The record without an anchor: as it has to have been, for what the receipt says of it, where the client
            may have read it again after the call.
        proves: Whether somebody signed; a mere claim is never more than unproven.
        needs_bytes: Whether it shows less than the client saw where the bytes were not kept: what is signed is not
            their hashes.
        on_chain: Whether the record that it measures against is one of 0G's chain (`zg_core.types.ServiceRecord`).
    """

    remade: Remake
    vouches: Vouch = _nothing
    assumed: Assume = _as_it_is
    proves: bool = True
    on_chain: bool = False
    needs_bytes: bool = False
