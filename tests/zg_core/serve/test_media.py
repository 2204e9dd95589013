"""Images and speech through the server: JSON and forms, with the official client, under names of the server's own."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.zg_core.media.conftest import PICTURE, RECORDING, spec
from tests.zg_core.serve.serving import TOKEN, Running, running, settings_of
from zg_core.localnet import LocalNet
from zg_core.serve.bodies import parsed, renamed
from zg_core.tasks.forms import form_of

PLAIN = {"painter": "text-to-image", "editor": "image-editing", "listener": "speech-to-text"}


@pytest.fixture(scope="module")
def studio() -> Iterator[Running]:
    """Every model on chain, and others under names of the server's own."""
    specs = [spec(kind, model=name) for name, kind in PLAIN.items()]
    with LocalNet(providers=specs) as net:
        rich = net.new_wallet()
        for provider in net.providers:
            net.open_account(rich, provider, 20 * 10**18)
        reach = {"private_key": rich.private_key, "network": "local", "rpc_url": net.rpc_url}
        reach |= {"ledger": net.ledger, "inference": net.inference}
        said: dict[str, dict[str, Any]] = {
            "*": {},
            "whisper-1": {"model": "listener"},
            "gpt-image-1": {"model": "editor"},
        }
        said["any-listener"] = {"provider": net.providers[2].address}
        with running(settings_of(reach, said)) as server:
            yield server


@pytest.fixture
def client(studio: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=studio.base, api_key=TOKEN, max_retries=0) as made:
        yield made


def test_images_are_made_and_edited(client: openai.OpenAI, studio: Running) -> None:
    made = client.images.with_raw_response.generate(model="painter", prompt="a fox", n=2, size="256x256")
    assert made.headers["x-zerog-verdict"] == "verified"
    assert [base64.b64decode(one.b64_json or "")[:4] for one in made.parse().data or []] == [b"\x89PNG"] * 2
    for model in ("editor", "gpt-image-1"):
        edited = client.images.with_raw_response.edit(model=model, image=("a.png", PICTURE), prompt="more fox")
        assert edited.headers["x-zerog-verdict"] == "verified"
        assert edited.headers["x-zerog-model"] == "editor"


@pytest.mark.parametrize("model", ["listener", "whisper-1", "any-listener"])
def test_speech_is_written_down(client: openai.OpenAI, model: str) -> None:
    said = client.audio.transcriptions.with_raw_response.create(model=model, file=("a.wav", RECORDING))
    assert said.headers["x-zerog-verdict"] == "verified"
    assert said.parse().text == "one two three"
    titles = client.audio.transcriptions.create(model=model, file=("a.wav", RECORDING), response_format="srt")
    assert "--> 00:00:02,500" in str(titles)


FORM = form_of({"model": "whisper-1", "prompt": "x"})[0]


@pytest.mark.parametrize(
    "body",
    [
        b"--",
        b"--x\r\n",
        FORM[:-10],
        form_of({"model": "listener", "prompt": 'name="model"'})[0],
        form_of({"prompt": 'Content-Disposition: form-data; name="model"\r\n\r\nother'})[0],
    ],
    ids=["mark", "line", "cut", "two models", "hidden model"],
)
def test_a_form_that_is_none_or_names_two_models_is_refused(studio: Running, body: bytes) -> None:
    got = studio.post("/v1/audio/transcriptions", body, Content_Type="multipart/form-data; boundary=x")
    assert (got.status, got.error["code"]) == (400, "bad_request_body")


def test_a_form_is_renamed_in_the_one_place() -> None:
    body, _ = form_of({"prompt": "whisper-1", "model": "whisper-1", "n": 2})
    assert isinstance(body, bytes)
    fields = parsed(body, "multipart")
    assert parsed(renamed(fields, "listener", body), "multipart") == {**fields, "model": "listener"}
    without = parsed(renamed(fields, "", body), "multipart")
    assert "model" not in without
    assert parsed(renamed(without, "listener", renamed(fields, "", body)), "multipart")["model"] == "listener"
