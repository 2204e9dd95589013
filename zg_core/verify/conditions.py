"""What a reply has to meet, as values that compose; the demands behind a `Policy`.

::

    AllOf(ResponseBound(), Kinds("TeeML"), Attested(level=2))
    AnyOf(Verified(), AllOf(ResponseBound(), Identity("openai")))

A condition speaks twice: `refuses` before a prompt is sent, about a service that can never meet it, and `objects`
afterwards, about the reply. One that names no least verdict implies ``verified`` (`implied`): what is asked of a
reply, such as who attests its key, means nothing for words that nobody signed.
"""

# ruff: noqa: ARG002 - all conditions have one signature, and few need all of it

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from zg_core.crypto import same_address
from zg_core.errors import ConfigError
from zg_core.types import Kind
from zg_core.verify.reach import Answering, Objection, Reach, best_of, way_out
from zg_core.verify.verdict import Status, rank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from zg_core.receipts.model import Receipt
    from zg_core.verify.attestation import AttestationReport

__all__ = [
    "AllOf",
    "AnyOf",
    "Attested",
    "Claimed",
    "Condition",
    "Identity",
    "Kinds",
    "Objection",
    "ResponseBound",
    "SignerOnly",
    "Verified",
    "at_least",
    "condition_from",
    "floor",
    "implied",
]


