"""HTTP/1.1 without a connection: how the bytes come does not matter, and h11 understands the same."""

from __future__ import annotations

import random
from collections.abc import Iterable

import h11
import pytest

from tests.effort import tries
from tests.zg_core.http.test_framing import FRAMINGS, Framing
from tests.zg_core.raw_server import answer, chunk
from zg_core.http.speech import Speech, header_lines, request_head
from zg_core.http.urls import target_of
from zg_core.http.wires import Broken, Unsendable

CHANGED = tries(2000, 20)
"""How many changed forms of each framing are read."""
Understood = tuple[int, dict[str, str], bytes, str] | str
TARGET = target_of("http://localhost/path")


def ours(pieces: list[bytes]) -> Understood:
    """What we understand of these bytes and the end of the connection."""
    speech, got, head = Speech(), b"", None
    left = [*pieces, b""]
    try:
        while head is None:
            if (head := speech.head()) is None:
                if not left[0]:
                    return "no answer"
                speech.feed(left.pop(0))
    except Broken:
        return "no answer"
    try:
        while not speech.ended:
            if (piece := speech.piece()) is None:
                speech.feed(left.pop(0))
            else:
                got += piece
    except Broken:
        return (*plain(head), got, "broken")
    return (*plain(head), got, "kept" if speech.kept and left == [b""] else "ended")


def plain(head: tuple[int, dict[str, str]]) -> tuple[int, dict[str, str]]:
    """Without capitals in the coding, which h11 makes small ones."""
    status, headers = head
    return status, {name: value.lower() if name == "transfer-encoding" else value for name, value in headers.items()}


def theirs(data: bytes) -> Understood:
    """The same by h11."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=100 * 1024)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    head, got, over = None, b"", False
    connection.receive_data(data)
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if head is None:
                    return "no answer"
                over = True
                connection.receive_data(b"")
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                got += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
    except h11.RemoteProtocolError:
        if head is None:
            return "no answer"
        return head.status_code, joined(head.headers), got, "broken"
    kept = not over and connection.their_state is h11.DONE and not connection.trailing_data[0]
    return head.status_code, joined(head.headers), got, "kept" if kept else "ended"


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


QUICK = [name for name, framing in FRAMINGS.items() if len(framing.sent) < 5000]


@pytest.mark.parametrize("name", QUICK)
def test_how_the_bytes_come_does_not_matter(name: str) -> None:
    sent = FRAMINGS[name].sent
    whole = ours([sent])
    assert ours([bytes([byte]) for byte in sent]) == whole
    for at in range(1, len(sent), 7):
        assert ours([sent[:at], sent[at:]]) == whole


@pytest.mark.parametrize("name", QUICK)
def test_what_is_changed_is_understood_as_h11_does(name: str) -> None:
    chance = random.Random(name)
    framing: Framing = FRAMINGS[name]
    for _ in range(CHANGED):
        data = bytearray(framing.sent)
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            at = chance.randrange(len(data) + 1)
            part = chance.choice((b"\r", b"\n", b" ", b"\t", b":", b",", b";", b"0", b"f", b"\x00", b"\xe9", b"\r\n"))
            data[at : at + chance.choice((0, 1))] = part
        assert ours([bytes(data)]) == theirs(bytes(data)), bytes(data)


def test_what_came_before_a_fault_is_given_first() -> None:
    speech = Speech()
    speech.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"good") + b"bad\n")
    assert speech.head() is not None
    assert speech.piece() == b"good"
    with pytest.raises(Broken):
        speech.piece()


def test_one_response_follows_the_other() -> None:
    speech = Speech()
    for word in (b"one", b"two"):
        speech.begin()
        speech.feed(answer(word))
        assert speech.head() is not None
        assert (speech.piece(), speech.kept) == (word, True)


class TestRequests:
    def test_a_head_is_read_by_others_as_it_is_meant(self) -> None:
        server = h11.Connection(h11.SERVER)
        server.receive_data(request_head("POST", TARGET, header_lines({"X-A": "b c", "X-B": "ä"}), 3) + b"abc")
        request = server.next_event()
        assert isinstance(request, h11.Request)
        assert (request.method, request.target) == (b"POST", b"/path")
        assert list(request.headers) == [
            (b"host", b"localhost"), (b"x-a", b"b c"), (b"x-b", "ä".encode()), (b"content-length", b"3"),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("name", "value"),
        [("X", "a\r\nY: b"), ("X", "a\nY: b"), ("X\r\nY", "b"), ("X: a\r\nY", "b"), ("X", "a\x00"), ("X", "\x1b[2J"),
         ("X Y", "b"), ("", "b"), ("X", "a\r"), ("X", "a\r\n\r\nGET / HTTP/1.1"), ("ä", "b")],
    )  # fmt: skip
    def test_what_is_no_header_makes_no_request(self, name: str, value: str) -> None:
        with pytest.raises(Unsendable):
            header_lines({name: value})
