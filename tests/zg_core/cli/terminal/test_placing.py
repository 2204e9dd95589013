"""PROVIDER in its place, or as an option: the same for every command."""

from __future__ import annotations

import pytest

from tests.zg_core.cli.running import COMMAND
from zg_core.cli.terminal.placing import placed

A, B = "0x" + "1" * 40, "0x" + "2" * 40


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["transfer", A, "1"], ["transfer", A, "1"]),
        (["transfer", "--provider", A, "1"], ["transfer", A, "1"]),
        (["transfer", "1", "--yes", f"--provider={A}"], ["transfer", A, "1", "--yes"]),
        (["keys", "revoke", "3", "--provider", A], ["keys", "revoke", A, "3"]),
        (["verify", "--level", "2", "--provider", A], ["verify", A, "--level", "2"]),
        (["settlements", A], ["settlements", "--provider", A]),
        (["settlements", "--limit", "3", A], ["settlements", "--limit", "3", "--provider", A]),
        (["settlements", "--user", A, B], ["settlements", "--user", A, "--provider", B]),
        (["receipts", "list", A, "--json"], ["receipts", "list", "--provider", A, "--json"]),
        (["token", A], ["token", "--provider", A]),
        (["chat", A, "hello"], ["chat", "--provider", A, "hello"]),
        (["chat", "hello", A], ["chat", "hello", A]),
        (["chat", "--", A], ["chat", "--", A]),
        (["acknowledge", "--provider"], ["acknowledge", "--provider"]),
        (["providers", A], ["providers", A]),
        (["nonsense", "--provider", A], ["nonsense", "--provider", A]),
        ([], []),
    ],
    ids=lambda words: " ".join(words).replace(A, "A").replace(B, "B"),
)
def test_the_provider_comes_where_the_parser_looks(typed: list[str], meant: list[str]) -> None:
    assert placed(COMMAND, typed) == meant


def test_both_forms_do_the_same(steady, provider: str) -> None:
    assert steady.json("settlements", provider) == steady.json("settlements", "--provider", provider)
    assert steady.json("models", provider) == steady.json("models", "--provider", provider)
