"""The local Router over the wire: it chooses, rewrites, traces, charges and refuses as is documented."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from zg_core.localnet import LocalNet
from zg_core.localnet.provider.settings import standard_specs
from zg_core.localnet.router.faults import RouterFault, router_fault_meanings

CHAT = {"messages": [{"role": "user", "content": "Say: hello there"}]}


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    specs = [*standard_specs(5), *standard_specs(1, ["image"])]
    with LocalNet(providers=specs, router=True) as started:
        yield started


@pytest.fixture(autouse=True)
def behaved(net: LocalNet) -> Iterator[None]:
    net.router.set_balance(10 * 10**18)
    yield
    net.router.clear_faults()


def ask(net: LocalNet, path: str = "/chat/completions", key: str | None = None, **parts: Any) -> httpx2.Response:
    headers = parts.pop("headers", {}) | {"Authorization": f"Bearer {key or net.router.api_key}"}
    method = parts.pop("method", "POST")
    body = parts.pop("json", {"model": "local-chat-1", **CHAT, **parts})
    with httpx2.Client(trust_env=False) as client:
        return client.request(
            method, net.router.base_url + path, headers=headers, json=body if method == "POST" else None
        )


def read(net: LocalNet, path: str, key: str | None = None) -> Any:
    return ask(net, path, key or net.router.management_key, method="GET").json()


def test_an_answer_has_its_trace_and_its_charge(net: LocalNet) -> None:
    before = net.router.balance
    answer = ask(net)
    trace = answer.json()["x_0g_trace"]
    assert trace["provider"] == net.provider("local-chat-1").address == answer.headers["x-provider"]
    assert trace["request_id"] == answer.headers["x-request-id"] == net.router.history[-1]["request_id"]
    assert before - net.router.balance == int(trace["billing"]["total_cost"]) > 0
    assert "tee_verified" not in trace
    assert answer.headers["zg-res-key"]


def test_it_checks_the_signature_where_it_is_asked_to(net: LocalNet) -> None:
    assert ask(net, verify_tee=True).json()["x_0g_trace"]["tee_verified"] is True
    with net.router.fault(RouterFault.CLAIM_FAILED):
        assert ask(net, verify_tee=True).json()["x_0g_trace"]["tee_verified"] is False


@pytest.mark.parametrize("shape", ["bare", "empty", "null", "folded", "comment", "none"])
def test_the_trace_of_a_stream_has_six_shapes(net: LocalNet, shape: str) -> None:
    net.router.behave(trace=shape)
    text = ask(net, stream=True, stream_options={"include_usage": True}).text
    assert text.endswith("data: [DONE]\n\n")
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    traced = [event for event in events if "x_0g_trace" in event]
    assert len(traced) == (0 if shape in ("comment", "none") else 1)
    assert (": x_0g_trace" in text) is (shape == "comment")
    if shape == "folded":
        assert traced[0]["usage"]


@pytest.mark.parametrize(
    ("headers", "model", "provider"),
    [
        ({"X-0G-Provider-Trust-Mode": "verified"}, "local-chat-2", "local-chat-2"),
        ({"X-0G-Provider-Identity": "bailian"}, "local-chat-2", "local-chat-2"),
        ({"x-0g-provider-sort": "latency"}, "local-chat-3", "local-chat-3"),
    ],
)
def test_it_chooses_by_its_headers(net: LocalNet, headers: dict[str, str], model: str, provider: str) -> None:
    assert (
        ask(net, json={"model": model, **CHAT}, headers=headers).headers["x-provider"] == net.provider(provider).address
    )


@pytest.mark.parametrize(
    ("headers", "model", "status", "code"),
    [
        ({"X-0G-Provider-Trust-Mode": "standard"}, "local-chat-1", 400, "invalid_trust_mode"),
        ({"X-0G-Provider-Sort": "cheap"}, "local-chat-1", 400, "invalid_provider_header"),
        ({"X-0G-Provider-Allow-Fallbacks": "True"}, "local-chat-1", 400, "invalid_provider_header"),
        ({"X-0G-Provider-Max-Price-Usd-Prompt": "0.000000001"}, "local-chat-1", 400, "no_provider_within_max_price"),
        ({"X-0G-Provider-Max-Price-Usd-Prompt": "x"}, "local-chat-1", 400, "invalid_max_price_usd"),
        ({"X-0G-Provider-Trust-Mode": "private"}, "local-chat-2", 503, "no_provider_for_trust_mode"),
        ({"X-0G-Provider-Trust-Mode": "verified"}, "local-chat-4", 503, "no_provider_for_trust_mode"),
        ({}, "nobody's", 404, "model_not_found"),
    ],
)
def test_it_refuses_in_its_own_form(net: LocalNet, headers: dict[str, str], model: str, status: int, code: str) -> None:
    answer = ask(net, json={"model": model, **CHAT}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_who_may_ask_for_what(net: LocalNet) -> None:
    wrong = [("sk-nobody", 401), (net.router.management_key, 403)]
    assert [ask(net, key=key).status_code for key, _ in wrong] == [status for _, status in wrong]
    assert ask(net, "/account/balance", method="GET").status_code == 403
    net.router.set_balance(0)
    assert ask(net).status_code == 402
    pinned = net.router.new_key(trust_mode="private")
    answer = ask(net, json={"model": "local-chat-2", **CHAT}, key=pinned)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_provider_for_trust_mode")


def test_a_minute_has_its_limit(net: LocalNet) -> None:
    net.router.behave(requests_per_minute=2)
    assert [ask(net).status_code for _ in range(3)] == [200, 200, 429]


def test_it_goes_on_to_the_next_provider(net: LocalNet) -> None:
    with net.provider("local-chat-1").fault("unavailable"):
        assert ask(net).json()["error"]["code"] == "provider_error"
    assert ask(net).status_code == 200


def test_what_there_is_is_listed_without_a_key(net: LocalNet) -> None:
    assert {row["id"] for row in read(net, "/models")["data"]} >= {"local-chat-1", "local-embed-1", "local-image-1"}
    (row,) = read(net, "/providers?canonical_id=local-chat-2")["data"]
    assert (row["trust_mode"], row["verifiability"]) == ("verified", "TeeTLS")
    assert "url" not in row
    assert {row["type"] for row in read(net, "/service-types")["data"]} == {"chatbot", "embedding", "text-to-image"}


def test_the_account_and_its_keys(net: LocalNet) -> None:
    ask(net)
    assert int(read(net, "/account/balance")["total_balance"]) == net.router.balance
    assert read(net, "/account/usage/history?limit=1")["data"][0]["request_id"] == net.router.history[-1]["request_id"]
    mk = net.router.management_key
    made = ask(net, "/api-keys", mk, json={"name": "one", "trust_mode": "private"}).json()
    assert made["key"].startswith("sk-")
    assert ask(net, "/api-keys", mk, json={"name": "one"}).status_code == 409
    assert ask(net, f"/api-keys/{made['key_id']}", mk, method="DELETE").status_code == 204
    assert ask(net, key=made["key"]).json()["error"]["code"] == "api_key_revoked"


def test_a_preview_names_candidates_unless_it_is_not_enabled(net: LocalNet) -> None:
    (row,) = ask(net, "/routing/preview", service_type="chatbot").json()["providers"]
    assert (row["address"], row["canonical_id"]) == (net.provider("local-chat-1").address, "local-chat-1")
    net.router.behave(previews=False)
    assert ask(net, "/routing/preview").status_code == 404


def test_embeddings_and_images_pass(net: LocalNet) -> None:
    answer = ask(net, "/embeddings", json={"model": "local-embed-1", "input": ["a"]})
    assert answer.json()["data"]
    answer = ask(
        net, "/images/generations", json={"model": "local-image-1", "prompt": "a fox", "response_format": "b64_json"}
    )
    assert answer.json()["data"][0]["b64_json"]


def test_everything_that_passes_is_kept(net: LocalNet) -> None:
    net.router.forget()
    ask(net)
    passed = b"".join(net.router.seen)
    assert b"Say: hello there" in passed
    assert b'"choices"' in passed


def test_every_fault_has_its_words() -> None:
    assert set(router_fault_meanings()) == {fault.value for fault in RouterFault}


def test_a_network_without_one_says_so() -> None:
    with pytest.raises(RuntimeError, match="router=True"):
        _ = LocalNet().router
