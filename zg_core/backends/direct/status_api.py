"""What the network's public status API says about providers: best effort, signed by nobody (0g-direct §1.3).

It is asked by one caller of a process every five minutes, beside the calls and never before one; whatever goes wrong
with it changes nothing. It only makes a provider that it calls critical come after the others.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from zg_core.errors import ZeroGError
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.http.transport import Transport

__all__ = ["STATUS", "StatusApi"]

logger = logging.getLogger(__name__)

INTERVAL = 300.0
"""Seconds between two questions; what was heard is forgotten after two intervals."""
_SECONDS = 5.0
_TIMEOUTS = Timeouts(connect=3.0, read=3.0, whole=_SECONDS)
_MAX_BYTES = 1024 * 1024
_MAX_SERVICES = 4096
_STATUSES = frozenset({"healthy", "warning", "critical", "unknown"})


class StatusApi:
    """The answers of status APIs, by URL.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[str, float] = {}
        self._heard: dict[str, tuple[float, Mapping[tuple[str, str], str]]] = {}

    def known(self, url: str) -> Mapping[tuple[str, str], str]:
        """``"healthy"``, ``"warning"``, ``"critical"`` or ``"unknown"`` by address in lower case and model."""
        at, statuses = self._heard.get(url, (0.0, {}))
        return statuses if self._clock() - at < 2 * INTERVAL else {}

    def due(self, url: str) -> bool:
        """Whether the caller has to ask now; true for one caller in five minutes."""
        if not url:
            return False
        now = self._clock()
        with self._lock:
            if now - self._asked.get(url, now - INTERVAL) < INTERVAL:
                return False
            self._asked[url] = now
            return True

    async def ask(self, transport: Transport, url: str) -> None:
        """Read ``GET {url}/health``; a failure is logged, and leaves what was heard before."""
        try:
            answer = await transport.send(Request("GET", f"{url}/health", timeouts=_TIMEOUTS, public=False))
            body = await read_all(answer, _MAX_BYTES, _SECONDS)
            if answer.status == 200:
                self._heard[url] = (self._clock(), _statuses(parse_json(body)))
        except (ZeroGError, BodyBroken, ValueError, RecursionError) as error:
            logger.debug("the status API at %s cannot be read: %s", url, error)


def _statuses(answer: Any) -> dict[tuple[str, str], str]:
    entries = answer.get("services") if isinstance(answer, dict) else None
    found: dict[tuple[str, str], str] = {}
    for entry in entries[:_MAX_SERVICES] if isinstance(entries, list) else []:
        if not isinstance(entry, dict):
            continue
        provider, model, status = entry.get("provider"), entry.get("model"), entry.get("status")
        if isinstance(provider, str) and isinstance(model, str) and isinstance(status, str) and status in _STATUSES:
            found[provider.lower(), model] = status
    return found


STATUS = StatusApi()
"""What this process has heard."""
