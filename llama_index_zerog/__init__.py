"""LlamaIndex on 0G: LLMs and embeddings whose every reply is TEE-verified and paid on chain.

Example:
    >>> from llama_index_zerog import ZeroG
    >>> ZeroG(provider="0x" + "11" * 20, private_key="0x" + "22" * 32).class_name()
    'ZeroG'
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from zg_core import __version__, _lazy

if TYPE_CHECKING:
    from llama_index_zerog._receipts import receipt_of
    from llama_index_zerog.embeddings import ZeroGEmbedding
    from llama_index_zerog.instrumentation import ZeroGReceipts, get_zerog_receipts
    from llama_index_zerog.llm import ZeroG
    from llama_index_zerog.readers import ZeroGAudioReader
    from llama_index_zerog.tools import ZeroGImageToolSpec

__all__ = [
    "ZeroG",
    "ZeroGAudioReader",
    "ZeroGEmbedding",
    "ZeroGImageToolSpec",
    "ZeroGReceipts",
    "__version__",
    "get_zerog_receipts",
    "receipt_of",
]

if importlib.util.find_spec("llama_index") is None or importlib.util.find_spec("llama_index.core") is None:
    raise ImportError("llama_index_zerog needs llama-index-core: pip install 'zerog-integrations[llama-index]'")

_HOMES = {
    "ZeroG": "llm",
    "ZeroGAudioReader": "readers",
    "ZeroGImageToolSpec": "tools",
    "ZeroGEmbedding": "embeddings",
    "ZeroGReceipts": "instrumentation",
    "get_zerog_receipts": "instrumentation",
    "receipt_of": "_receipts",
}
__getattr__, __dir__ = _lazy.lazily(__name__, _HOMES)
