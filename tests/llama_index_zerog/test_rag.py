"""Retrieval from end to end: read, split, embed, ask in every mode, keep and load again, stop at a lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.node_parser import SentenceSplitter
from pydantic import BaseModel

import zg_core
from llama_index_zerog import ZeroGEmbedding, get_zerog_receipts
from zg_core.localnet import LocalNet, LocalProvider

FACTS = {
    "france.txt": "The capital of France is Paris. Paris lies on the Seine.",
    "bees.txt": "Bees make honey. A hive holds thousands of bees.",
    "stone.txt": "Granite is a hard stone. It is used for bridges.",
}
QUESTION = "What is the capital of France?"


@pytest.fixture
def index(tmp_path: Path, embedding: Any) -> VectorStoreIndex:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, text in FACTS.items():
        (folder / name).write_text(text)
    documents = SimpleDirectoryReader(str(folder)).load_data()
    return VectorStoreIndex.from_documents(
        documents, embed_model=embedding, transformations=[SentenceSplitter(chunk_size=128, chunk_overlap=0)]
    )


@pytest.mark.parametrize("mode", ["refine", "tree_summarize", "compact"])
def test_every_mode_answers_with_receipts(index: Any, make_llm: Any, mode: str) -> None:
    with get_zerog_receipts() as receipts:
        answer = index.as_query_engine(llm=make_llm(), response_mode=mode, similarity_top_k=2).query(QUESTION)
    assert "Paris" in str(answer)
    assert all(receipt.fee.exact and receipt.verdict.satisfies("verified") for receipt in receipts)


def test_streams_memory_and_structure(index: Any, make_llm: Any) -> None:
    llm = make_llm()
    streamed = "".join(index.as_query_engine(llm=llm, streaming=True).query(QUESTION).response_gen)
    assert "Paris" in streamed
    chat = index.as_chat_engine(llm=llm, chat_mode="context", memory=ChatMemoryBuffer.from_defaults(token_limit=4000))
    assert "Paris" in str(chat.chat(QUESTION))
    chat.chat("Thank you.")
    assert len(chat.chat_history) == 4

    class City(BaseModel):
        """A city."""

        name: str

    found = index.as_query_engine(llm=llm, output_cls=City).query(QUESTION)
    assert isinstance(found.response, City)


@pytest.mark.parametrize("mode", ["refine", "compact", "tree_summarize"])
def test_a_tampered_step_stops_the_synthesis(index: Any, make_llm: Any, provider: LocalProvider, mode: str) -> None:
    provider.fault("body_changed")
    with get_zerog_receipts() as receipts, pytest.raises(zg_core.VerificationFailed):
        index.as_query_engine(llm=make_llm(), response_mode=mode).query(QUESTION)
    assert [r.verdict.status for r in receipts if r.provider == provider.address] == ["failed"]


def test_is_kept_and_loaded_again(index: Any, make_llm: Any, embedding: Any, tmp_path: Path) -> None:
    index.storage_context.persist(str(tmp_path / "store"))
    storage = StorageContext.from_defaults(persist_dir=str(tmp_path / "store"))
    loaded = load_index_from_storage(storage, embed_model=embedding)
    embedding.check_index(loaded)
    assert "Paris" in str(loaded.as_query_engine(llm=make_llm()).query(QUESTION))
    kept = "".join(path.read_text() for path in (tmp_path / "store").iterdir())
    assert "app-sk-" not in kept


class TestEmbedding:
    def test_batches_and_order(self, net: LocalNet) -> None:
        with ZeroGEmbedding(provider=net.providers[2].address, verify="require", embed_batch_size=2) as embedding:
            with get_zerog_receipts() as receipts:
                vectors = embedding.get_text_embedding_batch(["a", "b", "c", "d", "e"])
            assert len(receipts) == 3
            assert vectors[3] == embedding.get_text_embedding("d")

    def test_vectors_of_another_model_are_refused(self, embedding: ZeroGEmbedding) -> None:
        embedding.get_text_embedding("one")
        embedding._made_by = ("0x" + "11" * 20, "another", 3)
        with pytest.raises(zg_core.ConfigError, match="two models") as caught:
            embedding.get_text_embedding("two")
        assert caught.value.code == "mixed_embeddings"
        assert caught.value.receipt is not None

    def test_a_lie_is_refused(self, net: LocalNet, embedding: ZeroGEmbedding) -> None:
        with net.providers[2].fault("body_changed"), pytest.raises(zg_core.VerificationFailed):
            embedding.get_text_embedding("one")


class TestParts:
    """Engines and judges that ask for a form in words work on a local network."""

    def test_a_question_is_taken_apart(self, index: Any, make_llm: Any) -> None:
        from llama_index.core.query_engine import SubQuestionQueryEngine
        from llama_index.core.question_gen import LLMQuestionGenerator
        from llama_index.core.tools import QueryEngineTool

        llm = make_llm()
        tool = QueryEngineTool.from_defaults(
            index.as_query_engine(llm=llm), name="facts", description="facts of all kinds"
        )
        engine = SubQuestionQueryEngine.from_defaults(
            [tool], llm=llm, use_async=False, verbose=False, question_gen=LLMQuestionGenerator.from_defaults(llm=llm)
        )
        with get_zerog_receipts() as receipts:
            assert str(engine.query("What is the capital of France?"))
        assert len([receipt for receipt in receipts if receipt.model == "local-chat-1"]) == 3

    def test_judges_and_extractors_understand_the_answers(self, make_llm: Any) -> None:
        from llama_index.core import evaluation
        from llama_index.core.extractors import KeywordExtractor
        from llama_index.core.program import LLMTextCompletionProgram
        from llama_index.core.schema import TextNode
        from pydantic import BaseModel

        class Person(BaseModel):
            """A person."""

            name: str
            age: int

        llm, facts = make_llm(), "The capital of France is Paris."
        asked = {"query": "What is the capital of France?", "response": "Paris", "contexts": [facts]}
        for judge in (evaluation.FaithfulnessEvaluator, evaluation.RelevancyEvaluator):
            assert judge(llm=llm).evaluate(**asked).passing is True
            assert judge(llm=llm).evaluate(**{**asked, "response": "Bananas ripen slowly"}).passing is False
        assert evaluation.CorrectnessEvaluator(llm=llm).evaluate(**asked, reference="Paris").score == 5.0
        assert evaluation.ContextRelevancyEvaluator(llm=llm).evaluate(**asked).score == 1.0
        assert (
            evaluation.PairwiseComparisonEvaluator(llm=llm)
            .evaluate(**asked, second_response="Rome", reference="Paris")
            .passing
        )
        (found,) = KeywordExtractor(llm=llm, keywords=2, show_progress=False).extract([TextNode(text=facts)])
        assert found == {"excerpt_keywords": "capital, France"}
        program = LLMTextCompletionProgram.from_defaults(output_cls=Person, prompt_template_str="{text}", llm=llm)
        assert program(text="'Ada' is 36 years old.") == Person(name="Ada", age=36)
