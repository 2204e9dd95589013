"""`ZeroGEmbedding`: LlamaIndex's embeddings on 0G."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr

from llama_index_zerog._fields import LlamaIndexFields
from llama_index_zerog._index_check import check_lengths, check_same, stored_samples
from llama_index_zerog.instrumentation import get_zerog_receipts
from zg_core.errors import ConfigError, VerificationFailed, VerificationUnavailable
from zg_core.frameworks.arguments import reject_unknown
from zg_core.http.transport import run
from zg_core.media.embeddings import embedded
from zg_core.tasks import parameters
from zg_core.tasks.base import EMBEDDINGS
from zg_core.tasks.embeddings import payload_of
from zg_core.verify.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llama_index.core.indices.base import BaseIndex
    from llama_index.core.schema import BaseNode

    from zg_core.media.embeddings import Embeddings
    from zg_core.receipts.model import Receipt

__all__ = ["ZeroGEmbedding"]


DEFAULT_NAME = "unknown"  # LlamaIndex's, where none is said
_PATIENCE = 60.0  # seconds for the verdict on vectors that are going to be kept


class ZeroGEmbedding(LlamaIndexFields, BaseEmbedding):
    """Embeddings on 0G: made in trusted hardware, paid on chain, every request with a receipt.

    Services of type ``"embedding"`` sign their answers as chat services do (0g-direct §8), so `verify` and the like
    mean the same as for `ZeroG`. ``ZEROG_PROVIDER`` and ``ZEROG_MODEL`` name a chat service and are not read here.

    One object makes vectors of one provider's one model: vectors of two models cannot be compared, so an answer from
    another one is refused. LlamaIndex writes into an index neither which model made it nor shows the index to the
    model, so an index that was loaded again is compared by `check_index` only; without that, one made with a model of
    the same vector length answers, and finds the wrong texts.

    ```python
    from llama_index_zerog import ZeroGEmbedding

    vector = ZeroGEmbedding(model="local-embed-1", verify="require").get_text_embedding("What is a receipt?")
    ```
    """

    model: str | None = None
    """Name of the model; without it the provider's own."""
    provider: str | None = None
    """Address of the provider; without it one is chosen among the embedding services. With `routing`, vectors may come
    from every provider of `model` that it allows."""
    dimensions: int | None = Field(default=None, ge=1)
    """Length of the vectors, where the model can choose."""

    embed_batch_size: int = Field(default=256, gt=0, le=2048)
    """Most texts in one request: providers allow a wallet 30 requests a minute."""

    _service_type: ClassVar[str | None] = EMBEDDINGS.service_type
    _of_requests: ClassVar[frozenset[str]] = parameters.EMBEDDINGS

    _made_by: tuple[str, str, int] | None = PrivateAttr(default=None)

    def __init__(self, *model: str, **values: Any) -> None:
        """As its twins, it takes `model_name` for `model`; LlamaIndex has a field of that name, which says less."""
        name = values.get("model_name")
        if not model and values.get("model") is None and name not in (None, DEFAULT_NAME):
            values = {**values, "model": name}
        super().__init__(*model, **values)

    @classmethod
    def class_name(cls) -> str:
        """How LlamaIndex calls it."""
        return "ZeroGEmbedding"

    def model_post_init(self, context: Any, /) -> None:
        """Show the model's name where LlamaIndex looks for it."""
        super().model_post_init(context)
        if self.model is not None:
            self.__dict__["model_name"] = self.model

    def check_index(self, index: BaseIndex[Any], *, samples: int = 3, least: float = 0.95) -> None:
        """Refuse an index that another model made: call it on an index that you load, before the first query.

        Texts of the index are embedded anew, in one paid request, and compared with the vectors stored for them; none
        is sent where the lengths of the vectors tell.

        What it cannot see: vectors that lie between the samples, of an index mixed in a part; models whose vectors are
        nearly the same, such as two versions of one; and indexes in vector stores that do not give vectors back, which
        is an error of its own.

        Args:
            index: A ``VectorStoreIndex`` on LlamaIndex's own vector store. An empty one is accepted.
            samples: Most texts to compare; the first and the last of the index are among them.
            least: The least cosine between a stored vector and the one made now. Not 1: other hardware rounds
                otherwise.

        Raises:
            ConfigError: another model made it (code ``mixed_embeddings``), or its vectors cannot be read
                (``index_not_readable``).
            ZeroGError: the request failed; see `zg_core.errors`.

        Example:
            ```python
            index = load_index_from_storage(StorageContext.from_defaults(persist_dir="store"), embed_model=embedding)
            embedding.check_index(index)
            ```
        """
        if texts := self._to_compare(index, samples):
            self._compare(self._made(texts), index, samples, least)

    async def acheck_index(self, index: BaseIndex[Any], *, samples: int = 3, least: float = 0.95) -> None:
        """Async twin of `check_index`."""
        if texts := self._to_compare(index, samples):
            self._compare(await self._amade(texts), index, samples, least)

    def _to_compare(self, index: BaseIndex[Any], samples: int) -> list[str]:
        if samples < 1:
            raise ConfigError("samples must be 1 or more", code="bad_samples")
        texts, _, lengths = stored_samples(index, samples)
        check_lengths(lengths, self._made_by[2] if self._made_by else self.dimensions)
        return texts

    def _compare(self, made: Embeddings, index: BaseIndex[Any], samples: int, least: float) -> None:
        _, stored, lengths = stored_samples(index, samples)
        check_lengths(lengths, made.dimensions, made.receipt)
        check_same(stored, self._vectors(made), least, made.receipt)

    def _payload(self, texts: list[str]) -> dict[str, Any]:
        return {**payload_of(texts, self.model, self.dimensions), **self.additional_kwargs}

    def _made(self, texts: list[str]) -> Embeddings:
        return run(embedded(self._client().calls, self._payload(texts), len(texts)))

    async def _amade(self, texts: list[str]) -> Embeddings:
        return await embedded(self._async_client().calls, self._payload(texts), len(texts))

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        made = self._made(texts)
        if self.embeddings_cache is not None:
            made.receipt.resolve(_PATIENCE)
            _check_before_kept(made.receipt)
        return self._vectors(made)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        made = await self._amade(texts)
        if self.embeddings_cache is not None:
            await made.receipt.aresolve(_PATIENCE)
            _check_before_kept(made.receipt)
        return self._vectors(made)

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Embed the nodes of a pipeline, which may keep them: their checks are waited for.

        Args:
            nodes: The nodes.
            kwargs: Of the pipeline, for all its steps; of them `show_progress` means something here.

        Raises:
            VerificationFailed: the evidence contradicts the vectors.
        """
        with get_zerog_receipts() as receipts:
            made = super().__call__(nodes, show_progress=kwargs.get("show_progress", False))
        for receipt in receipts:
            receipt.resolve(_PATIENCE)
            _check_before_kept(receipt)
        return made

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Async twin of `__call__`."""
        with get_zerog_receipts() as receipts:
            made = await super().acall(nodes, show_progress=kwargs.get("show_progress", False))
        for receipt in receipts:
            await receipt.aresolve(_PATIENCE)
            _check_before_kept(receipt)
        return made

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await self._aget_text_embedding(query)

    def _vectors(self, made: Embeddings) -> list[list[float]]:
        vectors = list(made)
        source = made.receipt.provider if self.routing is None else "the providers that routing allows"
        made_by = (source, made.receipt.model, made.dimensions)
        if self._made_by is None:
            self._made_by = made_by
        if made_by != self._made_by or any(len(vector) != made_by[2] for vector in vectors):
            provider, model, length = self._made_by
            raise ConfigError(
                f"vectors of two models do not go into one index: those before came from {model!r} of {provider} with "
                f"{length} numbers, these from {made_by[1]!r} of {made_by[0]} with {made_by[2]}",
                code="mixed_embeddings",
                hint="name the model and provider, and make the index anew with them",
                receipt=made.receipt,
            )
        return vectors


