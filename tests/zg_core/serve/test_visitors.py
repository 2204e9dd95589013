"""Web pages in the developer's browser: foreign origins, and names of theirs that lead here."""

from __future__ import annotations

import pytest

from tests.zg_core.serve.serving import QUESTION, Running
from zg_core.serve.visitors import objection

GOOD = {"model": "chat-ml", **QUESTION}
HERE = [(b"host", b"127.0.0.1:3000")]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},  # another page of this machine is a foreign page
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:3000"},
        {"Host": "evil.example@127.0.0.1"},
        {"Host": "169.254.1.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/health", "/"])
def test_a_foreign_page_is_refused_even_with_the_token(served: Running, headers: dict[str, str], path: str) -> None:
    before = len(served.server.seen.after(0))
    method = "POST" if "chat" in path else "GET"
    got = served.request(method, path, b"{}" if method == "POST" else None, **headers)
    assert (got.status, got.error["code"]) == (403, "foreign_page")
    assert not any(name.startswith("access-control-") for name in got.headers)
    assert len(served.server.seen.after(0)) == before


def test_its_own_page_and_programs_are_answered(served: Running) -> None:
    assert served.get("/v1/models", Origin=served.url).status == 200
    assert served.get("/v1/models", Sec_Fetch_Site="same-origin").status == 200
    assert served.get("/v1/models", Host=f"localhost:{served.port}").status == 200
    assert served.get("/v1/models", Host=f"[::1]:{served.port}").status == 200


@pytest.mark.parametrize("host", [b"", b"a b", b"127.0.0.1/x", b"127.0.0.1?x", b"127.0.0.1:port", b"[::1", b"u@::1"])
def test_a_host_that_is_none_is_refused(host: bytes) -> None:
    assert objection([(b"host", host)])


def test_two_hosts_or_none_are_refused() -> None:
    assert objection(HERE * 2)
    assert objection([])


def test_a_server_that_listens_beyond_is_asked_by_addresses_and_given_names_only() -> None:
    assert not objection([(b"host", b"192.168.0.7:3000")], beyond=True)
    assert not objection([(b"host", b"llm.team.example")], names={"llm.team.example"}, beyond=True)
    assert objection([(b"host", b"other.example")], names={"llm.team.example"}, beyond=True)
    assert objection([(b"host", b"192.168.0.7:3000"), (b"origin", b"http://192.168.0.8:3000")], beyond=True)
