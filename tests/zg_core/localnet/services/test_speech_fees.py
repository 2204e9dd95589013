"""The provider's bill of a transcript and of embeddings, against the known answers of the broker's own program."""

from __future__ import annotations

import json

import pytest

from tests.vectors import services
from zg_core.localnet.provider.state import adapter_name
from zg_core.localnet.services.speech_fees import speech_fee
from zg_core.localnet.services.trades import estimated_tokens

FEES = services()["fees"]


@pytest.mark.parametrize("case", FEES["speech"], ids=lambda case: case["body"][:40])
def test_a_transcript_is_billed_as_the_broker_bills_it(case):
    fee = speech_fee(case["body"].encode(), int(case["input_price"]), int(case["output_price"]))
    assert (str(fee.input_fee + fee.output_fee), fee.how, fee.units) == (case["fee"], case["how"], case["units"])


@pytest.mark.parametrize("case", FEES["embedding_estimate_without_usage"], ids=lambda case: case["request"][:30])
def test_embeddings_without_usage_are_estimated_as_the_broker_does(case):
    assert estimated_tokens(json.loads(case["request"])) == case["tokens"]


def test_a_stream_is_billed_by_the_line_that_ends_it_unless_it_comes_as_an_event():
    done = b'{"type":"transcript.text.done","text":"a b","usage":{"type":"duration","seconds":12}}'
    assert speech_fee(b'{"type":"transcript.text.delta","delta":"a"}\n' + done + b"\n", 7, 5, stream=True).units == 12
    assert speech_fee(b"data: " + done + b"\n\n", 7, 5, stream=True).how == "estimate"


@pytest.mark.parametrize("case", services()["adapter_names"]["cases"], ids=lambda case: case["name"])
def test_an_adapter_is_named_as_the_official_client_names_it(case):
    assert adapter_name(case["base_model"], case["task_id"]) == case["name"]
