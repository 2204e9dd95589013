"""Asynchronous calls on uvloop, the loop of ``uvicorn[standard]``, FastAPI and LangGraph's server."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from langchain_zerog import ChatZeroG
from llama_index_zerog import ZeroG
from tests.patience import PATIENCE
from zg_core import AsyncChatClient
from zg_core.http.library import library

uvloop = pytest.importorskip("uvloop")
MODEL = "local-chat-1"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def on_uvloop() -> bool:
    return isinstance(asyncio.get_running_loop(), uvloop.Loop)


async def whole(**settings: Any) -> str:
    return (await ChatZeroG(model=MODEL, **settings).ainvoke("What is the capital of France?")).text


async def streamed() -> str:
    return "".join([chunk.text async for chunk in ChatZeroG(model=MODEL).astream("What is the capital of France?")])


async def core() -> str:
    async with AsyncChatClient(model=MODEL, verify="require") as client:
        return (await client.create({"messages": [{"role": "user", "content": "What is the capital of France?"}]})).text


async def llama() -> str:
    return (await ZeroG(model=MODEL).acomplete("What is the capital of France?")).text


async def given() -> str:
    async with library().AsyncClient() as client:
        return await whole(http_async_client=client)


async def many() -> str:
    model = ChatZeroG(model=MODEL, limits=None)
    answers = await asyncio.gather(*(model.ainvoke("What is the capital of France?") for _ in range(16)))
    assert len({answer.text for answer in answers}) == 1
    return answers[0].text


@pytest.mark.parametrize("ask", [whole, streamed, core, llama, given, many])
def test_every_way_to_ask_works(ask: Any) -> None:
    async def main() -> str:
        assert on_uvloop()
        answer: str = await ask()
        return answer

    assert "Paris" in uvloop.run(main())


@contextmanager
def serving(app: Any, loop: str) -> Iterator[str]:
    """A uvicorn as people start it, in a thread."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", loop=loop))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()


@pytest.mark.parametrize(("loop", "fast"), [("auto", True), ("uvloop", True), ("asyncio", False)])
def test_a_fastapi_app_answers_over_one_model(loop: str, fast: bool) -> None:
    fastapi = pytest.importorskip("fastapi")
    from fastapi.responses import StreamingResponse

    made: dict[str, ChatZeroG] = {}

    @asynccontextmanager
    async def lifespan(_: Any) -> Any:
        async with ChatZeroG(model=MODEL) as made["model"]:
            yield

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.get("/ask")
    async def ask(question: str) -> dict[str, Any]:
        reply = await made["model"].ainvoke(question)
        return {"fast": on_uvloop(), "text": reply.text, "status": reply.response_metadata["zerog"]["status"]}

    @app.get("/stream")
    async def stream(question: str) -> StreamingResponse:
        return StreamingResponse(chunk.text async for chunk in made["model"].astream(question))

    @app.get("/blocking")
    def blocking(question: str) -> str:  # FastAPI runs this in a thread
        return made["model"].invoke(question).text

    question = "?question=What+is+the+capital+of+France%3F"
    with serving(app, loop) as url:

        def get(path: str) -> str:
            with DIRECT.open(url + path + question, timeout=PATIENCE) as response:
                return response.read().decode()

        answers = [json.loads(get("/ask")) for _ in range(2)]
        pieces, waited = get("/stream"), get("/blocking")
    assert [(answer["fast"], answer["status"]) for answer in answers] == [(fast, "verified")] * 2
    assert all("Paris" in text for text in (answers[0]["text"], pieces, waited))
