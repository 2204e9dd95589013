"""What the caller demands of a reply, as one value."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Mapping
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
from zg_core.shown.escaping import line
from zg_core.verify.conditions import (
    AllOf,
    Attested,
    Condition,
    Identity,
    Kinds,
    at_least,
    condition_from,
    implied,
    unknown_word,
)
from zg_core.verify.reach import best_of
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from zg_core.receipts.model import Receipt
    from zg_core.types import Kind
    from zg_core.verify.attestation import AttestationReport
    from zg_core.verify.reach import Answering
    from zg_core.verify.verdict import Verdict

__all__ = ["DEFAULT_MINIMUM", "Policy", "renames_in", "suffices"]

DEFAULT_MINIMUM = Status.VERIFIED
"""What is asked for wherever nothing is named: less has to be asked for by name."""
_LONGEST_NAME = 256  # of a model
Mode = Literal["off", "background", "warn", "require"]
_MODES = ("off", "background", "warn", "require")
_warning = threading.Lock()
# Between a user and a warning of ours there may be frames of these packages.
_PASSED_THROUGH = frozenset({
    "langchain", "langchain_core", "langchain_zerog", "langgraph", "llama_index", "llama_index_instrumentation",
    "llama_index_zerog", "zg_core",
})  # fmt: skip


def suffices(verdict: Verdict, minimum: Status | str | None = None) -> bool:
    """Whether `verdict` is what is asked for: the one rule for whoever has a verdict and no policy.

    Args:
        verdict: The verdict.
        minimum: The least one that will do; None is ``"verified"``.

    Raises:
        ConfigError: `minimum` is no verdict that proves something.

    Example:
        >>> from zg_core.verify import Verdict
        >>> suffices(Verdict(Status.RESPONSE_BOUND)), suffices(Verdict(Status.RESPONSE_BOUND), "response_bound")
        (False, True)
    """
    if minimum is None:
        return verdict.satisfies(DEFAULT_MINIMUM)
    at_least(minimum)
    return verdict.satisfies(minimum)


@dataclass(frozen=True)
class Policy:
    """What is done with a verdict.

    Attributes:
        mode: ``"off"`` checks nothing; ``"background"`` returns at once with a pending verdict; ``"warn"`` (default)
            raises only when evidence contradicts the reply; ``"require"`` raises when `demand` is not met.
        minimum: The least verdict that satisfies; ``"verified"`` unless `condition` names one. ``"response_bound"``
            lets answers through that whoever stands in front of the enclave may have chosen, by asking another
            question.
        kinds: Kinds of service that may see the prompt; None allows all.
        stream: ``"after"`` passes chunks on and judges at the end; ``"hold"`` keeps them until the verdict is made.
        identity: TeeTLS: the upstream vendor that must have answered; None accepts any.
        attest: Level up to which the enclave must be attested before it sees a prompt (0g-direct §6.5); None asks for
            nothing.
        condition: What else has to be met, composed of `zg_core.verify` conditions. Where one of its ways to be met
            names no least verdict, and `minimum` does not either, that way asks for ``"verified"``.
        accept_models: Renames that you accept, ``{"asked": "forwarded"}``: your word that the provider's name stands
            for the same model as yours. A request that was signed with that one change then counts as yours, and the
            receipt says so. It is copied.

    What forbids a service (`kinds`, `attest`) holds in every mode: no prompt leaves for it.

    Example:
        >>> from zg_core.verify import AllOf, Attested, Kinds, ResponseBound
        >>> Policy.of("require", kinds=["TeeML"], attest=2).demand
        AllOf(Verified(), Kinds('TeeML'), Attested(level=2))
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
    accept_models: Mapping[str, str] | None = field(default=None, hash=False)
    _warned: set[tuple[str, str]] = field(default_factory=set, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse unknown words.

        Raises:
            ConfigError: an unknown word.
        """
        _one_of("verify", self.mode, _MODES)
        _one_of("stream", self.stream, ("after", "hold"))
        if self.stream == "hold" and self.mode in ("off", "background"):
            raise ConfigError(
                f"a stream cannot be held for a verdict with verify={self.mode!r}: none is waited for",
                code="bad_policy",
                hint="verify='require' or 'warn' waits for it; or let the stream pass, which is the default",
            )
        if self.condition is not None and not isinstance(self.condition, Condition):
            raise ConfigError("condition is none", code="bad_policy", hint="compose it of zg_core.verify's conditions")
        minimum: Any = self.minimum
        if minimum is None and self.condition is None:
            minimum = DEFAULT_MINIMUM
        if minimum is not None:
            at_least(minimum)
            object.__setattr__(self, "minimum", Status(minimum))
        elif self.condition is not None:
            object.__setattr__(self, "condition", implied(self.condition))
        object.__setattr__(self, "accept_models", _renames(self.accept_models))
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
        accept_models: Mapping[str, str] | None = None,
    ) -> Policy:
        """A policy from its short forms.

        Args:
            verify: A mode, a condition that is required, or a whole policy when nothing else is given.
            minimum: See `Policy`, as the others.
            kinds: One or many.
            stream: ``"after"`` or ``"hold"``.
            identity: A vendor.
            attest: A level.
            accept_models: Renames.

        Raises:
            ConfigError: an unknown word.
        """
        if isinstance(verify, Policy):
            if any(argument is not None for argument in (minimum, kinds, stream, identity, attest, accept_models)):
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
            accept_models=accept_models,
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

    def admit(self, service: Answering, report: AttestationReport | None = None, *, model: str | None = None) -> None:
        """Refuse a service that this policy can never accept, before anything is sent.

        Args:
            service: Who would answer.
            report: Its attestation, for a policy that asks for one; what only it can tell is left open without it.
            model: The model that will be asked for, where `service` is a record on chain; None is the one on it.

        Raises:
            AttestationError: the attestation contradicts what is asked for.
            VerificationUnavailable: the kind is not allowed, the evidence for the attestation cannot be had, or the
                policy is ``"require"`` and what it asks for is out of reach: the service signs nothing, or signs
                requests for a model of another name (``model_renamed``).
        """
        reach = best_of(service, model, self.accept_models)
        objection = self.demand.refuses(service, report, strict=self.mode == "require", reach=reach)
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
        plain: dict[str, Any] = {"mode": self.mode, "stream": self.stream, "demand": self.demand.to_dict()}
        return plain | ({"accept_models": dict(self.accept_models)} if self.accept_models else {})

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Policy:
        """The policy that `to_dict` wrote, its demand as one condition.

        Raises:
            ConfigError: it is none.
        """
        return cls(
            mode=plain.get("mode", "warn"),
            stream=plain.get("stream", "after"),
            condition=condition_from(plain.get("demand", {})),
            accept_models=plain.get("accept_models"),
        )

    def _warn(self, provider: str, reason: str, sentence: str) -> None:
        with _warning:
            if (provider, reason) in self._warned:
                return
            self._warned.add((provider, reason))
        frame = _callers_frame()
        # A registry of its own: Python shows a warning of one place once, and another client's would not be shown.
        warnings.warn_explicit(
            line(f"reply of {provider} is not proven: {sentence}"),
            VerificationWarning,
            frame.f_code.co_filename,
            frame.f_lineno,
            frame.f_globals.get("__name__"),
            {},
        )


def _callers_frame() -> FrameType:
    """The frame that called into our packages, as far as there is one: a check may run by itself."""
    frame = first = sys._getframe(1)  # noqa: SLF001
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _PASSED_THROUGH:
        frame = frame.f_back
    return first if str(frame.f_globals.get("__name__")).partition(".")[0] in _PASSED_THROUGH else frame


def _renames(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    fits = isinstance(value, Mapping) and all(
        isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME for name in (*value, *value.values())
    )
    if not fits:
        raise ConfigError(
            "accept_models is no mapping of model names",
            code="bad_policy",
            hint='name both: accept_models={"the name asked for": "the name that the provider forwards"}',
        )
    return dict(value) or None


def renames_in(policy: Mapping[str, Any] | None) -> dict[str, str] | None:
    """The renames that a receipt says its owner accepted; None if it says none that could be read."""
    try:
        return _renames((policy or {}).get("accept_models"))
    except ConfigError:
        return None


def _one_of(name: str, value: object, allowed: Iterable[str]) -> None:
    if value not in tuple(allowed):
        raise unknown_word(name, value, allowed)
