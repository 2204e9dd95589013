"""Forwarding to a model server: bytes as they are, whole events, and every failure as a status."""

import asyncio
import contextlib
import gzip
import json
import socket

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.patience import PATIENCE
from zg_core.localnet.model import upstream
from zg_core.localnet.model.engine import RuleModel
from zg_core.localnet.model.upstream import OpenAIUpstream, UpstreamBrokenError, UpstreamReply

CHAT = "/chat/completions"
BODY = '{"model": "rules",  "messages": [{"role": "user", "content": "Say 你好"}]}'.encode()
STREAMED = BODY.replace(b'"model"', b'"stream": true, "model"')


class Server:
    """A rule model behind real HTTP, remembering what it was sent."""

    def __init__(self):
        self.model = RuleModel(model="rules", created=1)
        self.received = []
        self.url = ""

    async def post(self, request):
        body = await request.body()
        self.received.append((request.headers, body))
        path = request.url.path.removeprefix("/v1")
        if json.loads(body).get("stream"):
            events = [event async for event in self.model.stream(path, body)]
            if isinstance(events[0], UpstreamReply):
                return Response(events[0].body, events[0].status, dict(events[0].headers))
            return StreamingResponse(iter(events), media_type="text/event-stream")
        reply = await self.model.complete(path, body)
        return Response(reply.body, reply.status, dict(reply.headers))

    async def models(self, request):
        return JSONResponse({"object": "list", "data": [*await self.model.models(), {"id": "other"}]})


@pytest.fixture
async def server():
    rules = Server()
    app = Starlette(
        routes=[
            Route(f"/v1{CHAT}", rules.post, methods=["POST"]),
            Route("/v1/embeddings", rules.post, methods=["POST"]),
            Route("/v1/models", rules.models),
        ]
    )
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        rules.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        running = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        with contextlib.ExitStack() as stack:
            # uvicorn takes over signals only in the main thread of a program; here the loop belongs to the test.
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(
                running, "capture_signals", contextlib.nullcontext
            )
            task = asyncio.create_task(running.serve(sockets=[listener]))
            yield rules
            running.should_exit = True
            await task


@contextlib.asynccontextmanager
async def canned(*parts, hold=False):
    """A server that answers any request with these bytes, each in its own packet, and then hangs up or waits."""
    released = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if hold:
            await released.wait()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    finally:
        released.set()
        listener.close()
        await listener.wait_closed()


def head(status="200 OK", kind="text/event-stream", more=""):
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\n{more}\r\n".encode()


@contextlib.asynccontextmanager
async def forwarding(url, **options):
    forwarder = OpenAIUpstream(url, **options)
    try:
        yield forwarder
    finally:
        await forwarder.aclose()


async def collect(items):
    return [item async for item in items]


async def test_forwards_the_bytes_of_the_request_and_of_the_answer(server):
    async with forwarding(server.url) as forwarder:
        reply = await forwarder.complete(CHAT, BODY)
    assert server.received[0][1] == BODY
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    document = json.loads(reply.body)
    assert document["choices"][0]["message"]["content"] == "你好"
    assert "你好".encode() in reply.body


async def test_passes_events_on_one_by_one(server):
    async with forwarding(server.url) as forwarder:
        events = await collect(forwarder.stream(CHAT, STREAMED))
    direct = await collect(RuleModel(model="rules", created=1).stream(CHAT, STREAMED))
    assert server.received[0][1] == STREAMED
    assert events == direct
    assert all(event.endswith(b"\n\n") for event in events)


async def test_a_refusal_is_relayed_in_both_forms(server):
    refused = BODY.replace(b'"model"', b'"n": 2, "model"')
    async with forwarding(server.url) as forwarder:
        reply = await forwarder.complete(CHAT, refused)
        streamed = await collect(forwarder.stream(CHAT, refused.replace(b'"n"', b'"stream": true, "n"')))
    assert reply.status == 400
    assert json.loads(reply.body)["error"]["param"] == "n"
    assert [(item.status, item.body) for item in streamed] == [(400, reply.body)]


