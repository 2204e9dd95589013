"""Tokens and keys: who opens what, what of a key is kept, and how soon a revoked one ends."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.zg_core.serve.serving import QUESTION, TOKEN, Running, running, settings_of
from zg_core.config import Secret
from zg_core.errors import ConfigError
from zg_core.money import Amount
from zg_core.serve.access import OWNER, Access, Key, Keys, Refused
from zg_core.serve.settings import Allowance, ServeSettings, allowance_of
from zg_core.shown.redaction import blot
from zg_core.store import Store

GOOD = {"model": "chat-ml", **QUESTION}
TWO = Allowance(Amount("2"), "total")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(Store(f"sqlite:///{tmp_path}/store.db"))


def shown(secret: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {secret}".encode())]


def test_of_a_key_only_its_hash_is_kept(keys: Keys, tmp_path: Path) -> None:
    secret, key = keys.create("alice", TWO)
    keys._store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.reveal().encode() not in kept
    assert secret.reveal().removeprefix("zgk-").encode() not in kept
    assert key.id.encode() in kept
    assert secret.reveal() not in repr((secret, key))
    assert secret.reveal() not in blot(f"who is {secret.reveal()}?")


def test_a_revoked_key_ends_within_two_seconds(keys: Keys) -> None:
    now = [0.0]
    access = Access(Secret(TOKEN), keys, clock=lambda: now[0])
    secret, key = keys.create("alice", TWO)
    access.read()
    assert access.caller(shown(secret.reveal())).key == key
    keys.revoke("alice")
    assert not access.stale(shown(secret.reveal()))
    now[0] = 2.0
    assert access.stale(shown(secret.reveal()))
    access.read()
    with pytest.raises(Refused):
        access.caller(shown(secret.reveal()))


def test_a_new_key_works_at_once(keys: Keys) -> None:
    access = Access(Secret(TOKEN), keys, clock=lambda: 0.0)
    access.read()
    secret, key = keys.create("alice", TWO)
    assert access.stale(shown(secret.reveal()))
    assert not access.stale(shown(TOKEN))
    assert not access.stale(shown("whatever"))
    access.read()
    assert access.caller(shown(secret.reveal())).key == key


def test_without_a_token_everybody_is_the_owner_but_not_who_shows_a_revoked_key(keys: Keys) -> None:
    access = Access(None, keys)
    secret, key = keys.create("alice", TWO)
    access.read()
    assert access.caller([]) is OWNER
    assert access.caller(shown("whatever clients send")) is OWNER
    assert access.caller(shown(secret.reveal())).key == key
    keys.revoke(key.id)
    access.read()
    with pytest.raises(Refused):
        access.caller(shown(secret.reveal()))


def test_two_authorizations_are_none(keys: Keys) -> None:
    access = Access(Secret(TOKEN), keys)
    access.read()
    with pytest.raises(Refused):
        access.caller(shown(TOKEN) * 2)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[2J", "x" * 81])
def test_a_name_that_is_none_is_refused(keys: Keys, name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        keys.create(name, TWO)
    assert refused.value.code == "bad_key_name"


def test_a_name_is_given_to_one_working_key(keys: Keys) -> None:
    first = keys.create("alice", TWO)[1]
    with pytest.raises(ConfigError) as refused:
        keys.create("alice", TWO)
    assert refused.value.code == "key_exists"
    keys.revoke("alice")
    assert keys.create("alice", TWO)[1].id != first.id
    with pytest.raises(ConfigError):
        keys.revoke(first.id)
    assert [each.revoked is None for each in keys.all()] == [False, True]


def test_a_budget_per_day_begins_again_each_day() -> None:
    key = Key("ab", "alice", allowance_of("2/day"), datetime.now(UTC))
    assert key.run(datetime(2026, 1, 2, 23, 59, tzinfo=UTC)) != key.run(datetime(2026, 1, 3, tzinfo=UTC))
    assert Key("ab", "alice", TWO, datetime.now(UTC)).run(datetime.now(UTC)) == "serve-ab"


@pytest.mark.parametrize("text", ["", "5/week", "-1/day", "0/day", "x", "1e3/day", "5/day/day", "nan/day"])
def test_a_text_that_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        allowance_of(text)
    assert refused.value.code == "bad_budget"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "host.example"])
def test_listening_elsewhere_needs_a_token(reach: dict[str, Any], host: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_of(reach, host=host, token=None)
    assert refused.value.code == "token_needed"
    assert isinstance(settings_of(reach, host=host), ServeSettings)


class TestUsers:
    @pytest.fixture
    def team(self, reach: dict[str, Any], tmp_path: Path) -> Any:
        store = f"sqlite:///{tmp_path}/team.db"
        with running(settings_of(reach, store=store)) as server:
            yield server, Keys(Store.open(store))

    def test_share_a_wallet_each_within_a_budget(self, team: tuple[Running, Keys]) -> None:
        server, keys = team
        rich, alice = keys.create("alice", allowance_of("1/total"))
        poor, _ = keys.create("bob", Allowance(Amount(1), "total"))
        got = server.chat(GOOD, Authorization=f"Bearer {rich.reveal()}")
        assert (got.status, got.headers["x-zerog-verdict"]) == (200, "verified")
        assert server.chat(GOOD, Authorization=f"Bearer {poor.reveal()}").error["code"] == "budget_exceeded"
        (seen,) = server.server.seen.after(0)
        assert seen.caller == "alice"
        server.stop()
        server.thread.join(PATIENCE)
        store = keys._store
        assert alice.spent(store).units == seen.receipt.fee.amount.units > 0

    def test_see_models_and_nothing_of_the_owners(self, team: tuple[Running, Keys]) -> None:
        server, keys = team
        secret, _ = keys.create("alice", TWO)
        bearer = f"Bearer {secret.reveal()}"
        assert server.get("/v1/models", Authorization=bearer).status == 200
        got = server.get("/metrics", Authorization=bearer)
        assert (got.status, got.error["code"]) == (403, "owner_only")
