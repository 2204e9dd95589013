"""Honest exchanges of every kind over real sockets: what is hashed, who signs, what is billed."""

import hashlib
import json
import socket

import pytest

from tests.patience import PATIENCE
from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.localnet.chain import abi
from zg_core.localnet.model.upstream import UpstreamBrokenError, UpstreamReply

KINDS = ("TeeML", "TeeTLS", "TeeML-separated", "standard")


@pytest.fixture(scope="module")
def net():
    specs = [ProviderSpec(model=f"m-{kind}", kind=kind) for kind in KINDS]
    with LocalNet(providers=[*specs, ProviderSpec(model="e", service_type="embedding")]) as running:
        yield running


@pytest.fixture
def caller(net, connect):
    def make(kind="TeeML"):
        return connect(net, net.provider("e" if kind == "embedding" else f"m-{kind}"))

    return make


def service(net, provider):
    contract = abi.inference()
    data = net.chain.call(to=contract.address, data=contract.encode("getService", provider.address))
    return contract.decode("getService", data)


def go_form(body):
    """What Go's marshalling makes of a body of plain ASCII and whole numbers."""
    return json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize("stream", [False, True])
def test_teeml_signs_the_clients_bytes_and_its_own(net, caller, tools, stream):
    one = caller("TeeML")
    response = one.chat(stream=stream)
    signed = one.signed(response)
    assert signed["text"] == f"{tools.sha256(one.sent)}:{tools.sha256(response.content)}"
    assert set(signed) == {"text", "signature", "signing_address", "signing_algo"}
    assert signed["signing_algo"] == "ecdsa"
    record = service(net, one.provider)
    assert tools.recover(signed["text"], signed["signature"]) == record["teeSignerAddress"] == signed["signing_address"]
    assert record["teeSignerAcknowledged"]


@pytest.mark.parametrize("stream", [False, True])
def test_teetls_signs_five_fields_that_its_json_repeats(net, caller, tools, stream):
    one = caller("TeeTLS")
    identities = []
    for _ in range(3):
        response = one.chat(stream=stream)
        signed = one.signed(response)
        request, answer, kind, identity, fingerprint = signed["text"].split(":")
        assert request == tools.sha256(go_form(one.sent))
        assert answer == tools.sha256(response.content)
        assert (kind, identity, fingerprint) == (
            signed["provider_type"],
            signed["provider_identity"],
            signed["tls_cert_fingerprint"],
        )
        assert kind == "centralized"
        assert len(bytes.fromhex(fingerprint)) == 32
        assert tools.recover(signed["text"], signed["signature"]) == service(net, one.provider)["teeSignerAddress"]
        identities.append(identity)
    assert set(identities) == {"openrouter", "bailian"}
    assert identities[0] == identities[2] != identities[1]
    assert json.loads(service(net, one.provider)["additionalInfo"])["ProviderIdentity"] == "openrouter"


@pytest.mark.parametrize("stream", [False, True])
def test_a_separate_model_enclave_signs_under_the_answers_own_id(net, caller, tools, stream):
    one = caller("TeeML-separated")
    response = one.chat(stream=stream)
    assert "zg-res-key" not in response.headers
    document = tools.events(response)[0] if stream else response.json()
    signed = one.signature(document["id"]).json()
    assert signed["text"] == f"{tools.sha256(go_form(one.sent))}:{tools.sha256(response.content)}"
    record = service(net, one.provider)
    target = json.loads(record["additionalInfo"])["TargetTeeAddress"]
    assert tools.recover(signed["text"], signed["signature"]) == target == one.provider.response_signer
    assert target != record["teeSignerAddress"]
    assert one.signature(document["id"].removeprefix("chatcmpl-")).status_code == 400


