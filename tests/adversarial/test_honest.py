"""Honest replies, many and odd: none is ever accused, whatever the texts, forms and chunk boundaries."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.adversarial.conftest import SPECS, settings_for
from tests.effort import SEED
from tests.zg_core.raw_server import HEAD, Server, chunk
from tests.zg_core.verify.scene import CHAT_ID, Scene, service, sha
from zg_core import AsyncChatClient
from zg_core.exchange import Exchange
from zg_core.http.messages import Request
from zg_core.http.transport import SyncTransport, run
from zg_core.jsontext import encode_body
from zg_core.localnet.provider import gojson
from zg_core.sse import SSEDecoder
from zg_core.types import Kind
from zg_core.verify import Status

SIGNING = [Kind.TEE_ML, Kind.TEE_ML_SEPARATED, Kind.TEE_TLS]
ALPHABETS = [
    "abc ",
    'x"\\/\b\f\n\r\t',
    "<>&\u2028\u2029",
    "äßéø",
    "日本語の文",
    "😀🏳️‍🌈👩‍👩‍👧",
    "\u0000\u0001\u001f\u007f",
    "שָׁלוֹם",
]
PER_KIND = 700


def text(generator: random.Random) -> str:
    alphabet = "".join(generator.sample(ALPHABETS, generator.randint(1, 4)))
    return "".join(generator.choice(alphabet) for _ in range(generator.randint(0, 60)))


def payload(generator: random.Random) -> dict[str, Any]:
    """A request as users write them: any order of keys, odd numbers, texts of every script."""
    parts: list[tuple[str, Any]] = [
        ("model", "m"),
        ("messages", [{"role": "user", "content": text(generator)} for _ in range(generator.randint(1, 3))]),
        ("temperature", generator.choice([0, 0.0, 1, 1.0, 0.7, 1e-7, 1.5e300, -0.0])),
        ("seed", generator.choice([0, 7, 2**53 + 1, -(2**40)])),
        ("max_tokens", generator.randint(1, 4096)),
        ("stream", generator.random() < 0.5),
        ("metadata", {text(generator) or "k": generator.choice([None, True, text(generator), [1, 2.5, []]])}),
    ]
    generator.shuffle(parts)
    return dict(parts[: generator.randint(2, len(parts))])


def forwarded(generator: random.Random, request: bytes) -> bytes:
    """The bytes that a provider hashes: those it got, or one of the documented re-marshalled forms."""
    value = gojson.loads(request)
    form = generator.choice(["as sent", "go", "usage", "model", "tokens"])
    if form == "as sent":
        return request
    if form == "usage" and value.get("stream") is True:
        value["stream_options"] = {"include_usage": True}
    if form == "model" and "model" in value:
        value["model"] = "m"
    if form == "tokens" and "max_tokens" in value:
        value["max_completion_tokens"] = value.pop("max_tokens")
    return gojson.dumps(value)


@pytest.mark.parametrize("kind", SIGNING)
def test_replies_of_every_kind_text_and_form_are_verified(tally: Any, kind: Kind) -> None:
    generator = random.Random(f"{SEED} {kind}")
    refused = []
    for number in range(PER_KIND):
        request = encode_body(payload(generator))
        reply = json.dumps(
            {"id": f"chatcmpl-{number}", "choices": [{"message": {"content": text(generator)}}]},
            ensure_ascii=generator.random() < 0.5,
            indent=generator.choice([None, 1]),
        ).encode()
        signed = forwarded(generator, request)
        scene = Scene(kind, sent=request, received=reply, signed_request=sha(signed), signed_answer=sha(reply))
        scene.record = scene.record_after = service(kind)
        if (verdict := scene.verdict()).status is not Status.VERIFIED:
            refused.append(f"{number}: {verdict} for {request!r} signed as {signed!r}")
    assert not refused, f"seed {SEED}\n" + "\n".join(refused[:5])
    tally("reply signed as documented", honest=PER_KIND, accepted=PER_KIND)


EVENTS = [
    json.dumps(
        {"id": f"chatcmpl-{CHAT_ID}", "choices": [{"index": 0, "delta": {"content": piece}}]}, ensure_ascii=False
    )
    for piece in ("Paris", " é", "😀", '"}\n\ndata: no', "\u2028", "")
]
STREAM = ("".join(f"data: {event}\n\n" for event in EVENTS) + ": a comment\n\ndata: [DONE]\n\n").encode()


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=40), st.booleans())
@settings(max_examples=300)
def test_no_chunk_boundary_changes_events_or_hash(cuts: list[int], crlf: bool) -> None:
    stream = STREAM.replace(b"\n", b"\r\n") if crlf else STREAM
    places = [0, *sorted({cut for cut in cuts if cut < len(stream)}), len(stream)]
    exchange, decoder, events = Exchange(b"{}"), SSEDecoder(), []
    for start, end in itertools.pairwise(places):
        exchange.feed(stream[start:end])
        events += decoder.feed(stream[start:end])
    events += decoder.flush()
    assert exchange.response_sha256 == sha(stream)
    assert [event.decode() for event in events] == [*EVENTS, "[DONE]"]


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=12))
@settings(max_examples=40)
def test_no_boundary_on_the_wire_does_either(cuts: list[int]) -> None:
    places = [0, *sorted(set(cuts)), len(STREAM)]
    server = Server()
    try:
        pieces = [chunk(STREAM[start:end]) for start, end in itertools.pairwise(places)]
        server.script = [[HEAD, *pieces, chunk(b"")]]
        transport = SyncTransport()

        async def read() -> bytes:
            response = await transport.send(Request("GET", server.url, {}))
            return b"".join([piece async for piece in response.chunks()])

        assert run(read()) == STREAM
        transport.close()
    finally:
        server.stop()


QUESTIONS = [
    "What is 2 + 3?",
    "Say 'héllo wörld 日本 😀'.",
    "Repeat: <b>&amp;</b> \u2028",
    "What is the capital of France?",
]


@pytest.mark.parametrize("number", range(len(SPECS)), ids=[spec.kind for spec in SPECS])
def test_a_hundred_calls_at_once_to_a_provider_of_each_kind(net: Any, tally: Any, number: int) -> None:
    options = settings_for(net, net.wallet, net.providers[number].address) | {"environ": {}, "verify": "require"}
    asked = [{"messages": [{"role": "user", "content": QUESTIONS[n % 4]}], "max_tokens": 20 + n} for n in range(100)]

    async def one(client: AsyncChatClient, payload: dict[str, Any], *, stream: bool) -> Status:
        if not stream:
            return (await client.create(payload)).receipt.verdict.status
        reply = client.stream(payload)
        _ = [event async for event in reply]
        assert reply.receipt is not None
        return reply.receipt.verdict.status

    async def everything() -> list[Status]:
        async with AsyncChatClient(**options) as client:
            gate = asyncio.Semaphore(4)  # the provider's own limit of requests under way

            async def gated(n: int, payload: dict[str, Any]) -> Status:
                async with gate:
                    return await one(client, payload, stream=n % 2 == 0)

            return await asyncio.gather(*(gated(n, payload) for n, payload in enumerate(asked)))

    statuses = asyncio.run(everything())
    assert set(statuses) == {Status.VERIFIED}
    tally("call over the wire", honest=len(statuses), accepted=len(statuses))