class Condition:
    """One demand. Conditions are values: comparable, hashable, and plain data both ways."""

    __slots__ = ()

    @property
    def level(self) -> int | None:
        """The attestation level that has to be known before a prompt is sent; None if none is asked for."""
        return None

    def refuses(
        self, service: Answering, report: AttestationReport | None = None, *, strict: bool, reach: Reach | None = None
    ) -> Objection | None:
        """Why no reply of `service` may be asked for; None if it may.

        Args:
            service: Who would answer.
            report: Its attestation, once it is there; a condition that needs one says nothing before.
            strict: Whether a verdict below the minimum would raise, so that a service that signs nothing is useless.
            reach: The best verdict that it can give to the request at hand; None for one that names its own model.
        """
        raise NotImplementedError

    def objects(self, receipt: Receipt) -> Objection | None:
        """Why the reply of `receipt` does not meet this condition; None if it does."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `condition_from` reads."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class _AtLeast(Condition):
    status: ClassVar[Status]

    def refuses(
        self, service: Answering, report: AttestationReport | None = None, *, strict: bool, reach: Reach | None = None
    ) -> Objection | None:
        reach = reach or best_of(service)
        return reach.objection if strict and rank(reach.status) < rank(self.status) else None

    def objects(self, receipt: Receipt) -> Objection | None:
        verdict = receipt.verdict
        if verdict.satisfies(self.status):
            return None
        return Objection(
            str(verdict.reason),
            f"verdict {verdict.status}: {verdict.explain()}",
            way_out(receipt, self.status),
            contradicted=verdict.status is Status.FAILED,
        )

    def to_dict(self) -> dict[str, Any]:
        return {"at_least": str(self.status)}


class Verified(_AtLeast):
    """The verdict is ``verified``: signer, answer and request are all bound."""

    __slots__ = ()
    status = Status.VERIFIED


class ResponseBound(_AtLeast):
    """The verdict is at least ``response_bound``: the right key signed exactly the answer received."""

    __slots__ = ()
    status = Status.RESPONSE_BOUND


class SignerOnly(_AtLeast):
    """The verdict is at least ``signer_only``: the right key signed something."""

    __slots__ = ()
    status = Status.SIGNER_ONLY


class Claimed(_AtLeast):
    """The verdict is at least ``claimed``: an intermediary says that it checked."""

    __slots__ = ()
    status = Status.CLAIMED


_MINIMUMS: Mapping[str, Condition] = {c.status: c() for c in (Verified, ResponseBound, SignerOnly, Claimed)}


def at_least(status: Status | str) -> Condition:
    """The condition for a minimum verdict.

    Raises:
        ConfigError: no verdict, or one that proves nothing.

    Example:
        >>> at_least("response_bound")
        ResponseBound()
    """
    found = _MINIMUMS.get(status)
    if found is None:
        raise unknown_word("minimum", status, _MINIMUMS)
    return found


@dataclass(frozen=True, slots=True, init=False)
class Kinds(Condition):
    """Only services of these kinds may see the prompt: ``Kinds("TeeML")``."""

    kinds: frozenset[Kind]

    def __init__(self, *kinds: str) -> None:
        """Name the kinds.

        Raises:
            ConfigError: an unknown kind, or none.
        """
        object.__setattr__(self, "kinds", frozenset())  # shown in the traceback of a refusal
        if not kinds:
            raise ConfigError("Kinds() allows nothing", code="bad_policy", hint="name one: Kinds('TeeML')")
        for kind in kinds:
            if kind not in list(Kind):
                raise unknown_word("kinds", kind, Kind)
        object.__setattr__(self, "kinds", frozenset(map(Kind, kinds)))

    def refuses(
        self, service: Answering, report: AttestationReport | None = None, *, strict: bool, reach: Reach | None = None
    ) -> Objection | None:
        """See `Condition.refuses`."""
        return self._unless(service.kind, f"provider {service.provider}")

    def objects(self, receipt: Receipt) -> Objection | None:
        """See `Condition.objects`; the kind may have changed on chain since the prompt was admitted."""
        return self._unless(receipt.verdict.kind or receipt.kind, "the reply's provider")

    def _unless(self, kind: Kind, subject: str) -> Objection | None:
        if kind in self.kinds:
            return None
        allowed = ", ".join(sorted(self.kinds))
        return Objection(
            "kind_not_allowed",
            f"{subject} is of kind {kind}, the policy allows {allowed}",
            "choose another provider (`zerog providers`), or widen kinds=…",
        )

    def to_dict(self) -> dict[str, Any]:
        """See `Condition.to_dict`."""
        return {"kinds": sorted(map(str, self.kinds))}

    def __repr__(self) -> str:
        return f"Kinds({', '.join(repr(str(kind)) for kind in sorted(self.kinds))})"


@dataclass(frozen=True, slots=True)
class Identity(Condition):
    """Where a TeeTLS provider answered, this upstream vendor did. Other kinds have none and always meet it."""

    vendor: str

    def refuses(
        self, service: Answering, report: AttestationReport | None = None, *, strict: bool, reach: Reach | None = None
    ) -> None:
        """See `Condition.refuses`: the vendor is known from the reply only."""

    def objects(self, receipt: Receipt) -> Objection | None:
        """See `Condition.objects`."""
        found = receipt.verdict.provider_identity
        if found == self.vendor or not (found or (receipt.verdict.kind or receipt.kind) is Kind.TEE_TLS):
            return None
        sentence = f"the vendor is {found!r}, not {self.vendor!r}" if found else "no proof names the vendor"
        return Objection("identity_mismatch", sentence, "choose another provider, or change identity=…")

    def to_dict(self) -> dict[str, Any]:
        """See `Condition.to_dict`."""
        return {"identity": self.vendor}


@dataclass(frozen=True, slots=True)
class Attested(Condition):
    """The attestation of the signing key holds up to `level` (0g-direct §6.5), and that key signed the reply.

    It says where the key lives, not where the prompt went: nothing ties the connection to the enclave, so that a proxy
    in front of it can read prompt and token. Level 3 needs ``os_images`` in the client's ``attestation=…``.

    Attributes:
        level: 0 chain, 1 binding, 2 hardware signature, 3 configuration, 4 GPU.
    """

    level: int = 2

    def __post_init__(self) -> None:
        """Refuse unknown levels.

        Raises:
            ConfigError: not 0 to 4.
        """
        if isinstance(self.level, bool) or not isinstance(self.level, int) or not 0 <= self.level <= 4:
            raise unknown_word("attest", self.level, range(5))

    def refuses(
        self, service: Answering, report: AttestationReport | None = None, *, strict: bool, reach: Reach | None = None
    ) -> Objection | None:
        """See `Condition.refuses`."""
        if report is None or report.satisfies(self.level):
            return None
        why = report.explain()
        hint = f"see `zerog verify {service.provider}`; choose another provider, or lower attest=…"
        if "(os_images)" in why:
            hint = f"attestation=AttestationOptions(os_images=[…]); `zerog verify {service.provider}` prints the image"
        return Objection(
            "attestation_failed" if report.failed else "attestation_unavailable",
            f"provider {service.provider} is not attested to level {self.level}: {why}",
            hint,
            contradicted=report.failed,
        )

    def objects(self, receipt: Receipt) -> Objection | None:
        """See `Condition.objects`: a key that came after the attestation is attested by nothing."""
        attested = (receipt.attestation or {}).get("signer", "")
        signer = receipt.verdict.recovered_signer
        if signer and attested and same_address(signer, attested):
            return None
        return Objection(
            "signer_not_attested",
            f"{signer or 'nobody'} signed, and the attestation names {attested or 'nobody'}",
            "call again: the new key is attested before the next prompt",
        )

    def to_dict(self) -> dict[str, Any]:
        """See `Condition.to_dict`."""
        return {"attested": self.level}


@dataclass(frozen=True, slots=True, init=False)
class _Group(Condition):
    conditions: tuple[Condition, ...]

    def __init__(self, *conditions: Condition) -> None:
        object.__setattr__(self, "conditions", ())  # shown in the traceback of a refusal
        if not conditions or not all(isinstance(condition, Condition) for condition in conditions):
            name = type(self).__name__
            raise ConfigError(f"{name} takes conditions", code="bad_policy", hint=f"{name}(Verified(), Kinds('TeeML'))")
        object.__setattr__(self, "conditions", conditions)

    @property
    def level(self) -> int | None:
        return max((c.level for c in self.conditions if c.level is not None), default=None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.conditions))})"


class AllOf(_Group):
    """Every condition has to be met.

    Example:
        >>> AllOf(ResponseBound(), Kinds("TeeML"), Attested(level=2)).level
        2
    """

    __slots__ = ()

    def refuses(
        self, service: Answering, report: AttestationReport | None = None, *, strict: bool, reach: Reach | None = None
    ) -> Objection | None:
        """See `Condition.refuses`."""
        refusals = (condition.refuses(service, report, strict=strict, reach=reach) for condition in self.conditions)
        return next((refusal for refusal in refusals if refusal), None)

    def objects(self, receipt: Receipt) -> Objection | None:
        """See `Condition.objects`."""
        return next((o for c in self.conditions if (o := c.objects(receipt))), None)

    def to_dict(self) -> dict[str, Any]:
        """See `Condition.to_dict`."""
        return {"all_of": [condition.to_dict() for condition in self.conditions]}


class AnyOf(_Group):
    """One of the conditions has to be met."""

    __slots__ = ()

    def refuses(
        self, service: Answering, report: AttestationReport | None = None, *, strict: bool, reach: Reach | None = None
    ) -> Objection | None:
        """See `Condition.refuses`."""
        return self._unless_one(
            condition.refuses(service, report, strict=strict, reach=reach) for condition in self.conditions
        )

    def objects(self, receipt: Receipt) -> Objection | None:
        """See `Condition.objects`."""
        return self._unless_one(condition.objects(receipt) for condition in self.conditions)

    @staticmethod
    def _unless_one(objections: Iterable[Objection | None]) -> Objection | None:
        found = []
        for objection in objections:
            if objection is None:
                return None
            found.append(objection)
        sentence = "; nor: ".join(objection.sentence for objection in found)
        contradicted = all(objection.contradicted for objection in found)
        return Objection(found[0].code, sentence, found[0].hint, contradicted=contradicted)

    def to_dict(self) -> dict[str, Any]:
        """See `Condition.to_dict`."""
        return {"any_of": [condition.to_dict() for condition in self.conditions]}


def floor(condition: Condition) -> Status | None:
    """The least verdict that every reply has which meets `condition`, as it is named in it; None if none is."""
    if isinstance(condition, _AtLeast):
        return condition.status
    if not isinstance(condition, _Group):
        return None
    named = [floor(part) for part in condition.conditions]
    found = [status for status in named if status is not None]
    if not found or (isinstance(condition, AnyOf) and len(found) < len(named)):
        return None
    return (min if isinstance(condition, AnyOf) else max)(found, key=rank)


def implied(condition: Condition) -> Condition:
    """`condition` with what it leaves unsaid: every way to meet it names a least verdict, ``verified`` by default.

    Example:
        >>> implied(AnyOf(ResponseBound(), Kinds("TeeML")))
        AnyOf(ResponseBound(), AllOf(Verified(), Kinds('TeeML')))
    """
    if floor(condition) is not None:
        return condition
    if isinstance(condition, AnyOf):
        return AnyOf(*map(implied, condition.conditions))
    if not isinstance(condition, AllOf):
        return AllOf(Verified(), condition)
    parts = tuple(_with_named_ways(part) for part in condition.conditions)
    return AllOf(*parts) if floor(AllOf(*parts)) is not None else AllOf(Verified(), *parts)


def _with_named_ways(part: Condition) -> Condition:
    """A part of `AllOf`: where one of its own ways names a verdict, the others do not go without."""
    return implied(part) if isinstance(part, _Group) and _names_any(part) else part


def _names_any(condition: Condition) -> bool:
    if isinstance(condition, _Group):
        return any(map(_names_any, condition.conditions))
    return isinstance(condition, _AtLeast)


_READERS: Mapping[str, Callable[[Any], Condition]] = {
    "at_least": at_least,
    "kinds": lambda kinds: Kinds(*kinds),
    "identity": Identity,
    "attested": Attested,
    "all_of": lambda parts: AllOf(*map(condition_from, parts)),
    "any_of": lambda parts: AnyOf(*map(condition_from, parts)),
}


def condition_from(plain: Mapping[str, Any]) -> Condition:
    """The condition that `Condition.to_dict` wrote.

    Raises:
        ConfigError: it is none.

    Example:
        >>> condition_from({"all_of": [{"at_least": "verified"}, {"kinds": ["TeeML"]}]})
        AllOf(Verified(), Kinds('TeeML'))
    """
    name, value = next(iter(plain.items())) if isinstance(plain, dict) and len(plain) == 1 else ("", None)
    if name not in _READERS:
        raise ConfigError("not a condition", code="bad_policy", hint=f"one of {', '.join(_READERS)}, with its value")
    try:
        return _READERS[name](value)
    except TypeError:
        raise ConfigError(f"{name!r} has a value of the wrong kind", code="bad_policy") from None


def unknown_word(name: str, value: object, allowed: Iterable[object]) -> ConfigError:
    """The error for a word that is none of `allowed`."""
    return ConfigError(
        f"{name}={value!r} is unknown", code="bad_policy", hint=f"use {', '.join(str(word) for word in allowed)}"
    )
