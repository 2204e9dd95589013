"""Sealed requests and answers: byte-equal to the published ones, and nothing that was touched opens."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zg_core.sealing.known import client, enclave, opener, private, profile, sealed, vectors
from zg_core.errors import ConfigError
from zg_core.jsontext import parse_json
from zg_core.sealing.canonical import bindings_of, decode, encode
from zg_core.sealing.envelopes import RESPONSE, Broken, Opener, SealedRequest
from zg_core.sealing.hpke import PrivateKey, receive, send
from zg_core.verify.schemes.sealed import Sealed, signed_text

CHAT, PROFILES = vectors("chat"), vectors("profiles")["profiles"]
FRAMES = [each["envelope"] for each in CHAT["stream"]["frames"]]


class TestRequests:
    def test_what_is_sent_is_what_the_enclave_opens(self) -> None:
        plain = CHAT["request"]["plain"]
        made = sealed(plain)
        envelope = json.loads(made.data)
        key = private(CHAT["recipient"]["enc_priv"])
        from zg_core.sealing.canonical import associated_data

        context = receive(key, decode(envelope["_e2ee"]["enc"]), b"0g-pc/v1/seal")
        opened = json.loads(context.open(decode(envelope["_e2ee"].pop("ciphertext")), associated_data(envelope)))
        assert opened == {name: plain[name] for name in ("messages", "tools", "tool_choice")}
        known = {**CHAT["request"]["envelope"], "_e2ee": {**CHAT["request"]["envelope"]["_e2ee"]}}
        for part in ("enc", "ciphertext"):  # those of another moment
            known["_e2ee"].pop(part)
            envelope["_e2ee"].pop(part, None)
        assert envelope == known

    def test_no_two_requests_are_alike(self) -> None:
        payload = {"model": "m", "messages": [{"role": "user", "content": "a secret"}]}
        first, second = (SealedRequest.seal(payload, profile("chat"), enclave()) for _ in range(2))
        assert first.data != second.data
        assert first.binding != second.binding
        assert b"secret" not in first.data

    def test_half_a_character_is_bound_as_it_is_sent(self) -> None:
        made = sealed({"model": "m", "messages": [], "user": "\ud800x"})
        assert json.loads(made.data)["user"] == "\ufffdx"

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(exclude_categories=())),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=8,
        )
    )  # fmt: skip
    def test_its_binding_is_that_of_the_bytes_that_are_sent(self, said: Any) -> None:
        made = sealed({"model": "m", "messages": [{"content": said}], "metadata": said, "user": "\ud800"})
        assert bindings_of([parse_json(made.data)]) == [made.binding]

    @pytest.mark.parametrize("payload", [{"messages": [], "seed": 10**400}, {"messages": [float("nan")]}])
    def test_what_cannot_be_bound_is_refused(self, payload: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            sealed(payload)

    def test_a_key_that_is_none_is_refused(self) -> None:
        from zg_core.sealing.envelopes import EnclaveKey

        with pytest.raises(ConfigError, match="key"):
            SealedRequest.seal({"messages": []}, profile("chat"), EnclaveKey(bytes(32), CHAT["signer"]))


class TestAnswers:
    def test_the_published_answer_opens(self) -> None:
        ours = opener()
        assert ours.open(CHAT["response"]["envelope"]) == CHAT["response"]["plain"]
        assert ours.final
        request = bytes.fromhex(CHAT["request"]["binding"])
        assert signed_text(Sealed.of(request, ours.bindings, streamed=False)) == CHAT["signatures"]["nonstream"]["text"]

    def test_the_published_stream_opens(self) -> None:
        ours = opener()
        assert [ours.open(frame) for frame in FRAMES] == CHAT["stream"]["plain_frames"]
        assert ours.final
        request = bytes.fromhex(CHAT["request"]["binding"])
        assert signed_text(Sealed.of(request, ours.bindings, streamed=True)) == CHAT["signatures"]["stream"]["text"]

    @pytest.mark.parametrize("name", ["image", "speech", "embedding"])
    def test_the_published_answer_of_another_task_opens(self, name: str) -> None:
        case, ours = PROFILES[name], opener(name)
        assert ours.open(case["response"]["envelope"]) == case["response"]["plain"]
        request = bytes.fromhex(case["request"]["binding"])
        assert signed_text(Sealed.of(request, ours.bindings, streamed=False)) == case["text"]

    def test_what_the_router_may_change_it_may(self) -> None:
        opened = opener().open(CHAT["response"]["after_router"]["envelope"])
        assert opened["choices"] == CHAT["response"]["plain"]["choices"]
        assert opened["x_0g_trace"]["billing"]["total_cost"] == "3"

    def test_a_bare_trace_is_no_frame(self) -> None:
        ours = opener()
        trace = {"x_0g_trace": {"request_id": "r"}}
        assert ours.open(trace) == trace
        ours.open(FRAMES[0])
        assert len(ours.bindings) == 1

    def test_an_error_inside_is_opened_and_shown(self) -> None:
        assert answer({"choices": [], "error": {"message": "gone"}}, {}, final=True)["error"] == {"message": "gone"}


def changed(change: Callable[[list[Any]], None]) -> list[Any]:
    frames = copy.deepcopy(FRAMES)
    change(frames)
    return frames


def _seal(name: str, value: Any) -> Callable[[list[Any]], None]:
    def change(frames: list[Any]) -> None:
        frames[1]["_e2ee"][name] = value

    return change


def _clear(name: str, value: Any, at: int = 1) -> Callable[[list[Any]], None]:
    def change(frames: list[Any]) -> None:
        frames[at][name] = value

    return change


TOUCHED: dict[str, Callable[[list[Any]], None]] = {
    "a frame left out": lambda frames: frames.pop(1),
    "two frames exchanged": lambda frames: frames.insert(1, frames.pop(2)),
    "a frame twice": lambda frames: frames.insert(1, frames[1]),
    "the final frame early": lambda frames: frames.insert(2, frames.pop()),
    "a frame after the final": lambda frames: frames.append(frames[2]),
    "a plain event": lambda frames: frames.insert(1, {"choices": [{"delta": {"content": "forged"}}]}),
    "a plain event after the final": lambda frames: frames.append({"choices": []}),
    "the clear part changed": _clear("created", 1),
    "the count changed": _clear("usage", {"prompt_tokens": 9, "completion_tokens": 9}, at=3),
    "a field added": _clear("extra", 1),
    "a plain choice beside the sealed": _clear("choices", []),
    "a plain error": _clear("error", {"message": "no"}),
    "final set": _seal("final", True),
    "final no word": _seal("final", 1),
    "usage unbound": _seal("unbound_fields", ["model", "x_0g_trace", "usage"]),
    "usage sealed": _seal("sealed_fields", ["choices", "usage"]),
    "nothing sealed": _seal("sealed_fields", []),
    "a field sealed twice": _seal("sealed_fields", ["choices", "choices"]),
    "sealed no list": _seal("sealed_fields", "choices"),
    "another version": _seal("v", 2),
    "begun anew": _seal("enc", FRAMES[0]["_e2ee"]["enc"]),
    "cipher of no base64": _seal("ciphertext", "***"),
    "cipher missing": lambda frames: frames[1]["_e2ee"].pop("ciphertext"),
    "version missing": lambda frames: frames[0]["_e2ee"].pop("v"),
    "no key": lambda frames: frames[0]["_e2ee"].pop("enc"),
    "another call's frames": lambda frames: frames.__setitem__(
        slice(None), [CHAT["response"]["envelope"], *FRAMES[1:]]
    ),
}


@pytest.mark.parametrize("touch", TOUCHED.values(), ids=TOUCHED)
def test_no_stream_that_was_touched_passes(touch: Callable[[list[Any]], None]) -> None:
    ours = opener()
    with pytest.raises(Broken):
        for frame in changed(touch):
            ours.open(frame)


def test_a_stream_that_was_cut_is_not_final() -> None:
    ours = opener()
    for frame in FRAMES[:-1]:
        ours.open(frame)
    assert not ours.final


def test_an_answer_sealed_to_somebody_else_opens_nothing() -> None:
    with pytest.raises(Broken) as caught:
        Opener(PrivateKey(), profile("chat")).open(FRAMES[0])
    assert caught.value.altered


def answer(plain: dict[str, Any], clear: dict[str, Any], *, name: str = "chat", final: bool = False) -> dict[str, Any]:
    """What comes of an answer that a clumsy enclave has sealed to us."""
    from zg_core.sealing.canonical import associated_data

    enc, context = send(client().public, RESPONSE)
    seal: dict[str, Any] = {"v": 1, "enc": encode(enc), "sealed_fields": list(plain), "unbound_fields": ["model"]}
    envelope = {**clear, "_e2ee": {**seal, "final": final}}
    envelope["_e2ee"]["ciphertext"] = encode(context.seal(json.dumps(plain).encode(), associated_data(envelope)))
    return opener(name).open(envelope)


@pytest.mark.parametrize(
    ("name", "plain", "clear"),
    [
        ("image", {"data": []}, {}),
        ("image", {"data": []}, {"usage": {"output_images": 1.5}}),
        ("image", {"data": []}, {"usage": {"output_images": True}}),
        ("embedding", {"data": []}, {"usage": {"total_tokens": 4}}),
        ("speech", {"text": "t"}, {"duration": None}),
        ("speech", {"text": "t"}, {"duration": "12"}),
        ("speech", {"text": "t"}, {"usage": None, "duration": 3}),
        ("speech", {"text": "t"}, {"usage": {"seconds": 2}, "duration": 3}),
        ("speech", {"text": "t"}, {"duration": 3, "segments": []}),
        ("speech", {"data": []}, {"duration": 3}),
    ],
)
def test_an_answer_that_hides_what_it_bills_is_refused(name: str, plain: Any, clear: Any) -> None:
    with pytest.raises(Broken):
        answer(plain, clear, name=name, final=True)


@pytest.mark.parametrize(
    "clear", [{"duration": 0}, {"usage": {"seconds": 3}, "duration": 3}, {"usage": {"seconds": 1.5}}]
)
def test_an_answer_that_says_its_seconds_is_taken(clear: Any) -> None:
    assert answer({"text": "t", "words": []}, clear, name="speech", final=True)["text"] == "t"
