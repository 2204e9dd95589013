"""Fetching a signature ends, whatever the provider does to hold us."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.zg_core.raw_server import HEAD, STALL, Drip, Step, answer, chunk
from tests.zg_core.verify.scene import service
from zg_core.backends.signatures import SIGNATURE_DELAYS, SIGNATURE_SECONDS, Missed, fetch_signature
from zg_core.http.transport import Transport
from zg_core.types import Kind

MISSING = answer(b'{"error":"chat_id_not_found"}', "400 Bad Request")
HEAD_BYTES = [bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 15_000]  # five minutes of them
SLOW: dict[str, list[Step]] = {
    "silent": [STALL],
    "a dripping head": [Drip(HEAD_BYTES)],
    "a dripping body": [HEAD, Drip([chunk(b" ")] * 15_000)],
}


class Patient:
    """A transport whose waiting costs no time; how long it would have been."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.waited = 0.0

    async def sleep(self, seconds: float) -> None:
        self.waited += seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def fetching(url: str, found: list[Any], **more: Any) -> Any:
    async def work(transport: Transport) -> bytes | None:
        found.append(Patient(transport))
        record = service(Kind.TEE_ML, url=url, private=True)
        return await fetch_signature(found[0], record, "m", ["new", "old"], **more)

    return work


@pytest.mark.parametrize("how", SLOW)
def test_however_slowly_it_is_answered_the_whole_ends_in_time(server: Any, drive: Any, how: str) -> None:
    server.script = [SLOW[how]] * 20
    began = time.monotonic()
    assert drive(fetching(server.url, [], seconds=0.4)) is None
    assert time.monotonic() - began < PATIENCE / 4, "bounded look-up by look-up only"
    assert server.gone.wait(PATIENCE), "the connection stays open"


def test_the_time_is_for_all_look_ups_together() -> None:
    assert sum(SIGNATURE_DELAYS) < SIGNATURE_SECONDS <= 20


def test_every_id_is_tried_each_time(server: Any, drive: Any) -> None:
    server.script = [[MISSING]] * 12
    found: list[Any] = []
    assert drive(fetching(server.url, found)) is None
    asked = [received.head.split()[1].rpartition(b"/")[2] for received in server.received]
    assert asked == [b"new", b"old"] * 6
    assert found[0].waited == pytest.approx(sum(SIGNATURE_DELAYS))


def test_a_provider_that_asks_for_a_pause_gets_it_within_the_time(server: Any, drive: Any) -> None:
    busy = answer(b"slow down", "429 Too Many Requests", Retry_After="4")
    server.script = [[busy], [MISSING]] + [[MISSING]] * 20
    found: list[Any] = []
    drive(fetching(server.url, found))
    assert found[0].waited == pytest.approx(sum(SIGNATURE_DELAYS) - SIGNATURE_DELAYS[1] + 4)
    server.received.clear()
    server.script = [[answer(b"", "429 Too Many Requests", Retry_After="3600")]] * 20
    assert drive(fetching(server.url, [])) is None
    assert len(server.received) == 2, "nobody waits an hour for a signature"


def test_after_one_that_was_missing_the_next_are_not_waited_for_a_minute_long(clock: Any) -> None:
    missed, delays = Missed(clock), (0.0, 0.1, 0.2, 0.4, 0.8)
    assert missed.delays("a", delays) == delays
    missed.note("a", found=False, waited=True)
    assert missed.delays("a", delays) == delays[:3]
    assert missed.delays("b", delays) == delays
    clock.now += 50
    missed.note("a", found=False, waited=False)  # nobody has looked as long as it takes
    clock.now += 11
    assert missed.delays("a", delays) == delays
    missed.note("a", found=False, waited=True)
    missed.note("a", found=True, waited=False)
    assert missed.delays("a", delays) == delays
