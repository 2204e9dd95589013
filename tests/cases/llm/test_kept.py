"""Nothing of a paid reply is dropped in silence: it is a block where the framework has one, and beside it otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest

import langchain_zerog
import llama_index_zerog
from tests.cases.llm.conftest import Stage

PIXEL = "data:image/png;base64,aGk="
SAID: dict[str, Any] = {"id": "@ID@", "created": 1, "model": "m"}
CITED = {"type": "url_citation", "url_citation": {"url": "https://a", "title": "t", "start_index": 0, "end_index": 3}}
DELTAS: list[dict[str, Any]] = [
    {"role": "assistant", "content": "", "reasoning": "two "},
    {"reasoning": "plus three", "reasoning_details": [{"type": "reasoning.text", "text": "two ", "index": 0}]},
    {"content": "See", "images": [{"type": "image_url", "image_url": {"url": PIXEL}}]},
    {"reasoning_details": [{"type": "reasoning.text", "text": "plus three", "signature": "s", "index": 0}]},
    {"annotations": [CITED], "images": [{"image_url": {"url": "https://b/i.png"}}]},
    {"audio": {"id": "au", "data": "aA==", "transcript": "Hel"}},
    {"audio": {"id": "au", "data": "aQ==", "transcript": "lo", "expires_at": 9, "format": "wav"}},
    {"refusal": "I will "},
    {"refusal": "not.", "newest_thing": {"score": 0.5}},
]
MESSAGE: dict[str, Any] = {
    "role": "assistant",
    "content": "See",
    "reasoning": "two plus three",
    "reasoning_details": [{"type": "reasoning.text", "text": "two plus three", "signature": "s", "index": 0}],
    "images": [{"type": "image_url", "image_url": {"url": PIXEL}}, {"image_url": {"url": "https://b/i.png"}}],
    "annotations": [CITED],
    "audio": {"id": "au", "data": "aGk=", "transcript": "Hello", "expires_at": 9, "format": "wav"},
    "refusal": "I will not.",
    "newest_thing": {"score": 0.5},
}
BESIDE = {name: MESSAGE[name] for name in MESSAGE.keys() - {"role", "content", "reasoning"}}
TOP = {"citations": ["https://c"], "service_tier": "default"}


def event(delta: dict[str, Any], **more: Any) -> bytes:
    return b"data: " + json.dumps({**SAID, "choices": [{"index": 0, "delta": delta, **more}]}).encode() + b"\n\n"


STREAM = b"".join([*map(event, DELTAS), event({}, finish_reason="stop")])
STREAM += b"data: " + json.dumps({**SAID, "choices": [], **TOP}).encode() + b"\n\ndata: [DONE]\n\n"
WHOLE = json.dumps({**SAID, "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}], **TOP}).encode()


def asked(stage: Stage, model: Any, stream: bool) -> Any:
    stage.field.bodies.append(STREAM if stream else WHOLE)
    if not stream:
        return model.invoke("q")
    whole = None
    for chunk in model.stream("q"):
        whole = chunk if whole is None else whole + chunk
    return whole


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("version", [None, "v1"])
def test_langchain_has_all_of_it(stage: Stage, stream: bool, version: str | None) -> None:
    model = langchain_zerog.ChatZeroG(**stage.settings("TeeML-separated"), output_version=version, keep_bytes=True)
    message = asked(stage, model, stream)
    kinds = [block["type"] for block in message.content_blocks]
    refusal = "refusal" if "refusal" in kinds else "non_standard"
    assert set(kinds) == {"reasoning", "text", "image", "audio", refusal}
    by_kind = {kind: [b for b in message.content_blocks if b["type"] == kind] for kind in kinds}
    assert "".join(block["reasoning"] for block in by_kind["reasoning"]) == "two plus three"
    assert "".join(block["text"] for block in by_kind["text"]) == message.text == "See"
    (cited,) = [each for block in by_kind["text"] for each in block.get("annotations", ())]
    assert (cited["type"], cited["url"], cited["title"], cited["end_index"]) == ("citation", "https://a", "t", 3)
    first, second = by_kind["image"]
    assert (first["base64"], first["mime_type"], second["url"]) == ("aGk=", "image/png", "https://b/i.png")
    (audio,) = by_kind["audio"]
    assert (audio["base64"], audio["mime_type"], audio["extras"]["transcript"]) == ("aGk=", "audio/wav", "Hello")
    assert "I will not." in str(by_kind[refusal])
    assert {name: message.additional_kwargs[name] for name in BESIDE} == BESIDE
    assert {name: message.response_metadata[name] for name in TOP} == TOP
    body = langchain_zerog.receipt_of(message).body
    assert (body[0] if stream else body)["choices"][0]["delta" if stream else "message"]["reasoning"]
    # and goes back under the name it came by
    model.invoke([("human", "q"), message, ("human", "more")])
    sent = stage.field.asked[-1]["messages"][1]
    assert (sent["reasoning"], sent["reasoning_details"]) == ("two plus three", MESSAGE["reasoning_details"])
    model.close()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_llamaindex_has_all_of_it(stage: Stage, stream: bool) -> None:
    from llama_index.core.base.llms.types import AudioBlock, ImageBlock, ThinkingBlock
    from llama_index.core.llms import ChatMessage

    llm = llama_index_zerog.ZeroG(**stage.settings("TeeML-separated"), keep_bytes=True, context_window=9999)
    stage.field.bodies.append(STREAM if stream else WHOLE)
    response = list(llm.stream_chat([ChatMessage("q")]))[-1] if stream else llm.chat([ChatMessage("q")])
    message = response.message
    images = [block for block in message.blocks if isinstance(block, ImageBlock)]
    assert images[0].resolve_image().read() == b"hi"
    assert (images[0].image_mimetype, str(images[1].url)) == ("image/png", "https://b/i.png")
    (audio,) = [block for block in message.blocks if isinstance(block, AudioBlock)]
    assert (audio.resolve_audio().read(), audio.format) == (b"hi", "wav")
    (thought,) = [block for block in message.blocks if isinstance(block, ThinkingBlock)]
    assert (message.content, thought.content) == ("See", "two plus three")
    kept = BESIDE.keys() - {"images"}
    assert {name: message.additional_kwargs[name] for name in kept} == {name: BESIDE[name] for name in kept}
    assert {name: response.raw[name] for name in TOP} == TOP
    assert llama_index_zerog.receipt_of(response).body is not None
    llm.chat([ChatMessage("q"), message, ChatMessage("more")])
    sent = stage.field.asked[-1]["messages"][1]
    assert (sent["reasoning"], sent["reasoning_details"]) == ("two plus three", MESSAGE["reasoning_details"])
    llm.close()


@pytest.mark.parametrize("first", [0, 1, 7])
def test_a_choice_that_nobody_asked_for_is_not_mixed_in(stage: Stage, first: int) -> None:
    other = first + 1
    events = [{"index": n, "delta": {"content": f"{text} "}} for text in ("a", "b") for n in (first, other)]
    together = [{"index": n, "delta": {"content": "c"}, "finish_reason": "stop"} for n in (first, other)]
    lines = [{**SAID, "choices": choices} for choices in [*([each] for each in events), together]]
    stage.field.bodies.append(b"".join(b"data: " + json.dumps(line).encode() + b"\n\n" for line in lines))
    model = langchain_zerog.ChatZeroG(**stage.settings("TeeML"))
    assert "".join(chunk.text for chunk in model.stream("q")) == "a b c"
    model.close()


HALF = json.dumps({**SAID, "choices": [{"index": 0, "message": {"content": "a\ud83d!"}, "finish_reason": "stop"}]})


@pytest.mark.parametrize("kind", ["TeeML", "TeeML-separated"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_half_a_character_is_shown_as_one_that_is_missing(stage: Stage, kind: str, stream: bool) -> None:
    body = (
        HALF.encode() if not stream else b"data: " + HALF.replace("message", "delta").encode() + b"\n\ndata: [DONE]\n\n"
    )
    model = langchain_zerog.ChatZeroG(**stage.settings(kind))
    stage.field.bodies.append(body)
    text = "".join(chunk.text for chunk in model.stream("q")) if stream else str(model.invoke("q").text)
    assert text == "a\N{REPLACEMENT CHARACTER}!"
    text.encode()
    model.close()
