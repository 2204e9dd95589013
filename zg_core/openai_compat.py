"""``OpenAI`` and ``AsyncOpenAI`` clients whose calls are paid, recorded and verified like all others.

The official client builds requests and parses answers; everything between is `Calls.relay`, so that every setting of
`ChatClient` means the same here: policy, budget, limits, timeouts, retries, proxies, ``http_client``. The official
client never holds the token, and what it can send is what its bytes say: chat completions and embeddings. Everything
else is refused before it leaves.

A reply that fails the policy, breaks off or carries an error raises our error out of the official client's call or
iteration. What the provider answers with an HTTP error, and a connection that fails, raise the official client's own
classes, with our error as their cause, its ``code`` in the body, and the receipt as ``error.receipt``.
"""

from __future__ import annotations

import importlib
import math
import re
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from zg_core.calls.call import Options
from zg_core.calls.extra_headers import extra_headers
from zg_core.calls.reading import Form
from zg_core.calls.retries import Retries
from zg_core.client import SETTINGS, AsyncChatClient, ChatClient
from zg_core.config import Environment, conceal
from zg_core.errors import ConfigError, OutcomeUnknown, ProviderUnavailable, ZeroGError
from zg_core.frameworks.arguments import reject_unknown
from zg_core.http.timeouts import Timeouts
from zg_core.http.transport import run
from zg_core.shown.tracebacks import clear_locals, clears_locals
from zg_core.tasks.base import task_at

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping

    from openai import AsyncOpenAI, OpenAI

    from zg_core.backends.base import Service
    from zg_core.calls.path import Head

__all__ = ["async_openai_client", "openai_client"]

_KEY = "the-token-stays-below"
"""What the official client is given for a key: the session is signed, and sent, where the request is."""
_MODELS = "/models"
_NOWHERE = "wss://zerog.invalid"
_RETRIES: ContextVar[int | None] = ContextVar("zerog_openai_retries", default=None)
"""How often the request under way may be sent again: the official client's own retries would not know what was paid."""
_OWN_HEADERS = frozenset(
    {"accept", "accept-encoding", "connection", "content-type", "idempotency-key", "transfer-encoding"}
)
_AGENT = re.compile(r"(Async)?OpenAI/Python \S+$")
_OWN_PREFIXES = ("x-stainless-", "openai-")  # they tell of the machine and of its owner
_CONNECTION = ("connect_failed", "connection_lost", "timeout")
_ADVICE = "it takes what ChatClient takes"
_ELSEWHERE = {
    "base_url": "the provider's URL is read from the chain; pass provider='0x…'",
    "default_headers": "pass headers={…}, or with_options(default_headers={…})",
    "default_query": "the provider's URL is read from the chain, and takes no query",
    "organization": "nobody reads it here",
    "project": "nobody reads it here",
    "stream_policy": "pass stream='hold' or 'after'",
}
_FIXED = "it is fixed when the client is made: openai_client(…)"


@clears_locals
def openai_client(**settings: Any) -> OpenAI:
    """An ``openai.OpenAI`` whose calls take the same way as those of `ChatClient`; the chain is read now.

    Chat completions (streams, tools, ``parse``) and embeddings are sent; every other request is a `ConfigError` before
    anything leaves, and ``models.list()`` names the provider's model on chain. ``timeout`` and ``max_retries``, also
    those of ``with_options`` and of a single call, bound and repeat as in `ChatClient`: the official client repeats
    nothing by itself. Extra headers of a call are sent but for those that let a request in or describe it; extra query
    parameters are refused. LoRA adapter names work as models; their replies are ``verified`` only with
    ``accept_models``.

    Args:
        settings: As `ChatClient` takes them: ``provider`` or ``model``, wallet or ``api_key``, ``verify``, ``budget``,
            ``routing``, ``http_client`` and so on.

    Returns:
        A client with the further attributes ``receipts`` and ``policy``, in copies of it, too. Its ``base_url`` is the
        endpoint of the provider (with ``routing``: of the first choice now); its ``api_key`` is none.

    Raises:
        ConfigError, ChainError, ModelNotServed: as `ChatClient.create`, before anything is sent.
    """
    settings = _concealed(settings)
    core = ChatClient(**settings)
    try:
        base = core.service().url
    except BaseException:
        core.close()
        raise
    lib = _library()
    http_client = lib.Client(transport=_transport(lib)(core, base), follow_redirects=False, timeout=None)
    return cast("OpenAI", _made("OpenAI", core, base, http_client, settings))


@clears_locals
def async_openai_client(**settings: Any) -> AsyncOpenAI:
    """Async twin of `openai_client`; the chain is read in this call, blocking for that moment."""
    settings = _concealed(settings)
    with ChatClient(**{**settings, "http_client": None}) as reader:  # a given client is one of an event loop
        service = reader.service()
    core = AsyncChatClient(**settings)
    if settings.get("routing") is None:
        core.calls.sending.target.keep(service)
    lib = _library()
    transport = _async_transport(lib)(core, service.url)
    http_client = lib.AsyncClient(transport=transport, follow_redirects=False, timeout=None)
    return cast("AsyncOpenAI", _made("AsyncOpenAI", core, service.url, http_client, settings))


