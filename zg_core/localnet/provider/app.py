"""A provider's HTTP routes, in the real provider's order and words (0g-direct §3-§5)."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from zg_core.localnet.base.keys import checksum_address
from zg_core.localnet.model.json import load_json
from zg_core.localnet.model.tokens import count_tokens
from zg_core.localnet.provider import catalog, gojson
from zg_core.localnet.provider.exchange import Exchange
from zg_core.localnet.provider.faults import SESSION_REASONS, Fault, FaultSet, fault_meanings
from zg_core.localnet.provider.limits import RefusedError
from zg_core.localnet.provider.replies import entry_json, error_response, record_json
from zg_core.localnet.provider.rewrite import NotPreparedError, Prepared, prepare
from zg_core.localnet.provider.state import ProviderState, RecordedRequest
from zg_core.localnet.provider.tokens import SessionRejectedError
from zg_core.localnet.sealing.enclave import SealRefusedError, encryption_public, open_request
from zg_core.localnet.sealing.jcs import to_text
from zg_core.localnet.services.routes import Asides
from zg_core.localnet.services.trades import PATHS, Trade, prepared_media, trade_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from zg_core.localnet.base.keys import Key

_log = logging.getLogger(__name__)
_PROXY = "/v1/proxy"
_ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_DRAINED = 8  # a body over the limit is read and thrown away up to this many times the limit
_GAS_DECIMALS = 10**18


class AdmissionError(Exception):
    """A request is not admitted; the text is the provider's reason."""


def make_app(state: ProviderState) -> ASGIApp:
    """The ASGI application of a provider."""
    routes = Routes(state)
    asides = Asides(state, routes.charged, routes.with_session)
    app = Starlette(
        routes=[
            Route(_PROXY + "{path:path}", routes.proxy, methods=_ALL_METHODS),
            Route("/v1/models", routes.models),
            Route("/v1/quote", routes.quote),
            Route("/v1/e2ee/pubkey", routes.encryption_key),
            Route("/v1/user/{user}/unsettledfee", routes.unsettled_fee),
            Route("/v1/lora/adapters", asides.adapters),
            Route("/v1/lora/adapters/deploy", asides.deploy, methods=["POST"]),
            Route("/v1/lora/adapters/{name}", asides.adapter),
            Route("/v1/async/jobs/{job}", asides.job),
            Route("/v1/async/images/{form}", asides.start_job, methods=["POST"]),
            Route("/_local/fault", routes.fault, methods=["GET", "POST", "DELETE"]),
            Route("/_local/settle", routes.settle, methods=["POST"]),
            Route("/_local/log", routes.log),
            Route("/_local/redirected", routes.redirected, methods=_ALL_METHODS),
        ],
        exception_handlers={404: _not_found, 405: _not_found, RefusedError: _refused},
    )
    return Recorder(app, state)


