"""What a provider removes and rewrites in an answer before hashing it."""

from zg_core.localnet.provider.sanitize import event_payload, sanitize_body, sanitize_event


def test_the_id_becomes_the_providers_and_keys_are_sorted():
    assert sanitize_body(b'{"object":"x","id":"gen-1","n":1.50}', chat_id="chatcmpl-k") == (
        b'{"id":"chatcmpl-k","n":1.50,"object":"x"}'
    )


def test_what_has_no_id_and_no_leak_is_left_byte_for_byte():
    body = b'{ "object": "list",  "data": [] }'
    assert sanitize_body(body, chat_id="c") is body


def test_what_is_not_an_object_is_left():
    for body in (b"", b"nope", b"[1]", b"\xff\xfe"):
        assert sanitize_body(body, chat_id="c") is body


def test_fields_that_name_the_vendor_are_dropped_everywhere_but_in_contents():
    body = (
        b'{"provider":"x","choices":[{"native_finish_reason":"s","message":{"content":{"cost":1},"reasoning_details":[]}}],'
        b'"usage":{"cost":0.1,"is_byok":false,"cost_details":{},"prompt_tokens_details":{"audio_tokens":0,'
        b'"image_tokens":2,"video_tokens":0.0,"cached_tokens":0}}}'
    )
    assert sanitize_body(body, chat_id="c") == (
        b'{"choices":[{"message":{"content":{"cost":1}}}],"usage":{"prompt_tokens_details":{"cached_tokens":0,'
        b'"image_tokens":2}}}'
    )


def test_an_adapters_name_is_put_back():
    assert sanitize_body(b'{"id":"1","model":"base"}', chat_id="c", model="ft") == b'{"id":"c","model":"ft"}'


def test_answer_text_is_not_html_escaped():
    assert sanitize_body('{"id":"1","t":"<é>"}'.encode(), chat_id="c") == '{"id":"c","t":"<é>"}'.encode()


def test_events_keep_their_newlines_and_done():
    assert sanitize_event(b'data: {"id":"1"}\n\n', chat_id="c") == b'data: {"id":"c"}\n\n'
    assert sanitize_event(b'data:{"id":"1"}\r\n\r\n', chat_id="c") == b'data: {"id":"c"}\r\n\r\n'
    assert sanitize_event(b"data: [DONE]\n\n", chat_id="c") == b"data: [DONE]\n\n"


def test_comment_lines_are_dropped():
    assert sanitize_event(b": PROCESSING\n\n", chat_id="c") == b""
    assert sanitize_event(b': x\ndata: {"a":1}\n\n', chat_id="c") == b'data: {"a":1}\n\n'


def test_an_events_payload():
    assert event_payload(b'data: {"a":1}\n\n') == {"a": "1"}
    for other in (b"data: [DONE]\n\n", b": c\n\n", b"data: {bad\n\n", b"\n"):
        assert event_payload(other) is None
