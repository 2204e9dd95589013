"""What answers are billed by, against the known answers of the broker's own program, and the fee that follows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vectors import services
from zg_core.pricing import Asked, fee_of
from zg_core.tasks.forms import form_of, part_of
from zg_core.tasks.measuring import measure_edits, measure_embeddings, measure_images, measure_speech
from zg_core.types import ServiceRecord
from zg_core.verify.usage import implausible

FEES = services()["fees"]


def service(kind: str, input_price: object, output_price: object) -> ServiceRecord:
    prices = int(str(input_price)), int(str(output_price))
    return ServiceRecord("0x" + "a" * 40, kind, "http://h", *prices, 0, "m", "TeeML", "{}", "", True)


@pytest.mark.parametrize("case", FEES["speech"], ids=lambda case: case["body"][:40])
def test_a_transcript_costs_what_the_broker_bills(case: Any) -> None:
    measure = measure_speech(case["body"].encode())
    usage = measure.usage
    assert usage is not None
    fee = fee_of(service("speech-to-text", case["input_price"], case["output_price"]), usage)
    assert (str(fee.amount.units), fee.exact) == (case["fee"], True)
    units = {"seconds": usage.seconds, "tokens": usage.total_tokens, "estimate": usage.words}
    assert units[case["how"]] == case["units"]
    assert measure.estimated is (case["how"] == "estimate")


@pytest.mark.parametrize("case", FEES["embedding_estimate_without_usage"], ids=lambda case: case["request"][:30])
def test_embeddings_without_usage_are_estimated_as_the_broker_does(case: Any) -> None:
    measure = measure_embeddings({"data": []}, json.loads(case["request"]))
    assert measure.usage is not None
    assert (measure.usage.prompt_tokens, measure.estimated) == (case["tokens"], True)


@pytest.mark.parametrize("case", FEES["embedding"], ids=lambda case: str(case["usage"]))
def test_embeddings_are_billed_by_the_prompt_or_the_total(case: Any) -> None:
    measure = measure_embeddings({"usage": case["usage"]}, {})
    assert str(fee_of(service("embedding", case["input_price"], 0), measure.usage).amount.units) == case["fee"]


@pytest.mark.parametrize("case", FEES["text_to_image"], ids=lambda case: case["why"])
def test_images_are_billed_as_delivered_if_they_can_be_counted(case: Any) -> None:
    entries = [{"b64_json": "AAAA" if case.get("decodable", True) else "!"}] * case.get("delivered", 1)
    measure = measure_images(json.dumps({"data": entries}).encode(), case["requested"])
    assert str(fee_of(service("text-to-image", 9, case["output_price"]), measure.usage).amount.units) == case["fee"]


def test_edits_are_billed_as_asked_for() -> None:
    (case,) = FEES["image_editing"]
    usage = measure_edits(case["requested"]).usage
    assert str(fee_of(service("image-editing", 9, case["output_price"]), usage).amount.units) == case["fee"]


def test_the_line_that_ends_a_stream_says_what_it_costs_unless_it_is_an_event() -> None:
    done = b'{"type":"transcript.text.done","text":"a b","usage":{"type":"duration","seconds":12}}'
    bare = measure_speech(b'{"type":"transcript.text.delta","delta":"a"}\n' + done + b"\n", streamed=True)
    event = measure_speech(b"data: " + done + b"\n\n", streamed=True)
    assert bare.usage is not None
    assert event.usage is not None
    assert (bare.usage.seconds, event.usage.seconds, event.estimated) == (12, 0, True)


def test_what_is_asked_bounds_what_it_can_cost() -> None:
    images = Asked.of({"prompt": "a fox", "n": 3}, 40)
    speech = Asked.of({"file": part_of(b"OggS" + bytes(2496), what="a recording", most=9999)}, 2700)
    assert (images.images, speech.seconds) == (3, 10)
    body, _ = form_of({"prompt": "x", "n": 2, "image": part_of(b"GIF89a", what="an image", most=9)})
    assert isinstance(body, bytes)
    assert Asked.read(body).images == 2
    assert implausible(measure_edits(4).usage, b"", 9, images).startswith("4 images")
    assert implausible(measure_speech(b'{"text":"","duration":99}').usage, b"", 9, speech).startswith("99 seconds")
    assert implausible(measure_speech(b'{"text":"","duration":9.4}').usage, b"", 9, speech) == ""
