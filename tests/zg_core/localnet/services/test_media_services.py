"""Every type of service as its provider answers, signs and bills it (services §0-§6)."""

from __future__ import annotations

import base64
import json

import pytest

from zg_core.localnet.media.png import size_of


def images_of(response):
    return [base64.b64decode(entry["b64_json"]) for entry in response.json()["data"]]


def halves(one, response):
    """The signed text of a response, its signer checked."""
    signed = one.signed(response)
    return signed["text"].split(":"), signed


def test_images_are_signed_one_by_one_and_billed_as_delivered(caller, ask, tools):
    one = caller("text-to-image/TeeML")
    answer = ask.images(one, n=2)
    images = images_of(answer)
    assert [size_of(image) for image in images] == [(64, 64)] * 2
    parts, signed = halves(one, answer)
    assert parts == [tools.sha256(one.sent), ",".join(map(tools.sha256, images))]
    assert tools.recover(signed["text"], signed["signature"]) == one.provider.tee_signer
    entry = one.provider.log[-1]
    assert (entry.fee, entry.units, entry.unit) == (6000, 2, "images")


def test_a_relay_signs_the_body_and_an_enclave_apart_signs_no_images(caller, ask, tools):
    one = caller("text-to-image/TeeTLS")
    answer = ask.images(one)
    parts, _ = halves(one, answer)
    assert parts[:3] == [tools.sha256(one.sent), tools.sha256(answer.content), "centralized"]
    assert len(parts) == 5
    for kind in ("TeeML-separated", "standard"):
        unsigned = ask.images(caller(f"text-to-image/{kind}"))
        assert len(images_of(unsigned)) == 1
        assert "zg-res-key" not in unsigned.headers


def test_an_image_is_fetched_by_its_address_until_it_expires(net, caller, ask, tools):
    one = caller("text-to-image/TeeML")
    answer = ask.images(one, n=2, response_format="url")
    key = answer.headers["zg-res-key"]
    urls = [entry["url"] for entry in answer.json()["data"]]
    assert urls == [f"{one.provider.url}/v1/proxy/images/{key}/{n}" for n in (0, 1)]
    fetched = [one.http.get(url).content for url in urls]
    assert halves(one, answer)[0][1] == ",".join(map(tools.sha256, fetched))
    net.clock.advance(1_801)
    assert one.http.get(urls[0]).status_code == 404


def test_a_provider_may_make_fewer_and_bill_fewer(caller, ask, tools):
    one = caller("few")
    assert len(images_of(ask.images(one, n=4))) == 2
    assert one.provider.log[-1].fee == 6000
    refused = ask.images(one, response_format="url")
    assert (refused.status_code, "response_format=url" in tools.error_of(refused)) == (400, True)


def test_an_edit_is_billed_as_asked_for_and_signed_over_its_whole_form(caller, ask, tools):
    one = caller("image-editing/TeeML")
    answer = ask.edit(one, n=3)
    parts, _ = halves(one, answer)
    assert parts == [tools.sha256(one.sent), ",".join(map(tools.sha256, images_of(answer)))]
    assert one.provider.log[-1].fee == 9000
    for n in ("3x", ["2", "2"], "1e1"):
        assert "unambiguously" in tools.error_of(ask.edit(one, n=n))
    assert "sealed" in tools.error_of(ask.edit(one, _e2ee="x"))
    picture = base64.b64encode(ask.picture).decode()
    as_json = one.post(ask.image_body(one.provider.model, image=picture, n=2), path="/v1/proxy/images/edits")
    assert (len(images_of(as_json)), one.provider.log[-1].fee) == (2, 6000)


@pytest.mark.parametrize("form", ["json", "text", "srt", "verbose_json", "vtt"])
def test_a_transcript_is_signed_over_its_bytes_and_billed_by_the_second(caller, ask, tools, form):
    one = caller("speech-to-text/TeeML")
    answer = ask.speech(one, response_format=form)
    assert b"one two three" in answer.content
    assert halves(one, answer)[0] == [tools.sha256(one.sent), tools.sha256(answer.content)]
    entry = one.provider.log[-1]
    expected = (2 * 5 * 3, "estimate") if form == "text" else (3 * 7, "seconds")
    assert (entry.fee, entry.unit) == expected


def test_a_relay_signs_transcripts_if_it_is_new_and_announces_only_what_it_signs(caller, ask):
    new, old = caller("speech-to-text/TeeTLS"), caller("old relay")
    assert halves(new, ask.speech(new))[0][2] == "centralized"
    for one in (old, caller("speech-to-text/TeeML-separated"), caller("speech-to-text/standard")):
        assert "zg-res-key" not in ask.speech(one).headers