class Recorder:
    """Reads every request whole, notes it, and counts it against the limit of its address."""

    def __init__(self, app: ASGIApp, state: ProviderState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        state, limit = self._state, self._state.settings.max_body
        body, size, digest = bytearray(), 0, hashlib.sha256()
        more = True
        while more and size <= limit * _DRAINED:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            digest.update(chunk)
            if size <= limit:
                body += chunk
        path: str = scope["path"]
        local = path.startswith("/_local/")
        headers = dict(scope["headers"])
        if not local or path == "/_local/redirected":
            authorized = b"authorization" in headers
            state.requests.append(
                RecordedRequest(scope["method"], path, state.clock.now(), digest.hexdigest(), authorized)
            )
        scope["state"]["body"] = bytes(body) if size <= limit else None
        client = scope["client"][0] if scope.get("client") else ""
        refusal: Response | None = None
        if local:
            if not _is_loopback(client) or b"origin" in headers:
                refusal = JSONResponse({"error": "control routes are for this machine only"}, 403)
        elif path.startswith("/v1/"):
            try:
                state.limits.check_ip(client)
            except RefusedError as error:
                refusal = error_response(error.status, error.error, error.headers)

        async def replay() -> Message:
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await (refusal or self._app)(scope, replay, send)


class Routes:
    """The endpoints of one provider."""

    def __init__(self, state: ProviderState) -> None:
        self._state = state
        self._quotes: dict[tuple[str, bool, str | None], tuple[bytes, str]] = {}

    # the proxy

    async def proxy(self, request: Request) -> Response:
        """Everything under /v1/proxy: charged requests and signatures."""
        path = request.path_params["path"]
        if path == "/v1" or path.startswith("/v1/"):
            path = path[3:] or "/"
        path = path.rstrip("/") or "/"
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=_cors(request))
        self._state.limits.enter()
        response: Response | None = None
        try:
            response = await self._proxied(request, path)
        finally:
            if not isinstance(response, Exchange):
                self._state.limits.leave()
        if isinstance(response, Exchange):
            response.when_done(self._state.limits.leave)
        return response

    async def _proxied(self, request: Request, path: str) -> Response:
        body: bytes | None = request.state.body
        if body is None:
            limit = self._state.settings.max_body // (1024 * 1024)
            return error_response(413, f"Request body size exceeds the maximum allowed size of {limit}MB")
        if path == PATHS[self._state.spec.service_type]:
            return await self.charged(request, path, body)
        lowered = path.lower()
        if lowered.startswith("/images/"):
            return self._image(lowered.removeprefix("/images/"))
        if lowered.startswith("/signature/"):
            return self._signature(lowered.removeprefix("/signature/"))
        if lowered == "/attestation/report":
            return self._model_report(request)
        return self._broker_error("unsupported endpoint: endpoint not supported")

    async def charged(self, request: Request, path: str, body: bytes) -> Response:
        """Admit a paid request and begin its exchange."""
        state = self._state
        try:
            document = gojson.loads(body)
        except ValueError:
            document = None
        answering = None
        content_type = request.headers.get("content-type", "")
        try:
            if isinstance(document, dict) and "_e2ee" in document and state.spec.signs:
                opened = open_request(json.loads(body), path, state.tee_key)
                document, content_type, answering = opened.document, opened.content_type, opened.answering
                body = opened.body
            trade = trade_of(path, state.spec, body, document, content_type)
        except SealRefusedError as error:
            return error_response(error.status, str(error))
        except NotPreparedError as error:
            return self._broker_error(f"prepare HTTP request: {error}")
        faults = state.faults.take(stream=trade.streams, body=body)
        early = self._early_fault(faults, path)
        if early is not None:
            return early
        try:
            ahead = faults.option(Fault.CLOCK_AHEAD, "seconds") if Fault.CLOCK_AHEAD in faults else 0.0
            token = state.tokens.check(request.headers.get("authorization"), ahead=ahead)
            user = checksum_address(token.address)
        except SessionRejectedError as error:
            return self._broker_error(f"validate session: {error}")
        state.limits.check_user(user)
        state.limits.enter_user(user)
        entered = True
        try:
            headers = state.limits.headers(user)
            state.limits.check_block(user)
            self._admit(user, trade)
            loading = self._loading(document)
            if loading is not None:
                return loading
            prepared = self._prepare(trade, user, faults)
            exchange = Exchange(
                state,
                user=user,
                trade=trade,
                received=body,
                prepared=prepared,
                faults=faults,
                headers=headers,
                answering=answering,
            )
            exchange.when_done(lambda: state.limits.leave_user(user))
            entered = False
            return exchange
        except AdmissionError as error:
            return self._broker_error(f"validate request: {error}")
        except NotPreparedError as error:
            return self._broker_error(f"prepare HTTP request: {error}")
        finally:
            if entered:
                state.limits.leave_user(user)

    def _prepare(self, trade: Trade, user: str, faults: FaultSet) -> Prepared:
        state = self._state

        def mismatch() -> None:
            state.limits.model_mismatch(user)

        if trade.path not in ("/chat/completions", "/embeddings"):
            self._check_images(trade)
            return prepared_media(trade, trade.body, model=state.spec.model, on_mismatch=mismatch)
        document = trade.document
        asked = document.get("model") if isinstance(document, dict) else None
        adapter = state.adapters.find(asked) if isinstance(asked, str) else None
        return prepare(
            trade.body,
            document,
            model=state.spec.model,
            adapter=adapter.name if adapter is not None and adapter.state == "active" else None,
            remarshal=state.spec.rewrites or Fault.BODY_REMARSHALLED in faults,
            on_mismatch=mismatch,
            aliases=state.spec.aliases,
            upstream_model=state.spec.upstream_model,
        )

    def _check_images(self, trade: Trade) -> None:
        if getattr(trade, "wants_urls", False) and not self._state.spec.image_store:
            raise NotPreparedError("image store disabled, response_format=url is not supported")

    def _loading(self, document: Any) -> Response | None:
        """The refusal of an adapter that is on its way."""
        asked = document.get("model") if isinstance(document, dict) else None
        adapter = self._state.adapters.find(asked) if isinstance(asked, str) else None
        if adapter is None or adapter.state != "loading":
            return None
        self._state.adapters.look(adapter)
        return error_response(503, f"adapter {adapter.name} is loading")

    def _early_fault(self, faults: FaultSet, path: str) -> Response | None:
        """Faults that answer in the provider's place, or change the provider before it answers."""
        state = self._state
        if Fault.PRICE_RAISED in faults:
            factor = faults.option(Fault.PRICE_RAISED, "factor")
            state.set_price(state.input_price * factor, state.output_price * factor)
        if Fault.SIGNER_ROTATED in faults:
            state.rotate_signer(acknowledged=faults.option(Fault.SIGNER_ROTATED, "acknowledged"))
        if Fault.REDIRECT in faults:
            location = faults.option(Fault.REDIRECT, "location") or f"{state.url}/_local/redirected"
            return Response(status_code=faults.option(Fault.REDIRECT, "status"), headers={"location": location})
        if Fault.SESSION_REJECTED in faults:
            reason = SESSION_REASONS[faults.option(Fault.SESSION_REJECTED, "reason")]
            return self._broker_error(f"validate session: {reason}")
        if Fault.RATE_LIMITED in faults:
            reset = faults.option(Fault.RATE_LIMITED, "reset")
            message = "Rate limit exceeded. Please slow down your request rate (limit: 30 requests/min)."
            what = "images" if path.startswith("/images/") else "requests"
            headers = [
                (f"x-ratelimit-limit-{what}", "30"),
                (f"x-ratelimit-remaining-{what}", "0"),
                (f"x-ratelimit-reset-{what}", f"{reset}s"),
            ]
            return error_response(429, {"type": "rate_limit_error", "message": message}, headers)
        if Fault.UNAVAILABLE in faults:
            return error_response(503, "Server is currently processing too many requests. Please try again later.", [])
        return None

    def _admit(self, user: str, trade: Trade) -> None:
        """The provider's rule of who may ask: acknowledged on both sides, and enough money left.

        Raises:
            AdmissionError: with the reason.
        """
        state, settings = self._state, self._state.settings
        account = state.account(user)
        if account is None:
            raise AdmissionError("get account from contract, account not exist: AccountNotExists")
        if not account.acknowledged:
            raise AdmissionError(
                "user not acknowledge the provider, please use acknowledgeProviderSigner function in sdk first, "
                "it will take effect in 2 minutes"
            )
        if not state.signer_acknowledged():
            raise AdmissionError("service not acknowledge the tee signer")
        fee = trade.due(state.prices)
        if settings.estimate_input_fee:
            fee += state.prices.at(0)[0] * _prompt_tokens(trade.document)
        unsettled = state.log.unsettled(user)
        required = settings.minimum_balance + unsettled + fee
        if account.usable < required:
            raise AdmissionError(
                f"insufficient balance: your locked balance is {_og(account.usable)} 0G, but the required minimum is "
                f"{_og(required)} 0G (breakdown: minimum reserve {_og(settings.minimum_balance)} 0G + unsettled fees "
                f"{_og(unsettled)} 0G + current request fee {_og(fee)} 0G). Please add more funds with: "
                f"0g-compute-cli transfer-fund --provider {state.address} --amount <amount>"
            )

    def _signature(self, key: str) -> Response:
        signature = self._state.shelf.get(key)
        if signature is None:
            return self._broker_error("prepare HTTP request: Chat id not found or expired, chat_id_not_found")
        return JSONResponse(signature.to_json())

    def _model_report(self, request: Request) -> Response:
        kind = self._state.spec.kind
        if kind in ("TeeTLS", "standard"):
            return error_response(
                501,
                "LLM attestation report is not available for this provider. "
                "This service forwards to an upstream API without local TEE attestation.",
            )
        if kind != "TeeML-separated":  # nothing behind the provider's own enclave answers this
            return PlainTextResponse("404 page not found", 404)
        try:
            nonce = bytes.fromhex(request.query_params.get("nonce", "").removeprefix("0x").rjust(64, "0"))
        except ValueError:
            nonce = b""
        if len(nonce) != 32:
            return error_response(400, "nonce must be up to 32 bytes as hex")
        return JSONResponse(self._state.enclave.model_report(self._state.enclave_key, nonce))

    def _broker_error(self, reason: str) -> Response:
        return error_response(400, self._state.settings.error_prefix + reason)

    # beside the proxy

    async def models(self, request: Request) -> Response:  # noqa: ARG002 - the route's signature
        """GET /v1/models."""
        return JSONResponse({"object": "list", "data": await catalog.model_entries(self._state)})

    async def quote(self, request: Request) -> Response:
        """GET /v1/quote, with ``?legacy=false`` for the newer report data."""
        legacy = request.query_params.get("legacy", "true").lower() not in ("false", "0", "f")
        key, wrong = self._state.tee_key, "" if legacy else self._state.quote_fault
        legacy = legacy or wrong == "legacy"
        if wrong in ("key_swapped", "unsigned"):
            return self._operators_quote(key, wrong)
        name = (key.address, legacy, self._state.enclave.fault)
        cached = self._quotes.get(name)
        if cached is None:
            body = self._state.enclave.quote_body(key, legacy=legacy, encryption_key=encryption_public(key))
            cached = self._quotes[name] = body, "0x" + key.sign_message(body).hex()
        return Response(cached[0], media_type="text/plain", headers={"zg-quote-signature": cached[1]})

    def _operators_quote(self, key: Key, wrong: str) -> Response:
        """The quote of an enclave that the operator has started on genuine hardware, with his own encryption key.

        It names the signer as the right one does, since it names what it is told to; he cannot sign it with that key.
        """
        own = encryption_public(self._state.operators_key)
        body = self._state.enclave.quote_body(key, legacy=False, encryption_key=own)
        signature = "0x" + self._state.operators_key.sign_message(body).hex()
        headers = {} if wrong == "unsigned" else {"zg-quote-signature": signature}
        return Response(body, media_type="text/plain", headers=headers)

    async def encryption_key(self, request: Request) -> Response:  # noqa: ARG002 - the route's signature
        """GET /v1/e2ee/pubkey: what the quote proves, for whoever does not want to look."""
        key = self._state.tee_key
        public = encryption_public(key)
        said = {"v": 1, "kem_id": "0x0020", "enc_pub": to_text(public)}
        short = to_text(hashlib.sha256(public).digest()[:8])
        return JSONResponse({**said, "key_id": short, "signer_address": key.address})

    async def unsettled_fee(self, request: Request) -> Response:
        """GET /v1/user/{address}/unsettledfee: only one's own."""
        return self.with_session(request, lambda user: self._unsettled(user, request.path_params["user"]))

    def _unsettled(self, user: str, asked: str) -> Response:
        if user.lower() != asked.lower():
            return error_response(403, "you can only query your own unsettled fee")
        return JSONResponse({"userAddress": user, "unsettledFee": str(self._state.log.unsettled(user))})

    def _image(self, place: str) -> Response:
        key, _, number = place.partition("/")
        image = self._state.images.get(key, int(number)) if number.isdecimal() and len(number) < 4 else None
        if image is None:
            return error_response(404, "image not found or expired")
        return Response(image, media_type="image/png")

    def with_session(self, request: Request, answer: Callable[[str], Response], *, status: int = 400) -> Response:
        """What `answer` makes for the user of a valid session; else a refusal with `status`."""
        try:
            user = checksum_address(self._state.tokens.check(request.headers.get("authorization")).address)
        except SessionRejectedError as error:
            said = "authentication required" if status == 401 else "validate session"
            return error_response(status, f"{said}: {error}")
        return answer(user)

    # control

    async def fault(self, request: Request) -> Response:
        """GET the faults there are and those set, POST ``{"fault", "times", "options"}`` to set one, DELETE all."""
        plan = self._state.faults
        if request.method == "DELETE":
            plan.clear()
        elif request.method == "POST":
            try:
                order = load_json((request.state.body or b"{}").decode())
                options = order.get("options") or {}
                plan.add(order.get("fault", ""), times=order.get("times", 1), **options)
            except (ValueError, TypeError, AttributeError) as error:
                return JSONResponse({"error": str(error)}, 400)
        active = [{"fault": one.fault.value, "times": one.remaining, "options": one.options} for one in plan.active()]
        return JSONResponse({"faults": fault_meanings(), "active": active})

    async def settle(self, request: Request) -> Response:  # noqa: ARG002 - the route's signature
        """POST: settle everything now."""
        return JSONResponse({"settlements": [record_json(record) for record in self._state.settle()]})

    async def log(self, request: Request) -> Response:  # noqa: ARG002 - the route's signature
        """GET the book."""
        return JSONResponse({"log": [entry_json(entry) for entry in self._state.log.entries()]})

    async def redirected(self, request: Request) -> Response:
        """Where the redirect fault points: shows what a client that follows gives away."""
        return JSONResponse({"redirected": True, "authorized": "authorization" in request.headers})


