"""Documents in a message: what type they are of, and what they are called."""

from __future__ import annotations

import base64
import mimetypes
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from llama_index.core.base.llms.types import DocumentBlock

__all__ = ["document_part"]

# What `mimetypes` knows on some machines only.
_TYPES = {
    ".csv": "text/csv",
    ".htm": "text/html",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".log": "text/plain",
    ".markdown": "text/markdown",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".rst": "text/x-rst",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
_UNNAMED = "input_document"  # LlamaIndex's title of a document without one


def document_part(block: DocumentBlock) -> dict[str, Any]:
    """`block` as the ``file`` part of a message, with the type that it is of."""
    data = block.resolve_document().read()
    place = str(block.path) if block.path else urlsplit(str(block.url)).path if block.url else ""
    name = PurePath(place).name
    title = name if name and block.title in (None, "", _UNNAMED) else block.title or _UNNAMED
    kind = block.document_mimetype or _type_of(name) or _type_of(title) or _type_in(data)
    encoded = base64.b64encode(data).decode()
    return {"type": "file", "file": {"filename": title, "file_data": f"data:{kind};base64,{encoded}"}}


def _type_of(name: str) -> str:
    """The type that a file's name tells, "" where it tells none."""
    suffix = PurePath(name).suffix.lower()
    return _TYPES.get(suffix) or (mimetypes.guess_type(f"a{suffix}")[0] or "" if suffix else "")


def _type_in(data: bytes) -> str:
    """The type that the bytes of a document tell."""
    if data.startswith(b"%PDF"):
        return "application/pdf"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "application/octet-stream" if "\0" in text else "text/plain"
