"""Settings that a model object takes from the environment: marked as such, so that what was passed wins over them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import SecretStr

__all__ = ["EnvSecret", "EnvText", "FieldEnvironment", "FromEnvironment", "from_env", "secret_from_env"]


class EnvText(str):
    """A text of the environment; `variable` is where it stood.

    A model object that is made again from the values of another one, as LangChain does for configurable fields, passes
    them all: this one is known not to have been passed by anybody.
    """

    __slots__ = ("variable",)
    variable: str

    def __new__(cls, text: str, variable: str) -> Self:
        """`text`, which stood in `variable`."""
        made = super().__new__(cls, text)
        made.variable = variable
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return str(self), self.variable


class EnvSecret(SecretStr):
    """As `EnvText`, for a secret."""

    def __init__(self, text: str, variable: str) -> None:
        super().__init__(text)
        self.variable = variable

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretStr) and self.get_secret_value() == other.get_secret_value()

    def __hash__(self) -> int:
        return super().__hash__()


class FromEnvironment:
    """A field's default: the first of the environment's `variables` that is set and not empty, read when it is made."""

    def __init__(self, *variables: str, secret: bool = False) -> None:
        self.variables = variables
        self._secret = secret

    def __call__(self) -> Any:
        """The value, marked with its variable, or None."""
        for variable in self.variables:
            if value := os.environ.get(variable):
                return EnvSecret(value, variable) if self._secret else EnvText(value, variable)
        return None


def from_env(*variables: str) -> FromEnvironment:
    """The default of a field that the first of `variables` fills."""
    return FromEnvironment(*variables)


def secret_from_env(*variables: str) -> FromEnvironment:
    """As `from_env`, for a secret."""
    return FromEnvironment(*variables, secret=True)


class FieldEnvironment(Mapping[str, str]):
    """The environment as a model object sees it: with what it held when the object was made.

    Args:
        kept: Values by variable.
        hidden: Variables that are not there: of settings for which None was passed, or that are another class's.
    """

    __slots__ = ("_hidden", "_kept")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, kept: Mapping[str, EnvText | EnvSecret], hidden: frozenset[str]) -> None:
        self._kept = kept
        self._hidden = hidden

    def __getitem__(self, name: str) -> str:
        if (value := self._kept.get(name)) is not None:
            return value.get_secret_value() if isinstance(value, SecretStr) else value
        if name in self._hidden:
            raise KeyError(name)
        return os.environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter({*self._kept, *(name for name in os.environ if name not in self._hidden)})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FieldEnvironment):
            return NotImplemented
        return self._kept == other._kept and self._hidden == other._hidden

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} variables)"
