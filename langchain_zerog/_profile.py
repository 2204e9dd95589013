"""What a provider says about a model, in LangChain's words, and what follows from it for structured output."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable

    from langchain_core.language_models import ModelProfile

    from zg_core.tasks.models import ModelInfo

__all__ = ["default_method", "profile_of", "recall", "remember"]

# A model that is made later finds here what an earlier one was told: a constructor asks nobody.
_KNOWN: OrderedDict[Hashable, ModelInfo] = OrderedDict()
_MOST = 256
_LOCK = threading.Lock()


def remember(key: Hashable, info: ModelInfo) -> None:
    """Keep `info` for the models that are made later in this process."""
    with _LOCK:
        _KNOWN[key] = info
        _KNOWN.move_to_end(key)
        while len(_KNOWN) > _MOST:
            _KNOWN.popitem(last=False)


def recall(key: Hashable) -> ModelInfo | None:
    """What was kept under `key`."""
    return _KNOWN.get(key)


def profile_of(info: ModelInfo) -> ModelProfile:
    """`info` as LangChain's profile; what the provider does not say is left out."""
    outputs = info.outputs
    said: dict[str, Any] = {
        "name": info.model,
        "max_input_tokens": info.context_window,
        "max_output_tokens": info.max_output_tokens,
        "text_inputs": "text" in info.inputs if info.inputs else None,
        "image_inputs": info.images,
        "audio_inputs": info.audio,
        "pdf_inputs": info.files,
        "video_inputs": "video" in info.inputs if info.inputs else None,
        "text_outputs": "text" in outputs if outputs else None,
        "image_outputs": "image" in outputs if outputs else None,
        "audio_outputs": "audio" in outputs if outputs else None,
        "reasoning_output": info.reasoning,
        "tool_calling": info.tools,
        "tool_choice": info.takes("tool_choice"),
        "structured_output": info.structured_output,
        "temperature": info.takes("temperature"),
    }
    profile: Any = {name: value for name, value in said.items() if value is not None}
    return profile  # type: ignore[no-any-return]


def default_method(profile: ModelProfile | None, info: ModelInfo | None, *, strict: bool | None = None) -> str:
    """How to ask for structured output: what the provider says it can do, function calling if it does not say.

    JSON mode knows no schema, so it is chosen only where nothing else is left and `strict` is not asked for.
    """
    known: Any = profile or {}
    if known.get("structured_output"):
        return "json_schema"
    if known.get("tool_calling") is False and strict is None and info is not None and info.json_mode:
        return "json_mode"
    return "function_calling"
