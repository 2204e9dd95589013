"""What comes from the signature route when a gateway answers, or a newer or older broker (phala-docs#74, AutoGPT#944).

``failed`` must be evidence of a lie: an honest, paid reply is not accused because of a maintenance page.
"""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from tests.cases.chain.field import Expectations, answer, attempt, network_of, told
from tests.cases.chain.gateway import Gateway, behind
from zg_core import ChatClient, Wallet
from zg_core.localnet import LocalNet

HTML = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"
STRANGER = Wallet.from_key("0x" + "77" * 32)
Make = Callable[[bytes, list[int]], bytes | None]
"""What is sent instead of a document; the list counts how often it was asked for."""


def js(body: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(body), **changes}).encode()


def signature(body: bytes) -> str:
    return str(json.loads(body)["signature"])


def first(times: int, instead: bytes) -> Make:
    return lambda _, count: instead if len(count) <= times else None


CASES: list[tuple[str, Make, str]] = [
    ("as it is", lambda _b, _n: None, "verified"),
    ("HTML page with 200", lambda _b, _n: answer(HTML, Content_Type="text/html"), "unavailable"),
    ("HTML page with 403", lambda _b, _n: answer(HTML, "403 Forbidden", Server="cloudflare"), "unavailable"),
    ("HTML page with 502", lambda _b, _n: answer(HTML, "502 Bad Gateway"), "unavailable"),
    ("429 once", first(1, answer(b"slow down", "429 Too Many Requests", Retry_After="0")), "verified"),
    ("429 always", lambda _b, _n: answer(b"slow down", "429 Too Many Requests"), "unavailable"),
    ("401", lambda _b, _n: answer(b'{"error":"unauthorized"}', "401 Unauthorized"), "unavailable"),
    ("empty 200", lambda _b, _n: answer(b""), "unavailable"),
    ("204", lambda _b, _n: b"HTTP/1.1 204 No Content\r\n\r\n", "unavailable"),
    ("null", lambda _b, _n: answer(b"null"), "unavailable"),
    ("error object with 200", lambda _b, _n: answer(b'{"error":{"message":"restarting"}}'), "unavailable"),
    ("cut JSON", lambda b, _n: answer(b[: len(b) // 2]), "unavailable"),
    ("404 for 1 s, then there", first(3, answer(b'{"error":"not found"}', "404 Not Found")), "verified"),
    ("gzip'd though unasked", lambda b, _n: answer(gzip.compress(b), Content_Encoding="gzip"), "verified"),
    ("br", lambda _b, _n: answer(b"\x0b\x02\x80abc\x03", Content_Encoding="br"), "unavailable"),
    ("308 to itself with a slash", lambda _b, _n: answer(b"", "308 Permanent Redirect", Location="/x/"), "unavailable"),
    ("BOM before JSON", lambda b, _n: answer(b"\xef\xbb\xbf" + b), "verified"),
    ("further fields", lambda b, _n: answer(js(b, signing_algo="ecdsa", version=2, extra={"a": [1]})), "verified"),
    ("signature in capitals", lambda b, _n: answer(js(b, signature="0x" + signature(b)[2:].upper())), "verified"),
    (
        "another key's signature",
        lambda b, _n: answer(js(b, signature=STRANGER.sign_personal(json.loads(b)["text"].encode()))),
        "failed",
    ),
    ("2 MB of spaces before it", lambda b, _n: answer(b" " * 2_000_000 + b), "unavailable"),
]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """As often as ever, without the pauses between."""
    monkeypatch.setattr("zg_core.backends.direct.backend.SIGNATURE_DELAYS", (0.0, *[0.001] * 5))


@pytest.mark.parametrize(("name", "make", "wanted"), CASES, ids=[case[0] for case in CASES])
def test_what_a_signature_route_says(name: str, make: Make, wanted: str, net: LocalNet, expect: Expectations) -> None:
    asked: list[int] = []

    def alter(_method: str, path: str, status: int, _headers: dict[str, str], body: bytes) -> bytes | None:
        if "/signature/" not in path or status != 200:
            return None
        asked.append(status)
        return make(body, asked)

    with Gateway(net.providers[0].url, alter) as gateway, behind(net, gateway) as node:
        options: dict[str, Any] = {"provider": net.providers[0].address, "private_key": net.wallet.private_key}
        options |= {"network": network_of(net, node.url), "verify": "warn", "limits": None, "environ": {}}
        with warnings.catch_warnings(), ChatClient(**options) as client:
            warnings.simplefilter("ignore")
            reply, error = attempt(lambda: client.create({"messages": [{"role": "user", "content": f"Hello {name}"}]}))
    receipt = reply.receipt if error is None else getattr(error, "receipt", None)
    got = str(receipt.verdict.status) if receipt else "none"
    seen = f"{got} ({receipt.verdict.reason if receipt else ''}) {error and told(error)}"
    expect(f"{name}: {wanted}", got == wanted and (error is None) == (wanted != "failed"), seen)
