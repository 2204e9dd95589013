"""Providers and chain records that mean harm: everything is bounded, typed, and never a traceback of something else."""

from __future__ import annotations

import gzip
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from tests.adversarial.conftest import settings_for
from tests.patience import PATIENCE
from tests.zg_core.raw_server import HEAD, STALL, Drip, Server, answer, chunk
from zg_core import Broker, ChatClient, VerificationWarning, ZeroGError
from zg_core.localnet import LocalNet
from zg_core.localnet.base.keys import Key
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.localnet.provider.onchain import STAKE, ChainSide, Registration
from zg_core.verify import Reason, Status
from zg_core.verify.replay import ReplayGuard

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 50}
OWNER = next(iter(DEV_KEYS.values()))
REPLY = {
    "id": "chatcmpl-1",
    "choices": [{"message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}],
}
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"Paris"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def register(net: LocalNet, **changes: Any) -> str:
    """A provider of our own on the real chain, with whatever it says of itself; its address."""
    key = Key.random()
    net.chain.set_balance(key.address, 2 * STAKE)
    facts: dict[str, Any] = {
        "service_type": "chatbot",
        "url": "http://127.0.0.1:9",
        "model": "hostile",
        "verifiability": "TeeML",
        "input_price": 1,
        "output_price": 1,
        "additional_info": "{}",
        "tee_signer": key.address,
    }
    side = ChainSide(net.chain, key, OWNER)
    side.register(Registration(**facts | changes), first=True)
    side.acknowledge()
    return key.address


@dataclass
class Hostile:
    """A provider whose server does as told, and the settings to call it."""

    server: Server
    settings: dict[str, Any]

    def paths(self) -> list[str]:
        return [received.head.split()[1].decode("latin-1") for received in self.server.received]


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for signatures that never come, and no memory of what the provider sent in another test."""
    monkeypatch.setattr("zg_core.backends.direct.backend.SIGNATURE_DELAYS", (0.0, 0.001))
    monkeypatch.setattr("zg_core.client._GUARD", ReplayGuard())


@pytest.fixture(scope="module")
def registered(net: LocalNet) -> Iterator[Hostile]:
    """One for all: what costs the time is the chain."""
    snapshot = net.snapshot()
    server = Server()
    address = register(net, url=server.url)
    net.open_account(net.wallet, address)
    yield Hostile(server, settings_for(net, net.wallet, address))
    server.stop()
    net.revert(snapshot)


@pytest.fixture
def hostile(registered: Hostile) -> Hostile:
    """With nothing received and nothing to say yet."""
    registered.server.script = []
    registered.server.received = []
    return registered


def outcome(everyone: Any, settings: dict[str, Any]) -> Any:
    """The receipt, or the error; both are ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerificationWarning)
        try:
            return everyone.call(settings, QUESTION).receipt
        except ZeroGError as error:
            found = error
    assert found.code
    assert len(str(found)) < 5_000, "an error repeats what the provider sent"
    return found


def whole(everyone: Any, body: dict[str, Any], **headers: str) -> list[Any]:
    """An honest-looking answer in the form that is asked for."""
    if everyone.stream:
        return [answer(EVENT + DONE, Content_Type="text/event-stream", **headers)]
    return [answer(json.dumps(body).encode(), Content_Type="application/json", **headers)]


IDS = {
    "parent": "../../../v1/admin",
    "parent, encoded": "%2e%2e%2fadmin",
    "10 kB": "a" * 10_000,
    "unicode": "\u00fc\u00df",
    "blank": " ",
    "query": "x?model=y",
    "fragment": "x#y",
    "another host": "@evil.example/",
    "nothing": "",
    "slash": "/",
    "null": "a%00b",
}


@pytest.mark.parametrize("name", IDS)
def test_a_chat_id_that_is_none_leads_nowhere(everyone, hostile, tally, name):
    hostile.server.script = [whole(everyone, {**REPLY, "id": IDS[name]}, ZG_Res_Key=IDS[name])]
    found = outcome(everyone, {**hostile.settings, "verify": "require"})
    verdict = found.receipt.verdict
    assert (verdict.status, verdict.reason) == (Status.UNAVAILABLE, Reason.NO_CHAT_ID), found
    assert [path for path in hostile.paths() if "signature" in path] == []
    tally("hostile chat id", tried=1, caught=1)


BODIES: dict[str, bytes] = {
    "deep": b"[" * 200_000 + b"]" * 200_000,
    "deep object": b'{"choices":' * 3_000 + b"1" + b"}" * 3_000,
    "duplicate keys": b'{"id":"a","id":"b","choices":[],"choices":[{"message":{"content":"x"}}],"usage":1,"usage":{}}',
    "NaN": b'{"choices":[{"message":{"content":NaN}}],"usage":{"prompt_tokens":NaN,"completion_tokens":Infinity}}',
    "huge number": b'{"usage":{"prompt_tokens":' + b"9" * 100_000 + b"}}",
    "huge exponent": b'{"usage":{"prompt_tokens":1e999999,"completion_tokens":-1e999999}}',
    "negative usage": b'{"choices":[],"usage":{"prompt_tokens":-5,"completion_tokens":-7}}',
    "half characters": b'{"choices":[{"message":{"content":"\\ud800"}}]}',
    "no UTF-8": b'{"choices":[{"message":{"content":"\xff\xfe"}}]}',
    "wrong types": b'{"id":7,"choices":{"0":1},"usage":[],"model":null}',
    "choices of junk": b'{"choices":[1,null,"x",[]],"usage":"much"}',
    "a list": b"[1,2]",
    "nothing": b"",
    "null": b"null",
    "text": b"<html>over quota</html>",
    "null bytes": b"\0" * 100,
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_junk_is_an_answer_or_an_error_of_ours(everyone, hostile, tally, name):
    body = BODIES[name]
    if everyone.stream:
        body = b"data: " + body.replace(b"\n", b"") + b"\n\n" + DONE
    hostile.server.script = [[answer(body, Content_Type="application/json", ZG_Res_Key="a-b-c")]] + [
        [answer(b"{}", "404 Not Found")] for _ in range(12)
    ]
    found = outcome(everyone, hostile.settings)
    receipt = getattr(found, "receipt", None) or found
    assert receipt.outcome in ("answered", "failed", "truncated"), found
    assert not receipt.verdict.satisfies("claimed")
    tally("hostile body", tried=1, caught=1)


DOCUMENTS: dict[str, bytes] = {
    "deep": b'{"text":' + b"[" * 100_000,
    "1 MB": b'{"text":"' + b"a" * 1_000_000 + b'"}',
    "numbers": b'{"text":1,"signature":2}',
    "a list": b"[]",
    "no UTF-8": b"\xff",
    "half a character": b'{"text":"\\ud800:\\ud800","signature":"0x"}',
    "zero signature": json.dumps({"text": ":".join(["0" * 64] * 2), "signature": "0x" + "00" * 65}).encode(),
    "not hex": json.dumps({"text": ":".join(["0" * 64] * 2), "signature": "0x" + "zz" * 65}).encode(),
    "many fields": json.dumps({"text": ":".join(["0" * 64] * 5000), "signature": "0x" + "11" * 64 + "1b"}).encode(),
    "upper case hashes": json.dumps({"text": ":".join(["AB" * 32] * 2), "signature": "0x" + "11" * 64 + "1b"}).encode(),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_signature_document_that_is_junk_never_verifies(everyone, hostile, tally, name):
    hostile.server.script = [whole(everyone, REPLY, ZG_Res_Key="a-b-c")] + [
        [answer(DOCUMENTS[name], Content_Type="application/json")] for _ in range(8)
    ]
    found = outcome(everyone, {**hostile.settings, "verify": "require"})
    verdict = found.receipt.verdict
    assert verdict.status in (Status.FAILED, Status.UNAVAILABLE), found
    assert len(verdict.signed_text) <= 4096
    tally("hostile signature document", tried=1, caught=1)


SLOW: dict[str, list[Any]] = {  # what drips does so for five minutes
    "a dripping head": [Drip([bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 15_000])],
    "a dripping body": [HEAD, Drip([chunk(b" ")] * 15_000)],
    "nothing": [STALL],
}


@pytest.mark.parametrize("how", SLOW)
def test_a_signature_without_end_is_given_up(everyone, hostile, tally, monkeypatch, how):
    monkeypatch.setattr("zg_core.backends.signatures.SIGNATURE_SECONDS", 0.5)
    hostile.server.script = [whole(everyone, REPLY, ZG_Res_Key="a-b-c"), *[SLOW[how]] * 20]
    began = time.monotonic()
    found = outcome(everyone, {**hostile.settings, "verify": "require"})
    assert time.monotonic() - began < PATIENCE / 4, "each look-up had its own time"
    verdict = found.receipt.verdict
    assert (verdict.status, verdict.reason) == (Status.UNAVAILABLE, Reason.NO_SIGNATURE)
    tally("signature without end", tried=1, caught=1)


def test_a_reply_without_end_is_cut_off(everyone, hostile, tally, monkeypatch):
    monkeypatch.setattr("zg_core.calls.reading.MAX_REPLY_BYTES", 1_000_000)
    piece = chunk((b": " + b"x" * 65_000 + b"\n\n") if everyone.stream else b" " * 65_004)
    hostile.server.script = [[HEAD, *[piece] * 40, STALL]]
    found = outcome(everyone, hostile.settings)
    assert found.code == "stream_truncated", found
    assert found.receipt.response_bytes < 1_200_000
    tally("reply without end", tried=1, caught=1)


def test_an_event_without_end_is_cut_off(everyone, hostile, tally, monkeypatch):
    monkeypatch.setattr("zg_core.sse.MAX_EVENT_BYTES", 200_000)
    monkeypatch.setattr("zg_core.calls.reading.MAX_REPLY_BYTES", 1_000_000)
    hostile.server.script = [[HEAD, *[chunk(b"data: " + b"x" * 65_000)] * 40, STALL]]
    found = outcome(everyone, hostile.settings)
    assert found.code == "stream_truncated", found
    tally("event without end", tried=1, caught=1)


@cache
def bomb() -> bytes:
    return gzip.compress(b" " * 50_000_000)


def test_a_small_body_does_not_become_a_huge_one(everyone, hostile, tally, monkeypatch):
    monkeypatch.setattr("zg_core.calls.reading.MAX_REPLY_BYTES", 1_000_000)
    assert len(bomb()) < 60_000
    hostile.server.script = [[answer(bomb(), Content_Encoding="gzip")]]
    found = outcome(everyone, hostile.settings)
    assert found.code == "stream_truncated", found
    assert found.receipt.response_bytes < 1_500_000
    tally("decompression bomb", tried=1, caught=1)


@pytest.mark.parametrize(
    "refusal",
    [b"", b"\xff" * 100, b"[" * 100_000, b'{"error":' + b'"x"' * 3, json.dumps({"error": "y" * 900_000}).encode()],
    ids=["empty", "no UTF-8", "deep", "broken", "900 kB"],
)
@pytest.mark.parametrize("status", ["400 Bad Request", "402 Payment Required", "500 Oops", "302 Found", "999 What"])
def test_a_refusal_that_is_junk_is_an_error_of_ours(each_client, hostile, status, refusal):
    hostile.server.script = [[answer(refusal, status, Location="https://evil.example/")]]
    found = outcome(each_client, hostile.settings)
    assert isinstance(found, ZeroGError)
    assert "evil.example" not in "".join(hostile.paths())


RECORDS: dict[str, dict[str, Any]] = {
    "info is deep": {"additional_info": "[" * 2000 + "]" * 2000},
    "info is NaN": {"additional_info": '{"ProviderType":NaN}'},
    "info is a list": {"additional_info": "[]"},
    "info has duplicate keys": {"additional_info": '{"ProviderType":"centralized","ProviderType":"decentralized"}'},
    "info says numbers": {"additional_info": '{"ProviderType":1,"TargetSeparated":"true","TargetTeeAddress":5}'},
    "info has half characters": {"additional_info": '{"ProviderIdentity":"\\ud800"}'},
    "tiers are junk": {"additional_info": '{"tieredPricing":{"tiers":[1,{"inputMultiplierDenominator":0}]}}'},
    "tiers are huge": {"additional_info": '{"tieredPricing":{"tiers":[{"inputMultiplier":1e400}]}}'},
    "divisor is zero": {"additional_info": '{"cacheTokenBilling":{"divisor":0}}'},
    "url is a script": {"url": "javascript:alert(1)"},
    "url is ftp": {"url": "ftp://evil.example"},
    "url is plain http": {"url": "http://evil.example"},
    "url has a password": {"url": "https://user:secret@evil.example"},
    "url has line breaks": {"url": "https://evil.example\r\nX-Injected: 1"},
    "url is unicode": {"url": "https://ev\u0131l.example"},
    "url is long": {"url": "https://evil.example/" + "a" * 2000},
    "url is nothing": {"url": ""},
    "url has no host": {"url": "https://"},
    "url has a port that is none": {"url": "https://evil.example:99999"},
    "model commands a terminal": {"model": "\x1b[2J\x1b]0;owned\x07model"},
    "model is nothing": {"model": ""},
    "price is the largest number": {"input_price": 2**256 - 1, "output_price": 2**256 - 1},
    "verifiability is unknown": {"verifiability": "OpML"},
    "type is unknown": {"service_type": "\U0001f600"},
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_hostile_record_harms_neither_the_list_nor_the_caller(each_client, net, tally, name):
    snapshot = net.snapshot()
    try:
        address = register(net, **RECORDS[name])
        with Broker.read_only(network="local", rpc_url=net.rpc_url, environ={}) as broker:
            listed = {service.provider: service for service in broker.services()}
        assert {provider.address for provider in net.providers} < set(listed), "one record hides the others"
        assert listed[address].kind
        net.open_account(net.wallet, address)
        found = outcome(each_client, settings_for(net, net.wallet, address))
        assert isinstance(found, ZeroGError), "a prompt went out"
        assert getattr(found, "receipt", None) is None, found
        tally("hostile record on chain", tried=1, caught=1)
    finally:
        net.revert(snapshot)


def test_the_command_line_shows_no_control_characters_of_a_record(net, monkeypatch, capsys):
    from typer.testing import CliRunner

    from zg_core.cli.app import cli

    snapshot = net.snapshot()
    register(net, **RECORDS["model commands a terminal"])
    environ = {"ZEROG_NETWORK": "local", "ZEROG_RPC_URL": net.rpc_url}
    result = CliRunner().invoke(cli, ["providers"], env=environ)
    net.revert(snapshot)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert "\x07" not in result.output


def test_many_header_lines_are_an_error_of_ours(everyone, hostile):
    lines = "".join(f"X-{n}: {'y' * 100}\r\n" for n in range(2_000))
    hostile.server.script = [[f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{lines}\r\n{{}}".encode()]]
    found = outcome(everyone, hostile.settings)
    assert isinstance(found, ZeroGError) or found.outcome == "answered"


def test_a_client_is_usable_after_all_that(hostile, net):
    settings = {**hostile.settings, "environ": {}}
    hostile.server.script = [[answer(b"x" * 1000)], [answer(json.dumps(REPLY).encode())]]
    with ChatClient(**{**settings, "verify": "off"}) as client:
        with pytest.raises(ZeroGError):
            client.create(QUESTION)
        assert client.create(QUESTION).text == "Paris"
        assert [receipt.outcome for receipt in client.receipts] == ["failed", "answered"]