def test_a_streamed_transcript_comes_as_lines_or_events_and_is_signed_whole(caller, ask, tools):
    one = caller("speech-to-text/TeeML")
    answer = ask.speech(one, stream="true")
    lines = [json.loads(line) for line in answer.content.splitlines()]
    assert "".join(line.get("delta", "") for line in lines) == lines[-1]["text"] == "one two three"
    assert halves(one, answer)[0][1] == tools.sha256(answer.content)
    assert one.provider.log[-1].fee == 3 * 7
    other = caller("events")
    answer = ask.speech(other, stream="true")
    assert answer.content.endswith(b"data: [DONE]\n\n")
    assert other.provider.log[-1].unit == "estimate"


def test_a_json_object_is_no_transcription(caller, tools):
    one = caller("speech-to-text/TeeML")
    answer = one.post(b'{"file_base64":"AA=="}', path="/v1/proxy/audio/transcriptions")
    assert (answer.status_code, "refused" in tools.error_of(answer)) == (400, True)


def test_what_is_wrong_is_refused_before_it_is_billed(caller, ask):
    image, speech, edit = (caller(name + "/TeeML") for name in ("text-to-image", "speech-to-text", "image-editing"))
    before = [len(one.provider.log) for one in (image, speech, edit)]
    refused = [
        ask.images(image, size="63"),
        ask.images(image, n=11),
        ask.images(image, prompt=""),
        ask.images(image, response_format="jpeg"),
        ask.speech(speech, file=b"a text"),
        ask.speech(speech, response_format="docx"),
        ask.speech(speech, model="other"),
        ask.edit(edit, image=b"a text"),
        edit.post(ask.image_body(edit.provider.model), path="/v1/proxy/images/edits"),
        image.post(b"{}", path="/v1/proxy/chat/completions"),
    ]
    assert [answer.status_code for answer in refused] == [400] * 10
    assert [len(one.provider.log) for one in (image, speech, edit)] == before


def test_a_job_is_shown_when_it_was_asked_for_often_enough(net, caller, ask, tools):
    one = caller("text-to-image/TeeML")
    taken = one.post(ask.image_body(one.provider.model, n=2), path="/v1/async/images/generations")
    assert (taken.status_code, taken.json()["status"]) == (202, "pending")
    path = f"/v1/async/jobs/{taken.json()['jobId']}"
    looks = [one.get(path, token=one.token()) for _ in range(3)]
    assert [look.json()["status"] for look in looks] == ["pending", "processing", "completed"]
    assert [look.headers.get("retry-after") for look in looks] == ["0.005", "0.005", None]
    images = [base64.b64decode(entry["b64_json"]) for entry in looks[2].json()["data"]["data"]]
    signed = one.signature(looks[2].headers["zg-res-key"]).json()["text"]
    assert signed == f"{tools.sha256(one.sent)}:{','.join(map(tools.sha256, images))}"
    assert one.provider.log[-1].fee == 6000
    assert caller("text-to-image/TeeML").get(path, token=caller("text-to-image/TeeML").token()).status_code == 403
    net.clock.advance(1_801)
    assert one.get(path, token=one.token()).status_code == 404
    off = caller("few")
    assert off.post(ask.image_body("few"), path="/v1/async/images/generations").status_code == 503


def test_every_type_is_settled_to_the_neuron(net, caller, ask):
    for model, make in (
        ("text-to-image/TeeML", ask.images),
        ("image-editing/TeeML", ask.edit),
        ("speech-to-text/TeeML", ask.speech),
    ):
        one = caller(model)
        assert make(one).status_code == 200
        owed = one.provider.unsettled(one.wallet.address)
        one.provider.settle()
        paid = [
            user.paid for record in one.provider.settlements for user in record.users if user.user == one.wallet.address
        ]
        assert (sum(paid), one.provider.unsettled(one.wallet.address)) == (owed, 0)
        assert owed > 0


def test_an_adapter_is_deployed_and_then_answers(caller, tools):
    one = caller("chat")
    listed = one.get("/v1/lora/adapters", token=one.token()).json()["adapters"]
    name = "ft-chat-0f1e2d3c-4b5"
    assert {entry["adapterName"]: entry["state"] for entry in listed} == {
        one.provider.adapter: "active",
        name: "offloaded",
    }
    assert "not supported" in tools.error_of(one.post(one.body(model=name)))
    order = json.dumps({"adapterName": name}).encode()
    assert one.post(order, path="/v1/lora/adapters/deploy").json()["status"] == "deploying"
    assert one.post(order, path="/v1/lora/adapters/deploy").status_code == 409
    assert one.post(order, path="/v1/lora/adapters/deploy", token=None).status_code == 401
    assert one.post(b'{"adapterName":"nope"}', path="/v1/lora/adapters/deploy").status_code == 404
    assert one.post(one.body(model=name)).status_code == 503
    answer = one.post(one.body(model=name))
    assert (answer.status_code, answer.json()["model"]) == (200, name)
