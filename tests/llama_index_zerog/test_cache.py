"""Vectors that LlamaIndex keeps: none of an answer whose check failed or is not over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core import Document
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.kvstore import SimpleKVStore

from llama_index_zerog import ZeroGEmbedding
from tests.llama_index_zerog.conftest import EMBED
from zg_core import VerificationFailed, VerificationUnavailable
from zg_core.localnet import LocalNet
from zg_core.receipts.model import Receipt


def embed(model: ZeroGEmbedding, texts: list[str], *, loop: bool) -> list[list[float]]:
    if not loop:
        return model.get_text_embedding_batch(texts)

    async def work() -> list[list[float]]:
        try:
            return await model.aget_text_embedding_batch(texts)
        finally:
            await model.aclose()

    return asyncio.run(work())


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
def test_a_cache_of_vectors_holds_only_those_whose_check_did_not_fail(net: LocalNet, provider: Any, loop: bool) -> None:
    cache = SimpleKVStore()
    model = ZeroGEmbedding(provider=net.providers[EMBED].address, verify="background", embeddings_cache=cache)
    with net.providers[EMBED].fault("body_changed"), pytest.raises(VerificationFailed) as caught:
        embed(model, ["a text"], loop=loop)
    assert caught.value.receipt is not None
    assert not cache.get_all(collection="embeddings")
    vectors = embed(model, ["a text"], loop=loop)
    assert len(cache.get_all(collection="embeddings")) == 1
    before = len(net.providers[EMBED].requests)
    assert embed(model, ["a text"], loop=loop) == vectors
    assert len(net.providers[EMBED].requests) == before
    model.close()


def test_a_check_that_does_not_end_keeps_vectors_out(
    net: LocalNet, provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = SimpleKVStore()
    monkeypatch.setattr(Receipt, "resolve", lambda *_: None)  # waits no longer
    with net.providers[EMBED].fault("signature_never"):
        model = ZeroGEmbedding(provider=net.providers[EMBED].address, verify="background", embeddings_cache=cache)
        with pytest.raises(VerificationUnavailable) as caught:
            embed(model, ["another text"], loop=False)
    assert caught.value.code == "pending"
    assert not cache.get_all(collection="embeddings")
    model.close()


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
def test_a_pipeline_keeps_only_what_was_checked(net: LocalNet, provider: Any, loop: bool) -> None:
    model = ZeroGEmbedding(provider=net.providers[EMBED].address, verify="background")
    cache = IngestionCache()
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(), model], cache=cache)
    documents = [Document(text="Bees make honey.")]

    def run() -> Any:
        return asyncio.run(pipeline.arun(documents=documents)) if loop else pipeline.run(documents=documents)

    def entries() -> list[Any]:
        return list(cache.cache.get_all(collection=cache.collection).values())

    with net.providers[EMBED].fault("body_changed"), pytest.raises(VerificationFailed):
        run()
    assert len(entries()) == 1, "the splitter's"
    (node,) = run()
    assert node.embedding
    assert len(entries()) == 2
    model.close()
