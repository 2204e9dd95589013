"""The best verdict that a service can give to a request, as far as that is known before the prompt leaves.

What speaks against more is known from the chain alone; what a provider says about itself (``/v1/models``) is no ground.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from zg_core.types import Kind
from zg_core.verify.verdict import Binding, Reason, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.service import Service
    from zg_core.receipts.model import Receipt
    from zg_core.types import ServiceRecord as Record

__all__ = ["ADAPTER_PREFIX", "Answering", "Objection", "Reach", "best_of", "reach_of", "reach_said", "way_out"]

ADAPTER_PREFIX = "ft-"
"""How the names of adapters begin that were fine-tuned on the model of a provider (0g-direct §8)."""

_NOT_SIGNED_APART = ("text-to-image", "image-editing", "speech-to-text")  # services §0
_LONGEST_NAME = 120  # a name is a stranger's word, and stands in sentences
# What a broker may change by its configuration, so that the request it signs cannot be recomputed (0g-direct §4.3).
_CONFIGURED = "its broker may forward another model name, translate reasoning or token limits, or add fields of its own"


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a condition is not met.

    Attributes:
        code: Machine word.
        sentence: For a person; follows "…: ".
        hint: What to change.
        contradicted: Whether evidence speaks against it, and is not only missing.
    """

    code: str
    sentence: str
    hint: str
    contradicted: bool = False


@dataclass(frozen=True, slots=True)
class Reach:
    """What can be proven of a reply at best.

    Attributes:
        status: The best verdict.
        objection: Why it is not ``verified``; None if it is.
    """

    status: Status
    objection: Objection | None = None


_ALL = Reach(Status.VERIFIED)


class Answering(Protocol):
    """Whoever can answer: a record on chain, or a service in the words that every backend shares."""

    @property
    def provider(self) -> str:
        """Its id."""
        ...

    @property
    def kind(self) -> Kind:
        """What stands behind its word that an answer can be verified."""
        ...


def reach_said(service: Service) -> Reach:
    """The best verdict that a service of any backend can give, as its backend says.

    Example:
        >>> from zg_core.backends.base import Service
        >>> service = Service("router", "m", "chat", "https://r", Kind.TEE_ML, reach=Status.CLAIMED)
        >>> reach_said(service).objection.code
        'out_of_reach'
    """
    if service.reach is Status.VERIFIED:
        return _ALL
    if service.reach is Status.NOT_VERIFIABLE:
        return _silent(service.provider)
    return Reach(
        service.reach,
        Objection(
            "out_of_reach",
            f"replies of provider {service.provider} can be {service.reach} at best",
            f"choose another provider or backend; or, if that will do, minimum='{service.reach}'",
        ),
    )


def best_of(service: Answering, model: str | None = None, accepted: Mapping[str, str] | None = None) -> Reach:
    """`reach_said` of a service, `reach_of` of a record."""
    if hasattr(service, "reach"):
        return reach_said(cast("Service", service))
    return reach_of(cast("Record", service), model, accepted)


def _silent(provider: str) -> Reach:
    return Reach(
        Status.NOT_VERIFIABLE,
        Objection(
            "not_verifiable",
            f"provider {provider} signs nothing, so verify='require' can never be met",
            "choose a TeeML provider (`zerog providers`), or verify='warn'",
        ),
    )


def reach_of(service: Record, model: str | None = None, accepted: Mapping[str, str] | None = None) -> Reach:
    """The best verdict that `service` can give.

    Args:
        service: The chain record.
        model: The model that will be asked for; None is the one on chain.
        accepted: Renames that the user accepts (``accept_models``).

    A provider that passes requests on forces the name on chain, or a configured one, on every request that names
    another; adapters are rewritten to their base model by every broker (0g-direct §4.3).
    """
    if service.kind is Kind.STANDARD:
        return _silent(service.provider)
    if service.kind is Kind.TEE_ML_SEPARATED and service.service_type in _NOT_SIGNED_APART:
        return Reach(
            Status.UNAVAILABLE,
            Objection(
                "unsigned_task",
                f"provider {service.provider} does not sign {service.service_type}: its model is in an enclave apart",
                "choose a TeeML provider (`zerog providers`), or verify='warn'",
            ),
        )
    if model is None or model == service.model or model in (accepted or {}) or service.multi_model:
        return _ALL
    adapter = model.startswith(ADAPTER_PREFIX)
    if not adapter and service.kind is Kind.TEE_ML:
        return _ALL  # its own server may go by several names, and then the request is forwarded as it is
    what = "adapters are rewritten to their base model" if adapter else "it renames whatever model is asked for"
    return Reach(
        Status.RESPONSE_BOUND,
        Objection(
            str(Reason.MODEL_RENAMED),
            f"provider {service.provider} signs no request for the model {_name(model)}: {what}",
            _ways(model, service.model, "response_bound"),
        ),
    )


def way_out(receipt: Receipt, minimum: Status) -> str:
    """What to change where the verdict on `receipt` is below `minimum`: the likely rewrite, and how to allow for it."""
    verdict = receipt.verdict
    plain = f"the policy asks for {minimum}; retry, or lower minimum=…"
    if verdict.status is not Status.RESPONSE_BOUND:
        return plain
    if verdict.binding is Binding.RENAMED:
        return _ways(verdict.asked_model, verdict.signed_model, str(verdict.status))
    on_chain = "" if receipt.service is None else receipt.service.model
    if on_chain and receipt.model != on_chain:
        likely = f"the provider may have renamed {_name(receipt.model)}, which is not its model on chain"
        return f"{likely}; {_ways(receipt.model, on_chain, str(verdict.status))}"
    return (
        f"unless somebody else's answer was passed off: {_CONFIGURED}; choose another provider, or, where you know "
        f"the name that it forwards, accept_models={{{_name(receipt.model)}: '…'}}, or minimum='{verdict.status}'"
    )


def _ways(asked: str, forwarded: str, status: str) -> str:
    return (
        f"ask for model={_name(forwarded)} by its own name; or, if you know that it stands for the same, "
        f"accept_models={{{_name(asked)}: {_name(forwarded)}}}; or minimum='{status}'"
    )


def _name(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_NAME else text[:_LONGEST_NAME] + "…")
