"""How the fields of a chat model are filled and checked."""

from __future__ import annotations

import difflib
import os
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from pydantic_core import core_schema

from zg_core.config import Network
from zg_core.verify.conditions import Condition
from zg_core.verify.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from langchain_zerog.chat_models import ChatZeroG

__all__ = ["AsIs", "from_env", "plain_values", "policy_from_plain", "reject_unknown", "secret_from_env"]

# What other chat models take, and what does the same here.
_ELSEWHERE = {
    "base_url": "the provider's URL is read from the chain; pass provider='0x…'",
    "openai_api_base": "the provider's URL is read from the chain; pass provider='0x…'",
    "openai_api_key": "pass private_key=… or api_key='app-sk-…'",
    "stream": "call .stream(), or pass streaming=True",
}


class AsIs:
    """Tells pydantic to take an object of ours as it is, and not to look into its fields."""

    @staticmethod
    def __get_pydantic_core_schema__(source: type, _handler: object) -> core_schema.CoreSchema:
        return core_schema.is_instance_schema(source)


def from_env(*names: str) -> Callable[[], str | None]:
    """Reads the first of the environment variables `names` that is set and not empty."""
    return lambda: next((value for name in names if (value := os.environ.get(name))), None)


def secret_from_env(*names: str) -> Callable[[], SecretStr | None]:
    """As `from_env`, for a secret."""
    read = from_env(*names)
    return lambda: None if (value := read()) is None else SecretStr(value)


def reject_unknown(owner: str, given: Iterable[object], known: set[str]) -> None:
    """Refuse arguments that nobody reads: LangChain's base class would drop them without a word.

    Raises:
        TypeError: as for any function; pydantic would wrap a ValueError and repeat all arguments, keys included.
    """
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            advice = "other request parameters go into model_kwargs or extra_body"
            if close:
                advice = f"did you mean {close[0]!r}? ({advice})"
            raise TypeError(f"{owner} got an unexpected argument {name!r}: {_ELSEWHERE.get(str(name), advice)}")


def plain_values(model: ChatZeroG) -> dict[str, Any]:
    """The plain values that make the objects among the arguments of `model` again."""
    plain: dict[str, Any] = {}
    for name in ("limits", "timeout"):
        if is_dataclass(value := getattr(model, name)) and not isinstance(value, type):
            plain[name] = asdict(value)
    if isinstance(model.network, Network):
        # Without its RPC URL, which may hold a key.
        plain |= {"network": model.network.name, "ledger": model.network.ledger, "inference": model.network.inference}
    policy = model.verify
    if isinstance(policy, Condition) or (isinstance(policy, Policy) and policy.condition is not None):
        plain["verify"] = Policy.of(policy).to_dict()
    elif isinstance(policy, Policy):
        plain |= {"verify": policy.mode, "minimum": str(policy.minimum), "stream_policy": policy.stream}
        plain |= {} if policy.kinds is None else {"kinds": sorted(map(str, policy.kinds))}
        plain |= {} if policy.identity is None else {"identity": policy.identity}
        plain |= {} if policy.attest is None else {"attest": policy.attest}
    return plain


def policy_from_plain(values: dict[str, Any]) -> dict[str, Any]:
    """`values` of a constructor, with a policy where `plain_values` wrote one as plain data."""
    verify = values.get("verify")
    return {**values, "verify": Policy.from_dict(verify)} if isinstance(verify, dict) else values
