"""Every fault that is about images or recordings (named ``test_<fault>``), seen by a hand-made client."""

from __future__ import annotations

import base64

from zg_core.localnet import Fault


def halves(one, response):
    return one.signed(response)["text"].split(":")


def hashes(tools, response):
    return [tools.sha256(base64.b64decode(entry["b64_json"])) for entry in response.json()["data"]]


def test_every_fault_of_media_is_tested():
    named = {fault.value for fault in Fault if fault.value.startswith(("image", "duration", "job"))}
    assert named == {name.removeprefix("test_") for name in globals() if name.removeprefix("test_") in named}


def test_image_swapped(caller, ask, tools):
    one = caller("text-to-image/TeeML")
    with one.provider.fault("image_swapped"):
        answer = ask.images(one, n=2)
    sent, signed = hashes(tools, answer), halves(one, answer)[1].split(",")
    assert (sent[0] != signed[0], sent[1] == signed[1]) == (True, True)
    with one.provider.fault("image_swapped"):
        answer = ask.images(one, response_format="url")
    fetched = one.http.get(answer.json()["data"][0]["url"]).content
    assert tools.sha256(fetched) != halves(one, answer)[1]


def test_images_missing(caller, ask, tools):
    one = caller("text-to-image/TeeML")
    with one.provider.fault("images_missing"):
        answer = ask.images(one, n=2)
    assert (len(hashes(tools, answer)), len(halves(one, answer)[1].split(","))) == (1, 2)
    assert one.provider.log[-1].fee == 6000


def test_images_overbilled(caller, ask, tools):
    one = caller("text-to-image/TeeML")
    with one.provider.fault("images_overbilled"):
        answer = ask.images(one, n=2)
    assert hashes(tools, answer) == halves(one, answer)[1].split(",")
    assert (len(hashes(tools, answer)), one.provider.log[-1].fee) == (1, 6000)


def test_image_expired(caller, ask):
    one = caller("text-to-image/TeeML")
    with one.provider.fault("image_expired"):
        answer = ask.images(one, response_format="url")
    assert one.http.get(answer.json()["data"][0]["url"]).status_code == 404


def test_image_url_foreign(caller, ask):
    one = caller("text-to-image/TeeML")
    with one.provider.fault("image_url_foreign", origin="http://elsewhere.example"):
        answer = ask.images(one, response_format="url")
    assert answer.json()["data"][0]["url"].startswith("http://elsewhere.example/v1/proxy/images/")


def test_duration_inflated(caller, ask, tools):
    one = caller("speech-to-text/TeeML")
    with one.provider.fault("duration_inflated", factor=4):
        answer = ask.speech(one, response_format="verbose_json")
    assert (answer.json()["duration"], answer.json()["usage"]["seconds"]) == (10.0, 10.0)
    assert halves(one, answer)[1] == tools.sha256(answer.content)
    assert one.provider.log[-1].fee == 70


def test_a_transcript_is_altered_in_every_form(caller, ask, tools):
    one = caller("speech-to-text/TeeML")
    for form in ("json", "text", "srt", "verbose_json", "vtt"):
        with one.provider.fault("body_changed"):
            answer = ask.speech(one, response_format=form)
        assert b"one two three" not in answer.content[:90], form
        assert halves(one, answer)[1] != tools.sha256(answer.content)
    with one.provider.fault("body_changed"):
        answer = ask.speech(one, stream="true")
    assert halves(one, answer)[1] != tools.sha256(answer.content)


def test_a_stream_without_its_last_line(caller, ask):
    one = caller("speech-to-text/TeeML")
    with one.provider.fault("truncated_stream"):
        answer = ask.speech(one, stream="true")
    assert b"transcript.text.done" not in answer.content


def test_job_lost(caller, ask):
    one = caller("text-to-image/TeeML")
    with one.provider.fault("job_lost"):
        taken = one.post(ask.image_body(one.provider.model), path="/v1/async/images/generations").json()
    assert one.get(f"/v1/async/jobs/{taken['jobId']}", token=one.token()).status_code == 404
    assert one.provider.log[-1].fee == 3000


def test_job_failed(caller, ask):
    one = caller("text-to-image/TeeML")
    before = len(one.provider.log)
    with one.provider.fault("job_failed"):
        taken = one.post(ask.image_body(one.provider.model), path="/v1/async/images/generations").json()
    path = f"/v1/async/jobs/{taken['jobId']}"
    said = [one.get(path, token=one.token()).json() for _ in range(3)][-1]
    assert (said["status"], said["errorMessage"]) == ("failed", "the model ran out of memory")
    assert len(one.provider.log) == before
