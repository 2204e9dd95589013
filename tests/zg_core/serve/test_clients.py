"""Others' programs in front of the server: openai, LangChain's ChatOpenAI, LlamaIndex's OpenAILike, curl."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from typing import Any

import openai
import pytest

from tests.patience import PATIENCE
from tests.zg_core.serve.serving import ANSWER, QUESTION, TOKEN, Running
from zg_core.localnet import LocalProvider

TEXT = QUESTION["messages"][0]["content"]


@pytest.fixture
def official(served: Running) -> Any:
    with openai.OpenAI(base_url=served.base, api_key=TOKEN) as client:
        yield client


def test_openai_reads_answers_streams_headers_and_models(official: openai.OpenAI) -> None:
    raw = official.chat.completions.with_raw_response.create(model="chat-ml", **QUESTION)
    assert raw.headers["x-zerog-verdict"] == "verified"
    assert raw.parse().choices[0].message.content == ANSWER
    stream = official.chat.completions.create(
        model="chat-ml", stream=True, stream_options={"include_usage": True}, **QUESTION
    )
    chunks = list(stream)
    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == ANSWER
    assert chunks[-1].usage.completion_tokens > 0
    assert "chat-ml" in [each.id for each in official.models.list()]
    embedded = official.embeddings.create(model="embed", input=["a", "b"])
    assert len(embedded.data) == 2


def test_openai_of_an_event_loop_asks_many_things_at_once(served: Running) -> None:
    async def work() -> list[str]:
        async with openai.AsyncOpenAI(base_url=served.base, api_key=TOKEN) as client:
            calls = (client.chat.completions.create(model="chat-ml", **QUESTION) for _ in range(8))
            return [each.choices[0].message.content for each in await asyncio.gather(*calls)]

    assert asyncio.run(work()) == [ANSWER] * 8


def test_langchains_chat_openai(served: Running, provider: LocalProvider) -> None:
    langchain = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed here")
    model = langchain.ChatOpenAI(model="chat-ml", base_url=served.base, api_key=TOKEN, include_response_headers=True)
    answer = model.invoke(TEXT)
    assert answer.content == ANSWER
    assert answer.response_metadata["headers"]["x-zerog-verdict"] == "verified"
    assert "".join(each.text for each in model.stream(TEXT)) == ANSWER
    provider.fault("body_changed")
    with pytest.raises(openai.APIStatusError, match="do not trust"):
        model.invoke(TEXT)
    provider.fault("body_changed")
    with pytest.raises(openai.APIError, match="do not trust"):
        list(model.stream(TEXT))


def test_llamaindexs_openai_like(served: Running) -> None:
    like = pytest.importorskip("llama_index.llms.openai_like", reason="OpenAILike wants openai 2: make test-openai2")
    model = like.OpenAILike(model="chat-ml", api_base=served.base, api_key=TOKEN, is_chat_model=True)
    assert str(model.complete(TEXT)) == ANSWER
    assert [each.text for each in model.stream_complete(TEXT)][-1] == ANSWER


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_curl(served: Running, stream: bool) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed here")
    body = json.dumps({"model": "chat-ml", "stream": stream, **QUESTION})
    sent = ["-H", f"Authorization: Bearer {TOKEN}", "-H", "Content-Type: application/json", "-d", body]
    done = subprocess.run(
        [curl, "-sS", "-i", f"{served.base}/chat/completions", *sent],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    head, _, answer = done.stdout.replace("\r\n", "\n").partition("\n\n")
    assert head.startswith("HTTP/1.1 200")
    if stream:
        assert '"verdict":"verified"' in answer.strip().splitlines()[-1]
    else:
        assert "x-zerog-verdict: verified" in head
        assert json.loads(answer)["choices"][0]["message"]["content"] == ANSWER
