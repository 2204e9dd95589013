"""A process that is killed right after a transaction was mined has told nobody; one that ends in order has."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE, until
from tests.zg_core.chain.payer import KILLED, Run
from zg_core import Broker, ChainError, Sending, Store, og
from zg_core.chain import telling
from zg_core.chain.intentions import REPEAT_SECONDS, Intentions
from zg_core.chain.nonces import SILENT_SECONDS
from zg_core.chain.telling import told_by_now, told_soon
from zg_core.holders import holder
from zg_core.localnet import LocalNet

ACCOUNT, CONTRACT = "0x" + "5e" * 20, "0x" + "7a" * 20
CALL = (CONTRACT, "0xab", 5)
ELSEWHERE = "another-boot/4026531836/77/123"
GONE = f"{holder().rsplit('/', 2)[0]}/{2**22 + 1}/1"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


def mined(store: Store, process: str | None = None) -> str:
    """One that was mined, and not told yet."""
    intentions = Intentions(store, 31337, ACCOUNT, process=process)
    id_ = intentions.begin("deposit", *CALL)
    intentions.close(id_, "mined")
    return id_


def repeated(store: Store, later: float = 0) -> list[str]:
    """What is told of to somebody who asks for the same."""
    found = Intentions(store, 31337, ACCOUNT, lambda: time.time() + later)
    return [each.shown.id for each in found.alike(*CALL)]


class TestOne:
    def test_of_a_process_that_goes_on_is_no_repetition(self, store: Store) -> None:
        mined(store)
        assert repeated(store) == repeated(store, SILENT_SECONDS + 1) == []
        assert Intentions(store, 31337, ACCOUNT).unsettled() == []

    def test_of_a_process_that_was_killed_is_told_of_for_a_while(self, store: Store) -> None:
        id_ = mined(store, GONE)
        assert repeated(store) == [id_]
        assert repeated(store, REPEAT_SECONDS) == []

    def test_of_a_process_elsewhere_that_is_silent_is_told_of(self, store: Store) -> None:
        id_ = mined(store, ELSEWHERE)
        assert (repeated(store), repeated(store, SILENT_SECONDS + 1)) == ([], [id_])

    def test_is_listed_once_and_then_told_of_to_who_asks(self, store: Store) -> None:
        id_ = mined(store, GONE)
        intentions = Intentions(store, 31337, ACCOUNT)
        assert [(each.shown.id, each.shown.is_settled) for each in intentions.unsettled()] == [(id_, True)]
        intentions.settle(id_, "mined")
        assert intentions.unsettled() == []
        assert repeated(store) == [id_]

    def test_is_over_once_it_is_asked_for_again_knowingly(self, store: Store) -> None:
        mined(store, GONE)
        Intentions(store, 31337, ACCOUNT).acknowledge(*CALL)
        assert repeated(store) == []


class TestTelling:
    def process(self, store: Store, id_: str) -> str:
        with store.transaction() as work:
            return str(work.one("SELECT process FROM intentions WHERE id = :id", id=id_)["process"])

    def test_is_noted_after_a_moment(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(telling, "_MOMENT", 0.01)
        id_ = mined(store)
        told_soon(store, id_)
        until(lambda: not self.process(store, id_))

    def test_is_noted_at_the_next_occasion(self, store: Store) -> None:
        id_ = mined(store)
        told_soon(store, id_)
        assert self.process(store, id_) == holder()
        told_by_now(store)
        assert self.process(store, id_) == ""

    def test_of_a_parent_is_the_parents(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        id_ = mined(store)
        told_soon(store, id_)
        monkeypatch.setattr("zg_core.chain.telling.holder", lambda: "a child")
        told_by_now(store)
        assert self.process(store, id_) == holder()

    def test_does_not_open_a_store_that_was_closed(self, store: Store) -> None:
        id_ = mined(store)
        told_soon(store, id_)
        store.close()
        telling._after_a_moment(telling.weakref.ref(store))
        assert not store.is_open

    def test_that_cannot_be_noted_hurts_nobody(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "file").write_text("no database, but long enough to be one" * 99)
        store = Store(f"sqlite:///{tmp_path}/file")
        told_soon(store, "it")
        told_by_now(store)
        assert "could not note" in caplog.text


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet(providers=0) as network:
        yield network


class Payer:
    """A wallet whose programs come and go."""

    def __init__(self, net: LocalNet, tmp_path: Path) -> None:
        self.net, self.wallet = net, net.new_wallet()
        self.where = {"network": "local", "rpc_url": net.rpc_url, "ledger": net.ledger, "inference": net.inference}
        self.where |= {"private_key": self.wallet.private_key, "environ": {}, "store": f"sqlite:///{tmp_path}/it.db"}

    def run(self, **job) -> object:
        return Run({"broker": self.where, "sending": {"timeout": 1000, "heal_after": 0.05}, **job}).result()

    def broker(self) -> Broker:
        return Broker(**self.where, sending=Sending(timeout=PATIENCE, heal_after=0.05))

    @property
    def sent(self) -> int:
        return self.net.chain.nonce(self.wallet.address)


@pytest.fixture
def payer(net: LocalNet, tmp_path: Path) -> Payer:
    return Payer(net, tmp_path)


def test_one_program_after_the_other_pays_the_same(payer):
    assert [payer.run(pay=5) for _ in range(3)] == ["paid"] * 3
    assert payer.sent == 3


def test_one_that_leaves_its_broker_open_and_ends_in_order_has_told(payer):
    code = f"from zg_core import Broker, og; Broker(**{payer.where!r}).deposit(og('5'))"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE, cwd=ROOT)
    assert payer.sent == 2


def test_one_that_is_killed_at_any_step_pays_once(payer):
    """At each transaction of the store in turn, before and after it is committed."""
    met = set()
    for amount, (step, before) in enumerate(((n, b) for n in range(1, 100) for b in (True, False)), start=4):
        said = payer.run(pay=amount, dies=(step, before))
        if said == "paid":  # it has fewer steps
            break
        assert said == KILLED
        found, unsettled = payer.run()
        assert (unsettled, found) in [(0, []), (0, [(amount, "mined")])]
        met.add(bool(found))
        if not found:
            assert payer.run(pay=amount) == "paid"
        assert payer.sent == amount - 3, f"step {step}, {'before' if before else 'after'} it is committed"
    assert met == {True, False}
    assert step > 5


def test_who_says_so_pays_again_and_is_not_asked_a_second_time(payer):
    assert payer.run(pay=4) == "paid"
    with payer.broker() as broker:
        with broker.store.transaction() as work:
            work.run("UPDATE intentions SET process = :gone", gone=GONE)
        for _ in range(2):
            with pytest.raises(ChainError) as caught:
                broker.deposit(og("4"))
            assert caught.value.code == "transaction_mined"
        broker.deposit(og("4"), again=True)
        broker.deposit(og("4"))
    assert payer.sent == 3
