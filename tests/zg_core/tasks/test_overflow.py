"""A prompt that is too long is known by the words of each server, with the sizes that they name; nothing else is."""

from __future__ import annotations

import json

import pytest

from zg_core.tasks.overflow import WORDINGS, overflow_in

SGLANG = (
    "Requested token count exceeds the model's maximum context length of 32768 tokens. You requested a total of 40000 "
    "tokens: 39000 tokens from the input messages and 1000 tokens for the completion."
)
SAID = [
    (
        "maximum context length is 16384 tokens. However, you requested 122946 tokens (112946 in the messages, 10000 …",
        16384,
        112946,
    ),
    ("This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens.", 4096, 5000),
    (
        "You passed 40000 input tokens and requested 1 output token. However, the model's context length is only 32768",
        32768,
        40000,
    ),
    ("The decoder prompt (length 5951) is longer than the maximum model length of 4096. Make sure that …", 4096, 5951),
    ("This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.", 4096, 5000),
    (
        "This endpoint's maximum context length is 131072 tokens. However, you requested about 150000 tokens.",
        131072,
        150000,
    ),
    ("Your input exceeds the context window of this model. Please adjust your input and try again.", None, None),
    (
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 509178 tokens.",
        272000,
        509178,
    ),
    ("The input (40321 tokens) is longer than the model's context length (32768 tokens).", 32768, 40321),
    (SGLANG, 32768, 39000),
    ("Input length (265330 tokens) exceeds the maximum allowed length (262144 tokens).", 262144, 265330),
    ("Input length (265330) exceeds model's maximum context length (262144).", 262144, 265330),
    ("request (1407 tokens) exceeds the available context size (256 tokens), try increasing it", 256, 1407),
    ("the request exceeds the available context size. try increasing the context size", None, None),
    ("Requested tokens (516) exceed context window of 512", 512, 516),
    ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 100 …", 4096, 5000),
    ("Input validation error: `inputs` must have less than 1024 tokens. Given: 1300", 1024, 1300),
    ("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]", 30720, None),
    ("prompt is too long: 205000 tokens > 200000 maximum", 200000, 205000),
    ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, …", 200000, 190000),
    ("The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).", 1048575, 1196265),
    ("The input token count exceeds the maximum number of tokens allowed 1048576.", 1048576, None),
    ("This model's maximum prompt length is 131072 but the request contains 537812 tokens.", 131072, 537812),
    (
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        32768,
        40000,
    ),
    ("input length exceeds the context length", None, None),
    ("The number of tokens to keep from the initial prompt is greater than the context length", None, None),
    ("Invalid request: Your request exceeded model token limit: 131072 (requested: 140000)", 131072, 140000),
    ("model_context_window_exceeded", None, None),
    ("invalid params, context window exceeds limit (2013)", 2013, None),
    ("Input is too long for requested model.", None, None),
    ("Please reduce the length of the messages or completion.", None, None),
    ("This model's maximum context length is 4,096 tokens", 4096, None),
    ("context_length_exceeded: 9000 tokens", None, None),
]


@pytest.mark.parametrize(("said", "window", "prompt"), SAID, ids=[f"{n}" for n in range(len(SAID))])
def test_the_words_of_each_server_are_known(said: str, window: int | None, prompt: int | None) -> None:
    assert overflow_in(said) == (window, prompt)
    assert overflow_in(f"Error code: 400 - {said.upper()}\n") == (window, prompt)


def test_every_wording_is_somebodys() -> None:
    first = [next(w for w in WORDINGS if w.pattern.search(said)) for said, _, _ in SAID]
    assert [w.server for w in WORDINGS if w not in first] == ["Mistral"], "one row for each wording"
    assert all(wording.source for wording in WORDINGS)


def test_sizes_that_stand_beside_the_message_are_read() -> None:
    error = {"message": "the request exceeds the available context size", "n_prompt_tokens": 1407, "n_ctx": 256}
    for body in ({"error": error}, error):
        assert overflow_in(str(error["message"]), json.dumps(body).encode()) == (256, 1407)
    assert overflow_in("", json.dumps({"error": {"code": "context_length_exceeded"}}).encode()) == (None, None)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "max_tokens must be at least 1, got 0",
        "Rate limit exceeded: 10000 tokens per minute",
        "model not supported",
        "validate session: session token expired",
        "insufficient balance",
        "too many requests",
        "the context of this tool call is missing",
        "tokens",
        "string too long: messages[0].name has 65 characters",
    ],
)
def test_nothing_else_is_an_overflow(said: str) -> None:
    assert overflow_in(said) is None