@pytest.mark.parametrize("stream", [False, True])
def test_standard_providers_sign_nothing(net, caller, tools, stream):
    one = caller("standard")
    response = one.chat(stream=stream)
    assert response.status_code == 200
    assert "zg-res-key" not in response.headers
    document = tools.events(response)[0] if stream else response.json()
    for key in (document["id"], document["id"].removeprefix("chatcmpl-")):
        answer = one.signature(key)
        assert answer.status_code == 400
        assert answer.json()["error"].endswith("Chat id not found or expired, chat_id_not_found")
    record = service(net, one.provider)
    assert record["verifiability"] == "standard"
    assert len(one.provider.log) >= 1


def test_embeddings_are_signed_and_billed_by_prompt_tokens(net, caller, tools):
    one = caller("embedding")
    response = one.post(b'{"model":"e","input":["one two three","four"]}', path="/v1/proxy/embeddings")
    assert response.status_code == 200, response.text
    signed = one.signed(response)
    assert signed["text"] == f"{tools.sha256(one.sent)}:{tools.sha256(response.content)}"
    usage = response.json()["usage"]
    assert one.provider.log[-1].fee == usage["prompt_tokens"] * one.provider.prices[0]


@pytest.mark.parametrize("stream", [False, True])
def test_the_body_carries_the_key_behind_chatcmpl(caller, tools, stream):
    one = caller()
    response = one.chat(stream=stream)
    key = response.headers["zg-res-key"]
    documents = [e for e in tools.events(response) if isinstance(e, dict)] if stream else [response.json()]
    assert {document["id"] for document in documents} == {f"chatcmpl-{key}"}
    assert one.signature(key.upper()).status_code == 200, "the route lower-cases"
    assert one.signature(f"chatcmpl-{key}").status_code == 400


def test_every_answer_has_its_own_key(caller):
    one = caller()
    assert len({one.chat().headers["zg-res-key"] for _ in range(5)}) == 5


def test_response_headers_are_the_providers(caller):
    one = caller()
    response = one.chat()
    assert response.headers["provider"] == one.provider.address
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["access-control-expose-headers"] == "Provider,content-encoding,ZG-Res-Key"
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.content)
    assert "server" not in response.headers
    assert one.chat(stream=True).headers["content-type"].startswith("text/event-stream")


def test_a_stream_ends_with_usage_and_done(caller, tools):
    found = tools.events(caller().chat(stream=True))
    assert found[-1] == "[DONE]"
    assert found[-2]["choices"] == []
    assert set(found[-2]["usage"]) >= {"prompt_tokens", "completion_tokens", "total_tokens"}


def test_unusual_bytes_are_hashed_as_sent(caller, tools):
    one = caller()
    body = b'{\n  "messages" : [ {"role":"user", "content":"caf\\u00e9 <&>"} ],\t"model":"m-TeeML" }'
    response = one.post(body)
    assert one.signed(response)["text"].split(":")[0] == tools.sha256(body)


def test_a_stream_that_says_nothing_on_usage_is_rewritten_and_hashed_rewritten(caller, tools):
    one = caller()
    body = (
        b'{"stream":true,"model":"m-TeeML","messages":[{"role":"user","content":"1 < 2 & \xc3\xa9"}],"temperature":1.0}'
    )
    response = one.post(body)
    rewritten = (
        '{"messages":[{"content":"1 \\u003c 2 \\u0026 é","role":"user"}],"model":"m-TeeML","stream":true,'
        '"stream_options":{"include_usage":true},"temperature":1}'
    )
    assert one.signed(response)["text"].split(":")[0] == tools.sha256(rewritten.encode())
    assert "usage" in tools.events(response)[-2]


