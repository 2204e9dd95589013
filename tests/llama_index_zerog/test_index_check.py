"""An index that was kept with the vectors of one embedding model is not searched with those of another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage

import zg_core
from llama_index_zerog import ZeroGEmbedding, get_zerog_receipts
from tests.llama_index_zerog.conftest import EMBED
from zg_core.localnet import LocalNet, LocalProvider

TEXTS = ["The capital of France is Paris.", "Bees make honey.", "Granite is a hard stone.", "Ships cross the sea."]


@pytest.fixture
def service(net: LocalNet) -> Iterator[LocalProvider]:
    yield net.providers[EMBED]
    net.providers[EMBED].clear_faults()


@pytest.fixture
def make(service: LocalProvider) -> Iterator[Callable[..., ZeroGEmbedding]]:
    made: list[ZeroGEmbedding] = []

    def one(**arguments: Any) -> ZeroGEmbedding:
        made.append(ZeroGEmbedding(provider=service.address, verify="require", **arguments))
        return made[-1]

    yield one
    for each in made:
        each.close()


@pytest.fixture
def kept(make: Any, tmp_path: Path) -> Path:
    """The folder of an index that was made with the default model."""
    index = VectorStoreIndex.from_documents([Document(text=text) for text in TEXTS], embed_model=make())
    index.storage_context.persist(str(tmp_path))
    return tmp_path


def load(folder: Path, embedding: ZeroGEmbedding) -> Any:
    return load_index_from_storage(StorageContext.from_defaults(persist_dir=str(folder)), embed_model=embedding)


def rewrite(folder: Path, change: Callable[[list[list[float]]], list[list[float]]]) -> None:
    """Change the vectors that are kept, as if other models had made them."""
    (path,) = folder.glob("default__vector_store.json")
    content = json.loads(path.read_text())
    vectors = content["embedding_dict"]
    content["embedding_dict"] = dict(zip(vectors, change(list(vectors.values())), strict=True))
    path.write_text(json.dumps(content))


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def check(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`check_index`, or its async twin."""

    def one(embedding: ZeroGEmbedding, index: Any, **arguments: Any) -> None:
        if not request.param:
            return embedding.check_index(index, **arguments)

        async def work() -> None:
            try:
                await embedding.acheck_index(index, **arguments)
            finally:
                await embedding.aclose()

        return asyncio.run(work())

    return one


def test_the_model_that_made_it_is_accepted_for_one_request(kept: Path, make: Any, check: Any) -> None:
    embedding = make()
    index = load(kept, embedding)
    with get_zerog_receipts() as receipts:
        check(embedding, index)
    assert [receipt.model for receipt in receipts] == ["local-embed-1"]
    assert index.as_retriever(similarity_top_k=1).retrieve("What is the capital of France?")[0].text == TEXTS[0]


def test_a_model_whose_length_is_given_is_refused_and_nothing_is_sent(kept: Path, make: Any, check: Any) -> None:
    embedding = make(dimensions=64)
    with get_zerog_receipts() as receipts, pytest.raises(zg_core.ConfigError) as caught:
        check(embedding, load(kept, embedding))
    assert caught.value.code == "mixed_embeddings"
    assert "256 numbers" in str(caught.value)
    assert "64" in str(caught.value)
    assert len(receipts) == 0


def test_a_model_whose_length_shows_in_its_answer_is_refused(kept: Path, make: Any, check: Any) -> None:
    rewrite(kept, lambda vectors: [vector[:100] for vector in vectors])
    embedding = make()
    with get_zerog_receipts() as receipts, pytest.raises(zg_core.ConfigError, match="100 numbers") as caught:
        check(embedding, load(kept, embedding))
    assert caught.value.code == "mixed_embeddings"
    assert [caught.value.receipt] == list(receipts)


def test_a_model_of_the_same_length_is_refused_by_what_it_makes(kept: Path, make: Any, check: Any) -> None:
    rewrite(kept, lambda vectors: [vector[::-1] for vector in vectors])
    embedding = make()
    with pytest.raises(zg_core.ConfigError, match="another embedding model") as caught:
        check(embedding, load(kept, embedding))
    assert caught.value.code == "mixed_embeddings"
    assert caught.value.details["cosine"] < 0.95
    assert caught.value.receipt is not None


def test_texts_that_another_model_added_at_the_end_are_seen(kept: Path, make: Any, check: Any) -> None:
    rewrite(kept, lambda vectors: [*vectors[:-1], vectors[-1][::-1]])
    embedding = make()
    with pytest.raises(zg_core.ConfigError, match="another embedding model"):
        check(embedding, load(kept, embedding), samples=2)


def test_vectors_of_two_lengths_are_refused_and_nothing_is_sent(kept: Path, make: Any, check: Any) -> None:
    rewrite(kept, lambda vectors: [*vectors[:-1], vectors[-1][:64]])
    embedding = make()
    with get_zerog_receipts() as receipts, pytest.raises(zg_core.ConfigError, match="64, 256 numbers") as caught:
        check(embedding, load(kept, embedding))
    assert caught.value.code == "mixed_embeddings"
    assert len(receipts) == 0


def test_rounding_of_other_hardware_is_accepted(kept: Path, make: Any, check: Any) -> None:
    rewrite(kept, lambda vectors: [[round(value, 3) for value in vector] for vector in vectors])
    embedding = make()
    index = load(kept, embedding)
    check(embedding, index)
    with pytest.raises(zg_core.ConfigError, match="another embedding model"):
        check(embedding, index, least=1.0)


def test_an_empty_index_is_accepted_and_nothing_is_sent(make: Any, check: Any) -> None:
    embedding = make()
    with get_zerog_receipts() as receipts:
        check(embedding, VectorStoreIndex([], embed_model=embedding))
    assert len(receipts) == 0


def test_a_store_that_keeps_its_vectors_to_itself_is_said(kept: Path, make: Any, check: Any) -> None:
    embedding = make()
    index = load(kept, embedding)
    index._vector_store = object()
    with pytest.raises(zg_core.ConfigError) as caught:
        check(embedding, index)
    assert caught.value.code == "index_not_readable"


def test_no_samples_is_refused(kept: Path, make: Any, check: Any) -> None:
    embedding = make()
    with pytest.raises(zg_core.ConfigError, match="samples"):
        check(embedding, load(kept, embedding), samples=0)


def test_a_lie_about_the_samples_is_refused(kept: Path, make: Any, check: Any, service: LocalProvider) -> None:
    embedding = make()
    service.fault("body_changed")
    with pytest.raises(zg_core.VerificationFailed):
        check(embedding, load(kept, embedding))
