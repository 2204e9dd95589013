"""From a response back to its receipt."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from zg_core.receipts.recent import receipt_in

if TYPE_CHECKING:
    from zg_core.receipts.model import Receipt

__all__ = ["note", "receipt_of"]

# Structured answers are of the user's classes, of which many cannot be hashed: kept by identity, while they live.
_NOTED: dict[int, tuple[weakref.ref[Any], Receipt]] = {}


def note(answer: Any, receipt: Receipt | None) -> None:
    """Remember which call made a structured answer."""
    if receipt is None:
        return
    key = id(answer)
    try:
        _NOTED[key] = weakref.ref(answer, lambda _: _NOTED.pop(key, None)), receipt
    except TypeError:  # of a class with slots: nothing can be remembered of it
        return


def receipt_of(response: Any) -> Receipt | Any:
    """The receipt of the call that made `response`.

    It is the live object: with ``verify="background"`` its verdict arrives later, and ``receipt.resolve()`` waits.

    Args:
        response: A ``ChatResponse`` or ``CompletionResponse`` of `ZeroG`, the last one of a stream, a structured answer
            (the object, or a response that holds it), or an agent's output, whose ``raw`` holds the same facts.

    Returns:
        The receipt, or None where there is none (``Any`` spares a check where there must be one): another model's
        response, one from the middle of a stream, or one older than the newest 2,048 calls of this process.

    Example:
        >>> from llama_index.core.llms import ChatMessage, ChatResponse
        >>> receipt_of(ChatResponse(message=ChatMessage("hello"))) is None
        True
    """
    places = [getattr(response, name, None) for name in ("additional_kwargs", "raw", "response")]
    for place in (response, *places):
        noted = _NOTED.get(id(place))
        if noted is not None and noted[0]() is place:
            return noted[1]
    return next((found for place in places if (found := receipt_in(place)) is not None), None)
