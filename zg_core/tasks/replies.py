"""OpenAI-shaped replies and deltas as servers send them: each part may be missing, or of another form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["content_text", "first_choice", "reasoning_of"]

_REASONING = ("reasoning_content", "reasoning")


def first_choice(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first choice of a reply or event; None where there is none.

    Example:
        >>> first_choice({"choices": [{"index": 0}]}), first_choice({"choices": None})
        ({'index': 0}, None)
    """
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else None


def content_text(content: Any) -> str:
    """Content as text; some servers send a list of parts where OpenAI sends a string.

    Example:
        >>> content_text([{"type": "text", "text": "a"}, "b"]), content_text(None)
        ('ab', '')
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def reasoning_of(said: Mapping[str, Any]) -> str:
    """What a message or delta says of its reasoning, under either name; "" if it says nothing.

    Example:
        >>> reasoning_of({"reasoning_content": None, "reasoning": "because"})
        'because'
    """
    return next((text for name in _REASONING if isinstance(text := said.get(name), str) and text), "")
