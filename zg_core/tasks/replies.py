"""OpenAI-shaped replies and deltas as servers send them: each part may be missing, or of another form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["as_delta", "content_text", "error_in", "first_choice", "reasoning_of"]

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


def error_in(said: Mapping[str, Any]) -> str:
    """The words of an error that a reply or event carries, "" if it carries none; an empty error is none.

    Upstreams and gateways put it beside the choices or into one, or send it instead, with or without ``error``.

    Example:
        >>> error_in({"choices": [], "error": {"message": "gone", "code": 502}}), error_in({"error": {}, "choices": []})
        ('gone', '')
    """
    if words := _words(said.get("error")):
        return words
    choices = said.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        if words := _words(choice.get("error")):
            return words
        if choice.get("finish_reason") == "error":
            return "the answer ends with finish_reason 'error'"
    if said.get("object") == "error" or (not choices and "data" not in said and _is_code(said.get("code"))):
        return _words(said.get("message"))
    return ""


def _words(error: Any) -> str:
    if isinstance(error, dict):
        if not any(error.values()):
            return ""
        message = error.get("message")
        return message if isinstance(message, str) and message else json.dumps(error, ensure_ascii=False)
    return str(error) if error else ""


def _is_code(code: Any) -> bool:
    return isinstance(code, str | int) and code not in ("", 0, 200, "200", False, True)


def as_delta(choice: dict[str, Any]) -> Any:
    """What a choice says, as a stream has it: some servers say ``message`` there, too.

    Example:
        >>> choice = {"index": 0, "message": {"content": "a"}}
        >>> as_delta(choice), choice
        ({'content': 'a'}, {'index': 0, 'delta': {'content': 'a'}})
    """
    choice["delta"] = delta = choice.pop("message")
    return delta


def reasoning_of(said: Mapping[str, Any]) -> str:
    """What a message or delta says of its reasoning, under either name; "" if it says nothing.

    Example:
        >>> reasoning_of({"reasoning_content": None, "reasoning": "because"})
        'because'
    """
    return next((text for name in _REASONING if isinstance(text := said.get(name), str) and text), "")