def test_an_adapter_answers_under_its_own_name(caller, tools):
    one = caller()
    adapter = one.provider.adapter
    assert adapter.startswith("ft-m-TeeML-")
    for stream in (False, True):
        response = one.chat(stream=stream, model=adapter)
        documents = [e for e in tools.events(response) if isinstance(e, dict)] if stream else [response.json()]
        assert {document["model"] for document in documents} == {adapter}
        forwarded = json.loads(one.sent) | {"model": "m-TeeML", "lora_adapter_name": adapter}
        expected = json.dumps(forwarded, sort_keys=True, separators=(",", ":")).encode()
        assert one.signed(response)["text"].split(":")[0] == tools.sha256(expected)
        assert one.provider.log[-1].model == adapter


def test_the_bill_is_the_usage_at_the_price_and_names_the_exchange(net, caller, tools):
    for kind in KINDS:
        one = caller(kind)
        for stream in (False, True):
            response = one.chat(stream=stream)
            usage = (tools.events(response)[-2] if stream else response.json())["usage"]
            entry = one.provider.log[-1]
            input_price, output_price = one.provider.prices
            assert entry.user == one.wallet.address
            assert entry.input_fee == usage["prompt_tokens"] * input_price
            assert entry.output_fee == usage["completion_tokens"] * output_price
            assert entry.response_sha256 == tools.sha256(response.content)
            assert entry.stream is stream
            assert entry.client_left is False
            if kind in ("TeeML", "TeeTLS"):
                assert entry.chat_id == response.headers["zg-res-key"]
            record = service(net, one.provider)
            assert (record["inputPrice"], record["outputPrice"]) == (input_price, output_price)


def test_a_refusal_of_the_model_is_passed_on_and_costs_nothing(caller):
    one = caller()
    before = len(one.provider.log)
    response = one.chat(max_tokens=-1)
    assert response.status_code == 400
    assert "max_tokens" in response.json()["error"]["message"]
    assert "zg-res-key" not in response.headers
    assert len(one.provider.log) == before


class Scripted:
    """An upstream with prepared answers."""

    def __init__(self, reply=None, events=(), error=None):
        self.reply, self.events, self.error = reply, events, error
        self.bodies = []

    async def complete(self, path, body):
        self.bodies.append((path, body))
        return self.reply

    async def stream(self, path, body):
        self.bodies.append((path, body))
        for event in self.events:
            yield event
        if self.error:
            raise self.error

    async def models(self):
        return []


@pytest.fixture(scope="module")
def scripted():
    upstream = Scripted()
    with LocalNet(providers=[ProviderSpec(model="s", upstream=upstream)]) as net:
        yield net, upstream


@pytest.fixture
def script(scripted, connect):
    net, upstream = scripted

    def prepare(**changes):
        upstream.__init__(**changes)
        return connect(net)

    prepare.upstream = upstream
    return prepare


def test_a_prepared_answer_is_forwarded_sanitised_and_signed(script, tools):
    one = script(
        reply=UpstreamReply(
            200, {}, b'{"id":"gen-1","provider":"x","n":1.50,"usage":{"prompt_tokens":3,"completion_tokens":4}}'
        )
    )
    response = one.chat()
    key = response.headers["zg-res-key"]
    assert response.content == (
        f'{{"id":"chatcmpl-{key}","n":1.50,"usage":{{"completion_tokens":4,"prompt_tokens":3}}}}'.encode()
    )
    assert one.signed(response)["text"].split(":")[1] == tools.sha256(response.content)
    assert script.upstream.bodies == [("/chat/completions", one.sent)]


def test_cached_tokens_are_billed_at_a_quarter(script):
    usage = b'{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":6}}'
    one = script(reply=UpstreamReply(200, {}, b'{"id":"x","usage":' + usage + b"}"))
    one.chat()
    entry, price = one.provider.log[-1], one.provider.prices[0]
    assert entry.input_fee == 4 * price + 6 * price // 4


@pytest.mark.parametrize(
    "text", ["context_length_exceeded", "BadRequestError: x", "This model's maximum context length is 3"]
)
def test_a_server_error_about_the_request_becomes_400(script, text):
    one = script(reply=UpstreamReply(503, {"content-type": "application/json"}, json.dumps({"error": text}).encode()))
    response = one.chat()
    assert (response.status_code, response.json()) == (400, {"error": text})


