"""LangChain on 0G: chat models whose every reply is TEE-verified and paid on chain.

Example:
    >>> from langchain_zerog import ChatZeroG
    >>> ChatZeroG(provider="0x" + "11" * 20, private_key="0x" + "22" * 32).provider
    '0x1111111111111111111111111111111111111111'
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from langchain_zerog._version import __version__

if TYPE_CHECKING:
    from langchain_zerog._receipts import receipt_of
    from langchain_zerog._register import register
    from langchain_zerog.callbacks import ZeroGReceiptsHandler, get_zerog_receipts
    from langchain_zerog.chat_models import ChatZeroG
    from langchain_zerog.embeddings import ZeroGEmbeddings
    from langchain_zerog.media.document_loaders import ZeroGTranscriptionLoader
    from langchain_zerog.media.images import ZeroGImageGenerator

__all__ = [
    "ChatZeroG",
    "ZeroGEmbeddings",
    "ZeroGImageGenerator",
    "ZeroGReceiptsHandler",
    "ZeroGTranscriptionLoader",
    "__version__",
    "get_zerog_receipts",
    "receipt_of",
    "register",
]

# Loaded at first use: langchain-core alone takes about a second.
_HOMES = {
    "ChatZeroG": "chat_models",
    "ZeroGEmbeddings": "embeddings",
    "ZeroGImageGenerator": "media.images",
    "ZeroGReceiptsHandler": "callbacks",
    "ZeroGTranscriptionLoader": "media.document_loaders",
    "get_zerog_receipts": "callbacks",
    "receipt_of": "_receipts",
    "register": "_register",
}

if importlib.util.find_spec("langchain_core") is None:
    raise ImportError("langchain_zerog needs langchain-core: pip install 'zerog-integrations[langchain]'")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
