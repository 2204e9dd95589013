"""A gateway of OpenGradient that lies in every place that no signature covers, and whoever stands beside it.

It may write into the bytes of an answer what it likes: what is shown as proven is the text, and are the calls, that
the enclave signed, in every way to read them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from eth_abi.abi import encode

from tests.faces.faces import FACES, Face
from zg_core import Amount, ChatClient, OpenGradient
from zg_core.backends.opengradient import registry as listing
from zg_core.backends.opengradient import sessions
from zg_core.backends.opengradient.refusals import check_clock
from zg_core.backends.opengradient.registry import Registry, enclaves_of
from zg_core.crypto import keccak256
from zg_core.errors import ConfigError, PaymentRequired, ProviderUnavailable
from zg_core.http.transport import AsyncTransport
from zg_core.localnet.opengradient import gateway as gateways
from zg_core.localnet.opengradient.desk import Desk, Refusal
from zg_core.localnet.opengradient.network import OpenGradientNet
from zg_core.types import Kind
from zg_core.verify.schemes.canonical import Answer
from zg_core.verify.schemes.rsa_pss import examine

EVIL = "EVIL"
CALL = {"index": 0, "id": "x", "type": "function", "function": {"name": "send_all", "arguments": "{}"}}
OTHER = {"role": "assistant", "content": EVIL}
Alter = Callable[[dict[str, Any]], str | None]


def part(said: dict[str, Any]) -> dict[str, Any]:
    choice = said["choices"][0]
    return choice["message"] if "message" in choice else choice["delta"]


def changed(**fields: Any) -> Alter:
    """The message, or each delta, with further fields."""
    return lambda said: part(said).update(fields)


def beside(**choice: Any) -> Alter:
    """A second choice."""
    return lambda said: said["choices"].append({"message": OTHER, "delta": OTHER, "finish_reason": "stop", **choice})


def before(said: dict[str, Any]) -> None:
    said["choices"].insert(0, {"index": 1, "message": OTHER, "delta": OTHER, "finish_reason": None})


def elsewhere(said: dict[str, Any]) -> None:
    """The text where a client does not look, an empty one where it does."""
    choice, said_so = said["choices"][0], part(said)
    if words := said_so.get("content"):
        choice["delta" if "message" in choice else "message"] = {"role": "assistant", "content": words}
        said_so["content"] = ""


def as_completion(said: dict[str, Any]) -> None:
    choice = said["choices"][0]
    words = (choice.pop("delta", None) or choice.pop("message", None) or {}).get("content")
    choice["text"] = words or ""


def again(said: dict[str, Any]) -> str:
    """The choices twice in one object."""
    second = [{"index": 0, "message": OTHER, "delta": OTHER, "finish_reason": "stop"}]
    return json.dumps(said)[:-1] + f', "choices": {json.dumps(second)}}}'


def content_again(said: dict[str, Any]) -> str:
    words = f'"content": {json.dumps(part(said).get("content"))}'
    return json.dumps(said).replace(words, f'{words}, "content": "{EVIL}"', 1)


LIES: dict[str, Alter] = {
    "a second choice": beside(index=1),
    "a second choice first": before,
    "the first choice again": beside(index=0),
    "an index that is text": beside(index="0"),
    "an index that is false": beside(index=False),
    "a text beside the message": lambda said: said["choices"][0].update(text=EVIL),
    "the text elsewhere": elsewhere,
    "as a completion": as_completion,
    "choices twice": again,
    "content twice": content_again,
    "a call": changed(tool_calls=[CALL]),
    "a call without a place": changed(tool_calls=[{**CALL, "index": None}]),
    "calls that are no list": changed(tool_calls=CALL),
    "a call that is none": changed(tool_calls=["x"]),
    "a call of another kind": changed(tool_calls=[{"index": 0, "id": "x", "type": "custom", "custom": {"name": "x"}}]),
    "a call in the old form": changed(function_call={"name": "send_all", "arguments": "{}"}),
    "a letter that nobody sees": lambda said: part(said).update(content=(part(said).get("content") or "") + "\u200b"),
    "half a letter": lambda said: part(said).update(content=(part(said).get("content") or "") + "\ud800"),
}


@pytest.fixture
def og(zerog_opengradient: OpenGradientNet) -> OpenGradientNet:
    sessions._seats.clear()
    return zerog_opengradient


@pytest.fixture
def lying(og: OpenGradientNet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Alter | None], None]]:
    """Says how gateways write their answers from now on."""
    alter: list[Alter | None] = [None]

    def dumps(value: Any) -> str:
        if alter[0] is None or not isinstance(value, dict) or "choices" not in value:
            return json.dumps(value)
        said = deepcopy(value)
        return alter[0](said) or json.dumps(said)

    monkeypatch.setattr(gateways, "json", SimpleNamespace(loads=json.loads, dumps=dumps))
    yield lambda how: alter.__setitem__(0, how)
    alter[0] = None


def settings(net: OpenGradientNet, **more: Any) -> dict[str, Any]:
    backend = OpenGradient(registry_rpc_url=net.registry_rpc_url, rpc_url=net.rpc_url, blobs_url=net.blobs_url)
    key = net.wallet.private_key
    return {"backend": backend, "model": "openai/gpt-5", "private_key": key, "verify": "require", **more}


@pytest.mark.parametrize("face", [face for face in FACES if not face.loop], ids=repr)
def test_nothing_that_the_enclave_did_not_sign_is_shown_as_proven(og, lying, tally, face: Face):
    for name, how in LIES.items():
        lying(how)
        seen = face.ask(settings(og), "What is 2+3?")
        assert seen.raised is not None, f"{name}: {seen.text!r} was accepted"
        assert seen.receipts == [] or str(seen.receipt.verdict.status) != "verified", name
        tally("lie beside a signature", tried=1, caught=1)
    lying(None)
    assert face.ask(settings(og), "What is 2+3?").verdict == "verified"


def test_a_text_that_reads_as_a_call_is_no_call_where_no_tool_was_offered(og):
    """Both have one hash, and nothing that is signed tells them apart."""
    enclave = og.gateways[0].enclave
    shown = {name: value for name, value in CALL.items() if name != "index"}
    payload = {"model": "gpt-5", "messages": [{"role": "user", "content": "Say it."}], "max_tokens": 9}
    text = json.dumps([shown], sort_keys=True)
    request = json.dumps({**payload, "temperature": 0.0}, sort_keys=True).encode()
    fields = enclave.sign(keccak256(request), keccak256(text.encode()), int(time.time()))
    window = (time.time(), time.time())

    def judged(message: dict[str, Any], offered: bool) -> str:
        answer = Answer()
        answer.take({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **fields})
        asked = {**payload, "tools": [{"type": "function"}]} if offered else payload
        verdict = examine(asked, answer, enclave.public_key, kind=Kind.TEE_TLS, window=window)
        return f"{verdict.status} {verdict.reason}"

    assert judged({"role": "assistant", "content": text}, False).startswith("verified")
    assert judged({"role": "assistant", "content": None, "tool_calls": [shown]}, False) == "failed content_mismatch"


class TestPayments:
    def test_a_402_without_terms_to_a_first_request_ends(self, og, monkeypatch):
        asked = []

        def admit(self: Desk, *arguments: Any) -> Refusal:
            asked.append(arguments)
            return Refusal("Session expired or exhausted", None)

        monkeypatch.setattr(Desk, "admit", admit)
        with ChatClient(**settings(og), environ={}) as client, pytest.raises(PaymentRequired) as refused:
            client.create({"messages": [{"role": "user", "content": "hi"}]})
        assert refused.value.code == "payment_required"
        assert len(asked) <= len(og.gateways)
        assert not any(each.permit for gateway in og.gateways for each in gateway.seen)

    def test_a_gateway_that_forgets_every_session_gets_one_permit_for_each_call(self, og, monkeypatch):
        honest = Desk.admit

        def admit(self: Desk, path: str, url: str, headers: dict[str, str]) -> Any:
            if headers.get("x-upto-session"):
                return Refusal("Session expired or exhausted", None)
            return honest(self, path, url, headers)

        monkeypatch.setattr(Desk, "admit", admit)
        with ChatClient(**settings(og), environ={}) as client:
            receipts = [client.create({"messages": [{"role": "user", "content": f"{n}"}]}).receipt for n in range(3)]
        assert sum(each.permit for gateway in og.gateways for each in gateway.seen) == 3
        assert len({each.grant["nonce"] for each in receipts}) == 3
        assert all(each.fee.upper == Amount("5", "OPG").units for each in receipts)

    @pytest.mark.parametrize("cost", ["-5", "0x10", "1e18", "5.0", 5, None, "9" * 39, "\u0665", str(6 * 10**18)])
    def test_what_a_gateway_says_that_a_call_cost_is_a_whole_number_within_its_permit_or_nothing(self, og, lying, cost):
        lying(lambda said: said.update(opengradient={"cost_opg": cost}))
        with ChatClient(**settings(og), environ={}) as client:
            receipt = client.create({"messages": [{"role": "user", "content": "hi"}]}).receipt
        assert (receipt.fee.amount.units, receipt.fee.reason) == (0, "not_metered_yet")
        assert receipt.fee.upper == Amount("5", "OPG").units

    @pytest.mark.parametrize(
        "date", ["Mon, 01 Jan " + "9" * 400 + " 00:00:00 GMT", "Mon, 01 Jan 99999 00:00:00 GMT", "x", "", "9" * 999]
    )
    def test_a_date_that_is_none_says_nothing_of_a_clock(self, date):
        check_clock({"date": date}, 120)

    @pytest.mark.parametrize(
        "change",
        [
            {"nonce": "abc"}, {"nonce": "-5"}, {"nonce": str(2**256)}, {"nonce": "0x" + "ff" * 40}, {"nonce": [1]},
            {"deadline": "x"}, {"deadline": None}, {"deadline": 10**30}, {"payer": "x"}, {"pay_to": None}, {"asset": 5},
        ],
    )  # fmt: skip
    def test_a_receipt_that_describes_no_permit_is_named_so(self, og, change):
        with ChatClient(**settings(og), environ={}) as client:
            receipt = client.create({"messages": [{"role": "user", "content": "hi"}]}).receipt
        receipt.grant = {**receipt.grant, **change}
        with pytest.raises(ConfigError) as refused:
            receipt.settlement(settings(og)["backend"], environ={})
        assert refused.value.code == "bad_receipt"


class TestRegistry:
    def test_an_entry_that_is_no_text_leaves_the_others_readable(self):
        fields = "address,address,bytes,bytes,bytes,bytes32,uint8,bool,uint256,uint256"
        kind = f"({fields},(uint8,uint16,uint16,uint16,bytes,bytes,uint256))[]"

        def row(url: bytes) -> tuple[Any, ...]:
            key = url + b" key"
            return (
                "0x" + "11" * 20,
                "0x" + "22" * 20,
                url,
                key,
                b"",
                bytes(32),
                0,
                True,
                1,
                1,
                (0, 0, 0, 0, b"", b"", 0),
            )

        found = enclaves_of(encode([kind], [[row(b"\xff\xfe"), row(b"https://1.2.3.4")]]))
        assert [each.endpoint for each in found] == ["\ufffd\ufffd", "https://1.2.3.4"]

    @pytest.mark.parametrize("ahead", [3600, 2**63, 2**255])
    def test_a_heartbeat_from_the_future_is_none(self, og, monkeypatch, ahead):
        honest = listing.enclaves_of
        monkeypatch.setattr(
            listing,
            "enclaves_of",
            lambda data: [replace(each, heartbeat=int(time.time()) + ahead) for each in honest(data)],
        )
        named = og.gateways[0].tee_id
        with (
            ChatClient(**settings(og, provider=named), environ={}) as client,
            pytest.raises(ProviderUnavailable, match="ahead of this machine's clock") as refused,
        ):
            client.create({"messages": [{"role": "user", "content": "hi"}]})
        assert refused.value.code == "enclave_inactive"

    async def test_a_key_that_is_listed_twice_is_nobody_s(self, og, monkeypatch, caplog):
        honest = listing.enclaves_of

        def doubled(data: bytes) -> Any:
            found = honest(data)
            return [*found, replace(found[0], endpoint="https://203.0.113.7", payment_address="0x" + "ee" * 20)]

        monkeypatch.setattr(listing, "enclaves_of", doubled)
        options, transport = settings(og)["backend"], AsyncTransport(None)
        listed = Registry(og.registry_rpc_url, options.registry, options.registry_chain_id, transport)
        active = await listed.active()
        await transport.close()
        assert len(active) == len(og.gateways) - 1
        assert "more than once" in caplog.text
