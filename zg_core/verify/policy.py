"""What the caller demands of a reply, as one value."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

from zg_core.errors import (
    AttestationError,
    ConfigError,
    VerificationFailed,
    VerificationUnavailable,
    VerificationWarning,
)
from zg_core.verify.conditions import (
    AllOf,
    Attested,
    Condition,
    Identity,
    Kinds,
    at_least,
    condition_from,
    unknown_word,
)
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zg_core.receipts.model import Receipt
    from zg_core.types import Kind, Service
    from zg_core.verify.attestation import AttestationReport

__all__ = ["Policy"]

Mode = Literal["off", "background", "warn", "require"]
_MODES = ("off", "background", "warn", "require")
_warning = threading.Lock()


@dataclass(frozen=True)
class Policy:
    """What is done with a verdict.

    Attributes:
        mode: ``"off"`` checks nothing; ``"background"`` returns at once with a pending verdict; ``"warn"`` (default)
            raises only when evidence contradicts the reply; ``"require"`` raises when `demand` is not met.
        minimum: The least verdict that satisfies; ``"response_bound"`` unless `condition` says it all.
        kinds: Kinds of service that may see the prompt; None allows all.
        stream: ``"after"`` passes chunks on and judges at the end; ``"hold"`` keeps them until the verdict is made.
        identity: TeeTLS: the upstream vendor that must have answered; None accepts any.
        attest: Level up to which the enclave must be attested before it sees a prompt (0g-direct §6.5); None asks for
            nothing.
        condition: What else has to be met, composed of `zg_core.verify` conditions.

    What forbids a service (`kinds`, `attest`) holds in every mode: no prompt leaves for it.

    Example:
        >>> from zg_core.verify import AllOf, Attested, Kinds, ResponseBound
        >>> Policy.of("require", kinds=["TeeML"], attest=2).demand
        AllOf(ResponseBound(), Kinds('TeeML'), Attested(level=2))
        >>> Policy.of(AllOf(ResponseBound(), Kinds("TeeML"), Attested(level=2))).mode
        'require'
    """

    mode: Mode = "warn"
    minimum: Status | None = None
    kinds: frozenset[Kind] | None = None
    stream: Literal["after", "hold"] = "after"
    identity: str | None = None
    attest: int | None = None
    condition: Condition | None = None
    _warned: set[tuple[str, str]] = field(default_factory=set, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse unknown words.

        Raises:
            ConfigError: an unknown word.
        """
        _one_of("verify", self.mode, _MODES)
        _one_of("stream", self.stream, ("after", "hold"))
        if self.condition is not None and not isinstance(self.condition, Condition):
            raise ConfigError("condition is none", code="bad_policy", hint="compose it of zg_core.verify's conditions")
        minimum: Any = self.minimum
        if minimum is None and self.condition is None:
            minimum = Status.RESPONSE_BOUND
        if minimum is not None:
            at_least(minimum)
            object.__setattr__(self, "minimum", Status(minimum))
        kinds: Any = self.kinds
        if kinds is not None:
            kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
            object.__setattr__(self, "kinds", Kinds(*kinds).kinds)
        if self.attest is not None:
            Attested(self.attest)

    @classmethod
    def of(
        cls,
        verify: str | Policy | Condition = "warn",
        *,
        minimum: str | None = None,
        kinds: Iterable[str] | None = None,
        stream: str | None = None,
        identity: str | None = None,
        attest: int | None = None,
    ) -> Policy:
        """A policy from its short forms.

        Args:
            verify: A mode, a condition that is required, or a whole policy when nothing else is given.
            minimum: See `Policy`, as the others.
            kinds: One or many.
            stream: ``"after"`` or ``"hold"``.
            identity: A vendor.
            attest: A level.

        Raises:
            ConfigError: an unknown word.
        """
        if isinstance(verify, Policy):
            if any(argument is not None for argument in (minimum, kinds, stream, identity, attest)):
                raise ConfigError("verify is a whole policy already", code="bad_policy", hint="put it all into Policy")
            return verify
        condition = verify if isinstance(verify, Condition) else None
        return cls(
            mode="require" if condition else cast("Mode", verify),
            minimum=cast("Status | None", minimum),
            kinds=cast("frozenset[Kind] | None", kinds),
            stream=cast('Literal["after", "hold"]', stream or "after"),
            identity=identity,
            attest=attest,
            condition=condition,
        )

    @cached_property
    def demand(self) -> Condition:
        """Everything that is asked for, as one condition."""
        parts: list[Condition] = []
        if self.minimum is not None:
            parts.append(at_least(self.minimum))
        if self.kinds is not None:
            parts.append(Kinds(*self.kinds))
        if self.identity is not None:
            parts.append(Identity(self.identity))
        if self.attest is not None:
            parts.append(Attested(self.attest))
        if self.condition is not None:
            parts.append(self.condition)
        return parts[0] if len(parts) == 1 else AllOf(*parts)

    @property
    def looks_at_records(self) -> bool:
        """Whether what it demands may depend on the chain record, so that a prompt waits for a young one."""
        return any(part is not None for part in (self.kinds, self.identity, self.attest, self.condition))

    def admit(self, service: Service, report: AttestationReport | None = None) -> None:
        """Refuse a service that this policy can never accept, before anything is sent.

        Args:
            service: The chain record.
            report: Its attestation, for a policy that asks for one; what only it can tell is left open without it.

        Raises:
            AttestationError: the attestation contradicts what is asked for.
            VerificationUnavailable: the kind is not allowed, the evidence for the attestation cannot be had, or the
                service signs nothing and the policy is ``"require"``.
        """
        objection = self.demand.refuses(service, report, strict=self.mode == "require")
        if objection is not None:
            error = AttestationError if objection.contradicted else VerificationUnavailable
            raise error(objection.sentence, code=objection.code, hint=objection.hint)

    def enforce(self, receipt: Receipt, text: str = "") -> None:
        """Raise or warn as this policy says about the receipt's verdict.

        Raises:
            VerificationFailed: the evidence contradicts the reply (``"warn"`` and ``"require"``).
            VerificationUnavailable: `demand` is not met (``"require"``).
        """
        verdict = receipt.verdict
        if self.mode in ("off", "background"):
            return
        if verdict.status is Status.FAILED:
            raise VerificationFailed(
                f"do not trust this reply of {receipt.provider}: {verdict.explain()}",
                code=str(verdict.reason),
                hint="use another provider, and keep the receipt (error.receipt)",
                receipt=receipt,
                text=text,
            )
        objection = self.demand.objects(receipt)
        if objection is None:
            return
        if self.mode == "require":
            raise VerificationUnavailable(
                f"the reply of {receipt.provider} is not proven: {objection.sentence}",
                code=objection.code,
                hint=objection.hint,
                receipt=receipt,
                text=text,
            )
        self._warn(receipt.provider, objection.code, objection.sentence)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for receipts and configuration."""
        return {"mode": self.mode, "stream": self.stream, "demand": self.demand.to_dict()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Policy:
        """The policy that `to_dict` wrote, its demand as one condition.

        Raises:
            ConfigError: it is none.
        """
        condition = condition_from(plain.get("demand", {}))
        return cls(mode=plain.get("mode", "warn"), stream=plain.get("stream", "after"), condition=condition)

    def _warn(self, provider: str, reason: str, sentence: str) -> None:
        with _warning:
            if (provider, reason) in self._warned:
                return
            self._warned.add((provider, reason))
        warnings.warn(f"reply of {provider} is not proven: {sentence}", VerificationWarning, stacklevel=2)


def _one_of(name: str, value: object, allowed: Iterable[str]) -> None:
    if value not in tuple(allowed):
        raise unknown_word(name, value, allowed)
