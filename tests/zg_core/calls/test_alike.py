"""Events that are read without being parsed say what they would have said parsed, whatever comes between them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import cycle, islice, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.effort import tries
from tests.zg_core.calls.test_reading import DONE, made
from zg_core.calls import alike
from zg_core.calls.alike import Pattern, Words, spread
from zg_core.calls.reading import Form, Reading
from zg_core.errors import RequestError
from zg_core.http.bodies import BodyBroken

BASE = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1.5, "model": "m"}


def said(delta: dict[str, Any], choice: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {**BASE, "choices": [{"index": 0, "delta": delta, "finish_reason": None, **(choice or {})}], **more}


def framed(events: Iterable[dict[str, Any]], **options: Any) -> bytes:
    options = {"separators": (",", ":"), "ensure_ascii": False, **options}
    return b"".join(b"data: " + json.dumps(e, **options).encode("utf-8", "surrogatepass") + b"\n\n" for e in events)


class Read:
    """All that is known of a stream that came in `chunks`, read with or without looking for what is alike."""

    def __init__(self, chunks: Iterable[bytes], form: Form = Form.EVENTS, *, alike: bool) -> None:
        call = made()
        reading = Reading(call, form, alike=alike)
        self.shown: list[Any] = []
        self.error = ""
        try:
            for chunk in chunks:
                self._show(reading.feed(chunk))
                reading.check()
            self._show(reading.close())
            reading.check()
        except (RequestError, BodyBroken) as error:
            self.error = repr(error)
        raw = form is Form.RAW
        self.events = [b"".join(self.shown)] if raw else [json.dumps(each) for each in spread(self.shown)]
        self.words = sum(len(each.texts) for each in self.shown if isinstance(each, Words))
        exchange = call.exchange
        self.known = "".join(call.text), call.usage, call.odd_usage, call.finished, exchange.body_id, reading.done
        self.hashed = exchange.response_sha256, exchange.size, reading.text()

    def _show(self, seen: list[Any]) -> None:
        self.shown += seen


def same(chunks: list[bytes]) -> Read:
    fast, slow = Read(chunks, alike=True), Read(chunks, alike=False)
    assert slow.words == 0
    raw_fast, raw_slow = (Read(chunks, Form.RAW, alike=alike) for alike in (True, False))
    for one, other in ((fast, slow), (raw_fast, raw_slow)):
        assert (one.events, one.error, one.known, one.hashed) == (other.events, other.error, other.known, other.hashed)
    return fast


TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "a", "b", "\n", '"', "\\", "\\n", "\ud83d", "\ude00", "\U0001f600", "\x7f", "\u2028", "[",
                     "data: ", "\n\ndata: {}", '"content":"', "\t\x00"]),
)  # fmt: skip
ODD = [
    said({}, {"finish_reason": "stop"}),
    said({"content": "x"}, {"finish_reason": "stop"}),
    said({"content": "x"}, {"logprobs": {"content": []}}),
    said({"content": "x", "tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}),
    said({"content": ["x"]}),
    said({"content": None}),
    said({"role": "assistant", "content": ""}),
    said({"content": "x"}, usage={"prompt_tokens": 9, "completion_tokens": 5}),
    said({"content": "x"}, content="a"),
    said({"content": "x"}, {"content": "b"}),
    said({"content": "x"}, {"error": {"message": "gone"}}),
    {**said({"content": "x"}), "error": "gone"},
    {"choices": [said({"content": side}, {"index": index})["choices"][0] for index, side in enumerate("ab")]},
    {"choices": []},
    {"content": "a", "choices": [{"message": {"content": "x"}}]},
]
BETWEEN = st.sampled_from([b"", b"", b"", b": ping\n\n", b"data:\n\n", b"data: : hi\n\n", b"event: x\n", b"\n", b"\r",
                           b"id: 7\r\n", b"data: {\n", DONE, b'{"error":"gone"}\n', b"data: junk\n\n"])  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """A stream as no good server sends it, in pieces: mostly words, and odd events between them."""
    more = draw(st.sampled_from([{}, {"role": "assistant"}, {"refusal": None}, {"reasoning": "why"}, {"audio": {}}]))
    first = draw(st.booleans())  # whether what is said beside it stands before the text
    options = {"ensure_ascii": draw(st.booleans()), "separators": draw(st.sampled_from([(",", ":"), (", ", ": ")]))}
    whole = draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\n"]))
    for each in draw(st.lists(st.one_of(TEXTS, TEXTS, TEXTS, st.sampled_from(ODD)), max_size=14)):
        delta = {**more, "content": each} if first else {"content": each, **more}
        whole += draw(BETWEEN) if draw(st.integers(0, 3)) == 0 else b""
        whole += framed([each if isinstance(each, dict) else said(delta)], **options)
    whole += draw(st.sampled_from([DONE, b"", DONE + DONE]))
    if draw(st.integers(0, 3)) == 0:
        whole = whole.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r"])))
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):  # and what an attacker makes of it
        at, byte = (
            draw(st.integers(0, len(whole))),
            draw(st.sampled_from([b"", b'"', b"\\", b"\n", b"\r", b"\xff", b"x"])),
        )
        whole = whole[:at] + byte + whole[at + draw(st.integers(0, 2)) :]
    marks = sorted({0, len(whole), *draw(st.lists(st.integers(0, len(whole)), max_size=6))})
    return [whole[a:b] for a, b in pairwise(marks)]


@settings(max_examples=tries(3000, 150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(streams())
def test_nothing_tells_how_a_stream_was_read(chunks: list[bytes]) -> None:
    same(chunks)


@pytest.mark.parametrize("size", [1, 7, 1_000, 100_000, 10**9], ids=str)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_only_the_first_words_of_a_stream_are_parsed(size: int, ending: bytes) -> None:
    texts = [f"word{n} \N{SNOWMAN}" + '"\n' * (n % 9 == 0) for n in range(600)]
    events = [said({"role": "assistant", "content": ""}), *(said({"content": text}) for text in texts)]
    body = framed([*events, said({}, {"finish_reason": "stop"})]).replace(b"\n", ending) + DONE
    found = same([body[at : at + size] for at in range(0, len(body), size)])
    assert found.words == len(texts) - 1
    assert found.known[0] == "".join(texts)


def test_words_go_on_where_what_is_beside_them_changes() -> None:
    events = [said({"content": str(n)}, created=n // 20) for n in range(200)]
    assert same([framed(events) + DONE]).words == 190


def test_a_stream_without_two_events_alike_is_soon_taken_as_it_is() -> None:
    learnt: list[bytes] = []

    class Counted(Reading):
        def _hear(self, data: bytes) -> Any:
            lessons = self._lessons
            heard = super()._hear(data)
            learnt.extend([data] * (self._lessons < lessons))
            return heard

    reading = Counted(made(), alike=True)
    reading.feed(framed([said({"content": "x"}, id=str(n)) for n in range(100)]))
    assert len(learnt) < 10


def test_who_changes_an_event_changes_no_other() -> None:
    events = [said({"content": text}) for text in "abcd"]
    reading = Reading(made(), alike=True)
    shown = [*reading.feed(framed(events[:2])), *reading.feed(framed(events[2:]))]
    assert sum(isinstance(each, Words) for each in shown) == 2
    seen = []
    for event in spread(shown):
        seen.append(json.dumps(event))
        event["choices"][0]["delta"]["content"] = event["choices"][0]["index"] = event["id"] = "changed"
        event["choices"][0]["delta"]["more"] = event["choices"][0]["more"] = event["more"] = 1
        event["choices"].append({})
    assert seen == [json.dumps(event) for event in events]


@pytest.mark.parametrize("text", ["a", "b", "x", ""])
@pytest.mark.parametrize("place", ["before", "behind", "twice", "as a text"])
def test_the_text_is_not_taken_for_another_of_its_name(text: str, place: str) -> None:
    inner = json.dumps(said({"content": text}))
    data = {
        "before": inner.replace('"id"', '"content": "a", "id"', 1),
        "behind": inner[:-1] + ', "content": "a"}',
        "twice": inner.replace('"delta": {', '"delta": {"content": "a", '),
        "as a text": inner.replace('"m"', json.dumps('"content": "a"')),
    }[place].encode()
    pattern = Pattern.of(data, parsed := json.loads(data))
    other = data.replace(b'"content": "a"', b'"content": "c"')
    words = pattern.text(other) if pattern is not None else None
    if words is not None and pattern is not None:
        assert pattern.event(words) == json.loads(other)
    if pattern is not None:
        parsed["choices"][0]["delta"]["content"] = "new"
        assert pattern.event("new") == parsed


def test_what_is_met_behind_words_is_raised_once_they_were_shown() -> None:
    reading = Reading(made(), alike=True)
    texts = list("abc")
    shown = reading.feed(framed(said({"content": text}) for text in texts) + b"data: junk\n\n")
    assert [event["choices"][0]["delta"]["content"] for event in spread(shown)] == texts
    for step in (reading.check, reading.close):
        with pytest.raises(RequestError) as caught:
            step()
        assert caught.value.code == "malformed_reply"


def test_bytes_of_events_that_are_alike_are_given_in_one_piece() -> None:
    reading = Reading(made(), Form.RAW, alike=True)
    events = [framed([said({"content": text})]) for text in ("a", "b", "c", "d", '"', "e")]
    assert reading.feed(b"".join(events)) == [events[0], b"".join(events[1:])]


def test_who_reads_bytes_gets_them_as_before() -> None:
    body = framed(said({"content": text}) for text in "abc") + DONE
    for form in (Form.TIDY, Form.RAW):
        reading = Reading(made(), form, alike=True)
        assert b"".join([*reading.feed(body), *reading.close(), *reading.last()]) == body


def test_an_event_with_many_places_for_its_text_is_tried_at_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    tried, parse = [], alike.parse_json

    def parsed(data: bytes) -> Any:
        tried.append(data)
        return parse(data)

    monkeypatch.setattr(alike, "parse_json", parsed)
    places = ",".join(['"content":"x"'] * 2000)
    same([b'data: {"n":%d,"choices":[{"delta":{%b}}]}\n\n' % (n, places.encode()) for n in range(5)])
    assert 0 < len(tried) <= 2 * 5 * 4  # read in two forms


@pytest.mark.parametrize("between", [b": still here\n\n", b'data: {"choices":[{"delta":{"content":"\\u0061"}}]}\n\n'])
def test_what_is_alike_but_for_what_comes_between_is_looked_through_a_few_times(
    monkeypatch: pytest.MonkeyPatch, between: bytes
) -> None:
    looked, plain = [], alike._NOT_PLAIN

    class Noted:
        def search(self, data: bytes) -> Any:
            looked.append(len(data))
            return plain.search(data)

    monkeypatch.setattr(alike, "_NOT_PLAIN", Noted())
    stream = b"".join(islice(cycle([framed([{"choices": [{"delta": {"content": "a"}}]}]), between]), 2000))
    found = same([stream])
    assert found.words == 999
    assert sum(looked) < 2 * 20 * len(stream)
