"""Credentials over a real socket to a scripted node: what is read, what is kept, and what is refused before sending."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.patience import PATIENCE
from zg_core.backends.direct import credentials as module
from zg_core.backends.direct.credentials import MINIMUM_RESERVE, ApiKeyCredential, WalletCredential, credential_of
from zg_core.backends.direct.session import make_token, read_token
from zg_core.config import Network, Secret
from zg_core.contracts.reader import ChainReader
from zg_core.crypto import checksum_address
from zg_core.errors import ConfigError, InsufficientFunds, NotAcknowledged, SessionRejected
from zg_core.http.transport import AsyncTransport, SyncTransport, run
from zg_core.wallet import Wallet

KEY = "0x" + "11" * 32
OWNER = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
NOW = 1_767_225_600_000
HOUR = 3_600_000


class World:
    """A node with one provider and one account, and a clock."""

    def __init__(self, node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node = node
        self.now = NOW
        self.wallet = Wallet.from_key(KEY)
        self.provider = checksum_address(node.add(7))
        self.transport: Any = SyncTransport()
        self.network = Network("local", 31337, node.url, "0x" + "1e" * 20, "0x" + "1f" * 20)
        self.chain = ChainReader(self.network, self.transport)
        self.account()
        monkeypatch.setattr(module, "_now_ms", lambda: self.now)

    def account(self, **changes: Any) -> None:
        values: dict[str, Any] = {
            "user": OWNER.lower(),
            "provider": self.provider.lower(),
            "nonce": 0,
            "balance": 2 * 10**18,
            "pending": 0,
            "refunds": [],
            "info": "",
            "acknowledged": True,
            "live": 0,
            "generation": 3,
            "bitmap": 0,
        }
        self.node.accounts[OWNER.lower(), self.provider.lower()] = tuple((values | changes).values())

    def token(self, credential: Any, provider: str | None = None) -> str:
        return run(credential.token(self.chain, self.transport, provider or self.provider)).reveal()

    def key(self, **changes: Any) -> Secret:
        """An API key of this account."""
        values = {"now_ms": NOW, "generation": 3, "token_id": 5, "expires_at": NOW + HOUR} | changes
        return make_token(self.wallet, values.pop("provider", self.provider), **values)


@pytest.fixture
def world(node: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(node, monkeypatch)


class TestWallet:
    def test_a_session_says_what_the_chain_says(self, world: World) -> None:
        claims = read_token(world.token(WalletCredential(world.wallet)))
        assert (claims.address, claims.provider, claims.generation) == (OWNER, world.provider, 3)
        assert (claims.timestamp, claims.expires_at, claims.token_id) == (NOW, NOW + 24 * HOUR, 255)

    def test_a_session_is_used_until_an_hour_is_left(self, world: World) -> None:
        credential = WalletCredential(world.wallet)
        first = world.token(credential)
        world.now = NOW + 23 * HOUR - 1
        assert world.token(credential) == first
        assert world.node.asked == [["eth_chainId", "eth_blockNumber", "getService", "getAccount"]]
        world.now = NOW + 23 * HOUR
        second = world.token(credential)
        assert second != first
        assert read_token(second).expires_at == NOW + 47 * HOUR

    def test_each_provider_has_a_session_of_its_own(self, world: World) -> None:
        other = checksum_address(world.node.add(8))
        row = list(world.node.accounts[OWNER.lower(), world.provider.lower()])
        row[1] = other.lower()
        world.node.accounts[OWNER.lower(), other.lower()] = tuple(row)
        credential = WalletCredential(world.wallet)
        tokens = [world.token(credential, provider) for provider in (world.provider, other, world.provider)]
        assert [read_token(token).provider for token in tokens] == [world.provider, other, world.provider]
        assert tokens[0] == tokens[2]

    def test_a_dropped_session_is_made_anew_with_the_new_generation(self, world: World) -> None:
        credential = WalletCredential(world.wallet)
        first = world.token(credential)
        world.account(generation=4)
        assert world.token(credential) == first
        assert credential.drop(world.provider)
        assert read_token(world.token(credential)).generation == 4

    def test_one_that_another_call_has_dropped_can_be_made_anew_too(self, world: World) -> None:
        credential = WalletCredential(world.wallet)
        assert credential.drop(world.provider)
        assert credential.drop(world.provider)

    def test_many_tasks_make_one_session(self, world: World) -> None:
        async def main() -> list[Secret]:
            transport = AsyncTransport()
            chain = ChainReader(world.network, transport)
            credential = WalletCredential(world.wallet)
            found = await asyncio.gather(*(credential.token(chain, transport, world.provider) for _ in range(20)))
            await transport.close()
            return found

        assert len({token.reveal() for token in asyncio.run(main())}) == 1
        assert world.node.asked == [["eth_chainId", "eth_blockNumber", "getService", "getAccount"]]

    def test_many_threads_make_one_session(self, world: World) -> None:
        credential, found = WalletCredential(world.wallet), []
        threads = [threading.Thread(target=lambda: found.append(world.token(credential))) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert (len(found), len(set(found))) == (10, 1)
        assert world.node.asked == [["eth_chainId", "eth_blockNumber", "getService", "getAccount"]]


ACCOUNTS: list[tuple[dict[str, Any], type[Exception] | None, str]] = [
    ({}, None, ""),
    ({"balance": MINIMUM_RESERVE}, None, ""),
    ({"balance": MINIMUM_RESERVE - 1}, InsufficientFunds, "balance_too_small"),
    ({"balance": 2 * MINIMUM_RESERVE, "pending": MINIMUM_RESERVE}, None, ""),
    ({"balance": 2 * MINIMUM_RESERVE, "pending": MINIMUM_RESERVE + 1}, InsufficientFunds, "balance_too_small"),
    ({"balance": 0, "pending": MINIMUM_RESERVE}, InsufficientFunds, "balance_too_small"),
    ({"acknowledged": False}, NotAcknowledged, "not_acknowledged"),
]


@pytest.mark.parametrize("by_key", [False, True], ids=["wallet", "key"])
class TestAccounts:
    def credential(self, world: World, by_key: bool) -> Any:
        return ApiKeyCredential(world.key()) if by_key else WalletCredential(world.wallet)

    @pytest.mark.parametrize(("changes", "cls", "code"), ACCOUNTS)
    def test_only_one_that_a_provider_would_serve_gets_a_token(
        self, world: World, by_key: bool, changes: dict[str, Any], cls: type[Exception] | None, code: str
    ) -> None:
        world.account(**changes)
        credential = self.credential(world, by_key)
        if cls is None:
            assert world.token(credential).startswith("app-sk-")
            return
        with pytest.raises(cls) as caught:
            world.token(credential)
        error: Any = caught.value
        assert error.code == code
        assert world.provider in error.hint
        assert "zerog " in error.hint

    def test_a_missing_one_names_the_commands_that_open_it(self, world: World, by_key: bool) -> None:
        world.node.accounts.clear()
        with pytest.raises(InsufficientFunds, match="zerog deposit 3") as caught:
            world.token(self.credential(world, by_key))
        assert caught.value.code == "no_account"
        assert f"zerog transfer {world.provider} 1.1" in caught.value.hint

    def test_an_unacknowledged_provider_is_refused(self, world: World, by_key: bool) -> None:
        world.node.add(7, acknowledged=False)
        with pytest.raises(NotAcknowledged, match="contract owner") as caught:
            world.token(self.credential(world, by_key))
        assert caught.value.code == "service_not_acknowledged"

    def test_an_unknown_provider_is_refused(self, world: World, by_key: bool) -> None:
        world.node.services.clear()
        with pytest.raises(ConfigError) as caught:
            world.token(self.credential(world, by_key))
        assert caught.value.code == "unknown_provider"

    def test_after_a_failure_the_next_call_reads_again(self, world: World, by_key: bool) -> None:
        credential = self.credential(world, by_key)
        world.account(balance=0)
        with pytest.raises(InsufficientFunds):
            world.token(credential)
        world.account()
        assert world.token(credential).startswith("app-sk-")


class TestApiKey:
    def test_is_sent_as_it_is(self, world: World) -> None:
        key = world.key()
        assert world.token(ApiKeyCredential(key)) == key.reveal()
        assert world.token(ApiKeyCredential(Secret(f" Bearer {key.reveal()}\n"))) == key.reveal()

    def test_says_whose_it_is(self, world: World) -> None:
        credential = ApiKeyCredential(world.key())
        assert (credential.address, credential.claims.provider) == (OWNER, world.provider)
        assert repr(credential) == f"ApiKeyCredential(owner={OWNER!r}, token_id=5)"

    def test_is_checked_against_the_chain_once(self, world: World) -> None:
        credential = ApiKeyCredential(world.key())
        for _ in range(3):
            world.token(credential)
        assert world.node.asked == [["eth_chainId", "eth_blockNumber", "getService", "getAccount"]]

    def test_is_checked_again_after_a_rejection_but_not_made_anew(self, world: World) -> None:
        credential = ApiKeyCredential(world.key())
        world.token(credential)
        assert credential.drop(world.provider) is False
        world.account(bitmap=1 << 5)
        with pytest.raises(SessionRejected):
            world.token(credential)

    def refused(self, world: World, key: Secret, code: str, provider: str | None = None) -> None:
        with pytest.raises(SessionRejected, match="zerog keys create") as caught:
            world.token(ApiKeyCredential(key), provider)
        assert caught.value.code == code
        assert key.reveal()[7:] not in str(caught.value)

    def test_of_another_provider_is_refused_without_asking_the_chain(self, world: World) -> None:
        self.refused(world, world.key(), "other_provider", checksum_address("0x" + "77" * 20))
        assert world.node.asked == []

    @pytest.mark.parametrize(("expires_at", "good"), [(NOW + 1, True), (NOW, False), (NOW - 1, False), (0, True)])
    def test_that_has_expired_is_refused(self, world: World, expires_at: int, good: bool) -> None:
        key = world.key(expires_at=expires_at)
        if good:
            assert world.token(ApiKeyCredential(key)) == key.reveal()
        else:
            self.refused(world, key, "expired")

    def test_that_expires_in_use_is_refused_then(self, world: World) -> None:
        credential = ApiKeyCredential(world.key())
        world.token(credential)
        world.now = NOW + HOUR
        with pytest.raises(SessionRejected) as caught:
            world.token(credential)
        assert caught.value.code == "expired"

    @pytest.mark.parametrize(("bitmap", "good"), [(0, True), (1 << 5, False), (~(1 << 5) & (2**256 - 1), True)])
    def test_that_was_revoked_is_refused(self, world: World, bitmap: int, good: bool) -> None:
        world.account(bitmap=bitmap)
        key = world.key()
        if good:
            assert world.token(ApiKeyCredential(key)) == key.reveal()
        else:
            self.refused(world, key, "revoked")

    def test_a_session_token_has_no_bit(self, world: World) -> None:
        world.account(bitmap=2**256 - 1)
        key = world.key(token_id=255)
        assert world.token(ApiKeyCredential(key)) == key.reveal()

    @pytest.mark.parametrize("generation", [2, 4])
    def test_of_another_generation_is_refused(self, world: World, generation: int) -> None:
        self.refused(world, world.key(generation=generation), "revoked")

    def test_a_malformed_one_is_refused_at_once(self) -> None:
        with pytest.raises(ConfigError) as caught:
            ApiKeyCredential(Secret("app-sk-nonsense"))
        assert caught.value.code == "bad_api_key"


class TestChoice:
    def test_a_wallet_wins(self, world: World) -> None:
        assert isinstance(credential_of(world.wallet, world.key()), WalletCredential)
        assert isinstance(credential_of(None, world.key()), ApiKeyCredential)

    def test_neither_is_an_error_that_names_both_when_somebody_has_to_pay(self) -> None:
        with pytest.raises(ConfigError, match=r"ZEROG_PRIVATE_KEY.*ZEROG_API_KEY") as caught:
            _ = credential_of(None, None).address
        assert caught.value.code == "no_credential"
