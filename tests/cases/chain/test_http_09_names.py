"""Names that do not exist, IPv6 literals, and URL forms of providers and RPC endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases.chain.field import CALLS, Connection, Expectations, FieldServer, answer, attempt, ours, short
from zg_core.config import check_url

NAMES = [
    "http://nosuch.invalid/",
    "http://" + "a" * 70 + ".test/",
    "http://a..b/",
    "http://under_score.invalid/",
    "http://1.2.3.4.5.6/",
    "http://0x7f.1:{port}/",
]
FORMS = [
    "https://provider.example/",
    "https://provider.example///",
    "https://provider.example/base/",
    "https://provider.example:443",
    "https://provider.example?x=1",
    "https://provider.example/#f",
    "https://\u043f\u0440\u0438\u043c\u0435\u0440.example",
    "https://xn--e1afmkfd.example",
    "https://provider.example/v1/proxy",
    "provider.example",
    "//provider.example",
    "wss://provider.example",
    "ipc:///tmp/x",
    "https://user:pw@provider.example",
    "https://provider.example:99999",
    "https://provider.example:0",
    " https://provider.example",
    "https://provider.example\n",
    "https://[::1",
    "http://127.0.0.2:1",
    "http://[::ffff:127.0.0.1]:1",
    "http://localhost.:1",
    "http://0.0.0.0:1",
]


def echo(connection: Connection) -> None:
    while (got := connection.request()) is not None:
        connection.send(answer(got[0]))


@pytest.mark.parametrize("calls", CALLS)
@pytest.mark.parametrize("url", NAMES)
def test_a_name_that_is_none_is_our_error(calls: Any, url: str, expect: Expectations) -> None:
    with FieldServer(echo) as server:
        (result,) = calls(url.format(port=server.port), connect=60, read=60)
    expect("our error or an answer", not isinstance(result, Exception) or ours(result), short(result))


@pytest.mark.parametrize("calls", CALLS)
def test_an_ipv6_literal_is_called_and_named(calls: Any, expect: Expectations) -> None:
    with FieldServer(echo, host="::1") as server:
        (result,) = calls(f"http://[::1]:{server.port}/v1/x")
    expect("answered", not isinstance(result, Exception) and result[0] == 200, short(result))
    lines = [] if isinstance(result, Exception) else result[1].split(b"\r\n")
    host = [line for line in lines if line.lower().startswith(b"host")]
    expect("the Host header keeps the brackets", host == [b"Host: [::1]:%d" % server.port], host)


@pytest.mark.parametrize("url", FORMS)
def test_every_form_of_a_url_is_taken_or_refused_in_our_words(url: str, expect: Expectations) -> None:
    taken, error = attempt(lambda: check_url(url, "the URL"))
    expect("taken, or our error", error is None or ours(error), error or taken)


def test_a_query_is_refused_where_a_path_is_appended_to_it(expect: Expectations) -> None:
    taken, error = attempt(lambda: check_url("https://provider.example?x=1", "u"))
    expect("…?x=1/v1/proxy goes elsewhere", error is not None, taken)
