"""``zerog image``, ``transcribe``, ``check`` and ``adapters`` against a network that serves them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.zg_core.cli.running import Zerog, zerog_of
from tests.zg_core.conftest import CALM
from zg_core import ChatClient
from zg_core.localnet import LocalNet, ProviderSpec, speak
from zg_core.localnet.media.png import draw, size_of
from zg_core.localnet.provider.settings import standard_specs

TASK = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"


@pytest.fixture(scope="module")
def fair() -> Iterator[LocalNet]:
    chat = ProviderSpec(model="chat", adapters=((TASK, "ready"),))
    with LocalNet(providers=[chat, *standard_specs(3, ["image", "edit", "speech"])], settings=CALM) as net:
        for provider in net.providers:
            net.open_account(net.wallet, provider, 5 * 10**18)
        yield net


@pytest.fixture
def zerog(fair: LocalNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zerog]:
    monkeypatch.chdir(tmp_path)
    yield zerog_of(fair, tmp_path, fair.wallet)
    for provider in fair.providers:
        provider.clear_faults()


def test_an_image_is_written_to_a_file_and_its_verdict_shown(zerog: Zerog, tmp_path: Path) -> None:
    ran = zerog("image", "a fox", "--model", "local-image-1", "--size", "64x32", "-o", "fox")
    assert "verdict  verified" in ran.err
    assert size_of((tmp_path / "fox.png").read_bytes()) == (64, 32)
    error = zerog.fails("image", "a fox", "--model", "local-image-1", "-o", "fox.png", code=1)
    assert error["code"] == "file_exists"
    document = zerog.json("image", "a fox", "--model", "local-image-1", "-n", "2", "-o", "foxes.png")
    assert [one["file"] for one in document["images"]] == ["foxes-1.png", "foxes-2.png"]
    assert (document["verdict"], document["fee"]["neuron"]) == ("verified", str(6 * 10**15))


def test_an_image_is_edited(zerog: Zerog, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(draw("in", 16, 16))
    document = zerog.json("image", "more", "--edit", "in.png", "--model", "local-edit-1", "-o", "out.png")
    assert (document["receipt"]["task"], document["verdict"]) == ("image_edits", "verified")
    (tmp_path / "note.txt").write_text("a text")
    error = zerog.fails("image", "more", "--edit", "note.txt", "--model", "local-edit-1", "-o", "o2", code=1)
    assert error["code"] == "bad_image"


def test_a_recording_is_written_down_whole_and_as_it_is_heard(zerog: Zerog, tmp_path: Path) -> None:
    (tmp_path / "said.wav").write_bytes(speak("one two three", seconds=2.5))
    ran = zerog("transcribe", "said.wav", "--model", "local-speech-1")
    assert ran.out == "one two three\n"
    assert "verdict  verified" in ran.err
    assert zerog("transcribe", "said.wav", "--model", "local-speech-1", "--stream").out == "one two three\n"
    srt = zerog.json("transcribe", "said.wav", "--model", "local-speech-1", "--format", "srt")
    assert "00:00:02,500" in srt["text"]
    assert srt["fee"]["neuron"] == str(3 * 10**13)
    for words, code in ((("--format", "docx"), "bad_format"), ((), "bad_audio")):
        file = "said.wav" if words else "note.txt"
        (tmp_path / "note.txt").write_text("a text")
        assert zerog.fails("transcribe", file, "--model", "local-speech-1", *words, code=1)["code"] == code


def test_a_forged_image_is_an_error_and_not_written(zerog: Zerog, fair: LocalNet, tmp_path: Path) -> None:
    with fair.provider("local-image-1").fault("image_swapped", times=None):
        args = ("image", "a fox", "--model", "local-image-1", "--verify", "require", "-o", "forged")
        error = zerog.fails(*args, code=1)
    assert error["code"] == "content_mismatch"
    assert not list(tmp_path.glob("forged*"))


def test_an_exchange_of_another_program_is_checked(zerog: Zerog, fair: LocalNet, tmp_path: Path) -> None:
    provider = fair.provider("chat")
    request = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "hi"}]}).encode()
    with ChatClient(environ=fair.env()) as client:
        token = client.token().reveal()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    url = f"{provider.url}/v1/proxy/chat/completions"
    response = httpx2.post(url, content=request, headers=headers, trust_env=False)
    (tmp_path / "request").write_bytes(request)
    (tmp_path / "response").write_bytes(response.content)
    where = ("--provider", provider.address)
    ran = zerog("check", "request", "response", "--chat-id", response.headers["zg-res-key"], *where)
    assert ran.out.startswith("verified: ")
    assert zerog.json("check", "request", "response", *where)["verdict"] == "verified"  # by the id inside
    (tmp_path / "response").write_bytes(response.content.replace(b"stop", b"step"))
    forged = zerog("check", "request", "response", *where, ok=False)
    assert (forged.code, forged.out.startswith("failed (content_mismatch)")) == (1, True)
    (tmp_path / "request").write_bytes(request.replace(b"hi", b"ho"))
    (tmp_path / "response").write_bytes(response.content)
    assert zerog("check", "request", "response", *where, ok=False).code == 3
    assert zerog.fails("check", "nowhere", "response", *where, code=1)["code"] == "unreadable_file"


def test_adapters_are_listed_and_deployed(zerog: Zerog, fair: LocalNet) -> None:
    where = ("--provider", fair.provider("chat").address)
    listed = zerog.json("adapters", "list", *where)["adapters"]
    assert {one["state"] for one in listed} == {"active", "ready"}
    name = "ft-chat-0f1e2d3c-4b5"
    assert zerog.json("adapters", "status", TASK, *where)["name"] == name
    ran = zerog("adapters", "deploy", name, *where)
    assert f"{name} is active" in ran.out
    assert f"--model {name}" in ran.err
    assert zerog.fails("adapters", "deploy", "ft-nothing", *where, code=1)["code"] == "unknown_adapter"


def test_a_receipt_of_every_task_is_verified_again_offline(zerog: Zerog, fair: LocalNet, tmp_path: Path) -> None:
    (tmp_path / "said.wav").write_bytes(speak("one two three", seconds=2.5))
    (tmp_path / "in.png").write_bytes(draw("in", 16, 16))
    asked = {
        "chat": ("chat", ("chat", "hi", "--model", "chat")),
        "images": ("local-image-1", ("image", "a fox", "--model", "local-image-1", "-o", "a")),
        "image_edits": ("local-edit-1", ("image", "x", "--edit", "in.png", "--model", "local-edit-1", "-o", "b")),
        "transcription": ("local-speech-1", ("transcribe", "said.wav", "--model", "local-speech-1")),
    }
    for task, (model, words) in asked.items():
        receipt = zerog.json(*words)["receipt"]
        assert receipt["task"] == task
        file = tmp_path / f"{task}.json"
        file.write_text(json.dumps(receipt))
        signer = fair.provider(model).tee_signer
        (found,) = zerog.json("receipts", "verify", str(file), "--signer", signer)["results"]
        assert found["result"] == "passed", found
        (found,) = zerog.json("receipts", "verify", str(file), "--rpc", fair.rpc_url)["results"]
        assert found["result"] == "passed", found
