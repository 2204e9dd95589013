"""Images in and out of a chat: every form goes out as providers read it, and a drawing is judged with its words."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_zerog import ChatZeroG, receipt_of
from langchain_zerog._history import openai_messages
from langchain_zerog._receipts import is_what_was_said
from tests.funded import funded, named
from zg_core import ConfigError, VerificationFailed
from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.localnet.media.png import draw, size_of
from zg_core.receipts import check

PNG = base64.b64encode(draw("a red fox", 8, 8)).decode()
DATA = f"data:image/png;base64,{PNG}"
WEB = "https://example.com/cat.png"
SPECS = [
    ProviderSpec(model="draws-beside", draws="images"),
    ProviderSpec(model="draws-within", draws="parts"),
    ProviderSpec(model="writes"),
]
MODELS = ("draws-beside", "draws-within")


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with funded(SPECS) as made:
        yield made


@pytest.fixture
def world(net: LocalNet, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalNet]:
    with named(net, monkeypatch) as made:
        yield made


# in


@pytest.mark.parametrize(
    ("block", "url", "detail"),
    [
        ({"type": "image", "base64": PNG, "mime_type": "image/png"}, DATA, None),
        ({"type": "image", "base64": PNG}, DATA, None),
        ({"type": "image", "base64": DATA, "mime_type": "image/png"}, DATA, None),
        ({"type": "image", "url": WEB, "extras": {"detail": "low"}}, WEB, "low"),
        ({"type": "image", "url": DATA}, DATA, None),
        ({"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"}, DATA, None),
        ({"type": "image", "source_type": "url", "url": WEB}, WEB, None),
        ({"type": "image_url", "image_url": {"url": WEB, "detail": "high"}}, WEB, "high"),
        ({"type": "image_url", "image_url": WEB}, WEB, None),
        ({"type": "image_url", "image_url": {"url": DATA.replace("image/png", "image/jpg")}}, "image/jpeg", None),
        ({"image_url": {"url": WEB}}, WEB, None),
        ({"type": "input_image", "image_url": WEB, "detail": "low"}, WEB, "low"),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}, DATA, None),
        ({"type": "image", "source": {"type": "url", "url": WEB}}, WEB, None),
        ({"image": {"format": "png", "source": {"bytes": base64.b64decode(PNG)}}}, DATA, None),
        ({"type": "media", "mime_type": "image/png", "data": base64.b64decode(PNG)}, DATA, None),
        ({"type": "media", "mime_type": "image/png", "data": PNG}, DATA, None),
        ({"type": "non_standard", "value": {"type": "image_url", "image_url": {"url": WEB}}}, WEB, None),
    ],
)
@pytest.mark.parametrize("message", [HumanMessage, lambda said: ToolMessage(said, tool_call_id="1")])
def test_every_form_goes_out_as_the_one_that_providers_read(
    message: Any, block: dict[str, Any], url: str, detail: str | None
) -> None:
    (sent,) = openai_messages([message([block])])
    (part,) = sent["content"]
    assert part["type"] == "image_url"
    assert url in part["image_url"]["url"]
    assert part["image_url"].get("detail") == detail


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"type": "image", "base64": "no base64!", "mime_type": "image/png"}, "no base64"),
        ({"type": "image", "base64": "", "mime_type": "image/png"}, "empty"),
        ({"type": "image", "base64": PNG, "mime_type": "text/plain"}, "text/plain"),
        ({"type": "image", "base64": "QUJDRA=="}, "no mime_type"),
        ({"type": "image", "url": "ftp://example.com/cat.png"}, "no provider can read"),
        ({"type": "image", "url": "pictures/cat.png"}, "no provider can read"),
        ({"type": "image", "url": None}, "no address"),
        ({"type": "image_url", "image_url": {"url": ""}}, "no address"),
        ({"type": "image_url", "image_url": None}, "no address"),
        ({"type": "image", "file_id": "file-1"}, "id of a file"),
        ({"type": "input_image", "file_id": "file-1"}, "id of a file"),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "id of a file"),
        ({"type": "image", "base64": 7, "mime_type": "image/png"}, "is a int"),
    ],
)
def test_what_shows_no_picture_is_refused_before_anything_is_sent(
    world: LocalNet, block: dict[str, Any], said: str
) -> None:
    asked = len(world.provider("writes").log)
    with pytest.raises(ConfigError, match=said) as caught:
        ChatZeroG(model="writes").invoke([HumanMessage([{"type": "text", "text": "What is this?"}, block])])
    assert (caught.value.code, len(world.provider("writes").log)) == ("bad_image", asked)
    assert "messages[0].content[1]" in str(caught.value)


def test_a_picture_that_is_shown_is_part_of_the_signed_request(world: LocalNet) -> None:
    shown = HumanMessage([{"type": "text", "text": "What is this?"}, {"type": "image", "base64": PNG}])
    answer = ChatZeroG(model="writes", verify="require").invoke([shown])
    receipt = receipt_of(answer)
    assert receipt.verdict.status == "verified"
    assert receipt.usage is not None
    assert receipt.usage.prompt_tokens > 85


# out


def talk(model: ChatZeroG, messages: Any, way: str, **more: Any) -> BaseMessage:
    async def gathered() -> Any:
        whole: Any = None
        async for chunk in model.astream(messages, **more):
            whole = chunk if whole is None else whole + chunk
        return whole

    if way == "invoke":
        return model.invoke(messages, **more)
    if way == "ainvoke":
        return asyncio.run(model.ainvoke(messages, **more))
    if way == "astream":
        return asyncio.run(gathered())
    whole: Any = None
    for chunk in model.stream(messages, **more):
        whole = chunk if whole is None else whole + chunk
    return whole


def images(message: BaseMessage) -> list[dict[str, Any]]:
    return [block for block in message.content_blocks if block["type"] == "image"]  # type: ignore[misc]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("version", [None, "v1"])
def test_what_a_model_draws_is_a_block_and_verified_with_its_words(
    world: LocalNet, name: str, way: str, version: str | None
) -> None:
    model = ChatZeroG(model=name, verify="require", output_version=version, keep_bytes=True)
    answer = talk(model, "Draw two foxes", way)
    assert isinstance(answer, AIMessage)
    first, second = images(answer)
    assert (first["mime_type"], size_of(base64.b64decode(first["base64"]))) == ("image/png", (64, 64))
    assert first["base64"] != second["base64"]
    assert answer.text
    receipt = receipt_of(answer)
    assert (receipt.verdict.status, receipt.fee.exact) == ("verified", True)
    assert receipt.usage is not None
    assert receipt.usage.completion_tokens >= 2 * 85
    assert check(receipt.to_dict()).result == "unproven"  # the bytes agree; whose key it is, no anchor says here
    assert is_what_was_said(answer, receipt)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("hold", [False, True])
def test_a_swapped_image_is_found_out(world: LocalNet, name: str, way: str, hold: bool) -> None:
    model = ChatZeroG(model=name, verify="require", stream_policy="hold" if hold else "after")
    with world.provider(name).fault("image_swapped"), pytest.raises(VerificationFailed) as caught:
        talk(model, "Draw a fox", way)
    assert caught.value.code == "content_mismatch"


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_message_with_another_image_is_not_what_was_said(world: LocalNet, version: str | None, way: str) -> None:
    answer: Any = talk(ChatZeroG(model="draws-beside", output_version=version), "Draw a fox", way)
    receipt = receipt_of(answer)
    assert is_what_was_said(answer, receipt)
    other = [{"type": "image_url", "image_url": {"url": DATA}}]
    changed = answer.model_copy(update={"additional_kwargs": {**answer.additional_kwargs, "images": other}})
    assert not is_what_was_said(changed, receipt)
    if version == "v1":
        content = [{**block, "base64": PNG} if block["type"] == "image" else block for block in answer.content]
        assert not is_what_was_said(answer.model_copy(update={"content": content}), receipt)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("version", [None, "v1"])
def test_a_drawing_is_sent_back_as_it_came_and_can_be_changed(
    world: LocalNet, name: str, way: str, version: str | None
) -> None:
    model = ChatZeroG(model=name, verify="require", output_version=version)
    first = talk(model, "Draw a fox", way)
    again = talk(model, [("human", "Draw a fox"), first, ("human", "Draw it in blue")], way)
    sent = openai_messages([HumanMessage("Draw a fox"), first])[1]
    (there,) = sent["images"] if name == "draws-beside" else [p for p in sent["content"] if p["type"] == "image_url"]
    assert there["image_url"]["url"] == f"data:image/png;base64,{images(first)[0]['base64']}"
    assert images(again)[0]["base64"] != images(talk(model, "Draw it in blue", way))[0]["base64"]
    assert receipt_of(again).verdict.status == "verified"


def test_modalities_are_a_parameter_and_refused_by_a_model_that_only_writes(world: LocalNet) -> None:
    drawn = ChatZeroG(model="draws-beside").invoke("A fox", modalities=["image", "text"])
    assert len(images(drawn)) == 1
    with pytest.raises(Exception, match="text only"):
        ChatZeroG(model="writes").invoke("A fox", modalities=["image", "text"])
    assert images(ChatZeroG(model="draws-beside").invoke("Say hello")) == []


def test_the_catalogue_says_that_it_draws(world: LocalNet) -> None:
    profile: Any = ChatZeroG(model="draws-within").load_profile()
    assert profile["image_outputs"] is True
    assert ChatZeroG(model="writes").load_profile()["image_outputs"] is False
