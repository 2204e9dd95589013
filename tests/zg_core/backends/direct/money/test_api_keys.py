"""API keys: ids that are never shared, revocation on chain, and a ledger that keeps no secret."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from zg_core import (
    ApiKeys,
    AsyncApiKeys,
    AsyncBroker,
    Broker,
    ChainError,
    ChatClient,
    ConfigError,
    InsufficientFunds,
    SessionRejected,
    Store,
)
from zg_core.backends.direct.money.api_keys import fingerprint
from zg_core.backends.direct.session import read_token
from zg_core.localnet.chain.abi import inference

QUESTION = {"messages": [{"role": "user", "content": "What is 6 times 7?"}]}


@pytest.fixture
def where(net: Any) -> dict[str, Any]:
    return {"network": "local", "rpc_url": net.rpc_url, "ledger": net.ledger, "inference": net.inference, "environ": {}}


@pytest.fixture
def owner(net: Any, provider: Any) -> Any:
    """A wallet with an account at the provider, and no key yet."""
    wallet = net.new_wallet()
    net.open_account(wallet, provider)
    return wallet


@pytest.fixture
def broker(owner: Any, where: dict[str, Any]) -> Any:
    with Broker(**where, private_key=owner.private_key, store=Store("memory:")) as made:
        yield made


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/keys.db"


@pytest.fixture
def keys(broker: Any, url: str) -> ApiKeys:
    return ApiKeys(broker, url)


def ask(where: dict[str, Any], token: Any) -> str:
    with ChatClient(**where, api_key=token) as client:
        return client.create(QUESTION).text


def test_a_key_works_without_the_wallet_at_once(keys, where, provider):
    made = keys.create(provider.address.lower(), name="laptop")
    assert "42" in ask(where, made.token)
    claims = read_token(made.token)
    assert (claims.token_id, claims.generation, claims.provider) == (0, 0, provider.address)
    assert (made.key.status, made.key.name, made.key.token_id) == ("live", "laptop", 0)


def test_a_key_lasts_30_days_unless_said_otherwise(keys, provider):
    month = keys.create(provider.address)
    assert month.key.expires_at - month.key.created_at == timedelta(days=30)
    claims = read_token(month.token)
    assert claims.expires_at - claims.timestamp == 30 * 86_400_000
    assert abs(month.key.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    hour = keys.create(provider.address, expires_in=timedelta(hours=1))
    assert read_token(hour.token).expires_at - read_token(hour.token).timestamp == 3_600_000


def test_never_has_to_be_said(keys, provider):
    made = keys.create(provider.address, expires_in="never")
    assert read_token(made.token).expires_at == 0
    assert made.key.expires_at is None
    for lifetime in (None, 0, timedelta(), timedelta(days=-1), "30 days"):
        with pytest.raises(ConfigError) as caught:
            keys.create(provider.address, expires_in=lifetime)
        assert caught.value.code == "bad_lifetime"
        assert "never" in caught.value.hint


def test_two_live_keys_never_share_an_id_and_revoking_one_leaves_the_other(keys, where, provider):
    # Both official clients give both keys id 0, and revoking one ends both.
    first, second = keys.create(provider.address), keys.create(provider.address)
    assert (first.key.token_id, second.key.token_id) == (0, 1)
    result = keys.revoke(provider.address, 0)
    assert [event.name for event in result.events] == ["TokenRevoked"]
    provider.drop_caches()
    assert "42" in ask(where, second.token)
    with pytest.raises(SessionRejected) as caught:
        ask(where, first.token)
    assert caught.value.code == "revoked"
    assert [key.status for key in keys.list()] == ["revoked", "live"]
    assert keys.create(provider.address).key.token_id == 2, "a revoked id is not given out again"


def test_another_process_knows_what_was_given_out(broker, url, provider):
    assert ApiKeys(broker, Store(url)).create(provider.address).key.token_id == 0
    assert ApiKeys(broker, Store(url)).create(provider.address).key.token_id == 1


def test_threads_do_not_get_the_same_id(keys, provider):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: keys.create(provider.address).key.token_id, range(24)))
    assert sorted(made) == list(range(24))


def test_an_id_that_was_revoked_elsewhere_is_not_given_out(keys, net, owner, provider):
    contract = inference()
    data = contract.encode("revokeTokens", provider.address, [0, 2])
    net.chain.send(owner.private_key, to=contract.address, data=data)
    assert [keys.create(provider.address).key.token_id for _ in range(2)] == [1, 3]


def test_an_expired_id_is_given_out_only_when_no_other_is_left(broker, url, provider, net, owner):
    # All ids but three are revoked elsewhere.
    contract = inference()
    data = contract.encode("revokeTokens", provider.address, list(range(3, 255)))
    net.chain.send(owner.private_key, to=contract.address, data=data)
    now = [time.time()]
    keys = ApiKeys(broker, url, now=lambda: now[0])
    keys.create(provider.address, expires_in=timedelta(hours=1))
    now[0] += 7200
    assert keys.list()[0].status == "expired"
    assert [keys.create(provider.address).key.token_id for _ in range(3)] == [1, 2, 0]
    with pytest.raises(ConfigError) as caught:
        keys.create(provider.address)
    assert caught.value.code == "ids_exhausted"
    assert "revoke-all" in caught.value.hint
    keys.revoke_all(provider.address)
    assert keys.create(provider.address).key.token_id == 0


def test_revoking_all_ends_every_key_and_frees_the_ids(keys, where, provider):
    old = [keys.create(provider.address) for _ in range(2)]
    result = keys.revoke_all(provider.address)
    assert result.events[0].arguments["newGeneration"] == 1
    provider.drop_caches()
    for each in old:
        with pytest.raises(SessionRejected):
            ask(where, each.token)
    new = keys.create(provider.address)
    assert (new.key.token_id, new.key.generation) == (0, 1)
    assert "42" in ask(where, new.token)
    assert [key.status for key in keys.list()] == ["revoked", "revoked", "live"]


def test_rotating_makes_the_new_key_before_it_ends_the_old_one(keys, where, provider):
    old = keys.create(provider.address, name="server")
    new = keys.rotate(provider.address, old.key.token_id)
    provider.drop_caches()
    assert "42" in ask(where, new.token)
    assert (new.key.token_id, new.key.name) == (1, "server")
    assert new.revocation.hash
    with pytest.raises(SessionRejected):
        ask(where, old.token)


def test_a_rotation_that_fails_half_way_hands_over_the_new_key(keys, net, owner, provider):
    keys.create(provider.address)
    net.chain.set_balance(owner.address, 0)
    with pytest.raises(InsufficientFunds) as caught:
        keys.rotate(provider.address, 0)
    made = caught.value.details["created"]
    assert made.key.token_id == 1
    assert "the old one (0) was not revoked" in str(caught.value)
    assert made.token.reveal() not in str(caught.value) + repr(caught.value.details)
    assert [key.status for key in keys.list()] == ["live", "live"]


def test_the_ledger_holds_no_key(keys, url, provider, tmp_path):
    made = keys.create(provider.address)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert made.token.reveal().encode() not in content
    assert made.token.reveal()[7:40].encode() not in content
    assert made.key.fingerprint == fingerprint(made.token) == keys.list()[0].fingerprint
    assert fingerprint("Bearer " + made.token.reveal() + "\n") == made.key.fingerprint
    assert made.token.reveal() not in repr(made)


def test_the_list_is_of_one_provider_or_all_and_of_this_owner(keys, net, owner, url, where, provider):
    other = net.providers[1]
    net.open_account(owner, other)
    keys.create(provider.address, name="a")
    keys.create(other.address, name="b")
    assert [key.name for key in keys.list()] == ["a", "b"]
    assert [(key.name, key.provider) for key in keys.list(other.address.lower())] == [("b", other.address)]
    stranger = net.new_wallet()
    with Broker(**where, private_key=stranger.private_key, store=Store("memory:")) as broker:
        assert ApiKeys(broker, url).list() == ()


@pytest.mark.parametrize("token_id", [-1, 255, 256, "0", True, None])
def test_what_is_no_id_is_refused(keys, provider, token_id):
    for call in (keys.revoke, keys.rotate):
        with pytest.raises(ConfigError) as caught:
            call(provider.address, token_id)
        assert caught.value.code == "bad_token_id"


def test_a_revoked_id_is_not_revoked_again(keys, provider):
    keys.create(provider.address)
    keys.revoke(provider.address, 0)
    with pytest.raises(ConfigError) as caught:
        keys.revoke(provider.address, 0)
    assert caught.value.code == "already_revoked"
    with pytest.raises(ConfigError) as caught:
        keys.rotate(provider.address, 0)
    assert caught.value.code == "unknown_key"


def test_without_an_account_there_is_no_key(net, where, url, provider):
    with Broker(**where, private_key=net.new_wallet().private_key, store=Store("memory:")) as broker:
        keys = ApiKeys(broker, url)
        for call in (keys.create, keys.revoke_all, lambda p: keys.revoke(p, 0)):
            with pytest.raises(InsufficientFunds) as caught:
                call(provider.address)
            assert caught.value.code == "no_account"
        assert keys.list() == ()


def test_when_the_chain_cannot_be_read_no_key_is_made(broker, owner, where, url, provider):
    # A guess of generation 0 would make keys that are refused.
    down = {**where, "rpc_url": "http://127.0.0.1:9"}
    with (
        Broker(**down, private_key=owner.private_key, store=Store("memory:")) as offline,
        pytest.raises(ChainError) as caught,
    ):
        ApiKeys(offline, url).create(provider.address)
    assert caught.value.code == "rpc_unavailable"
    assert ApiKeys(broker, url).list() == ()


def test_the_ledger_is_a_file_even_where_the_store_is_memory(broker, monkeypatch, tmp_path):
    monkeypatch.setenv("ZEROG_HOME", str(tmp_path / "home"))
    assert ApiKeys(broker).store.kind == "sqlite"
    with pytest.raises(ConfigError, match="memory"):
        ApiKeys(broker, "memory:")


def test_the_async_twin_does_the_same(owner, where, url, provider):
    async def work() -> list[Any]:
        async with AsyncBroker(**where, private_key=owner.private_key, store=Store("memory:")) as broker:
            keys = AsyncApiKeys(broker, url)
            made = await asyncio.gather(*[keys.create(provider.address) for _ in range(3)])
            assert sorted(each.key.token_id for each in made) == [0, 1, 2]
            await keys.revoke(provider.address, 1)
            await keys.rotate(provider.address, 2, name="new")
            statuses = [(key.token_id, key.status) for key in await keys.list(provider.address)]
            await keys.revoke_all(provider.address)
            return [sorted(statuses), [key.status for key in await keys.list()]]

    assert asyncio.run(work()) == [[(0, "live"), (1, "revoked"), (2, "revoked"), (3, "live")], ["revoked"] * 4]
