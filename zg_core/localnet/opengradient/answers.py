"""Answers in the form of OpenGradient's gateways, made of OpenAI-shaped ones (opengradient §2.6, §2.8)."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.localnet.model.upstream import UpstreamReply
from zg_core.localnet.opengradient.hashing import signed_call
from zg_core.localnet.opengradient.settings import IMAGE_MODELS, vendor_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from zg_core.localnet.model.upstream import Upstream

# What a gateway reads of a request; it ignores everything else, `tool_choice` and `stop` among it.
_READ = ("model", "messages", "temperature", "max_tokens", "tools", "response_format")
_FRAGMENTS = ("google", "x-ai")  # whose tool calls come in pieces
_MOST_TOKENS = 4096


@dataclass(slots=True)
class Said:
    """What a model said.

    Attributes:
        text: Its text.
        calls: Its tool calls.
        finish: Why it ended.
        usage: What it counted.
        images: Pictures, as data URIs; they are not signed.
    """

    text: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish: str = "stop"
    usage: dict[str, Any] | None = None
    images: list[str] = field(default_factory=list)

    @property
    def message(self) -> dict[str, Any]:
        """It as a message."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.calls:
            message["tool_calls"] = self.calls
        if self.images:
            message["images"] = [{"type": "image_url", "image_url": {"url": each}} for each in self.images]
        return message


class Refused(Exception):
    """The vendor refuses a request, with this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def upstream_request(body: dict[str, Any], *, stream: bool) -> bytes:
    """What the vendor is asked."""
    if vendor_of(body["model"]) == "anthropic" and (body.get("response_format") or {}).get("type") == "json_object":
        raise Refused(400, "json_object is not supported by this vendor")
    asked = {name: body[name] for name in _READ if body.get(name) is not None}
    asked.setdefault("max_tokens", _MOST_TOKENS)
    if stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(asked).encode()


async def whole(upstream: Upstream, body: dict[str, Any]) -> Said:
    """The whole answer.

    Raises:
        Refused: the vendor refuses.
    """
    reply = await upstream.complete("/chat/completions", upstream_request(body, stream=False))
    said = json.loads(reply.body)
    if reply.status != 200:
        raise _refused(reply)
    choice = said["choices"][0]
    message = choice["message"]
    calls = [signed_call(call) for call in message.get("tool_calls") or ()]
    found = Said(message.get("content") or "", calls, choice["finish_reason"], said.get("usage"))
    if body["model"] in IMAGE_MODELS:
        found.images = [picture(found.text)]
    return found


async def pieces(upstream: Upstream, body: dict[str, Any], said: Said) -> AsyncIterator[dict[str, Any]]:
    """The answer as deltas; what they come to is left in `said`.

    Raises:
        Refused: the vendor refuses, before the first.
    """
    if body.get("response_format"):  # such requests are not streamed behind a gateway
        found = await whole(upstream, body)
        said.text, said.calls, said.finish, said.usage = found.text, found.calls, found.finish, found.usage
        if said.text:
            yield {"content": said.text, "role": "assistant"}
        if said.calls:
            yield {"role": "assistant", "tool_calls": _indexed(said.calls)}
        return
    fragments = vendor_of(body["model"]) in _FRAGMENTS
    async for event in upstream.stream("/chat/completions", upstream_request(body, stream=True)):
        if isinstance(event, UpstreamReply):
            raise _refused(event)
        data = event.removeprefix(b"data: ").strip()
        if data == b"[DONE]" or not data:
            continue
        chunk = json.loads(data)
        said.usage = chunk.get("usage") or said.usage
        for choice in chunk["choices"][:1]:
            said.finish = choice.get("finish_reason") or said.finish
            delta = choice["delta"]
            if delta.get("content"):
                said.text += delta["content"]
                yield {"content": delta["content"], "role": "assistant"}
            for call in delta.get("tool_calls") or ():
                _gather(said.calls, call)
                if fragments:
                    yield {"role": "assistant", "tool_calls": [call]}
    if said.calls and not fragments:
        for call in _indexed(said.calls):
            yield {"role": "assistant", "tool_calls": [call]}


def _gather(calls: list[dict[str, Any]], call: dict[str, Any]) -> None:
    index = call["index"]
    while len(calls) <= index:
        calls.append({"id": None, "type": "function", "function": {"name": None, "arguments": ""}})
    into, function = calls[index], call.get("function") or {}
    into["id"] = into["id"] or call.get("id")
    into["function"]["name"] = into["function"]["name"] or function.get("name")
    into["function"]["arguments"] += function.get("arguments") or ""


def _indexed(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"index": index, **call} for index, call in enumerate(calls)]


def _refused(reply: UpstreamReply) -> Refused:
    try:
        error = json.loads(reply.body)["error"]
        message = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        message = "the vendor refused"
    return Refused(reply.status, message)


def picture(text: str) -> str:
    """A picture of one colour that follows from `text`: a PNG of 8 by 8 points, as a data URI."""
    colour = zlib.crc32(text.encode()).to_bytes(4, "big")[:3]
    rows = b"".join(b"\x00" + colour * 8 for _ in range(8))

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode()
