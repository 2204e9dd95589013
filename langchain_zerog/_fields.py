"""The arguments of our models beside LangChain's: what other packages call them, and what they are serialised as."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from zg_core.config import Network

if TYPE_CHECKING:
    from langchain_zerog.chat_models import ChatZeroG

__all__ = ["ADVICE", "ELSEWHERE", "plain_values"]

ADVICE = "other request parameters go into model_kwargs or extra_body"
"""What to do with an argument that we do not know."""
ELSEWHERE = {
    "base_url": "the provider's URL is read from the chain; pass provider='0x…'",
    "openai_api_base": "the provider's URL is read from the chain; pass provider='0x…'",
    "openai_api_key": "pass private_key=… or api_key='app-sk-…'",
    "stream": "call .stream(), or pass streaming=True",
}
"""What other chat models take, and what does the same here."""


def plain_values(model: ChatZeroG) -> dict[str, Any]:
    """The plain values that make the objects among the arguments of `model` again."""
    plain: dict[str, Any] = {}
    for name in ("limits", "timeout"):
        if is_dataclass(value := getattr(model, name)) and not isinstance(value, type):
            plain[name] = asdict(value)
    if isinstance(model.network, Network):
        # Without its RPC URL, which may hold a key.
        plain |= {"network": model.network.name, "ledger": model.network.ledger, "inference": model.network.inference}
    if model.routing is not None:
        plain["routing"] = model.routing.to_dict()
    policy = model.verify
    if policy is None or isinstance(policy, str):
        return plain
    from zg_core.verify.conditions import Condition
    from zg_core.verify.policy import Policy

    if isinstance(policy, Condition) or (isinstance(policy, Policy) and (policy.condition or policy.accept_models)):
        plain["verify"] = Policy.of(policy).to_dict()
    elif isinstance(policy, Policy):
        plain |= {"verify": policy.mode, "minimum": str(policy.minimum), "stream_policy": policy.stream}
        plain |= {} if policy.kinds is None else {"kinds": sorted(map(str, policy.kinds))}
        plain |= {} if policy.identity is None else {"identity": policy.identity}
        plain |= {} if policy.attest is None else {"attest": policy.attest}
    return plain
