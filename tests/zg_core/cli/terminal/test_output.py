"""What is printed, and how."""

from __future__ import annotations

import json

import pytest

from zg_core.cli.terminal.output import Output, clean, money, plain
from zg_core.money import neuron, og
from zg_core.progress import Progress


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\x1b[31mb", "a�[31mb"),
        ("bell\x07 and \x9b1m", "bell� and �1m"),
        ("two\n\tlines", "two lines"),
        ("right-to-left \u202e txt", "right-to-left � txt"),
    ],
)
def test_control_characters_of_strangers_are_taken_out(text, shown):
    assert clean(text) == shown


def test_an_amount_is_text_in_both_units():
    assert money(og("1.5")) == {"amount": "1.5", "currency": "0G", "neuron": "1500000000000000000"}
    assert money(None) is None


def test_plain_data_keeps_big_numbers_exact_and_drops_tokens():
    assert plain({"a": 2**53, "b": (True, 1), "c": "Bearer app-sk-eyJh", "d": neuron(1)}) == {
        "a": str(2**53),
        "b": [True, 1],
        "c": "Bearer app-sk-…",
        "d": {"amount": "0.000000000000000001", "currency": "0G", "neuron": "1"},
    }


def test_with_json_there_is_one_document_and_nothing_else(capsys):
    out = Output(as_json=True)
    out.line("a line")
    out.facts(("name", "value"))
    out.table(["heading"], [["cell"]])
    out.note("a note")
    out.warn("a warning")
    out.step(Progress("sent", "on its way", {"transaction": "0x1"}))
    out.step(Progress("left_out", "one was left out"))
    out.document({"a": 1})
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"a": 1, "warnings": ["a warning", "one was left out"]}
    assert printed.err == ""


def test_steps_are_told_on_stderr(capsys):
    out = Output()
    with out.waiting("waiting"):
        out.step(Progress("sent", "0x1 is on its way", {"transaction": "0x1"}))
        assert out.sent == "0x1"
        out.step(Progress("waiting", "still waiting"))
        out.step(Progress("replaced", "0x1 is replaced by 0x2", {"transaction": "0x2"}))
        assert out.sent == "0x2"
        for _ in range(3):
            out.step(Progress("waiting_for_provider", "the provider does not see it yet"))
        out.step(Progress("mined", "0x2 is mined", {"transaction": "0x2"}))
        assert out.sent == ""
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "0x1 is on its way",
        "0x1 is replaced by 0x2",
        "the provider does not see it yet",
    ]


def test_addresses_are_never_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    address = "0x" + "7e" * 20
    Output().table(["provider", "model", "other"], [[address, "m" * 60, address]])
    assert capsys.readouterr().out.count(address) == 2
