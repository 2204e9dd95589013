"""Images in and out of a chat in LlamaIndex: blocks both ways, judged with the words beside them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock

from llama_index_zerog import ZeroG, receipt_of
from llama_index_zerog._messages import openai_messages
from tests.funded import funded, named
from zg_core import ConfigError, VerificationFailed
from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.localnet.media.png import draw, size_of

PNG = draw("a red fox", 8, 8)
MODELS = ("draws-beside", "draws-within")


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    specs = [ProviderSpec(model="draws-beside", draws="images"), ProviderSpec(model="draws-within", draws="parts")]
    with funded(specs) as made:
        yield made


@pytest.fixture
def world(net: LocalNet, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalNet]:
    with named(net, monkeypatch) as made:
        yield made


def talk(llm: ZeroG, messages: list[ChatMessage], way: str) -> Any:
    async def last() -> Any:
        return [each async for each in await llm.astream_chat(messages)][-1]

    if way == "chat":
        return llm.chat(messages)
    if way == "achat":
        return asyncio.run(llm.achat(messages))
    return asyncio.run(last()) if way == "astream" else list(llm.stream_chat(messages))[-1]


def images(response: Any) -> list[ImageBlock]:
    return [block for block in response.message.blocks if isinstance(block, ImageBlock)]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("way", ["chat", "achat", "stream", "astream"])
def test_what_a_model_draws_is_a_block_and_verified(world: LocalNet, name: str, way: str) -> None:
    llm = ZeroG(model=name, verify="require")
    response = talk(llm, [ChatMessage("Draw two foxes")], way)
    first, second = (each.resolve_image().read() for each in images(response))
    assert (size_of(first), first == second) == ((64, 64), False)
    assert images(response)[0].image_mimetype == "image/png"
    assert response.message.content
    assert receipt_of(response).verdict.status == "verified"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("way", ["chat", "stream"])
def test_a_swapped_image_is_found_out(world: LocalNet, name: str, way: str) -> None:
    with world.provider(name).fault("image_swapped"), pytest.raises(VerificationFailed):
        talk(ZeroG(model=name, verify="require"), [ChatMessage("Draw a fox")], way)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("way", ["chat", "stream"])
def test_a_drawing_is_sent_back_as_it_came_and_can_be_changed(world: LocalNet, name: str, way: str) -> None:
    llm = ZeroG(model=name, verify="require")
    asked, blue = ChatMessage("Draw a fox"), ChatMessage("Draw it in blue")
    first = talk(llm, [asked], way)
    again = talk(llm, [asked, first.message, blue], way)
    sent = openai_messages([asked, first.message])[1]
    (there,) = sent["images"] if name == "draws-beside" else [p for p in sent["content"] if p["type"] == "image_url"]
    drawn = base64.b64encode(images(first)[0].resolve_image().read()).decode()
    assert there["image_url"]["url"] == f"data:image/png;base64,{drawn}"
    assert images(again)[0].resolve_image().read() != images(talk(llm, [blue], way))[0].resolve_image().read()


def test_every_block_that_shows_a_picture_goes_out(tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    path.write_bytes(PNG)
    shown = [
        ImageBlock(image=PNG, image_mimetype="image/png"),
        ImageBlock(image=base64.b64encode(PNG)),
        ImageBlock(path=path),
        ImageBlock(url="https://example.com/cat.png", detail="low"),
    ]
    sent = openai_messages([ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="?"), *shown])])[0]["content"]
    data = {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"}
    assert [part["image_url"] for part in sent[1:]] == [data] * 3 + [
        {"url": "https://example.com/cat.png", "detail": "low"}
    ]


@pytest.mark.parametrize(
    "block",
    [ImageBlock(url="ftp://example.com/cat.png"), ImageBlock(image=b"")],
    ids=["file", "empty"],
)
def test_what_shows_no_picture_is_refused_before_anything_is_sent(world: LocalNet, block: ImageBlock) -> None:
    asked = sum(len(each.log) for each in world.providers)
    with pytest.raises(ConfigError) as caught:
        ZeroG(model="draws-beside").chat([ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="?"), block])])
    assert (caught.value.code, sum(len(each.log) for each in world.providers)) == ("bad_image", asked)
    assert "messages[0].blocks[1]" in str(caught.value)
