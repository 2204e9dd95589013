"""Prompts that cannot fit into a context window: known without the tokenizer, before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["check_fits", "least_tokens", "too_long"]

# The longest tokens of public vocabularies stand for 128 characters (runs of one sign).
_LONGEST = 128
_SHORTEN = "shorten the messages, or choose a model with a larger context"


def least_tokens(texts: Iterable[str]) -> int:
    """A number of tokens that `texts` have at least, whatever the tokenizer.

    Tokenizers in use do not merge words across the space between them, so each word is a token or more. A text in a
    script without spaces counts for little: better a bound that is too low than a prompt refused that would fit.

    Example:
        >>> least_tokens(["What is a receipt?", "x" * 300])
        6
    """
    return sum(max(1, len(word) // _LONGEST) for text in texts for word in text.split())


def check_fits(payload: Mapping[str, Any], window: int, model: str) -> None:
    """Refuse a chat request whose messages alone have more tokens than the context window.

    Args:
        payload: The request, OpenAI-shaped.
        window: Tokens that prompt and answer may have together.
        model: Name of the model, for the message.

    Raises:
        RequestError: they have (code ``context_length_exceeded``); nothing was sent. ``details`` has both numbers,
            ``context_window`` and ``prompt_tokens``, the latter at least as many.

    Example:
        >>> check_fits({"messages": [{"role": "user", "content": "two words"}]}, 2, "m")
    """
    texts = list(_texts(payload))
    if sum(map(len, texts)) <= window:
        return  # no text has more words than characters
    least = least_tokens(texts)
    if least > window:
        raise too_long(
            f"the prompt has at least {least} tokens, the context window of {model!r} has {window} tokens",
            window,
            least,
            hint="shorten the messages, or choose a model with a larger context; context_window= says it otherwise",
        )


def too_long(said: str, window: int | None, prompt: int | None, *, hint: str = "", **details: Any) -> RequestError:
    """The error for a prompt that does not fit; a number that is not known is None.

    Example:
        >>> too_long("too long", 10, 11).details
        {'context_window': 10, 'prompt_tokens': 11}
    """
    if not hint:
        fits = prompt is not None and window is not None and prompt <= window
        hint = "lower max_tokens: it does not fit beside the messages" if fits else _SHORTEN
    return RequestError(
        said, code="context_length_exceeded", hint=hint, context_window=window, prompt_tokens=prompt, **details
    )


def _texts(payload: Mapping[str, Any]) -> Iterator[str]:
    for message in payload.get("messages") or ():
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        for part in parts:
            text = part.get("text") if part.get("type") == "text" else None
            if not isinstance(text, str):
                continue
            # Chat templates leave out what an assistant thought in earlier turns.
            yield text.rpartition("</think>")[2] if message.get("role") == "assistant" else text
