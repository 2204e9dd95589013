"""Whether the vectors in an index are those of an embedding model: what is stored, beside what the model makes anew."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from llama_index.core.schema import MetadataMode

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.receipts.model import Receipt

__all__ = ["check_lengths", "check_same", "stored_samples"]

_HINT = "load the index with the model that made it, or make it anew from the documents"


def stored_samples(index: Any, most: int) -> tuple[list[str], list[list[float]], set[int]]:
    """Texts of an index with their stored vectors, and the lengths of all vectors that can be seen.

    The texts are spread over the index, its first and last among them: what was added later is at the end.

    Args:
        index: A ``VectorStoreIndex``.
        most: Most texts.

    Raises:
        ConfigError: the index does not give its vectors back (code ``index_not_readable``).
    """
    ids = list(getattr(index.index_struct, "nodes_dict", {}).items())
    data = getattr(getattr(index, "vector_store", None), "data", None)
    kept = getattr(data, "embedding_dict", None)
    if not isinstance(kept, dict):
        raise ConfigError(
            f"{type(getattr(index, 'vector_store', index)).__name__} does not give its vectors back, so they cannot be "
            "compared with this model's",
            code="index_not_readable",
            hint="keep the name of the embedding model beside such an index, and compare it when you load it",
        )
    found = [(node_id, kept[vector_id]) for vector_id, node_id in ids if vector_id in kept]
    places = sorted({round(step * (len(found) - 1) / max(most - 1, 1)) for step in range(most)}) if found else []
    nodes = index.docstore.get_nodes([found[place][0] for place in places]) if places else []
    texts = [node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
    return texts, [found[place][1] for place in places], {len(vector) for vector in kept.values()}


def check_lengths(lengths: set[int], own: int | None, receipt: Receipt | None = None) -> None:
    """Refuse an index whose vectors differ in length from one another, or from this model's.

    Raises:
        ConfigError: they do (code ``mixed_embeddings``).
    """
    if len(lengths) > 1:
        shown = ", ".join(map(str, sorted(lengths)))
        said = f"the index holds vectors of several models: of {shown} numbers"
    elif own is not None and lengths and lengths != {own}:
        said = f"the index was made with another embedding model: its vectors have {min(lengths)} numbers, this "
        said += f"model's have {own}"
    else:
        return
    raise ConfigError(said, code="mixed_embeddings", hint=_HINT, receipt=receipt)


def check_same(
    stored: Sequence[Sequence[float]], made: Sequence[Sequence[float]], least: float, receipt: Receipt
) -> None:
    """Refuse an index whose vectors of some texts are not those that this model makes of them.

    Raises:
        ConfigError: a cosine is below `least` (code ``mixed_embeddings``); ``details`` has ``cosine``.
    """
    worst = min(map(_cosine, stored, made), default=1.0)
    if worst < least:
        raise ConfigError(
            "the index was made with another embedding model: of a text in it, the stored vector and the one made now "
            f"have a cosine of {worst:.3f} (at least {least} for the same model)",
            code="mixed_embeddings",
            hint=_HINT,
            receipt=receipt,
            cosine=worst,
        )


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    length = math.hypot(*one) * math.hypot(*other)
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / length if length else 0.0
