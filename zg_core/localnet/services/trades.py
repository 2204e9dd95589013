"""What is special about each path: which requests stream, what is forwarded, signed, sent and billed (services §0)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from zg_core.localnet.base.keys import sha256_hex
from zg_core.localnet.media.forms import Form, boundary_in, read_form
from zg_core.localnet.model.values import InvalidRequestError
from zg_core.localnet.provider import gojson
from zg_core.localnet.provider.rewrite import NotPreparedError, Prepared, go_quote
from zg_core.localnet.services.speech_fees import speech_fee

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.localnet.provider.billing import Prices, Usage
    from zg_core.localnet.provider.settings import ProviderSpec

_BIGGEST: Final = 50 * 1024 * 1024
"""Bytes of an image that the provider still decodes."""
_DONE: Final = b"transcript.text.done"


@dataclass(frozen=True)
class Bill:
    """What one answer costs, in neuron; `unit` says what was counted."""

    input_fee: int
    output_fee: int
    units: int | None = None
    unit: str = "tokens"


@dataclass
class Trade:
    """One request for tokens: chat or embeddings. The others differ where they override.

    Args:
        path: Where it was asked for.
        spec: The provider.
        body: The request's bytes.
        document: The same as JSON, where it is JSON.
    """

    path: str
    spec: ProviderSpec
    body: bytes
    document: Any
    content_type: str = "application/json"
    _sent_done: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._form: Form | None = None

    @property
    def streams(self) -> bool:
        """Whether the answer is asked for as events."""
        return (
            self.path == "/chat/completions" and isinstance(self.document, dict) and self.document.get("stream") is True
        )

    @property
    def signed(self) -> bool:
        """Whether answers get a signature."""
        return self.spec.signs

    @property
    def announced(self) -> bool:
        """Whether answers carry the key of their signature."""
        return self.spec.kind in ("TeeML", "TeeTLS")

    @property
    def sanitised(self) -> bool:
        """Whether the broker cleans the answer before it hashes it."""
        return self.spec.kind != "TeeML-separated"

    def due(self, prices: Prices) -> int:  # noqa: ARG002 - others need it
        """The least that must be unlocked for what cannot be counted beforehand; 0 for tokens."""
        return 0

    def response_half(self, pieces: Sequence[bytes], digest: str) -> str:  # noqa: ARG002
        """The second half of the signed text, where the model is inside; `digest` is of all bytes."""
        return digest

    def sent(self, piece: bytes) -> bytes:
        """What the client gets of a hashed piece."""
        return piece

    def bill(self, prices: Prices, usage: Usage | None, pieces: Sequence[bytes], said: str) -> Bill:  # noqa: ARG002
        """The fee of the answer."""
        if usage is not None:
            return Bill(*prices.fee(usage), units=usage.prompt_tokens + usage.completion_tokens)
        return Bill(*prices.estimate(said))


class EmbeddingTrade(Trade):
    """Embeddings: the prompt alone is billed (services §5)."""

    def bill(self, prices: Prices, usage: Usage | None, pieces: Sequence[bytes], said: str) -> Bill:  # noqa: ARG002
        """Prompt tokens, else the total, else an estimate from the request."""
        count = usage.prompt_tokens if usage is not None else 0
        if not count:
            try:
                stated = json.loads(b"".join(pieces)).get("usage") or {}
                count = int(stated.get("total_tokens") or 0)
            except (ValueError, AttributeError, TypeError):
                count = 0
        count = count or estimated_tokens(self.document)
        return Bill(prices.at(count)[0] * count, 0, count)


def estimated_tokens(document: Any) -> int:
    """Tokens of an embedding request, by rule of thumb."""
    value = document.get("input") if isinstance(document, dict) else None
    if isinstance(value, str):
        return _of_words(value)
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return _of_words(" ".join(value))
    if isinstance(value, list) and value and all(_is_id(one) for one in value):
        return len(value)
    if isinstance(value, list) and value and all(isinstance(one, list) and all(map(_is_id, one)) for one in value):
        return max(1, sum(map(len, value)))
    return 1


def _is_id(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of_words(text: str) -> int:
    return max(1, 2 * len(text.split()), len(text) // 3)


class ImageTrade(Trade):
    """Images: billed and signed one by one (services §1)."""

    def count(self) -> int:
        """How many are asked for: `n` where it is a number, else 1."""
        n = self.document.get("n") if isinstance(self.document, dict) else None
        return max(0, int(n)) if isinstance(n, int | float) and not isinstance(n, bool) else 1

    @property
    def wants_urls(self) -> bool:
        """Whether the client asks for addresses instead of images."""
        return isinstance(self.document, dict) and self.document.get("response_format") == "url"

    @property
    def signed(self) -> bool:
        """An enclave apart signs no images (services §0)."""
        return self.spec.kind in ("TeeML", "TeeTLS")

    @property
    def sanitised(self) -> bool:
        """Always: no other enclave has signed it."""
        return True

    def due(self, prices: Prices) -> int:
        """The price of all images."""
        return prices.output_price * self.count()

    def response_half(self, pieces: Sequence[bytes], digest: str) -> str:
        """The hashes of the images; of the body, where there is none or they cannot be read."""
        images = images_in(b"".join(pieces), most=self.count())
        return ",".join(map(sha256_hex, images)) if images else digest

    def bill(self, prices: Prices, usage: Usage | None, pieces: Sequence[bytes], said: str) -> Bill:  # noqa: ARG002
        """The images delivered; those asked for, where they cannot be counted."""
        images = images_in(b"".join(pieces), most=self.count())
        count = self.count() if images is None else len(images)
        return Bill(0, prices.output_price * count, count, "images")


class EditTrade(ImageTrade):
    """Edits: billed as asked for, whatever was delivered (services §2)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if boundary_in(self.content_type) is not None:
            try:
                self._form = read_form(self.body)
            except InvalidRequestError as error:
                raise NotPreparedError(str(error)) from None
            if "_e2ee" in self._form.fields or "_e2ee" in self._form.files:
                raise NotPreparedError("a form cannot be sealed")
            if "n" in self._form.fields and not re.fullmatch(r"\d{1,3}", "|".join(self._form.fields["n"])):
                raise NotPreparedError('the form field "n" could not be read unambiguously')

    def count(self) -> int:
        """`n`, of the form or the document."""
        if self._form is not None:
            return int(self._form.one("n") or 1)
        return super().count()

    @property
    def wants_urls(self) -> bool:
        """As for images."""
        return self._form.one("response_format") == "url" if self._form is not None else super().wants_urls

    def bill(self, prices: Prices, usage: Usage | None, pieces: Sequence[bytes], said: str) -> Bill:  # noqa: ARG002
        """The images asked for."""
        return Bill(0, prices.output_price * self.count(), self.count(), "images")


