"""Reading the messages of a chat request: roles, content parts, and tool results that answer tool calls."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from zg_core.localnet.model.values import (
    InvalidRequestError,
    Media,
    Message,
    ToolCall,
    read_object,
    read_string,
    wrong_type,
)

_ROLES: Final[Mapping[str, Literal["system", "user", "assistant", "tool"]]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_PART_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "system": ("text",),
    "user": ("text", "image_url", "input_audio", "file"),
    "assistant": ("text", "refusal"),
    "tool": ("text", "image_url", "input_audio", "file"),
}
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w.+-]+=[^;,]*)*;base64,", re.ASCII)
_AUDIO_FORMATS: Final = ("wav", "mp3", "flac", "m4a", "ogg", "opus", "aac", "webm", "pcm16")


def read_messages(value: Any, *, draws: bool = False) -> tuple[Message, ...]:
    """Check the `messages` of a chat request.

    Args:
        value: The messages.
        draws: Whether the model's own messages may hold images.

    Raises:
        InvalidRequestError: A message is malformed, or tool calls and tool results do not match.
    """
    if not isinstance(value, list):
        raise wrong_type("messages", "an array of objects", value)
    if not value:
        raise InvalidRequestError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "messages",
            "empty_array",
        )
    messages = tuple(_read_message(entry, f"messages[{index}]", draws) for index, entry in enumerate(value))
    _match_tool_results(messages)
    return messages


def _read_message(value: Any, param: str, draws: bool) -> Message:
    entry = read_object(value, param)
    role = _ROLES.get(role_name) if isinstance(role_name := entry.get("role"), str) else None
    if role is None:
        raise InvalidRequestError(
            f"Invalid value: {role_name!r}. Supported values are: 'system', 'assistant', 'user', 'tool', "
            "and 'developer'.",
            f"{param}.role",
            "invalid_value",
        )
    calls = _read_tool_calls(entry, role, f"{param}.tool_calls")
    content = entry.get("content")
    may_be_empty = role == "assistant" and (calls or entry.get("refusal"))
    if content is None and not may_be_empty:
        raise InvalidRequestError(
            f"Invalid value for 'content': expected a string, got null. [{param}.content]",
            f"{param}.content",
            "invalid_type",
        )
    kinds = (*_PART_TYPES[role], "image_url") if draws and role == "assistant" else _PART_TYPES[role]
    text, media = _read_content(content, kinds, f"{param}.content")
    if draws and role == "assistant" and entry.get("images"):  # beside the content, as its answers have them
        media += _read_content(entry["images"], ("image_url",), f"{param}.images")[1]
    if role == "assistant" and not text:
        text = str(entry.get("refusal") or "")
    call_id = read_string(entry, "tool_call_id", required=True) if role == "tool" else None
    return Message(role, text, read_string(entry, "name"), media, calls, call_id)


def _read_content(content: Any, kinds: tuple[str, ...], param: str) -> tuple[str, tuple[Media, ...]]:
    if content is None:
        return "", ()
    if isinstance(content, str):
        return content, ()
    if not isinstance(content, list):
        raise wrong_type(param, "one of a string or array of objects", content)
    texts: list[str] = []
    media: list[Media] = []
    for index, value in enumerate(content):
        place = f"{param}[{index}]"
        part = read_object(value, place)
        kind = part.get("type")
        if not isinstance(kind, str) or kind not in kinds:
            allowed = ", ".join(f"'{name}'" for name in kinds)
            raise InvalidRequestError(
                f"Invalid value: {kind!r}. Supported values are: {allowed}.", f"{place}.type", "invalid_value"
            )
        if kind in ("text", "refusal"):
            if not isinstance(text := part.get(kind), str):
                raise wrong_type(f"{place}.{kind}", "a string", text)
            texts.append(text)
        else:
            media.append(_read_media(kind, read_object(part.get(kind), f"{place}.{kind}"), f"{place}.{kind}"))
    return "\n".join(texts), tuple(media)


def _read_media(kind: str, entry: Mapping[str, Any], param: str) -> Media:
    if kind == "image_url":
        return _read_image(entry, param)
    if kind == "input_audio":
        audio_format = entry.get("format")
        if audio_format not in _AUDIO_FORMATS:
            raise InvalidRequestError(
                f"Invalid value: {audio_format!r}. Supported values are: {', '.join(map(repr, _AUDIO_FORMATS))}.",
                f"{param}.format",
                "invalid_value",
            )
        return _decoded("audio", f"audio/{audio_format}", entry.get("data"), f"{param}.data")
    if isinstance(entry.get("file_id"), str):
        return Media("file", "application/octet-stream", 0, entry["file_id"])
    media_type, payload = _split_data_url(entry.get("file_data"), f"{param}.file_data")
    return _decoded("file", media_type, payload, f"{param}.file_data")


def _read_image(entry: Mapping[str, Any], param: str) -> Media:
    if entry.get("detail") not in (None, "auto", "low", "high"):
        raise InvalidRequestError(
            f"Invalid value: {entry['detail']!r}. Supported values are: 'low', 'high', and 'auto'.",
            f"{param}.detail",
            "invalid_value",
        )
    url = entry.get("url")
    if isinstance(url, str) and url.startswith("https://"):
        # Never fetched: the local network does not leave the machine.
        return Media("image", "image/*", 0, hashlib.sha256(url.encode()).hexdigest()[:12])
    media_type, payload = _split_data_url(url, f"{param}.url")
    if not media_type.startswith("image/"):
        raise InvalidRequestError(f"Invalid MIME type '{media_type}': expected an image.", f"{param}.url")
    return _decoded("image", media_type, payload, f"{param}.url")


def _split_data_url(url: Any, param: str) -> tuple[str, str]:
    if not isinstance(url, str):
        raise wrong_type(param, "a string", url)
    if (match := _DATA_URL.match(url)) is None:
        raise InvalidRequestError(
            f"Invalid '{param}': expected a base64-encoded data URL with a MIME type or an https URL.",
            param,
            "invalid_value",
        )
    return match.group(1), url[match.end() :]


def _decoded(kind: Literal["image", "audio", "file"], media_type: str, payload: Any, param: str) -> Media:
    if not isinstance(payload, str):
        raise wrong_type(param, "a string", payload)
    try:
        content = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestError(f"Invalid base64 data in '{param}'.", param, "invalid_base64") from error
    return Media(kind, media_type, len(content), hashlib.sha256(content).hexdigest()[:12])


def _read_tool_calls(entry: Mapping[str, Any], role: str, param: str) -> tuple[ToolCall, ...]:
    value = entry.get("tool_calls")
    if value is None:
        return ()
    if role != "assistant":
        raise InvalidRequestError(f"'{param}' is only allowed in messages with role 'assistant'.", param)
    if not isinstance(value, list):
        raise wrong_type(param, "an array of objects", value)
    if not value:
        raise InvalidRequestError(
            f"Invalid '{param}': empty array. Expected an array with minimum length 1.", param, "empty_array"
        )
    return tuple(_read_tool_call(item, f"{param}[{index}]") for index, item in enumerate(value))


def _read_tool_call(value: Any, param: str) -> ToolCall:
    entry = read_object(value, param)
    if entry.get("type", "function") != "function":
        raise InvalidRequestError(
            f"Invalid value: {entry['type']!r}. Supported values are: 'function'.",
            f"{param}.type",
            "invalid_value",
        )
    function = read_object(entry.get("function"), f"{param}.function")
    for place, text in (
        ("id", entry.get("id")),
        ("function.name", function.get("name")),
        ("function.arguments", function.get("arguments")),
    ):
        if not isinstance(text, str):
            raise wrong_type(f"{param}.{place}", "a string", text)
    if not entry["id"]:
        raise InvalidRequestError(f"Invalid '{param}.id': empty string.", f"{param}.id", "empty_string")
    return ToolCall(entry["id"], function["name"], function["arguments"])


def _match_tool_results(messages: tuple[Message, ...]) -> None:
    """Every tool call needs exactly one result right after it, and every result a call."""
    open_ids: list[str] = []
    for index, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in open_ids:
                raise InvalidRequestError(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding message "
                    f"with 'tool_calls'. No open tool call has the id {message.tool_call_id!r}.",
                    f"messages[{index}].tool_call_id",
                )
            open_ids.remove(message.tool_call_id)
            continue
        _refuse_open(open_ids, index)
        open_ids = [call.id for call in message.tool_calls]
        if len(set(open_ids)) < len(open_ids):
            raise InvalidRequestError(
                "Invalid parameter: tool call ids must be unique within a message.",
                f"messages[{index}].tool_calls",
                "invalid_value",
            )
    _refuse_open(open_ids, len(messages))


def _refuse_open(open_ids: list[str], index: int) -> None:
    if open_ids:
        raise InvalidRequestError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(open_ids)}",
            f"messages[{index}].role",
        )
