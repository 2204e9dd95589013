"""``zerog receipts verify`` on one receipt of every task, without a network, by a pinned signer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.zg_core.cli.running import Zerog
from tests.zg_core.media.conftest import PICTURE, RECORDING
from zg_core import ChatClient, EmbeddingClient, ImageClient, SpeechClient
from zg_core.receipts import Receipt

Ask = Callable[[dict[str, Any]], Receipt]
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


def chat(settings: dict[str, Any]) -> Receipt:
    with ChatClient(**settings) as client:
        return client.create(HELLO).receipt


def embeddings(settings: dict[str, Any]) -> Receipt:
    with EmbeddingClient(**settings) as client:
        return client.embed(["a", "b"]).receipt


def images(settings: dict[str, Any]) -> Receipt:
    with ImageClient(**settings) as client:
        return client.generate("a fox", n=2).receipt


def image_edits(settings: dict[str, Any]) -> Receipt:
    with ImageClient(**settings, service_type="image-editing") as client:
        return client.edit(PICTURE, "in blue").receipt


def transcription(settings: dict[str, Any]) -> Receipt:
    with SpeechClient(**settings) as client:
        return client.transcribe(RECORDING).receipt


TASKS = {
    chat: "chat",
    embeddings: "embed",
    images: "text-to-image/TeeML",
    image_edits: "image-editing/TeeML",
    transcription: "speech-to-text/TeeML",
}


@pytest.mark.parametrize("keep", [False, True], ids=["hashes", "bytes"])
@pytest.mark.parametrize("ask", TASKS, ids=lambda ask: ask.__name__)
def test_one_of_every_task(settings: dict[str, Any], at: Any, tmp_path: Path, ask: Ask, keep: bool) -> None:
    model = TASKS[ask]
    receipt = ask({**settings, "model": model, "keep_bytes": keep})
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(receipt.to_dict()))
    nobody = Zerog({"ZEROG_HOME": str(tmp_path / "home")})
    passed = nobody("receipts", "verify", str(file), "--signer", at(model).tee_signer, "--json").document
    assert [each["result"] for each in passed["results"]] == ["passed"]
    assert receipt.task == ask.__name__

    strange = nobody("receipts", "verify", str(file), "--signer", "0x" + "ab" * 20, ok=False)
    assert strange.code == 1, str(strange)
    document = receipt.to_dict()
    document["response"]["sha256"] = "0" * 64
    file.write_text(json.dumps(document))
    assert nobody("receipts", "verify", str(file), "--signer", at(model).tee_signer, ok=False).code == 1
