"""``from llama_index.embeddings.zerog import ZeroGEmbedding``: the wheel holds this file under that name."""

from __future__ import annotations

from llama_index_zerog import ZeroGEmbedding

__all__ = ["ZeroGEmbedding"]
