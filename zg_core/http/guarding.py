"""The rule of `zg_core.http.reach` for clients of the HTTP library: they dial what was judged, and nothing else.

Their network backends are wrapped. A request that a stranger's URL is behind says so in a context variable; for all
others, those of a client's owner among them, nothing changes. What a proxy dials is not ours to see: there, only what
the URL itself says was judged.
"""

from __future__ import annotations

import socket
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from zg_core.http.dialling import addresses
from zg_core.http.reach import reachable
from zg_core.http.signals import LoopSignal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PUBLIC", "guard", "judge", "judge_in_loop"]

PUBLIC: ContextVar[bool] = ContextVar("zerog_public", default=False)
"""Whether the request that is being sent may only go to the public internet."""
_FRESH_SECONDS = 30.0
_LONGEST = 60.0  # seconds for a name and its addresses, where the client says nothing
_MOST = 1024
_judged: dict[tuple[str, int], float] = {}


class _SyncGuard:
    """A network backend that dials judged addresses while `PUBLIC` is set."""

    def __init__(self, backend: Any, failed: type[Exception]) -> None:
        self._backend = backend
        self._failed = failed

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **kwargs: Any) -> Any:
        if not PUBLIC.get():
            return self._backend.connect_tcp(host, port, timeout=timeout, **kwargs)
        end = time.monotonic() + (timeout or _LONGEST)
        try:
            resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise self._failed(str(error)) from None
        failure: Exception = self._failed("the name has no address")
        for place, share in _shares(reachable(resolved), end):
            try:
                return self._backend.connect_tcp(place, port, timeout=share, **kwargs)
            except Exception as error:  # noqa: BLE001 - the library's own, of whichever version; the last is raised
                failure = error
        raise failure

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class _AsyncGuard(_SyncGuard):
    async def connect_tcp(self, host: str, port: int, timeout: float | None = None, **kwargs: Any) -> Any:  # noqa: ASYNC109 - the library's own
        if not PUBLIC.get():
            return await self._backend.connect_tcp(host, port, timeout=timeout, **kwargs)
        end = time.monotonic() + (timeout or _LONGEST)
        try:
            resolved = await addresses(host, port, timeout or _LONGEST, LoopSignal)
        except (OSError, UnicodeError) as error:
            raise self._failed(str(error)) from None
        failure: Exception = self._failed("the name has no address")
        for place, share in _shares(reachable(resolved), end):
            try:
                return await self._backend.connect_tcp(place, port, timeout=share, **kwargs)
            except Exception as error:  # noqa: BLE001 - as above
                failure = error
        raise failure


def _shares(found: list[tuple[Any, ...]], end: float) -> Iterator[tuple[str, float]]:
    """Each address with its share of the time that is left until `end`: one deadline stands over all of them."""
    for number, info in enumerate(found):
        left = end - time.monotonic()
        if left > 0 or not number:
            yield info[4][0], max(left / (len(found) - number), 0.001)


def guard(client: Any, failed: type[Exception], *, asynchronous: bool) -> None:
    """Wrap the network backends of `client`, where it is built as we know it; again is no error.

    Args:
        client: A client of httpx2 or httpx.
        failed: What to raise where a name cannot be resolved.
        asynchronous: Whether it is an async client.
    """
    kind = _AsyncGuard if asynchronous else _SyncGuard
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        pool = _direct_pool(transport)
        if pool is not None and not isinstance(pool._network_backend, _SyncGuard):  # noqa: SLF001
            pool._network_backend = kind(pool._network_backend, failed)  # noqa: SLF001


def _direct_pool(transport: Any) -> Any:
    """The connection pool of `transport`; None where it dials a proxy, or nothing at all."""
    pool = getattr(transport, "_pool", None)
    return pool if hasattr(pool, "_network_backend") and not hasattr(pool, "_proxy_url") else None


def _known(client: Any, url: Any) -> tuple[str, int] | None:
    """Host and port to judge, None where a proxy stands before them or they were judged a moment ago.

    Each request is judged before it is sent, too: the pool may hold a connection that was made without the rule.
    """
    if _direct_pool(client._transport_for_url(url)) is None:  # noqa: SLF001
        return None
    place = url.host, url.port or (443 if url.scheme == "https" else 80)
    return None if time.monotonic() < _judged.get(place, 0.0) else place


def _note(place: tuple[str, int]) -> None:
    if len(_judged) >= _MOST:
        _judged.clear()
    _judged[place] = time.monotonic() + _FRESH_SECONDS


def judge(client: Any, url: Any) -> None:
    """Refuse a URL whose name leads nowhere but into private networks, before `client` sends anything there.

    Raises:
        OutOfReach: it does. A name that cannot be resolved is left to the client.
    """
    if (place := _known(client, url)) is None:
        return
    try:
        resolved = socket.getaddrinfo(*place, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    reachable(resolved)
    _note(place)


async def judge_in_loop(client: Any, url: Any) -> None:
    """As `judge`, for an async client."""
    if (place := _known(client, url)) is None:
        return
    try:
        resolved = await addresses(*place, _LONGEST, LoopSignal)
    except (OSError, UnicodeError):
        return
    reachable(resolved)
    _note(place)
