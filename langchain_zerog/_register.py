"""`register()`: "zerog:MODEL" for LangChain's factories."""

from __future__ import annotations

import importlib
import threading
from typing import Any

__all__ = ["register"]

_lock = threading.Lock()
# LangChain knows its providers by tables in these modules; there are no entry points.
_TABLES = {"langchain.chat_models.base": "ChatZeroG", "langchain.embeddings.base": "ZeroGEmbeddings"}


def register() -> None:
    """Make ``init_chat_model("zerog:MODEL")`` and ``init_embeddings("zerog:MODEL")`` work in this process.

    ``"zerog:"`` needs a model's name: the provider is chosen by it, or passed as ``provider="0x…"``. Calling it again
    does nothing. It is never called by an import.

    Raises:
        ImportError: langchain is not installed.
        RuntimeError: this version of langchain keeps its providers elsewhere; nothing was changed. Pass
            ``ChatZeroG(…)`` itself, which works everywhere a name does.

    Example:
        ```python
        import langchain_zerog
        from langchain.chat_models import init_chat_model

        langchain_zerog.register()
        model = init_chat_model("zerog:local-chat-1", temperature=0)
        ```
    """
    with _lock:
        entries = [(_table(name), ("langchain_zerog", class_name, _make)) for name, class_name in _TABLES.items()]
        for table, entry in entries:
            table.setdefault("zerog", entry)


def _table(module_name: str) -> dict[str, Any]:
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ImportError("register() needs langchain: pip install 'langchain>=1.0'") from error
    table = getattr(module, "_BUILTIN_PROVIDERS", None)
    sample = next(iter(table.values()), None) if isinstance(table, dict) else None
    if not (isinstance(sample, tuple) and len(sample) == 3 and callable(sample[2])):
        raise RuntimeError(
            f"this version of langchain does not keep its providers in {module_name}._BUILTIN_PROVIDERS as known; "
            "nothing was changed. Pass ChatZeroG(…) or ZeroGEmbeddings(…) itself instead of a name"
        )
    return table  # type: ignore[return-value]


def _make(cls: type[Any], **arguments: Any) -> Any:
    return cls(**arguments)