def _made(name: str, core: Any, base: str, http_client: Any, settings: Mapping[str, Any]) -> Any:
    return _client(name)(
        core,
        base_url=base,
        websocket_base_url=_NOWHERE,
        api_key=_KEY,
        max_retries=settings.get("max_retries", Retries().most),
        http_client=http_client,
    )


def _concealed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` without a key in plain text: a traceback can show the locals of every frame."""
    reject_unknown("openai_client()", settings, SETTINGS, advice=_ADVICE, elsewhere=_ELSEWHERE)
    kept = {**settings, "environ": Environment(settings.get("environ"))}
    for name in ("private_key", "api_key"):
        if isinstance(kept.get(name), str):
            kept[name] = conceal(kept[name])
    return kept


def _library() -> Any:
    """The HTTP library of the installed openai major: its transports must be of the same one."""
    import openai

    return importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")


@cache
def _client(name: str) -> Callable[..., Any]:
    """The official client class with our attributes, our retries, and no way around them."""
    import openai

    base: Any = getattr(openai, name)
    changeable = ("timeout", "max_retries", "default_headers", "set_default_headers", "_extra_kwargs")

    def told(error: Any) -> BaseException:
        """What to raise for an error of the official client: ours, where it only wraps that."""
        ours = _ours(error)
        if ours is None:
            return cast("BaseException", error)
        if isinstance(error, openai.APIStatusError) or isinstance(ours, OutcomeUnknown | ProviderUnavailable):
            error.receipt, error.__cause__ = ours.receipt, ours
            error.__suppress_context__ = True
            return cast("BaseException", error)
        return ours

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
            """A client with other ``timeout``, ``max_retries`` or headers, and the same way, policy and receipts."""
            given = {n: v for n, v in options.items() if v is not None and type(v).__name__ != "NotGiven"}
            if fixed := sorted(given.keys() - set(changeable)):
                raise ConfigError(
                    f"with_options() cannot change {', '.join(fixed)} of a client whose calls are paid and verified",
                    code="fixed_setting",
                    hint=_FIXED,
                )
            extra = {"core": self._core, **given.pop("_extra_kwargs", {})}
            if websocket := getattr(self, "websocket_base_url", None):
                given["websocket_base_url"] = websocket
            return super().copy(_extra_kwargs=extra, **given)

        with_options = copy

    def once(self: Any, options: Any) -> tuple[Any, Any]:
        """`options` for a single attempt of the official client, and what undoes the note of ours."""
        most = options.get_max_retries(self.max_retries)
        single = options.model_copy(update={"max_retries": 0})
        return single, _RETRIES.set(most)

    def request(self: Any, cast_to: Any, options: Any, **more: Any) -> Any:
        single, token = once(self, options)
        try:
            return base.request(self, cast_to, single, **more)
        except (openai.APIStatusError, openai.APIConnectionError) as error:
            raised = told(error)
            raise raised from raised.__cause__
        finally:
            _RETRIES.reset(token)

    async def request_async(self: Any, cast_to: Any, options: Any, **more: Any) -> Any:
        single, token = once(self, options)
        try:
            return await base.request(self, cast_to, single, **more)
        except (openai.APIStatusError, openai.APIConnectionError) as error:
            raised = told(error)
            raise raised from raised.__cause__
        finally:
            _RETRIES.reset(token)

    Client.request = clears_locals(request_async if name == "AsyncOpenAI" else request)
    Client.__name__ = Client.__qualname__ = name
    return Client


def _ours(error: Any) -> ZeroGError | None:
    """Our error that `error` stands for, if it does."""
    if (response := getattr(error, "response", None)) is not None:
        return cast("ZeroGError | None", response.extensions.get("zerog_error"))
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ZeroGError):
        cause = cause.__cause__
    return cause


# Below the official client: its requests in, responses out. Everything between is the one path.


@cache
def _transport(lib: Any) -> Callable[..., Any]:
    class Body(lib.SyncByteStream):  # type: ignore[misc]
        def __init__(self, chunks: AsyncGenerator[bytes, None]) -> None:
            self._chunks = chunks

        def __iter__(self) -> Iterator[bytes]:
            while True:
                try:
                    chunk = run(_step(self._chunks.__anext__()))
                except StopAsyncIteration:
                    return
                except BaseException as error:
                    clear_locals(error)
                    raise
                yield chunk
                del chunk

        def close(self) -> None:
            run(_step(self._chunks.aclose()))

    class Transport(lib.BaseTransport):  # type: ignore[misc]
        def __init__(self, core: ChatClient, base: str) -> None:
            self._core = core
            self._base = base

        def handle_request(self, request: Any) -> Any:
            path = _path(request, self._base)
            try:
                if path == _MODELS:
                    return _listing(lib, self._core.service())
                head, chunks = run(_relayed(self._core, request, path, request.read()))
            except ZeroGError as error:
                return _answer_for(lib, error)
            return lib.Response(head.status, headers=_headers(head), stream=Body(chunks))

        def close(self) -> None:
            self._core.close()

    return Transport


@cache
def _async_transport(lib: Any) -> Callable[..., Any]:
    class Body(lib.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, chunks: AsyncGenerator[bytes, None]) -> None:
            self._chunks = chunks

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for chunk in self._chunks:
                    yield chunk
                    del chunk
            except BaseException as error:
                clear_locals(error)
                raise

        async def aclose(self) -> None:
            await self._chunks.aclose()

    class Transport(lib.AsyncBaseTransport):  # type: ignore[misc]
        def __init__(self, core: AsyncChatClient, base: str) -> None:
            self._core = core
            self._base = base

        async def handle_async_request(self, request: Any) -> Any:
            path = _path(request, self._base)
            try:
                if path == _MODELS:
                    return _listing(lib, await self._core.service())
                head, chunks = await _relayed(self._core, request, path, await request.aread())
            except ZeroGError as error:
                return _answer_for(lib, error)
            return lib.Response(head.status, headers=_headers(head), stream=Body(chunks))

        async def aclose(self) -> None:
            await self._core.close()

    return Transport


def _path(request: Any, base: str) -> str:
    """What is asked for, below the endpoint.

    Raises:
        ConfigError: it is neither a task nor the list of models (code ``unknown_task``); nothing was sent.
    """
    url, start = str(request.url), base.rstrip("/")
    path = url[len(start) :] if url.startswith(f"{start}/") else url
    if request.method == "GET" and path == _MODELS:
        return path
    return task_at(path if request.method == "POST" else f"{request.method} {path}").path


async def _relayed(
    core: ChatClient | AsyncChatClient, request: Any, path: str, data: bytes
) -> tuple[Head, AsyncGenerator[bytes, None]]:
    retries, most = None, _RETRIES.get()
    if most is not None and most != core.calls.retries.most:
        retries = replace(core.calls.retries, most=most)
    timeouts = _timeouts(request.extensions.get("timeout") or {}, core.calls.timeouts)
    options = Options(timeouts, extra_headers(dict(_others(request, len(data))), "extra_headers"), retries)
    return await core.calls.relay(data, path, form=Form.TIDY, options=options)


def _others(request: Any, length: int) -> Iterator[tuple[str, str]]:
    """The headers that the official client does not set by itself, or not so."""
    usual = {
        "authorization": f"Bearer {_KEY}",
        "content-length": str(length),
        "host": request.url.netloc.decode("ascii"),
    }
    for name, value in request.headers.items():
        low = name.lower()
        own = low in _OWN_HEADERS or low.startswith(_OWN_PREFIXES) or usual.get(low) == value
        if not own and (low != "user-agent" or not _AGENT.match(value)):
            yield name, value


def _timeouts(given: Mapping[str, float | None], ours: Timeouts) -> Timeouts | None:
    """What the official client was told for this call, None if nothing: then the client's own hold."""
    connect, read = given.get("connect"), given.get("read")
    if read is not None:
        return Timeouts(connect=min(read, ours.connect) if connect is None else connect, read=read)
    return None if connect is None else replace(ours, connect=connect)


def _headers(head: Head) -> dict[str, str]:
    return {**head.headers, "x-zerog-receipt": head.receipt.id}


def _listing(lib: Any, service: Service) -> Any:
    """The models of a provider, by what the chain says: what it lists by itself is signed by nobody."""
    made = service.record.get("updated_at", 0)
    model = {"id": service.model, "object": "model", "created": made, "owned_by": service.provider}
    return lib.Response(200, json={"object": "list", "data": [model]})


def _answer_for(lib: Any, error: ZeroGError) -> Any:
    """The provider's HTTP error as the official client reads it; an error of ours is raised through it.

    Raises:
        ZeroGError: `error`, where no HTTP response was what it is about.
        lib.RequestError: one of the library's, for a connection that failed.
    """
    status = error.details.get("status")
    if isinstance(status, int) and not 200 <= status < 300:
        said = {"message": str(error), "type": type(error).__name__, "code": error.code, "param": None}
        headers = {"x-should-retry": "false"}
        if (seconds := error.details.get("retry_after")) is not None:
            headers["retry-after"] = str(math.ceil(seconds))
        if error.receipt is not None:
            headers["x-zerog-receipt"] = error.receipt.id
        extensions = {"zerog_error": error}
        return lib.Response(status, headers=headers, json={"error": said}, extensions=extensions)
    if isinstance(error, OutcomeUnknown | ProviderUnavailable) and error.code in _CONNECTION:
        kind = {"timeout": lib.ReadTimeout, "connection_lost": lib.ReadError}.get(error.code, lib.ConnectError)
        raise kind(error.message) from error
    raise error


async def _step(awaitable: Any) -> Any:
    return await awaitable
