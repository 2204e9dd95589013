"""Progress: what happens while the user waits. The library tells a listener; the command line shows it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zg_core.shown.escaping import line

__all__ = ["Listener", "Progress", "tell"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of something that takes time or spends money.

    Attributes:
        name: Stable machine-readable name, such as ``"sent"``, ``"mined"`` or ``"waiting_for_provider"``.
        message: One sentence for people.
        details: Facts, such as ``transaction`` (hash), ``nonce``, ``provider``, ``seconds``.
    """

    name: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


Listener = Callable[[Progress], None]


def tell(listener: Listener | None, name: str, message: str, **details: Any) -> None:
    """Log a step and hand it to `listener`, whose failures must not cost the user a transaction."""
    message = line(message)
    logger.info("%s: %s", name, message)
    if listener is None:
        return
    try:
        listener(Progress(name, message, details))
    except Exception:
        logger.exception("a progress listener failed at %s", name)
