"""Bytes: how a body is encoded, what identifies a reply, and that events do not depend on how a stream is cut."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import subprocess
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zg_core import jsontext
from zg_core.errors import ConfigError
from zg_core.exchange import Exchange
from zg_core.jsontext import encode_body, parse_json
from zg_core.sse import MAX_EVENT_BYTES, SSEDecoder

UUID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
texts = st.text(st.characters(codec="utf-8"))


def exchange(header: str | None = None, body_id: str = "") -> Exchange:
    made = Exchange(b"{}")
    made.headers = {} if header is None else {"zg-res-key": header}
    made.body_id = body_id
    return made


class TestEncodeBody:
    def test_is_compact_in_the_callers_order_and_utf8(self) -> None:
        payload = {"model": "m", "b": [1, 1.5, True, None], "a": {"z": "h\u00e9\u2028", "y": "<&>"}}
        assert (
            encode_body(payload) == '{"model":"m","b":[1,1.5,true,null],"a":{"z":"h\u00e9\u2028","y":"<&>"}}'.encode()
        )

    @given(
        st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers() | st.text(st.characters(codec="utf-8")))
    )
    @settings(max_examples=40)
    def test_is_read_back(self, payload: dict[str, Any]) -> None:
        assert json.loads(encode_body(payload)) == payload

    @pytest.mark.parametrize(
        "payload",
        [
            {"a": float("nan")},
            {"a": float("inf")},
            {"a": object()},
            {"a": b"x"},
            {(1, 2): "a"},
            {"a": {1}},
        ],
    )  # fmt: skip
    def test_refuses_what_is_no_json(self, payload: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            encode_body(payload)
        assert caught.value.code == "bad_request_body"

    def test_half_a_character_is_replaced_and_two_halves_are_one(self) -> None:
        assert encode_body({"a": "\ud800", "b": "\ud83d\ude00"}) == '{"a":"\ufffd","b":"\U0001f600"}'.encode()

    def test_refuses_a_payload_that_holds_itself(self) -> None:
        payload: dict[str, Any] = {}
        payload["a"] = payload
        with pytest.raises(ConfigError):
            encode_body(payload)


class TestHashing:
    @given(st.lists(st.binary(max_size=50)))
    def test_does_not_depend_on_the_chunks(self, chunks: list[bytes]) -> None:
        made = Exchange(b"request")
        for chunk in chunks:
            made.feed(chunk)
        whole = b"".join(chunks)
        assert made.response_sha256 == hashlib.sha256(whole).hexdigest()
        assert made.size == len(whole)
        assert made.request_sha256 == hashlib.sha256(b"request").hexdigest()

    def test_can_be_asked_in_between(self) -> None:
        made = Exchange(b"")
        for byte in b"abc":
            made.feed(bytes([byte]))
            assert len(made.response_sha256) == 64
        assert made.response_sha256 == hashlib.sha256(b"abc").hexdigest()


class TestChatId:
    @pytest.mark.parametrize(
        ("header", "body_id", "chat_id", "tried"),
        [
            (UUID, "", UUID, (UUID,)),
            (UUID, "chatcmpl-other", UUID, (UUID,)),
            (None, f"chatcmpl-{UUID}", UUID, (UUID, f"chatcmpl-{UUID}")),
            (None, UUID, UUID, (UUID,)),
            (None, "", "", ()),
            ("../../etc/passwd", "chatcmpl-x", "x", ("x",)),
            ("", "chatcmpl-x", "x", ("x", "chatcmpl-x")),
            ("a b", "", "", ()),
            ("a" * 65, "", "", ()),
            ("x\n", "", "", ()),
            ("x?model=y", "", "", ()),
            ("\u00e9", "", "", ()),
            (None, "chatcmpl-", "", ()),
            (None, "a/b", "", ()),
        ],
    )
    def test_is_the_header_else_the_bodys_and_fit_for_a_url(
        self, header: str | None, body_id: str, chat_id: str, tried: tuple[str, ...]
    ) -> None:
        made = exchange(header, body_id)
        assert made.chat_id == chat_id
        assert made.chat_ids == tried

    @pytest.mark.parametrize(
        ("header", "body_id", "marks"),
        [
            ("KEY", "", {"key"}),
            (None, "chatcmpl-one", set()),
            (None, f"chatcmpl-{UUID}", {UUID}),
            ("other", f"chatcmpl-{UUID.replace('-', '')}", {"other", UUID.replace("-", "")}),
            ("../x", "chatcmpl-one", set()),
            ("other", f"chatcmpl-{UUID}", {"other", UUID}),
            (UUID.upper(), f"chatcmpl-{UUID}", {UUID}),
            ("other", "chatcmpl-0", {"other"}),
            (None, "", set()),
        ],
    )
    def test_an_old_reply_is_known_by_the_header_and_by_a_random_id_inside(
        self, header: str | None, body_id: str, marks: set[str]
    ) -> None:
        assert exchange(header, body_id).marks == marks


BOM = b"\xef\xbb\xbf"


class TestParseJson:
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | texts | st.floats(allow_nan=False),
            lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
            max_leaves=15,
        )
    )  # fmt: skip
    @settings(max_examples=50)
    def test_reads_what_json_reads(self, value: Any) -> None:
        text = json.dumps(value, ensure_ascii=False)
        assert parse_json(text) == parse_json(text.encode()) == value

    @pytest.mark.parametrize(
        "text", [b'{"a":1} \r\n\t', b' {"a":1}', b'\xef\xbb\xbf{"a":1}', b'\xef\xbb\xbf\n{"a":1}\n']
    )
    def test_white_space_and_a_byte_order_mark_around_it_are_passed_over(self, text: bytes) -> None:
        assert parse_json(text) == {"a": 1}

    @pytest.mark.parametrize("end", ["x", "{}", "\x0b", "\u00a0", "\x00"])
    def test_anything_else_after_the_value_is_refused(self, end: str) -> None:
        with pytest.raises(ValueError):
            parse_json('{"a":1}' + end)

    def test_reads_much_that_is_flat(self) -> None:
        value = [{"a": ['"', "[[[", "\\", "{" * 10], "b\\": {}}] * 2000
        assert parse_json(json.dumps(value).encode()) == value

    @pytest.mark.parametrize("depth", [501, 2000, 200_000])
    @pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
    def test_refuses_what_is_too_deep_for_the_parser(self, opening: bytes, closing: bytes, depth: int) -> None:
        for closed in (True, False):
            with pytest.raises(ValueError, match="deeper"):
                parse_json(opening * depth + b"1" + closing * depth * closed)

    def test_reads_500_levels(self) -> None:
        assert parse_json(b"[" * 500 + b"]" * 500)

    @pytest.mark.parametrize("text", [b'"' + b'\\"' * 200_000 + b"[" * 501, b'"' + b"\\" * 1_000_001 + b"[" * 501])
    def test_a_text_without_end_costs_no_more_than_reading_it(self, text: bytes) -> None:
        with pytest.raises(ValueError):
            parse_json(text)

    @pytest.mark.parametrize(
        "value", [b"[]", b"{}", b'{"a":1}', b"[1]", b'{"%d":0}', b'"ab"', '"\U0001f600"'.encode(), b"1.5"]
    )
    def test_refuses_what_would_fill_the_memory(self, value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        """The most that is read takes no more than twice the bound, here of a megabyte."""
        bound = 1024 * 1024
        monkeypatch.setattr(jsontext, "_HEAVIEST", bound)
        monkeypatch.setattr(jsontext, "_LIGHT", bound // 64)

        def text(count: int) -> bytes:
            return b"[" + b",".join(value.replace(b"%d", b"%d" % n) for n in range(count)) + b"]"

        def refused(count: int) -> bool:
            return jsontext._is_heavy(text(count))

        first = bisect.bisect_left(range(100_000), True, key=refused)
        largest, refusal = text(first - 1), text(first)
        tracemalloc.start()
        try:
            assert len(parse_json(largest)) == first - 1
            assert tracemalloc.get_traced_memory()[1] < 2 * bound + 3 * len(largest)
        finally:
            tracemalloc.stop()
        with pytest.raises(ValueError, match="in memory"):
            parse_json(refusal)

    def test_refuses_thirty_megabytes_of_nothing_without_reading_them(self) -> None:
        raw = b'{"id":"x","choices":[' + b"[]," * 10_000_000 + b"[]]}"
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match="in memory"):
                parse_json(raw)
            assert tracemalloc.get_traced_memory()[1] < 3 * len(raw)
        finally:
            tracemalloc.stop()

    def test_reads_long_texts_of_brackets_and_embeddings(self) -> None:
        assert parse_json(json.dumps({"text": '[]{},"' * 3_000_000}))["text"].startswith("[]{}")
        numbers = b"[" + b",".join([b"-0.0069292834"] * 1_000_000) + b"]"
        assert len(parse_json(numbers)) == 1_000_000

    @pytest.mark.parametrize("data", [b"", b"\xff", b"nonsense", b"[1", b"9" * 5000, "\ud800"])
    def test_refuses_junk_with_a_value_error(self, data: bytes | str) -> None:
        with pytest.raises(ValueError):
            parse_json(data)

    def test_a_hundred_thousand_brackets_do_not_kill_a_process_with_a_raised_recursion_limit(self) -> None:
        code = (
            "import sys; sys.setrecursionlimit(100_000)\n"  # as importing py_ecc does
            "from zg_core.jsontext import parse_json\n"
            "try: parse_json('[' * 100_000)\n"
            "except ValueError: print('refused')"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout) == (0, "refused\n"), result.stderr


def decode(chunks: list[bytes]) -> list[bytes]:
    decoder = SSEDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.flush()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
payloads = st.binary(max_size=12).map(lambda b: b.replace(b"\r", b"").replace(b"\n", b""))
lines = st.one_of(
    payloads.map(lambda p: b"data: " + p),
    payloads.map(lambda p: b"data:" + p),
    payloads.map(lambda p: b": " + p),
    st.sampled_from([b"", b"", b"event: x", b"id: 1", b"retry: 5", b"data", b"data : x", "data: h\u00e9".encode()]),
    st.sampled_from([b'{"error":{}}', b"{", b" {", b"[1]"]),
)
streams = st.lists(st.tuples(lines, line_ends)).map(lambda parts: b"".join(line + end for line, end in parts))


def reference(data: bytes) -> list[bytes]:
    """Server-sent events by the book: lines, then fields, then blank lines; and errors that stand there as they are."""
    events, current = [], []
    for line in (data + b"\n\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if line.startswith(b"data:"):
            value = line[5:]
            current.append(value.removeprefix(b" "))
        elif line == b"data":
            current.append(b"")
        elif line.startswith(b"{"):
            events.append(line)
        elif not line and current:
            events.append(b"\n".join(current))
            current = []
    return events


class TestSSEDecoder:
    @given(data=streams, places=st.lists(st.integers(0, 10_000)))
    @settings(max_examples=200)
    def test_no_cut_and_no_line_ending_changes_the_events(self, data: bytes, places: list[int]) -> None:
        assert decode(cut(data, places)) == decode([data]) == reference(data)

    @given(data=st.binary(max_size=200), places=st.lists(st.integers(0, 1000)))
    def test_any_bytes_are_cut_into_something(self, data: bytes, places: list[int]) -> None:
        assert decode(cut(data, places)) == reference(data)

    @given(data=streams)
    @settings(max_examples=50)
    def test_byte_by_byte_with_empty_chunks_between(self, data: bytes) -> None:
        chunks = [chunk for byte in data for chunk in (bytes([byte]), b"")]
        assert decode(chunks) == reference(data)

    def test_a_newline_that_comes_after_an_empty_chunk_belongs_to_its_return(self) -> None:
        assert decode([b"data: a\r", b"", b"\ndata: b\r\n\r\n"]) == [b"a\nb"]

    def test_events_come_as_soon_as_they_end(self) -> None:
        decoder = SSEDecoder()
        assert decoder.feed(b"data: 1\n") == []
        assert decoder.feed(b"\n") == [b"1"]
        assert decoder.feed(b"data: 2\r\r") == [b"2"]
        assert decoder.feed(b"\ndata: 3") == []
        assert decoder.flush() == [b"3"]
        assert decoder.flush() == []

    def test_what_is_no_data_is_passed_over(self) -> None:
        assert decode([b": comment\n\nevent: x\ndata: a\nid: 7\n\n\n\ndata: [DONE]\n\n: bye\n\n"]) == [b"a", b"[DONE]"]

    def test_only_one_space_is_taken_away(self) -> None:
        assert decode([b"data:  a \n\ndata:\ta\n\n"]) == [b" a ", b"\ta"]

    @pytest.mark.parametrize("piece", [b"x" * 65536, b"data: " + b"x" * 65536 + b"\n", b"x" * 65535 + b"\r"])
    def test_an_event_beyond_8_mb_is_refused_however_it_comes(self, piece: bytes) -> None:
        decoder = SSEDecoder()
        assert decoder.feed(b"data: begin\n") == []
        if piece.endswith(b"\r"):
            piece = b"data: " + piece  # lines of their own
        with pytest.raises(ValueError, match="8 MB"):
            for _ in range(MAX_EVENT_BYTES // 65536 + 1):
                decoder.feed(piece)

    def test_a_long_stream_of_small_events_is_not(self) -> None:
        decoder = SSEDecoder()
        event = b"data: " + b"x" * 1000 + b"\n\n"
        assert sum(len(decoder.feed(event * 64)) for _ in range(200)) == 64 * 200

    def test_a_long_line_in_small_pieces_costs_no_more_than_its_length(self) -> None:
        # Joining at every piece would copy 4 MB 65,536 times.
        decoder = SSEDecoder()
        for _ in range(65_536):
            assert decoder.feed(b"x" * 64) == []
        assert decoder.feed(b"\n\n") == []


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '{"a": {"b": 1, "\\u0062": 2}}', '[{"a": 1, "b": 2, "a": 3}]'])
def test_a_name_that_is_there_twice_can_be_refused(text: str) -> None:
    assert parse_json(text)
    with pytest.raises(ValueError, match="twice"):
        parse_json(text, unique=True)
    assert parse_json('{"a": {"a": 1}, "b": [{"a": 1}, {"a": 1}]}', unique=True)
