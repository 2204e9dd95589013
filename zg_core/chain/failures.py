"""What a node answered instead of a result."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RpcFailure"]


@dataclass(frozen=True, slots=True)
class RpcFailure:
    """An error object that the node answered; `data` is the revert data as hex, if any."""

    code: int
    message: str
    data: str = ""
