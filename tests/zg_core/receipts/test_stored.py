"""Receipts in a store: on record before the request leaves, complete before the answer is returned, never lost."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE, until
from tests.processes import together
from tests.zg_core.conftest import ask
from tests.zg_core.receipts.test_model import PENDING, VERIFIED, receipt
from tests.zg_core.receipts.test_upgrade import FIRST
from zg_core import AsyncChatClient, ChatClient, ConfigError, OutcomeUnknown
from zg_core.backends.direct.audit.anchors import resolve_late
from zg_core.databases.schema import MIGRATIONS
from zg_core.receipts import Receipt, ReceiptStore, Retention
from zg_core.receipts.audited import Audited
from zg_core.store import Store
from zg_core.verify.replay import mark_of
from zg_core.verify.verdict import Reason, Status

OF_CONTEXTS = next(each for each in MIGRATIONS if "receipt_contexts" in each)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.requires("postgres"))])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    address: str = request.getfixturevalue("postgres")
    with Store(address).transaction() as work:
        work.run("DELETE FROM receipts")
        work.run("DELETE FROM receipt_verdicts")
        work.run("DELETE FROM reply_marks")
        work.run("DELETE FROM receipt_contexts")
    return address


@pytest.fixture
def kept(url: str) -> Iterator[ReceiptStore]:
    store = Store(url)
    yield ReceiptStore(store)
    store.close()


class TestRows:
    def test_a_receipt_comes_back_as_it_was(self, kept: ReceiptStore) -> None:
        one = receipt(request_body=b"\x00\xff", model="mödel\x00\ud800", payer="0x" + "cd" * 20)
        kept.write(one)
        found = kept.get(one.id)
        assert found is not None
        assert found.to_dict() == one.to_dict()
        assert (len(kept), kept.last.id, [each.id for each in kept]) == (1, one.id, [one.id])

    def test_the_call_comes_first_and_its_verdicts_after(self, kept: ReceiptStore) -> None:
        one = receipt()
        kept.write(one)
        one.settle(PENDING)
        kept.write(one)
        for verdict in (PENDING, VERIFIED):
            one.settle(verdict)
            kept.append(one)
        assert kept.get(one.id).verdict == VERIFIED
        assert [each.status for each in kept.verdicts(one.id)] == [Status.PENDING, Status.VERIFIED]
        assert len(kept) == 1

    def test_receipts_are_selected(self, kept: ReceiptStore) -> None:
        start = datetime.now(UTC) - timedelta(days=1)
        all_ = [
            receipt(started_at=start + timedelta(hours=n), provider="0x" + "aA"[n % 2] + "b" * 39, chain_id=n % 2)
            for n in range(4)
        ]
        for each in all_:
            kept.write(each)

        def ids(**wanted: Any) -> list[int]:
            return [[each.id for each in all_].index(found.id) for found in kept.select(**wanted)]

        assert ids() == [0, 1, 2, 3]
        assert ids(newest=2) == [2, 3]
        assert ids(since=start + timedelta(hours=1), until=start + timedelta(hours=3)) == [1, 2]
        assert ids(chain_id=1) == [1, 3]
        assert ids(provider="0x" + "A" + "B" * 39) == [0, 1, 2, 3]
        assert ids(payer="0x" + "12" * 20) == []
        assert ids(run="") == [0, 1, 2, 3]
        assert ids(run="r") == []

    def test_a_mark_belongs_to_the_reply_that_came_first(self, kept: ReceiptStore) -> None:
        first, second = receipt(), receipt()
        ours, theirs, new = (mark_of("id", "p", name) for name in ("ours", "theirs", "new"))
        assert not kept.note(first, [ours, theirs])
        assert not kept.note(first, [theirs, ours]), "written again, it is no other reply"
        assert kept.note(second, [new, theirs]) == {theirs}
        assert not kept.note(second, [new])
        assert not kept.note(second, [])

    def test_marks_outlive_the_receipts(self, url: str) -> None:
        store = Store(url)
        few, mark = ReceiptStore(store, Retention(max_count=1)), mark_of("bytes", "", "old")
        old = receipt()
        few.write(old)
        assert not few.note(old, [mark])
        few.write(receipt())
        few.prune()
        assert few.get(old.id) is None
        assert few.note(receipt(), [mark])
        store.close()

    def test_of_many_who_note_a_mark_at_once_one_is_first(self, url: str) -> None:
        marks = [mark_of("bytes", "", str(number)) for number in range(20)]
        barrier = threading.Barrier(6)

        def note(_: int) -> list[bool]:
            store, mine = Store(url), receipt()
            barrier.wait()
            found = [ReceiptStore(store).note(mine, [mark]) for mark in marks]
            store.close()
            return found

        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(note, range(6)))
        assert [sum(not each[place] for each in found) for place in range(20)] == [1] * 20

    def test_a_later_write_leaves_the_verdict_that_was_added(self, kept: ReceiptStore) -> None:
        one = receipt()
        one.settle(VERIFIED)
        kept.append(one)  # of a call that is not there: nothing is made up
        assert list(kept) == []
        kept.write(one)
        kept.append(one)
        late = receipt(id=one.id, outcome="answered")
        late.settle(PENDING)
        kept.write(late)
        found = kept.get(one.id)
        assert (found.outcome, found.verdict.status) == ("answered", Status.VERIFIED)

    def test_what_calls_share_is_written_once(self, kept: ReceiptStore) -> None:
        for number in range(5):
            kept.write(receipt(policy={"mode": "require", "demand": {"at_least": "verified"}}, seconds=number))
            kept.write(receipt(policy={"mode": "off"}, attestation={"level": number % 2}))
        assert [row[0] for row in kept._store.stream("SELECT COUNT(*) FROM receipt_contexts")] == [3]
        other = ReceiptStore(Store(kept._store.url))
        assert [each.to_dict() for each in other] == [each.to_dict() for each in kept]
        other._store.close()

    def test_ids_of_other_backends_are_as_long_as_they_are(self, kept: ReceiptStore) -> None:
        one = receipt(backend="opengradient", provider="0x" + "ab" * 32, payer="p" * 128, chain_id=0, realm="r" * 128)
        kept.write(one)
        assert kept.select(provider=one.provider, payer=one.payer)[0].to_dict() == one.to_dict()

    def test_an_audit_is_of_one_backend(self, kept: ReceiptStore) -> None:
        ours, theirs = receipt(), receipt(backend="router")
        for each in (ours, theirs):
            kept.write(each)
        assert [each.id for each in kept.audited()] == [ours.id]
        assert list(kept.audited(backend="router", chain_id=31337)) == [Audited.of(theirs)]

    def test_a_context_that_is_lost_is_said_to_be(self, kept: ReceiptStore) -> None:
        kept.write(receipt())
        with kept._store.transaction() as work:
            work.run("DELETE FROM receipt_contexts")
        with pytest.raises(ConfigError, match="lost the context"):
            list(kept)

    def test_an_id_may_be_shortened_but_not_guessed(self, kept: ReceiptStore) -> None:
        one = receipt()
        kept.write(one)
        assert kept.get(one.id[:8]).id == one.id
        for wrong in ("", one.id[:7], "%" * 8, "x" * 8, one.id.upper() + "g", one.id[:-1] + "g"):
            assert kept.get(wrong) is None

    def test_a_dropped_call_is_gone(self, kept: ReceiptStore) -> None:
        one = receipt()
        kept.write(one)
        kept.drop(one)
        assert list(kept) == []


@pytest.fixture
def old_store(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store as the package made it when receipts were whole documents, with some in it."""
    if url.startswith("postgresql"):
        with Store(url).transaction() as work:
            work.run("CREATE SCHEMA earlier")
        url += "?options=-csearch_path%3Dearlier"
    try:
        _fill_as_before(url, monkeypatch)
        yield url
    finally:
        if "earlier" in url:
            with Store(url).transaction() as work:
                work.run("DROP SCHEMA earlier CASCADE")


