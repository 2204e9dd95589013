"""Retrieval on 0G: documents are read, embedded and asked about; every answer lists its cost and what is proven.

``python docs/examples/rag_llamaindex.py FOLDER EMBEDDING_MODEL`` (the wallet needs sub-accounts at a provider of chats,
``ZEROG_PROVIDER``, and at one of embeddings).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter

from llama_index_zerog import ZeroG, ZeroGEmbedding, get_zerog_receipts

if TYPE_CHECKING:
    from llama_index_zerog import ZeroGReceipts


def index_of(folder: str, embedding: ZeroGEmbedding) -> VectorStoreIndex:
    """An index of the files in `folder`."""
    documents = SimpleDirectoryReader(folder).load_data()
    splitter = SentenceSplitter(chunk_size=256, chunk_overlap=20)
    return VectorStoreIndex.from_documents(documents, embed_model=embedding, transformations=[splitter])


def ask(index: VectorStoreIndex, llm: ZeroG, question: str) -> tuple[str, ZeroGReceipts]:
    """The answer, and the receipts of every call behind it: the question's vector and each step of the synthesis."""
    with get_zerog_receipts() as receipts:
        answer = str(index.as_query_engine(llm=llm, response_mode="refine", similarity_top_k=2).query(question))
    return answer, receipts


def main(folder: str, model: str) -> None:
    """Ask about the files."""
    chat, embedding = ZeroG(verify="require", temperature=0), ZeroGEmbedding(model=model, verify="require")
    with chat as llm, embedding:
        index = index_of(folder, embedding)
        answer, receipts = ask(index, llm, input("question: "))
        print(answer)
        for receipt in receipts:
            print(f"{receipt.model:<20}{receipt.fee.amount!s:<20}{receipt.verdict.status}")
        print(receipts)


if __name__ == "__main__":
    main(*sys.argv[1:])
