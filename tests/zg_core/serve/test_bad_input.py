"""What bad input gets: OpenAI-shaped errors with our code and hint, and nothing sent where nothing need be."""

from __future__ import annotations

import socket
from typing import Any

import openai
import pytest

from tests.zg_core.serve.serving import ANSWER, QUESTION, TOKEN, Running, running, settings_of
from zg_core.localnet import LocalNet, LocalProvider
from zg_core.money import Amount
from zg_core.serve.settings import Allowance

GOOD = {"model": "chat-ml", **QUESTION}


def client_of(server: Running, key: str = TOKEN, **more: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base, api_key=key, max_retries=0, **more)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_request_body"),
        (b"[]", 400, "bad_request_body"),
        (b"", 400, "bad_request_body"),
        (b"\xff\xfe", 400, "bad_request_body"),
        (b"[" * 100_000, 400, "bad_request_body"),
        (b'{"model":"chat-ml","model":"chat-tls","messages":[]}', 400, "bad_request_body"),
        (b'{"model":"chat-ml","Max_Tokens":9,"messages":[]}', 400, "bad_request_body"),
        (b'{"model":7,"messages":[]}', 400, "bad_request_body"),
        (b'{"model":"chat-ml","stream":"yes","messages":[]}', 400, "bad_request_body"),
        (b'{"model":"chat-ml","private_key":"0x","messages":[]}', 400, "setting_in_request"),
        (b'{"model":"no\\r\\nX-Evil: 1","messages":[]}', 404, "model_not_served"),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else str(value),
)
def test_a_body_that_is_no_request_is_refused_before_anything_is_sent(
    served: Running, body: bytes, status: int, code: str
) -> None:
    before = len(served.server.seen.after(0))
    got = served.chat(body)
    assert (got.status, got.error["code"]) == (status, code)
    assert got.error["hint"]
    assert got.error["message"].endswith(f"(hint: {got.error['hint']})")
    assert "x-evil" not in got.headers
    assert got.headers["x-content-type-options"] == "nosniff"
    assert len(served.server.seen.after(0)) == before


@pytest.mark.parametrize("told", [True, False], ids=["content-length", "chunked"])
def test_a_body_of_60_mb_is_an_error_that_the_official_client_raises(served: Running, told: bool) -> None:
    with client_of(served) as client, pytest.raises(openai.APIStatusError) as refused:
        if told:
            client.chat.completions.create(model="chat-ml", messages=[{"role": "user", "content": "x" * 60_000_000}])
        else:
            parts = (b"x" * 1_000_000 for _ in range(60))
            client.post("/chat/completions", content=parts, cast_to=object)
    assert refused.value.status_code == 413
    assert refused.value.code == "body_too_large"


@pytest.mark.parametrize(
    ("shown", "said"),
    [("", "no token"), ("Bearer wrong", "opens nothing"), (f"Basic {TOKEN}", "no token"), ("Bearer", "no token")],
)
def test_a_wrong_token_opens_nothing_but_health(served: Running, shown: str, said: str) -> None:
    for path in ("/v1/models", "/metrics", "/nothing"):
        got = served.get(path, Authorization=shown)
        assert (got.status, got.error["code"]) == (401, "bad_token")
        assert said in got.error["message"]
    assert served.chat(GOOD, Authorization=shown).status == 401
    assert served.get("/health", Authorization=shown).json == {"status": "ok"}


def test_official_clients_raise_their_own_classes(served: Running, provider: LocalProvider) -> None:
    with client_of(served, "wrong-token-of-nobody") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    with client_of(served) as client:
        with pytest.raises(openai.NotFoundError) as missing:
            client.chat.completions.create(**{**GOOD, "model": "gpt-4o"})
        assert missing.value.code == "model_not_served"
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(**GOOD, extra_body={"private_key": "0x"})
        provider.fault("rate_limited", times=9)
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**GOOD)
        provider.clear_faults()
        provider.fault("body_changed")
        with pytest.raises(openai.APIStatusError) as lied:
            client.chat.completions.create(**GOOD)
        assert (lied.value.status_code, lied.value.code) == (424, "content_mismatch")
        provider.fault("body_changed")
        with pytest.raises(openai.APIError, match="do not trust") as streamed:
            list(client.chat.completions.create(**GOOD, stream=True))
        assert streamed.value.code == "content_mismatch"


def test_what_may_have_been_billed_is_not_repeated_by_the_official_client(
    served: Running, provider: LocalProvider
) -> None:
    provider.fault("cut_before_first_byte", times=9)
    before = len(served.server.seen.after(0))
    client = openai.OpenAI(base_url=served.base, api_key=TOKEN, max_retries=3)
    with client, pytest.raises(openai.APIStatusError) as lost:
        client.chat.completions.create(**GOOD)
    assert (lost.value.status_code, lost.value.code) == (424, "connection_lost")
    (only,) = served.server.seen.after(0)[before:]
    assert only.receipt.outcome == "unknown"
    assert lost.value.body["zerog"]["receipt"] == only.receipt.id


def test_a_provider_that_is_down_is_503(reach: dict[str, Any], net: LocalNet) -> None:
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    down = {**reach, "max_retries": 0, "rpc_url": f"http://127.0.0.1:{free.getsockname()[1]}"}
    with running(settings_of(down)) as server:
        got = server.chat(GOOD)
    free.close()
    assert (got.status, got.error["code"]) == (503, "rpc_unavailable")
    assert got.headers["x-should-retry"] == "true"


def test_a_budget_that_is_used_up_is_429_and_is_not_asked_again(reach: dict[str, Any]) -> None:
    with running(settings_of(reach, budget=(Allowance(Amount(1), "call"),))) as server:
        got = server.chat(GOOD)
        assert (got.status, got.error["code"], got.error["type"]) == (429, "budget_exceeded", "insufficient_quota")
        assert got.headers["x-should-retry"] == "false"
        with client_of(server) as client, pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**GOOD)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_and_paths_are_refused(served: Running, method: str) -> None:
    assert served.request(method, "/v1/chat/completions", None).status == 405
    assert served.request(method, "/v1/files", None).status == 404


def test_an_upstream_cannot_write_our_headers(served: Running, provider: LocalProvider) -> None:
    got = served.chat(GOOD)
    assert got.json["choices"][0]["message"]["content"] == ANSWER
    ours = {"x-zerog-receipt", "x-zerog-verdict", "x-zerog-provider", "x-zerog-model", "x-zerog-chat-id"}
    ours |= {"x-zerog-fee", "x-zerog-fee-exact", "x-zerog-fee-unit", "zg-res-key", "content-type", "content-length"}
    ours |= {"x-content-type-options", "content-security-policy", "cache-control", "referrer-policy", "date"}
    assert set(got.headers) == ours


def test_a_name_that_no_model_has_is_not_kept(served: Running) -> None:
    kept = set(served.server.clients._kept)
    got = served.chat({"model": "x" * 1_000_000, **QUESTION})
    assert (got.status, got.error["code"]) == (404, "model_not_served")
    assert len(got.body) < 1000
    assert set(served.server.clients._kept) == kept
