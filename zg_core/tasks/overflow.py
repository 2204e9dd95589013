"""What servers say of a prompt that is longer than the model's context: one row for each wording of the field.

Sizes are read where a wording has them. Rows are tried in their order; the last ones are what gateways and servers of
no name make of the others' words.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from zg_core.jsontext import parse_json

__all__ = ["WORDINGS", "Overflow", "Wording", "overflow_in"]


class Overflow(NamedTuple):
    """What a refusal says; None for what it does not."""

    window: int | None
    prompt: int | None


class Wording(NamedTuple):
    """One way to say it.

    Attributes:
        server: Whose words these are.
        pattern: Finds them, and the sizes as groups ``w`` (window) and ``p`` (prompt).
        source: Where they are from.
    """

    server: str
    pattern: re.Pattern[str]
    source: str


def _of(server: str, pattern: str, source: str) -> Wording:
    pattern = pattern.replace("<w>", r"(?P<w>\d[\d,]*)").replace("<p>", r"(?P<p>\d[\d,]*)")
    return Wording(server, re.compile(pattern, re.IGNORECASE | re.DOTALL), source)


_VLLM = "https://github.com/vllm-project/vllm"
_SGLANG = "https://github.com/sgl-project/sglang"
_LLAMA = "https://github.com/ggml-org/llama.cpp/pull/15780"
_TGI = "https://github.com/huggingface/text-generation-inference, router/src/validation.rs"
_OPENAI = "https://platform.openai.com/docs/guides/error-codes"
_FIELD = "reports of users"

WORDINGS: tuple[Wording, ...] = (
    _of(
        "vLLM",
        r"context length is <w> tokens\D{1,60}requested \d+ tokens \(<p> in the messages",
        f"{_VLLM}/issues/20409",
    ),
    _of(
        "vLLM",
        r"context length is (?:only )?<w> tokens\D{1,80}?"
        r"(?:prompt contains|request has|at least) (?:at least )?<p> input tokens",
        f"{_VLLM}/issues/33418",
    ),
    _of("vLLM", r"you passed <p> input tokens.{1,120}?context length is (?:only )?<w>", f"{_VLLM}/issues/33418"),
    _of("vLLM", r"prompt \(length <p>\) is longer than the maximum model length of <w>", _VLLM),
    _of(
        "OpenAI",
        r"maximum context length is <w> tokens\D{1,60}(?:resulted in|requested)(?: about)? <p> tokens",
        _OPENAI,
    ),
    _of("OpenAI", r"input exceeds the context window of this model", _OPENAI),
    _of("OpenAI", r"input tokens exceed the configured limit of <w> tokens\D{1,40}resulted in <p> tokens", _OPENAI),
    _of("SGLang", r"the input \(<p> tokens\) is longer than the model's context length \(<w> tokens\)", _SGLANG),
    _of(
        "SGLang",
        r"token count exceeds the model's maximum context length of <w> tokens\. you requested a "
        r"total of \d+ tokens: <p> tokens from the input",
        _SGLANG,
    ),
    _of(
        "SGLang",
        r"input length(?: \(<p>(?: tokens)?\))? exceeds (?:the |model's )?maximum (?:allowed|context) length "
        r"\(?<w>",
        _SGLANG,
    ),
    _of("llama.cpp", r"request \(<p> tokens\) exceeds the available context size \(<w> tokens\)", _LLAMA),
    _of("llama.cpp", r"exceeds? the available context size|exceed_context_size_error", _LLAMA),
    _of(
        "llama-cpp-python",
        r"requested tokens \(<p>\) exceed context window of <w>",
        "https://github.com/abetlen/llama-cpp-python/issues/416",
    ),
    _of("TGI", r"`inputs` tokens \+ `max_new_tokens` must be <= <w>\. given: <p> `inputs` tokens", _TGI),
    _of("TGI", r"`inputs` must have less than <w> tokens\. given: <p>", _TGI),
    _of(
        "DashScope",
        r"range of input length should be \[\d+, ?<w>\]",
        "https://www.alibabacloud.com/help/en/model-studio/error-code",
    ),
    _of(
        "Anthropic",
        r"(?:prompt|input) is too long: <p> tokens > <w> maximum",
        "https://docs.anthropic.com/en/api/errors",
    ),
    _of(
        "Anthropic",
        r"input length and `max_tokens` exceed context limit: <p> \+ \d+ > <w>",
        "https://docs.anthropic.com/en/api/errors",
    ),
    _of(
        "Gemini",
        r"input token count(?: \(<p>\))? exceeds the maximum number of tokens allowed(?: \(?<w>)?",
        "https://ai.google.dev/gemini-api/docs/troubleshooting",
    ),
    _of("xAI", r"maximum prompt length is <w> but the request contains <p> tokens", _FIELD),
    _of("Mistral", r"prompt contains <p> tokens.{1,80}?too large for model with <w> maximum context length", _FIELD),
    _of("Mistral", r"too large for model with <w> maximum context length", _FIELD),
    _of(
        "Ollama",
        r"input length exceeds (?:the )?context length|prompt too long; exceeded (?:max )?context length",
        _FIELD,
    ),
    _of("LM Studio", r"greater than the context length", _FIELD),
    _of("Moonshot", r"exceeded model token limit: <w>(?: \(requested: <p>\))?", _FIELD),
    _of("Z.ai", r"model_context_window_exceeded|prompt exceeds max(?:imum)? length", _FIELD),
    _of("MiniMax", r"context window exceeds limit(?: \(<w>\))?", _FIELD),
    _of("Bedrock", r"(?:input|prompt) is too long for (?:the )?requested model", _FIELD),
    _of("Groq", r"reduce the length of the messages or completion", _FIELD),
    _of(
        "any",
        r"maximum context length (?:is|of) (?:only )?<w>"
        r"(?:\D{1,80}?(?:resulted in|requested|has|have|of|contains?)\s+(?:about\s+)?<p>\s+tokens)?",
        _OPENAI,
    ),
    _of(
        "any",
        r"context_length_exceeded|context[ _]length[ _]exceeded|maximum context length|token count exceeds|"
        r"exceeds? the (?:model's )?context (?:window|length|size)|longer than the model's context|"
        r"(?:prompt|input) is too long|contextwindowexceedederror",
        "0g-direct §4.6, and gateways",
    ),
)


def overflow_in(text: str, body: bytes = b"") -> Overflow | None:
    """What a server's words say of a prompt that is too long; None if they say something else.

    Args:
        text: Its message.
        body: The whole answer: some name the sizes beside the message (llama.cpp: ``n_ctx``, ``n_prompt_tokens``).

    Example:
        >>> overflow_in("The input (40321 tokens) is longer than the model's context length (32768 tokens).")
        Overflow(window=32768, prompt=40321)
        >>> overflow_in("'max_tokens' must be at least 1") is None
        True
    """
    whole = text if len(text) >= len(body) else f"{text}\n{body[:10_000].decode('utf-8', 'replace')}"
    for wording in WORDINGS:
        if (found := wording.pattern.search(whole)) is not None:
            sizes = found.groupdict()
            window, prompt = _number(sizes.get("w")), _number(sizes.get("p"))
            beside = _beside(body) if window is None or prompt is None else {}
            return Overflow(window or beside.get("n_ctx"), prompt or beside.get("n_prompt_tokens"))
    return None


def _number(text: str | None) -> int | None:
    digits = (text or "").replace(",", "")
    return int(digits) if 0 < len(digits) < 16 else None


def _beside(body: bytes) -> dict[str, int]:
    """Sizes that stand beside the message."""
    try:
        said = parse_json(body)
    except (ValueError, RecursionError):
        return {}
    inside = said.get("error") if isinstance(said, dict) else None
    places = [place for place in (said, inside) if isinstance(place, dict)]
    return {
        name: value
        for place in places
        for name in ("n_ctx", "n_prompt_tokens")
        if isinstance(value := place.get(name), int) and not isinstance(value, bool) and value > 0
    }
