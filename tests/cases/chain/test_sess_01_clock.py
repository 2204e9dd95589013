"""The user's clock is hours off the provider's: sessions of a wallet, and API keys that were made elsewhere.

koala73/worldmonitor#5932 (fast clock), croct-tech/cli#15, angular-oauth2-oidc#1135 (endless renewals), dragon6-api#223.
The local provider checks the expiry by its own clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cases.chain.field import Expectations, attempt, network_of, told
from zg_core import ApiKeys, Broker, ChatClient
from zg_core.backends.direct import credentials
from zg_core.localnet import LocalNet

HOURS = [-49, -25, -23.5, -2, -0.02, 0.02, 2, 23, 25, 49]
QUESTION = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet(providers=1) as network:
        yield network


@pytest.fixture
def key(net: LocalNet) -> str:
    """The private key of a wallet that has paid nothing yet."""
    wallet = net.new_wallet()
    net.open_account(wallet, net.providers[0])
    return wallet.private_key


@pytest.fixture
def shift(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def by(hours: float) -> None:
        monkeypatch.setattr(credentials, "_now_ms", lambda: (time.time_ns() + int(hours * 3600e9)) // 1_000_000)

    return by


@pytest.mark.parametrize("hours", HOURS)
def test_a_wallets_session(hours: float, net: LocalNet, key: str, shift: Any, expect: Expectations) -> None:
    shift(hours)
    place: dict[str, Any] = {"network": network_of(net), "verify": "require", "limits": None, "environ": {}}
    with ChatClient(provider=net.providers[0].address, private_key=key, max_retries=2, **place) as client:
        errors = [attempt(lambda: client.create(QUESTION))[1] for _ in range(2)]
    if hours < -24:
        error = errors[0]
        met = error is not None and "clock" in str(error).lower()
        expect(f"{hours:+} h: refused, the message points to the system clock", met, error and told(error))
        expect(f"{hours:+} h: and not to API keys", "keys create" not in str(error), error and told(error))
    else:
        expect(f"{hours:+} h: works (the provider looks at expiry only)", errors == [None, None], errors)


@pytest.mark.parametrize("hours", [hours if abs(hours) > 24 else hours * 400 for hours in HOURS])
def test_an_api_key_for_30_days(hours: float, net: LocalNet, key: str, shift: Any, expect: Expectations) -> None:
    shift(0)
    with Broker(private_key=key, network=network_of(net), store="memory:", environ={}) as broker:
        made = ApiKeys(broker).create(net.providers[0].address, name=f"k{hours}")
    shift(hours)
    place: dict[str, Any] = {"network": network_of(net), "verify": "require", "limits": None, "environ": {}}
    with ChatClient(api_key=made.token, **place) as client:
        _, error = attempt(lambda: client.create(QUESTION))
    if hours > 720:
        met = error is not None and "clock" in str(error).lower()
        expect(f"{hours:+} h: refused locally, and the message points to the clock", met, error and told(error))
    else:
        expect(f"{hours:+} h: works", error is None, error and told(error))
