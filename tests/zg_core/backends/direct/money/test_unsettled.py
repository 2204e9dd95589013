"""What a provider says it has not charged yet: read with care, with a token that clocks cannot spoil."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tests.moments import instead
from zg_core import ProviderUnavailable, Wallet
from zg_core.backends.direct.money.unsettled import unsettled_fee
from zg_core.backends.direct.session import read_token
from zg_core.http.transport import SyncTransport, run
from zg_core.types import ServiceRecord

PROVIDER = "0xa48f01287233509FD694a22Bf840225062E67836"
WALLET = Wallet.from_key("0x" + "11" * 32)


def ask(url: str) -> int:
    service = ServiceRecord(PROVIDER, "chatbot", url, 1, 1, 0, "m", "TeeML", "", PROVIDER, True, private=True)
    return run(unsettled_fee(SyncTransport(), WALLET, service, 3))


def answer(body: Any, status: str = "200 OK", *headers: str) -> list[list[bytes]]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(raw)}", "Connection: close", *headers]
    return [["\r\n".join([*lines, "", ""]).encode() + raw]]


@pytest.mark.parametrize("fee", [0, 5, "17", 2**127, str(2**127)])
def test_a_number_is_a_number(server, fee):
    server.script = answer({"unsettledFee": fee})
    assert ask(server.url) == int(fee)
    claims = read_token(server.received[0].headers["authorization"])
    assert (claims.provider, claims.generation, claims.address) == (PROVIDER, 3, WALLET.address)


@pytest.mark.parametrize(
    "fee",
    [
        -1,
        1.5,
        1e30,
        True,
        None,
        [],
        {},
        "",
        "-5",
        "1.5",
        "1e9",
        " 5",
        "5\n",
        "0x10",
        "\u0661",
        "9" * 40,
        2**128,
        10**38 * 4,
        "x",
    ],
)
def test_what_cannot_be_is_refused(server, fee):
    server.script = answer({"unsettledFee": fee})
    with pytest.raises(ProviderUnavailable) as caught:
        ask(server.url)
    assert (caught.value.code, caught.value.retryable) == ("absurd_fee", False)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"null", b"[]", b"5", b"{}", b'{"unsettledFee"', b'{"unsettledFee":' + b"9" * 5000 + b"}"]
)
def test_what_is_no_answer_says_nothing(server, body):
    server.script = answer(body)
    with pytest.raises(ProviderUnavailable) as caught:
        ask(server.url)
    assert caught.value.code in ("provider_unavailable", "absurd_fee")


def test_a_refusal_is_told_in_the_providers_words(server):
    server.script = answer({"error": "the book is closed"}, "500 Oops")
    with pytest.raises(ProviderUnavailable, match="HTTP 500: the book is closed") as caught:
        ask(server.url)
    assert caught.value.retryable


class TestClocks:
    @pytest.mark.parametrize("minutes", [-90, -10, 10, 90])
    def test_may_differ_by_two_hours(
        self, net: Any, wallet: Any, minutes: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A real provider, which judges the token by its own clock (0g-direct §3.2)."""
        there = net.clock.now()
        now = int((there + 60 * minutes) * 10**9)
        instead(monkeypatch, "zg_core.backends.direct.money.unsettled.time", time_ns=lambda: now)
        provider = net.providers[0]
        service = ServiceRecord(
            provider.address, "chatbot", provider.url, 1, 1, 0, "m", "TeeML", "", PROVIDER, True, private=True
        )
        fee = run(unsettled_fee(SyncTransport(), Wallet.from_key(wallet.private_key), service, 0))
        assert fee == provider.unsettled(wallet.address)

    @pytest.mark.parametrize(("hours", "said"), [(3, "180 minutes ahead of"), (-3, "180 minutes behind")])
    def test_that_differ_by_more_are_named(self, server: Any, hours: int, said: str) -> None:
        there = format_datetime(datetime.now(UTC) + timedelta(hours=hours), usegmt=True)
        expired = {"error": "validate session: session token expired"}
        server.script = answer(expired, "400 Bad Request", f"Date: {there}")
        with pytest.raises(ProviderUnavailable, match=said) as caught:
            ask(server.url)
        assert (caught.value.code, caught.value.retryable) == ("clock_skew", False)
        assert "date -u" in caught.value.hint

    def test_a_provider_that_tells_no_time_is_only_told_to_be_off(self, server: Any) -> None:
        server.script = answer({"error": "session token expired"}, "401 Unauthorized", "Date: junk")
        with pytest.raises(ProviderUnavailable, match="signed this second for expired") as caught:
            ask(server.url)
        assert "minutes" not in caught.value.message
