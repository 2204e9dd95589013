"""Rows of a store as JSON documents and as lines of CSV, many a second: no `Receipt` is made on the way.

Rows of one shape differ in a few values only. The first of a shape is made a receipt the usual way, with marks in place
of its values; what ``Receipt.to_dict`` and `zg_core.receipts.export.cells` then say is the form for all others. Marks
are drawn by chance in every process, so that no text of a stranger can hold one.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

from zg_core.receipts.export import cells, lines_of
from zg_core.receipts.packing import SAME, data_of, unpacked
from zg_core.shown import escaping

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from zg_core.receipts.packing import Row

__all__ = ["Documents", "as_csv", "as_json"]

_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_HEX = re.compile(r'"((?:0x)?[0-9a-f]{64,130})"')
_MOST = 4096  # shapes that are kept
_PIECE = 100  # receipts


@dataclass(frozen=True, slots=True)
class _Form:
    """What rows of one shape have in common: pieces of text, or cells, and which value stands at which place."""

    pieces: tuple[Any, ...]
    slots: tuple[tuple[int, int], ...]


class Documents:
    """Makes documents and lines of rows."""

    def __init__(self) -> None:
        self._texts: dict[Any, _Form] = {}
        self._lines: dict[Any, _Form] = {}

    def text(self, row: Row, context: str) -> str:
        """The receipt of `row` as JSON on one line.

        Args:
            row: As the store has it.
            context: The data of the context that it names.

        Raises:
            ConfigError: as in `zg_core.receipts.packing.unpacked`.
        """
        taken = _taken(row)
        if taken is None or not context:
            return _ENCODE(unpacked(row, context).to_dict())
        shape, values = taken
        form = self._texts.get(shape)
        if form is None:
            form = _kept(self._texts, shape, _text_form(row, context))
        pieces = list(form.pieces)
        for place, which in form.slots:
            value = values[which]
            pieces[place] = encode_basestring_ascii(value)[1:-1] if type(value) is str else repr(value)
        return "".join(pieces)

    def cells(self, row: Row, context: str) -> list[Any]:
        """The receipt of `row` as the cells of a line.

        Raises:
            ConfigError: as in `text`.
        """
        taken = _taken(row)
        if taken is None or not context:
            return cells(unpacked(row, context))
        shape, values = taken
        form = self._lines.get(shape)
        if form is None:
            form = _kept(self._lines, shape, _line_form(row, context))
        found = list(form.pieces)
        for place, which in form.slots:
            found[place] = escaping.csv(values[which])
        return found


def as_json(rows: Iterable[tuple[Row, str]]) -> Iterator[str]:
    """Pieces of one JSON document, ``{"receipts": […]}``, with a receipt on each line.

    Args:
        rows: What `ReceiptStore.rows` gives.
    """
    words = Documents()
    source, before = iter(rows), '{"receipts": [\n'
    while some := list(islice(source, _PIECE)):
        yield before + ",\n".join([words.text(*each) for each in some])
        before = ",\n"
    yield ('{"receipts": []}' if before[:1] == "{" else "\n]}") + "\n"


def as_csv(rows: Iterable[tuple[Row, str]]) -> Iterator[str]:
    """Pieces of a CSV table, with a heading; nothing of nothing.

    Args:
        rows: What `ReceiptStore.rows` gives.
    """
    words = Documents()
    return lines_of(words.cells(*each) for each in rows)


def _kept(forms: dict[Any, _Form], shape: Any, form: _Form) -> _Form:
    if len(forms) > _MOST:
        forms.clear()
    forms[shape] = form
    return form


def _taken(row: Row) -> tuple[Any, list[Any]] | None:
    """The shape of a row and the values in it; None for one that is rare."""
    id_, name, outcome, started, currency, fee, exact, most, run, verdict, text = row
    if text[:1] == "{":
        return None
    data = data_of(text)
    (chat_id, request, response, sent, received, bits, attempts, seconds, first, block, ids, usage, flags, fee_data) = (
        data[:14]
    )
    grant, request_body, response_body, exact_time = data[14:]
    if ids != SAME or grant or exact_time or len(verdict) > 2000:
        return None
    values = [id_, datetime.fromtimestamp(started, UTC).isoformat(), run, chat_id, request, response, sent, received]
    values += [attempts, seconds, first, block, fee, most, request_body, response_body]
    values += [fee_data[1] if fee_data else None, *(usage or {}).values(), *_HEX.findall(verdict)]
    shape = (
        name, outcome, currency, exact, most is None, bits, first is None, block is None, request_body is None,
        response_body is None, None if usage is None else tuple(usage), tuple(flags or ()),
        fee_data[0] if fee_data else None, _HEX.sub('"#"', verdict),
    )  # fmt: skip
    return shape, values


def _marked(row: Row, context: str) -> tuple[Any, dict[str, int]]:
    """A receipt of the same shape with marks for values, and which mark stands for which."""
    id_, name, outcome, _, currency, _, exact, most, _, verdict, text = row
    data = data_of(text)
    marks: dict[str, int] = {}

    def mark(value: Any, which: int, *, hexed: bool = False) -> Any:
        if value is None:
            return None
        made: Any = secrets.token_hex(32)
        if isinstance(value, int):
            made = 10**15 + secrets.randbelow(9 * 10**15 - 10**15)
        elif isinstance(value, float):
            made = 10**8 + secrets.randbelow(10**8) + 0.125
        elif hexed:
            made = made + made if len(value) > 64 else made  # only its text counts
        marks[made if isinstance(made, str) else repr(made)] = which
        return made

    def units(value: Any, which: int) -> str | None:
        if value is None:
            return None
        made = str(10**29 + secrets.randbelow(10**29))
        marks[made] = which
        return made

    moment = datetime(2500, 1, 1, tzinfo=UTC).timestamp() + secrets.randbelow(10**9) + 0.25
    marks[datetime.fromtimestamp(moment, UTC).isoformat()] = 1
    changed = list(data)
    for place, which in ((0, 3), (1, 4), (2, 5), (3, 6), (4, 7), (6, 8), (7, 9), (8, 10), (9, 11)):
        changed[place] = mark(data[place], which)
    for place, which in ((15, 14), (16, 15)):
        changed[place] = None if data[place] is None else _bytes_mark(marks, which)
    if data[13]:
        changed[13] = [data[13][0], units(data[13][1], 16)]
    usage = data[11]
    if usage is not None:
        changed[11] = {each: mark(count, 17 + place) for place, (each, count) in enumerate(usage.items())}
    hexes = iter(range(17 + len(usage or ()), 10_000))
    verdict = _HEX.sub(lambda found: f'"{mark(found[1], next(hexes), hexed=True)}"', verdict)
    like = (
        mark(id_, 0), name, outcome, moment, currency, units("1", 12), exact, units(most, 13), mark("", 2), verdict,
        _ENCODE(changed),
    )  # fmt: skip
    return unpacked(like, context), marks


def _bytes_mark(marks: dict[str, int], which: int) -> str:
    made = secrets.token_hex(32)  # base64 of something
    marks[made] = which
    return made


def _text_form(row: Row, context: str) -> _Form:
    receipt, marks = _marked(row, context)
    text = _ENCODE(receipt.to_dict())
    parts = re.split(f"({'|'.join(map(re.escape, sorted(marks, key=len, reverse=True)))})", text)
    slots = [(place, marks[part]) for place, part in enumerate(parts) if place % 2]
    return _Form(tuple(parts), tuple(slots))


def _line_form(row: Row, context: str) -> _Form:
    receipt, marks = _marked(row, context)
    found = cells(receipt)
    slots = [(place, marks[str(cell)]) for place, cell in enumerate(found) if str(cell) in marks]
    return _Form(tuple(found), tuple(slots))
