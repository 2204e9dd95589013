"""``OpenAI`` and ``AsyncOpenAI`` clients whose calls are paid, recorded and verified like all others.

The official client builds and parses; a transport below it sees the exact bytes, and makes the receipt and the verdict.
A reply that fails the policy raises our error out of the official client's call or iteration; an HTTP error of the
provider raises the official client's own class.
"""

from __future__ import annotations

import importlib
import json
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from zg_core.calls.call import Tail
from zg_core.calls.reading import event, take
from zg_core.client import SETTINGS, AsyncChatClient, ChatClient
from zg_core.errors import ConfigError, RequestError, ZeroGError
from zg_core.http.bodies import BodyBroken
from zg_core.http.library import leaf_sha256, ssl_context
from zg_core.http.messages import USER_AGENT
from zg_core.http.refusals import GATEWAY
from zg_core.http.transport import run
from zg_core.jsontext import parse_json
from zg_core.sse import SSEDecoder
from zg_core.tasks.parameters import refuse_settings
from zg_core.tracebacks import clears_locals
from zg_core.types import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping

    from openai import AsyncOpenAI, OpenAI

    from zg_core.calls.call import Call
    from zg_core.calls.path import Calls

__all__ = ["async_openai_client", "openai_client"]

_CHARGED = ("/chat/completions", "/embeddings")


@clears_locals
def openai_client(**settings: Any) -> OpenAI:
    """An ``openai.OpenAI`` for one provider; the provider's record is read from the chain now.

    Args:
        settings: As `ChatClient` takes them: ``provider`` or ``model``, wallet or ``api_key``, ``verify`` and so on.

    Returns:
        A client with ``base_url``, a token that renews itself, ``max_retries=0`` (a repeated POST is a second
        payment), and the further attributes ``receipts`` and ``policy``. LoRA adapter names work as models.

    Raises:
        ConfigError, ChainError, ModelNotServed: as `ChatClient.create`, before anything is sent.
    """
    _refuse_routing(settings)
    core = ChatClient(**settings)
    lib = _library()
    service = core.service()
    transport = _transport(lib)(core, ssl_context(settings.get("ca_file")))
    return cast(
        "OpenAI",
        _client("OpenAI")(
            core,
            base_url=service.endpoint,
            api_key=lambda: core.token().reveal(),
            max_retries=0,
            http_client=lib.Client(transport=transport, follow_redirects=False, timeout=None),
        ),
    )


@clears_locals
def async_openai_client(**settings: Any) -> AsyncOpenAI:
    """Async twin of `openai_client`; the chain is read in this call, blocking for that moment."""
    _refuse_routing(settings)
    with ChatClient(**settings) as reader:
        service = reader.service()
    core = AsyncChatClient(**{**settings, "provider": service.provider})
    lib = _library()

    async def token() -> str:
        return (await core.token()).reveal()

    transport = _async_transport(lib)(core, ssl_context(settings.get("ca_file")))
    return cast(
        "AsyncOpenAI",
        _client("AsyncOpenAI")(
            core,
            base_url=service.endpoint,
            api_key=token,
            max_retries=0,
            http_client=lib.AsyncClient(transport=transport, follow_redirects=False, timeout=None),
        ),
    )


def _refuse_routing(settings: Mapping[str, Any]) -> None:
    if settings.get("routing") is not None:
        raise ConfigError(
            "the official client talks to one provider, so nothing can be routed",
            code="bad_routing",
            hint="use ChatClient, or choose with it: provider=ChatClient(…, routing=…).service().provider",
        )


def _library() -> Any:
    """The HTTP library of the installed openai major: its transports must be of the same one."""
    import openai

    return importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")


