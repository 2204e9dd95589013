"""``zerog providers``."""

from __future__ import annotations

import http.server
import threading

import pytest


def models(document):
    return [each["model"] for each in document["providers"]]


def test_providers_are_listed_the_strongest_first_without_a_wallet(nobody, market, provider):
    ran = nobody("providers")
    assert ran.out.index("chat-ml") < ran.out.index("chat-tls") < ran.out.index("chat-standard"), str(ran)
    for words in (provider, "TeeTLS", "0.1 0G/1M tokens", "0.4 0G/1M tokens", "declared"):
        assert words in ran.out, str(ran)
    assert "1 not acknowledged by the contract owner" in ran.err
    assert "chat-unacknowledged" not in ran.out


def test_the_document_holds_what_the_chain_says(nobody, market, provider):
    document = nobody.json("providers")
    assert document["chain_id"] == 31337
    assert document["on_chain"] == 4
    first = document["providers"][0]
    assert first["provider"] == provider
    assert first["url"] == market.providers[0].url
    assert first["tee_signer"] == market.providers[0].tee_signer
    assert first["output_price"] == {"amount": "0.0000004", "currency": "0G", "neuron": "400000000000"}
    assert [each["prompt"] for each in document["providers"]] == ["declared", "vendor", "open"]
    assert "health" not in first


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model", "ML"], ["chat-ml"]),
        (["--kind", "teetls"], ["chat-tls"]),
        (["--kind", "TeeTLS", "--kind", "standard"], ["chat-tls", "chat-standard"]),
        (["--max-price", "0.15"], ["chat-tls"]),
        (["--max-price", "0.1499"], []),
        (["--all", "--model", "unack"], ["chat-unacknowledged"]),
        (["--model", "nothing-like-it"], []),
    ],
    ids=" ".join,
)
def test_a_filter_leaves_what_fits(nobody, words, expected):
    assert models(nobody.json("providers", *words)) == expected
    assert all(model in nobody("providers", *words).out for model in expected)


def test_all_says_who_is_not_acknowledged(nobody):
    ran = nobody("providers", "--all")
    assert "acknowledged" in ran.out.splitlines()[0]
    line = next(line for line in ran.out.splitlines() if "chat-unacknowledged" in line)
    assert line.rstrip().endswith("no")


def test_health_comes_from_the_status_service(nobody, market):
    document = nobody.json("providers", "--health", "--status-url", market.status_url)
    assert {each["health"] for each in document["providers"]} == {"healthy"}
    assert document["warnings"] == []
    assert "healthy" in nobody("providers", "--health", ZEROG_STATUS_URL=market.status_url).out


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1", "not a url"], ids=["none", "down", "malformed"])
def test_a_missing_status_service_is_a_warning(nobody, url):
    document = nobody.json("providers", "--health", ZEROG_STATUS_URL=url)
    assert {each["health"] for each in document["providers"]} == {"unknown"}
    assert len(document["warnings"]) == 1
    assert document["warnings"][0].startswith("health is unknown: ")
    assert "warning: health is unknown: " in nobody("providers", "--health", ZEROG_STATUS_URL=url).err


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"services": 1}', b'{"services": [1, {"status": "x"}]}'])
def test_junk_of_a_status_service_harms_nobody(nobody, body):
    class Junk(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Be quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Junk)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        document = nobody.json("providers", "--health", "--status-url", f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert {each["health"] for each in document["providers"]} == {"unknown"}


@pytest.mark.parametrize("words", [["--kind", "TeeXL"], ["--max-price", "cheap"], ["--max-price", "0"]], ids=" ".join)
def test_a_malformed_filter_is_a_usage_error(nobody, words):
    error = nobody.fails("providers", *words, code=2)
    assert error["code"] == "usage"
    assert words[0] in error["message"]


def test_a_provider_says_what_it_serves(nobody, market, provider):
    (model,) = nobody.json("models", provider)["models"]
    assert model["model"] == "chat-ml"
    assert model["context_window"] > 0
    assert "tools" in model["parameters"]
    said = nobody("models", provider)
    assert "chat-ml" in said.out
    assert str(model["context_window"]) in said.out
