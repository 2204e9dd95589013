"""The enclave's side: a sealed request opened by the rules of its service, and the frames of its answer."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.localnet.model.upstream import UpstreamReply
from zg_core.localnet.sealing.hpke import CannotOpenError, Channel, inward, outward, public_of
from zg_core.localnet.sealing.jcs import bound, clear_part, to_bytes, to_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from zg_core.localnet.base.keys import Key

ASKING, ANSWERING = b"0g-pc/v1/seal", b"0g-pc/v1/resp"
_KEM = "0x0020"
# By path: what must be sealed, what must be where it is there, what of an answer is sealed (services §7).
_SPEECH = ("filename", "language", "prompt"), ("text", "segments", "words", "language")
_RULES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "/chat/completions": ("messages", ("tools", "tool_choice"), ("choices",)),
    "/embeddings": ("input", (), ("data",)),
    "/images/generations": ("prompt", (), ("data",)),
    "/audio/transcriptions": ("file_base64", *_SPEECH),
}


class SealRefusedError(Exception):
    """A sealed request that is not opened; the text is the enclave's reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def encryption_private(key: Key) -> bytes:
    """The enclave's own X25519 key: made of the one it signs with, so that both are new together."""
    return hashlib.sha256(b"local encryption key of " + key.secret).digest()


def encryption_public(key: Key) -> bytes:
    """What its quote shows."""
    return public_of(encryption_private(key))