def test_other_server_errors_keep_their_status(script):
    one = script(reply=UpstreamReply(502, {"content-type": "text/plain"}, b"Bad Gateway"))
    response = one.chat()
    assert (response.status_code, response.text, response.headers["content-type"]) == (502, "Bad Gateway", "text/plain")


def test_a_stream_refused_at_once_is_plain_json(script):
    one = script(events=[UpstreamReply(429, {"content-type": "application/json"}, b'{"error":"slow"}')])
    response = one.chat(stream=True)
    assert (response.status_code, response.json()) == (429, {"error": "slow"})


def test_comment_lines_of_the_vendor_are_neither_sent_nor_hashed(script, tools):
    one = script(events=[b": PROCESSING\n\n", b'data: {"id":"1","choices":[]}\n\n', b"data: [DONE]\n\n"])
    response = one.chat(stream=True)
    key = response.headers["zg-res-key"]
    assert response.content == f'data: {{"choices":[],"id":"chatcmpl-{key}"}}\n\ndata: [DONE]\n\n'.encode()
    assert one.signed(response)["text"].split(":")[1] == tools.sha256(response.content)


def test_a_model_that_breaks_off_cuts_the_connection(script):
    import httpx2

    one = script(events=[b'data: {"id":"1","choices":[]}\n\n'], error=UpstreamBrokenError("gone"))
    with pytest.raises(httpx2.HTTPError):
        one.chat(stream=True)


def test_an_empty_stream_is_an_empty_signed_body(script, tools):
    one = script(events=[])
    response = one.chat(stream=True)
    assert response.content == b""
    assert one.signed(response)["text"].split(":")[1] == hashlib.sha256(b"").hexdigest()


def test_without_usage_the_words_are_billed(script):
    body = b'{"id":"x","choices":[{"message":{"content":"just four words here"}}]}'
    one = script(reply=UpstreamReply(200, {}, body))
    one.chat()
    assert (one.provider.log[-1].input_fee, one.provider.log[-1].output_fee) == (0, 4 * one.provider.prices[1])
    one = script(
        events=[
            b'data: {"choices":[{"delta":{"content":"two wor"}}]}\n\n',
            b'data: {"choices":[{"delta":{"content":"ds"}}]}\n\n',
        ]
    )
    one.chat(stream=True)
    assert one.provider.log[-1].output_fee == 2 * one.provider.prices[1]


def test_a_client_that_leaves_pays_for_the_whole_answer(net, connect, tools):
    import threading

    gate = threading.Event()

    class Slow(Scripted):
        async def stream(self, path, body):
            import asyncio

            yield b'data: {"id":"1","choices":[{"delta":{"content":"a"}}]}\n\n'
            await asyncio.to_thread(gate.wait, PATIENCE)
            yield b'data: {"id":"1","usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}\n\n'
            yield b"data: [DONE]\n\n"

    with LocalNet(providers=[ProviderSpec(model="slow", upstream=Slow())]) as slow:
        one = connect(slow)
        host, port = one.provider.url.removeprefix("http://").split(":")
        body = one.body(stream=True)
        with socket.create_connection((host, int(port))) as connection:
            head = (
                f"POST /v1/proxy/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                f"Authorization: {one.token()}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
            received = b""
            while b'"content":"a"' not in received:
                received += connection.recv(4096)
        key = received.split(b"zg-res-key: ")[1].split(b"\r\n")[0].decode()
        one.get("/v1/models")  # a further request: the loop has seen the closed socket by then
        gate.set()
        tools.until(lambda: one.provider.log)
        (entry,) = one.provider.log
        assert (entry.usage.prompt_tokens, entry.usage.completion_tokens, entry.client_left) == (5, 7, True)
        assert one.signature(key).status_code == 200
