"""The Router's HTTP routes (0g-router §3), in its own words and order: key, limits, body, pool, balance, provider."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import secrets
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from zg_core.localnet.provider.billing import Usage
from zg_core.localnet.router import pool
from zg_core.localnet.router.faults import RouterFault
from zg_core.localnet.router.pool import RefusalError
from zg_core.localnet.router.relay import Answer, compact, own_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from zg_core.localnet.provider.state import ProviderState
    from zg_core.localnet.router.ledger import KeyRecord
    from zg_core.localnet.router.state import RouterState

_F = RouterFault
_TYPES = {
    "/chat/completions": "chatbot",
    "/embeddings": "embedding",
    "/images/generations": "text-to-image",
    "/images/edits": "image-editing",
    "/audio/transcriptions": "speech-to-text",
}
_LABELS = {"chatbot": "Chat", "embedding": "Embeddings", "text-to-image": "Images", "image-editing": "Image editing"}
_OWN_FIELDS = ("verify_tee", "provider", "plugins", "attachments")


def make_app(state: RouterState) -> ASGIApp:
    """The ASGI application of the Router."""
    routes = Routes(state)
    inference = [Route(f"/v1{path}", routes.inference, methods=["POST"]) for path in _TYPES]
    app = Starlette(
        routes=[
            *inference,
            Route("/v1/routing/preview", routes.preview, methods=["POST"]),
            Route("/v1/models", routes.models),
            Route("/v1/providers", routes.providers),
            Route("/v1/service-types", routes.service_types),
            Route("/v1/account{what:path}", routes.account),
            Route("/v1/api-keys", routes.keys, methods=["GET", "POST"]),
            Route("/v1/api-keys/{key_id}", routes.key, methods=["PATCH", "DELETE"]),
        ],
        exception_handlers={404: _not_found, 405: _not_found, RefusalError: routes.refused},
    )
    return Witness(app, state)


class Witness:
    """Reads every request whole, keeps all that passes in both directions, and gives each a number."""

    def __init__(self, app: ASGIApp, state: RouterState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = dict(scope["headers"])
        wanted = headers.get(b"x-request-id", b"").decode("latin-1")
        number = wanted if wanted and len(wanted) <= 64 and wanted.replace("-", "").isalnum() else str(uuid.uuid4())
        scope["state"] |= {"body": bytes(body), "request_id": number}
        head = b" ".join((scope["method"].encode(), scope["path"].encode(), scope.get("query_string", b"")))
        lines = b"\n".join(name + b": " + value for name, value in scope["headers"])
        self._state.note(b"\n".join((head, lines, bytes(body))))

        async def told(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", number.encode())]
            elif message.get("body"):
                self._state.note(message["body"])
            await send(message)

        given = False

        async def again() -> Any:
            nonlocal given
            if given:  # who streams listens for the end of the connection
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self._app(scope, again, told)


@dataclass(frozen=True)
class Order:
    """One paid request that was let in."""

    request: Request
    path: str
    body: Any
    model: str
    key: KeyRecord
    limits: dict[str, str]


class Routes:
    """The endpoints."""

    def __init__(self, state: RouterState) -> None:
        self._state = state

    # asking for answers

    async def inference(self, request: Request) -> Response:
        """One paid request."""
        state, path = self._state, request.url.path.removeprefix("/v1")
        key = self._key(request, manages=False)
        limits = self._limits(key)
        if (fault := state.faults.take(_F.REFUSED)) is not None:
            return self._told_refusal(request, fault.options)
        body, model = _read(request, path)
        asked = pool.pinned_to(pool.read_wishes(request.headers, body), key.trust_mode)
        if key.allowed_models and model not in key.allowed_models:
            raise RefusalError(403, "access_denied", "the key does not allow this model", "permission_error")
        found = pool.candidates(state.providers, _TYPES[path], model, asked, body)
        if not state.ledger.spendable:
            raise RefusalError(402, "insufficient_balance", "insufficient balance", "payment_error")
        sealed = isinstance(body, dict) and "_e2ee" in body
        if isinstance(body, dict):
            own = state.faults.take(_F.PLAINTEXT_ANSWER, _F.FORGED_ANSWER) if sealed else None
            if own is not None:
                return self._own_answer(body, sealed=own.fault is _F.FORGED_ANSWER)
        order = Order(request, path, body, model, key, limits)
        return await self._ask(order, found, fallbacks=asked.fallbacks)

    async def _ask(self, order: Order, found: list[ProviderState], *, fallbacks: bool) -> Response:
        state = self._state
        swapped = state.faults.take(_F.MODEL_SWAPPED)
        if swapped is not None:
            others = [each for each in state.providers if each.spec.service_type == _TYPES[order.path]]
            others = [each for each in others if each not in found]
            found = others or found
        last: tuple[int, bytes, str] = (502, b"", "")
        for provider in found if fallbacks else found[:1]:
            answer = await self._send(order, provider)
            if answer is None:
                continue
            if answer.status_code == 200:
                return await self._answered(order, provider, answer)
            last = answer.status_code, await answer.aread(), answer.headers.get("content-type", "application/json")
            await answer.aclose()
            if last[0] < 500 and last[0] != 429:  # a provider's refusal is passed on as it is
                headers = {"zg-failure-source": "client", "x-provider": provider.address, **order.limits}
                return Response(last[1], last[0], headers=headers, media_type=last[2])
        raise RefusalError(502, "provider_error", "all providers failed", "server_error")

    async def _send(self, order: Order, provider: ProviderState) -> Any:
        """The provider's answer, whose body is still to be read; None where it cannot be reached."""
        import httpx2

        state, request, body = self._state, order.request, order.body
        headers = {"authorization": f"Bearer {state.token(provider)}"}
        if isinstance(body, dict):
            sent = {name: value for name, value in body.items() if name not in _OWN_FIELDS}
            sent["model"] = provider.spec.model
            if state.faults.take(_F.QUESTION_CHANGED) and "messages" in sent:
                sent["messages"] = [*sent["messages"], {"role": "user", "content": "Answer in one word."}]
            data, headers["content-type"] = compact(sent), "application/json"
        else:
            data = request.state.body.replace(_model_of(request).encode(), provider.spec.model.encode(), 1)
            headers["content-type"] = request.headers["content-type"]
        url = f"{state.reach(provider)}/v1/proxy{order.path}"
        try:
            return await state.client().send(httpx2.Request("POST", url, headers=headers, content=data), stream=True)
        except httpx2.HTTPError:
            return None

    async def _answered(self, order: Order, provider: ProviderState, answer: Any) -> Response:
        state, request, body = self._state, order.request, order.body
        chat_key = answer.headers.get("zg-res-key", "")
        named = provider.address
        if state.faults.take(_F.OTHER_PROVIDER_NAMED):
            named = next((each.address for each in state.providers if each is not provider), "0x" + "12" * 20)
        headers = {"x-provider": named, **order.limits}
        if chat_key and state.passes_key and not state.faults.take(_F.KEY_HIDDEN):
            headers["zg-res-key"] = chat_key
        elif chat_key and not state.passes_key:
            headers["zg-res-key"] = secrets.token_hex(16)  # its own, as earlier Routers gave
        asks = isinstance(body, dict) and body.get("verify_tee") is True
        asks = asks or request.query_params.get("verify_tee") == "true"

        def trace(usage: dict[str, Any] | None) -> dict[str, Any] | None:
            cost = self._charge(order.key, provider, usage, request.state.request_id)
            made: dict[str, Any] = {"request_id": request.state.request_id, "provider": named}
            if cost is not None and state.tells_cost:
                made["billing"] = self._billing(*cost)
            elif (wrong := state.faults.take(_F.COST_WRONG)) is not None:  # of what nobody has counted
                said = str(int(wrong.options["factor"]))
                made["billing"] = {"input_cost": "0", "output_cost": said, "total_cost": said}
            if asks and not state.faults.take(_F.CLAIM_WITHHELD):
                signed = state.shelved(provider, chat_key) is not None
                made["tee_verified"] = signed and not state.faults.take(_F.CLAIM_FAILED)
            return made

        asked = body if isinstance(body, dict) else {}
        fault = state.faults.take(_F.CLAIM_LATE) if asks else None
        late = 0.0 if fault is None else float(fault.options["seconds"])
        made = Answer(order.model, state.trace_shape, trace, state.faults, state.kept_frames, asked, late)
        kind = answer.headers.get("content-type", "")
        if kind.startswith("text/event-stream"):
            return StreamingResponse(made.stream(_events(answer)), headers=headers, media_type="text/event-stream")
        data = await answer.aread()
        await answer.aclose()
        await asyncio.sleep(late)
        if not kind.startswith("application/json"):
            trace(None)
            return Response(data, headers=headers, media_type=kind)
        return Response(made.whole(data), headers=headers, media_type="application/json")

    def _charge(
        self, key: KeyRecord, provider: ProviderState, usage: dict[str, Any] | None, number: str
    ) -> tuple[int, int] | None:
        """What it costs, in neuron, for prompt and answer: the provider's prices, no markup."""
        read = Usage.from_json(usage)
        inward, outward = provider.prices.fee(read) if read is not None else (0, 0)
        if isinstance(usage, dict) and "output_images" in usage:
            outward = provider.output_price * int(usage["output_images"])
        state = self._state
        counts = {
            "input_tokens": read.prompt_tokens if read else 0,
            "output_tokens": read.completion_tokens if read else 0,
        }
        more = dict.fromkeys(("cached_tokens", "cache_write_tokens", "cache_write_1h_tokens"), 0)
        names = {"request_id": number, "model_id": provider.spec.model, "canonical_id": pool.canonical_id(provider)}
        where = {"provider_address": provider.address, "trust_mode": pool.tier(provider)}
        state.ledger.charge(key, inward + outward, {**names, **where, **counts, **more})
        return (inward, outward) if read is not None or outward else None

    def _billing(self, inward: int, outward: int) -> dict[str, Any]:
        state = self._state
        usd = state.ledger.currency == "usd"
        rate = state.ledger.usd_per_og * 10**6 / 10**18 if usd else 1
        parts = [f"{inward * rate:.12f}".rstrip("0").rstrip(".") if usd else str(inward)]
        parts.append(f"{outward * rate:.12f}".rstrip("0").rstrip(".") if usd else str(outward))
        total = f"{(inward + outward) * rate:.12f}".rstrip("0").rstrip(".") if usd else str(inward + outward)
        if (fault := state.faults.take(_F.COST_WRONG)) is not None:
            factor = int(fault.options["factor"])
            parts = [str(inward * factor), str(outward * factor)]
            total = str((inward + outward) * factor)
        if state.faults.take(_F.COST_CONTRADICTS):
            total = "1"
        shown = {"input_cost": parts[0] or "0", "output_cost": parts[1] or "0", "total_cost": total or "0"}
        return {**shown, "currency": state.ledger.currency} if usd else shown

    def _own_answer(self, body: dict[str, Any], *, sealed: bool) -> Response:
        stream = body.get("stream") is True
        parts = own_answer(body, stream=stream, sealed=sealed)
        headers = {"zg-res-key": secrets.token_hex(16)}
        if not stream:
            return Response(compact(parts[0]), headers=headers, media_type="application/json")
        events = b"".join(b"data: " + compact(part) + b"\n\n" for part in parts) + b"data: [DONE]\n\n"
        return Response(events, headers=headers, media_type="text/event-stream")

    async def preview(self, request: Request) -> Response:
        """POST /v1/routing/preview: who would be asked, in order."""
        state = self._state
        if not state.previews:
            return _error(request, 404, "", "404 page not found", "not_found_error")
        self._key(request, manages=False)
        body, model = _read(request, "")
        asked = pool.read_wishes(request.headers, body)
        kind = str(body.get("service_type") or "chatbot") if isinstance(body, dict) else "chatbot"
        rows = [
            {
                "address": each.address,
                "endpoint": state.reach(each),
                "canonical_id": pool.canonical_id(each),
                "model_id": each.spec.model,
            }
            for each in pool.candidates(state.providers, kind, model, asked, body)
        ]
        if state.faults.take(_F.PREVIEW_STRANGER):
            rows = [{**rows[0], "address": "0x" + secrets.token_hex(20)}]
        if state.faults.take(_F.PREVIEW_OTHER_MODEL):
            name = pool.canonical_id(next(each for each in state.providers if each.address == rows[0]["address"]))
            others = [each for each in state.providers if pool.canonical_id(each) != name]
            rows = [
                {**rows[0], "address": each.address, "endpoint": state.reach(each)}
                for each in others
                if each.spec.service_type == kind
            ]
        if (fault := state.faults.take(_F.PREVIEW_REPEATS)) is not None:
            strangers = [{**rows[0], "address": "0x" + secrets.token_hex(20)} for _ in range(fault.options["copies"])]
            rows = rows * fault.options["copies"] + strangers
        if (fault := state.faults.take(_F.PREVIEW_OTHER_ENDPOINT)) is not None:
            rows = [{**row, "endpoint": fault.options["endpoint"]} for row in rows]
        return JSONResponse({"object": "routing.preview", "service_type": kind, "providers": rows})

    # what there is

    def _offered(self) -> list[ProviderState]:
        state = self._state
        return [each for each in state.providers if state.embeds or each.spec.service_type != "embedding"]

    async def models(self, request: Request) -> Response:  # noqa: ARG002 - the route's signature
        """GET /v1/models."""
        return JSONResponse({"object": "list", "data": pool.model_rows(self._offered())})

    async def providers(self, request: Request) -> Response:
        """GET /v1/providers, filtered."""
        rows = [pool.provider_row(each) for each in self._offered()]
        for name, field in (("service_type", "service_type"), ("model", "model_id"), ("canonical_id", "canonical_id")):
            if wanted := request.query_params.get(name):
                rows = [row for row in rows if row[field] == wanted]
        return JSONResponse({"object": "list", "data": rows})

    async def service_types(self, request: Request) -> Response:  # noqa: ARG002 - the route's signature
        """GET /v1/service-types."""
        counts: dict[str, int] = {}
        for each in self._offered():
            counts[each.spec.service_type] = counts.get(each.spec.service_type, 0) + 1
        rows = [{"type": name, "label": _LABELS.get(name, name), "provider_count": n} for name, n in counts.items()]
        return JSONResponse({"object": "list", "data": rows})

    # account and keys

    async def account(self, request: Request) -> Response:
        """Everything under /v1/account."""
        self._scoped(request, "account:read")
        ledger, query = self._state.ledger, request.query_params
        what = request.path_params["what"]
        if what == "":
            return JSONResponse({"address": ledger.address, "created_at": "2026-01-01T00:00:00Z", "onboarded_at": None})
        if what == "/balance":
            return JSONResponse(ledger.balance())
        if what == "/funds":
            return JSONResponse(ledger.funds())
        if what == "/usage/stats":
            return JSONResponse(ledger.stats())
        if what == "/usage/history":
            limit, offset = int(query.get("limit", "20")), int(query.get("cursor") or query.get("offset", "0"))
            return JSONResponse(ledger.page(limit=min(limit, 100), offset=offset, model=query.get("model_id", "")))
        return _error(request, 404, "", "404 page not found", "not_found_error")

    async def keys(self, request: Request) -> Response:
        """GET and POST /v1/api-keys."""
        ledger = self._state.ledger
        if request.method == "GET":
            self._scoped(request, "keys:read")
            rows = [record.to_json() for record in ledger.keys.values() if not record.manages]
            return JSONResponse({"object": "list", "data": rows})
        self._scoped(request, "keys:create")
        order = _object(request)
        name = str(order.get("name") or "")
        if not name:
            raise RefusalError(400, "invalid_request", "name is required")
        if any(record.name == name and not record.revoked for record in ledger.keys.values()):
            raise RefusalError(409, "", "a key with this name exists")
        limit = order.get("credit_limit")
        record = ledger.make(
            "sk",
            name,
            limit=None if limit is None else round(float(limit) * 10**18),
            allowed_models=tuple(order.get("allowed_models") or ()),
            allowed_providers=tuple(order.get("allowed_providers") or ()),
            trust_mode=str(order.get("trust_mode") or ""),
            reset_period=str(order.get("reset_period") or "never"),
            expiration=str(order.get("expiration") or "no_expiration"),
        )
        return JSONResponse(record.to_json(once=True), 201)

    async def key(self, request: Request) -> Response:
        """PATCH and DELETE /v1/api-keys/{id}."""
        self._scoped(request, "keys:manage")
        ledger = self._state.ledger
        wanted = request.path_params["key_id"]
        found = next((each for each in ledger.keys.values() if each.key_id == wanted and not each.manages), None)
        if found is None:
            raise RefusalError(404, "api_key_not_found", "no such key", "not_found_error")
        if request.method == "DELETE":
            found.revoked = True
            return Response(status_code=204)
        if found.revoked:
            raise RefusalError(410, "", "the key is revoked")
        order = _object(request)
        found.name = str(order.get("name") or found.name)
        if "credit_limit" in order:
            limit = order["credit_limit"]
            found.limit = None if limit is None else round(float(limit) * 10**18)
        if "trust_mode" in order:
            found.trust_mode = str(order["trust_mode"] or "")
        for name in ("allowed_models", "allowed_providers"):
            if name in order:
                setattr(found, name, tuple(order[name] or ()))
        for name in ("reset_period", "expiration"):
            if name in order:
                setattr(found, name, str(order[name] or getattr(found, name)))
        return JSONResponse(found.to_json())

    # who may

    def _key(self, request: Request, *, manages: bool) -> KeyRecord:
        said = request.headers.get("authorization", "")
        if not said.startswith("Bearer "):
            raise RefusalError(401, "missing_authorization", "Missing authorization header")
        record = self._state.ledger.find(said.removeprefix("Bearer "))
        if record is None:
            raise RefusalError(401, "invalid_api_key", "Invalid API key or token")
        if record.revoked:
            raise RefusalError(401, "api_key_revoked", "API key has been revoked")
        if record.manages is not manages:
            raise RefusalError(403, "insufficient_scope", "this key may not do that", "auth_error")
        return record

    def _scoped(self, request: Request, scope: str) -> None:
        record = self._key(request, manages=True)
        if scope not in record.scopes:
            raise RefusalError(403, "insufficient_scope", f"the key lacks the scope {scope}", "auth_error")

    def _limits(self, key: KeyRecord) -> dict[str, str]:
        """The headers of the minute.

        Raises:
            RefusalError: it is full.
        """
        state = self._state
        limit, left, reset = state.minute(key.key)
        moment = dt.datetime.fromtimestamp(reset, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        headers = {
            "x-ratelimit-limit-requests": str(limit),
            "x-ratelimit-remaining-requests": str(max(0, left)),
            "x-ratelimit-reset-requests": moment,
        }
        if left < 0:
            refusal = RefusalError(429, "rate_limit_exceeded", "too many requests", "rate_limit_error")
            refusal.headers = {**headers, "retry-after": str(max(1, round(reset - state.now())))}
            raise refusal
        return headers

    def _told_refusal(self, request: Request, options: dict[str, Any]) -> Response:
        if options["body"] is not None:
            return Response(str(options["body"]), int(options["status"]), headers=options["headers"])
        refusal = RefusalError(int(options["status"]), str(options["code"]), str(options["message"]))
        refusal.headers = dict(options["headers"] or {})
        return _refusal(request, refusal)

    async def refused(self, request: Request, error: Exception) -> Response:
        """A refusal in the Router's form."""
        assert isinstance(error, RefusalError)  # noqa: S101 - registered for it only
        return _refusal(request, error)


async def _events(answer: Any) -> AsyncIterator[bytes]:
    held = b""
    try:
        async for chunk in answer.aiter_bytes():
            held += chunk
            while b"\n\n" in held:
                event, _, held = held.partition(b"\n\n")
                yield event + b"\n\n"
    finally:
        await answer.aclose()


def _read(request: Request, path: str) -> tuple[Any, str]:
    """The body where it is JSON, and the model that it names."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        return None, _model_of(request)
    body = _object(request)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise RefusalError(400, "invalid_request", "model is required")
    if path == "/chat/completions" and "_e2ee" not in body and not isinstance(body.get("messages"), list):
        raise RefusalError(400, "invalid_request", "messages is required")
    return body, model


def _object(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.state.body)
    except ValueError:
        raise RefusalError(400, "invalid_body", "the body is not JSON") from None
    if not isinstance(body, dict):
        raise RefusalError(400, "invalid_body", "the body is no object")
    return body


def _model_of(request: Request) -> str:
    """The field ``model`` of a form."""
    _, found, rest = bytes(request.state.body).partition(b'name="model"\r\n\r\n')
    if not found:
        raise RefusalError(400, "invalid_request", "model is required")
    return rest.partition(b"\r\n")[0].decode("utf-8", "replace")


def _refusal(request: Request, refusal: RefusalError) -> Response:
    response = _error(request, refusal.status, refusal.code, str(refusal), refusal.kind)
    for name, value in refusal.headers.items():
        response.headers[name] = value
    return response


def _error(request: Request, status: int, code: str, message: str, kind: str) -> Response:
    error = {"message": message, "type": kind} | ({"code": code} if code else {})
    return JSONResponse({"error": error, "request_id": request.state.request_id}, status)


async def _not_found(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    return _error(request, 404, "", "404 page not found", "not_found_error")
