"""What a response is understood as, whatever its cuts: what may be shown, what ends it, what is an error. No I/O."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.backends.base import Route, Service
from zg_core.calls.call import Call
from zg_core.calls.reading import TAIL_BYTES, Form, Reading
from zg_core.errors import RequestError
from zg_core.exchange import Exchange
from zg_core.http.bodies import BodyBroken
from zg_core.money import Amount, Fee
from zg_core.pricing import Asked
from zg_core.receipts.model import Receipt
from zg_core.sse import SSEDecoder
from zg_core.types import Kind, Usage

PROVIDER = "0x" + "ab" * 20
SERVICE = Service(PROVIDER, "m", "chat", "https://p", Kind.TEE_ML)


def made(*, streamed: bool = True) -> Call:
    exchange = Exchange(b"{}")
    receipt = Receipt("direct", "local", 1, PROVIDER, "m", Kind.TEE_ML, "", 1, 1, Fee(Amount(0), exact=False))
    return Call(Route(SERVICE, "m"), exchange, receipt, Asked(2), time.monotonic(), streamed)


def event(text: str, **more: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}, **more}]}).encode() + b"\n\n"


HELLO = event("Hel") + event("lo", finish_reason="stop")
DONE = b"data: [DONE]\n\n"
USAGE = b'"usage":{"prompt_tokens":9,"completion_tokens":5}'
WHOLE = b'{"id":"x","choices":[{"index":0,"message":{"content":"Hello"}}],' + USAGE + b"}"


class Seen:
    """What a caller has seen of a body that came in `chunks`, in one form."""

    def __init__(self, *chunks: bytes, form: Form = Form.EVENTS, streamed: bool = True) -> None:
        self.call = made(streamed=streamed)
        self.reading = Reading(self.call, form)
        self.shown: list[Any] = []
        for chunk in chunks:
            self.shown += self.reading.feed(chunk)
        self.shown += self.reading.close()
        self.last = self.reading.last()

    @property
    def text(self) -> str:
        return "".join(choice["delta"]["content"] for each in self.shown for choice in each["choices"])

    @property
    def bytes(self) -> bytes:
        return b"".join([*self.shown, *self.last])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(marks)]


class TestTheEnd:
    @pytest.mark.parametrize("tail", [b"data: [DONE]\n\n", b"data:[DONE]\n\n", b"data:  [DONE]\n\n",
                                      b"data: [DONE] \t\n\n",
                                      b"data: [DONE]\r\n\r\n", b"data: [DONE]", b"data: [DONE]\n\ndata: [DONE]\n\n",
                                      b"data: [DONE]\n\n: bye\n\n", b"data: [DONE]\n\ndata:\n\n"])  # fmt: skip
    def test_is_what_servers_send(self, tail: bytes) -> None:
        seen = Seen(HELLO + tail)
        assert (seen.text, seen.reading.done) == ("Hello", True)

    @pytest.mark.parametrize("tail", [b"data: [DONE]x\n\n", b"data: [DONE]\ndata: x\n\n", b'data: [DONE]{"a":1}\n\n',
                                      b"data: [DONE]\ndata:\n\n", b"data: [DONE]\ndata\n\n", b"data: x[DONE]\n\n",
                                      b"data: [done]\n\n", b"data: [[DONE]]\n\n", b"data: [DONE]\0\n\n",
                                      b"data: [DONE]\n\n" + event("!"), b"data: [DONE]\n\ndata: x\n\n",
                                      b"data: [DONE]\n\ndata: {}"])  # fmt: skip
    @pytest.mark.parametrize("form", Form)
    def test_is_nothing_else(self, tail: bytes, form: Form) -> None:
        with pytest.raises(RequestError) as caught:
            Seen(HELLO + tail, form=form)
        assert caught.value.code == "malformed_reply"

    @pytest.mark.parametrize("form", [Form.TIDY, Form.RAW])
    def test_is_not_shown_before_it_is_asked_for(self, form: Form) -> None:
        seen = Seen(HELLO, DONE + b": bye\n\n", form=form)
        assert b"[DONE]" not in b"".join(seen.shown)
        assert b"lo" in b"".join(seen.shown)
        assert seen.last == ([DONE] if form is Form.TIDY else [DONE + b": bye\n\n"])

    def test_that_does_not_come_is_missed(self) -> None:
        for body in (b"", b" \n", event("Hel"), b": only a comment\n\n"):
            with pytest.raises(BodyBroken, match="without its end"):
                Seen(body)

    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
    def test_without_a_mark_is_an_end_that_was_not_seen(self, mark: bytes) -> None:
        seen = Seen(mark + HELLO)
        assert (seen.text, seen.reading.done) == ("Hello", False)

    def test_bounds_what_follows(self) -> None:
        Seen(HELLO + DONE, b": " + b"x" * (TAIL_BYTES - 4) + b"\n\n")
        with pytest.raises(BodyBroken, match="talks on"):
            Seen(HELLO + DONE, b": " + b"x" * (TAIL_BYTES - 3) + b"\n\n")


class TestFraming:
    @pytest.mark.parametrize(
        "body",
        [
            b"\xef\xbb\xbf" + HELLO + DONE,
            b"\n\n" + HELLO + DONE,
            b"data: \n\ndata:\n\n" + HELLO + b"data: \n\n" + DONE,
            b"data: : OPENROUTER PROCESSING\n\n" + HELLO + DONE,
            b": ping\n\nevent: message\nid: 7\nretry: 5\n" + HELLO + DONE,
            HELLO.replace(b'"delta"', b'"message"') + DONE,
            (HELLO + DONE).replace(b"\n", b"\r\n"),
            (HELLO + DONE).replace(b"\n", b"\r"),
            b'data: {"choices":[{"delta":\ndata: {"content":"Hello"}}]}\n\n' + DONE,
            WHOLE,
            b"\xef\xbb\xbf \n" + WHOLE,
        ],
        ids=["byte order mark", "blank lines", "empty data", "comments as data", "other fields", "message for delta",
             "CRLF", "CR", "many data lines", "no stream", "no stream, with a mark"],
    )  # fmt: skip
    @given(places=st.lists(st.integers(0, 2000), max_size=6))
    def test_of_the_field_is_read_alike_by_all(self, body: bytes, places: list[int]) -> None:
        chunks = cut(body, places)
        assert Seen(*chunks).text == "Hello"
        tidy = Seen(*chunks, form=Form.TIDY).bytes
        assert b"\r" not in tidy
        *events, end = SSEDecoder().feed(tidy)
        assert end == b"[DONE]"
        assert "".join(json.loads(data)["choices"][0]["delta"]["content"] for data in events) == "Hello"
        stream = WHOLE not in body  # whoever asked for a stream reads nothing else
        assert Seen(*chunks, form=Form.RAW).bytes == (body if stream else tidy)

    @given(places=st.lists(st.integers(0, 2000), max_size=8), ending=st.sampled_from([b"\n", b"\r\n", b"\r"]))
    def test_raw_bytes_are_cut_where_an_event_ends(self, places: list[int], ending: bytes) -> None:
        body = (b": hi\n\n" + HELLO + DONE + b": bye\n\n").replace(b"\n", ending)
        seen = Seen(*cut(body, places), form=Form.RAW)
        assert seen.bytes == body
        decoder = SSEDecoder()
        for part in seen.shown:
            decoder.feed(part)
            assert decoder.idle, "a part ends within an event"

    def test_half_a_character_is_shown_as_one_and_hashed_as_it_came(self) -> None:
        body = HELLO.replace(b"lo", b"l\xc3") + DONE
        seen = Seen(body)
        assert seen.text == "Hell\N{REPLACEMENT CHARACTER}"
        assert seen.call.exchange.response_sha256 == Seen(body, form=Form.RAW).call.exchange.response_sha256
        assert "\N{REPLACEMENT CHARACTER}".encode() in Seen(body, form=Form.TIDY).bytes

    @pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
    @pytest.mark.parametrize("form", Form)
    def test_nor_is_it_an_error_beside_a_number_that_only_servers_write(self, form: Form, number: bytes) -> None:
        body = HELLO.replace(b"lo", b"l\xc3").replace(b'"index"', b'"logprob": %b, "index"' % number) + DONE
        seen = Seen(body, form=form)
        assert seen.call.text == ["Hel", "l\N{REPLACEMENT CHARACTER}"]
        if form is Form.TIDY:
            last = json.loads(SSEDecoder().feed(seen.bytes)[1])["choices"][0]
            assert repr(last["logprob"]) == repr(json.loads(number))

    @pytest.mark.parametrize("data", [b"junk", b"[]", b"null", b'"x"', b"{", b"[" * 100_000, b"\xff"])
    def test_an_event_that_is_no_object_is_an_error(self, data: bytes) -> None:
        with pytest.raises(RequestError) as caught:
            Seen(HELLO + b"data: " + data + b"\n\n" + DONE)
        assert caught.value.code == "malformed_reply"

    def test_blanks_without_end_cost_no_more_than_their_length(self) -> None:
        reading = Reading(made())
        for _ in range(2_000):
            assert list(reading.feed(b" " * 1_000)) == []

    def test_a_stream_where_none_was_asked_for_is_no_answer(self) -> None:
        reading = Reading(made(streamed=False))
        assert list(reading.feed(HELLO + DONE)) == []
        with pytest.raises(RequestError) as caught:
            list(reading.close())
        assert caught.value.code == "malformed_reply"
        assert "Hel" in reading.text()


class TestWhole:
    @pytest.mark.parametrize("form", Form)
    def test_is_shown_once_it_has_ended(self, form: Form) -> None:
        reading = Reading(call := made(streamed=False), form)
        assert [*reading.feed(WHOLE[:20]), *reading.feed(WHOLE[20:])] == []
        (shown,) = reading.close()
        assert shown == (json.loads(WHOLE) if form is Form.EVENTS else WHOLE)
        assert reading.last() == []
        assert (call.usage, call.exchange.body_id) == (Usage(9, 5), "x")

    @pytest.mark.parametrize("streamed", [True, False])
    def test_is_shown_with_numbers_that_only_servers_write(self, streamed: bool) -> None:
        whole = WHOLE.replace(b"Hello", b"Hell\xc3").replace(b'"index"', b'"logprob":-Infinity,"index"')
        assert b'"logprob":-Infinity' in Seen(whole, form=Form.TIDY, streamed=streamed).bytes

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000])
    def test_that_is_no_object_is_an_error(self, body: bytes) -> None:
        with pytest.raises(RequestError) as caught:
            Seen(body, streamed=False)
        assert caught.value.code == "malformed_reply"


ERRORS: dict[str, dict[str, Any]] = {
    "beside choices": {"choices": [{"delta": {"content": ""}, "finish_reason": "error"}], "error": {"message": "gone"}},
    "in a choice": {"choices": [{"delta": {}, "error": {"message": "gone", "code": 502}}]},
    "alone": {"error": {"message": "gone"}},
    "as text": {"error": "gone"},
    "without a message": {"error": {"code": "gone"}},
    "by its object": {"object": "error", "message": "gone", "code": 500},
    "by its code": {"code": "gone away", "message": "gone"},
}


class TestErrors:
    @pytest.mark.parametrize("said", ERRORS.values(), ids=ERRORS)
    @pytest.mark.parametrize("form", Form)
    def test_of_the_provider_are_found_wherever_they_stand(self, said: dict[str, Any], form: Form) -> None:
        body = json.dumps(said).encode()
        with pytest.raises(RequestError, match="gone") as caught:
            Seen(event("Hel") + b"data: " + body + b"\n\n" + DONE, form=form)
        assert caught.value.code == "error_in_stream"
        with pytest.raises(RequestError, match="gone") as caught:
            Seen(body, form=form, streamed=False)
        assert caught.value.code == "error_in_reply"

    @pytest.mark.parametrize("form", Form)
    def test_that_say_the_prompt_is_too_long_are_named_so(self, form: Form) -> None:
        said = {"error": {"message": "prompt is too long: 205000 tokens > 200000 maximum"}}
        body = json.dumps(said).encode()
        for streamed, sent in ((True, b"data: " + body + b"\n\n"), (False, body)):
            with pytest.raises(RequestError) as caught:
                Seen(sent, form=form, streamed=streamed)
            assert caught.value.code == "context_length_exceeded"
            assert caught.value.details == {"context_window": 200000, "prompt_tokens": 205000}

    @pytest.mark.parametrize("form", Form)
    def test_a_page_where_a_stream_was_asked_for_is_none(self, form: Form) -> None:
        for body in (b"<html><title>Just a moment</title></html>", b"Bad Gateway\n\n", b"[1, 2]"):
            reading = Reading(made(), form)
            shown: list[Any] = []
            with pytest.raises(RequestError) as caught:
                shown += [*reading.feed(body[:7]), *reading.feed(body[7:]), *reading.close()]
            assert (caught.value.code, reading.text(), shown) == ("malformed_reply", body.decode(), [])

    @pytest.mark.parametrize("said", ["a\ud83d!", "\ude00", "\ud83d\ud83d\ude00"])
    @pytest.mark.parametrize("escaped", [True, False])
    def test_half_a_character_is_shown_as_one_that_is_missing(self, said: str, escaped: bool) -> None:
        body = json.dumps({"choices": [{"delta": {"content": said}}]}, ensure_ascii=escaped)
        data = b"data: " + body.encode("utf-8", "surrogatepass") + b"\n\n" + DONE
        text = Seen(data).text
        text.encode()
        assert "\N{REPLACEMENT CHARACTER}" in text
        assert ("\U0001f600" in text) == (said.endswith("\ud83d\ude00") and escaped)
        assert b"\xef\xbf\xbd" in Seen(data, form=Form.TIDY).bytes
        assert Seen(data, form=Form.RAW).bytes == data

    def test_characters_that_are_whole_are_left_alone(self) -> None:
        body = b'data: {"choices":[{"delta":{"content":"\\ud83d\\ude00 \\u00e9 \\\\ud83d"}}]}\n\n'
        assert Seen(body + DONE).text == "\U0001f600 \u00e9 \\ud83d"

    @pytest.mark.parametrize("error", [None, {}, "", [], {"message": None, "code": None}])
    def test_that_are_empty_are_none(self, error: Any) -> None:
        data = json.dumps({"choices": [{"delta": {"content": "lo"}, "error": error}], "error": error})
        assert Seen(event("Hel") + b"data: " + data.encode() + b"\n\n" + DONE).text == "Hello"

    def test_keep_no_token(self) -> None:
        with pytest.raises(RequestError) as caught:
            Seen(b'data: {"error":{"message":"died on Bearer app-sk-c2VjcmV0"}}\n\n')
        assert "c2VjcmV0" not in str(caught.value)


def test_the_usage_is_the_last_that_is_one() -> None:
    counts = [{"prompt_tokens": 9, "completion_tokens": 1}, None, {"prompt_tokens": 9, "completion_tokens": 5}, {}]
    body = b"".join(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n" for usage in counts)
    assert Seen(HELLO + body + DONE).call.usage == Usage(9, 5)
