"""`EmbeddingClient` and `AsyncEmbeddingClient`: texts as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, overload

from zg_core.client import AsyncChatClient, ChatClient, options_of
from zg_core.http.transport import run
from zg_core.shown.tracebacks import forgetful
from zg_core.tasks.base import EMBEDDINGS
from zg_core.tasks.embeddings import asked_for, vectors_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.calls.call import Options
    from zg_core.calls.path import Calls
    from zg_core.http.timeouts import Patience
    from zg_core.receipts.model import Receipt

__all__ = ["AsyncEmbeddingClient", "EmbeddingClient", "Embeddings", "embedded"]


class Embeddings(Sequence[list[float]]):
    """The vectors of one answer, in the order of the texts, and its receipt.

    Attributes:
        receipt: The record of the call, verdict included.
        body: The answer as the provider sent it, parsed.

    Example:
        >>> Embeddings([[0.5, 1.0]], None, {})[0], Embeddings([[0.5, 1.0]], None, {}).dimensions
        ([0.5, 1.0], 2)
    """

    def __init__(self, vectors: Sequence[list[float]], receipt: Receipt, body: Mapping[str, Any]) -> None:
        self._vectors = tuple(vectors)
        self.receipt = receipt
        self.body = body

    @property
    def dimensions(self) -> int:
        """Length of each vector."""
        return len(self._vectors[0])

    @overload
    def __getitem__(self, index: int) -> list[float]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[list[float]]: ...
    def __getitem__(self, index: int | slice) -> list[float] | Sequence[list[float]]:
        return self._vectors[index]

    def __len__(self) -> int:
        return len(self._vectors)

    def __repr__(self) -> str:
        return f"Embeddings({len(self)} x {self.dimensions}, verdict={str(self.receipt.verdict)!r})"

    def _repr_html_(self) -> str:
        return f"<p>{len(self)} vectors of {self.dimensions} numbers</p>" + self.receipt._repr_html_()


async def embedded(calls: Calls, payload: Mapping[str, Any], count: int, options: Options | None = None) -> Embeddings:
    """Ask for the vectors of `count` texts.

    Raises:
        RequestError: the answer does not hold one for each; it is paid, ``error.receipt`` is its receipt.
    """
    reply = await calls.create(payload, EMBEDDINGS.path, options)
    return Embeddings(vectors_of(reply, count), reply.receipt, reply.body)


@forgetful
class EmbeddingClient(ChatClient):
    """Makes vectors of texts; blocking. Settings are those of `ChatClient`, as of `ImageClient`.

    Example:
        >>> client = EmbeddingClient(model="m", private_key="0x" + "22" * 32, environ={})
        >>> client.task.path
        '/embeddings'
        >>> client.close()
    """

    _service_type: ClassVar[str] = EMBEDDINGS.service_type

    def embed(
        self,
        texts: str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]],
        *,
        model: str | None = None,
        dimensions: int | None = None,
        encoding_format: str = "float",
        timeout: Patience = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Embeddings:
        """One vector for each text, in one request. It costs the input price for each token of the texts.

        Args:
            texts: A text, a list of texts, or their token ids.
            model: Instead of the client's. Vectors of two models cannot be compared.
            dimensions: Length of the vectors, where the model can choose.
            encoding_format: How they travel: ``"float"``; or ``"base64"``, as 32-bit numbers.
            timeout: Instead of the client's.
            headers: Beside the client's.
            more: Further parameters of the model.

        Raises:
            ConfigError: nothing was sent; there is no text, one is empty, or `dimensions` is no length (code
                ``bad_request_body``), or the service is of another type (``wrong_service``).
            RequestError: the answer does not hold one vector for each text (``malformed_reply``), though it is paid.
            ZeroGError: as `ChatClient.create`.
        """
        payload, count = asked_for(texts, model=model, dimensions=dimensions, form=encoding_format, more=more)
        return run(embedded(self.calls, payload, count, options_of(timeout, headers)))


@forgetful
class AsyncEmbeddingClient(AsyncChatClient):
    """Async twin of `EmbeddingClient`."""

    _service_type: ClassVar[str] = EMBEDDINGS.service_type

    async def embed(
        self,
        texts: str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]],
        *,
        model: str | None = None,
        dimensions: int | None = None,
        encoding_format: str = "float",
        timeout: Patience = None,  # noqa: ASYNC109 - as of `EmbeddingClient`
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Embeddings:
        """See `EmbeddingClient.embed`."""
        payload, count = asked_for(texts, model=model, dimensions=dimensions, form=encoding_format, more=more)
        return await embedded(self.calls, payload, count, options_of(timeout, headers))
