"""Tables never cut a cell, however narrow the terminal is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from zg_core.cli.terminal.output import Output
from zg_core.cli.terminal.tables import NARROWEST, laid_out

ADDRESS = "0x" + "Ab" * 20
HASH = "0x" + "cd" * 32
TABLES = {
    "providers": (
        ["provider", "model", "type", "kind", "prompt", "price in", "price out"],
        [ADDRESS, "meta-llama/Llama-3.3-70B-Instruct", "chatbot", "TeeML", "declared", "0.1 0G/1M", "0.4 0G/1M"],
        ["provider", "model", "price out"],
    ),
    "settlements": (
        ["block", "provider", "asked", "paid", "status", "transaction"],
        ["123456", ADDRESS, "1.000000000000000001 0G", "1.000000000000000001 0G", "success", HASH],
        ["block", "paid", "status", "provider", "transaction"],
    ),
    "receipts": (
        ["begun (UTC)", "receipt", "provider", "model", "outcome", "verdict", "fee", "flags"],
        ["2026-11-30 01:02:03", "0123456789ab", ADDRESS, "modèle 模型", "answered", "verified", "0.0000819 0G", "-"],
        ["receipt", "verdict", "fee"],
    ),
}


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, None])
@pytest.mark.parametrize("name", TABLES)
def test_every_cell_that_is_shown_is_whole_and_fits(name: str, width: int | None) -> None:
    headings, row, rank = TABLES[name]
    laid = laid_out(headings, [row], width, rank)
    shown = [cell for heading, cell in zip(headings, row, strict=True) if heading not in laid.left_out]
    text = "\n".join(laid.lines)
    assert all(cell in text for cell in shown), text
    assert laid.headed is (width is None or width >= NARROWEST) or not laid.left_out
    if laid.headed and width is not None:
        assert max(map(cell_len, laid.lines)) <= width, text
        assert len(shown) >= 2
    if width is None:
        assert not laid.left_out
    if not laid.headed:
        assert len(laid.lines) == len(headings)


def test_the_least_important_goes_first_and_is_named(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    headings, row, rank = TABLES["providers"]
    left = [set(laid_out(headings, [row], width, rank).left_out) for width in (160, 120, 110, 100)]
    assert left == [set(), {"prompt", "price in"} & left[1], left[2], left[3]]
    assert left[1] <= left[2] <= left[3]
    assert not left[3] & {"provider", "model"}
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("COLUMNS", "100")
    out = Output()
    monkeypatch.setattr(out._out, "width", 100)
    out.table(headings, [row], rank)
    printed = capsys.readouterr()
    assert ADDRESS in printed.out
    assert "no room for" in printed.err
    assert all(heading in printed.err for heading in left[3])


def test_below_sixty_columns_every_row_is_a_block() -> None:
    laid = laid_out(["block", "transaction"], [["1", HASH], ["2", HASH]], 59)
    assert laid.lines == [
        "block        1",
        f"transaction  {HASH}",
        "",
        "block        2",
        f"transaction  {HASH}",
    ]


def test_sentences_may_go_on_in_the_next_line() -> None:
    laid = laid_out(["level", "why"], [["2", "a long sentence " * 20]], 80, prose="why")
    assert not laid.left_out
    assert laid.lines[1].startswith("2      a long sentence")


@given(
    st.lists(st.lists(st.text("ab模\u0301 ", max_size=30), min_size=3, max_size=3), min_size=1, max_size=4),
    st.integers(60, 130),
)
def test_whatever_the_cells_are(rows: list[list[str]], width: int) -> None:
    laid = laid_out(["one", "two", "three"], rows, width)
    text = "\n".join(laid.lines)
    for row in rows:
        for heading, cell in zip(("one", "two", "three"), row, strict=True):
            assert heading in laid.left_out or cell.rstrip() in text
    assert not laid.headed or max(map(cell_len, laid.lines)) <= width
