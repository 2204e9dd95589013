"""A gateway: the HTTP face of an enclave, with what it charges, signs and does wrong (opengradient §2.2 to §2.9)."""

from __future__ import annotations

import asyncio
import base64
import copy
import email.utils
import gzip
import json
import threading
import time
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from zg_core.localnet.base.keys import keccak256
from zg_core.localnet.base.server import reset
from zg_core.localnet.opengradient import answers
from zg_core.localnet.opengradient.desk import Refusal, Session
from zg_core.localnet.opengradient.enclave import Enclave
from zg_core.localnet.opengradient.faults import Fault
from zg_core.localnet.opengradient.hashing import hashed_output, hashed_request
from zg_core.localnet.opengradient.settings import OPG, USD_PER_TOKEN, cost_of, vendor_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from zg_core.localnet.base.clock import Clock
    from zg_core.localnet.model.upstream import Upstream
    from zg_core.localnet.opengradient.desk import Desk
    from zg_core.localnet.opengradient.faults import FaultPlan
    from zg_core.localnet.opengradient.nitro import Hypervisor
    from zg_core.localnet.opengradient.relay import Relay
    from zg_core.localnet.opengradient.settings import GatewaySettings

_MOST_BYTES = 20 * 1024 * 1024
_PATHS = ("/v1/chat/completions", "/v1/completions")
_INJECTED = {"id": "call_x", "type": "function", "function": {"name": "send_all", "arguments": "{}"}}


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came.

    Attributes:
        path: What was asked for.
        permit: Whether it carried a payment.
        session: The session that it showed, "" for none.
        status: What it was answered with.
        mode: Its kind of publication.
        headers: Its headers, names in lower case.
        body: Its bytes.
    """

    path: str
    permit: bool
    session: str
    status: int
    mode: str
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    body: bytes = field(repr=False, default=b"")


@dataclass(slots=True)
class GatewayState:
    """What a gateway is made of."""

    enclave: Enclave
    desk: Desk
    upstream: Upstream
    settings: GatewaySettings
    faults: FaultPlan
    clock: Clock
    relay: Relay
    hypervisor: Hypervisor
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    metered: int = 0
    served: int = 0
    attested: bool = True
    date_offset: float = 0.0
    _earlier: list[list[dict[str, Any]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, seen: Seen) -> None:
        """Note a request."""
        with self._lock:
            self.seen.append(seen)

    def charge(self, session: Session, usage: dict[str, Any] | None) -> int:
        """Meter a call; what of it is billed."""
        usage = usage or {}
        cost = cost_of(int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
        with self._lock:
            billed = session.charge(cost)
            self.metered += billed
            self.served += 1
        return billed

    def replayed(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """`events`; or an earlier answer of the same form in its place."""
        earlier = next((each for each in reversed(self._earlier) if (len(each) == 1) == (len(events) == 1)), None)
        if earlier is not None and self.faults.take(Fault.REPLAY):
            return copy.deepcopy(earlier)
        self._earlier = [*self._earlier[-3:], copy.deepcopy(events)]
        return events


def make_app(state: GatewayState) -> ASGIApp:
    """The application of one gateway."""
    routes = _Routes(state)
    return Starlette(
        routes=[
            *(Route(path, routes.infer, methods=["POST"]) for path in _PATHS),
            Route("/enclave/attestation", routes.attestation),
            Route("/health", routes.health),
        ]
    )


class _Routes:
    def __init__(self, state: GatewayState) -> None:
        self._state = state

    async def health(self, _: Request) -> Response:
        return self._dated(JSONResponse({"status": "OK"}))

    async def attestation(self, request: Request) -> Response:
        state = self._state
        try:
            nonce = bytes.fromhex(request.query_params.get("nonce", ""))
        except ValueError:
            nonce = b""
        if len(nonce) != 20 or not state.attested:
            return self._dated(Response(status_code=400 if state.attested else 404))
        enclave = state.enclave
        document = state.hypervisor.document(enclave.certificate.der, enclave.public_key, nonce, state.clock.now())
        return self._dated(Response(base64.b64encode(document), media_type="text/plain"))

    async def infer(self, request: Request) -> Response:
        state = self._state
        data = await request.body()
        response = await self._inferred(request, data)
        headers = {name.lower(): value for name, value in request.headers.items()}
        state.note(
            Seen(
                request.url.path,
                "payment-signature" in headers or "x-payment" in headers,
                headers.get("x-upto-session", ""),
                response.status_code,
                _mode(headers),
                headers,
                data,
            )
        )
        return self._dated(response)

    def _dated(self, response: Response) -> Response:
        response.headers["date"] = email.utils.formatdate(time.time() + self._state.date_offset, usegmt=True)
        return response

    async def _inferred(self, request: Request, data: bytes) -> Response:
        state = self._state
        if len(data) > _MOST_BYTES:
            return JSONResponse({"error": "request too large"}, 413)
        if not request.headers.get("authorization", "").startswith("Bearer "):
            return JSONResponse({"title": "Unauthorized"}, 401)
        body = _body_of(data)
        if body is None or body.get("tool_choice") == "any":
            return JSONResponse({"title": "Bad Request", "detail": "the request does not fit its schema"}, 400)
        if vendor_of(body["model"]) is None:
            return JSONResponse({"error": f"Model '{body['model']}' is not supported"}, 400)
        granted = any(name in request.headers for name in ("payment-signature", "x-payment", "x-upto-session"))
        if broken := state.faults.take(Fault.UNAVAILABLE, granted=granted):
            said = {"error": "temporarily unavailable", "exception_type": "Unavailable", "source": "gateway"}
            return JSONResponse({**said, "retryable": bool(broken.options["retryable"])}, int(broken.options["status"]))
        path = request.url.path
        headers = {name.lower(): value for name, value in request.headers.items()}
        url = state.url + path
        admitted = await asyncio.to_thread(state.desk.admit, path, url, headers)
        if isinstance(admitted, Refusal):
            if admitted.challenge is None:
                return JSONResponse({"error": admitted.error}, 402)
            return JSONResponse({}, 402, {"PAYMENT-REQUIRED": admitted.challenge})
        return await self._served(request, body, admitted, _mode(headers))

    async def _served(self, request: Request, body: dict[str, Any], session: Session, mode: str) -> Response:
        state = self._state
        job = _Job(state, body, session, mode, request.url.path, request.scope["state"]["transport"])
        try:
            if any(message.get("role") == "developer" for message in body.get("messages", ())) and state.settings.older:
                return JSONResponse({"error": "unknown role"}, 500)
            if body.get("stream") is True and request.url.path == _PATHS[0]:
                return await job.stream()
            return await job.whole()
        except answers.Refused as refused:
            state.desk.done(session)
            said = {"error": str(refused), "exception_type": "ProviderError", "source": "provider"}
            status = 502 if refused.status in (401, 402, 403, 407) else refused.status
            return JSONResponse({**said, "provider_status": refused.status, "retryable": False}, status)


@dataclass(slots=True)
class _Job:
    """One request being served."""

    state: GatewayState
    body: dict[str, Any]
    session: Session
    mode: str
    path: str
    transport: Any

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Upto-Session": self.session.id} if self.state.settings.scheme == "upto" else {}

    async def whole(self) -> Response:
        state = self.state
        asked, text_only = self._seen(), "prompt" in self.body
        if text_only:
            asked = {"model": asked["model"], "messages": [{"role": "user", "content": asked["prompt"]}]}
        said = await answers.whole(state.upstream, asked)
        fields = self._sign(said)
        billed = state.charge(self.session, said.usage)
        choice: dict[str, Any] = {"index": 0, "finish_reason": said.finish}
        choice |= {"text": said.text} if text_only else {"message": said.message}
        if state.faults.take(Fault.CALL_INJECTED):
            choice["message"]["tool_calls"] = [_INJECTED]
        answer: dict[str, Any] = {
            "id": f"chatcmpl-{keccak256(fields['tee_signature'].encode()).hex()[:24]}",
            "object": "text_completion" if text_only else "chat.completion",
            "created": fields["tee_timestamp"],
            "model": self.body["model"],
            "choices": [choice],
            **({"usage": said.usage} if said.usage else {}),
            **self._cost(billed),
            **fields,
        }
        answer = state.replayed([answer])[0]
        if state.faults.take(Fault.TAMPER):
            _tamper(answer)
        self._unsign(answer)
        headers = {**self.headers, **await self._published(fields, answer), **await self._paid()}
        state.desk.done(self.session)
        data = json.dumps(answer).encode()
        if state.faults.take(Fault.CUT_BEFORE_ANSWER):
            reset(self.transport)
            return Response(status_code=500)
        if state.faults.take(Fault.GZIP):
            data, headers["Content-Encoding"] = gzip.compress(data), "gzip"
        if state.faults.take(Fault.CUT):
            return StreamingResponse(self._cut_short([data[: len(data) // 2]]), 200, headers, "application/json")
        return Response(data, 200, headers, "application/json")

    async def stream(self) -> Response:
        said = answers.Said()
        parts = answers.pieces(self.state.upstream, self._seen(), said)
        first = await anext(parts, None)  # a vendor that refuses does so before the first
        headers = {**self.headers, **await self._paid()}
        if self.state.faults.take(Fault.CUT_BEFORE_ANSWER):
            async for _ in parts:
                continue
            self.state.charge(self.session, said.usage)
            self.state.desk.done(self.session)
            reset(self.transport)
            return Response(status_code=500)
        events = self._events(first, parts, said)
        if self.state.faults.take(Fault.GZIP):
            return Response(
                gzip.compress(b"".join([event async for event in events])),
                200,
                {**headers, "Content-Encoding": "gzip"},
                "text/event-stream",
            )
        return StreamingResponse(events, 200, headers, "text/event-stream")

    async def _events(
        self, first: dict[str, Any] | None, parts: AsyncIterator[dict[str, Any]], said: answers.Said
    ) -> AsyncIterator[bytes]:
        state, count, finished = self.state, 0, False
        cut = state.faults.take(Fault.CUT)
        broken = state.faults.take(Fault.MID_STREAM_ERROR)
        tampered = state.faults.take(Fault.TAMPER)
        shown: list[dict[str, Any]] = []
        replay = state.faults.has(Fault.REPLAY)
        try:
            delta: dict[str, Any] | None = first
            while delta is not None:
                event = self._chunk(delta)
                if tampered and delta.get("content"):
                    delta["content"], tampered = _altered(delta["content"]), None
                shown.append(event)
                if not replay:
                    yield _data(event)
                count += 1
                if count == 2 and (cut or broken):
                    state.charge(self.session, said.usage or {"prompt_tokens": 10, "completion_tokens": count})
                    finished = True
                    if broken:
                        yield _data({"error": "Stream processing failed"})
                    else:
                        reset(self.transport)
                    return
                delta = await anext(parts, None)
            fields = self._sign(said)
            billed = state.charge(self.session, said.usage)
            finished = True
            end = self._chunk({}, said.finish) | fields | self._cost(billed)
            if said.usage:
                end["usage"] = said.usage
            if state.faults.take(Fault.CALL_INJECTED):
                end["choices"][0]["delta"]["tool_calls"] = [{"index": 0, **_INJECTED}]
            if self.mode == "individual":
                end |= await self._published_in_stream(fields, said)
            else:
                await self._published(fields, {})
            self._unsign(end)
            shown.append(end)
            if replay:
                for event in state.replayed(shown):
                    yield _data(event)
            else:
                state.replayed(shown)
                yield _data(end)
            yield b"data: [DONE]\n\n"
        finally:
            if not finished:  # whoever asked has gone
                state.charge(self.session, said.usage or {"prompt_tokens": 10, "completion_tokens": count})
            state.desk.done(self.session)

    async def _cut_short(self, parts: list[bytes]) -> AsyncIterator[bytes]:
        for part in parts:
            yield part
        await asyncio.sleep(0)
        reset(self.transport)

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"delta": delta, "index": 0, "finish_reason": finish}
        return {"choices": [choice], "model": self.body["model"]}

    def _seen(self) -> dict[str, Any]:
        """The request as the enclave gets it."""
        if other := self.state.faults.take(Fault.OTHER_MODEL):
            self.body = {**self.body, "model": str(other.options["model"])}
        return self.body

    def _sign(self, said: answers.Said) -> dict[str, Any]:
        state, now = self.state, int(time.time())
        if off := state.faults.take(Fault.CLOCK_OFF):
            now += int(off.options["seconds"])
        body = self.body
        if state.faults.take(Fault.OTHER_REQUEST):
            body = {**body, "temperature": 1.75}
        request = hashed_request(body, older=state.settings.older)
        output = hashed_output(said.text, said.calls, said.finish)
        fields = state.enclave.sign(request, output, now)
        if state.faults.take(Fault.WRONG_KEY):
            fields["tee_signature"] = Enclave().sign(request, output, now)["tee_signature"]
        return fields

    def _unsign(self, answer: dict[str, Any]) -> None:
        if self.state.faults.take(Fault.NO_SIGNATURE):
            for name in [each for each in answer if each.startswith("tee_")]:
                del answer[name]

    def _cost(self, billed: int) -> dict[str, Any]:
        if not self.state.settings.cost_block or self.state.settings.scheme != "upto":
            return {}
        usd = (Decimal(billed) / OPG * Decimal(USD_PER_TOKEN)).quantize(Decimal("1e-8"), ROUND_UP)
        return {"opengradient": {"cost_opg": str(billed), "cost_usd": f"{usd:f}", "opg_price_usd": USD_PER_TOKEN}}

    async def _paid(self) -> dict[str, str]:
        """Of the schemes that settle each request: the settlement, and what is said of it."""
        state = self.state
        if state.settings.scheme == "upto":
            return {}
        from x402.http.utils import encode_payment_response_header

        said = await asyncio.to_thread(
            state.desk.facilitator.settle, self.session.payload, self.session.requirements, self.session.cap
        )
        self.session.settled, self.session.settled_amount = str(said.transaction), self.session.cap
        return {"PAYMENT-RESPONSE": encode_payment_response_header(said)}

    def _leaf(self, fields: dict[str, Any]) -> Any:
        hashes = [
            bytes.fromhex(fields[name].removeprefix("0x")) for name in ("tee_id", "tee_request_hash", "tee_output_hash")
        ]
        return (*hashes, base64.b64decode(fields["tee_signature"]), fields["tee_timestamp"])

    async def _published(self, fields: dict[str, Any], answer: dict[str, Any]) -> dict[str, str]:
        """What is published of an answer, and the headers that say so."""
        relay = self.state.relay
        if self.mode == "batch":
            relay.add(self._leaf(fields))
        if self.mode != "individual":
            return {}
        transaction, blob = await asyncio.to_thread(relay.single, self._leaf(fields), self.body, answer)
        return {
            "X-TEE-Signature": fields["tee_signature"],
            "X-TEE-Id": fields["tee_id"],
            "X-Settlement-Type": "individual",
            "X-Settlement-Status": "queued",
            "X-Settlement-Tx-Hash": transaction,
            "X-Settlement-Walrus-Blob-ID": blob,
        }

    async def _published_in_stream(self, fields: dict[str, Any], said: answers.Said) -> dict[str, Any]:
        headers = await self._published(fields, {"text": said.text, "tool_calls": said.calls})
        return {
            "data_settlement_success": True,
            "settlement_type": "individual",
            "data_settlement_transaction_hash": headers["X-Settlement-Tx-Hash"],
            "data_settlement_blob_id": headers["X-Settlement-Walrus-Blob-ID"],
        }


def _mode(headers: Mapping[str, str]) -> str:
    said = headers.get("x-settlement-type", "").lower()
    return said if said in ("private", "individual") else "batch"


def _body_of(data: bytes) -> dict[str, Any] | None:
    """A request that fits its schema; None for any other."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return None
    messages = body.get("messages")
    fits = isinstance(messages, list) and messages and all(isinstance(each, dict) for each in messages)
    return body if fits or isinstance(body.get("prompt"), str) else None


def _data(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _altered(text: str) -> str:
    """`text` with one letter changed."""
    return ("b" if text[:1] == "a" else "a") + text[1:]


def _tamper(answer: dict[str, Any]) -> None:
    choice = answer["choices"][0]
    message = choice.get("message")
    if message is None:
        choice["text"] = _altered(choice["text"])
    elif message.get("tool_calls"):
        message["tool_calls"][0]["function"]["arguments"] = '{"symbol": "other"}'
    else:
        message["content"] = _altered(message["content"])
