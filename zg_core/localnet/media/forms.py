"""Multipart forms, read as strictly as a provider reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from zg_core.localnet.model.values import InvalidRequestError

_BOUNDARY: Final = re.compile(r"multipart/form-data\s*;.*?boundary=(?:\"([^\"]{1,70})\"|([^\s;]{1,70}))", re.IGNORECASE)
_PARAMETER: Final = re.compile(r'(name|filename)="((?:[^"\\]|\\.)*)"')


@dataclass
class Form:
    """The fields of a form, all values of a name in order, and its files."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)

    def one(self, name: str) -> str | None:
        """The last value of a field, as most servers take it."""
        values = self.fields.get(name)
        return values[-1] if values else None


def boundary_in(content_type: str) -> bytes | None:
    """The boundary that a content type names; None where it is no multipart form."""
    found = _BOUNDARY.match(content_type.strip())
    return (found[1] or found[2]).encode() if found else None


def boundary_of(body: bytes) -> bytes:
    """The boundary that a body begins with.

    Raises:
        InvalidRequestError: It begins with none.
    """
    first, ends, _ = body[:200].partition(b"\r\n")
    if not ends or not first.startswith(b"--") or len(first) < 3:
        raise InvalidRequestError("Could not parse multipart form: NextPart: EOF", status=400)
    return first[2:]


def read_form(body: bytes) -> Form:
    """The parts of a multipart body.

    Raises:
        InvalidRequestError: It is not a whole one.
    """
    mark = b"--" + boundary_of(body)
    form = Form()
    place = len(mark)
    while body[place : place + 2] == b"\r\n":
        end = body.find(b"\r\n" + mark, place + 2)
        head, found, content = body[place + 2 : end].partition(b"\r\n\r\n")
        if end < 0 or not found:
            raise InvalidRequestError("Could not parse multipart form: unexpected EOF", status=400)
        disposition = next(
            (line for line in head.decode("utf-8", "replace").split("\r\n") if line.lower().startswith("content-disp")),
            "",
        )
        named = dict(_PARAMETER.findall(disposition))
        name = named.get("name", "")
        if "filename" in named:
            form.files.setdefault(name, []).append((named["filename"], content))
        else:
            form.fields.setdefault(name, []).append(content.decode("utf-8", "replace"))
        place = end + 2 + len(mark)
    if body[place : place + 2] != b"--":
        raise InvalidRequestError("Could not parse multipart form: unexpected EOF", status=400)
    return form
