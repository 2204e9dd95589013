"""From the facts that ride on a framework's message back to the receipt of the call that made it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from zg_core.receipts.memory import MemoryReceipts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zg_core.receipts.model import Receipt

__all__ = ["KEY", "RECENT", "hash_of", "is_of", "metadata_of", "receipt_in"]

KEY = "zerog"
"""The name under which the facts ride."""
RECENT = MemoryReceipts(capacity=2048)
"""The newest receipts of the process.

Messages are copied, merged and rebuilt on their way, so a receipt cannot hang on the object itself: its id travels, and
this is where it leads.
"""


def metadata_of(receipt: Receipt, said: str = "") -> dict[str, Any]:
    """What rides on a message under `KEY`; from now on its id leads to `receipt`.

    Args:
        receipt: The receipt.
        said: Hash of what the message says (`hash_of`), so that another message can be told from it (`is_of`).
    """
    if said:
        receipt._said = said  # noqa: SLF001
    RECENT.add(receipt)
    return receipt.metadata()


def hash_of(text: str, calls: Iterable[tuple[str, Any]] = (), media: Iterable[str] = ()) -> str:
    """Hash of what a message says and asks for: its text, its tool calls' names and arguments, and what it shows.

    Args:
        text: The text.
        calls: Names and arguments of tool calls.
        media: Images and audio, each as a text of its own.

    Example:
        >>> hash_of("a", [("f", {"x": 1, "y": 2})]) == hash_of("a", [("f", {"y": 2, "x": 1})])
        True
    """
    asked = "[]"
    if made := [[name, arguments] for name, arguments in calls]:
        asked = json.dumps(made, sort_keys=True, default=str)
    digest = hashlib.sha256(f"{asked}\n{text}".encode("utf-8", "surrogatepass"))
    for each in media:
        digest.update(hashlib.sha256(each.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()


def is_of(receipt: Receipt, said: str) -> bool:
    """Whether what a message says (`hash_of`) is what the reply of `receipt` said."""
    return bool(said) and receipt._said == said  # noqa: SLF001


def receipt_in(metadata: Any) -> Receipt | None:
    """The receipt that `metadata` leads to; None if it holds no facts of ours, or of a call too long ago."""
    facts = metadata.get(KEY) if isinstance(metadata, dict) else None
    receipt_id = facts.get("receipt_id") if isinstance(facts, dict) else None
    return RECENT.get(receipt_id) if isinstance(receipt_id, str) else None
