"""Recordings written down: proven, paid to the neuron, read from disk at constant memory, and what bad input gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.zg_core.conftest import CALM
from tests.zg_core.media.conftest import RECORDING, spec
from zg_core import (
    Budget,
    BudgetExceeded,
    ConfigError,
    OutcomeUnknown,
    RequestError,
    SpeechClient,
    StreamTruncated,
    VerificationFailed,
    og,
)
from zg_core.localnet import LocalNet, speak
from zg_core.receipts.anchors import Anchor
from zg_core.receipts.checking import check

ML = {"model": "speech-to-text/TeeML"}
SECOND = 7 * 10**12
WORD = 5 * 10**12


def billed(provider: Any) -> Any:
    return provider.log[-1].fee


@pytest.mark.parametrize("form", ["json", "text", "srt", "verbose_json", "vtt"])
def test_each_form_is_proven_and_costs_what_is_billed(drive: Any, at: Any, form: str) -> None:
    said = drive.speech(RECORDING, response_format=form, settings={**ML, "verify": "require"})
    assert "one two three" in said.text
    receipt = said.receipt
    assert (str(receipt.verdict), receipt.task, receipt.fee.exact) == ("verified", "transcription", True)
    assert (
        receipt.fee.amount.units == billed(at(ML["model"])) == (2 * 5 * 3 * WORD // 5 if form == "text" else 3 * SECOND)
    )
    assert ("usage_estimated" in receipt.flags) is (form == "text")
    if form == "verbose_json":
        assert (said.duration, said.language, said.segments[0]["text"]) == (2.5, "english", "one two three")


def test_words_have_times_where_they_are_asked_for(drive: Any) -> None:
    said = drive.speech(
        RECORDING, response_format="verbose_json", timestamp_granularities=["word"], language="en", settings=ML
    )
    assert [word["word"] for word in said.words] == ["one", "two", "three"]
    assert said.language == "en"


def test_tokens_are_billed_where_they_are_stated(drive: Any, at: Any) -> None:
    receipt = drive.speech(RECORDING, settings={"model": "counting"}).receipt
    assert receipt.usage.prompt_tokens == 62
    assert receipt.fee.amount.units == billed(at("counting"))


@pytest.mark.parametrize(
    ("model", "status"),
    [
        ("speech-to-text/TeeTLS", "verified"),
        ("old-relay", "unavailable"),
        ("speech-to-text/TeeML-separated", "unavailable"),
        ("speech-to-text/standard", "not_verifiable"),
    ],
)
def test_each_kind_of_service_gives_its_verdict(drive: Any, model: str, status: str) -> None:
    said = drive.speech(RECORDING, settings={"model": model})
    assert (said.text, str(said.receipt.verdict.status)) == ("one two three", status)


@pytest.mark.parametrize("model", ["speech-to-text/TeeML", "events"])
def test_a_stream_gives_the_words_as_they_come_and_its_receipt(drive: Any, at: Any, model: str) -> None:
    words, stream = drive.stream(RECORDING, settings={"model": model, "verify": "require"})
    assert (words, stream.text) == (["one", " two", " three"], "one two three")
    assert str(stream.receipt.verdict) == "verified"
    assert stream.receipt.fee.amount.units == billed(at(model))


def test_a_stream_without_its_end_is_truncated_and_keeps_what_came(drive: Any, at: Any) -> None:
    with at(ML["model"]).fault("truncated_stream"), pytest.raises(StreamTruncated) as caught:
        drive.stream(RECORDING, settings=ML)
    assert caught.value.text == "one two"
    assert caught.value.receipt.outcome == "truncated"


@pytest.mark.parametrize("form", ["json", "text", "srt", "verbose_json", "vtt"])
def test_a_transcript_that_is_altered_is_found_out(drive: Any, at: Any, form: str) -> None:
    with at(ML["model"]).fault("body_changed"), pytest.raises(VerificationFailed) as caught:
        drive.speech(RECORDING, response_format=form, settings={**ML, "verify": "require"})
    assert caught.value.code == "content_mismatch"


def test_an_altered_stream_is_not_proven_and_nobody_is_accused(drive: Any, at: Any) -> None:
    # An enclave may have hashed more than it forwarded, so a stream that differs proves nothing (services 4.4).
    with at(ML["model"]).fault("body_changed"):
        _, stream = drive.stream(RECORDING, settings={**ML, "verify": "warn"})
    assert str(stream.receipt.verdict.status) == "unavailable"


def test_a_length_that_cannot_be_true_is_bounded_by_the_recording(drive: Any, at: Any) -> None:
    with at(ML["model"]).fault("duration_inflated", factor=100):
        receipt = drive.speech(RECORDING, settings=ML).receipt
    assert str(receipt.verdict) == "verified"
    assert (receipt.fee.exact, receipt.fee.reason) == (False, "usage_implausible")
    assert "usage_implausible" in receipt.flags
    assert receipt.fee.upper < billed(at(ML["model"]))


def test_an_enclave_that_hashes_more_than_it_forwards_is_not_accused(settings: dict[str, Any], at: Any) -> None:
    said = check(
        SpeechClient(**settings, **ML, keep_bytes=True).transcribe(RECORDING).receipt,
        Anchor("pins", signers=(at(ML["model"]).tee_signer,)),
    )
    assert (said.result, said.verdict.status) == ("passed", "verified"), said.reason
    assert "usage" not in said.unvouched


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("form", ["json", "srt", "text"])
def test_receipts_of_transcripts_are_checked_again_offline(
    settings: dict[str, Any], at: Any, tmp_path: Path, form: str, keep: bool
) -> None:
    path = tmp_path / "said.wav"
    path.write_bytes(RECORDING)
    with SpeechClient(**settings, **ML, keep_bytes=keep) as client:
        receipts = [client.transcribe(given, response_format=form).receipt for given in (RECORDING, path)]
        stream = client.transcribe_stream(RECORDING)
        list(stream)
    for receipt in (*receipts, stream.receipt):
        document = json.loads(json.dumps(receipt.to_dict()))
        found = check(document, Anchor("pins", signers=(at(ML["model"]).tee_signer,)))
        assert found.result == "passed", found.reason


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (b"a text", "bad_audio"),
        (b"", "empty_file"),
        ("nowhere.wav", "unreadable_file"),
        (7, "unreadable_file"),
    ],
    ids=str,
)
def test_what_is_no_recording_is_not_sent(settings: dict[str, Any], at: Any, given: Any, code: str) -> None:
    before = len(at(ML["model"]).requests)
    with SpeechClient(**settings, **ML) as client, pytest.raises(ConfigError) as caught:
        client.transcribe(given)
    assert (caught.value.code, bool(caught.value.hint)) == (code, True)
    assert len(at(ML["model"]).requests) == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"response_format": "docx"},
        {"timestamp_granularities": ["word"]},
        {"response_format": "verbose_json", "timestamp_granularities": ["letter"]},
    ],
    ids=str,
)
def test_a_form_that_does_not_exist_is_said_before_anything_is_sent(settings: dict[str, Any], arguments: Any) -> None:
    with SpeechClient(**settings, **ML) as client, pytest.raises(ConfigError) as caught:
        client.transcribe(RECORDING, **arguments)
    assert (caught.value.code, bool(caught.value.hint)) == ("bad_format", True)


def test_a_recording_over_the_bound_is_said_with_its_size(settings: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "huge.wav"
    with path.open("wb") as file:
        file.write(RECORDING[:44])
        file.truncate(2 * 1024**3)  # sparse: it takes no room
    with SpeechClient(**settings, **ML) as client, pytest.raises(ConfigError, match="2147483648") as caught:
        client.transcribe(path)
    assert caught.value.code == "file_too_large"


def test_what_a_provider_does_not_take_is_refused_with_its_words(settings: dict[str, Any], at: Any) -> None:
    before = len(at(ML["model"]).log)
    with SpeechClient(**settings, **ML) as client, pytest.raises(RequestError, match=r"Invalid file format") as caught:
        client.transcribe(b"RIFF\0\0\0\0WAVEnothing to hear")
    assert not isinstance(caught.value, OutcomeUnknown)
    assert len(at(ML["model"]).log) == before


def test_a_budget_holds_what_the_recording_can_cost_at_most(settings: dict[str, Any], at: Any) -> None:
    before = len(at(ML["model"]).requests)
    long = speak("one", seconds=60)
    with SpeechClient(**settings, **ML, budget=Budget(per_call=og("0.001"))) as client, pytest.raises(BudgetExceeded):
        client.transcribe(long)
    assert len([one for one in at(ML["model"]).requests[before:] if one.method == "POST"]) == 0
    with SpeechClient(**settings, **ML, budget=Budget(per_call=og("1"))) as client:
        assert client.transcribe(long).receipt.fee.amount.units == 60 * SECOND


UPLOAD = """
import resource, sys
from zg_core import SpeechClient
client = SpeechClient(network="local", limits=None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
said = client.transcribe(sys.argv[1])
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown, said.receipt.verdict, said.receipt.request_bytes, said.receipt.usage.seconds)
"""


def test_a_recording_of_100_megabytes_is_sent_at_constant_memory(tmp_path: Path) -> None:
    from dataclasses import replace

    path = tmp_path / "long.wav"
    header = bytearray(RECORDING[:44])
    size = 100 * 1024 * 1024
    header[4:8], header[40:44] = (size - 8).to_bytes(4, "little"), (size - 44).to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(header)
        file.truncate(size)
    calm = replace(CALM, max_body=200 * 1024 * 1024)
    with LocalNet(providers=[spec("speech-to-text", model="long")], settings=calm) as net:
        net.open_account(net.wallet, net.providers[0], 10 * 10**18)
        environ = {"PATH": os.environ["PATH"], **net.env()} | {"PYTHONPATH": os.pathsep.join(sys.path)}
        code = UPLOAD.replace("limits=None", f"model={net.providers[0].model!r}")
        program = [sys.executable, "-c", code, str(path)]
        done = subprocess.run(program, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    grown, verdict, sent, seconds = done.stdout.split()
    assert verdict == "verified"
    assert int(sent) > size
    assert int(seconds) == round((size - 44) / 32_000)
    assert int(grown) < 30 * 1024, f"{grown} kB more"