def _fill_as_before(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("zg_core.store.MIGRATIONS", MIGRATIONS[: MIGRATIONS.index(OF_CONTEXTS)])
        store = Store(url)
        with store.transaction() as work:
            for number, document in enumerate(FIRST.values()):
                values = {"id": document["receipt_id"], "chain": document["chain_id"], "outcome": document["outcome"]}
                work.run(
                    "INSERT INTO receipts VALUES (:id, :chain, :payer, :provider, :outcome, :n, :n, :data)",
                    payer=document["payer"].lower(),
                    provider=document["provider"].lower(),
                    n=10.0 + number,
                    data=json.dumps(document, separators=(",", ":")),
                    **values,
                )
                for at, status in ((1.0, "pending"), (2.0, "verified"), (2.0, "verified")) if number % 2 else ():
                    said = json.dumps({**document["verdict"], "status": status}, separators=(",", ":"))
                    work.run(
                        "INSERT INTO receipt_verdicts VALUES (:id, :at, :status, :data)",
                        id=document["receipt_id"],
                        at=at,
                        status=status,
                        data=said,
                    )
        store.close()


class TestOfAnEarlierPackage:
    def test_its_receipts_are_read(self, old_store: str) -> None:
        store = Store(old_store)
        kept = ReceiptStore(store)
        found = list(kept)
        assert [each.id for each in found] == [document["receipt_id"] for document in FIRST.values()]
        for number, (each, document) in enumerate(zip(found, FIRST.values(), strict=True)):
            expected = Receipt.from_dict(document)
            if number % 2:
                expected.settle(replace(expected.verdict, status=Status.VERIFIED))
                assert [each.status for each in kept.verdicts(each.id)] == [Status.PENDING, Status.VERIFIED]
            assert each.to_dict() == expected.to_dict()
        assert sorted(kept.audited(), key=lambda each: each.id) == sorted(
            (Audited.of(each) for each in found), key=lambda each: each.id
        )
        store.close()

    def test_new_ones_stand_beside_them(self, old_store: str) -> None:
        store = Store(old_store)
        kept = ReceiptStore(store, Retention(max_age=None))
        one = receipt(payer="0x" + "cd" * 20)
        kept.write(one)
        old = kept.get(next(iter(FIRST.values()))["receipt_id"])
        old.settle(VERIFIED)
        kept.append(old)
        assert kept.last.id == one.id
        assert len(kept) == len(FIRST) + 1
        assert kept.get(old.id).verdict == VERIFIED
        assert [each.id for each in kept.select(payer=one.payer)] == [one.id]
        assert {each.id for each in kept.audited()} == {each.id for each in kept}
        ReceiptStore(store, Retention(max_age=None, max_count=1)).prune()
        assert [each.id for each in kept] == [one.id]
        store.close()


class TestRetention:
    def test_old_and_surplus_receipts_go_with_their_verdicts(self, url: str) -> None:
        kept = ReceiptStore(Store(url), Retention(max_age=timedelta(days=1), max_count=3))
        kept._written = 1  # the first write prunes in the background
        now = datetime.now(UTC)
        for hours in (100, 50, 4, 3, 2, 1):
            one = receipt(started_at=now - timedelta(hours=hours))
            kept.write(one)
            for verdict in (PENDING, VERIFIED):  # the first gives way to the second, and is kept beside it
                one.settle(verdict)
                kept.append(one)
        kept.prune()
        left = [round((now - each.started_at).total_seconds() / 3600) for each in kept]
        assert left == [3, 2, 1]
        with kept._store.transaction() as work:
            assert work.one("SELECT COUNT(*) AS n FROM receipt_verdicts")["n"] == 3

    def test_more_than_one_batch_goes(self, url: str) -> None:
        kept = ReceiptStore(Store(url), Retention(max_age=None, max_count=10))
        for number in range(1100):
            kept._store.write(
                "INSERT INTO receipts (id, context, chain, realm, payer, provider, outcome, started, run, status,"
                " currency, fee, exact, odd, verdict, data)"
                " VALUES (:id, '', 1, '', '', '', 'unknown', :n, '', '', '', '', 0, 0, '', '')",
                id=f"r{number}",
                n=number,
            )
        assert kept.prune() == 1090
        assert kept.prune() == 0

    def test_a_call_does_not_wait_for_it(self, kept: ReceiptStore, monkeypatch: pytest.MonkeyPatch) -> None:
        began, go_on = threading.Event(), threading.Event()

        def slow() -> int:
            began.set()
            assert go_on.wait(PATIENCE)
            return 0

        monkeypatch.setattr(kept, "prune", slow)
        kept.write(receipt())
        assert began.wait(PATIENCE)
        go_on.set()

    @pytest.mark.parametrize("wrong", [{"max_age": timedelta(0)}, {"max_count": 0}])
    def test_one_that_keeps_nothing_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            Retention(**wrong)


class TestCalls:
    def test_a_call_is_complete_before_its_answer(self, caller, options, provider, url) -> None:
        store = Store(url)
        seen = []
        made = {**options, "provider": provider.address, "store": store, "keep_bytes": True}
        answered = caller.call(
            {**made, "on_receipt": lambda each: seen.append(ReceiptStore(store).get(each.id))}, ask("hi")
        )
        assert seen[0].to_dict() == answered.receipt.to_dict()
        assert (seen[0].verdict.status, seen[0].outcome) == (Status.VERIFIED, "answered")
        assert [each.status for each in ReceiptStore(store).verdicts(seen[0].id)] == [Status.VERIFIED]
        store.close()

    @pytest.mark.parametrize("mode", ["off", "background", "require"])
    def test_under_every_policy(self, caller, options, provider, url, mode) -> None:
        store = Store(url)
        answered = caller.call({**options, "provider": provider.address, "store": store, "verify": mode}, ask("hi"))
        answered.receipt.resolve(PATIENCE)
        expected = Status.NOT_CHECKED if mode == "off" else Status.VERIFIED
        until(lambda: ReceiptStore(store).get(answered.receipt.id).verdict.status is expected)
        store.close()

    def test_a_refused_call_says_so(self, caller, options, provider, url) -> None:
        store = Store(url)
        with provider.fault("unavailable", times=None), pytest.raises(Exception, match=r"503|too many"):
            caller.call({**options, "provider": provider.address, "store": store, "max_retries": 0}, ask("hi"))
        (found,) = ReceiptStore(store)
        assert (found.outcome, found.fee.reason, found.fee.amount.units) == ("refused", "refused", 0)
        store.close()

    def test_an_unanswered_call_stays_unknown_with_its_bound(self, caller, options, provider, url) -> None:
        store = Store(url)
        with provider.fault("cut_before_first_byte", times=None), pytest.raises(OutcomeUnknown):
            caller.call({**options, "provider": provider.address, "store": store}, ask("hi", max_tokens=7))
        (found,) = ReceiptStore(store)
        prices = provider.prices
        assert found.outcome == "unknown"
        assert found.fee.upper == prices[0] * (found.request_bytes + 512) + prices[1] * 7
        store.close()

    def test_a_reader_who_leaves_is_on_record(self, options, provider, url) -> None:
        async def leave(client: AsyncChatClient) -> None:
            async with client:
                stream = client.stream(ask("tell me a long story"))
                await stream.__anext__()
                await stream.close()

        store = Store(url)
        made = {**options, "provider": provider.address, "store": store}
        with ChatClient(**made) as client:
            stream = client.stream(ask("tell me a long story"))
            next(stream)
            stream.close()
        asyncio.run(leave(AsyncChatClient(**made)))
        assert [each.outcome for each in ReceiptStore(store)] == ["abandoned", "abandoned"]
        store.close()

    def test_the_official_client_writes_too(self, options, provider, url) -> None:
        from zg_core import openai_client

        store = Store(url)
        client = openai_client(**{**options, "provider": provider.address, "store": store, "max_retries": 0})
        client.chat.completions.create(model=provider.model, messages=[{"role": "user", "content": "hi"}])
        with provider.fault("unavailable"), pytest.raises(Exception, match=r"503|too many"):
            client.chat.completions.create(model=provider.model, messages=[{"role": "user", "content": "hi"}])
        assert [(each.outcome, each.verdict.status) for each in ReceiptStore(store)] == [
            ("answered", Status.VERIFIED),
            ("refused", Status.NOT_CHECKED),
        ]
        client.close()
        store.close()


class TestFailures:
    def test_nothing_is_sent_that_cannot_be_recorded(self, caller, options, provider, tmp_path) -> None:
        (tmp_path / "store.db").write_text("this is no database" * 100)
        before = len(provider.requests)
        with pytest.raises(ConfigError) as caught:
            caller.call({**options, "provider": provider.address, "store": f"sqlite:///{tmp_path}/store.db"}, ask("hi"))
        assert caught.value.code == "store_unavailable"
        assert not [one for one in provider.requests[before:] if one.path.endswith("completions")]

    def test_a_paid_answer_is_returned_all_the_same(self, caller, options, provider, url, monkeypatch, caplog) -> None:
        store = Store(url)
        write, written = store.write, ["opened"]

        def failing(sql: str, **parameters: Any) -> int:
            if 0 < len(written) < 3:  # the one that opens the call goes with its context, and another way
                written.append("failed")
                raise ConfigError("the disk is full", code="store_unavailable")
            written.append("done")
            return write(sql, **parameters)

        monkeypatch.setattr(store, "write", failing)
        made = {**options, "provider": provider.address, "store": store}
        client = None if caller.loop else ChatClient(**made)
        answered = caller.call(made, ask("hi"), client)
        assert answered.text
        assert answered.receipt.verdict.status is Status.VERIFIED
        assert answered.receipt.flags == ("not_stored",)
        assert "could not be stored: the disk is full" in caplog.text
        if client is not None:  # the next receipt brings what is missing
            caller.call(made, ask("hi"), client)
            found = ReceiptStore(store).get(answered.receipt.id)
            assert (found.outcome, found.verdict.status) == ("answered", Status.VERIFIED)
            client.close()
        store.close()

    def test_a_memory_store_is_refused(self) -> None:
        with pytest.raises(ConfigError) as caught:
            ReceiptStore(Store("memory:"))
        assert caught.value.code == "memory_store"


class TestMany:
    def test_threads_write_to_one_store(self, kept: ReceiptStore) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: kept.write(receipt()), range(200)))
        assert len(kept) == 200

    def test_processes_write_to_one_store(self, kept: ReceiptStore, url: str) -> None:
        code = (
            "import sys; from tests.zg_core.receipts.test_model import receipt; from zg_core.store import Store;"
            "from zg_core.receipts import ReceiptStore; kept = ReceiptStore(Store(sys.argv[1]));"
            "[kept.write(receipt()) for _ in range(50)]"
        )
        together(4, code, url, preload=("sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql"))
        assert len(kept) == 200


