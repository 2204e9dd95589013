"""Completions: the answers of a chat, as LlamaIndex's older calls have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index.core.base.llms.types import CompletionResponse

if TYPE_CHECKING:
    from llama_index.core.base.llms.types import (
        ChatResponse,
        ChatResponseAsyncGen,
        ChatResponseGen,
        CompletionResponseAsyncGen,
        CompletionResponseGen,
    )

__all__ = ["acompletions_of", "completion_of", "completions_of"]


def completion_of(response: ChatResponse) -> CompletionResponse:
    """The same answer."""
    return CompletionResponse(
        text=response.message.content or "",
        additional_kwargs={**response.message.additional_kwargs, **response.additional_kwargs},
        raw=response.raw,
        logprobs=response.logprobs,
        delta=response.delta,
    )


def completions_of(responses: ChatResponseGen) -> CompletionResponseGen:
    """The same stream."""
    return (completion_of(response) for response in responses)


def acompletions_of(responses: ChatResponseAsyncGen) -> CompletionResponseAsyncGen:
    """Async twin of `completions_of`."""

    async def made() -> CompletionResponseAsyncGen:
        async for response in responses:
            yield completion_of(response)

    return made()
