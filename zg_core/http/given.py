"""A client of the HTTP library: one that the user gives, or one of our own where a proxy stands before the network.

Everything else goes over `zg_core.http.connections`, which is faster.
"""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError
from zg_core.http.bodies import Body, BodyBroken
from zg_core.http.library import leaf_sha256, library, library_of, ssl_context
from zg_core.http.timeouts import CLOCK, Clock, clocked, watch
from zg_core.http.wires import BAD_HEADER, Broken, Late, NotConnected, Unsendable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from zg_core.http.messages import Request

__all__ = ["LibraryClient"]


class _Response(Body):
    __slots__ = ("_asynchronous", "_clock", "_lib", "_response", "_stall", "certificate_sha256", "headers", "status")

    def __init__(self, response: Any, clock: Clock, stall: float, lib: Any, *, asynchronous: bool) -> None:
        self._response = response
        self._asynchronous = asynchronous
        self._lib = lib
        self._clock = clock
        self._stall = stall
        watch(response, clock)
        # Where no clock is heeded: the library looks at this again when it begins to read the body.
        response.request.extensions["timeout"] = {**response.request.extensions["timeout"], "read": stall}
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = {k.lower(): v for k, v in response.headers.items()}
        self.certificate_sha256 = leaf_sha256(response)

    async def _raw(self) -> AsyncIterator[bytes]:
        lib, restart, stall = self._lib, self._clock.restart, self._stall
        try:
            if self._asynchronous:
                async for chunk in self._response.aiter_raw():
                    yield chunk
                    restart(stall)
                    self._check()
            else:
                for chunk in self._response.iter_raw():
                    yield chunk
                    restart(stall)
                    self._check()
        except lib.TimeoutException as error:
            raise BodyBroken("the response stalled") from error
        except (lib.TransportError, lib.StreamError) as error:
            raise BodyBroken(f"the connection broke ({type(error).__name__})") from error

    def _check(self) -> None:
        """Where the client heeds no clock: a server that goes on sending is late all the same."""
        if self._clock.left() <= 0:
            raise BodyBroken("the response stalled")

    def hurry(self, seconds: float) -> None:
        self._clock.end_within(seconds)

    async def close(self) -> None:
        if self._asynchronous:
            await self._response.aclose()
        else:
            self._response.close()


class LibraryClient:
    """Sends requests through a client of the library, of which only the connections are used.

    Args:
        client: The client; one of our own is made where it is None.
        ca_file: A certificate authority to trust instead of the system's, for a client of our own.
        asynchronous: Whether it is an async client.
    """

    def __init__(self, client: Any = None, ca_file: str | None = None, *, asynchronous: bool) -> None:
        self._asynchronous = asynchronous
        kind = "AsyncClient" if asynchronous else "Client"
        self._lib = library() if client is None else library_of(client, kind)
        self._own = client is None
        self._client = client
        if client is None:
            made = getattr(self._lib, kind)(**_options(self._lib, ca_file))
            self._client = clocked(made, self._lib.ReadTimeout, asynchronous=asynchronous)

    async def send(self, request: Request, headers: Mapping[str, str]) -> _Response:
        """Send `request` with `headers`, nothing of the client's own in it.

        Raises:
            ConfigError: the given client is closed.
            NotConnected: nothing was sent.
            Unsendable: nothing can be.
            Late: no answer came in time.
            Broken: none came.
        """
        lib, client = self._lib, self._client
        if client.is_closed:
            raise ConfigError(
                "the given HTTP client is closed",
                code="bad_http_client",
                hint="keep it open as long as it is used here; closing it is up to whoever made it",
            )
        clock = Clock(request.timeouts.until_first)
        token = CLOCK.set(clock)
        failure: Exception
        try:
            sending = client.send(self._build(request, headers), stream=True, auth=None, follow_redirects=False)
            response = await sending if self._asynchronous else sending
        except lib.LocalProtocolError:  # its text holds the header, which may be a token
            failure = Unsendable(BAD_HEADER)
        except (lib.InvalidURL, lib.UnsupportedProtocol, UnicodeError) as error:
            failure = Unsendable(str(error))
        except (lib.ConnectError, lib.ConnectTimeout, lib.PoolTimeout, lib.ProxyError) as error:
            failure = NotConnected(f"{type(error).__name__}: {error}")
        except lib.TimeoutException:
            failure = Late()
        except lib.TransportError as error:
            failure = Broken(type(error).__name__)
        else:
            return _Response(response, clock, request.timeouts.between, lib, asynchronous=self._asynchronous)
        finally:
            CLOCK.reset(token)
        raise failure  # without the library's frames, which hold the headers

    def _build(self, request: Request, headers: Mapping[str, str]) -> Any:
        times = request.timeouts
        timeout = {"connect": times.connect, "read": times.until_first, "write": times.read, "pool": times.connect}
        built = self._lib.Request(
            request.method, request.url, headers=headers, content=request.body, extensions={"timeout": timeout}
        )
        if not built.url.host:
            raise self._lib.UnsupportedProtocol("it names no host")
        return built

    def close(self) -> None:
        """Close a blocking client that is our own."""
        if self._own:
            self._client.close()

    async def aclose(self) -> None:
        """Close an async client that is our own."""
        if self._own:
            await self._client.aclose()


def _options(lib: Any, ca_file: str | None) -> dict[str, Any]:
    return {
        "verify": ssl_context(ca_file),
        "follow_redirects": False,
        "timeout": None,
        # Nothing that a server sets comes back to it.
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=())),
        "limits": lib.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=30.0),
    }