@dataclass
class Answering:
    """Seals the frames of one answer, and remembers what stands for them."""

    path: str
    client: bytes
    request: bytes
    stream: bool
    bindings: list[bytes] = field(default_factory=list)
    _channel: Channel | None = None

    def frame(self, document: dict[str, Any], *, final: bool) -> bytes:
        """One frame as JSON."""
        fields = [name for name in (*_RULES[self.path][2], "error") if name in document]
        wanted = _RULES[self.path][2][0]
        if wanted not in fields:
            fields.insert(0, wanted)
        inner = {name: document.get(name, []) for name in fields}
        seal: dict[str, Any] = {"sealed_fields": fields, "unbound_fields": ["model", "x_0g_trace"], "final": final}
        if self._channel is None:
            enc, self._channel = outward(self.client, ANSWERING)
            seal = {"v": 1, "enc": to_text(enc), **seal}
        envelope = {name: value for name, value in document.items() if name not in fields}
        envelope["_e2ee"] = seal
        clear = clear_part(envelope)
        locked = self._channel.lock(json.dumps(inner, ensure_ascii=False).encode("utf-8", "replace"), clear)
        self.bindings.append(bound(clear, locked))
        seal["ciphertext"] = to_text(locked)
        return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")

    async def sealed(self, pieces: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
        """The pieces of an answer as the client gets them."""
        held = b""
        last: dict[str, Any] = {}
        async for piece in pieces:
            if isinstance(piece, UpstreamReply):
                yield piece
                return
            held += piece
            while self.stream and b"\n\n" in held:
                event, _, held = held.partition(b"\n\n")
                document = _said(event)
                if document is not None:
                    last = document
                    yield b"data: " + self.frame(document, final=False) + b"\n\n"
        if not self.stream:
            yield self.frame(self._counted(json.loads(held)), final=True)
            return
        closing: dict[str, Any] = {name: last[name] for name in ("id", "object", "created", "model") if name in last}
        yield b"data: " + self.frame({**closing, "choices": []}, final=True) + b"\n\n"
        yield b"data: [DONE]\n\n"

    def _counted(self, document: dict[str, Any]) -> dict[str, Any]:
        """With what is billed in the clear, as the rules of images ask."""
        if self.path != "/images/generations":
            return document
        usage = document.get("usage") if isinstance(document.get("usage"), dict) else {}
        return {**document, "usage": {**(usage or {}), "output_images": len(document.get("data") or [])}}

    def halves(self) -> tuple[str, str]:
        """What stands for request and answer in the signed text, as hex."""
        whole = hashlib.sha256(b"".join(self.bindings)).digest() if self.stream else self.bindings[0]
        return self.request.hex(), whole.hex()

    def text(self) -> str:
        """What the enclave signs."""
        return f"zg-sig-v1/e2ee-ct{'-stream' if self.stream else ''}:" + ":".join(self.halves())


@dataclass(frozen=True)
class Opened:
    """A request as it was meant, and what seals its answer."""

    document: dict[str, Any]
    body: bytes
    content_type: str
    answering: Answering


def open_request(document: dict[str, Any], path: str, key: Key) -> Opened:
    """Open what was sealed to the enclave that signs with `key`.

    Raises:
        SealRefusedError: 409 for another key, 400 for everything else that is wrong with it.
    """
    if path not in _RULES:
        raise SealRefusedError(400, "sealed requests are not supported on this route")
    seal = document.get("_e2ee")
    if not isinstance(seal, dict) or seal.get("v") != 1 or seal.get("kem_id") != _KEM:
        raise SealRefusedError(400, "unseal request: unknown version or suite")
    private = encryption_private(key)
    public = public_of(private)
    if seal.get("key_id") != to_text(hashlib.sha256(public).digest()[:8]):
        raise SealRefusedError(409, "e2ee_key_mismatch: the request is sealed to another key")
    if str(seal.get("signer_addr", "")).lower() != key.address.lower():
        raise SealRefusedError(409, "e2ee_key_mismatch: the request names another signer")
    clear = {name: value for name, value in document.items() if name != "_e2ee"}
    _check(clear, seal, path)
    try:
        locked, bound_to = to_bytes(seal["ciphertext"]), clear_part(document)
        text = inward(private, to_bytes(seal["enc"]), ASKING).unlock(locked, bound_to)
        inner = json.loads(text)
        client = to_bytes(seal["client_eph_pub"])
    except (CannotOpenError, ValueError, KeyError, TypeError) as error:
        raise SealRefusedError(400, f"unseal request: {error}") from error
    if not isinstance(inner, dict) or set(inner) != set(seal["sealed_fields"]):
        raise SealRefusedError(400, "unseal request: the sealed fields are not those named")
    meant = {**clear, **inner}
    answering = Answering(path, client, bound(bound_to, locked), clear.get("stream") is True)
    if path == "/audio/transcriptions":
        body, content_type = _form(meant)
        return Opened(meant, body, content_type, answering)
    body = json.dumps(meant, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    return Opened(meant, body, "application/json", answering)


def _check(clear: dict[str, Any], seal: dict[str, Any], path: str) -> None:
    required, optional, _ = _RULES[path]
    sealed, unbound = seal.get("sealed_fields"), seal.get("unbound_fields")
    if not isinstance(sealed, list) or required not in sealed or unbound != ["model"]:
        raise SealRefusedError(400, f"unseal request: {required} must be sealed, and only the model be unbound")
    for name in (required, *optional, *map(str, sealed)):
        if name in clear:
            raise SealRefusedError(400, f"unseal request: {name} must be sealed when present")
    formats = {"/images/generations": ("b64_json",), "/audio/transcriptions": ("json", "verbose_json")}.get(path)
    if formats is not None and clear.get("response_format") not in formats:
        raise SealRefusedError(400, "unseal request: response_format must be present, clear and bound")
    if path == "/audio/transcriptions" and clear.get("stream", False) is not False:
        raise SealRefusedError(400, "unseal request: stream must be false")


def _form(meant: dict[str, Any]) -> tuple[bytes, str]:
    """A transcription as the form that model servers take."""
    edge = secrets.token_hex(16)
    try:
        audio = base64.b64decode(meant["file_base64"], validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise SealRefusedError(400, "unseal request: file_base64 is no base64") from error
    name = str(meant.get("filename") or "audio.wav")
    parts = [f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
             "Content-Type: application/octet-stream\r\n\r\n".encode() + audio + b"\r\n"]  # fmt: skip
    for field_name, value in meant.items():
        if field_name in ("file_base64", "filename", "stream"):
            continue
        for one in value if isinstance(value, list) else [value]:
            spelled = f"{field_name}[]" if isinstance(value, list) else field_name
            said = one if isinstance(one, str) else json.dumps(one)
            parts.append(f'--{edge}\r\nContent-Disposition: form-data; name="{spelled}"\r\n\r\n{said}\r\n'.encode())
    return b"".join((*parts, f"--{edge}--\r\n".encode())), f"multipart/form-data; boundary={edge}"


def _said(event: bytes) -> dict[str, Any] | None:
    """The JSON of an event; None for comments and the end."""
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    try:
        document = json.loads(b"".join(lines)) if lines else None
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