@cache
def _client(name: str) -> Callable[..., Any]:
    """The official client class with our attributes, and without its wrapping of our errors."""
    import openai

    base: Any = getattr(openai, name)

    def unwrap(error: openai.APIConnectionError) -> BaseException:
        cause = error.__cause__
        return cause if isinstance(cause, ZeroGError) else error

    class Client(base):  # type: ignore[misc]
        def __init__(self, core: Any = None, **options: Any) -> None:
            self._core = core
            super().__init__(**options)

        @property
        def receipts(self) -> Any:
            return self._core.receipts

        @property
        def policy(self) -> Any:
            return self._core.policy

        def copy(self, **options: Any) -> Any:
            extra = {"core": self._core, **options.pop("_extra_kwargs", {})}
            return super().copy(_extra_kwargs=extra, **options)

        with_options = copy

    def request(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return base.request(self, *arguments, **options)
        except openai.APIConnectionError as error:
            raise unwrap(error) from error.__context__

    async def request_async(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return await base.request(self, *arguments, **options)
        except openai.APIConnectionError as error:
            raise unwrap(error) from error.__context__

    Client.request = request_async if name == "AsyncOpenAI" else request
    Client.__name__ = Client.__qualname__ = name
    return Client


@cache
def _transport(lib: Any) -> Callable[..., Any]:
    class Body(lib.SyncByteStream):  # type: ignore[misc]
        def __init__(self, recorded: AsyncGenerator[bytes, None], close: Callable[[], None]) -> None:
            self._recorded = recorded
            self._close = close

        def __iter__(self) -> Iterator[bytes]:
            while True:
                try:
                    yield run(_step(self._recorded.__anext__()))
                except StopAsyncIteration:
                    return

        def close(self) -> None:
            try:
                run(_step(self._recorded.aclose()))
            finally:
                self._close()

    class Transport(lib.BaseTransport):  # type: ignore[misc]
        def __init__(self, core: ChatClient, context: Any) -> None:
            self._core = core
            self._inner = lib.HTTPTransport(verify=context)

        def handle_request(self, request: Any) -> Any:
            _clean(request.headers)
            if not _is_charged(request):
                return self._inner.handle_request(request)
            calls = self._core.calls
            call = run(_prepare(self._core, request.read()))
            while True:
                try:
                    response = self._inner.handle_request(request)
                except BaseException as error:
                    _unanswered(lib, calls, call, error)
                    raise
                if response.is_success:
                    break
                try:
                    response.read()
                    again = run(_again(self._core, call, request, response))
                except BaseException:
                    calls.closing.refused(call)
                    raise
                if not again:
                    _declined(calls, call, response)
                    return response
                response.close()
            decoded = _answered(lib, calls, call, request, response)
            recorded = _record(calls, call, _as_async(decoded.iter_bytes()), lib)
            return _response(lib, response, Body(recorded, response.close))

        def close(self) -> None:
            self._inner.close()
            self._core.close()

    return Transport


@cache
def _async_transport(lib: Any) -> Callable[..., Any]:
    class Body(lib.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, recorded: AsyncGenerator[bytes, None], close: Callable[[], Any]) -> None:
            self._recorded = recorded
            self._close = close

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._recorded:
                yield chunk

        async def aclose(self) -> None:
            try:
                await self._recorded.aclose()
            finally:
                await self._close()

    class Transport(lib.AsyncBaseTransport):  # type: ignore[misc]
        def __init__(self, core: AsyncChatClient, context: Any) -> None:
            self._core = core
            self._inner = lib.AsyncHTTPTransport(verify=context)

        async def handle_async_request(self, request: Any) -> Any:
            _clean(request.headers)
            if not _is_charged(request):
                return await self._inner.handle_async_request(request)
            calls = self._core.calls
            call = await _prepare(self._core, await request.aread())
            while True:
                try:
                    response = await self._inner.handle_async_request(request)
                except BaseException as error:
                    _unanswered(lib, calls, call, error)
                    raise
                if response.is_success:
                    break
                try:
                    await response.aread()
                    again = await _again(self._core, call, request, response)
                except BaseException:
                    calls.closing.refused(call)
                    raise
                if not again:
                    _declined(calls, call, response)
                    return response
                await response.aclose()
            decoded = _answered(lib, calls, call, request, response)
            recorded = _record(calls, call, decoded.aiter_bytes(), lib)
            return _response(lib, response, Body(recorded, response.aclose))

        async def aclose(self) -> None:
            await self._inner.aclose()
            await self._core.close()

    return Transport


def _clean(headers: Any) -> None:
    """Leave out what describes the user's machine; ask for plain bytes."""
    for name in [name for name in headers if name.lower().startswith("x-stainless-")]:
        del headers[name]
    headers["User-Agent"] = USER_AGENT
    headers["Accept-Encoding"] = "identity"


def _is_charged(request: Any) -> bool:
    return bool(request.method == "POST" and request.url.path.endswith(_CHARGED))


async def _prepare(core: ChatClient | AsyncChatClient, body: bytes) -> Call:
    payload = json.loads(body)
    refuse_settings(payload, SETTINGS)
    route = await core.backend.route(payload.get("model"))
    call = core.calls.sending.start(route, body)
    await core.calls.sending.depart(call)
    return call


async def _again(core: ChatClient | AsyncChatClient, call: Call, request: Any, response: Any) -> bool:
    """Whether `request` is to be sent again, with a session that suits; its refusal has been read."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    error = core.calls.sending.refusal(call, response.status_code, headers, response.content)
    if not await core.calls.sending.second_chance(call, error):
        return False
    request.headers.update(await core.backend.authorise(call.route))
    await core.calls.sending.queue(call)
    return True


def _unanswered(lib: Any, calls: Calls, call: Call, error: BaseException) -> None:
    if not isinstance(error, Exception):  # broken off
        calls.closing.abandon(call)
    elif not isinstance(error, (lib.ConnectError, lib.ConnectTimeout, lib.PoolTimeout, lib.UnsupportedProtocol)):
        calls.closing.unanswered(call)
    else:
        calls.closing.refused(call)


def _declined(calls: Calls, call: Call, response: Any) -> None:
    if response.status_code in GATEWAY:
        calls.closing.unanswered(call)
    else:
        calls.closing.refused(call)


def _answered(lib: Any, calls: Calls, call: Call, request: Any, response: Any) -> Any:
    headers = {name.lower(): value for name, value in response.headers.items()}
    calls.sending.answered(call, response.status_code, headers, leaf_sha256(response))
    return lib.Response(response.status_code, headers=response.headers, stream=response.stream, request=request)


def _response(lib: Any, response: Any, stream: Any) -> Any:
    # The body is passed on decoded, so its encoding and length no longer apply.
    kept = [
        (k, v) for k, v in response.headers.multi_items() if k.lower() not in ("content-encoding", "content-length")
    ]
    return lib.Response(response.status_code, headers=kept, stream=stream, extensions=response.extensions)


async def _record(calls: Calls, call: Call, chunks: AsyncIterator[bytes], lib: Any) -> AsyncGenerator[bytes, None]:
    """Pass the body on, and judge it before its last bytes are passed on.

    The chunk with ``[DONE]`` is kept back until what follows it was read and the verdict made: the official client
    stops reading there.
    """
    events = "text/event-stream" in call.exchange.headers.get("content-type", "")
    held: list[bytes] = []
    broken = ""
    try:
        try:
            watch = _Watch(calls, call, events)
            async for chunk in chunks:
                watch.take(chunk)
                if watch.holds:
                    held.append(chunk)
                else:
                    yield chunk
            watch.end()
        except BodyBroken as error:
            broken = error.reason
        except (lib.TransportError, lib.StreamError, lib.DecodingError) as error:
            broken = f"the connection broke ({type(error).__name__})"
        if broken:
            raise await calls.closing.truncated(call, broken, "".join(call.text))
        call.exchange.complete = True
        receipt = await calls.closing.judge(call, "failed" if watch.failed else "answered")
        calls.policy.enforce(receipt, watch.text())
    except ZeroGError:
        raise
    except BaseException:
        calls.closing.abandon(call)
        raise
    for chunk in held:
        yield chunk


class _Watch:
    """Follows one body: hashes it, reads its events, and says when chunks must be kept back."""

    def __init__(self, calls: Calls, call: Call, events: bool) -> None:
        self._calls = calls
        self._call = call
        self._decoder = SSEDecoder() if events else None
        self._tail: Tail | None = None
        self._body: list[bytes] = []
        self.failed = False

    @property
    def holds(self) -> bool:
        """Whether chunks from here on wait for the verdict."""
        return self._decoder is None or self._call.done or self._calls.policy.stream == "hold"

    def take(self, chunk: bytes) -> None:
        """The next chunk."""
        take(self._call, chunk)
        if self._decoder is None:
            self._body.append(chunk)
            return
        try:
            self._events(self._decoder.feed(chunk))
        except ValueError as error:
            raise BodyBroken(str(error)) from error
        if self._call.done:
            self._tail = self._tail or Tail(self._call.exchange.size)
            self._tail.check(self._call.exchange.size)

    def end(self) -> None:
        """The body has ended.

        Raises:
            BodyBroken: before its end.
        """
        if self._decoder is not None:
            self._events(self._decoder.flush())
            if not (self._call.done or self._call.finished or self.failed):
                raise BodyBroken("the stream ended without its end")
            return
        try:
            body = parse_json(b"".join(self._body))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            self.failed = True
            return
        self._call.usage = Usage.parse(body.get("usage"))
        identity = body.get("id")
        self._call.exchange.body_id = identity if isinstance(identity, str) else ""

    def text(self) -> str:
        """What to put on an error: the text of a stream, the body of anything else."""
        return "".join(self._call.text) or b"".join(self._body)[:100_000].decode("utf-8", "replace")

    def _events(self, events: list[bytes]) -> None:
        for data in events:
            try:
                event(self._call, data)
            except RequestError:
                self.failed = True  # the official client raises its own error for it


async def _as_async(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def _step(awaitable: Any) -> Any:
    return await awaitable
