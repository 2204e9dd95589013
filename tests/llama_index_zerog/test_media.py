"""Images as a tool, recordings as documents, in LlamaIndex."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_index.core import SimpleDirectoryReader
from llama_index.core.schema import MetadataMode

from llama_index_zerog import ZeroGAudioReader, ZeroGImageToolSpec, get_zerog_receipts
from tests.funded import funded, named
from zg_core import VerificationFailed
from zg_core.localnet import LocalNet, speak
from zg_core.localnet.provider.settings import standard_specs


@pytest.fixture(scope="module")
def fair() -> Iterator[LocalNet]:
    with funded(standard_specs(2, ["image", "speech"])) as net:
        yield net


@pytest.fixture
def world(fair: LocalNet, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalNet]:
    with named(fair, monkeypatch) as net:
        yield net


def test_the_tool_says_a_sentence_and_keeps_the_images(world: LocalNet) -> None:
    (tool,) = ZeroGImageToolSpec(model="local-image-1", verify="require", size="64x32", n=2).to_tool_list()
    assert tool.metadata.name == "generate_image"
    with get_zerog_receipts() as receipts:
        said = tool.call(prompt="a fox")
        later = asyncio.run(tool.acall(prompt="a dog"))
    assert said.content == "2 images were made (64x32, 64x32); verdict: verified"
    assert [one.size for one in said.raw_output] == [(64, 32)] * 2
    assert later.raw_output[0].sha256 != said.raw_output[0].sha256
    assert [receipt.task for receipt in receipts] == ["images", "images"]


def test_a_swapped_image_is_an_error(world: LocalNet) -> None:
    spec = ZeroGImageToolSpec(model="local-image-1", verify="require")
    with world.provider("local-image-1").fault("image_swapped"), pytest.raises(VerificationFailed):
        spec.generate_image("a fox")


def test_a_recording_is_a_document_alone_and_among_others(world: LocalNet, tmp_path: Path) -> None:
    path = tmp_path / "said.wav"
    path.write_bytes(speak("one two three", seconds=2.5))
    reader = ZeroGAudioReader(model="local-speech-1", verify="require")
    (document,) = reader.load_data(path, {"about": "numbers"})
    assert (document.text, document.metadata["about"], document.metadata["duration"]) == (
        "one two three",
        "numbers",
        2.5,
    )
    assert document.metadata["zerog"]["status"] == "verified"
    assert "verified" not in document.get_content(MetadataMode.EMBED)
    assert asyncio.run(reader.aload_data(path))[0].text == "one two three"
    (found,) = SimpleDirectoryReader(str(tmp_path), file_extractor={".wav": reader}).load_data()
    assert found.text == "one two three"


def test_what_nobody_reads_is_refused(world: LocalNet) -> None:
    for make in (ZeroGImageToolSpec, ZeroGAudioReader):
        with pytest.raises(TypeError):
            make(model="m", wrong=1)
