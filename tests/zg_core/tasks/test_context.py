"""Prompts that cannot fit: the bound is sure, the error has both numbers, and the provider's words are read as well."""

from __future__ import annotations

from typing import Any

import pytest

from zg_core.errors import RequestError
from zg_core.localnet.model.tokens import count_tokens
from zg_core.tasks.context import check_fits, least_tokens

TEXTS = [
    "What is a receipt?",
    "",
    "   \n\t ",
    "word " * 500,
    "=" * 1000,
    "日本語の文章には空白がない。" * 50,
    "def f(x):\n        return x  # eight spaces before",
    "https://example.org/" + "a/" * 400,
    "héllo 日本 😀 " * 30,
]


@pytest.mark.parametrize("text", TEXTS)
def test_it_is_never_more_than_a_tokenizer_counts(text: str) -> None:
    assert least_tokens([text]) <= count_tokens(text)


@pytest.mark.parametrize("text", TEXTS)
def test_it_is_never_more_than_a_vocabulary_of_100_000_tokens_counts(text: str) -> None:
    utils = pytest.importorskip("llama_index.core.utils")  # brings one along
    assert least_tokens([text]) <= len(utils.get_tokenizer()(text))


def payload(*contents: Any, role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for content in contents]}


@pytest.mark.parametrize(
    "asked",
    [
        payload("word " * 11),
        payload("word " * 6, "word " * 5),
        payload([{"type": "text", "text": "word " * 11}, {"type": "image_url", "image_url": {"url": "data:"}}]),
        payload("word " * 11, role="assistant"),
        payload("word " * 11, role="tool"),
    ],
    ids=["one message", "two messages", "parts", "assistant", "tool"],
)
def test_a_prompt_beyond_the_window_is_refused_with_both_numbers(asked: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        check_fits(asked, 10, "m")
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.details == {"context_window": 10, "prompt_tokens": 11}
    assert not caught.value.retryable
    assert "11 tokens" in str(caught.value)
    assert "10 tokens" in str(caught.value)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        payload("word " * 10),
        payload("x" * 1000),  # one word: how many tokens it has depends on the tokenizer
        payload(None, "hi"),
        payload([{"type": "image_url", "image_url": {"url": "word " * 50}}]),
        payload("<think>" + "word " * 50 + "</think> yes", role="assistant"),
    ],
    ids=["nothing", "just as much", "one long word", "no content", "an image", "thoughts of an earlier turn"],
)
def test_what_may_fit_is_not_refused(asked: dict[str, Any]) -> None:
    check_fits(asked, 10, "m")
