"""The end of a call at one go; where that cannot be, each part of it by itself."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.zg_core.receipts.test_model import receipt
from zg_core.errors import ConfigError
from zg_core.http.transport import SyncTransport
from zg_core.receipts import MemoryReceipts, ReceiptStore
from zg_core.receipts.recorder import NOT_STORED, Recorder
from zg_core.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path}/store.db")
    yield made
    made.close()


@pytest.fixture
def kept(store: Store) -> ReceiptStore:
    return ReceiptStore(store)


def recorder(kept: ReceiptStore | None) -> Recorder:
    return Recorder(MemoryReceipts(), kept, SyncTransport())


def test_what_is_held_goes_with_the_receipt_that_could_not_be_written(store: Store, kept: ReceiptStore) -> None:
    def hold() -> None:
        store.write("INSERT INTO budget_totals VALUES ('x', '1')")
        store.write("ALTER TABLE receipts RENAME TO gone")

    with pytest.raises(ConfigError, match="no such table"):
        recorder(kept).opened(receipt(), hold, store)
    assert list(store.stream("SELECT * FROM budget_totals")) == []
    assert len(kept) == 0


def test_a_context_that_was_rolled_back_is_written_with_the_next_receipt(kept: ReceiptStore) -> None:
    first, second = receipt(id="1" * 32), receipt(id="2" * 32)
    with pytest.raises(LookupError), kept.together():
        kept.write(first)
        raise LookupError
    kept.write(second)
    found = kept.get(second.id)
    assert found is not None
    assert found.to_dict() == second.to_dict()
    assert kept.get(first.id) is None


@pytest.mark.parametrize("shared", [True, False])
def test_a_call_whose_cost_cannot_be_counted_is_written_with_its_marks(
    store: Store, kept: ReceiptStore, shared: bool, caplog: pytest.LogCaptureFixture
) -> None:
    one, mark, counted, seen = receipt(), os.urandom(16), [], []

    def count() -> None:
        counted.append(1)
        raise ConfigError("no budget", code="store_unavailable")

    with caplog.at_level(logging.WARNING):
        recorder(kept).ended(one, count, store if shared else Store("memory:"), [mark], seen.append)
    assert counted == [1, 1] if shared else [1]
    assert "could not be settled" in caplog.text
    assert seen[-1] == frozenset()
    found = kept.get(one.id)
    assert found is not None
    assert NOT_STORED not in found.flags
    assert kept.note(receipt(id="f" * 32), [mark]) == {mark}


def test_a_mark_of_another_reply_is_known_before_the_receipt_is_written(store: Store, kept: ReceiptStore) -> None:
    one, mark = receipt(id="1" * 32), os.urandom(16)
    kept.note(receipt(id="f" * 32), [mark])

    def known(old: frozenset[bytes]) -> None:
        one.replayed = bool(old)

    recorder(kept).ended(one, lambda: None, store, [mark], known)
    found = kept.get(one.id)
    assert found is not None
    assert found.replayed
