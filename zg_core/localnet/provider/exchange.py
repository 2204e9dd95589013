"""One charged request, from the forwarded body to the signature and the bill (0g-direct §4.3-4.4, §5.3)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import uuid
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from zg_core.localnet.base.keys import Key, sha256_hex
from zg_core.localnet.base.server import reset
from zg_core.localnet.model.upstream import UpstreamBrokenError, UpstreamReply
from zg_core.localnet.provider import alter
from zg_core.localnet.provider.billing import BillingEntry, Usage
from zg_core.localnet.provider.faults import Fault, FaultSet
from zg_core.localnet.provider.sanitize import event_payload, sanitize_body, sanitize_event
from zg_core.localnet.provider.signing import (
    ChatSignature,
    certificate_fingerprint,
    chat_text,
    routing_text,
    sign_text,
)
from zg_core.localnet.provider.state import PastExchange, ProviderState
from zg_core.localnet.services import tamper
from zg_core.localnet.services.trades import EditTrade, ImageTrade, SpeechTrade, Trade, images_in, with_urls

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.types import Receive, Scope, Send

    from zg_core.localnet.provider.rewrite import Prepared
    from zg_core.localnet.sealing.enclave import Answering

_log = logging.getLogger(__name__)
_USER_ERRORS = (
    b"badrequesterror",
    b"context_length_exceeded",
    b"maximum context length",
    b"token count exceeds",
    b"invalid_request_error",
)
SSE = "text/event-stream; charset=utf-8"
_LEFT_POLL_SECONDS = 0.02
_REFUSAL = b'{"error":"no capacity"}'


class _Answer:
    """What has been read of an answer so far."""

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream
        self.usage: Usage | None = None
        self.upstream_id: str | None = None

    def read(self, piece: bytes) -> None:
        """Take usage and id from a body or an event; most events have neither, and are not decoded."""
        if self.upstream_id is not None and b'"usage"' not in piece:
            return
        document = _document(piece, stream=self._stream)
        if isinstance(document, dict):
            self.usage = Usage.from_json(document.get("usage")) or self.usage
            if self.upstream_id is None and isinstance(document.get("id"), str):
                self.upstream_id = document["id"]

    def text(self, pieces: list[bytes]) -> str:
        """The answer's words, for a bill without usage."""
        texts = []
        for piece in pieces:
            document = _document(piece, stream=self._stream)
            for choice in (document.get("choices") or []) if isinstance(document, dict) else []:
                message = choice.get("message") or choice.get("delta") or {}
                if isinstance(message.get("content"), str):
                    texts.append(message["content"])
        return "".join(texts)


