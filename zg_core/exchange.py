"""One request and its response as bytes: encoding, hashing, server-sent events. No I/O.

What a provider signs are bytes (0g-direct §5.3), so they are hashed as they pass, before anything parses them.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from zg_core.crypto import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.http.messages import Upload

__all__ = ["Exchange"]

# Chat ids go into URLs (0g-direct §4.9).
_CHAT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RANDOM = re.compile(r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")  # 128 bits, as UUIDs or without their dashes


class Exchange:
    """The bytes of one request and of its response, hashed as they pass.

    Attributes:
        request: The bytes sent; b"" where they are read from disk.
        sent: The same, or where they are read from.
        status: HTTP status, 0 before the response began.
        headers: Response headers, names in lower case.
        complete: Whether the response is there to be compared.
        cut: Whether its end was not seen all the same: then what is missing may be why its bytes are not those signed.
        size: Bytes of the (content-decoded) response so far.
    """

    __slots__ = (
        "_digest", "_hash", "_named", "_request_sha256", "body_id", "certificate_sha256", "complete", "cut", "headers",
        "images", "known_id", "replayed", "request", "sent", "size", "status",
    )  # fmt: skip

    def __init__(self, request: bytes | Upload) -> None:
        self.request = request if isinstance(request, bytes) else b""
        self.sent: bytes | Upload = request
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.complete = False
        self.cut = False
        self.size = 0
        self.images: tuple[str, ...] = ()  # hashes of the images in the response, in their order
        self.body_id = ""  # `id` inside the body, the fallback chat id
        self.certificate_sha256 = ""
        # Set once, when the response is complete: an earlier one was the same bytes, or had its id.
        self.replayed = False
        self.known_id = False  # an earlier response had its id
        self._hash = hashlib.sha256()
        self._digest = (-1, "")  # of so many bytes
        self._named: tuple[str, str, str] | None = None  # header, body id, and the chat id that they give
        self._request_sha256 = "" if isinstance(request, bytes) else request.sha256

    def assume(self, request_sha256: str) -> None:
        """The request was sent before, by whoever kept its hash."""
        self._request_sha256 = request_sha256

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the response."""
        self._hash.update(chunk)
        self.size += len(chunk)

    @property
    def request_sha256(self) -> str:
        """Lower-case hex hash of the request bytes."""
        if not self._request_sha256:
            self._request_sha256 = sha256_hex(self.request)
        return self._request_sha256

    @property
    def response_sha256(self) -> str:
        """Lower-case hex hash of the response bytes so far."""
        if self._digest[0] != self.size:
            self._digest = self.size, self._hash.hexdigest()
        return self._digest[1]

    @property
    def chat_id(self) -> str:
        """The id under which the signature is stored, "" if the reply names none that is fit for a URL.

        From the ``ZG-Res-Key`` header, else the body's ``id`` without ``chatcmpl-`` (0g-direct §4.9).
        """
        header, inner = self.headers.get("zg-res-key", ""), self.body_id
        if (named := self._named) is None or named[0] != header or named[1] != inner:
            fit = (each for each in (header, inner.removeprefix("chatcmpl-")) if _CHAT_ID.fullmatch(each))
            named = self._named = header, inner, next(fit, "")
        return named[2]

    @property
    def chat_ids(self) -> tuple[str, ...]:
        """All ids to try for the signature, the likeliest first: older brokers store under the whole body ``id``."""
        first = self.chat_id
        whole = self.body_id
        if not first or self.headers.get("zg-res-key") or whole == first or not _CHAT_ID.fullmatch(whole):
            return (first,) if first else ()
        return (first, whole)

    @property
    def marks(self) -> frozenset[str]:
        """Ids that no two genuine replies share: that of the header, and the ``id`` inside the body if it is random.

        Lower case, as the signature route reads ids (0g-direct §4.9): an old reply under another spelling is old.
        Some servers count their replies or draw a small number, so that a short ``id`` says nothing.
        """
        header = self.headers.get("zg-res-key", "")
        inner = self.body_id.removeprefix("chatcmpl-").lower()
        marks = {header.lower()} if header and header == self.chat_id else set()
        if _RANDOM.fullmatch(inner):
            marks.add(inner)
        return frozenset(marks)
