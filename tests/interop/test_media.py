"""The image and speech paths of the official clients against `zerog localnet up`: what they send is served and signed.

Their signature helpers are run on our signatures, and what is signed is compared with the bytes that went to and fro.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import HERE, ClientRun, LocalNetwork, make_node_modules, make_python_client, run_client
from zg_core import ImageClient, SpeechClient
from zg_core.localnet import speak

SAID = "Heard by an official client."


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """`zerog localnet up` with images and speech, the wallet's accounts open."""
    options = ("--services", "image,speech", "--fund")
    network = LocalNetwork(tmp_path_factory.mktemp("localnet"), providers=2, options=options)
    try:
        yield network
    finally:
        network.stop()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "said.wav"
    path.write_bytes(speak(SAID, seconds=3))
    return path


def heard(run: ClientRun) -> None:
    assert run["image"] == {"images": 2, "kind": "PNG"}
    assert run["speech"] == {"text": SAID}
    assert run.status == 0, run.stderr[-3000:]


@pytest.mark.requires("node")
def test_the_typescript_client_draws_and_hears(media: LocalNetwork, recording: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [make_node_modules(), HERE / "media.mjs", recording]
    heard(run_client("TypeScript", command, media, tmp_path))


def test_the_python_client_draws_and_hears(media: LocalNetwork, recording: Path, tmp_path: Path) -> None:
    heard(run_client("Python", [make_python_client(), HERE / "media.py", recording], media, tmp_path))


def test_ours_gets_the_same_from_the_same_providers(media: LocalNetwork, recording: Path) -> None:
    drawer, hearer = media.providers
    with ImageClient(provider=drawer, verify="require", environ=media.settings) as client:
        assert len(client.generate("A cute baby sea otter", n=2)) == 2
    with SpeechClient(provider=hearer, verify="require", environ=media.settings) as client:
        assert client.transcribe(recording).text == SAID


def test_the_network_ends_cleanly(media: LocalNetwork) -> None:
    assert media.stop() == 0, media.said
