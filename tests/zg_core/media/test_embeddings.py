"""Texts as vectors: proven, priced, bounded, in each form in which they are asked for."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from typing import Any

import pytest

from zg_core import (
    Broker,
    Budget,
    BudgetExceeded,
    ConfigError,
    EmbeddingClient,
    RequestError,
    Service,
    ServiceRecord,
    VerificationFailed,
    ZeroGError,
    neuron,
)
from zg_core.calls.call import Reply
from zg_core.receipts import Anchor, check
from zg_core.tasks.embeddings import asked_for, vectors_of

ML = {"model": "embed"}
TEXTS = ["a cat sleeps", "income tax law", "a cat naps"]


def billed(provider: Any) -> int:
    entry = provider.log[-1]
    return int(entry.input_fee + entry.output_fee)


def test_each_text_has_its_vector_and_the_call_its_receipt(drive: Any, at: Any) -> None:
    vectors = drive.embeddings(TEXTS, settings={**ML, "verify": "require"})
    assert (len(vectors), {len(each) for each in vectors}) == (3, {vectors.dimensions})
    assert vectors[0] != vectors[1]
    receipt = vectors.receipt
    assert (receipt.task, str(receipt.verdict), receipt.fee.exact) == ("embeddings", "verified", True)
    assert receipt.fee.amount.units == billed(at("embed"))
    assert "3 x" in repr(vectors)


@pytest.mark.parametrize(("texts", "count"), [("one text", 1), (("a", "b"), 2)], ids=str)
def test_a_text_or_a_list(drive: Any, texts: Any, count: int) -> None:
    assert len(drive.embeddings(texts, settings=ML)) == count


@pytest.mark.parametrize(("ids", "sent"), [([1, 2, 3], [[1, 2, 3]]), ([[1, 2], [3]], [[1, 2], [3]])], ids=str)
def test_token_ids_go_out_as_they_are_and_a_model_that_takes_none_says_so(
    settings: dict[str, Any], ids: Any, sent: Any
) -> None:
    payload, count = asked_for(ids, model=None, dimensions=None, form="float", more={})
    assert (payload["input"], count) == (sent, len(sent))
    with EmbeddingClient(**settings, **ML) as client, pytest.raises(RequestError, match="token ids"):
        client.embed(ids)


def test_base64_gives_the_same_numbers_in_32_bits(drive: Any) -> None:
    plain = drive.embeddings(TEXTS, settings=ML)
    short = drive.embeddings(TEXTS, settings=ML, encoding_format="base64")
    assert isinstance(short.body["data"][0]["embedding"], str)
    for one, other in zip(plain, short, strict=True):
        assert other == pytest.approx(one, rel=1e-6, abs=1e-7)


def test_the_length_can_be_chosen(drive: Any) -> None:
    assert drive.embeddings(TEXTS, settings=ML, dimensions=16).dimensions == 16


@pytest.mark.parametrize(
    ("texts", "more", "said"),
    [
        ([], {}, "no text"),
        ("", {}, "is empty"),
        (["a", ""], {}, "text 1 is empty"),
        (["a", None], {}, "NoneType"),
        ([[]], {}, "is empty"),
        ([1.5], {}, "float"),
        (7, {}, "is a int"),
        (None, {}, "NoneType"),
        ({"a": 1}, {}, "dict"),
        (b"bytes", {}, "bytes"),
        ("a", {"dimensions": 0}, "dimensions"),
        ("a", {"dimensions": "16"}, "dimensions"),
        ("a", {"encoding_format": "int8"}, "encoding_format"),
    ],
)
def test_what_cannot_be_embedded_is_said_before_anything_is_sent(
    settings: dict[str, Any], at: Any, texts: Any, more: Any, said: str
) -> None:
    asked = len(at("embed").log)
    with EmbeddingClient(**settings, **ML) as client, pytest.raises(ConfigError, match=said) as caught:
        client.embed(texts, **more)
    assert (caught.value.code, len(at("embed").log)) == ("bad_request_body", asked)


def test_a_service_of_another_type_is_refused_before_money_is_spent(settings: dict[str, Any]) -> None:
    for wrong in ({"model": "chat"}, {"model": "text-to-image/TeeML"}):
        with EmbeddingClient(**settings, **wrong) as client, pytest.raises(ZeroGError) as caught:
            client.embed("a")
        assert caught.value.code in ("wrong_service", "model_not_served")


def test_a_vector_that_was_changed_is_found_out(drive: Any, at: Any) -> None:
    with at("embed").fault("body_changed"), pytest.raises(VerificationFailed) as caught:
        drive.embeddings(TEXTS, settings={**ML, "verify": "require"})
    assert caught.value.code == "content_mismatch"


def test_a_budget_holds_what_the_texts_can_cost(settings: dict[str, Any]) -> None:
    budget = Budget(per_call=neuron(1))
    with EmbeddingClient(**settings, **ML, budget=budget) as client, pytest.raises(BudgetExceeded):
        client.embed(TEXTS)


def test_a_receipt_is_checked_again_offline(settings: dict[str, Any], at: Any) -> None:
    with EmbeddingClient(**settings, **ML, keep_bytes=True) as client:
        receipt = client.embed(TEXTS).receipt
    anchor = Anchor("pins", signers=(at("embed").tee_signer,))
    assert check(receipt.to_dict(), anchor).result == "passed"


def test_a_client_speaks_of_services_and_a_broker_of_records(settings: dict[str, Any]) -> None:
    with EmbeddingClient(**settings, **ML) as client, Broker(**settings) as broker:
        service = client.service()
        record = broker.service(service.provider)
    assert isinstance(service, Service)
    assert isinstance(record, ServiceRecord)
    assert (service.task, record.service_type) == ("embeddings", "embedding")


def answer(*entries: dict[str, Any]) -> Any:
    return Reply(json.loads(json.dumps({"data": list(entries)})), None)  # type: ignore[arg-type]


def test_vectors_are_sorted_by_their_number() -> None:
    text = b64encode(struct.pack("<2f", 0.5, -1)).decode()
    said = answer({"index": 1, "embedding": [1, 2]}, {"index": 0, "embedding": text})
    assert vectors_of(said, 2) == [[0.5, -1.0], [1.0, 2.0]]


@pytest.mark.parametrize("bad", ["", "no base64", b64encode(b"abc").decode(), [], [True], None, [float(1), "x"]])
def test_what_is_no_vector_is_an_error(bad: Any) -> None:
    with pytest.raises(RequestError) as caught:
        vectors_of(answer({"index": 0, "embedding": bad}), 1)
    assert caught.value.code == "malformed_reply"
