"""OpenAI-shaped replies and deltas as servers send them: each part may be missing, or of another form."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Beside",
    "Chosen",
    "as_delta",
    "beside_of",
    "content_text",
    "error_in",
    "first_choice",
    "image_url",
    "images_in_content",
    "reasoning_name",
    "reasoning_of",
    "thoughts_in",
    "usage_in",
]

_REASONING = ("reasoning_content", "reasoning")
_THOUGHTS = ("thinking", "reasoning", "reasoning_content", "redacted_thinking")
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


class Chosen:
    """Tells which choice of a stream's events is shown: the one that speaks first, when others come unasked."""

    __slots__ = ("_index",)

    def __init__(self) -> None:
        self._index: Any = None

    def of(self, event: Mapping[str, Any]) -> dict[str, Any] | None:
        """The shown choice of `event`; None where it is not there.

        Example:
            >>> chosen = Chosen()
            >>> [chosen.of({"choices": [{"index": n}]}) for n in (0, 1, 0)]
            [{'index': 0}, None, {'index': 0}]
        """
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                index = choice.get("index") or 0
                if self._index is None:
                    self._index = index
                if index == self._index:
                    return choice
        return None


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
        >>> content_text([{"type": "thinking", "text": "?"}, {"type": "text", "text": "a"}, "b"]), content_text(None)
        ('ab', '')
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content if not _is_thought(part)]
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


def usage_in(said: Mapping[str, Any]) -> dict[str, Any] | None:
    """The token counts that a reply or event says, wherever it says them; None where it says none.

    Example:
        >>> usage_in({"usage": {}}), usage_in({"x_groq": {"usage": {"prompt_tokens": 9}}})
        (None, {'prompt_tokens': 9})
    """
    elsewhere = said.get("x_groq")
    for usage in (said.get("usage"), elsewhere.get("usage") if isinstance(elsewhere, dict) else None):
        if isinstance(usage, dict) and any(usage.get(name) is not None for name in _COUNTS):
            return usage
    return None


def reasoning_of(said: Mapping[str, Any], *, named: bool = False) -> str:
    """What a message or delta says of its reasoning, wherever it says it; "" if it says nothing.

    Args:
        said: The message or delta.
        named: Whether earlier deltas had it under a name of its own: ``reasoning_details`` repeat it then.

    Example:
        >>> reasoning_of({"reasoning_content": None, "reasoning": "because"})
        'because'
        >>> reasoning_of({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "two"}]}]})
        'two'
    """
    for name in _REASONING:
        if (text := said.get(name)) and isinstance(text, str):
            return text
    if isinstance(content := said.get("content"), list) and (text := thoughts_in(content)):
        return text
    details = None if named else said.get("reasoning_details")
    texts = [_thought(detail) for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    return "".join(texts)


def reasoning_name(said: Mapping[str, Any]) -> str:
    """The name under which `reasoning_of` is found, and a server takes it back; "" where it has no name of its own."""
    return next((name for name in _REASONING if isinstance(text := said.get(name), str) and text), "")


def thoughts_in(content: list[Any]) -> str:
    """The reasoning among the parts of a content."""
    return "".join(_thought(part) for part in content if _is_thought(part))


def _is_thought(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in _THOUGHTS


def _thought(part: Mapping[str, Any]) -> str:
    for name in ("thinking", "reasoning", "text", "summary"):
        if text := content_text(part.get(name)):
            return text
    return ""


# What a message is known to say, which is shown in places of its own.
_KNOWN = frozenset({"role", "content", "tool_calls", "function_call", *_REASONING})
# Texts that come in pieces; of any other, the last one said holds.
_PIECES = frozenset({"text", "summary", "transcript", "data", "thinking", "refusal"})


def beside_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a message or delta says beside text, reasoning and calls: all of it was paid for.

    Parts of a content that are neither text nor reasoning are its ``images``, or its ``parts``.

    Example:
        >>> beside_of({"role": "assistant", "content": "a", "audio": {"data": "aGk="}, "refusal": None, "images": []})
        {'audio': {'data': 'aGk='}}
    """
    found = {name: value for name, value in said.items() if name not in _KNOWN and _says(value)}
    content = said.get("content")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and not _is_thought(part) and not isinstance(part.get("text"), str):
            place = "images" if isinstance(part.get("image_url"), dict | str) else "parts"
            held = found.get(place)
            found[place] = [*(held if isinstance(held, list) else []), part]
    return found


def images_in_content(said: Mapping[str, Any]) -> bool:
    """Whether a message or delta has images among the parts of its content: its server takes them back there.

    Example:
        >>> images_in_content({"content": [{"type": "image_url", "image_url": {"url": "https://a/i.png"}}]})
        True
    """
    content = said.get("content")
    return isinstance(content, list) and any(isinstance(part, dict) and image_url(part) for part in content)


def image_url(image: Any) -> str:
    """The address of an image, or its data as one; "" where there is none.

    Example:
        >>> image_url({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}})
        'data:image/png;base64,aGk='
    """
    place: Any = image.get("image_url", image.get("url")) if isinstance(image, dict) else image
    if isinstance(place, dict):
        place = place.get("url")
    return place if isinstance(place, str) else ""


class Beside:
    """What the deltas of a stream say beside text, reasoning and calls, put together.

    Lists grow, entries of one ``index`` are one entry, texts that come in pieces are joined.

    Example:
        >>> beside = Beside()
        >>> beside.take({"audio": {"id": "a", "transcript": "Hel"}})
        >>> beside.take({"audio": {"id": "a", "transcript": "lo"}})
        >>> beside.whole
        {'audio': {'id': 'a', 'transcript': 'Hello'}}
    """

    def __init__(self) -> None:
        self.whole: dict[str, Any] = {}

    def take(self, said: Mapping[str, Any]) -> None:
        """Add what one delta says (as `beside_of` gives it)."""
        for name, value in said.items():
            self.whole[name] = _joined(name, self.whole.get(name), value)


def _joined(name: str, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return left if right is None else right
    if isinstance(left, dict) and isinstance(right, dict):
        return {**left, **{key: _joined(key, left.get(key), value) for key, value in right.items()}}
    if isinstance(left, list) and isinstance(right, list):
        made = list(left)
        for entry in right:
            index = entry.get("index") if isinstance(entry, dict) else None
            places = [n for n, one in enumerate(made) if isinstance(one, dict) and one.get("index") == index]
            if index is None or not places:
                made.append(entry)
            else:
                made[places[0]] = _joined(name, made[places[0]], entry)
        return made
    if isinstance(left, str) and isinstance(right, str) and name in _PIECES:
        return _bytes_joined(left, right) if name == "data" and left.endswith("=") else left + right
    return right


def _bytes_joined(left: str, right: str) -> str:
    """Two pieces of base64, each padded by itself, as one."""
    try:
        return base64.b64encode(base64.b64decode(left, validate=True) + base64.b64decode(right, validate=True)).decode()
    except ValueError:
        return left + right


def _says(value: Any) -> bool:
    return value is not None and value not in ("", [], {})
