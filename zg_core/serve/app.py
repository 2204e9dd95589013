"""The server as an ASGI application: who may ask, and which route answers."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from zg_core.errors import ZeroGError
from zg_core.serve.access import OWNER, Access, Keys, Refused
from zg_core.serve.answers import GUARDS, HttpError
from zg_core.serve.bodies import Gone, read_body
from zg_core.serve.clients import Clients
from zg_core.serve.console import PAGE_GUARDS, Console, page
from zg_core.serve.metrics import CONTENT_TYPE
from zg_core.serve.relaying import Relays, send_error
from zg_core.serve.seen import Seen
from zg_core.serve.settings import is_loopback
from zg_core.serve.visitors import objection
from zg_core.shown.escaping import line
from zg_core.store import Store
from zg_core.tasks.base import CHAT, TASKS

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from zg_core.serve.access import Caller
    from zg_core.serve.settings import ServeSettings

__all__ = ["Server"]

logger = logging.getLogger(__name__)

_TASKS = {f"/v1{task.path}": task for task in TASKS}
_MODELS = "/v1/models"
_CONSOLE = "/console/api/"


class Server:
    """Answers OpenAI-shaped requests, each as a call that is paid, recorded and verified.

    Args:
        settings: What is served, and to whom.

    Raises:
        ConfigError: a setting is missing or malformed.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.seen = Seen()
        """The newest calls, and sums of all."""
        self.keys = Keys(Store.open(settings.store))
        """Keys of users."""
        self._access = Access(settings.token, self.keys)
        self._reading = asyncio.Lock()
        self.clients = Clients(settings, on_receipt=self.seen.receipt, on_verdict=self.seen.verdict)
        """Who answers."""
        self.clients.check(TASKS, OWNER)
        self.relays = Relays(self.clients, settings.max_body, self.seen.metrics.refused, traced=settings.traced)
        """What is being answered."""
        self._console = Console(settings, self.seen, self.clients, self.keys)
        self._beyond = not is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the ASGI interface."""
        if scope["type"] != "http":
            return
        try:
            if why := objection(scope["headers"], names=self.settings.names, beyond=self._beyond):
                raise HttpError(403, "foreign_page", why, "call it by its address, from a program or its own console")
            await self._route(scope, receive, send)
        except (HttpError, ZeroGError) as error:
            self.seen.metrics.refused(error.code)
            await send_error(send, error)
        except Exception:  # whatever it is, callers get one line of ours
            logger.exception("a request for %s failed", line(scope["path"])[:100])
            self.seen.metrics.refused("internal")
            await send_error(send, HttpError(500, "internal", "the server failed; its log says more"))

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if method in ("GET", "HEAD") and (found := page(path)) is not None:
            await send_bytes(send, *found, guards=PAGE_GUARDS)
            return
        if path == "/health" and method in ("GET", "HEAD"):
            await send_json(send, {"status": "ok"})
            return
        caller = await self._caller(scope)
        if (task := _TASKS.get(path)) is not None:
            _only(method, "POST")
            await self.relays.answer(task, caller, scope, receive, send)
        elif path == _MODELS:
            _only(method, "GET", "HEAD")
            await send_json(send, {"object": "list", "data": await self.clients.listing(CHAT, caller)})
        elif path.startswith(f"{_MODELS}/"):
            _only(method, "GET", "HEAD")
            await send_json(send, await self._model(path.removeprefix(f"{_MODELS}/"), caller))
        elif path == "/metrics":
            _only(method, "GET", "HEAD")
            _owners(caller)
            text = self.seen.metrics.text(in_flight=len(self.relays.under_way))
            await send_bytes(send, text.encode(), CONTENT_TYPE)
        elif path.startswith(_CONSOLE):
            _owners(caller)
            try:
                body = await read_body(scope, receive, self.settings.max_body) if method == "POST" else b""
            except Gone:
                return
            told, kind = await self._console.answer(
                method, path.removeprefix(_CONSOLE), scope.get("query_string", b""), body, caller
            )
            await (send_bytes(send, told.encode(), kind) if kind else send_json(send, told))
        else:
            raise HttpError(
                404, "unknown_route", "nothing is served here", f"there are {', '.join([*_TASKS, _MODELS])} and /health"
            )

    async def _caller(self, scope: Scope) -> Caller:
        if self._access.stale(scope["headers"]):
            async with self._reading:
                if self._access.stale(scope["headers"]):
                    await asyncio.to_thread(self._access.read)
        try:
            return self._access.caller(scope["headers"])
        except Refused as error:
            hint = "send Authorization: Bearer with the server's token, or a key made by `zerog serve keys create`"
            raise HttpError(401, "bad_token", str(error), hint) from None

    async def _model(self, name: str, caller: Caller) -> dict[str, Any]:
        for each in await self.clients.listing(CHAT, caller):
            if each["id"] == name:
                return each
        raise HttpError(404, "model_not_served", "no such model is served here", "GET /v1/models lists them")

    async def close(self) -> None:
        """End what is under way, so that each call leaves its receipt, and close every connection."""
        await asyncio.gather(*self.relays.cut(), return_exceptions=True)
        await self.clients.close()


def _only(method: str, *allowed: str) -> None:
    if method not in allowed:
        raise HttpError(405, "wrong_method", f"use {allowed[0]} here")


def _owners(caller: Caller) -> None:
    if not caller.is_owner:
        raise HttpError(403, "owner_only", "this is for the owner of the server", "a user's key opens /v1 only")


async def send_json(send: Send, value: Any) -> None:
    """Answer with JSON."""
    await send_bytes(send, json.dumps(value).encode(), "application/json")


async def send_bytes(send: Send, body: bytes, kind: str, *, guards: list[tuple[bytes, bytes]] = GUARDS) -> None:
    """Answer with bytes; without other `guards`, no browser takes them for a page."""
    headers = [*guards, (b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
