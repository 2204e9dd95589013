"""`ZeroGEmbeddings`: LangChain's embeddings on 0G."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.embeddings import Embeddings
from pydantic import AliasChoices, Field

from langchain_zerog._bridge import scope, sink_of
from langchain_zerog._errors import model_errors
from langchain_zerog._fields import LangChainFields
from zg_core.http.transport import run
from zg_core.media.embeddings import embedded
from zg_core.tasks import parameters
from zg_core.tasks.base import EMBEDDINGS
from zg_core.tasks.embeddings import payload_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ZeroGEmbeddings"]


class ZeroGEmbeddings(LangChainFields, Embeddings):
    """Embeddings on 0G: made in trusted hardware, paid on chain, every request with a receipt.

    Services of type ``"embedding"`` sign their answers as chat services do (0g-direct §8), so a vector is as proven as
    a reply: `verify`, `minimum` and `kinds` mean the same as for `ChatZeroG`, as do keys, network and environment.
    ``ZEROG_PROVIDER`` and ``ZEROG_MODEL`` name a chat service and are not read here.

    LangChain has no callbacks for embeddings; `get_zerog_receipts` and `on_receipt` hear of the receipts.

    Args:
        model: Name of the model; without it the provider's own.
        provider: Address of the provider; without it one is chosen among the embedding services.
        routing: How each request's provider is chosen among those that serve `model` (`zg_core.Routing`).
        dimensions: Length of the vectors, where the model can choose.
        batch_size: Most texts in one request.

    Raises:
        TypeError: an argument that nobody reads, or a setting among the request parameters.
        ConfigError: nothing was sent; a setting is missing or malformed.
        BudgetExceeded: nothing was sent; it could cost more than the budget has left.
        RequestError: the provider refused or failed, or answered other than one vector for each text.
        VerificationFailed: the evidence contradicts the vectors.
        VerificationUnavailable: the policy asks for more than could be proven.

    Example:
        ```python
        from langchain_zerog import ZeroGEmbeddings

        embeddings = ZeroGEmbeddings(model="local-embed-1", verify="require")
        vector = embeddings.embed_query("What is a receipt?")
        vectors = embeddings.embed_documents(["one text", "another"])
        ```
    """

    model: str | None = Field(default=None, validation_alias=AliasChoices("model", "model_name"))
    """Name of the model; without it the provider's own."""
    provider: str | None = None
    """Address of the provider; without it one is chosen among the embedding services."""
    dimensions: int | None = Field(default=None, ge=1)
    """Length of the vectors; the model's own if not given."""
    batch_size: int = Field(default=256, ge=1)
    """Most texts in one request."""
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further request parameters."""

    _service_type: ClassVar[str | None] = EMBEDDINGS.service_type
    _advice: ClassVar[str] = "other request parameters go into model_kwargs"
    _of_requests: ClassVar[frozenset[str]] = parameters.EMBEDDINGS
    _extra: ClassVar[tuple[str, ...]] = ("model_kwargs",)

    if TYPE_CHECKING:
        model_name: str | None = None  # another name of the argument `model`, for type checkers

    # calls

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text, in the same order; several requests if there are more than `batch_size`.

        Vectors paid for before a later request failed are lost to the caller; their receipts are not.
        """
        vectors: list[list[float]] = []
        for batch in self._batches(texts):
            with model_errors(), scope(sink_of(None)):
                vectors += run(embedded(self._client().calls, self._payload(batch), len(batch)))
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Async twin of `embed_documents`."""
        vectors: list[list[float]] = []
        for batch in self._batches(texts):
            with model_errors(), scope(sink_of(None)):
                vectors += await embedded(self._async_client().calls, self._payload(batch), len(batch))
        return vectors

    async def aembed_query(self, text: str) -> list[float]:
        """Async twin of `embed_query`."""
        return (await self.aembed_documents([text]))[0]

    def _batches(self, texts: list[str]) -> Iterator[list[str]]:
        texts = list(texts)
        for start in range(0, len(texts), self.batch_size):
            yield texts[start : start + self.batch_size]

    def _payload(self, texts: list[str]) -> dict[str, Any]:
        return payload_of(texts, self.model, self.dimensions) | self.model_kwargs
