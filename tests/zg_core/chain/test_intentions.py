"""Intentions: what was asked for is remembered until its end is known, and by whom it is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import until
from zg_core.chain.encoding import Fees
from zg_core.chain.heartbeat import beating
from zg_core.chain.intentions import REPEAT_SECONDS, Intentions
from zg_core.chain.nonces import SILENT_SECONDS, Form, Nonces
from zg_core.money import neuron
from zg_core.store import Store

RICH, CONTRACT = "0x" + "5e" * 20, "0x" + "7a" * 20
ELSEWHERE = "another-boot/4026531836/77/123"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


class Hand:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def intentions(store: Store, clock: Hand) -> Intentions:
    return Intentions(store, 31337, RICH, clock)


def begin(intentions: Intentions, value: int = 5) -> str:
    return intentions.begin("deposit", CONTRACT, "0xab", value)


def sign(store: Store, id_: str, number: int, nonce: int = 0) -> Form:
    nonces = Nonces(store, 31337, RICH)
    form = Form(f"0x{number:064x}", nonce, 21_000, Fees(3, 1), id_)
    assert nonces.sign(nonces.claim(nonce, used=True) or nonces.take(nonce, nonce), form)
    return form


def ids(records) -> list[str]:
    return [record.shown.id for record in records]


def test_one_that_is_worked_on_is_no_repetition_and_has_not_ended(intentions):
    begin(intentions)
    assert intentions.alike(CONTRACT, "0xab", 5) == []
    assert intentions.unsettled() == []


def test_one_with_an_unclear_end_is_found_with_all_that_was_signed_for_it(store, intentions):
    id_ = begin(intentions)
    forms = (sign(store, id_, 1), sign(store, id_, 2, nonce=1))
    intentions.close(id_, "unclear")
    (record,) = intentions.alike(CONTRACT.upper().replace("X", "x"), "0xAB", 5)
    assert record.forms == forms
    shown = record.shown
    assert (shown.id, shown.what, shown.value, shown.state, shown.nonce) == (id_, "deposit", neuron(5), "unclear", 1)
    assert shown.hashes == tuple(form.hash for form in forms)
    assert not shown.is_settled
    assert ids(intentions.unsettled()) == [id_]


@pytest.mark.parametrize(("to", "data", "value"), [(RICH, "0xab", 5), (CONTRACT, "0xac", 5), (CONTRACT, "0xab", 6)])
def test_another_target_call_or_amount_is_something_else(intentions, to, data, value):
    intentions.close(begin(intentions), "unclear")
    assert intentions.alike(to, data, value) == []


def test_another_account_or_chain_has_its_own(store, clock, intentions):
    intentions.close(begin(intentions), "unclear")
    assert Intentions(store, 31337, CONTRACT, clock).alike(CONTRACT, "0xab", 5) == []
    assert Intentions(store, 1, RICH, clock).unsettled() == []


@pytest.mark.parametrize("state", ["mined", "reverted", "dropped"])
def test_one_whose_end_was_told_is_forgotten(intentions, state):
    intentions.close(begin(intentions), state)
    assert intentions.alike(CONTRACT, "0xab", 5) == []
    assert intentions.unsettled() == []


def test_one_that_a_node_refused_in_known_words_is_looked_at_as_long_as_it_is_kept(intentions, clock):
    id_ = begin(intentions)
    intentions.close(id_, "refused")
    clock.now += REPEAT_SECONDS + 1
    assert ids(intentions.alike(CONTRACT, "0xab", 5)) == [id_]


def test_one_that_was_found_mined_later_is_told_for_a_while(intentions, clock):
    id_ = begin(intentions)
    intentions.close(id_, "unclear")
    intentions.settle(id_, "mined")
    (record,) = intentions.alike(CONTRACT, "0xab", 5)
    assert (record.shown.state, record.late, record.shown.is_settled) == ("mined", True, True)
    assert intentions.unsettled() == []
    clock.now += REPEAT_SECONDS + 1
    assert intentions.alike(CONTRACT, "0xab", 5) == []


def test_one_that_stays_unclear_is_never_too_old(intentions, clock):
    id_ = begin(intentions)
    intentions.close(id_, "unclear")
    clock.now += 30 * 24 * 3600
    begin(intentions, 6)  # forgets what ended long ago
    (record,) = intentions.alike(CONTRACT, "0xab", 5)
    assert record.shown.id == id_
    assert not intentions.is_recent(record)


def test_what_ended_long_ago_is_forgotten_with_its_forms(store, intentions, clock):
    id_ = begin(intentions)
    sign(store, id_, 1)
    intentions.close(id_, "mined")
    clock.now += 8 * 24 * 3600
    begin(intentions, 6)
    assert intentions.find(id_) is None
    assert Nonces(store, 31337, RICH).forms(0) == ()


def test_one_of_which_nothing_was_sent_never_was(intentions):
    id_ = begin(intentions)
    intentions.close(id_, None)
    assert intentions.find(id_) is None


class TestHolders:
    def test_one_of_a_silent_process_elsewhere_is_unclear(self, store: Store, clock: Hand) -> None:
        there, here = Intentions(store, 31337, RICH, clock, ELSEWHERE), Intentions(store, 31337, RICH, clock)
        id_ = begin(there)
        clock.now += SILENT_SECONDS
        assert here.unsettled() == []
        clock.now += 1
        assert ids(here.unsettled()) == ids(here.alike(CONTRACT, "0xab", 5)) == [id_]
        assert here.unsettled()[0].shown.state == "unclear"

    def test_one_that_is_resumed_is_worked_on(self, intentions: Intentions) -> None:
        id_ = begin(intentions)
        intentions.close(id_, "unclear")
        intentions.resume(id_)
        assert intentions.unsettled() == []


class TestHeartbeats:
    def test_keep_what_a_process_holds(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("zg_core.chain.heartbeat.BEAT_SECONDS", 0.01)
        id_ = begin(Intentions(store, 31337, RICH))
        lease = Nonces(store, 31337, RICH).take(0, 0)
        with store.transaction() as work:
            work.run("UPDATE nonce_leases SET touched = 1")
            work.run("UPDATE intentions SET touched = 1")

        def touched() -> list[float]:
            with store.transaction() as work:
                return [work.one(f"SELECT touched FROM {table}")["touched"] for table in ("nonce_leases", "intentions")]

        with beating(store), beating(store):
            until(lambda: min(touched()) > 1)
        assert (lease.nonce, bool(id_)) == (0, True)

    def test_end_with_the_last_holder(self, store: Store) -> None:
        from zg_core.chain import heartbeat

        with beating(store):
            with beating(store):
                beat = heartbeat._BEATS[store]
            assert not beat.end.is_set()
        assert beat.end.is_set()
        assert store not in heartbeat._BEATS

    def test_are_not_needed_where_nobody_else_looks(self) -> None:
        from zg_core.chain import heartbeat

        memory = Store("memory:")
        with beating(memory):
            assert memory not in heartbeat._BEATS
