"""The settings that the model objects of every framework share: how their pydantic fields are filled and checked."""

from __future__ import annotations

import difflib
import os
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import SecretStr
from pydantic_core import core_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "CLIENT_FIELDS",
    "Later",
    "client_settings",
    "from_env",
    "keep_what_was_passed",
    "objects_from_plain",
    "reject_unknown",
    "secret_from_env",
]

CLIENT_FIELDS = (
    "provider", "model", "private_key", "api_key", "wallet", "network", "rpc_url", "ledger", "inference", "verify",
    "minimum", "kinds", "identity", "attest", "attestation", "timeout", "max_retries", "retry_deadline",
    "retry_unknown", "ca_file", "on_verdict", "store", "budget", "routing", "allow_private_providers",
)  # fmt: skip
"""Fields that are settings of the client, under the same name."""


class Later:
    """Stands in a pydantic model for a class of ours that is imported when a value comes, not with the model.

    Objects of the class are taken as they are, without a look into their fields; of a dataclass, a dictionary of its
    fields as well, which is what serialised settings hold. Type checkers see the class itself::

        if TYPE_CHECKING:
            from zg_core.wallet import Wallet
        else:
            Wallet = Later.of("zg_core.wallet", "Wallet")
    """

    def __init__(self, module: str, name: str, *, from_dict: bool = False) -> None:
        self._module = module
        self._name = name
        self._from_dict = from_dict

    @classmethod
    def of(cls, module: str, name: str, *, from_dict: bool = False) -> Any:
        """What to write in the annotation of a field."""
        return Annotated[Any, cls(module, name, from_dict=from_dict)]

    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._take)

    def _take(self, value: Any) -> Any:
        # Texts and numbers are what a field's other types are for.
        if value is not None and not isinstance(value, str | int | float):
            kind = getattr(import_module(self._module), self._name)
            if isinstance(value, kind):
                return value
            if self._from_dict and isinstance(value, dict):
                return kind(**value)
        raise ValueError(f"this is no {self._name}")


def from_env(*names: str) -> Callable[[], str | None]:
    """Reads the first of the environment variables `names` that is set and not empty."""
    return lambda: next((value for name in names if (value := os.environ.get(name))), None)


def secret_from_env(*names: str) -> Callable[[], SecretStr | None]:
    """As `from_env`, for a secret."""
    read = from_env(*names)
    return lambda: None if (value := read()) is None else SecretStr(value)


def reject_unknown(
    owner: str, given: Iterable[object], known: set[str], *, advice: str, elsewhere: Mapping[str, str] | None = None
) -> None:
    """Refuse arguments that nobody reads: the frameworks' base classes would drop them without a word.

    Args:
        owner: Name of the class, for the message.
        given: Names of the arguments.
        known: Names that it takes.
        advice: Where other parameters go.
        elsewhere: For names that mean something in other packages, what does the same here.

    Raises:
        TypeError: as for any function; pydantic would wrap a ValueError and repeat all arguments, keys included.
    """
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            general = f"did you mean {close[0]!r}? ({advice})" if close else advice
            raise TypeError(f"{owner} got an unexpected argument {name!r}: {(elsewhere or {}).get(str(name), general)}")


def objects_from_plain(values: dict[str, Any]) -> dict[str, Any]:
    """`values` of a constructor, with a policy and a routing where they were written as plain data (``to_dict``)."""
    made: dict[str, Any] = {}
    if isinstance(plain := values.get("verify"), dict):
        from zg_core.verify.policy import Policy

        made["verify"] = Policy.from_dict(plain)
    if isinstance(plain := values.get("routing"), dict):
        from zg_core.routing.routing import Routing

        made["routing"] = Routing.from_dict(plain)
    return values | made


def keep_what_was_passed(model: Any) -> None:
    """What was passed wins over the environment; within it, a wallet over an API key (as in zg_core).

    A routing that was passed wins over a provider of the environment.
    """
    given = model.model_fields_set
    if model.routing is not None and "provider" not in given:
        model.__dict__["provider"] = None
    if model.wallet is not None or ("private_key" not in given and model.api_key is not None and "api_key" in given):
        model.__dict__["private_key"] = None
    if "api_key" not in given and (model.wallet is not None or model.private_key is not None):
        model.__dict__["api_key"] = None


def client_settings(model: Any, names: Iterable[str], **more: Any) -> dict[str, Any]:
    """The fields `names` of `model` as arguments of a client, with `more`; limits only where they are said."""
    settings = {name: getattr(model, name) for name in names} | more
    if model.limits != "auto":
        settings["limits"] = model.limits
    return settings
