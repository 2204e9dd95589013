"""Images made and edited: proven one by one, paid to the neuron, refused before money is spent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.zg_core.media.conftest import PICTURE
from zg_core import (
    Budget,
    BudgetExceeded,
    ConfigError,
    Image,
    ImageClient,
    ModelNotServed,
    Receipt,
    RequestError,
    VerificationFailed,
    VerificationUnavailable,
    og,
)
from zg_core.localnet.media.png import size_of
from zg_core.receipts.anchors import Anchor
from zg_core.receipts.checking import check

ML = {"model": "text-to-image/TeeML"}
PRICE = 3 * 10**15


def billed(provider: Any) -> Any:
    return provider.log[-1]


def test_images_are_proven_one_by_one_and_cost_what_is_billed(drive: Any, at: Any) -> None:
    images = drive.images("generate", "a fox", n=2, size="64x48", settings=ML)
    assert [one.size for one in images] == [(64, 48)] * 2 == [size_of(one.data) for one in images]
    assert images[0].data != images[1].data
    receipt = images.receipt
    assert str(receipt.verdict) == "verified"
    assert receipt.verdict.signed_response_sha256 == ",".join(one.sha256 for one in images)
    assert receipt.evidence.facts["images"] == [hashlib.sha256(one.data).hexdigest() for one in images]
    assert (receipt.task, receipt.usage.images, receipt.fee.exact) == ("images", 2, True)
    assert receipt.fee.amount.units == billed(at(ML["model"])).fee == 2 * PRICE


def test_an_image_is_shown_in_a_notebook_and_written_to_a_new_file(drive: Any, tmp_path: Path) -> None:
    (image,) = images = drive.images("generate", "a fox", settings=ML)
    assert image._repr_png_() == image.data
    assert "data:image/png;base64," in images._repr_html_()
    assert image.save(tmp_path / "fox") == tmp_path / "fox.png"
    assert (tmp_path / "fox.png").read_bytes() == image.data
    with pytest.raises(ConfigError) as caught:
        image.save(tmp_path / "fox.png")
    assert caught.value.code == "file_exists"


@pytest.mark.parametrize(
    ("kind", "status"),
    [("TeeML", "verified"), ("TeeTLS", "verified"), ("TeeML-separated", "unavailable"), ("standard", "not_verifiable")],
)
def test_each_kind_of_service_gives_its_verdict(drive: Any, kind: str, status: str) -> None:
    images = drive.images("generate", "a fox", settings={"model": f"text-to-image/{kind}", "verify": "warn"})
    assert str(images.receipt.verdict.status) == status
    assert images.receipt.fee.amount.units == PRICE


def test_what_cannot_be_proven_is_refused_before_the_prompt_leaves(drive: Any, at: Any) -> None:
    provider = at("text-to-image/TeeML-separated")
    before = len(provider.requests)
    with pytest.raises(VerificationUnavailable, match="does not sign text-to-image") as caught:
        drive.images("generate", "a fox", settings={"model": provider.model, "verify": "require"})
    assert caught.value.code == "unsigned_task"
    assert [one for one in provider.requests[before:] if one.method == "POST"] == []


def test_images_behind_addresses_are_fetched_and_proven(drive: Any, at: Any) -> None:
    images = drive.images("generate", "a fox", n=2, response_format="url", settings={**ML, "verify": "require"})
    assert images.body["data"][0]["url"].startswith(at(ML["model"]).url + "/v1/proxy/images/")
    assert [one.url for one in images] == [entry["url"] for entry in images.body["data"]]
    assert str(images.receipt.verdict) == "verified"
    assert images.receipt.fee.amount.units == billed(at(ML["model"])).fee == 2 * PRICE
    off = drive.images("generate", "a fox", response_format="url", settings={**ML, "verify": "off"})
    assert off[0].size == (256, 256)


def test_a_relay_signs_bytes_that_are_never_seen_where_addresses_are_asked_for(drive: Any) -> None:
    images = drive.images("generate", "a fox", response_format="url", settings={"model": "text-to-image/TeeTLS"})
    assert str(images.receipt.verdict.status) == "signer_only"
    assert len(images) == 1


@pytest.mark.parametrize("fault", ["image_swapped", "images_missing", "body_changed"])
@pytest.mark.parametrize("form", ["b64_json", "url"])
def test_an_image_that_is_not_the_signed_one_is_found_out(drive: Any, at: Any, fault: str, form: str) -> None:
    if (fault, form) == ("body_changed", "url"):
        pytest.skip("an address that is changed leads nowhere")
    with at(ML["model"]).fault(fault), pytest.raises(VerificationFailed) as caught:
        drive.images("generate", "a fox", n=2, response_format=form, settings={**ML, "verify": "require"})
    assert caught.value.code == "content_mismatch"
    assert caught.value.receipt.fee.amount.units > 0


@pytest.mark.parametrize(
    ("fault", "code"), [("image_expired", "image_expired"), ("image_url_foreign", "image_url_refused")]
)
def test_an_image_that_cannot_be_had_is_an_error_with_its_receipt_and_no_accusation(
    drive: Any, at: Any, fault: str, code: str
) -> None:
    with at(ML["model"]).fault(fault), pytest.raises(RequestError) as caught:
        drive.images("generate", "a fox", response_format="url", settings=ML)
    assert caught.value.code == code
    receipt = caught.value.receipt
    assert (str(receipt.verdict), receipt.fee.amount.units) == ("unavailable (incomplete)", PRICE)


def test_a_provider_that_makes_fewer_is_paid_for_fewer(drive: Any, at: Any) -> None:
    images = drive.images("generate", "a fox", n=4, settings={"model": "few"})
    assert (len(images), images.receipt.fee.amount.units) == (2, 2 * PRICE)
    assert billed(at("few")).fee == 2 * PRICE


def test_an_edit_is_a_form_that_is_signed_whole_and_billed_as_asked_for(drive: Any, at: Any, tmp_path: Path) -> None:
    path = tmp_path / 'größe ".png'
    path.write_bytes(PICTURE)
    for given in (PICTURE, path, Image(PICTURE), [PICTURE, path]):
        images = drive.edits(given, "more fox", n=2, size="32x32")
        assert (len(images), str(images.receipt.verdict)) == (2, "verified")
        assert images.receipt.fee.amount.units == billed(at("image-editing/TeeML")).fee == 2 * PRICE
        assert images.receipt.task == "image_edits"


def test_two_equal_answers_are_no_replay(drive: Any) -> None:
    first, second = (drive.images("generate", "the same", settings={**ML, "verify": "require"}) for _ in "ab")
    assert str(first.receipt.verdict) == str(second.receipt.verdict) == "verified"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"n": 0}, "bad_count"),
        ({"n": 11}, "bad_count"),
        ({"n": "2"}, "bad_count"),
        ({"n": True}, "bad_count"),
        ({"size": "large"}, "bad_size"),
        ({"size": "0x64"}, "bad_size"),
        ({"size": 64}, "bad_size"),
        ({"prompt": " "}, "bad_request_body"),
        ({"response_format": "jpeg"}, "bad_request_body"),
        ({"private_key": "0x1"}, "setting_in_request"),
    ],
    ids=str,
)
def test_what_no_image_can_be_made_of_is_said_before_anything_is_sent(
    settings: dict[str, Any], at: Any, arguments: dict[str, Any], code: str
) -> None:
    before = len(at(ML["model"]).requests)
    with ImageClient(**settings, **ML) as client, pytest.raises(ConfigError) as caught:
        client.generate(**{"prompt": "a fox", **arguments})
    assert (caught.value.code, bool(caught.value.hint)) == (code, True)
    assert len(at(ML["model"]).requests) == before


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (b"a text", "bad_image"),
        (b"", "empty_file"),
        ("nowhere.png", "unreadable_file"),
        (7, "unreadable_file"),
        ([], "bad_image"),
    ],
    ids=str,
)
def test_what_is_no_image_is_not_sent_to_be_edited(settings: dict[str, Any], given: Any, code: str) -> None:
    client = ImageClient(**settings, service_type="image-editing", model="image-editing/TeeML")
    with client, pytest.raises(ConfigError) as caught:
        client.edit(given, "more fox")
    assert (caught.value.code, bool(caught.value.hint)) == (code, True)


def test_a_service_of_another_type_is_refused_before_money_is_spent(drive: Any, at: Any) -> None:
    speech = at("speech-to-text/TeeML")
    before = len(speech.log)
    with pytest.raises(ConfigError, match="serves speech-to-text, not text-to-image") as caught:
        drive.images("generate", "a fox", settings={"provider": speech.address})
    assert caught.value.code == "wrong_service"
    with pytest.raises(ModelNotServed, match="speech-to-text/TeeML"):
        drive.images("generate", "a fox", settings={"model": "speech-to-text/TeeML"})
    assert len(speech.log) == before


def test_the_environment_names_no_service_for_images(settings: dict[str, Any], at: Any) -> None:
    environ = {"ZEROG_PROVIDER": at("speech-to-text/TeeML").address, "ZEROG_MODEL": "x"}
    with ImageClient(**settings | {"environ": environ}) as client, pytest.raises(ConfigError) as caught:
        client.generate("a fox")
    assert caught.value.code == "no_target"


def test_a_budget_holds_the_price_of_all_images(settings: dict[str, Any], at: Any) -> None:
    before = len(at(ML["model"]).log)
    with ImageClient(**settings, **ML, budget=Budget(per_call=og("0.007"))) as client:
        client.generate("a fox", n=2)
        with pytest.raises(BudgetExceeded):
            client.generate("a fox", n=3)
    assert len(at(ML["model"]).log) == before + 1


def test_more_images_than_were_asked_for_are_doubted(settings: dict[str, Any], market: Any, at: Any) -> None:
    provider = at(ML["model"])
    with market.operator(provider) as operator:

        def plan(passed: Any) -> Any:
            if not passed.is_call:
                return None
            more = json.loads(passed.body) | {"n": 3}
            return operator.forward(passed, json.dumps(more).encode())

        operator.plan = plan
        with ImageClient(**settings, **ML) as client, pytest.raises(VerificationFailed) as caught:
            client.generate("a fox", n=1)
    assert caught.value.receipt.fee.upper == PRICE


def test_receipts_of_images_are_checked_again_offline(settings: dict[str, Any], at: Any) -> None:
    signer = at(ML["model"]).tee_signer
    for keep in (False, True):
        with ImageClient(**settings, **ML, keep_bytes=keep) as client:
            receipt = client.generate("a fox", n=2).receipt
        document = json.loads(json.dumps(receipt.to_dict()))
        anchor = Anchor("a file of pins", signers=(signer,))
        found = check(document, anchor)
        assert (found.result, found.verdict.status) == ("passed", "verified"), found.reason
        assert "evidence.facts" not in found.unvouched
        document["evidence"]["facts"]["images"][0] = "0" * 64
        assert check(document, anchor).result == "failed"
        assert Receipt.from_dict(receipt.to_dict()).evidence.facts == receipt.evidence.facts


def test_a_swapped_image_among_kept_bytes_is_a_contradiction(settings: dict[str, Any], at: Any) -> None:
    with ImageClient(**settings, **ML, keep_bytes=True) as client:
        receipt = client.generate("a fox").receipt
        other = client.generate("a dog").receipt
    receipt.response_body, receipt.response_sha256 = other.response_body, other.response_sha256
    receipt.response_bytes = other.response_bytes
    found = check(receipt, Anchor("pins", signers=(at(ML["model"]).tee_signer,)))
    assert found.result == "failed"
