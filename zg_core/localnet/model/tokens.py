"""Counting and cutting text into tokens, deterministically and offline.

The local network bills by tokens, so a count must be the same on every machine and for every caller. The rule is a
regular expression, close in size to what common tokenizers give for English (about four letters a token).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from zg_core.localnet.model.json import compact_json

if TYPE_CHECKING:
    from zg_core.localnet.model.values import Message

_CJK: Final = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TOKEN: Final = re.compile(rf" ?[^\W\d_{_CJK}]{{1,12}}| ?\d{{1,3}}|\s{{1,16}}|.", re.DOTALL)

MESSAGE_TOKENS: Final = 4
"""Tokens every message costs besides its text: role and separators."""
REPLY_TOKENS: Final = 3
"""Tokens every prompt costs once: the opening of the answer."""
IMAGE_TOKENS: Final = 85
"""Tokens an image costs, whatever its size."""
MEDIA_BYTES_PER_TOKEN: Final = 1024
"""How many bytes of audio or of a file make one token."""


def split_tokens(text: str) -> list[str]:
    """Cut `text` into tokens; joined again they are `text`, character for character."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """Number of tokens in `text`: deterministic, no download, no model-specific vocabulary."""
    return sum(1 for _ in _TOKEN.finditer(text))


def count_message(message: "Message") -> int:
    """Tokens of one message, attachments and tool calls included."""
    tokens = MESSAGE_TOKENS + count_tokens(message.text)
    if message.name:
        tokens += count_tokens(message.name)
    for call in message.tool_calls:
        tokens += count_tokens(call.name) + count_tokens(call.arguments)
    for media in message.media:
        tokens += IMAGE_TOKENS if media.kind == "image" else 1 + media.size // MEDIA_BYTES_PER_TOKEN
    return tokens


def count_prompt(
    messages: Iterable["Message"],
    tools: Sequence[Mapping[str, Any]] = (),
    response_format: Mapping[str, Any] | None = None,
) -> int:
    """Tokens of a whole prompt: the sum over its messages, its tools and its answer format, plus a constant."""
    tokens = REPLY_TOKENS + sum(count_message(message) for message in messages)
    if tools:
        tokens += count_tokens(compact_json(tools))
    if response_format:
        tokens += count_tokens(compact_json(response_format))
    return tokens
