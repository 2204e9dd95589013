"""Multipart forms: built once, so that the bytes which are signed are known before they are sent (services §2, §4)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError
from zg_core.http.messages import Upload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["FilePart", "fields_in", "form_of", "part_of"]

_STREAM = b'name="stream"'
_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file of a form: its bytes, or where they are.

    Attributes:
        source: The bytes, or the path they are read from while they are sent.
        name: What it is called in the form; never a path.
        content_type: What it is, by its first bytes.
        size: Its bytes.
        head: The first of them, enough to see what it is.
    """

    source: bytes | Path = field(repr=False)
    name: str
    content_type: str
    size: int
    head: bytes = field(repr=False)


def part_of(given: Any, *, what: str, most: int) -> FilePart:
    """The file that a caller gives: bytes, a path, or something with ``read``.

    Args:
        given: What was given.
        what: What it is to be, for errors: ``"an image"``.
        most: Bytes that it may have.

    Raises:
        ConfigError: it cannot be read (code ``unreadable_file``), is empty (``empty_file``) or too large
            (``file_too_large``). Nothing was sent.

    Example:
        >>> part_of(b"RIFF", what="a recording", most=10).size
        4
    """
    name = "file"
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        name = path.name
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
        except OSError as error:
            raise ConfigError(
                f"{path.name or given} cannot be read: {error.strerror or type(error).__name__}",
                code="unreadable_file",
                hint="check the path and its permissions",
            ) from None
        source: bytes | Path = path
    else:
        source = _read(given, what, most)
        size, head = len(source), source[:_HEAD_BYTES]
    if not size:
        raise ConfigError(f"{what} of 0 bytes; nothing was sent", code="empty_file", hint="check how it was written")
    if size > most:
        raise ConfigError(
            f"{what} of {size} bytes; at most {most} can be sent, and nothing was",
            code="file_too_large",
            hint="split it, or store it in a smaller form",
        )
    return FilePart(source, _plain(name), "application/octet-stream", size, head)


def _read(given: Any, what: str, most: int) -> bytes:
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    if callable(getattr(given, "read", None)):
        data = given.read(most + 1)
        if isinstance(data, bytes):
            return data
    raise ConfigError(
        f"{what} is given as a {type(given).__name__}",
        code="unreadable_file",
        hint="give bytes, a path, or a file opened in binary mode",
    )


def _plain(name: str) -> str:
    """A name that is safe in a header: what could end it is replaced."""
    safe = "".join(letter if letter.isprintable() and letter not in '"\\' else "_" for letter in name)
    return safe.encode("ascii", "replace").decode().replace("?", "_")[-100:] or "file"


def form_of(fields: Mapping[str, Any]) -> tuple[bytes | Upload, str]:
    """The bytes of a form and its content type. Files given by path are read while it is sent.

    Args:
        fields: Texts, numbers, truth values (``true`` in small letters, as brokers look for it), `FilePart`; lists of
            these are repeated fields. None is left out.

    Raises:
        ConfigError: a text would be read as another field (code ``bad_request_body``), or a file cannot be read.

    Example:
        >>> body, kind = form_of({"model": "m", "n": 2})
        >>> kind.partition("=")[0]
        'multipart/form-data; boundary'
        >>> body.count(b"form-data; name=")
        2
    """
    entries = [(name, value) for name, given in fields.items() for value in _each(given)]
    boundary = _boundary(entries)
    mark = b"--" + boundary.encode()
    parts: list[bytes | Path] = []
    for name, value in entries:
        head = f'Content-Disposition: form-data; name="{_plain(name)}"'
        if isinstance(value, FilePart):
            head += f'; filename="{value.name}"\r\nContent-Type: {value.content_type}'
            content = value.source
        else:
            content = _text(name, value)
        parts += [mark + b"\r\n" + head.encode() + b"\r\n\r\n", content, b"\r\n"]
    parts.append(mark + b"--\r\n")
    kind = f"multipart/form-data; boundary={boundary}"
    if any(isinstance(part, Path) for part in parts):
        return Upload(parts), kind
    return b"".join(part for part in parts if isinstance(part, bytes)), kind


def _each(given: Any) -> list[Any]:
    return [value for value in (given if isinstance(given, list | tuple) else [given]) if value is not None]


def _text(name: str, value: Any) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if not isinstance(value, str | int | float):
        message = f"{name} is a {type(value).__name__}, which no form can hold"
        raise ConfigError(message, code="bad_request_body", hint="give text, a number, or a list of these")
    data = str(value).encode("utf-8", "replace")
    if _STREAM in data:  # a broker looks for the field in the bytes alone, and would stream (services §4.3)
        raise ConfigError(
            f'{name} holds name="stream", which the provider would take for a field',
            code="bad_request_body",
            hint="put it in other words",
        )
    return data


def _boundary(entries: list[tuple[str, Any]]) -> str:
    """A line that occurs in no part: a hash over all of them, so that the same form has the same bytes."""
    digest = hashlib.sha256()
    for name, value in entries:
        digest.update(f"{name}\0".encode())
        if not isinstance(value, FilePart):
            digest.update(f"{value}\0".encode("utf-8", "replace"))
        elif isinstance(value.source, bytes):
            digest.update(value.source)
        else:
            digest.update(value.head + str(value.size).encode())
    return f"zerog-{digest.hexdigest()[:40]}"


def fields_in(body: bytes) -> dict[str, Any]:
    """The fields of a form by name, texts as text, files as `FilePart`; {} where it is no whole form.

    Example:
        >>> fields_in(form_of({"model": "m", "n": 2})[0])["n"]
        '2'
    """
    return dict(_parts(body))


def _parts(body: bytes) -> Iterator[tuple[str, Any]]:
    mark, ends, _ = body[:200].partition(b"\r\n")
    if not ends or not mark.startswith(b"--") or len(mark) < 3:
        return
    place = len(mark)
    while body[place : place + 2] == b"\r\n":
        end = body.find(b"\r\n" + mark, place)
        head, found, content = body[place + 2 : end].partition(b"\r\n\r\n")
        if end < 0 or not found:
            return
        name, file = _parameter(head, b"name"), _parameter(head, b"filename")
        if file is None:
            yield name or "", content.decode("utf-8", "replace")
        else:
            yield name or "", FilePart(content, file, "", len(content), content[:_HEAD_BYTES])
        place = end + 2 + len(mark)


def _parameter(head: bytes, name: bytes) -> str | None:
    _, found, rest = head.partition(b"; " + name + b'="')
    return rest.partition(b'"')[0].decode("utf-8", "replace") if found else None