async def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    assert isinstance(error, RefusedError)  # noqa: S101 - registered for RefusedError only
    return error_response(error.status, error.error, error.headers)


async def _not_found(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    return PlainTextResponse("404 page not found", 404)


def _cors(request: Request) -> dict[str, str]:
    return {
        "access-control-allow-origin": request.headers.get("origin", "*"),
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET,POST,PUT,DELETE,OPTIONS,PATCH",
        "access-control-allow-headers": "Content-Type,Authorization,X-Requested-With,Accept,Origin",
        "access-control-max-age": "43200",
    }


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _prompt_tokens(document: Any) -> int:
    """A rough count of the prompt's tokens: enough for the admission estimate."""
    if not isinstance(document, dict):
        return 0
    return sum(_text_tokens(document.get(name)) for name in ("messages", "input", "tools"))


def _text_tokens(value: Any) -> int:
    if isinstance(value, str):
        return count_tokens(value)
    if isinstance(value, dict):
        return sum(_text_tokens(item) for item in value.values())
    if isinstance(value, list):
        return sum(_text_tokens(item) for item in value)
    return 0


def _og(neuron: int) -> str:
    """Neuron as 0G with six decimals, as Go's ``Text('f', 6)`` rounds."""
    scaled, rest = divmod(abs(neuron) * 10**6, _GAS_DECIMALS)
    scaled += rest * 2 > _GAS_DECIMALS or (rest * 2 == _GAS_DECIMALS and scaled % 2)
    sign = "-" if neuron < 0 else ""
    return f"{sign}{scaled // 10**6}.{scaled % 10**6:06d}"
