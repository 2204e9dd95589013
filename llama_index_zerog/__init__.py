"""LlamaIndex on 0G.

The package holds its place in the distribution; the ``ZeroG`` class is still to come. Until then
`zg_core.openai_compat.openai_client` and `zg_core.ChatClient` reach the same providers.
"""

from __future__ import annotations

import importlib.util

__version__ = "0.1.0"

__all__ = ["__version__"]

if importlib.util.find_spec("llama_index") is None or importlib.util.find_spec("llama_index.core") is None:
    raise ImportError("llama_index_zerog needs llama-index-core: pip install 'zerog-integrations[llama-index]'")