async def test_embeddings_are_forwarded(server):
    async with forwarding(server.url) as forwarder:
        reply = await forwarder.complete("/embeddings", b'{"model": "e", "input": "text"}')
    assert len(json.loads(reply.body)["data"][0]["embedding"]) == 256


async def test_sends_its_key_and_shows_it_nowhere(server):
    async with forwarding(server.url, api_key="sk-secret-123") as forwarder:
        await forwarder.complete(CHAT, BODY)
        assert server.received[0][0]["authorization"] == "Bearer sk-secret-123"
        assert "secret" not in repr(forwarder)
    async with forwarding("http://127.0.0.1:9/v1", api_key="sk-secret-123") as forwarder:
        assert b"secret" not in (await forwarder.complete(CHAT, BODY)).body


async def test_sends_no_key_it_does_not_have(server):
    async with forwarding(server.url) as forwarder:
        await forwarder.complete(CHAT, BODY)
    assert "authorization" not in server.received[0][0]
    assert server.received[0][0]["accept-encoding"] == "identity"


async def test_lists_the_models_of_the_server(server):
    async with forwarding(server.url) as forwarder:
        assert [entry["id"] for entry in await forwarder.models()] == ["rules", "other"]
    async with forwarding(server.url, model="rules") as forwarder:
        assert [(entry["id"], entry["type"]) for entry in await forwarder.models()] == [("rules", "chatbot")]
    async with forwarding(server.url, model="unlisted") as forwarder:
        assert [entry["id"] for entry in await forwarder.models()] == ["unlisted"]


@pytest.mark.parametrize("listed", [b"no json", b"[]", b'{"data": 5}', b'{"data": [1, {"id": 2}]}'])
async def test_a_server_that_lists_nothing_usable_has_no_models(listed):
    async with canned(head(kind="application/json"), listed) as url, forwarding(url) as forwarder:
        assert await forwarder.models() == []


async def test_a_server_that_is_not_there_is_502():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        async with forwarding(f"http://127.0.0.1:{closed.getsockname()[1]}/v1") as forwarder:
            reply = await forwarder.complete(CHAT, BODY)
            streamed = await collect(forwarder.stream(CHAT, STREAMED))
    assert reply.status == 502
    assert "cannot be reached" in json.loads(reply.body)["error"]["message"]
    assert [item.status for item in streamed] == [502]


async def test_a_server_that_hangs_is_504():
    async with canned(hold=True) as url, forwarding(url, timeout=0.05) as forwarder:
        reply = await forwarder.complete(CHAT, BODY)
        streamed = await collect(forwarder.stream(CHAT, STREAMED))
    assert [reply.status, *(item.status for item in streamed)] == [504, 504]


async def test_a_redirect_is_not_followed():
    moved = head("307 Temporary Redirect", more="location: http://127.0.0.1:9/elsewhere\r\n")
    async with canned(moved) as url, forwarding(url) as forwarder:
        reply = await forwarder.complete(CHAT, BODY)
        streamed = await collect(forwarder.stream(CHAT, STREAMED))
    assert [reply.status, streamed[0].status] == [502, 502]
    assert "location" not in reply.headers


async def test_an_answer_without_bounds_is_502(monkeypatch):
    monkeypatch.setattr(upstream, "MAX_BODY", 100)
    async with canned(head(kind="application/json"), b"x" * 200) as url, forwarding(url) as forwarder:
        assert (await forwarder.complete(CHAT, BODY)).status == 502


async def test_events_are_whole_however_they_arrive():
    parts = [b'data: {"a":"\xe4', b'\xbd\xa0"}\n', b"\ndata: 1\r\n\r", b"\n: ping\n\ndata: [DONE]\n\n"]
    async with canned(head(), *parts) as url, forwarding(url) as forwarder:
        events = await collect(forwarder.stream(CHAT, STREAMED))
    assert events == ['data: {"a":"你"}\n\n'.encode(), b"data: 1\r\n\r\n", b": ping\n\n", b"data: [DONE]\n\n"]


async def test_what_follows_the_last_event_is_passed_on():
    async with canned(head(), b"data: 1\n\ndata: [DONE]\n") as url, forwarding(url) as forwarder:
        assert await collect(forwarder.stream(CHAT, STREAMED)) == [b"data: 1\n\n", b"data: [DONE]\n"]


