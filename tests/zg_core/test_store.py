"""The store: where it may be, how its schema grows, and that its transactions exclude each other."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.patience import PATIENCE
from tests.processes import alone, beside, child_of, ended, together
from zg_core import ApiKeys, AutoFunding, Broker, ConfigError, Funder, Store, og
from zg_core import store as module
from zg_core.backends.direct.changes import OwnChanges
from zg_core.chain.nonces import Nonces
from zg_core.databases import sqlite as sqlite_files
from zg_core.store import MIGRATIONS, default_store_url

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "0x" + "ab" * 20


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.requires("postgres"))])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        opened = Store("memory:")
    elif request.param == "sqlite":
        opened = Store(f"sqlite:///{tmp_path}/store.db")
    else:
        opened = Store(request.getfixturevalue("postgres"))
        with opened.transaction() as work:
            for table in ("nonces", "nonce_leases", "leases", "account_changes", "api_keys", "receipts"):
                work.run(f"DELETE FROM {table}")
    assert opened.kind == request.param
    yield opened
    opened.close()


def put(store: Store, name: str) -> None:
    with store.transaction() as work:
        work.run("INSERT INTO leases VALUES (:name, 'me', 1.5)", name=name)


def names(store: Store) -> list[str]:
    with store.transaction() as work:
        return [row["name"] for row in work.all("SELECT name FROM leases ORDER BY name")]


def test_what_is_committed_stays_and_what_fails_does_not(store):
    put(store, "kept")
    with pytest.raises(KeyError), store.transaction() as work:
        assert work.run("UPDATE leases SET holder = 'you' WHERE name = 'kept'") == 1
        raise KeyError
    with store.transaction() as work:
        assert work.one("SELECT holder, expires FROM leases") == {"holder": "me", "expires": 1.5}
        assert work.first("SELECT 1 AS n FROM leases WHERE name = 'other'") is None
        with pytest.raises(LookupError):
            work.one("SELECT 1 AS n FROM leases WHERE name = 'other'")


def test_transactions_exclude_each_other(store):
    with store.transaction() as work:
        work.run("INSERT INTO nonces VALUES ('1', 'a', 0)")

    def add(_: int) -> None:
        with store.transaction() as work:
            floor = work.one("SELECT floor FROM nonces WHERE address = 'a'", lock=True)["floor"]
            work.run("UPDATE nonces SET floor = :floor", floor=floor + 1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(80)))
    with store.transaction() as work:
        assert work.one("SELECT floor FROM nonces")["floor"] == 80


def test_nonces_are_handed_out_once_to_many_threads(store):
    nonces = Nonces(store, 1, ADDRESS)
    with ThreadPoolExecutor(16) as pool:
        leases = list(pool.map(lambda _: nonces.take(3, 3), range(100)))
    assert sorted(lease.nonce for lease in leases) == list(range(3, 103))
    for lease in leases[:50]:
        nonces.give_back(lease)
    again = [nonces.take(3, 3).nonce for _ in range(50)]
    assert sorted(again) == sorted(lease.nonce for lease in leases[:50])


def test_keys_money_and_changes_are_kept_in_it(store, net):
    provider, wallet = net.providers[0].address, net.new_wallet()
    where = {"network": "local", "rpc_url": net.rpc_url, "ledger": net.ledger, "inference": net.inference}
    with Broker(**where, environ={}, private_key=wallet.private_key, store=store) as broker:
        broker.deposit(og("5"))
        broker.transfer(provider, og("1.1"))
        Funder(broker, AutoFunding(max_total=og("1"), max_per_provider=og("1")), [provider]).look()
        assert broker.account(provider).balance == og("2.1")
        if store.kind == "memory":
            return
        assert OwnChanges().left(net.chain_id, wallet.address, provider, store) > 100
        keys = ApiKeys(broker)
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: keys.create(provider).key.token_id, range(16)))
        assert sorted(made) == list(range(16))
        keys.revoke(provider, 3)
        assert [key.token_id for key in keys.list() if key.status == "revoked"] == [3]
        keys.revoke_all(provider)
        assert {key.status for key in keys.list()} == {"revoked"}


def test_the_schema_has_its_version(store):
    with store.transaction() as work:
        versions = [row["version"] for row in work.all("SELECT version FROM schema_versions ORDER BY version")]
    assert versions == list(range(1, len(MIGRATIONS) + 1))


def test_an_older_schema_is_brought_forward_once_with_its_data(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/store.db"
    old = Store(url)
    put(old, "kept")
    old.close()
    monkeypatch.setattr(
        module, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE later (x INTEGER);\nINSERT INTO later VALUES (7)")
    )
    for _ in range(2):
        new = Store(url)
        assert names(new) == ["kept"]
        with new.transaction() as work:
            assert [row["x"] for row in work.all("SELECT x FROM later")] == [7]
        new.close()


def test_a_newer_schema_is_refused(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/store.db"
    names(Store(url))
    monkeypatch.setattr(module, "MIGRATIONS", ())
    with pytest.raises(ConfigError, match=f"schema version {len(MIGRATIONS)}") as caught:
        names(Store(url))
    assert (caught.value.code, "upgrade" in caught.value.hint) == ("store_too_new", True)


def test_only_the_owner_may_read_the_file(tmp_path):
    path = tmp_path / "new" / "store.db"
    store = Store(f"sqlite:///{path}")
    put(store, "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    again = Store(f"sqlite:///{path}")
    with again.transaction():  # while it is open, its side files are there, too
        modes = {each.name: oct(stat.S_IMODE(each.stat().st_mode)) for each in path.parent.iterdir()}
    assert set(modes.values()) == {"0o600"}, modes


def test_memory_is_shared_in_the_process_and_forgotten_when_it_is_closed():
    shared = Store.open("memory:")
    assert Store.open("memory:") is shared
    put(shared, "here")
    assert "here" in names(Store.open("memory:"))
    shared.close()
    assert "here" not in names(shared)


def test_processes_share_a_file(tmp_path):
    url = f"sqlite:///{tmp_path}/store.db"
    code = (
        "import sys\nfrom zg_core import Store\nfrom zg_core.chain import nonces as leases\n"
        "leases.HANGING_SECONDS = float(sys.argv[3])\n"
        "nonces = leases.Nonces(Store.open(sys.argv[1]), 1, sys.argv[2])\n"
        "print([nonces.take(0, 0).nonce for _ in range(25)])"
    )
    # What a dead process holds is free at once: none of these ends, or seems to hang, before all are through.
    said = together(4, code, url, ADDRESS, str(PATIENCE), preload=("sqlalchemy.dialects.sqlite",))
    taken = [number for numbers in said for number in eval(numbers)]
    assert sorted(taken) == list(range(100))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_new_file_that_another_process_is_writing_is_waited_for(tmp_path, monkeypatch):
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # as another process does that opens the same new file
    waited: list[float] = []

    def release(seconds: float) -> None:
        waited.append(seconds)
        other.rollback()

    clock = SimpleNamespace(monotonic=time.monotonic, time=time.time, sleep=release)
    monkeypatch.setattr(sqlite_files, "time", clock)
    opened = Store(f"sqlite:///{tmp_path}/store.db")
    with opened.transaction() as work:
        assert work.one("PRAGMA journal_mode")["journal_mode"] == "wal"
    assert len(waited) == 1, waited
    opened.close()
    other.close()


def _fork(url):
    store = Store(url)
    put(store, "parent")
    assert ended(child_of(lambda: put(store, "child"))) == 0
    assert names(store) == ["child", "parent"]


def _fork_beside_a_transaction(_):
    store = Store("memory:")

    def write(begun, go):
        with store.transaction() as work:
            work.run("INSERT INTO leases VALUES ('thread', 'me', 1.5)")
            begun.set()
            go.wait(PATIENCE)

    def child():
        put(store, "child")
        assert names(store) == ["child", "thread"]

    with beside(write) as go:
        assert ended(child_of(child, before=go.set)) == 0
    assert names(store) == ["thread"]


def _fork_while_a_store_is_in_use_for_long(url):
    module.FORK_SECONDS = 0.1
    store = Store(url)

    def use(begun, go):
        with store._lock:  # as while a server is waited for
            begun.set()
            go.wait(PATIENCE)

    with beside(use):
        assert ended(child_of(lambda: put(store, "child"))) == 0
    put(store, "parent")
    assert names(store) == ["child", "parent"]


def _fork_while_another_store_is_opened(url):
    path_of = module.sqlite_path

    def open_slowly(begun, go):
        def slowly(each):
            if threading.current_thread() is not threading.main_thread():
                begun.set()
                go.wait(PATIENCE)
            return path_of(each)

        module.sqlite_path = slowly
        Store.open(f"{url}.other")

    with beside(open_slowly):
        assert ended(child_of(lambda: put(Store.open(url), "child"))) == 0
    assert names(Store.open(url)) == ["child"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    "program",
    [
        _fork,
        _fork_beside_a_transaction,
        _fork_while_a_store_is_in_use_for_long,
        _fork_while_another_store_is_opened,
    ],
)
def test_a_forked_child_opens_its_own_connection_whatever_other_threads_do(tmp_path, program):
    alone(program, f"sqlite:///{tmp_path}/store.db")


@pytest.mark.parametrize(
    "url", ["", "mysql://x/y", "postgresql://x/y", "sqlite://", "sqlite:///", "sqlite:///:memory:", "store.db"]
)
def test_a_url_that_is_no_store_is_refused(url):
    with pytest.raises(ConfigError) as caught:
        Store(url)
    assert caught.value.code == "bad_store"
    assert caught.value.hint


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be opened") as caught:
        names(Store(f"sqlite:///{tmp_path}/file/store.db"))
    assert caught.value.code == "store_unavailable"


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "store.db").write_text("not a database, but some text that is long enough to look at" * 10)
    with pytest.raises(ConfigError) as caught:
        names(Store(f"sqlite:///{tmp_path}/store.db"))
    assert caught.value.code == "store_unavailable"


@pytest.mark.requires("postgres")
def test_a_server_that_is_not_there_is_told_without_the_password(postgres):
    with pytest.raises(ConfigError) as caught:
        names(Store("postgresql+psycopg://zerog:hunter2@127.0.0.1:9/postgres?connect_timeout=5"))
    assert caught.value.code == "store_unavailable"
    assert "hunter2" not in str(caught.value) + repr(caught.value.__cause__)


def test_a_store_does_not_show_its_url():
    assert "hunter2" not in repr(Store("postgresql+psycopg://zerog:hunter2@127.0.0.1/x"))


def test_the_default_file_is_in_the_home_directory_or_where_ZEROG_HOME_says(tmp_path):
    assert default_store_url({}) == f"sqlite:///{Path.home()}/.zerog/store.db"
    assert default_store_url({"ZEROG_HOME": str(tmp_path)}) == f"sqlite:///{tmp_path}/store.db"


@pytest.mark.parametrize("url", ["memory:", "sqlite:///{folder}/store.db"])
def test_a_file_and_memory_need_no_sqlalchemy(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sqlalchemy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    opened = Store(url.format(folder=tmp_path))
    row = {"scope": "a", "units": "1"}
    with opened.transaction() as work:
        work.run("INSERT INTO budget_totals VALUES (:scope, :units)", **row)
    opened.write("INSERT INTO budget_totals VALUES (:scope, :units)", **{**row, "scope": "b"})
    with opened.transaction(durable=False) as work:
        assert len(work.all("SELECT * FROM budget_totals")) == 2
    assert len(list(opened.stream("SELECT * FROM budget_totals"))) == 2
    opened.close()


def test_postgresql_without_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    opened = Store("postgresql+psycopg://zerog@127.0.0.1:9/postgres")
    for ask in (opened.transaction().__enter__, lambda: next(opened.stream("SELECT 1"))):
        with pytest.raises(ConfigError, match="needs sqlalchemy") as caught:
            ask()
        assert caught.value.code == "missing_extra"
        assert "[postgres]" in str(caught.value.hint)
