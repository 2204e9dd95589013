"""A file goes from disk to the server piece by piece, over whatever sends, and only if nobody writes to it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.zg_core.driving import with_loop, without_loop
from tests.zg_core.raw_server import Server, answer
from zg_core.errors import ConfigError, OutcomeUnknown
from zg_core.http.messages import PIECE_BYTES, Request, Upload, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.http.transport import LIBRARY

SENDERS = [
    pytest.param(drive, library, id=f"{drive.__name__}-{'library' if library else 'own'}")
    for drive in (without_loop, with_loop)
    for library in (False, True)
]


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording.wav"
    path.write_bytes(bytes(range(256)) * 5000 + b"end")  # five pieces, the last one short
    return path


def request(server: Server, body: Upload) -> Request:
    return Request("POST", server.url, {"X-Of": "test"}, body, Timeouts(connect=60, read=60), once=True)


def test_a_body_knows_its_size_and_hash_and_holds_no_file(recording: Path) -> None:
    body = Upload([b"before", recording, b"after"])
    whole = b"before" + recording.read_bytes() + b"after"
    assert (len(body), body.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    pieces = list(body.pieces())
    assert b"".join(pieces) == whole == b"".join(body.pieces())
    assert max(map(len, pieces)) < 2 * PIECE_BYTES
    assert body.in_memory() == b"before\nafter"
    assert str(recording) not in repr(body)


@pytest.mark.parametrize(("drive", "library"), SENDERS)
def test_it_arrives_as_it_is_on_every_sender(server: Server, recording: Path, drive: Any, library: bool) -> None:
    server.script = [[answer(b"heard")], [answer(b"again")]]

    async def twice(transport: Any) -> list[bytes]:
        return [await read_all(await transport.send(request(server, Upload([b"<", recording]))), 100) for _ in "ab"]

    said = drive(twice, client=LIBRARY if library else None)
    assert said == [b"heard", b"again"]
    for received in server.received:
        assert received.body == b"<" + recording.read_bytes()
        assert received.headers["content-length"] == str(1 + recording.stat().st_size)
        assert "transfer-encoding" not in received.headers


@pytest.mark.parametrize(("drive", "library"), SENDERS)
@pytest.mark.parametrize("change", ["longer", "other", "shorter", "gone"])
def test_a_file_that_changes_is_broken_off_before_its_end(
    server: Server, recording: Path, drive: Any, library: bool, change: str
) -> None:
    body = Upload([recording])
    if change == "gone":
        recording.unlink()
    else:
        data = recording.read_bytes()
        changed = {"longer": data + b"x" * PIECE_BYTES, "other": data[:-1] + b"X", "shorter": data[:-9]}
        recording.write_bytes(changed[change])
    server.script = [[answer(b"never")]]

    async def once(transport: Any) -> None:
        await transport.send(request(server, body))

    with pytest.raises(ConfigError) as caught:
        drive(once, client=LIBRARY if library else None)
    assert caught.value.code == ("unreadable_file" if change == "gone" else "file_changed")
    assert not isinstance(caught.value, OutcomeUnknown)
    assert not server.received  # no request was ever whole


def test_a_file_that_is_not_there_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.wav cannot be read: No such file") as caught:
        Upload([tmp_path / "nowhere.wav"])
    assert caught.value.code == "unreadable_file"
