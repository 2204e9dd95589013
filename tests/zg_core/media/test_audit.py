"""Receipts of every task beside what was settled: whoever bills more than he delivered is found out by the sums."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.zg_core.cli.running import Zerog
from tests.zg_core.media.conftest import PICTURE, RECORDING
from zg_core import AsyncBroker, Broker, ImageClient, SpeechClient, VerificationFailed
from zg_core.audits.result import Audit
from zg_core.localnet import LocalNet
from zg_core.receipts import Receipt

PRICE = 3 * 10**15
IMAGES, EDITS, SPEECH = "text-to-image/TeeML", "image-editing", "speech-to-text/TeeML"
Ask = Callable[[dict[str, Any]], Receipt]


def images(settings: dict[str, Any]) -> Receipt:
    with ImageClient(**settings, model=IMAGES) as client:
        return client.generate("a fox", n=3).receipt


def edits(settings: dict[str, Any]) -> Receipt:
    with ImageClient(**settings, model="image-editing/TeeML", service_type=EDITS) as client:
        return client.edit(PICTURE, "in blue", n=2).receipt


def transcript(settings: dict[str, Any], **more: Any) -> Receipt:
    with SpeechClient(**settings, model=SPEECH) as client:
        return client.transcribe(RECORDING, **more).receipt


def subtitles(settings: dict[str, Any]) -> Receipt:
    return transcript(settings, response_format="srt")


def stream(settings: dict[str, Any]) -> Receipt:
    with SpeechClient(**settings, model=SPEECH) as client:
        heard = client.transcribe_stream(RECORDING)
        list(heard)
        assert heard.receipt is not None
        return heard.receipt


TASKS = {
    images: IMAGES,
    edits: "image-editing/TeeML",
    transcript: SPEECH,
    subtitles: SPEECH,
    stream: SPEECH,
}


@pytest.fixture
def own(market: LocalNet, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a wallet that nobody has billed before."""
    wallet = market.new_wallet()
    for model in {*TASKS.values()}:
        market.open_account(wallet, market.provider(model), 5 * 10**18)
    return {**settings, "private_key": wallet.private_key}


def audited(own: dict[str, Any], receipts: list[Receipt]) -> Audit:
    with Broker(**{name: value for name, value in own.items() if name != "model"}) as broker:
        return broker.audit(receipts)


def codes(found: Audit) -> list[str]:
    return [each.code for each in found.findings if each.outside]


@pytest.mark.parametrize("ask", TASKS, ids=lambda ask: ask.__name__)
def test_an_honest_bill_is_what_the_receipt_says(own: dict[str, Any], at: Any, ask: Ask) -> None:
    receipt = ask(own)
    at(TASKS[ask]).settle()
    found = audited(own, [receipt])
    (row,) = found.providers
    assert (found.ok, found.findings) == (True, ())
    assert row.settled == row.exact == receipt.fee.amount
    assert [each.alone for each in row.settlements] == [receipt.id]


def test_an_image_that_is_billed_and_was_never_made(own: dict[str, Any], at: Any) -> None:
    with at(IMAGES).fault("images_overbilled"):
        receipt = images(own)
    assert str(receipt.verdict) == "verified"  # two images were signed, and two came
    at(IMAGES).settle()
    found = audited(own, [receipt])
    (finding,) = found.findings
    assert (finding.code, finding.excess and finding.excess.units, found.ok) == ("settled_too_much", PRICE, False)
    assert finding.receipts == (receipt.id,)
    assert asyncio.run(audited_async(own, receipt)).to_dict()["findings"] == found.to_dict()["findings"]


async def audited_async(own: dict[str, Any], receipt: Receipt) -> Audit:
    async with AsyncBroker(**own) as broker:
        return await broker.audit([receipt])


@pytest.mark.parametrize("fault", ["image_swapped", "images_missing"])
def test_images_that_were_changed_on_the_way_are_a_verdict_and_no_bill(
    own: dict[str, Any], at: Any, fault: str
) -> None:
    kept: list[Receipt] = []
    with at(IMAGES).fault(fault), suppress(VerificationFailed):
        images({**own, "verify": "require", "on_receipt": kept.append})
    (receipt,) = kept
    assert receipt.verdict.status == "failed"
    at(IMAGES).settle()
    assert "settled_too_little" not in codes(audited(own, [receipt]))


@pytest.mark.parametrize("factor", [2, 10, 100])
@pytest.mark.parametrize("ask", [transcript, stream], ids=lambda ask: ask.__name__)
def test_a_length_that_is_no_recording_of_ours(own: dict[str, Any], at: Any, ask: Ask, factor: int) -> None:
    with at(SPEECH).fault("duration_inflated", factor=factor):
        receipt = ask(own)
    at(SPEECH).settle()
    found = audited(own, [receipt])
    assert codes(found) == ["settled_too_much", "usage_inflated"]
    assert not receipt.fee.exact


@pytest.mark.parametrize("ask", TASKS, ids=lambda ask: ask.__name__)
def test_a_settlement_above_the_providers_own_log(own: dict[str, Any], at: Any, ask: Ask) -> None:
    receipt = ask(own)
    with at(TASKS[ask]).fault("settlement_inflated", times=None, factor=3):
        at(TASKS[ask]).settle()
    found = audited(own, [receipt])
    assert [(each.code, each.excess) for each in found.findings if each.outside] == [
        ("settled_too_much", receipt.fee.amount + receipt.fee.amount)
    ]


def test_the_command_finds_it_in_the_store(own: dict[str, Any], market: LocalNet, at: Any, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/store.sqlite"
    with at(IMAGES).fault("images_overbilled"):
        images({**own, "store": store})
    transcript({**own, "store": store})
    for model in (IMAGES, SPEECH):
        at(model).settle()
    environ = {**market.env(), "ZEROG_PRIVATE_KEY": own["private_key"], "ZEROG_STORE": store}
    ran = Zerog({name: value for name, value in environ.items() if name != "ZEROG_PROVIDER"})(
        "receipts", "audit", "--json", ok=False
    )
    assert (ran.code, ran.document["ok"]) == (1, False), str(ran)
    outside = [each for each in ran.document["findings"] if each["outside"]]
    assert [(each["code"], each["excess"]) for each in outside] == [("settled_too_much", str(PRICE))]
    assert len(ran.document["providers"]) == 2


def test_without_any_receipt_what_was_settled_is_told(own: dict[str, Any], at: Any) -> None:
    images(own)
    at(IMAGES).settle()
    found = audited(own, [])
    assert [(each.code, each.outside) for each in found.findings] == [("charged_without_receipt", False)]
