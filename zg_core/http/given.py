"""A client of the HTTP library: one that the user gives, or one of our own where a proxy stands before the network.

Everything else goes over `zg_core.http.connections`, which is faster.
"""

from __future__ import annotations

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError
from zg_core.http.bodies import Body, BodyBroken
from zg_core.http.guarding import PUBLIC, guard, judge, judge_in_loop
from zg_core.http.library import leaf_sha256, library, library_of, ssl_context
from zg_core.http.messages import Upload, in_loop
from zg_core.http.reach import OutOfReach
from zg_core.http.timeouts import CLOCK, Clock, clocked, watch
from zg_core.http.wires import BAD_HEADER, Broken, Late, NotConnected, Unsendable, Untrusted, pinned_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from zg_core.http.messages import Request
    from zg_core.http.proxies import Proxy

__all__ = ["LibraryClient"]


class _Response(Body):
    __slots__ = (
        "_asynchronous", "_clock", "_lib", "_response", "_speaker", "_stall", "_was_read", "certificate_sha256",
        "headers", "status",
    )  # fmt: skip

    def __init__(self, response: Any, clock: Clock, stall: float, lib: Any, *, asynchronous: bool) -> None:
        self._response = response
        self._asynchronous = asynchronous
        self._lib = lib
        self._clock = clock
        self._stall = stall
        watch(response, clock)
        # Where no clock is heeded: the library looks at this again when it begins to read the body.
        extensions = response.request.extensions
        extensions["timeout"] = {**extensions.get("timeout", {}), "read": stall}
        self._speaker = _speaker_of(response)
        self._was_read: bool = response.is_stream_consumed  # by a transport or an event hook of the user's
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
            _retire(self._speaker)
        except lib.TimeoutException as error:
            raise BodyBroken("the response stalled") from error
        except (lib.TransportError, lib.StreamError) as error:
            raise BodyBroken(f"the connection broke ({type(error).__name__})") from error

    def chunks(self) -> AsyncIterator[bytes]:
        """See `Body.chunks`."""
        return self._kept() if self._was_read else super().chunks()

    async def _kept(self) -> AsyncIterator[bytes]:
        """What is kept of a body that was read before us is decoded."""
        try:
            content: bytes = self._response.content
        except self._lib.ResponseNotRead:
            raise BodyBroken("something else has read the response, and not kept it") from None
        if content:
            yield content

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


def _speaker_of(response: Any) -> Any:
    """What speaks HTTP/1.1 on the connection of `response`; None where the client is built otherwise than we know."""
    found = response.stream
    for name in ("_stream", "_httpcore_stream", "_pool_request", "connection", "_connection"):
        found = getattr(found, name, None)
    return found if hasattr(found, "_h11_state") and hasattr(found, "_expire_at") else None


def _retire(speaker: Any) -> None:
    """Let no further request use a connection whose server spoke on after its answer, and take that for its own."""
    if speaker is not None and speaker._h11_state.trailing_data[0]:  # noqa: SLF001 - the library passes this over
        speaker._expire_at = 0.0  # noqa: SLF001


class _Trace:
    """Sees whether a request went out over a connection that there was before it."""

    __slots__ = ("_connected", "_sent")

    def __init__(self) -> None:
        self._connected = self._sent = False

    @property
    def reused(self) -> bool:
        return self._sent and not self._connected

    def blocking(self, name: str, _info: object) -> None:
        if ".connect_" in name:
            self._connected = True
        elif name == "http11.send_request_headers.started":
            self._sent = True

    async def asynchronous(self, name: str, info: object) -> None:
        self.blocking(name, info)


