"""What the caller demands of a reply, as one value."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from zg_core.errors import ConfigError, VerificationFailed, VerificationUnavailable, VerificationWarning
from zg_core.types import Kind
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zg_core.receipts.model import Receipt
    from zg_core.types import Service

__all__ = ["Policy"]

Mode = Literal["off", "background", "warn", "require"]
_MODES = ("off", "background", "warn", "require")
_warning = threading.Lock()
_MINIMUMS = (Status.VERIFIED, Status.RESPONSE_BOUND, Status.SIGNER_ONLY, Status.CLAIMED)


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done with a verdict.

    Attributes:
        mode: ``"off"`` checks nothing; ``"background"`` returns at once with a pending verdict; ``"warn"`` (default)
            raises only when evidence contradicts the reply; ``"require"`` raises below `minimum`.
        minimum: The least verdict that satisfies, ``"response_bound"`` by default.
        kinds: Kinds of service that may see the prompt; None allows all.
        stream: ``"after"`` passes chunks on and judges at the end; ``"hold"`` keeps them until the verdict is made.
        identity: TeeTLS: the upstream vendor that must have answered; None accepts any.

    Example:
        >>> Policy.of("require", kinds=["TeeML"]).minimum
        <Status.RESPONSE_BOUND: 'response_bound'>
    """

    mode: Mode = "warn"
    minimum: Status = Status.RESPONSE_BOUND
    kinds: frozenset[Kind] | None = None
    stream: Literal["after", "hold"] = "after"
    identity: str | None = None
    _warned: set[tuple[str, str]] = field(default_factory=set, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse unknown words.

        Raises:
            ConfigError: an unknown word.
        """
        _one_of("verify", self.mode, _MODES)
        _one_of("minimum", self.minimum, _MINIMUMS)
        _one_of("stream", self.stream, ("after", "hold"))
        object.__setattr__(self, "minimum", Status(self.minimum))
        kinds: Any = self.kinds
        if kinds is not None:
            kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
            for kind in kinds:
                _one_of("kinds", kind, list(Kind))
            object.__setattr__(self, "kinds", frozenset(map(Kind, kinds)))

    @classmethod
    def of(
        cls,
        verify: str | Policy = "warn",
        *,
        minimum: str | None = None,
        kinds: Iterable[str] | None = None,
        stream: str | None = None,
        identity: str | None = None,
    ) -> Policy:
        """A policy from its short forms; `verify` may be a whole policy when nothing else is given.

        Raises:
            ConfigError: an unknown word.
        """
        if isinstance(verify, Policy):
            if any(argument is not None for argument in (minimum, kinds, stream, identity)):
                raise ConfigError("verify is a whole policy already", code="bad_policy", hint="put it all into Policy")
            return verify
        return cls(
            mode=cast("Mode", verify),
            minimum=cast("Status", minimum or Status.RESPONSE_BOUND),
            kinds=cast("frozenset[Kind] | None", kinds),
            stream=cast('Literal["after", "hold"]', stream or "after"),
            identity=identity,
        )

    def admit(self, service: Service) -> None:
        """Refuse a service that this policy can never accept, before anything is sent.

        Raises:
            VerificationUnavailable: its kind is not allowed, or it signs nothing and the policy is ``"require"``.
        """
        if self.kinds is not None and service.kind not in self.kinds:
            raise VerificationUnavailable(
                f"provider {service.provider} is of kind {service.kind}, the policy allows {_join(self.kinds)}",
                code="kind_not_allowed",
                hint="choose another provider (`zerog providers`), or widen kinds=…",
            )
        if self.mode == "require" and service.kind is Kind.STANDARD:
            raise VerificationUnavailable(
                f"provider {service.provider} signs nothing, so verify='require' can never be met",
                code="not_verifiable",
                hint="choose a TeeML provider (`zerog providers`), or verify='warn'",
            )

    def enforce(self, receipt: Receipt, text: str = "") -> None:
        """Raise or warn as this policy says about the receipt's verdict.

        Raises:
            VerificationFailed: the evidence contradicts the reply (``"warn"`` and ``"require"``).
            VerificationUnavailable: the verdict is below the minimum (``"require"``).
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
        if verdict.satisfies(self.minimum) and not self._wrong_vendor(verdict.provider_identity):
            return
        if self._wrong_vendor(verdict.provider_identity):
            reason, sentence = (
                "identity_mismatch",
                f"the vendor is {verdict.provider_identity!r}, not {self.identity!r}",
            )
        else:
            reason, sentence = str(verdict.reason), f"verdict {verdict.status}: {verdict.explain()}"
        if self.mode == "require":
            raise VerificationUnavailable(
                f"the reply of {receipt.provider} is not proven: {sentence}",
                code=reason,
                hint=f"the policy asks for {self.minimum}; retry, or lower minimum=…",
                receipt=receipt,
                text=text,
            )
        self._warn(receipt.provider, reason, sentence)

    def _wrong_vendor(self, identity: str) -> bool:
        return self.identity is not None and bool(identity) and identity != self.identity

    def _warn(self, provider: str, reason: str, sentence: str) -> None:
        with _warning:
            if (provider, reason) in self._warned:
                return
            self._warned.add((provider, reason))
        warnings.warn(f"reply of {provider} is not proven: {sentence}", VerificationWarning, stacklevel=2)


def _one_of(name: str, value: object, allowed: Iterable[str]) -> None:
    words = [str(word) for word in allowed]
    if value not in words:
        raise ConfigError(f"{name}={value!r} is unknown", code="bad_policy", hint=f"use {', '.join(words)}")


def _join(kinds: Iterable[Kind]) -> str:
    return ", ".join(sorted(kinds))
