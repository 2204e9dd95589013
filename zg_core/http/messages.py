"""Messages: a request, a response whose body is still to be read, and how a body is read whole."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from zg_core.config import SecretHeaders, Url
from zg_core.http.bodies import BodyBroken
from zg_core.http.timeouts import Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = ["USER_AGENT", "Request", "Response", "read_all"]

USER_AGENT = "zerog-integrations"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    `once` says that repeating it may cost money: when such a request is sent and no answer comes, its outcome is
    unknown rather than failed. `public` says that a stranger chose the URL: only addresses of the public internet are
    dialled for it (`zg_core.http.reach`). `pin` is the SHA-256 (hex) of the only certificate that the server may show,
    compared before a byte is sent; "" leaves that to the system's authorities. The URL shows scheme and host only: an
    RPC endpoint's may hold a key.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)  # may hold a token, so they become `SecretHeaders`
    body: bytes | None = field(default=None, repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)
    once: bool = False
    public: bool = False
    pin: str = ""

    def __post_init__(self) -> None:
        """Hide the headers, and all but the place of the URL."""
        object.__setattr__(self, "url", Url(self.url))
        object.__setattr__(self, "headers", SecretHeaders(self.headers))


class Response(Protocol):
    """An HTTP response whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    certificate_sha256: str

    def chunks(self) -> AsyncIterator[bytes]:
        """The content-decoded body as it arrives; raises `BodyBroken`."""
        ...

    def hurry(self, seconds: float) -> None:
        """From now on the body has so many seconds in all to end; later it counts as stalled."""
        ...

    async def close(self) -> None:
        """Give the connection back or drop it."""
        ...


async def read_all(response: Response, limit: int, seconds: float | None = None) -> bytes:
    """The whole body, at most `limit` bytes.

    Args:
        response: Where it is read from.
        limit: Bytes.
        seconds: How long it may take in all; a sender that drips can keep below the time between two reads for ever.

    Raises:
        BodyBroken: it ended early, is larger, or takes longer.
    """
    parts: list[bytes] = []
    size, began = 0, time.monotonic()
    try:
        async for chunk in response.chunks():
            size += len(chunk)
            if size > limit:
                raise BodyBroken(f"the response is larger than {limit} bytes")
            if seconds is not None and time.monotonic() - began >= seconds:
                raise BodyBroken(f"the response takes longer than {seconds:.0f} s")
            parts.append(chunk)
    finally:
        await response.close()
    return b"".join(parts)
