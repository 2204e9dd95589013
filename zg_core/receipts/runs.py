"""Which run of an agent a call belongs to, and the steps that the run took: what ties receipts together."""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Step", "current_run", "named_run"]

_LONGEST = 128
_RUN: ContextVar[str | None] = ContextVar("zerog_run", default=None)


def current_run() -> str:
    """The name of the run that calls begun here belong to; that of ``ZEROG_RUN`` outside of `named_run`, or ""."""
    named = _RUN.get()
    return os.environ.get("ZEROG_RUN", "")[:_LONGEST] if named is None else named


@contextmanager
def named_run(name: str) -> Iterator[None]:
    """Calls begun inside belong to the run `name`: it stands in their receipts, and the store finds them by it.

    Args:
        name: 1 to 128 characters.

    Raises:
        ConfigError: it is none (code ``bad_run``).

    Example:
        >>> with named_run("nightly"):
        ...     current_run()
        'nightly'
    """
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST or not name.isprintable():
        raise ConfigError(
            f"a run has a name of 1 to {_LONGEST} printable characters", code="bad_run", hint='for example "nightly-7"'
        )
    token = _RUN.set(name)
    try:
        yield
    finally:
        _RUN.reset(token)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run: a chain, a tool, a call of a model.

    Attributes:
        id: Its id.
        parent: Id of the step around it, "" for the outermost.
        name: What it is called.
        kind: ``"chain"``, ``"tool"``, ``"model"``, ….
        receipts: Ids of the receipts of its calls.
    """

    id: str
    parent: str = ""
    name: str = ""
    kind: str = ""
    receipts: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "id": self.id,
            "parent": self.parent,
            "name": self.name,
            "kind": self.kind,
            "receipts": list(self.receipts),
        }
