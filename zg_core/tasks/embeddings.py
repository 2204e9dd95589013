"""What embeddings are on the wire: requests, and answers with one vector for each text."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zg_core.calls.call import Reply

__all__ = ["asked_for", "payload_of", "vectors_of"]

_FORMS = ("float", "base64")


def payload_of(texts: Sequence[str], model: str | None, dimensions: int | None) -> dict[str, Any]:
    """The request for the vectors of `texts`."""
    payload: dict[str, Any] = {} if model is None else {"model": model}
    payload |= {"input": list(texts), "encoding_format": "float"}
    if dimensions is not None:
        payload["dimensions"] = dimensions
    return payload


def asked_for(
    texts: Any, *, model: str | None, dimensions: int | None, form: str, more: Mapping[str, Any]
) -> tuple[dict[str, Any], int]:
    """The request for the vectors of what a caller gave, and how many there will be.

    Raises:
        ConfigError: nothing was sent; there is nothing to embed, or it is neither text nor tokens, or the length or
            form of the vectors is none (code ``bad_request_body``).

    Example:
        >>> asked_for("a", model="m", dimensions=None, form="float", more={})
        ({'model': 'm', 'input': ['a'], 'encoding_format': 'float'}, 1)
    """
    given = [texts] if isinstance(texts, str) else texts
    if not isinstance(given, list | tuple):
        raise _bad(f"what is to be embedded is a {type(texts).__name__}", "give a text, or a list of texts")
    if given and all(map(_is_token, given)):  # the tokens of one text
        given = [given]
    for number, one in enumerate(given):
        tokens = isinstance(one, list | tuple) and bool(one) and all(map(_is_token, one))
        if not (tokens or (isinstance(one, str) and one)):
            what = "is empty" if one in ("", [], ()) else f"is a {type(one).__name__}, no text"
            raise _bad(f"text {number} {what}", "leave it out, or give a text or a list of token ids")
    if not given:
        raise _bad("there is no text to embed", "give a text, or a list of texts")
    if dimensions is not None and not (
        isinstance(dimensions, int) and not isinstance(dimensions, bool) and dimensions > 0
    ):
        raise _bad(f"dimensions is {dimensions!r}", "give a whole number from 1, or leave it to the model")
    if form not in _FORMS:
        raise _bad(f"encoding_format is {form!r}", f"vectors come as {' or '.join(_FORMS)}")
    return {**payload_of(given, model, dimensions), "encoding_format": form, **more}, len(given)


def _bad(message: str, hint: str) -> ConfigError:
    return ConfigError(f"{message}; nothing was sent", code="bad_request_body", hint=hint)


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def vectors_of(reply: Reply, count: int) -> list[list[float]]:
    """The vectors of an answer, in the order of the texts: numbers, or base64 of little-endian float32 (services §5).

    Raises:
        RequestError: it does not hold one for each text.
    """
    data = reply.body.get("data")
    entries = data if isinstance(data, list) else []
    by_index: dict[int, list[float]] = {}
    for entry in entries:
        index, vector = (entry.get("index"), entry.get("embedding")) if isinstance(entry, dict) else (None, None)
        if isinstance(vector, str):
            vector = _floats(vector)
        if isinstance(index, int) and isinstance(vector, list) and vector and all(map(_is_number, vector)):
            by_index[index] = [float(value) for value in vector]
    if len(entries) != count or sorted(by_index) != list(range(count)):
        raise RequestError(
            f"the answer does not hold one vector for each of {count} texts",
            code="malformed_reply",
            hint="choose another provider; the receipt is in error.receipt",
            receipt=reply.receipt,
        )
    return [by_index[index] for index in range(count)]


def _floats(text: str) -> list[float]:
    try:
        data = base64.b64decode(text, validate=True)
        return [each for (each,) in struct.iter_unpack("<f", data)]
    except (binascii.Error, ValueError, struct.error):
        return []


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
