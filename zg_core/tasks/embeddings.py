"""What embeddings are on the wire: requests, and answers with one vector for each text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from zg_core.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.calls.call import Reply

__all__ = ["payload_of", "vectors_of"]


def payload_of(texts: Sequence[str], model: str | None, dimensions: int | None) -> dict[str, Any]:
    """The request for the vectors of `texts`."""
    payload: dict[str, Any] = {} if model is None else {"model": model}
    payload |= {"input": list(texts), "encoding_format": "float"}
    if dimensions is not None:
        payload["dimensions"] = dimensions
    return payload


def vectors_of(reply: Reply, count: int) -> list[list[float]]:
    """The vectors of an answer, in the order of the texts.

    Raises:
        RequestError: it does not hold one for each text.
    """
    data = reply.body.get("data")
    entries = data if isinstance(data, list) else []
    by_index: dict[int, list[float]] = {}
    for entry in entries:
        index, vector = (entry.get("index"), entry.get("embedding")) if isinstance(entry, dict) else (None, None)
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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
