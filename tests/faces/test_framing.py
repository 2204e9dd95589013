"""What servers make of a stream and of its end: what is shown was judged, and no form of it is silence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.faces.enclave import ANSWER, CHOICE, COUNTED, DONE, STREAM, WHOLE, Enclave, event
from tests.faces.faces import Face
from tests.zg_core.raw_server import CLOSE, STALL, chunk
from zg_core import RequestError, StreamTruncated, VerificationFailed, VerificationUnavailable

EVENTS = STREAM.removesuffix(DONE)
HONEST = {
    "as it is": STREAM,
    "blanks after the end": EVENTS + b"data: [DONE] \n\n",
    "blanks before the end": EVENTS + b"data:   [DONE]\n\n",
    "no blank line": EVENTS + b"data: [DONE]",
    "the end twice": STREAM + DONE,
    "a comment after the end": STREAM + b": bye\n\n",
    "a byte order mark": b"\xef\xbb\xbf" + STREAM,
    "empty data": b"data: \n\ndata:\n\n" + EVENTS + b"data: \n\n" + DONE,
    "comments as data": b"data: : PROCESSING\n\n" + STREAM,
    "other fields": b": hi\n\nretry: 9\nevent: message\nid: 1\n" + STREAM,
    "CRLF": STREAM.replace(b"\n", b"\r\n"),
    "CR": STREAM.replace(b"\n", b"\r"),
    "message for delta": STREAM.replace(b'"delta"', b'"message"'),
    "one whole body": WHOLE,
    "an empty error": EVENTS + b'data: {"choices":[],"error":{}}\n\n' + DONE,
    "no mark of the end": EVENTS,
    "no reason to finish": STREAM.replace(b'"finish_reason": "stop"', b'"finish_reason": null'),
    "half a character": STREAM.replace(b"Paris.", b"Par\xc3s."),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_stream_in_any_form_is_shown_and_verified(stream: Face, enclave: Enclave, name: str) -> None:
    enclave.say(HONEST[name], pieces=100)
    seen = stream.ask({**enclave.settings, "verify": "require"})
    assert seen.raised is None
    assert seen.text == ANSWER.replace("Pari", "Par\N{REPLACEMENT CHARACTER}" if name == "half a character" else "Pari")
    assert (seen.verdict, seen.outcomes) == ("verified", ["answered"])


ENDS = {
    "as it is": DONE,
    "a blank after it": b"data: [DONE] \n\n",
    "junk after it": b"data: [DONE]x\n\n",
    "two data lines": b"data: [DONE]\ndata: x\n\n",
    "an empty data line after it": b"data: [DONE]\ndata:\n\n",
    "a field without a colon": b"data: [DONE]\ndata\n\n",
    "JSON after it": b'data: [DONE]{"a":1}\n\n',
    "a null byte": b"data: [DONE]\0\n\n",
    "another one after it": DONE + event(" Or not."),
    "text after it": DONE + b"data: or not\n\n",
    "none": b"",
    "in a comment": b": [DONE]\n\n",
    "upper and lower case": b"data: [Done]\n\n",
    "a blank line too few": b"data: [DONE]\n",
}


@pytest.mark.parametrize("name", ENDS)
def test_an_altered_stream_is_never_silence_whatever_its_end(stream: Face, enclave: Enclave, name: str) -> None:
    enclave.say(EVENTS.replace(b"Paris", b"Hades") + ENDS[name], signed=STREAM)
    seen = stream.ask({**enclave.settings, "verify": "require"})
    assert isinstance(seen.error, VerificationFailed | VerificationUnavailable | RequestError), seen.raised
    assert seen.receipt.verdict.satisfies("claimed") is False
    assert str(seen.receipt.verdict.status) in ("failed", "unavailable")


@pytest.mark.parametrize("name", ["as it is", "junk after it", "none"])
def test_an_altered_stream_that_is_held_is_not_shown(stream: Face, enclave: Enclave, name: str) -> None:
    word = "stream_policy" if stream.name in ("langchain", "llamaindex") else "stream"
    settings = {**enclave.settings, "verify": "require", word: "hold"}
    enclave.say(EVENTS.replace(b"Paris", b"Hades") + ENDS[name], signed=STREAM)
    seen = stream.ask(settings)
    assert isinstance(seen.error, VerificationFailed | VerificationUnavailable | RequestError), seen.raised
    assert seen.text == ""
    seen = stream.ask(settings)
    assert (seen.text, seen.verdict) == (ANSWER, "verified")


@pytest.mark.parametrize("name", ["as it is", "a blank after it", "another one after it", "junk after it"])
def test_an_altered_stream_is_an_error_even_where_only_lies_are(stream: Face, enclave: Enclave, name: str) -> None:
    enclave.say(EVENTS.replace(b"Paris", b"Hades") + ENDS[name], signed=STREAM)
    seen = stream.ask({**enclave.settings, "verify": "warn"})
    expected = VerificationFailed if ENDS[name].strip() == b"data: [DONE]" else RequestError
    assert isinstance(seen.error, expected), seen.raised
    assert seen.error.text.startswith("The capital is Hades.")


@pytest.mark.parametrize("then", [[STALL], [CLOSE]], ids=["silent", "closed"])
@pytest.mark.parametrize("altered", [False, True], ids=["honest", "altered"])
def test_what_follows_the_end_is_waited_for_and_never_accuses(
    stream: Face, enclave: Enclave, monkeypatch: pytest.MonkeyPatch, then: list[Any], altered: bool
) -> None:
    monkeypatch.setattr("zg_core.calls.path.TAIL_SECONDS", 0.1)
    body = STREAM.replace(b"Paris", b"Hades") if altered else STREAM
    enclave.say(body, signed=STREAM, then=then)
    seen = stream.ask({**enclave.settings, "verify": "require"})
    if altered:
        assert isinstance(seen.error, VerificationUnavailable), seen.raised
        assert seen.verdict == "unavailable (incomplete)"
    else:
        assert (seen.text, seen.verdict) == (ANSWER, "verified")


@pytest.mark.parametrize(
    ("body", "then"),
    [
        (event("The capital "), [CLOSE]),
        (event("The capital "), []),
        (event("The capital "), [chunk(b'data: {"cho'), CLOSE]),
        (EVENTS, [CLOSE]),
    ],
    ids=["before it finished", "without its end", "within an event", "after it finished"],
)
def test_a_stream_that_is_cut_says_so_and_accuses_nobody(
    stream: Face, enclave: Enclave, body: bytes, then: list[Any]
) -> None:
    enclave.say(body, signed=STREAM, then=then)
    seen = stream.ask({**enclave.settings, "verify": "require"})
    assert isinstance(seen.error, StreamTruncated | RequestError), seen.raised
    assert seen.error.receipt is seen.receipt
    assert seen.error.text.startswith("The capital ")
    assert seen.verdict == "unavailable (incomplete)"


def test_a_stream_without_its_mark_that_differs_is_incomplete(stream: Face, enclave: Enclave) -> None:
    enclave.say(EVENTS.removesuffix(COUNTED), signed=STREAM)
    seen = stream.ask({**enclave.settings, "verify": "require"})
    assert isinstance(seen.error, VerificationUnavailable), seen.raised
    assert (seen.text, seen.verdict) == (ANSWER, "unavailable (incomplete)")


ERRORS: dict[str, dict[str, Any]] = {
    "beside choices": {"choices": [{"delta": {"content": ""}, "finish_reason": "error"}], "error": {"message": "gone"}},
    "in a choice": {"choices": [{"delta": {}, "error": {"message": "gone"}}]},
    "alone": {"error": {"message": "gone", "code": 502}},
    "as text": {"error": "gone"},
    "by its object": {"object": "error", "message": "gone"},
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_inside_a_success_is_one(face: Face, enclave: Enclave, name: str) -> None:
    said = json.dumps(ERRORS[name]).encode()
    body = event("The capital ") + b"data: " + said + b"\n\n" + DONE if face.stream else said
    enclave.say(body)
    seen = face.ask({**enclave.settings, "verify": "require"})
    assert isinstance(seen.error, RequestError), seen.raised
    assert "gone" in str(seen.error)
    assert seen.error.receipt is seen.receipt
    assert seen.outcomes == ["failed"]
    assert seen.error.text.startswith("The capital " if face.stream else "")


JUNK = {"HTML": b"<html>over quota</html>", "nothing": b"", "half": WHOLE[:40]}


@pytest.mark.parametrize("name", JUNK)
def test_a_success_that_is_no_answer_is_an_error_with_what_came(face: Face, enclave: Enclave, name: str) -> None:
    enclave.say(JUNK[name], None)
    seen = face.ask({**enclave.settings, "verify": "off"})
    assert isinstance(seen.error, RequestError), seen.raised
    assert seen.error.receipt is seen.receipt
    assert seen.text == ""


@pytest.mark.parametrize("name", ["a byte order mark", "blanks", "deep"])
def test_a_whole_answer_in_any_form_is_shown_and_verified(face: Face, enclave: Enclave, name: str) -> None:
    deep = json.dumps({"id": "@ID@", "choices": [CHOICE], "extra": [[[[1]]]]}).encode()
    enclave.say({"a byte order mark": b"\xef\xbb\xbf" + WHOLE, "blanks": b"\n " + WHOLE + b"\n\n", "deep": deep}[name])
    seen = face.ask({**enclave.settings, "verify": "require"})
    assert (seen.text, seen.verdict) == (ANSWER, "verified"), seen.raised


def test_an_altered_whole_answer_is_not_shown(face: Face, enclave: Enclave) -> None:
    if face.stream:
        enclave.say(STREAM.replace(b"Paris", b"Hades"), signed=STREAM)
    else:
        enclave.say(WHOLE.replace(b"Paris", b"Hades"), signed=WHOLE)
    seen = face.ask({**enclave.settings})
    assert isinstance(seen.error, VerificationFailed), seen.raised
    assert seen.error.text == "The capital is Hades."
    assert seen.text == ("The capital is Hades." if face.stream else "")