class SpeechTrade(Trade):
    """Transcription: a form in, five forms out, billed by seconds or tokens (services §4)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if boundary_in(self.content_type) is None:
            raise NotPreparedError("audio transcription needs multipart/form-data; a JSON object is refused")

    @property
    def streams(self) -> bool:
        """Found in the text alone, as the real one does."""
        return b'name="stream"' in self.body and (b"\r\n\r\ntrue" in self.body or b"\ntrue" in self.body)

    @property
    def signed(self) -> bool:
        """By an enclave with the model inside; of relays by the newest ones."""
        return self.spec.kind == "TeeML" or (self.spec.kind == "TeeTLS" and self.spec.signs_relayed_speech)

    @property
    def announced(self) -> bool:
        """Whenever it is signed."""
        return self.signed

    @property
    def sanitised(self) -> bool:
        """Its answers pass as they are."""
        return False

    def sent(self, piece: bytes) -> bytes:
        """Nothing after the line that says the transcript is done."""
        if not self.streams or not self._sent_done:
            self._sent_done = _DONE in piece
            return piece
        return b"" if not piece.startswith(b"data: [DONE]") else piece

    def bill(self, prices: Prices, usage: Usage | None, pieces: Sequence[bytes], said: str) -> Bill:  # noqa: ARG002
        """By the answer's bytes."""
        fee = speech_fee(b"".join(pieces), prices.input_price, prices.output_price, stream=self.streams)
        return Bill(fee.input_fee, fee.output_fee, fee.units, fee.how)


TRADES: Final[dict[str, type[Trade]]] = {
    "/chat/completions": Trade,
    "/embeddings": EmbeddingTrade,
    "/images/generations": ImageTrade,
    "/images/edits": EditTrade,
    "/audio/transcriptions": SpeechTrade,
}
PATHS: Final = {
    "chatbot": "/chat/completions",
    "embedding": "/embeddings",
    "text-to-image": "/images/generations",
    "image-editing": "/images/edits",
    "speech-to-text": "/audio/transcriptions",
}
"""Where each type of service is asked for."""


def trade_of(path: str, spec: ProviderSpec, body: bytes, document: Any, content_type: str) -> Trade:
    """The trade of a request.

    Raises:
        NotPreparedError: It cannot be one of this path.
    """
    return TRADES[path](path, spec, body, document, content_type)


def prepared_media(trade: Trade, body: bytes, *, model: str, on_mismatch: Any) -> Prepared:
    """A request for images or a transcript, hashed as it came.

    Raises:
        NotPreparedError: another model, or not a request at all.
    """
    form = None
    if boundary_in(trade.content_type) is not None:
        try:
            form = read_form(body)
        except InvalidRequestError as error:
            raise NotPreparedError(str(error)) from None
    if form is not None:
        asked: Any = form.one("model")
    elif isinstance(trade.document, dict):
        asked = trade.document.get("model")
    else:
        raise NotPreparedError("enforce configured model: failed to parse JSON body")
    if asked is not None and asked != model:
        on_mismatch()
        raise NotPreparedError(
            f"enforce configured model: model not supported: requested {go_quote(str(asked))}, "
            f"accepted: [{go_quote(model)}]"
        )
    return Prepared(body)


def images_in(body: bytes, *, most: int) -> list[bytes] | None:
    """The images of an answer, as the provider decodes them; None where it cannot."""
    try:
        document = gojson.loads_keeping_numbers(body)
    except ValueError:
        return None
    entries = document.get("data") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > most:
        return None
    images = []
    for entry in entries:
        text = entry.get("b64_json") if isinstance(entry, dict) else None
        if not isinstance(text, str) or not text:
            return None
        try:
            image = base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(image) > _BIGGEST:
            return None
        images.append(image)
    return images


def with_urls(body: bytes, place: str, count: int) -> bytes:
    """The answer with an address for every image, and little else."""
    document = gojson.loads_keeping_numbers(body)
    entries = []
    for number in range(count):
        entry = {"url": f"{place}/{number}"}
        if isinstance(document["data"][number].get("revised_prompt"), str):
            entry["revised_prompt"] = document["data"][number]["revised_prompt"]
        entries.append(entry)
    return gojson.dumps({"created": document.get("created"), "data": entries}, escape_html=False)
