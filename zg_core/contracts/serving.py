"""What the two serving contracts mean by their events and refusals, as `zg_core.chain` asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.contracts.events import ContractEvent, decode_logs
from zg_core.contracts.reverts import reverted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zg_core.errors import ChainError

__all__ = ["SERVING"]


class _Serving:
    def events(self, logs: Sequence[Mapping[str, Any]]) -> tuple[ContractEvent, ...]:
        """See `zg_core.chain.results.Contracts.events`."""
        return decode_logs(logs)

    def reverted(self, data: str, what: str, **details: Any) -> ChainError:
        """See `zg_core.chain.results.Contracts.reverted`."""
        return reverted(data, what, **details)


SERVING = _Serving()
"""LedgerManager and InferenceServing."""
