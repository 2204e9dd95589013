"""How commands fail: one line, one hint, one exit code; and what never reaches the screen."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from zg_core.backends.direct.money.broker import Broker
from zg_core.cli.terminal import failures
from zg_core.cli.terminal.failures import Interrupted, NotConfirmed, exit_code
from zg_core.errors import ChainError, VerificationFailed, VerificationUnavailable, ZeroGError
from zg_core.money import neuron

READING = [["providers"], ["account"], ["settlements"], ["keys", "list"]]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZeroGError("x"), 1),
        (VerificationFailed("x"), 1),
        (VerificationUnavailable("x"), 3),
        (NotConfirmed("x"), 2),
        (Interrupted("x"), 130),
        (OSError("x"), 1),
        (ValueError("x"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_has_the_documented_exit_code(error, code):
    assert exit_code(error) == code


@pytest.mark.parametrize("document", ["docs/cli.md"])
def test_the_documents_list_every_exit_code_and_no_other(document):
    text = (Path(__file__).parents[4] / document).read_text(encoding="utf-8")
    rows = text.partition("| exit code | meaning |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    codes = {failures.OK, failures.ERROR, failures.USAGE, failures.NOT_VERIFIED, failures.INTERRUPTED}
    assert sorted(int(row.split("|")[1]) for row in rows) == sorted(codes)


@pytest.mark.parametrize("words", READING[:3], ids=" ".join)
def test_an_rpc_that_is_down_is_one_line_with_a_hint(poor, words):
    ran = poor(*words, "--rpc-url", "http://127.0.0.1:1", ok=False)
    assert ran.code == 1
    assert [line.split(":")[0] for line in ran.err.splitlines()] == ["error", "hint"], str(ran)
    assert ran.out == ""
    error = poor.fails(*words, "--rpc-url", "http://127.0.0.1:1", code=1)
    assert error["code"] == "rpc_unavailable"
    assert error["retryable"] is True
    assert "ZEROG_RPC_URL" in error["hint"]


@pytest.mark.parametrize("words", [*READING[:3], ["deposit", "3", "--yes"]], ids=" ".join)
def test_an_rpc_of_another_chain_is_refused(poor, words):
    error = poor.fails(*words, "--network", "testnet", code=1)
    assert error["code"] == "wrong_chain"
    assert "31337" in error["message"]


def test_an_unknown_network_is_a_usage_error(nobody):
    error = nobody.fails("providers", "--network", "moon", code=2)
    assert error["code"] == "usage"
    assert "mainnet" in error["message"]
    assert nobody.fails("providers", code=1, ZEROG_NETWORK="moon")["code"] == "unknown_network"


def test_a_malformed_rpc_url_is_refused(nobody):
    assert nobody.fails("providers", "--rpc-url", "ftp://x", code=1)["code"] == "bad_url"


def test_a_malformed_key_is_refused_without_repeating_it(poor):
    assert poor.fails("account", code=1, ZEROG_PRIVATE_KEY="0xnotakey" + "ab" * 20)["code"] == "bad_private_key"


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["providers", "--nonsense"], ["deposit"], ["account", "surplus"], ["localnet", "down"]],
    ids=" ".join,
)
def test_a_usage_error_is_one_line_and_names_the_help(nobody, words):
    ran = nobody(*words, ok=False)
    assert ran.code == 2
    assert [line.split(":")[0] for line in ran.err.splitlines()] == ["error", "hint"], str(ran)
    assert "--help" in ran.err
    assert nobody.fails(*words, code=2)["code"] == "usage"


def test_no_command_shows_the_help_and_is_a_usage_error(nobody):
    ran = nobody(ok=False)
    assert ran.code == 2
    assert "providers" in ran.out + ran.err


@pytest.mark.parametrize("key", ["ZEROG_PRIVATE_KEY", "PRIVATE_KEY", "ZG_PRIVATE_KEY"])
def test_a_key_in_an_error_is_blotted_out(nobody, monkeypatch, key):
    secret = "0x" + "ab12" * 16

    def leak(*_args, **_options):
        raise ChainError(f"the node says {secret.upper()} and Bearer app-sk-eyJhIjoxfQ==", hint=secret)

    monkeypatch.setattr(Broker, "services", leak)
    error = nobody.fails("providers", code=1, **{key: secret})
    assert "AB12" not in error["message"]
    assert error["hint"] == "0x…"


def test_details_are_shown_as_data_and_without_objects(nobody, monkeypatch):
    def fail(*_args, **_options):
        raise ChainError("no", transaction="0x12", big=2**60, money=neuron(5), objects=(object(), [1]), nothing=None)

    monkeypatch.setattr(Broker, "services", fail)
    assert nobody.fails("providers", code=1)["details"] == {
        "transaction": "0x12",
        "big": str(2**60),
        "money": {"amount": "0.000000000000000005", "currency": "0G", "neuron": "5"},
        "objects": [None, [1]],
        "nothing": None,
    }


def test_a_fault_of_ours_is_one_line_that_says_how_to_report_it(nobody, monkeypatch):
    def fail(*_args, **_options):
        raise RuntimeError("out of\nluck")

    monkeypatch.setattr(Broker, "services", fail)
    ran = nobody("providers", ok=False)
    assert ran.code == 1
    assert ran.err.splitlines()[0] == "error: unexpected RuntimeError: out of luck"
    assert "ZEROG_DEBUG=1" in ran.err
    assert nobody.fails("providers", code=1)["code"] == "bug"


def test_an_error_of_the_system_is_one_line(nobody, monkeypatch):
    def fail(*_args, **_options):
        raise OSError(errno.EACCES, "Permission denied", "some.file")

    monkeypatch.setattr(Broker, "services", fail)
    error = nobody.fails("providers", code=1)
    assert (error["code"], error["message"]) == ("system", "Permission denied: some.file")