async def test_a_compressed_stream_is_read_all_the_same():
    packed = gzip.compress(b"data: 1\n\ndata: [DONE]\n\n")
    async with canned(head(more="content-encoding: gzip\r\n"), packed) as url, forwarding(url) as forwarder:
        assert await collect(forwarder.stream(CHAT, STREAMED)) == [b"data: 1\n\n", b"data: [DONE]\n\n"]


async def test_a_server_that_does_not_stream_is_502():
    async with canned(head(kind="application/json"), b"{}") as url, forwarding(url) as forwarder:
        items = await collect(forwarder.stream(CHAT, STREAMED))
    assert [(item.status, "did not stream" in item.body.decode()) for item in items] == [(502, True)]


async def taken(items):
    """What came, and the break that ended it, "" without one."""
    events = []
    try:
        async for item in items:
            events.append(item)  # noqa: PERF401 (a comprehension would lose what came before the break)
    except UpstreamBrokenError as broken:
        return events, str(broken)
    return events, ""


async def take_until_broken(items):
    """The events before the break, and the break."""
    events, reason = await taken(items)
    assert reason, "nothing broke"
    return events, reason


async def test_a_stream_cut_in_the_middle_raises_after_what_came():
    cut = head(more="content-length: 1000\r\n")
    async with canned(cut, b"data: 1\n\n") as url, forwarding(url) as forwarder:
        events, reason = await take_until_broken(forwarder.stream(CHAT, STREAMED))
    assert (events, "cannot be reached" in reason) == ([b"data: 1\n\n"], True)


async def test_whoever_stops_reading_closes_the_connection():
    hung_up = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head() + b"data: 1\n\n")
        await writer.drain()
        await reader.read(65536)
        while await reader.read(65536):
            pass
        hung_up.set()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener, forwarding(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1") as forwarder:
        items = forwarder.stream(CHAT, STREAMED)
        assert await anext(items) == b"data: 1\n\n"
        await items.aclose()
        await asyncio.wait_for(hung_up.wait(), timeout=PATIENCE)


async def test_a_stream_that_stalls_raises():
    for seconds in (0.05, 1.0, 20.0):
        async with canned(head(), b"data: 1\n\n", hold=True) as url, forwarding(url, timeout=seconds) as forwarder:
            events, reason = await taken(forwarder.stream(CHAT, STREAMED))
        if events == [b"data: 1\n\n"]:  # otherwise this machine was too slow for so little patience
            break
    assert (events, "in time" in reason) == ([b"data: 1\n\n"], True)


async def test_a_stream_without_bounds_raises(monkeypatch):
    monkeypatch.setattr(upstream, "MAX_EVENT", 50)
    async with canned(head(), b"data: 1\n\n", b"data: " + b"x" * 100) as url, forwarding(url) as forwarder:
        events, reason = await take_until_broken(forwarder.stream(CHAT, STREAMED))
    assert (events, "too large" in reason) == ([b"data: 1\n\n"], True)


@pytest.mark.parametrize("url", ["", "127.0.0.1:11434", "ftp://x/v1", "gopher://x/v1", "http://"])
def test_only_http_addresses_are_taken(url):
    with pytest.raises(ValueError, match="http"):
        OpenAIUpstream(url)


def test_credentials_in_the_address_are_refused_without_repeating_them():
    with pytest.raises(ValueError, match="api_key") as refused:
        OpenAIUpstream("http://user:secret@127.0.0.1/v1")
    assert "secret" not in str(refused.value)


def test_one_forwarder_serves_several_event_loops():
    model = RuleModel(model="rules")

    async def once(forwarder):
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            reply = await model.complete(CHAT, BODY)
            writer.write(head(kind="application/json") + reply.body)
            await writer.drain()
            writer.close()

        listener = await asyncio.start_server(serve, "127.0.0.1", port)
        reply = await forwarder.complete(CHAT, BODY)
        await forwarder.aclose()
        listener.close()
        await listener.wait_closed()
        return reply.status

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    forwarder = OpenAIUpstream(f"http://127.0.0.1:{port}/v1")
    assert [asyncio.run(once(forwarder)) for _ in range(2)] == [200, 200]
