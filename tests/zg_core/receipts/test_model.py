"""Receipts: what they record, as data and metadata, and how a pending verdict is waited for."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.zg_core.verify.scene import service
from zg_core.money import Fee, neuron
from zg_core.receipts.model import Receipt
from zg_core.types import Kind, Usage
from zg_core.verify.schemes.evidence import Evidence
from zg_core.verify.verdict import Binding, Status, Verdict

VERIFIED = Verdict(Status.VERIFIED, kind=Kind.TEE_ML, binding=Binding.EXACT, signed_text="a:b", signature="0x12")
PENDING = Verdict(Status.PENDING, kind=Kind.TEE_ML)


def receipt(**changes: Any) -> Receipt:
    values: dict[str, Any] = {
        "backend": "direct",
        "network": "local",
        "chain_id": 31337,
        "provider": "0x" + "ab" * 20,
        "model": "m",
        "kind": Kind.TEE_TLS,
        "request_sha256": "11" * 32,
        "input_price": 10**20,
        "output_price": 3,
        "fee": Fee(neuron(123_000_000_000), exact=True),
    }
    return Receipt(**values | changes)


def floats_in(value: Any) -> list[float]:
    if isinstance(value, dict):
        value = list(value.values())
    return [f for v in value for f in floats_in(v)] if isinstance(value, list) else [value] * isinstance(value, float)


class TestMetadata:
    def test_has_the_documented_shape(self) -> None:
        record = receipt(chat_id="chat-1", kind=Kind.TEE_ML)
        record.settle(VERIFIED)
        assert record.metadata() == {
            "status": "verified",
            "chat_id": "chat-1",
            "receipt_id": record.id,
            "backend": "direct",
            "task": "chat",
            "provider": "0x" + "ab" * 20,
            "network": "local",
            "kind": "TeeML",
            "prompt": "declared",
            "verdict": VERIFIED.to_dict(),
            "payment": {
                "fee": "123000000000",
                "unit": "neuron",
                "currency": "0G",
                "exact": True,
                "input_price": str(10**20),
                "output_price": "3",
            },
        }

    def test_is_json_without_floats(self) -> None:
        metadata = receipt().metadata()
        assert json.loads(json.dumps(metadata)) == metadata
        assert floats_in(metadata) == []
        assert all(type(key) is str for key in metadata)

    def test_holds_plain_texts_rather_than_enums(self) -> None:
        metadata = receipt().metadata()
        assert type(metadata["status"]) is type(metadata["kind"]) is type(metadata["verdict"]["reason"]) is str

    def test_says_that_a_vendor_saw_the_prompt(self) -> None:
        assert receipt().metadata()["prompt"] == "vendor"


class TestToDict:
    def test_is_json_and_holds_everything(self) -> None:
        record = receipt(
            usage=Usage(1, 2, 3, 4),
            outcome="answered",
            started_at=datetime(2026, 1, 2, tzinfo=UTC),
            seconds=1.23456789,
            first_byte_seconds=0.5,
        )
        data = json.loads(json.dumps(record.to_dict()))
        assert data["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "cached_tokens": 3, "reasoning_tokens": 4}
        assert (data["started_at"], data["seconds"], data["outcome"]) == (
            "2026-01-02T00:00:00+00:00",
            1.234568,
            "answered",
        )

    def test_keeps_every_attribute(self) -> None:
        values: dict[str, Any] = {
            "realm": "eip155:7", "chain_id": 7, "task": "embeddings", "run": "r", "payment": "x402",
            "grant": {"nonce": "9"}, "usage": Usage(1, 2, 3, 4), "outcome": "answered", "seconds": 1.5, "attempts": 3,
            "first_byte_seconds": 0.5, "payer": "0x" + "1" * 40, "ledger": "0x" + "2" * 40, "flags": ("not_stored",),
            "inference": "0x" + "3" * 40, "service_block": 9, "policy": {"mode": "off"}, "request_bytes": 3,
            "request_body": b"abc", "response_body": b"d", "response_bytes": 1, "response_sha256": "22" * 32,
            "signature_ids": ("i", "j"), "complete": True, "replayed": True, "attestation": {"level": 2},
            "certificate_sha256": "33" * 32, "chat_id": "c", "service": service(Kind.TEE_TLS), "network": "own",
            "evidence": Evidence("signed_hashes", ("i", "j"), "a:b", "0x12", "0x34", 5, {"key": "k"}),
        }  # fmt: skip
        record = receipt(**values)
        again = Receipt.from_dict(json.loads(json.dumps(record.to_dict())))
        kept = {name: getattr(again, name) for name in values}
        assert kept == values
        left_out = {"verdict", "model", "started_at", "id", "backend", "kind", "fee", "input_price", "output_price"}
        fields = {name for name in Receipt.__dataclass_fields__ if not name.startswith("_")}
        assert fields - left_out - set(values) == {"provider", "request_sha256"}

    def test_copes_with_what_is_missing(self) -> None:
        data = receipt().to_dict()
        assert (data["usage"], data["first_byte_seconds"], data["chat_id"]) == (None, None, "")
        assert (data["service"], data["evidence"]["scheme"], data["realm"]) == (None, "", "eip155:31337")


class TestRepr:
    def test_tells_the_essence(self) -> None:
        record = receipt(outcome="answered", chat_id="c")
        record.settle(VERIFIED)
        assert repr(record) == (
            f"Receipt(answered, provider='{'0x' + 'ab' * 20}', chat_id='c', fee='0.000000123 0G', verdict='verified')"
        )

    def test_does_not_call_a_guess_a_fee(self) -> None:
        shown = repr(receipt(fee=Fee(neuron(0), exact=False, reason="no_usage", upper=10**15)))
        assert "unknown (no_usage), at most 0.001 0G" in shown


class TestWaiting:
    def test_a_settled_verdict_is_there_at_once(self) -> None:
        record = receipt()
        record.settle(VERIFIED)
        assert record.resolve(0) is VERIFIED

    def test_a_pending_one_is_waited_for(self) -> None:
        record = receipt()
        record.settle(PENDING)
        found: list[Verdict] = []
        threads = [threading.Thread(target=lambda: found.append(record.resolve(PATIENCE))) for _ in range(3)]
        for thread in threads:
            thread.start()
        record.settle(VERIFIED)
        for thread in threads:
            thread.join(PATIENCE)
        assert found == [VERIFIED] * 3

    def test_waiting_ends_with_the_time_given(self) -> None:
        record = receipt()
        record.settle(PENDING)
        assert record.resolve(0.01) is PENDING

    async def test_an_event_loop_can_wait_too(self) -> None:
        record = receipt()
        record.settle(PENDING)
        waiting = [asyncio.ensure_future(record.aresolve(PATIENCE)) for _ in range(3)]
        await asyncio.sleep(0)
        record.settle(VERIFIED)
        assert await asyncio.gather(*waiting) == [VERIFIED] * 3

    def test_a_copy_of_a_pending_one_does_not_wait_for_ever(self) -> None:
        record = receipt()
        record.settle(PENDING)
        for other in (pickle.loads(pickle.dumps(record)), copy.copy(record), copy.deepcopy(record)):
            waiting = threading.Thread(target=other.resolve, daemon=True)
            waiting.start()
            waiting.join(PATIENCE)
            assert not waiting.is_alive()
            assert other.verdict == PENDING


class TestCopies:
    @pytest.mark.parametrize("again", [lambda r: pickle.loads(pickle.dumps(r)), copy.copy, copy.deepcopy])
    def test_say_the_same(self, again: Any) -> None:
        record = receipt(usage=Usage(1, 2))
        record.settle(VERIFIED)
        other = again(record)
        assert other is not record
        assert other.to_dict() == record.to_dict()
        assert other.resolve(0) == VERIFIED

    def test_two_receipts_are_never_the_same(self) -> None:
        one, two = receipt(), receipt()
        assert one.id != two.id
        assert one != two
        assert len({one, two}) == 2


def test_no_two_receipts_share_what_a_reader_of_one_may_change() -> None:
    one, other = receipt(), receipt()
    assert one.evidence.facts is not other.evidence.facts
    assert one.grant is not other.grant