def _refuse(model: ZeroGEmbedding, kwargs: dict[str, Any]) -> None:
    advice = "say it where the model is made: settings by name, request parameters in additional_kwargs={…}"
    reject_unknown(f"a call of {type(model).__name__}", kwargs, ("texts", "show_progress"), advice=advice)


# LlamaIndex drops further arguments without a word, once its spans have been told of them.


@functools.wraps(BaseEmbedding.get_text_embedding_batch)
def _batch(self: ZeroGEmbedding, texts: list[str], show_progress: bool = False, **kwargs: Any) -> list[list[float]]:
    _refuse(self, kwargs)
    return BaseEmbedding.get_text_embedding_batch(self, texts, show_progress)


@functools.wraps(BaseEmbedding.aget_text_embedding_batch)
async def _abatch(
    self: ZeroGEmbedding, texts: list[str], show_progress: bool = False, **kwargs: Any
) -> list[list[float]]:
    _refuse(self, kwargs)
    return await BaseEmbedding.aget_text_embedding_batch(self, texts, show_progress)


for _name, _method in (("get_text_embedding_batch", _batch), ("aget_text_embedding_batch", _abatch)):
    setattr(ZeroGEmbedding, _name, _method)  # not in the class, which makes spans of all its methods


def _check_before_kept(receipt: Receipt) -> None:
    """Refuse vectors that a cache would serve for ever, where the background check failed or is not over.

    Raises:
        VerificationFailed: it failed.
        VerificationUnavailable: it is not over.
    """
    if receipt.verdict.status is Status.FAILED:
        raise VerificationFailed(
            f"do not trust these vectors of {receipt.provider}: {receipt.verdict.explain()}",
            code=str(receipt.verdict.reason),
            hint="use another provider, and keep the receipt (error.receipt)",
            receipt=receipt,
        )
    if receipt.verdict.status is Status.PENDING:
        raise VerificationUnavailable(
            f"the check of these vectors of {receipt.provider} did not end within {_PATIENCE:.0f} s",
            code="pending",
            hint="try again, or let the model check by itself: ZeroGEmbedding(verify='require')",
            receipt=receipt,
        )
