"""What a gateway hashes and signs (opengradient §3.1), written for the local network alone."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from zg_core.localnet.base.keys import keccak256

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


def hashed_request(body: dict[str, Any], *, older: bool = False) -> bytes:
    """The hash of a request.

    Args:
        body: The request as it came.
        older: Whether attachments are hashed as gateways of April 2026 do: the list as Python prints it.
    """
    signed: dict[str, Any] = {"model": body["model"], "temperature": float(body.get("temperature") or 0.0)}
    if body.get("max_tokens") is not None:
        signed["max_tokens"] = body["max_tokens"]
    if "prompt" in body:
        signed["prompt"] = body["prompt"]
    else:
        signed["messages"] = [_signed_message(message, older=older) for message in body["messages"]]
        for name in ("tools", "response_format"):
            if body.get(name):
                signed[name] = body[name]
        if body.get("web_search") is True and not older:
            signed["web_search"] = True
    if body.get("stop"):
        signed["stop"] = body["stop"]
    return keccak256(json.dumps(signed, sort_keys=True).encode())


def _signed_message(message: dict[str, Any], *, older: bool) -> dict[str, Any]:
    role, content = message["role"], message.get("content")
    if role == "user":
        if isinstance(content, list):
            content = str(content) if older else [_signed_part(part) for part in content]
        return {"role": "user", "content": content}
    if role in ("system", "developer"):
        return {"role": "system", "content": content}
    if role == "tool":
        return {"role": "tool", "content": content, "tool_call_id": message.get("tool_call_id")}
    if role == "function":
        return {"role": "function", "content": content, "name": message.get("name")}
    signed: dict[str, Any] = {"role": role, "content": content or ""}
    if message.get("tool_calls"):
        signed["tool_calls"] = [signed_call(call) for call in message["tool_calls"]]
    return signed


def _signed_part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    name = part.get("filename") or (part.get("file") or {}).get("filename")
    return {"type": part["type"], "filename": name} if name else {"type": part["type"]}


def signed_call(call: dict[str, Any]) -> dict[str, Any]:
    """A tool call as it is signed."""
    function = call["function"]
    return {
        "id": call["id"],
        "type": call["type"],
        "function": {"name": function["name"], "arguments": function["arguments"]},
    }


def hashed_output(text: str, calls: list[dict[str, Any]], finish_reason: str) -> bytes:
    """The hash of an answer: its tool calls where it ends with them, else its text."""
    if finish_reason == "tool_calls":
        text = json.dumps([signed_call(call) for call in calls], sort_keys=True)
    return keccak256(text.encode())


def signature_over(key: RSAPrivateKey, request: bytes, output: bytes, timestamp: int) -> str:
    """The signature over two hashes and a time, in Base64."""
    message = keccak256(request + output + timestamp.to_bytes(32, "big"))
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    return base64.b64encode(key.sign(message, pss, hashes.SHA256())).decode()
