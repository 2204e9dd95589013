"""Images that are made aside: handed in, waited for by this process or another, failed, lost."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.zg_core.media.conftest import PICTURE
from zg_core import (
    AsyncImageClient,
    ConfigError,
    ImageClient,
    ImageJob,
    OutcomeUnknown,
    ProviderUnavailable,
    RequestError,
    VerificationFailed,
)

ML = {"model": "text-to-image/TeeML"}
PRICE = 3 * 10**15


@pytest.mark.parametrize("form", ["b64_json", "url"])
def test_a_job_is_waited_for_with_progress_and_its_images_are_proven(
    settings: dict[str, Any], at: Any, form: str
) -> None:
    seen: list[str] = []
    with ImageClient(**settings, **ML, verify="require") as client:
        job = client.submit("a fox", n=2, size="64x64", response_format=form)
        assert len(client.receipts) == 0
        images = client.wait(job, on_progress=lambda step: seen.append(step.name))
        assert len(client.receipts) == 1
    assert seen == ["job_pending", "job_processing", "job_completed"]
    assert [one.size for one in images] == [(64, 64)] * 2
    receipt = images.receipt
    assert (str(receipt.verdict), receipt.id, receipt.task) == ("verified", job.receipt_id, "images")
    assert receipt.fee.amount.units == at(ML["model"]).log[-1].fee == 2 * PRICE
    assert receipt.fee.exact


def test_another_process_of_the_wallet_waits_for_it_and_the_store_has_one_receipt(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    store = f"sqlite:///{tmp_path / 'receipts.db'}"
    with ImageClient(**settings, **ML, store=store) as client:
        kept = json.dumps(client.submit("a fox").to_dict())
        assert client.stored is not None
        assert [one.outcome for one in client.stored] == ["unknown"]

    async def elsewhere() -> Any:
        async with AsyncImageClient(**settings, **ML, store=store) as client:
            images = await client.wait(ImageJob.from_dict(json.loads(kept)))
            assert client.stored is not None
            return images, list(client.stored)

    images, receipts = asyncio.run(elsewhere())
    assert [(one.outcome, str(one.verdict), one.id) for one in receipts] == [
        ("answered", "verified", images.receipt.id)
    ]


def test_an_edit_is_handed_in_in_the_same_way(settings: dict[str, Any], at: Any) -> None:
    edits = {"service_type": "image-editing", "model": "image-editing/TeeML"}

    async def main() -> Any:
        async with AsyncImageClient(**settings, **edits) as client:
            return await client.wait(await client.submit("more fox", image=PICTURE))

    images = asyncio.run(main())
    assert str(images.receipt.verdict) == "verified"


def test_a_job_of_a_relay_is_proven_where_its_bytes_come_as_they_were(settings: dict[str, Any]) -> None:
    with ImageClient(**settings, model="text-to-image/TeeTLS") as client:
        images = client.wait(client.submit("a fox"))
    assert str(images.receipt.verdict.status) == "verified"


def test_a_swapped_image_is_found_out(settings: dict[str, Any], at: Any) -> None:
    with ImageClient(**settings, **ML, verify="require") as client, at(ML["model"]).fault("image_swapped"):
        job = client.submit("a fox")
        with pytest.raises(VerificationFailed):
            client.wait(job)


def test_a_job_that_fails_is_told_and_not_billed(settings: dict[str, Any], at: Any) -> None:
    before = len(at(ML["model"]).log)
    with ImageClient(**settings, **ML) as client, at(ML["model"]).fault("job_failed"):
        job = client.submit("a fox")
        with pytest.raises(RequestError, match="ran out of memory") as caught:
            client.wait(job)
    assert (caught.value.code, caught.value.receipt.outcome) == ("job_failed", "refused")
    assert len(at(ML["model"]).log) == before


def test_a_lost_job_may_be_billed(settings: dict[str, Any], at: Any) -> None:
    with ImageClient(**settings, **ML) as client, at(ML["model"]).fault("job_lost"):
        job = client.submit("a fox")
        with pytest.raises(OutcomeUnknown, match="half an hour") as caught:
            client.wait(job)
    assert (caught.value.code, caught.value.receipt.fee.upper) == ("job_lost", PRICE)
    assert at(ML["model"]).log[-1].fee == PRICE


def test_what_is_not_done_in_time_goes_on(settings: dict[str, Any]) -> None:
    with ImageClient(**settings, **ML) as client:
        job = client.submit("a fox")
        with pytest.raises(ProviderUnavailable) as caught:
            client.wait(job, timeout=0.0)
        assert caught.value.code == "job_timeout"
        assert len(client.wait(job)) == 1


def test_a_provider_without_jobs_says_so_before_anything_is_billed(settings: dict[str, Any], at: Any) -> None:
    with ImageClient(**settings, model="few", max_retries=0) as client, pytest.raises(ProviderUnavailable):
        client.submit("a fox")
    assert at("few").unsettled(client.backend.payer) >= 0


@pytest.mark.parametrize("change", [{"job_id": "../x"}, {"n": "2"}, {}], ids=str)
def test_what_is_no_job_is_refused(settings: dict[str, Any], change: dict[str, Any]) -> None:
    job = ImageJob("a", "0x" + "1" * 40, "m", "images", 1, "0" * 64, 9, "r").to_dict() | change
    if not change:
        del job["provider"]
    with pytest.raises(ConfigError) as caught:
        ImageJob.from_dict(job)
    assert caught.value.code == "bad_job"
