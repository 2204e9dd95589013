"""How faults change bytes: exactly what they say and nothing else."""

import gzip
import json

import pytest

from zg_core.localnet.provider import alter
from zg_core.localnet.provider.faults import Fault, FaultSet

USAGE = '{"completion_tokens":3,"prompt_tokens":2,"total_tokens":5}'
BODY = ('{"choices":[{"message":{"content":"né hello"}}],"usage":' + USAGE + "}").encode()
EVENT = 'data: {"choices":[{"delta":{"content":"né hello"}}]}\n\n'.encode()
TOOLS = b'data: {"choices":[{"delta":{"content":null,"tool_calls":[{"function":{"arguments":"{\\"n\\":3}"}}]}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def faults(*names, **options):
    return FaultSet(dict.fromkeys(names, options))


def difference(old, new):
    assert len(old) == len(new)
    return [(a, b) for a, b in zip(old, new, strict=True) if a != b]


@pytest.mark.parametrize(
    "piece",
    [
        BODY,
        EVENT,
        TOOLS,
        rb'{"choices":[{"message":{"content":"\u00e9\u00e9z"}}]}',
        b'{"data":[{"embedding":[0.25,-0.5]}]}',
        b'{"data":[{"embedding":[-0.25]}]}',
    ],
)
def test_one_letter_changes_and_the_form_stays(piece):
    changed = alter.change_letter(piece)
    assert len(difference(piece, changed)) == 1
    assert json.loads(changed.removeprefix(b"data:")) != json.loads(piece.removeprefix(b"data:"))


@pytest.mark.parametrize("piece", [DONE, b'data: {"choices":[]}\n\n', b"", b'{"choices":[{"delta":{"content":""}}]}'])
def test_where_there_is_no_answer_nothing_changes(piece):
    assert alter.change_letter(piece) == piece


def test_only_the_first_letter_of_a_response_changes():
    tamper = alter.Tamper(faults(Fault.BODY_CHANGED))
    assert tamper(DONE) == DONE
    assert tamper(EVENT) != EVENT
    assert tamper(EVENT) == EVENT


def test_usage_is_scaled_and_the_rest_left():
    changed = json.loads(alter.Tamper(faults(Fault.USAGE_CHANGED, factor=3))(BODY))
    assert changed["usage"] == {"completion_tokens": 9, "prompt_tokens": 6, "total_tokens": 15}
    assert changed["choices"] == json.loads(BODY)["choices"]
    assert alter.Tamper(faults(Fault.USAGE_CHANGED))(EVENT) == EVENT


def test_inflation_happens_before_hashing():
    (piece,) = alter.honest(BODY, faults(Fault.USAGE_INFLATED, factor=10), stream=False)
    assert json.loads(piece)["usage"]["prompt_tokens"] == 20
    assert alter.Tamper(faults(Fault.USAGE_INFLATED))(BODY) == BODY


def test_null_usage_in_one_piece_and_in_a_stream():
    (piece,) = alter.honest(BODY, faults(Fault.USAGE_NULL), stream=False)
    assert json.loads(piece)["usage"] is None
    (event,) = alter.honest(EVENT, faults(Fault.USAGE_NULL), stream=True)
    assert json.loads(event[6:])["usage"] is None
    final = b"data: " + BODY + b"\n\n"
    assert alter.honest(final, faults(Fault.USAGE_NULL), stream=True) == [final]
    (event,) = alter.honest(final, faults(Fault.USAGE_NULL, final=True), stream=True)
    assert json.loads(event[6:])["usage"] is None


def test_events_around_done():
    before = alter.honest(DONE, faults(Fault.TRAILING_EVENT), stream=True)
    assert "choices" not in json.loads(before[0][6:])
    assert before[1] == DONE
    assert alter.honest(DONE, faults(Fault.COMMENT_AFTER_DONE), stream=True) == [DONE, b": keep-alive\n\n"]
    assert alter.honest(EVENT, faults(Fault.COMMENT_AFTER_DONE, Fault.TRAILING_EVENT), stream=True) == [EVENT]


def test_frames_end_inside_characters():
    parts = list(alter.frames(EVENT, faults(Fault.SPLIT_UTF8)))
    assert b"".join(parts) == EVENT
    assert len(parts) == 2
    with pytest.raises(UnicodeDecodeError):
        parts[0].decode()


def test_frames_end_inside_words_and_numbers():
    parts = list(alter.frames(b'data: {"prompt_tokens":12345}\n\n', faults(Fault.SPLIT_JSON)))
    assert b"".join(parts) == b'data: {"prompt_tokens":12345}\n\n'
    assert parts == [b"da", b'ta: {"pro', b"mpt_tok", b'ens":12', b"345}\n\n"]


def test_dripping_frames_have_their_size():
    assert list(alter.frames(b"abcde", faults(Fault.SLOW_DRIP, size=2))) == [b"ab", b"cd", b"e"]


def test_without_faults_a_piece_is_one_frame():
    assert list(alter.frames(EVENT, FaultSet())) == [EVENT]


def test_gzip_pieces_add_up_and_each_can_be_read_at_once():
    import zlib

    encoder, decoder = alter.Gzip(), zlib.decompressobj(wbits=31)
    first = encoder.piece(b"one")
    assert decoder.decompress(first) == b"one"
    assert gzip.decompress(first + encoder.piece(b"two") + encoder.end()) == b"onetwo"