class LibraryClient:
    """Sends requests through a client of the library, of which only the connections are used.

    Args:
        client: The client; one of our own is made where it is None.
        ca_file: A certificate authority to trust instead of the system's, for a client of our own.
        proxy: What a client of our own goes through.
        pin: The only certificate that a server may show, for a client of our own (`Request.pin`).
        asynchronous: Whether it is an async client.

    Raises:
        ConfigError: the client is none of this kind, or the proxy none that can be used.
    """

    def __init__(
        self,
        client: Any = None,
        ca_file: str | None = None,
        proxy: Proxy | None = None,
        *,
        pin: str = "",
        asynchronous: bool,
    ) -> None:
        self._asynchronous = asynchronous
        kind = "AsyncClient" if asynchronous else "Client"
        self._lib = library() if client is None else library_of(client, kind)
        self._own = client is None
        self._through = "" if proxy is None else f", through the proxy that {proxy.source} names"
        self._client = client
        if client is None:
            options = _options(self._lib, ca_file, pin)
            if proxy is not None:
                options["proxy"] = proxy.checked()
            try:
                made = getattr(self._lib, kind)(**options)
            except (self._lib.InvalidURL, ValueError, ImportError) as error:
                if proxy is None:
                    raise
                raise proxy.refused(error) from None
            self._client = clocked(made, self._lib.ReadTimeout, asynchronous=asynchronous)
        guard(self._client, self._lib.ConnectError, asynchronous=asynchronous)

    async def send(self, request: Request, headers: Mapping[str, str]) -> _Response:
        """Send `request` with `headers`, nothing of the client's own in it.

        Raises:
            ConfigError: the given client is closed.
            NotConnected: nothing was sent.
            OutOfReach: nothing may be: the URL is a stranger's, and leads into a private network.
            Unsendable: nothing can be.
            Late: no answer came in time.
            Broken: none came.
        """
        if self._client.is_closed:
            raise ConfigError(
                "the given HTTP client is closed",
                code="bad_http_client",
                hint="keep it open as long as it is used here; closing it is up to whoever made it",
            )
        if request.pin and not self._own:
            raise ConfigError(
                "a given HTTP client cannot compare a server's certificate before it sends; nothing was sent",
                code="pin_impossible",
                hint="leave http_client out for this backend",
            )
        if request.once:
            return await self._send(request, self._build(request, headers))
        trace = _Trace()
        try:
            return await self._send(request, self._build(request, headers, trace))
        except Broken:
            if not trace.reused:
                raise
        return await self._send(request, self._build(request, headers))

    async def _send(self, request: Request, built: Any) -> _Response:
        lib, client, timeouts = self._lib, self._client, request.timeouts
        clock = Clock(timeouts.until_first, timeouts.whole)
        token, public = CLOCK.set(clock), PUBLIC.set(request.public)
        failure: Exception
        try:
            if request.public:
                await judge_in_loop(client, built.url) if self._asynchronous else judge(client, built.url)
            sending = client.send(built, stream=True, auth=None, follow_redirects=False)
            response = await sending if self._asynchronous else sending
        except OutOfReach as error:
            failure = error
        except lib.LocalProtocolError:  # its text holds the header, which may be a token
            failure = Unsendable(BAD_HEADER)
        except (lib.ConnectError, lib.ConnectTimeout, lib.PoolTimeout, lib.ProxyError) as error:
            kind = Untrusted if _is_certificate(error) else NotConnected
            failure = kind(f"{type(error).__name__}: {error}{self._through}")
        except lib.TimeoutException:
            failure = Late()
        except lib.TransportError as error:
            failure = Broken(type(error).__name__)
        else:
            return _Response(response, clock, timeouts.between, lib, asynchronous=self._asynchronous)
        finally:
            CLOCK.reset(token)
            PUBLIC.reset(public)
        raise failure  # without the library's frames, which hold the headers

    def _build(self, request: Request, headers: Mapping[str, str], trace: _Trace | None = None) -> Any:
        times = request.timeouts
        timeout = {"connect": times.connect, "read": times.until_first, "write": times.read, "pool": times.connect}
        extensions: dict[str, Any] = {"timeout": timeout}
        if trace is not None:
            extensions["trace"] = trace.asynchronous if self._asynchronous else trace.blocking
        content: Any = request.body
        if isinstance(content, Upload):
            headers = {**headers, "Content-Length": str(len(content))}
            content = in_loop(content.pieces()) if self._asynchronous else content.pieces()
        try:
            built = self._lib.Request(
                request.method, request.url, headers=headers, content=content, extensions=extensions
            )
            if built.url.scheme in ("http", "https") and built.url.host:
                return built
            reason = "it is not http or https" if built.url.host else "it names no host"
        except (self._lib.InvalidURL, UnicodeError) as error:
            reason = str(error)
        raise Unsendable(reason)

    def close(self) -> None:
        """Close a blocking client that is our own."""
        if self._own:
            self._client.close()

    async def aclose(self) -> None:
        """Close an async client that is our own."""
        if self._own:
            await self._client.aclose()


def _options(lib: Any, ca_file: str | None, pin: str = "") -> dict[str, Any]:
    return {
        "verify": pinned_context(pin) if pin else ssl_context(ca_file),
        "follow_redirects": False,
        "timeout": None,
        # Nothing that a server sets comes back to it.
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=())),
        "trust_env": False,  # see `zg_core.http.proxies`
        # Paid requests go over idle connections, too: see `zg_core.http.patience`.
        "limits": lib.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=4.0),
    }


def _is_certificate(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None
