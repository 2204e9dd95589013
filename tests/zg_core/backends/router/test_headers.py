"""What is asked of the Router: in headers that it documents, with the values that it takes."""

from __future__ import annotations

from typing import Any

import pytest

from zg_core.backends.router.headers import Wishes, routing_headers, wishes_of
from zg_core.errors import ConfigError
from zg_core.money import og
from zg_core.routing.routing import Routing

PROVIDER = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"


def test_by_default_an_enclave_is_asked_for_and_nothing_else() -> None:
    assert routing_headers(Wishes()) == {"X-0G-Provider-Trust-Mode": "verified"}
    assert routing_headers(Wishes(trust_mode=None)) == {}


def test_every_wish_has_its_header() -> None:
    wishes = Wishes("private", "latency", PROVIDER.lower(), "aliyun", False, True, ("0.50", "2"))
    assert routing_headers(wishes) == {
        "X-0G-Provider-Trust-Mode": "private",
        "X-0G-Provider-Sort": "latency",
        "X-0G-Provider-Address": PROVIDER,
        "X-0G-Provider-Identity": "aliyun",
        "X-0G-Provider-Allow-Fallbacks": "false",
        "X-0G-Provider-Require-Parameters": "true",
        "X-0G-Provider-Max-Price-Usd-Prompt": "0.50",
        "X-0G-Provider-Max-Price-Usd-Completion": "2",
    }


def test_a_sealed_request_goes_to_one_enclave_under_both_names_of_the_switch() -> None:
    headers = routing_headers(Wishes(provider=PROVIDER, fallbacks=True), sealed=True)
    assert (headers["X-0G-Provider-Allow-Fallbacks"], headers["X-0G-Allow-Fallbacks"]) == ("false", "false")


@pytest.mark.parametrize(
    ("routing", "header", "value"),
    [
        (Routing(sort="latency"), "Sort", "latency"),
        (Routing(), "Sort", "price"),
        (Routing(kinds=["TeeML"]), "Trust-Mode", "private"),
        (Routing(kinds=["TeeML", "TeeTLS"]), "Trust-Mode", "verified"),
        (Routing(require={"tools"}), "Require-Parameters", "true"),
        (Routing(allow=[PROVIDER]), "Address", PROVIDER),
    ],
)
def test_routing_is_said_in_headers(routing: Routing, header: str, value: str) -> None:
    assert routing_headers(wishes_of(Wishes(), routing))[f"X-0G-Provider-{header}"] == value


@pytest.mark.parametrize(
    ("wishes", "routing", "provider"),
    [
        (Wishes(), Routing(sort="throughput"), None),
        (Wishes(), Routing(max_price=og("1")), None),
        (Wishes(), Routing(kinds=["standard"]), None),
        (Wishes(), Routing(allow=[PROVIDER, "0x" + "12" * 20]), None),
        (Wishes(), Routing(deny=[PROVIDER]), None),
        (Wishes(), Routing(allow=[PROVIDER]), "0x" + "12" * 20),
    ],
)
def test_what_the_router_has_no_words_for_is_refused(wishes: Wishes, routing: Routing, provider: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        wishes_of(wishes, routing, provider)
    assert caught.value.code == "bad_routing"


@pytest.mark.parametrize(
    "wrong",
    [
        {"trust_mode": "standard"},  # it is no longer taken everywhere, and would ask for less than nothing
        {"sort": "throughput"},
        {"provider": "0x12"},
        {"identity": "two words"},
        {"identity": "a\r\nX-Evil: 1"},
        {"fallbacks": "true"},
        {"max_price_usd": "-1"},
        {"max_price_usd": "NaN"},
        {"max_price_usd": 0.5},
        {"max_price_usd": ("1",)},
    ],
)
def test_a_malformed_wish_is_refused_where_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Wishes(**wrong)
