"""`ZeroGEmbeddings`: LangChain's embeddings on 0G."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from langchain_core.embeddings import Embeddings
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from langchain_zerog._bridge import Relay, scope, sink_of
from langchain_zerog._errors import as_model_error
from langchain_zerog._fields import ADVICE, ELSEWHERE
from zg_core.config import KEY_NAMES, Network
from zg_core.errors import ZeroGError
from zg_core.fieldtypes import Budget, Limits, Policy, Receipt, Routing, Timeouts, Wallet
from zg_core.frameworks.clients import Clients, OwnsClients
from zg_core.frameworks.fields import (
    client_settings,
    from_env,
    keep_what_was_passed,
    reject_unknown,
    secret_from_env,
)
from zg_core.tasks.base import EMBEDDINGS
from zg_core.tasks.embeddings import ENVIRONMENT, payload_of, vectors_of

if TYPE_CHECKING:
    from zg_core.client import AsyncChatClient, ChatClient

__all__ = ["ZeroGEmbeddings"]

# The fields that the clients take under another name, or not at all.
_OF_REQUESTS = ("dimensions", "batch_size", "model_kwargs", "limits", "on_receipt")


class ZeroGEmbeddings(OwnsClients, BaseModel, Embeddings):
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
    provider: str | None = None
    private_key: SecretStr | None = Field(default_factory=secret_from_env(*KEY_NAMES), exclude=True)
    api_key: SecretStr | None = Field(default_factory=secret_from_env("ZEROG_API_KEY"), exclude=True)
    wallet: Wallet | None = Field(default=None, exclude=True, repr=False)
    network: str | Network | None = Field(default_factory=from_env("ZEROG_NETWORK"))
    rpc_url: str | None = Field(default=None, exclude=True, repr=False)
    ledger: str | None = None
    inference: str | None = None
    verify: str | Policy | None = Field(default_factory=from_env("ZEROG_VERIFY"))
    minimum: str | None = None
    kinds: list[str] | None = None
    identity: str | None = None
    routing: Routing | None = None
    limits: Limits | str | None = "auto"
    budget: Budget | None = Field(default=None, exclude=True, repr=False)
    """The most that calls may cost, counted in `store`; beyond it they are refused before they are sent."""
    store: str | None = Field(default=None, exclude=True, repr=False)
    """URL of the store that keeps receipts and counts the budget; default ``ZEROG_STORE``, else memory."""
    timeout: float | Timeouts | None = None
    max_retries: int = Field(default=2, ge=0)
    retry_deadline: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    retry_unknown: bool = False
    ca_file: str | None = None
    allow_private_providers: bool | None = Field(default=None, exclude=True, repr=False)
    on_receipt: Callable[[Receipt], None] | None = Field(default=None, exclude=True, repr=False)
    on_verdict: Callable[[Receipt], None] | None = Field(default=None, exclude=True, repr=False)
    dimensions: int | None = Field(default=None, ge=1)
    """Length of the vectors; the model's own if not given."""
    batch_size: int = Field(default=256, ge=1)
    """Most texts in one request."""
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further request parameters."""

    _clients: Clients = PrivateAttr(default_factory=Clients)

    # Errors must not repeat the arguments: a key may be among them.
    model_config = ConfigDict(
        populate_by_name=True, protected_namespaces=(), hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known_arguments_only(cls, values: Any) -> Any:
        if isinstance(values, dict):
            known = {"model_name", *cls.model_fields}
            reject_unknown(cls.__name__, values, known, advice=ADVICE, elsewhere=ELSEWHERE)
        return values

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        keep_what_was_passed(self)
        return self

    # calls

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text, in the same order; several requests if there are more than `batch_size`.

        Vectors paid for before a later request failed are lost to the caller; their receipts are not.
        """
        vectors: list[list[float]] = []
        for batch in self._batches(texts):
            with _model_errors(), scope(sink_of(None)):
                reply = self._client().create(self._payload(batch), path=EMBEDDINGS.path)
                vectors += vectors_of(reply, len(batch))
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Async twin of `embed_documents`."""
        vectors: list[list[float]] = []
        for batch in self._batches(texts):
            with _model_errors(), scope(sink_of(None)):
                vectors += vectors_of(
                    await self._async_client().create(self._payload(batch), path=EMBEDDINGS.path), len(batch)
                )
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

    # clients

    def _client(self) -> ChatClient:
        return self._clients.blocking(self._settings())

    def _async_client(self) -> AsyncChatClient:
        return self._clients.asynchronous(self._settings())

    def _settings(self) -> Mapping[str, Any]:
        names = (name for name in type(self).model_fields if name not in _OF_REQUESTS)
        relay = Relay(self.on_receipt)
        return client_settings(self, names, service_type=EMBEDDINGS.service_type, on_receipt=relay, environ=ENVIRONMENT)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        state["__dict__"] = {**state["__dict__"], "private_key": None, "api_key": None, "wallet": None}
        return state


@contextmanager
def _model_errors() -> Iterator[None]:
    try:
        yield
    except ZeroGError as error:
        raise as_model_error(error) from error.__cause__