def killed(
    options: dict[str, Any], provider: Any, url: str, *, times: int, fault: dict[str, Any], come: Any
) -> list[str]:
    """Run calls in a process and kill it in the middle of the last, which meets a fault and has come so far.

    Returns the ids of the answers that it returned.
    """
    settings = {**options, "provider": provider.address, "store": url, "times": times}
    settings.pop("environ")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.zg_core.receipts.crashing", json.dumps(settings)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(times + 1)]
        assert lines.pop() == "next"
        provider.fault(**fault)
        process.stdin.write("\n")
        process.stdin.flush()
        until(lambda: come() or process.poll() is not None, "the last call never came so far")
        assert process.poll() is None, "it ended by itself"
        process.send_signal(signal.SIGKILL)
    return lines


class TestKilled:
    def test_what_was_answered_and_what_was_sent_is_there(self, options, provider, kept, url) -> None:
        def prompts() -> int:
            return sum(request.path.endswith("/chat/completions") for request in provider.requests)

        before, billed = prompts(), len(provider.log)
        ids = killed(
            options,
            provider,
            url,
            times=3,
            fault={"fault": "hang", "times": None},
            come=lambda: prompts() == before + 4,
        )
        until(
            lambda: len(provider.log) == billed + 4
        )  # it bills once it sees that nobody listens: not in the next test
        found = list(kept)
        assert [each.id for each in found[:3]] == ids
        assert [each.outcome for each in found] == ["answered"] * 3 + ["unknown"]
        assert [each.verdict.status for each in found[:3]] == [Status.VERIFIED] * 3

    def test_a_verdict_that_was_pending_can_still_be_made(self, options, provider, kept, url, net) -> None:
        def answered() -> bool:
            return kept.last is not None and kept.last.outcome == "answered"

        killed(options, provider, url, times=0, fault={"fault": "signature_late", "misses": 1}, come=answered)
        assert kept.last.verdict.status is Status.PENDING

        from zg_core import Broker
        from zg_core.http.transport import run

        where = {name: options[name] for name in ("network", "rpc_url", "ledger", "inference")}
        with Broker.read_only(**where, environ={}) as broker:
            done = run(resolve_late(kept, broker.core.chain, broker.transport))
            if done[0].verdict.reason is Reason.NO_SIGNATURE:  # not signed yet: it is tried again
                done = run(resolve_late(kept, broker.core.chain, broker.transport))
        assert [each.verdict.status for each in done] == [Status.VERIFIED]
        assert kept.last.verdict.status is Status.VERIFIED


def test_a_memory_store_loads_no_database() -> None:
    code = (
        "import sys; from zg_core import ChatClient;"
        "c = ChatClient(provider='0x' + '11' * 20, private_key='0x' + '22' * 32, environ={});"
        "assert c.stored is None; assert 'sqlalchemy' not in sys.modules and 'sqlite3' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
