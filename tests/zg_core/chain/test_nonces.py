"""Nonces: handed out once, given back, and taken over from those who have died."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.moments import this_threads
from zg_core.chain.encoding import Fees
from zg_core.chain.nonces import HANGING_SECONDS, SILENT_SECONDS, Form, Lease, Nonces
from zg_core.crypto import checksum_address
from zg_core.holders import holder
from zg_core.store import Store

RICH, STRANGER = (checksum_address("0x" + pair * 20) for pair in ("5e", "7a"))
ELSEWHERE = "another-boot/4026531836/77/123"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


def form(number: int, nonce: int = 0) -> Form:
    return Form(f"0x{number:064x}", nonce, 21_000, Fees(3 * 10**9, 10**9), "intention")


def test_a_nonce_given_back_is_the_next_one_handed_out(store):
    nonces = Nonces(store, 31337, RICH)
    first, second = nonces.take(5, 5), nonces.take(5, 5)
    assert (first.nonce, second.nonce) == (5, 6)
    nonces.give_back(first)
    assert [nonces.take(5, 5).nonce for _ in range(2)] == [5, 7]


def test_transactions_of_other_programs_that_wait_at_the_node_are_skipped(store):
    assert Nonces(store, 31337, RICH).take(5, 8).nonce == 8


def test_a_node_that_lags_does_not_hand_out_a_nonce_again(store):
    nonces = Nonces(store, 31337, RICH)
    nonces.used(nonces.take(5, 5))
    assert nonces.take(4, 4).nonce == 6


def test_accounts_and_chains_do_not_share_nonces(store):
    assert [Nonces(store, chain, who).take(0, 0).nonce for chain in (1, 2) for who in (RICH, STRANGER)] == [0] * 4


def test_only_one_claims_a_gap(store):
    nonces = Nonces(store, 31337, RICH)
    assert isinstance(nonces.claim(3), Lease)
    assert nonces.claim(3) is None


def test_what_is_mined_is_no_gap_but_can_be_gone_on_with(store):
    nonces = Nonces(store, 31337, RICH)
    nonces.used(nonces.take(3, 3))
    assert nonces.claim(3) is None
    lease = nonces.claim(3, used=True)
    assert lease is not None
    assert (lease.nonce, nonces.is_held(3)) == (3, True)


class TestHolders:
    def test_one_elsewhere_is_dead_after_15_seconds_without_a_sign(self, store: Store, clock: Hand) -> None:
        there, here = Nonces(store, 31337, RICH, clock, ELSEWHERE), Nonces(store, 31337, RICH, clock)
        dead = there.take(0, 0)
        clock.now += SILENT_SECONDS
        assert here.take(0, 0).nonce == 1
        clock.now += 1
        heir = here.take(0, 0)
        assert heir.nonce == 0
        assert not there.sign(dead, form(1)), "its holder learns of it before it sends"
        there.give_back(dead)  # changes nothing: the lease is somebody else's
        assert here.sign(heir, form(2))

    def test_one_of_this_machine_that_lives_is_given_longer(self, store: Store, clock: Hand) -> None:
        nonces = Nonces(store, 31337, RICH, clock)
        nonces.take(0, 0)
        clock.now += HANGING_SECONDS
        assert nonces.take(0, 0).nonce == 1
        clock.now += 1
        assert nonces.take(0, 0).nonce == 0

    @pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
    def test_one_of_this_machine_that_was_killed_is_dead_at_once(self, store: Store) -> None:
        script = (
            "import os, sys; from zg_core.chain.nonces import Nonces; from zg_core.store import Store\n"
            f"print(Nonces(Store(sys.argv[1]), 31337, {RICH!r}).take(0, 0).nonce, flush=True)\n"
            "os.kill(os.getpid(), 9)"
        )
        root = Path(__file__).resolve().parents[3]
        done = subprocess.run([sys.executable, "-c", script, store.url], cwd=root, stdout=subprocess.PIPE, check=False)
        assert (done.stdout.strip(), done.returncode) == (b"0", -9)
        assert Nonces(store, 31337, RICH).take(0, 0).nonce == 0

    def test_one_whose_number_was_given_to_another_process_is_dead(self, store: Store) -> None:
        place, pid, began = holder().rsplit("/", 2)
        if not began:
            pytest.skip("this system does not tell when a process began")
        Nonces(store, 31337, RICH, process=f"{place}/{pid}/{int(began) - 1}").take(0, 0)
        assert Nonces(store, 31337, RICH).take(0, 0).nonce == 0

    def test_an_older_version_of_the_package_is_given_its_two_minutes(self, store: Store, clock: Hand) -> None:
        with store.transaction() as work:
            work.run(
                "INSERT INTO nonce_leases (chain, address, nonce, holder, touched)"
                " VALUES ('31337', :who, 0, 'old', :now)",
                who=RICH.lower(),
                now=clock.now,
            )
        nonces = Nonces(store, 31337, RICH, clock)
        clock.now += HANGING_SECONDS
        assert nonces.take(0, 0).nonce == 1
        clock.now += 1
        assert nonces.take(0, 0).nonce == 0


class TestWhatWasSigned:
    def test_is_kept_in_every_form_and_after_its_holder_has_gone(self, store: Store) -> None:
        nonces = Nonces(store, 31337, RICH)
        lease = nonces.take(0, 0)
        for number in (1, 2, 3):
            assert nonces.sign(lease, form(number))
        assert nonces.abandoned() == {}
        assert [each.hash for each in nonces.forms(0)] == [form(number).hash for number in (1, 2, 3)]
        nonces.let_go(lease)
        assert nonces.abandoned() == {0: tuple(form(number).hash for number in (1, 2, 3))}
        assert nonces.forms(0)[0] == form(1)

    def test_keeps_its_nonce_as_long_as_a_node_knows_it(self, store: Store) -> None:
        nonces = Nonces(store, 31337, RICH)
        lease = nonces.take(0, 0)
        nonces.sign(lease, form(1))
        nonces.let_go(lease)
        assert nonces.take(0, 0, alive=[0]).nonce == 1
        assert nonces.take(0, 0).nonce == 0

    def test_twice_is_once(self, store: Store) -> None:
        nonces = Nonces(store, 31337, RICH)
        lease = nonces.take(0, 0)
        assert nonces.sign(lease, form(1))
        assert nonces.sign(lease, form(1))
        assert len(nonces.forms(0)) == 1


def test_the_floor_can_go_back(store):
    nonces = Nonces(store, 31337, RICH)
    nonces.used(nonces.take(40, 40))
    nonces.rewind(2)
    assert nonces.take(2, 2).nonce == 2


@pytest.mark.requires("postgres")
def test_clocks_of_machines_need_not_agree(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(postgres)
    here = Nonces(store, 31337, RICH, process=ELSEWHERE)
    here.take(0, 0)
    this_threads(monkeypatch, 1e10)
    assert Nonces(store, 31337, RICH).take(0, 0).nonce == 1, "the server's clock says that it lives"
    store.close()


def test_a_holder_names_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from zg_core import holders

    assert f"/{os.getpid()}/" in holder()
    assert holders.life_of(holder()) == "alive"
    assert holders.life_of(ELSEWHERE) == "elsewhere"
    for junk in ("", "x", "a/b", "a/b/c/d", holder().rsplit("/", 2)[0] + "/99999999999999999999/1"):
        assert holders.life_of(junk) in ("elsewhere", "alive")


def test_a_zombie_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    from zg_core import holders

    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        place = holder().rsplit("/", 2)[0]
        began = holders._stat(child.pid)[1]
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has collected it
        text = f"{place}/{child.pid}/{began}"
        if began:
            assert holders.life_of(text) == "gone"
    assert holders.life_of(text) == "gone"


def test_a_system_that_tells_nothing_of_its_processes_is_asked_whether_one_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from zg_core import holders

    monkeypatch.setattr(holders, "_PLATFORM", "darwin")
    monkeypatch.setattr(holders, "_PROC", Path("/nowhere"))
    for cache in (holders._place, holders._holder):
        cache.cache_clear()
    try:
        me = holder()
        assert me.endswith("/")
        assert holders.life_of(me) == "alive"
        with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
            pass
        assert holders.life_of(me.replace(f"/{os.getpid()}/", f"/{child.pid}/")) == "gone"
    finally:
        for cache in (holders._place, holders._holder):
            cache.cache_clear()
