"""A request in the words that gateways understand (opengradient §2.2, §2.8), without what they would ignore.

What is signed is the request as it is sent here, so that every change is made before, and none of them in secret.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from zg_core.backends.opengradient.models import vendor_of, wire_name
from zg_core.backends.opengradient.options import MODES
from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["IGNORED", "LEAST_TOKENS", "mode_of", "worded"]

logger = logging.getLogger(__name__)

LEAST_TOKENS = 4096
"""What gateways take where a request names no limit."""
IGNORED = frozenset(
    {
        "audio", "frequency_penalty", "logit_bias", "logprobs", "metadata", "modalities", "n", "parallel_tool_calls",
        "prediction", "presence_penalty", "prompt_cache_key", "reasoning_effort", "safety_identifier", "seed",
        "service_tier", "store", "stream_options", "top_logprobs", "top_p", "user", "verbosity",
    }
)  # fmt: skip
"""Parameters that gateways read nothing of; they are left out, with a line in the log."""
_SENT = (
    "model", "messages", "max_tokens", "temperature", "stop", "tools", "tool_choice", "response_format", "stream",
    "web_search", "resolution",
)  # fmt: skip


def mode_of(payload: Mapping[str, Any], default: str) -> str:
    """What is published of the answer: ``settlement`` of the payload, which is not sent in the body, or `default`.

    Raises:
        ConfigError: it is none of `MODES` (code ``bad_opengradient``).

    Example:
        >>> mode_of({"settlement": "private"}, "batch"), mode_of({}, "batch")
        ('private', 'batch')
    """
    said = payload.get("settlement")
    if said is None:
        return default
    if said not in MODES:
        message = f"settlement is {str(said)[:40]!r}; nothing was sent"
        raise ConfigError(message, code="bad_opengradient", hint=f"use one of {', '.join(MODES)}")
    return str(said)


def worded(payload: Mapping[str, Any], model: str) -> dict[str, Any]:
    """`payload` for `model`, as it is sent.

    Raises:
        ConfigError: it asks for what no gateway can do (code ``not_supported``).

    Example:
        >>> asked = {"messages": [{"role": "developer", "content": "Be brief."}], "max_completion_tokens": 9}
        >>> sent = worded(asked, "openai/gpt-5")
        >>> sent["model"], sent["messages"][0]["role"], sent["max_tokens"]
        ('gpt-5', 'system', 9)
    """
    named = payload.get("model") or model
    sent: dict[str, Any] = {"model": wire_name(str(named))}
    tokens = payload.get("max_tokens")
    if tokens is None:
        tokens = payload.get("max_completion_tokens")
    for name, value in payload.items():
        if name in _SENT and name not in sent and value is not None:
            sent[name] = value
    sent["max_tokens"] = LEAST_TOKENS if tokens is None else tokens
    if isinstance(sent.get("messages"), list):
        sent["messages"] = [_message(each) for each in sent["messages"]]
    if isinstance(sent.get("stop"), str):
        sent["stop"] = [sent["stop"]]
    if sent.get("tool_choice") == "any":
        sent["tool_choice"] = "required"
    if sent.get("stream") is not True:
        sent.pop("stream", None)
    _check(sent, str(named), payload)
    if sent.get("stop"):
        logger.warning("OpenGradient's gateways sign `stop`, and do not stop there")
    left = sorted(name for name, value in payload.items() if name in IGNORED and value is not None)
    if left:
        logger.info("OpenGradient's gateways ignore %s: not sent", ", ".join(left))
    return sent


def _check(sent: Mapping[str, Any], named: str, payload: Mapping[str, Any]) -> None:
    count = payload.get("n")
    if count not in (None, 1):
        raise _unsupported(f"n={count!r}: a gateway gives one answer", "leave n out, and ask several times")
    form = sent.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "json_object" and vendor_of(named) == "anthropic":
        raise _unsupported("json_object with a model of Anthropic", "use tools or json_schema")
    for name in payload:
        if (
            name not in _SENT
            and name not in IGNORED
            and name not in ("max_completion_tokens", "functions", "settlement")
        ):
            logger.info("OpenGradient's gateways do not know %s: not sent", name)
    if payload.get("functions"):
        raise _unsupported("functions", "use tools")


def _message(message: Any) -> Any:
    """A message with the role and content that gateways take."""
    if not isinstance(message, dict):
        return message
    said = dict(message)
    if said.get("role") == "developer":
        said["role"] = "system"
    content = said.get("content")
    parts = content if isinstance(content, list) else ()
    texts = [
        str(each.get("text"))
        for each in parts
        if isinstance(each, dict) and each.get("type") == "text" and "text" in each
    ]
    # A list that is nothing but text: one is the same as itself, and only users may send several.
    if parts and len(texts) == len(parts) and (len(texts) == 1 or said.get("role") != "user"):
        said["content"] = "\n".join(texts)
    return said


def _unsupported(what: str, hint: str) -> ConfigError:
    return ConfigError(f"OpenGradient does not support {what}; nothing was sent", code="not_supported", hint=hint)