class Exchange(Response):
    """The response to one charged request. As an ASGI application it answers, signs and bills.

    Args:
        state: the provider.
        user: who pays (EIP-55).
        trade: what is special about its path.
        received: the request as the client sent it.
        prepared: the request as it is forwarded.
        faults: what goes wrong this time.
        headers: rate-limit headers to send along.
        answering: seals the answer, where the request was sealed.
    """

    def __init__(
        self,
        state: ProviderState,
        *,
        user: str,
        trade: Trade,
        received: bytes,
        prepared: Prepared,
        faults: FaultSet,
        headers: list[tuple[str, str]],
        answering: Answering | None = None,
    ) -> None:
        self.background = None
        self._answering = answering
        self._state = state
        self._user = user
        self._trade = trade
        self._path = trade.path
        self._received_sha256 = sha256_hex(received)
        self._request = prepared.body
        self._for_model = prepared.for_model
        self._asked = prepared.asked
        self._stream = stream = trade.streams
        self._faults = faults
        self._extra_headers = headers
        self.key = str(uuid.uuid4())
        """The chat key: of its signature."""
        self.image_key = self.key
        """Of its images: the id of its job, where it is one."""
        self._content_type = SSE if stream else "application/json"
        self._answer = _Answer(stream=stream)
        self._hash = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._replay: PastExchange | None = None
        self._done: list[Callable[[], None]] = []

    @property
    def user(self) -> str:
        """Who pays."""
        return self._user

    @property
    def faults(self) -> FaultSet:
        """What goes wrong this time."""
        return self._faults

    def drop(self) -> None:
        """It is not made at all, and not billed."""
        for callback in self._done:
            callback()

    async def aside(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """Answer with nobody listening: status, headers and body of what would have been sent."""
        head: list[Any] = [502, []]
        body = bytearray()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                named = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
                head[:] = [message["status"], named]
            else:
                body.extend(message["body"])

        try:
            await self._run(Wire(send, None))
        finally:
            self.drop()
        return head[0], head[1], bytes(body)

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call this when the exchange is over, however it ends."""
        self._done.append(callback)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Answer the request."""
        try:
            await self._run(Wire(send, scope["state"]["transport"]))
        finally:
            self.drop()

    async def _run(self, wire: Wire) -> None:
        pieces: AsyncGenerator[Any] = self._honest_pieces()
        if self._answering is not None:
            pieces = self._answering.sealed(pieces)
        first: bytes | UpstreamReply
        try:
            first = await anext(pieces, b"")
        except UpstreamBrokenError:
            first = UpstreamReply(502, {"content-type": "application/json"}, b'{"error":"Bad Gateway"}')
        if isinstance(first, UpstreamReply):
            await self._relay_error(first, wire)
            return
        if Fault.CUT_BEFORE_FIRST_BYTE in self._faults:
            await wire.cut()
        elif Fault.REFUSED_AFTER_SERVICE in self._faults:
            headers = [("content-type", "application/json"), ("content-length", str(len(_REFUSAL)))]
            await wire.start(self._faults.option(Fault.REFUSED_AFTER_SERVICE, "status"), headers)
        elif Fault.HANG not in self._faults:
            await wire.start(200, self._header_list(first))
        try:
            await self._send_body(first, pieces, wire)
        except UpstreamBrokenError as error:
            _log.warning("the model behind %s broke off: %s", self._state.spec.model, error)
            await wire.cut()
        # From here to the end nothing waits: whoever has read the last byte finds the signature and the bill.
        self._sign()
        self._bill(client_left=wire.gone)

    # the bytes, as the provider means them

    async def _honest_pieces(self) -> AsyncGenerator[bytes | UpstreamReply]:
        """The body to hash and sign, piece by piece; or one `UpstreamReply` instead, to be relayed."""
        replay = self._find_replay()
        if isinstance(replay, UpstreamReply):
            yield replay
            return
        if Fault.REPLAY_OTHER in self._faults and replay is None:
            replay = await somebody_elses(self._state, self._trade, self._request)
        if replay is not None:
            self._replay = replay
            self.key = replay.chat_key
            self._answer.usage = replay.usage
            self._content_type = replay.content_type
            for past_piece in replay.pieces:
                yield past_piece
            return
        left = self._faults.option(Fault.TRUNCATED_STREAM, "events") if Fault.TRUNCATED_STREAM in self._faults else None
        answer = answer_pieces(self._state, self._trade, self._for_model, key=self.key, asked=self._asked)
        async with aclosing(answer):
            async for piece in answer:
                if isinstance(piece, UpstreamReply):
                    if piece.status != 200:
                        yield piece
                        return
                    self._content_type = piece.headers.get("content-type", self._content_type)
                    continue
                if left is not None:
                    if left == 0:
                        return
                    left -= 1
                whole = tamper.meant(piece, self._faults) if self._faults else piece
                for part in alter.honest(whole, self._faults, stream=self._stream):
                    self._answer.read(part)
                    yield part

    def _find_replay(self) -> PastExchange | UpstreamReply | None:
        own, other = Fault.REPLAY_OWN in self._faults, Fault.REPLAY_OTHER in self._faults
        if not own and not other:
            return None
        for past in reversed(self._state.past):
            if past.stream == self._stream and past.path == self._path and (past.user == self._user) == own:
                return past
        if own:
            body = b'{"error":"fault replay_own: this user has no earlier exchange of this form"}'
            return UpstreamReply(500, {"content-type": "application/json"}, body)
        return None

    # sending

    async def _send_body(self, first: bytes, pieces: AsyncGenerator[Any], wire: Wire) -> None:
        changed = alter.Tamper(self._faults)
        gzip = alter.Gzip() if Fault.GZIP in self._faults else None
        cut_after = Fault.CUT_AFTER_FIRST_BYTE in self._faults
        hang = Fault.HANG in self._faults
        refused = Fault.REFUSED_AFTER_SERVICE in self._faults
        silent = 0
        piece: Any = first
        while piece is not None:
            self._hash.update(piece)
            self._pieces.append(piece)
            data = self._sent(piece, changed)
            if gzip is not None:
                data = gzip.piece(data)
            if hang or refused:
                pass
            elif wire.gone:
                silent += len(data)
                if silent > self._state.settings.max_silent_read:
                    return
            elif cut_after:
                await wire.body(data if self._stream else data[: max(1, len(data) // 2)])
                await wire.cut()
            else:
                await self._write(data, wire)
            piece = await anext(pieces, None)
        if hang:
            await wire.left()
        elif refused:
            await wire.body(_REFUSAL, more=False)
        else:
            await wire.body(gzip.end() if gzip is not None else b"", more=False)

    def _sent(self, piece: bytes, changed: alter.Tamper) -> bytes:
        """What the client gets in place of a piece that was hashed."""
        piece = self._with_urls(self._trade.sent(piece))
        return changed(tamper.altered(piece, self._faults) if self._faults else piece)

    def _with_urls(self, piece: bytes) -> bytes:
        trade, state = self._trade, self._state
        if not isinstance(trade, ImageTrade) or not trade.wants_urls:
            return piece
        images = images_in(piece, most=trade.count())
        if not images:
            return piece
        if Fault.IMAGE_SWAPPED in self._faults:
            state.images.put(self.image_key, [tamper.swapped_file(images[0]), *images[1:]])
        elif Fault.IMAGE_EXPIRED not in self._faults:
            state.images.put(self.image_key, images)
        foreign = Fault.IMAGE_URL_FOREIGN in self._faults
        origin = self._faults.option(Fault.IMAGE_URL_FOREIGN, "origin") if foreign else state.url
        return with_urls(piece, f"{origin}/v1/proxy/images/{self.image_key}", len(images))

    async def _write(self, data: bytes, wire: Wire) -> None:
        delay = self._faults.option(Fault.SLOW_DRIP, "delay") if Fault.SLOW_DRIP in self._faults else None
        for frame in alter.frames(data, self._faults):
            await wire.body(frame)
            if delay is not None:
                await asyncio.sleep(delay)
            if wire.gone:
                return

    def _header_list(self, body: bytes) -> list[tuple[str, str]]:
        headers = [
            ("content-type", self._content_type),
            ("x-accel-buffering", "no"),
            ("provider", self._state.address),
            ("access-control-expose-headers", _exposed(self._extra_headers)),
            *self._extra_headers,
        ]
        announced = self._answering is not None or (self._trade.announced and self._trade.signed)
        if announced and Fault.NO_HEADER not in self._faults:
            headers.append(("zg-res-key", self.key))
        if Fault.GZIP in self._faults:
            headers.append(("content-encoding", "gzip"))
        elif not self._stream and not alter.reframes(self._faults):
            tampered = self._sent(body, alter.Tamper(self._faults))
            headers.append(("content-length", str(len(tampered))))
        return headers

    async def _relay_error(self, reply: UpstreamReply, wire: Wire) -> None:
        """Pass on what the model said; its 5xx about the request itself becomes the 400 it should have been."""
        status = reply.status
        if status >= 500 and any(text in reply.body.lower() for text in _USER_ERRORS):
            status = 400
        headers = [("content-type", reply.headers.get("content-type", "application/json")), ("x-accel-buffering", "no")]
        headers += [*self._extra_headers, ("content-length", str(len(reply.body)))]
        await wire.start(status, headers)
        await wire.body(reply.body, more=False)

    # afterwards

    @property
    def _signature_key(self) -> str:
        if self._state.spec.kind == "TeeML-separated" and self._answering is None:
            return self._answer.upstream_id or self.key
        return self.key

    def _sign(self) -> None:
        state, faults = self._state, self._faults
        if not (self._trade.signed or self._answering) or Fault.SIGNATURE_NEVER in faults:
            return
        late = Fault.SIGNATURE_LATE in faults
        seconds = faults.option(Fault.SIGNATURE_LATE, "seconds") if late else 0.0
        misses = faults.option(Fault.SIGNATURE_LATE, "misses") if late else 0
        signature = self._replay.signature if self._replay is not None else self._new_signature()
        state.shelf.put(
            self._signature_key,
            signature,
            ttl=state.settings.signature_ttl,
            delay=state.settings.signature_delay + seconds,
            misses=misses,
        )
        if not faults and self._answering is None:
            state.past.append(
                PastExchange(
                    user=self._user,
                    chat_key=self._signature_key,
                    path=self._path,
                    stream=self._stream,
                    pieces=tuple(self._pieces),
                    usage=self._answer.usage,
                    signature=signature,
                    content_type=self._content_type,
                )
            )

    def _new_signature(self) -> ChatSignature:
        if self._answering is not None:
            return self._sealed_signature(self._answering)
        digest = self._hash.hexdigest()
        # A relay signs the body it was given, whatever is in it (services §1.2).
        relayed = self._state.spec.kind == "TeeTLS"
        response_hash = digest if relayed else self._trade.response_half(self._pieces, digest)
        request, key = self._request, self._state.signing_key
        if Fault.SIGNATURE_OTHER_BYTES in self._faults:
            request, response_hash = secrets.token_bytes(32), sha256_hex(secrets.token_bytes(32))
        signer = Key.random() if Fault.OTHER_SIGNER in self._faults else key
        signature = sign_answer(self._state, signer, request, response_hash)
        if Fault.OTHER_SIGNER in self._faults and self._faults.option(Fault.OTHER_SIGNER, "claim") == "tee":
            signature = replace(signature, signing_address=key.address)
        return signature

    def _sealed_signature(self, answering: Answering) -> ChatSignature:
        """Of the envelopes; a relay adds its proof for the same two halves. The broker's own key signs both."""
        key = Key.random() if Fault.OTHER_SIGNER in self._faults else self._state.tee_key
        text = answering.text()
        if Fault.SIGNATURE_OTHER_BYTES in self._faults:
            text = text[:-64] + sha256_hex(secrets.token_bytes(32))
        signature = sign_text(key, text)
        if self._state.spec.kind != "TeeTLS":
            return signature
        identity = self._state.next_identity()
        fingerprint = certificate_fingerprint(identity)
        routed = ":".join((*answering.halves(), "centralized", identity, fingerprint))
        return replace(signature, proof=sign_text(key, routed, identity=identity, fingerprint=fingerprint))

    def _bill(self, *, client_left: bool) -> None:
        state, faults = self._state, self._faults
        for lost in (Fault.CUT_BEFORE_FIRST_BYTE, Fault.CUT_AFTER_FIRST_BYTE, Fault.HANG):
            if lost in faults and not faults.option(lost, "billed"):
                return
        usage = self._answer.usage
        prices = state.prices
        bill = self._trade.bill(prices, usage, self._pieces, "" if usage else self._answer.text(self._pieces))
        if Fault.IMAGES_OVERBILLED in faults:
            bill = replace(bill, output_fee=self._trade.due(prices))
        if usage:
            state.limits.spend_tokens(self._user, usage.prompt_tokens + usage.completion_tokens)
        state.log.add(
            BillingEntry(
                user=self._user,
                chat_id=self._signature_key,
                model=self._asked or state.spec.model,
                usage=usage,
                input_fee=bill.input_fee,
                output_fee=bill.output_fee,
                units=bill.units,
                unit=bill.unit,
                request_sha256=sha256_hex(self._request),
                response_sha256=self._hash.hexdigest(),
                time=state.clock.now(),
                request_id=str(uuid.uuid4()),
                stream=self._stream,
                client_left=client_left,
                received_sha256=self._received_sha256,
            )
        )
        state.wake.set()


class Wire:
    """The connection of one request: sends, and can cut. After the client has gone it swallows what is sent."""

    def __init__(self, send: Send, transport: asyncio.Transport | None) -> None:
        self._send = send
        self._transport = transport

    @property
    def gone(self) -> bool:
        """Whether nobody reads any more."""
        return self._transport is not None and self._transport.is_closing()

    async def start(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Send the status line and headers."""
        if not self.gone:
            raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def body(self, data: bytes, *, more: bool = True) -> None:
        """Send a piece of the body."""
        if not self.gone:
            await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def left(self) -> None:
        """Wait until nobody reads any more."""
        while not self.gone:  # noqa: ASYNC110 - nothing tells when a transport closes
            await asyncio.sleep(_LEFT_POLL_SECONDS)

    async def cut(self) -> None:
        """Reset the connection, as a crash or a cable would: no closing handshake, no end of the response."""
        if self._transport is not None:
            reset(self._transport)
        await asyncio.sleep(0)  # let the server see the loss before it is told the response is over
        await asyncio.sleep(0)


async def answer_pieces(
    state: ProviderState, trade: Trade, request: bytes, *, key: str, asked: str | None
) -> AsyncGenerator[bytes | UpstreamReply]:
    """Ask the model and do to its answer what the provider does before hashing; or relay its refusal.

    The head of an answer in one piece comes first, as an `UpstreamReply` with status 200.
    """
    chat_id = f"chatcmpl-{key}"
    if not trade.streams:
        reply = await state.upstream.complete(trade.path, request)
        yield reply
        if reply.status == 200:
            clean = trade.sanitised
            yield sanitize_body(reply.body, chat_id=chat_id, model=asked) if clean else reply.body
        return
    async for event in state.upstream.stream(trade.path, request):
        if isinstance(event, UpstreamReply):
            yield event
            return
        forwarded = sanitize_event(event, chat_id=chat_id, model=asked) if trade.sanitised else event
        if forwarded:
            yield forwarded


def sign_answer(state: ProviderState, key: Key, request: bytes, response_hash: str) -> ChatSignature:
    """Sign an exchange in the form of the provider's kind."""
    if state.spec.kind == "TeeTLS":
        identity = state.next_identity()
        fingerprint = certificate_fingerprint(identity)
        text = routing_text(request, response_hash, identity, fingerprint)
        return sign_text(key, text, identity=identity, fingerprint=fingerprint)
    return sign_text(key, chat_text(request, response_hash))


async def somebody_elses(state: ProviderState, trade: Trade, mine: bytes) -> PastExchange:
    """A genuine, signed exchange of a made-up user, for the case that no real one is at hand.

    What is asked with a file is `mine` with a few words more.
    """
    path, stream = trade.path, trade.streams
    question = f"What did somebody else ask? ({secrets.token_hex(4)})"
    asked: dict[str, Any] = {"model": state.spec.model}
    if path == "/embeddings":
        asked["input"] = question
    elif path == "/images/generations":
        asked["prompt"] = question
    else:
        asked["messages"] = [{"role": "user", "content": question}]
    if stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    request = json.dumps(asked, separators=(",", ":")).encode()
    if isinstance(trade, EditTrade | SpeechTrade):
        request = mine.replace(b'name="prompt"\r\n\r\n', b'name="prompt"\r\n\r\n' + question.encode(), 1)
    key, answer, pieces = str(uuid.uuid4()), _Answer(stream=stream), []
    async for piece in answer_pieces(state, trade, request, key=key, asked=None):
        if isinstance(piece, UpstreamReply):
            if piece.status == 200:
                continue
            raise UpstreamBrokenError("the model refused the made-up request")
        answer.read(piece)
        pieces.append(piece)
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    half = digest if state.spec.kind == "TeeTLS" else trade.response_half(pieces, digest)
    signature = sign_answer(state, state.signing_key, request, half)
    separate = state.spec.kind == "TeeML-separated"
    return PastExchange(
        user=Key.random().address,
        chat_key=(answer.upstream_id or key) if separate else key,
        path=path,
        stream=stream,
        pieces=tuple(pieces),
        usage=answer.usage,
        signature=signature,
        content_type=SSE if stream else "application/json",
    )


def _document(piece: bytes, *, stream: bool) -> Any:
    if stream and piece.lstrip()[:1] != b"{":  # some servers ignore that a stream was asked for
        return event_payload(piece)
    try:
        return json.loads(piece)
    except ValueError:
        return None


def _exposed(headers: list[tuple[str, str]]) -> str:
    names = ["Provider", "content-encoding", "ZG-Res-Key", *(name for name, _ in headers)]
    return ",".join(names)
