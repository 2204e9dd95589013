"""Server-sent events, cut from bytes as they come. No I/O."""

from __future__ import annotations

from typing import Any

from zg_core.jsontext import parse_json

__all__ = ["DONE", "MAX_EVENT_BYTES", "SSEDecoder", "document_in"]


DONE = b"[DONE]"
MAX_EVENT_BYTES = 8 * 1024 * 1024


class SSEDecoder:
    r"""Cuts a byte stream into the ``data`` of its server-sent events, whatever the chunk boundaries.

    Example:
        >>> decoder = SSEDecoder()
        >>> decoder.feed(b'data: {"a"'), decoder.feed(b':1}\n\n: comment\n\ndata: [DONE]\n\n')
        ([], [b'{"a":1}', b'[DONE]'])
    """

    __slots__ = ("_data", "_held", "_open", "_parts", "_skip_newline")

    def __init__(self) -> None:
        self._data: list[bytes] = []  # lines of the event that has not ended yet, and their bytes
        self._held = 0
        self._parts: list[bytes] = []  # of the line that has not ended yet, and their bytes
        self._open = 0
        self._skip_newline = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events completed by `chunk`.

        Raises:
            ValueError: one event is larger than 8 MB.
        """
        if not chunk:
            return []
        if self._skip_newline and chunk[:1] == b"\n":
            chunk = chunk[1:]
        self._skip_newline = chunk[-1:] == b"\r"
        if b"\r" in chunk:
            # A carriage return ends a line by itself; if the next chunk begins with its newline, that is dropped.
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._parts.append(chunk)
        self._open += len(chunk)
        events: list[bytes] = []
        if b"\n" in chunk:  # joined only when the line ends: many small chunks of a long line cost no more
            lines = b"".join(self._parts).split(b"\n")
            self._parts = [lines.pop()]
            self._open = len(self._parts[0])
            for line in lines:
                if not line:
                    if self._data:
                        events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                        self._data = []
                        self._held = 0
                elif line[:5] == b"data:":
                    self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                    self._held += len(line)
                elif line == b"data":  # a field without a colon is empty
                    self._data.append(b"")
                    self._held += len(line)
                elif line[:1] == b"{":  # no field: a server that fails late writes its error as it is (0g-router §4.2)
                    events.append(line)
        if self._open + self._held > MAX_EVENT_BYTES:
            raise ValueError("a server-sent event is larger than 8 MB")
        return events

    @property
    def idle(self) -> bool:
        """Whether all that came belongs to events that are complete."""
        return not self._data and not self._open

    def flush(self) -> list[bytes]:
        """The event that a stream without its last blank line leaves behind."""
        return self.feed(b"\n\n")


def document_in(body: bytes) -> Any:
    r"""What a response says, parsed: its object, of a stream the list of its events; None where it is neither.

    Example:
        >>> document_in(b'{"a": 1}'), document_in(b'data: {"a": 1}\n\ndata: [DONE]\n\n'), document_in(b"<html>")
        ({'a': 1}, [{'a': 1}], None)
    """
    try:
        return parse_json(body)
    except (ValueError, RecursionError):
        pass
    decoder, events = SSEDecoder(), []
    try:
        for data in [*decoder.feed(body.removeprefix(b"\xef\xbb\xbf")), *decoder.flush()]:
            try:
                events.append(parse_json(data))
            except (ValueError, RecursionError):
                continue
    except ValueError:  # one event is too large
        return None
    return events or None
