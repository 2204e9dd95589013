"""Embeddings by rule: hashed words and letter groups as a vector of length one; similar texts are near."""

import base64
import hashlib
import math
import re
import struct
from functools import lru_cache
from typing import Any, Final

from zg_core.localnet.model.json import compact_json
from zg_core.localnet.model.request import parse_body
from zg_core.localnet.model.tokens import count_tokens
from zg_core.localnet.model.values import InvalidRequestError, read_integer, read_string, wrong_type
from zg_core.localnet.model.words import STOP_WORDS, stem

DIMENSIONS: Final = 256
"""Length of a vector unless the request asks for another."""
MAX_DIMENSIONS: Final = 4096
MAX_BATCH: Final = 2048
"""Most texts in one request."""
MAX_INPUT_TOKENS: Final = 8192
"""Most tokens in one text."""

_PARAMETERS: Final = frozenset({"input", "model", "encoding_format", "dimensions", "user"})
_WORD: Final = re.compile(r"\w+")


def embed(body: bytes) -> bytes:
    """Answer an `/embeddings` request.

    Raises:
        InvalidRequestError: The request is malformed, too large, or gives token ids instead of text.
    """
    data = parse_body(body)
    for name in data:
        if name not in _PARAMETERS:
            raise InvalidRequestError(f"Unrecognized request argument supplied: {name}", name, "unknown_parameter")
    model = read_string(data, "model", required=True)
    texts = _read_input(data)
    encoding = data.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise InvalidRequestError(
            f"Invalid value: {encoding!r}. Supported values are: 'float' and 'base64'.",
            "encoding_format",
            "invalid_value",
        )
    dimensions = read_integer(data, "dimensions", minimum=1, maximum=MAX_DIMENSIONS) or DIMENSIONS
    entries = []
    for index, text in enumerate(texts):
        packed = struct.pack(f"<{dimensions}f", *vector(text, dimensions))
        embedding: Any = list(struct.unpack(f"<{dimensions}f", packed))
        if encoding == "base64":
            embedding = base64.b64encode(packed).decode()
        entries.append({"object": "embedding", "index": index, "embedding": embedding})
    tokens = sum(map(count_tokens, texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return compact_json({"object": "list", "data": entries, "model": model, "usage": usage}).encode()


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """The embedding of `text`: its word stems and their letter groups, hashed, weighted, scaled to length one."""
    weights: dict[str, float] = {}
    for word in _WORD.findall(text.lower()):
        root = stem(word)
        weights[root] = weights.get(root, 0.0) + (0.1 if word in STOP_WORDS else 1.0)
    values = [0.0] * dimensions
    for root, weight in weights.items():
        strength = math.sqrt(weight)
        _add(values, root, strength)
        for start in range(len(root) - 2):
            _add(values, f"#{root[start : start + 3]}", strength * 0.15)
    length = math.sqrt(sum(value * value for value in values))
    if length < 1e-9:  # no words, or hashes that cancel out
        _add(values, f"={text}", length := 1.0)
    return [value / length for value in values]


def _add(values: list[float], feature: str, weight: float) -> None:
    place, sign = _hashed(feature)
    values[place % len(values)] += sign * weight


@lru_cache(maxsize=65536)
def _hashed(feature: str) -> tuple[int, int]:
    digest = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest())
    return digest >> 1, 1 if digest & 1 else -1


def _read_input(data: dict[str, Any]) -> list[str]:
    if "input" not in data:
        raise InvalidRequestError("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    value = data["input"]
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise wrong_type("input", "a string or an array of strings", value)
    if not all(isinstance(text, str) for text in texts):
        raise InvalidRequestError("Invalid 'input': token ids are not supported, send text.", "input", "invalid_type")
    if len(texts) > MAX_BATCH:
        raise InvalidRequestError(
            f"Invalid 'input': array too long. Expected an array with maximum length {MAX_BATCH}, "
            f"but got an array with length {len(texts)} instead.",
            "input",
            "array_above_max_length",
        )
    for text in texts:
        if not text:
            raise InvalidRequestError("Invalid 'input': input cannot be an empty string.", "input", "empty_string")
        if count_tokens(text) > MAX_INPUT_TOKENS:
            raise InvalidRequestError(
                f"This model's maximum context length is {MAX_INPUT_TOKENS} tokens for each input.",
                "input",
                "context_length_exceeded",
            )
    return texts
