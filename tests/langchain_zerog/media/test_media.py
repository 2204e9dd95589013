"""Images as a tool of agents, recordings as documents: proven, with receipts, errors of LangChain's kind."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage

from langchain_zerog import ChatZeroG, ZeroGImageGenerator, ZeroGTranscriptionLoader, get_zerog_receipts
from tests.funded import funded, named
from zg_core import VerificationFailed
from zg_core.localnet import LocalNet, ProviderSpec, speak
from zg_core.localnet.provider.settings import standard_specs


@pytest.fixture(scope="module")
def fair() -> Iterator[LocalNet]:
    with funded([ProviderSpec(model="local-chat-1"), *standard_specs(2, ["image", "speech"])]) as net:
        yield net


@pytest.fixture
def world(fair: LocalNet, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalNet]:
    with named(fair, monkeypatch) as net:
        yield net


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "said.wav"
    path.write_bytes(speak("one two three four five six seven eight nine ten", seconds=4))
    return path


def call(tool: Any, prompt: str) -> ToolMessage:
    message = tool.invoke({"type": "tool_call", "id": "1", "name": tool.name, "args": {"prompt": prompt}})
    assert isinstance(message, ToolMessage)
    return message


def test_an_agent_gets_a_sentence_and_the_program_the_image(world: LocalNet) -> None:
    draw = ZeroGImageGenerator(model="local-image-1", verify="require", size="64x32")
    agent = create_agent(ChatZeroG(model="local-chat-1", verify="require"), tools=[draw])
    with get_zerog_receipts() as receipts:
        said = agent.invoke({"messages": [("user", 'Call generate_image with prompt "a red fox"')]})
    (message,) = [one for one in said["messages"] if isinstance(one, ToolMessage)]
    assert "1 image was made (64x32); verdict: verified" in str(message.content)
    assert message.artifact[0].size == (64, 32)
    assert message.artifact.receipt.task == "images"
    assert {receipt.task for receipt in receipts} == {"chat", "images"}
    assert all(str(receipt.verdict) == "verified" for receipt in receipts)


def test_it_does_the_same_in_an_event_loop(world: LocalNet) -> None:
    draw = ZeroGImageGenerator(model="local-image-1", n=2, verify="require")
    message = asyncio.run(
        draw.ainvoke({"type": "tool_call", "id": "1", "name": draw.name, "args": {"prompt": "a fox"}})
    )
    assert [one.content_type for one in message.artifact] == ["image/png"] * 2


def test_what_the_tool_has_made_can_be_kept_and_copied(world: LocalNet) -> None:
    draw = ZeroGImageGenerator(model="local-image-1")
    message = call(draw, "a fox")
    assert pickle.loads(pickle.dumps(message)).artifact[0] == message.artifact[0]
    assert copy.deepcopy(message).artifact[0].sha256 == message.artifact[0].sha256


def test_a_swapped_image_is_an_error(world: LocalNet) -> None:
    draw = ZeroGImageGenerator(model="local-image-1", verify="require")
    with world.provider("local-image-1").fault("image_swapped"), pytest.raises(VerificationFailed):
        call(draw, "a fox")


@pytest.mark.parametrize("wrong", [{"wrong": 1}, {"n": 11}, {"temperature": 1}], ids=str)
def test_what_nobody_reads_is_refused_when_it_is_made(world: LocalNet, wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        ZeroGImageGenerator(model="local-image-1", **wrong)


def test_the_key_shows_nowhere(world: LocalNet) -> None:
    key = world.wallet.private_key
    draw = ZeroGImageGenerator(model="local-image-1", private_key=key)
    load = ZeroGTranscriptionLoader("x.wav", model="local-speech-1", private_key=key)
    for shown in (repr(draw), str(draw), repr(draw.__dict__), repr(load.__dict__)):
        assert key.removeprefix("0x") not in shown


def test_a_recording_is_a_document_with_its_verdict(world: LocalNet, recording: Path) -> None:
    load = ZeroGTranscriptionLoader(recording, model="local-speech-1", verify="require", language="en")
    with get_zerog_receipts() as receipts:
        (document,) = load.load()
    assert document.page_content == "one two three four five six seven eight nine ten"
    assert document.metadata["source"] == str(recording)
    assert (document.metadata["duration"], document.metadata["language"]) == (4.0, "en")
    assert document.metadata["zerog"]["status"] == "verified"
    assert [receipt.task for receipt in receipts] == ["transcription"]


def test_segments_are_documents_with_times_and_several_files_are_read_in_turn(world: LocalNet, recording: Path) -> None:
    load = ZeroGTranscriptionLoader([recording, recording], model="local-speech-1", by_segment=True)
    lazy = load.lazy_load()
    first = next(lazy)
    assert (first.metadata["start"], first.metadata["end"]) == (0.0, 3.2)
    assert len(list(lazy)) == 3

    async def main() -> list[Any]:
        return [document async for document in load.alazy_load()]

    assert len(asyncio.run(main())) == 4


def test_no_recording_is_said_in_words(world: LocalNet, tmp_path: Path) -> None:
    (tmp_path / "note.wav").write_text("a text")
    with pytest.raises(ValueError, match="no recording by its first bytes"):
        ZeroGTranscriptionLoader(tmp_path / "note.wav", model="local-speech-1").load()
