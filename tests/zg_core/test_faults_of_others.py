"""What published clients get wrong, and this package does not: each test cites 0g-direct §10, or peers §B4."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from eth_abi import encode

from zg_core import Kind, Store, Timeouts, TransactionReverted, Wallet, WrongChain, ZeroGError, neuron, og
from zg_core.backends.direct.credentials import check_account
from zg_core.backends.direct.money.api_keys import ApiKeys, AsyncApiKeys
from zg_core.backends.direct.money.broker import AsyncBroker, Broker
from zg_core.backends.direct.money.funding import AsyncFunder, AutoFunding, Funder
from zg_core.backends.direct.session import read_token
from zg_core.chain.failures import RpcFailure
from zg_core.client import AsyncChatClient, ChatClient
from zg_core.contracts.abi import Call
from zg_core.contracts.reverts import decode_revert
from zg_core.crypto import checksum_address, keccak256
from zg_core.errors import ChainError, ConfigError, InsufficientFunds, NotAcknowledged, RequestError, SessionRejected
from zg_core.http.transport import run
from zg_core.localnet import LocalNet, ProviderSpec, Tier
from zg_core.localnet.base.keys import Key
from zg_core.localnet.chain import abi
from zg_core.localnet.provider.onchain import STAKE, ChainSide, Registration
from zg_core.types import ServiceRecord

QUESTION = {"messages": [{"role": "user", "content": "What is 6 times 7?"}]}
TRANSFER = "transferFund(address,string,uint256)"
DEAD = "http://127.0.0.1:9"
NOBODY = checksum_address("0x" + "9f" * 20)
ODD_INFO = ["", "[]", "null", '"text"', "no json", '{"tieredPricing":null,"cacheTokenBilling":null}']
ODD_INFO += ['{"tieredPricing":[1]}', '{"tieredPricing":{"tiers":null}}', '{"tieredPricing":{"tiers":[null,3]}}']
STRANGE_WORDS = ["tee", "zkml", "OpML", "TeeTLS", ""]


def place(net: LocalNet) -> dict[str, Any]:
    return {"network": "local", "rpc_url": net.rpc_url, "ledger": net.ledger, "inference": net.inference, "environ": {}}


def refused(kind: type[ZeroGError], call: Any, *arguments: Any, **options: Any) -> Any:
    """The error of this kind that the call raises."""
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    return caught.value


@pytest.fixture
def where(net: LocalNet) -> dict[str, Any]:
    return place(net)


@pytest.fixture
def owner(net: LocalNet) -> Any:
    """A wallet with 1,000 0G and nothing on chain."""
    return net.new_wallet()


@pytest.fixture
def broker(owner: Any, where: dict[str, Any]) -> Iterator[Broker]:
    with Broker(**where, private_key=owner.private_key, store=Store("memory:")) as made:
        yield made


@pytest.fixture
def funded(broker: Broker, provider: Any) -> Broker:
    """With 3 0G at the first provider, and 7 left in the ledger."""
    broker.deposit(og("10"))
    broker.transfer(provider.address, og("3"))
    provider.drop_caches()
    return broker


@pytest.fixture
def keys(funded: Broker, tmp_path: Any) -> ApiKeys:
    return ApiKeys(funded, f"sqlite:///{tmp_path}/keys.db")


@pytest.fixture
def mine(where: dict[str, Any], owner: Any, provider: Any) -> dict[str, Any]:
    """Settings of a client of `owner` for the first provider."""
    return {**where, "private_key": owner.private_key, "provider": provider.address}


@pytest.fixture(scope="module")
def market() -> Iterator[LocalNet]:
    """A network of one provider with tiers in fractions, and more than a page of services that nobody runs."""
    tier = Tier(0, 3, 5, 2, 4)  # 3/2 for the prompt, 5/4 for the answer
    with LocalNet(providers=[ProviderSpec(model="tiered", tiers=(tier,))]) as network:
        texts = [("TeeML", info) for info in ODD_INFO] + [(word, "{}") for word in STRANGE_WORDS]
        texts += [("TeeML", "{}")] * (55 - len(texts))
        for number, (word, info) in enumerate(texts):
            key = Key.random()
            network.chain.set_balance(key.address, 2 * STAKE)
            entry = Registration("chatbot", f"http://p{number}.example", f"m{number}", word, 1, 2, info, key.address)
            ChainSide(network.chain, key, key.hex).register(entry, first=True)
        yield network


@pytest.fixture
def reader(market: LocalNet) -> Iterator[Broker]:
    with Broker.read_only(**place(market)) as made:
        yield made


def answer(options: dict[str, Any]) -> str:
    with ChatClient(**options) as client:
        return client.create(QUESTION).text


class TestSessionsAndKeys:
    def test_a_session_after_a_revocation_is_accepted__generation_is_account_9(self, keys, mine, provider):
        """0g-direct §10.5: fields of the account are read at wrong indices, so any revocation bricks the client."""
        keys.create(provider.address)
        keys.revoke(provider.address, 0)  # the bitmap, Account[10], is 1 now
        provider.drop_caches()
        with ChatClient(**mine) as client:
            assert read_token(client.token()).generation == 0
            assert "42" in client.create(QUESTION).text
        keys.revoke_all(provider.address)  # the generation, Account[9], is 1 now, and the bitmap 0
        provider.drop_caches()
        with ChatClient(**mine) as client:
            assert read_token(client.token()).generation == 1
            assert "42" in client.create(QUESTION).text

    def test_a_revoked_id_is_not_given_out_again(self, keys, funded, provider, tmp_path):
        """0g-direct §10.5: the bitmap is read as 0, so a key is made that is revoked already."""
        keys.create(provider.address)
        keys.revoke(provider.address, 0)
        assert keys.create(provider.address).key.token_id == 1
        elsewhere = ApiKeys(funded, f"sqlite:///{tmp_path}/other.db")
        assert elsewhere.create(provider.address).key.token_id == 1, "the chain is asked, not only our own notes"

    def test_an_rpc_failure_is_an_error_and_never_generation_zero(self, keys, funded, mine, provider):
        """0g-direct §10.6: a failed read becomes generation 0, and the invalid token is cached for a day."""
        keys.revoke_all(provider.address)
        provider.drop_caches()
        chain = funded.core.chain
        url, chain.rpc.url = chain.rpc.url, DEAD
        caught = refused(ChainError, keys.create, provider.address)
        assert (caught.code, caught.retryable) == ("rpc_unavailable", True)
        chain.rpc.url = url
        assert keys.list() == (), "a key was noted for the failed attempt"
        assert read_token(keys.create(provider.address).token).generation == 1
        with ChatClient(**mine) as client:
            rpc = client.backend._chain.rpc
            url, rpc.url = rpc.url, DEAD
            before = len(provider.requests)
            with pytest.raises(ChainError):
                client.create(QUESTION)
            assert len(provider.requests) == before, "the provider was asked without knowing the generation"
            rpc.url = url
            assert "42" in client.create(QUESTION).text, "the failure was remembered"
            assert read_token(client.token()).generation == 1

    def test_keys_expire_by_default(self, keys, provider):
        """0g-direct §10.9 and peers §B4 (0g-inference-sdk, two keys): keys never expire unless told."""
        made = keys.create(provider.address)
        left = made.key.expires_at - datetime.now(UTC)
        assert timedelta(days=29) < left <= timedelta(days=30)
        claims = read_token(made.token)
        assert claims.expires_at - claims.timestamp == 30 * 86_400_000
        assert read_token(keys.create(provider.address, expires_in="never").token).expires_at == 0

    def test_two_live_keys_never_share_an_id(self, keys, where, provider):
        """0g-direct §10.9, peers §B4 (0g-inference-sdk): every key has id 0, so revoking one kills both."""
        first, second = keys.create(provider.address), keys.create(provider.address)
        assert {first.key.token_id, second.key.token_id} == {0, 1}
        keys.revoke(provider.address, first.key.token_id)
        provider.drop_caches()
        assert "42" in answer({**where, "api_key": second.token})
        with pytest.raises(SessionRejected):
            answer({**where, "api_key": first.token})

    def test_revoking_drops_the_cached_session(self, keys, mine, where, provider):
        """0g-direct §10.32: revoking leaves the cached session in use, and every later call is refused."""
        key = keys.create(provider.address).token
        with ChatClient(**mine) as client, ChatClient(**where, api_key=key) as other:
            old = client.token().reveal()
            assert "42" in client.create(QUESTION).text
            assert "42" in other.create(QUESTION).text
            keys.revoke_all(provider.address)
            provider.drop_caches()
            assert "42" in client.create(QUESTION).text
            assert client.token().reveal() != old
            assert read_token(client.token()).generation == 1
            with pytest.raises(SessionRejected):
                other.create(QUESTION)  # a key cannot be made anew without the wallet

    def test_no_secret_is_shown(self, keys, funded, owner, mine, where, provider):
        """0g-direct §10.35, peers §B4 (langchain-x402): the private key is in repr, tokens are not redacted."""
        made = keys.create(provider.address)
        with ChatClient(**mine) as client:
            shown = [
                client,
                client.token(),
                funded,
                vars(funded),
                made,
                keys.list(),
                Wallet.from_key(owner.private_key),
            ]
            caught = refused(ConfigError, Broker, **where, private_key=owner.private_key + "00")
            text = repr(shown) + str(shown) + str(caught) + repr(caught) + repr(caught.details)
            for secret in (owner.private_key[2:], made.token.reveal()[7:], client.token().reveal()[7:]):
                assert secret not in text


class TestSpending:
    def test_nothing_is_spent_by_asking_for_a_token(self, broker, net, owner, mine, provider, keys):
        """0g-direct §10.8, peers §B4 (0g-inference-sdk): making headers may send up to 2 0G."""
        sent, wallet = net.chain.nonce(owner.address), net.chain.balance(owner.address)
        before = broker.ledger(), broker.account(provider.address)
        with ChatClient(**mine) as client:
            assert all((client.token(), keys.create(provider.address)))
            assert (broker.ledger(), broker.account(provider.address)) == before
            fee = client.create(QUESTION).receipt.fee  # settled when the provider likes, so maybe already
        assert before[1].balance - broker.account(provider.address).balance in (og("0"), fee)
        assert (net.chain.nonce(owner.address), net.chain.balance(owner.address)) == (sent, wallet)

    @pytest.mark.parametrize("deposit", ["0", "10"])
    def test_a_missing_account_is_told_and_not_funded(self, broker, net, owner, mine, deposit):
        """0g-direct §10.8: without an account, headers open one by themselves, with no consent, limit or report."""
        if deposit != "0":
            broker.deposit(og(deposit))
        sent, wallet = net.chain.nonce(owner.address), net.chain.balance(owner.address)
        with ChatClient(**mine) as client:
            for call in (client.token, lambda: client.create(QUESTION)):
                caught = refused(InsufficientFunds, call)
                assert (caught.code, "zerog transfer" in caught.hint) == ("no_account", True)
        assert (net.chain.nonce(owner.address), net.chain.balance(owner.address)) == (sent, wallet)

    def test_the_documented_first_use_works(self, broker, mine, provider):
        """0g-direct §10.7: the documented order (acknowledge, transfer) cannot succeed for a new provider."""
        broker.deposit(og("3"))
        broker.transfer(provider.address, og("1.1"))
        assert broker.acknowledge(provider.address) is None, "the transfer has acknowledged"
        assert "42" in answer(mine)

    def test_acknowledging_without_an_account_is_told_and_sends_nothing(self, broker, net, owner, provider):
        """0g-direct §10.7: acknowledging moves too small amounts, swallows the reverts, and reverts itself."""
        for prepare in (lambda: None, lambda: broker.deposit(og("3"))):
            prepare()
            sent = net.chain.nonce(owner.address)
            caught = refused(InsufficientFunds, broker.acknowledge, provider.address)
            assert (caught.code, "zerog transfer" in caught.hint) == ("no_account", True)
            assert net.chain.nonce(owner.address) == sent

    def test_amounts_below_a_minimum_are_refused_before_anything_is_sent(self, broker, net, owner, provider):
        """0g-direct §10.7, §10.30: 0.01 and 0.001 0G, and a transfer of nothing to a new account, always revert."""
        for call, amount in ((broker.deposit, og("0.01")), (broker.add_ledger, og("0.01"))):
            caught = refused(ConfigError, call, amount)
            assert (caught.code, "3 0G" in str(caught)) == ("below_minimum", True)
        broker.deposit(og("3"))
        for amount in (og("0.001"), neuron(0)):
            caught = refused(ConfigError, broker.transfer, provider.address, amount)
            assert (caught.code, "1 0G" in str(caught)) == ("below_minimum", True)
        assert refused(ConfigError, broker.add_ledger, og("3")).code == "ledger_exists"
        assert net.chain.nonce(owner.address) == 1

    def test_a_lower_case_provider_address_works(self, broker, mine, provider, tmp_path):
        """0g-direct §10.30: transfers raise InvalidAddress for lower-case input."""
        low = provider.address.lower()
        broker.deposit(og("3"))
        broker.transfer(low, og("2"))
        provider.drop_caches()
        assert broker.service(low).provider == broker.account(low).provider == provider.address
        assert ApiKeys(broker, f"sqlite:///{tmp_path}/k.db").create(low).key.provider == provider.address
        assert "42" in answer({**mine, "provider": low})
        assert len(broker.retrieve([low])) == 1

    def test_the_service_name_is_the_contracts_own(self, broker, provider):
        """0g-direct §10.30: documented names of services are not the ones that the contract knows."""
        broker.deposit(og("3"))
        name = broker.service_name()
        assert name == "inference-v1.0"
        for wrong in ("inference", "fineTuning"):
            caught = refused(
                TransactionReverted, run, broker.core._ledger_call(TRANSFER, [provider.address, wrong, 10**18])
            )
            assert caught.name == "ServiceNotFound", wrong
        broker.transfer(provider.address, og("1"))
        assert broker.account(provider.address).balance == og("1")

    def test_auto_funding_is_limited_and_never_doubled(self, broker, provider, net, owner):
        """0g-direct §10.12: two checks at once fund twice, and a stopped thread may still be in a transfer."""
        broker.deposit(og("20"))
        plan = AutoFunding(max_total=og("6"), max_per_provider=og("6"), target=og("2"), interval=3600)
        funders = [Funder(broker, plan, [provider.address]) for _ in range(4)]
        together = threading.Barrier(len(funders))

        def look(funder: Funder) -> None:
            together.wait()
            funder.look()

        with ThreadPoolExecutor(len(funders)) as pool:
            list(pool.map(look, funders))
        assert broker.account(provider.address).balance == og("2")
        with Funder(broker, plan, [provider.address]) as funder:
            assert funder.running
            thread = funder._thread
        assert not funder.running
        assert not thread.is_alive(), "stopping has to wait for the thread"


class TestTransactions:
    def test_every_custom_error_of_both_contracts_is_decoded(self):
        """0g-direct §10.17: 28 of 45 errors come out as hex."""
        samples = {"address": NOBODY, "uint256": 3 * 10**18, "string": "words", "uint8": 7, "bool": True}
        entries = [e for name in ("LedgerManager", "InferenceServing") for e in abi.artifact(name)["abi"]]
        errors = {abi.signature(entry): entry for entry in entries if entry["type"] == "error"}
        assert len(errors) >= 45, sorted(errors)
        for signature, entry in errors.items():
            kinds = [part["type"] for part in entry["inputs"]]
            values = [samples[kind] for kind in kinds]
            found = decode_revert("0x" + (keccak256(signature.encode())[:4] + encode(kinds, values)).hex())
            assert found.name == entry["name"], f"{signature} is not decoded"
            assert list(found.arguments.values()) == values, signature
            assert found.meaning, signature
            assert found.hint, signature

    def test_reverts_of_the_chain_have_name_meaning_and_hint(self, funded, net, owner, provider):
        """0g-direct §10.17: MinimumDepositRequired, InsufficientAvailableBalance, … reach users as hex."""
        ledger, other = funded.core._ledger_call, net.new_wallet()
        name = funded.service_name()
        page = Call.of(net.inference, "getAllServices(uint256,uint256)", [0, 1000])
        with Broker(**place(net), private_key=other.private_key, store=Store("memory:")) as stranger:
            cases = {
                "MinimumDepositRequired": lambda: stranger.core._ledger_call("depositFund()", [], 1),
                "LedgerNotExists": lambda: stranger.core._ledger_call("refund(uint256)", [1]),
                "LedgerExists": lambda: ledger("addLedger(string)", [""], 3 * 10**18),
                "InsufficientAvailableBalance": lambda: ledger(TRANSFER, [provider.address, name, 10**30]),
                "MustWithdrawAllFundsFirst": lambda: ledger("deleteLedger()", []),
                "LimitTooLarge": lambda: funded.core.sender.send("getAllServices", page.to, page.data),
            }
            sent = net.chain.nonce(owner.address)
            for wanted, call in cases.items():
                caught = refused(TransactionReverted, run, call())
                assert (caught.name, wanted in str(caught)) == (wanted, True), str(caught)
                assert caught.meaning, wanted
                assert caught.hint, wanted
        assert net.chain.nonce(owner.address) == sent, "a call that must revert was sent"

    def test_hex_in_a_message_is_not_taken_for_revert_data(self, broker):
        """0g-direct §10.17: the last hex text of any message is decoded, be it an address or a hash."""
        selector = keccak256(b"LedgerNotExists(address)")[:4].hex()
        message = f"execution reverted at 0x{selector}{'00' * 12}{NOBODY[2:]}"
        error = broker.core.sender._refusal("refund", RpcFailure(3, message))
        assert isinstance(error, TransactionReverted)
        assert (error.name, error.arguments) == ("", {})

    def test_a_first_transfer_has_enough_gas(self, broker, net, provider):
        """0g-direct §10.29: gas limits are fixed numbers and the fee is a legacy gas price."""
        broker.deposit(og("3"))
        result = broker.transfer(provider.address, og("1"))
        sent = net.chain.rpc("eth_getTransactionByHash", [result.hash])
        assert int(sent["gas"], 16) > result.gas_used, "no margin"
        assert int(sent["gas"], 16) < 2 * result.gas_used, "not estimated"
        assert sent["type"] == "0x2", "EIP-1559 is not used where the chain has it"

    def test_retrieve_over_many_providers_goes_in_batches_with_estimated_gas(self, broker, net, owner):
        """0g-direct §10.29: one transaction for all, with a fixed gas limit, and nothing is left out."""
        broker.deposit(og("30"))
        for number in range(21):  # the contract does not ask whether there is a service
            call = abi.ledger().encode("transferFund", f"0x{0xFA017000 + number:040x}", "inference-v1.0", 10**18)
            net.chain.send(owner.private_key, to=net.ledger, data=call)
        results = broker.retrieve()
        assert [len(result.events) for result in results] == [20, 1]
        assert results[0].gas_used > 300_000, "a fixed limit of 300,000 would have been enough"
        limits = [int(net.chain.rpc("eth_getTransactionByHash", [each.hash])["gas"], 16) for each in results]
        assert all(limit > result.gas_used for limit, result in zip(limits, results, strict=True))
        assert limits[0] > limits[1]
        assert all(account.usable == og("0") for account in broker.accounts())
        assert broker.retrieve() == (), "nothing to retrieve, and a transaction was sent"

    def test_transactions_of_many_threads_collide_nowhere(self, broker, net, owner):
        """0g-direct §10.10: nonces are read without a lock, so funding and user collide."""
        broker.deposit(og("3"))
        with ThreadPoolExecutor(6) as pool:
            results = list(pool.map(lambda _: broker.deposit(neuron(1)), range(12)))
        assert sorted(result.nonce for result in results) == list(range(1, 13))
        assert net.chain.nonce(owner.address) == 13
        assert broker.ledger().total == neuron(3 * 10**18 + 12)


class TestDiscovery:
    def test_more_than_fifty_services_are_paged(self, reader, market):
        """0g-direct §10.23: 20 services are listed by default, and a limit of 1,000 is refused and swallowed."""
        services = reader.services()
        assert len({service.provider for service in services}) == len(services) == 56
        assert {service.model for service in services} == {"tiered", *(f"m{number}" for number in range(55))}
        with ChatClient(**place(market), private_key=Key.random().hex, model="tiered") as client:
            assert len(client.services()) == 56

    def test_accounts_are_those_of_the_user(self, funded, owner, provider, where, wallet, net):
        """0g-direct §10.24: "for the current user" returns the first page of everybody's accounts."""
        (account,) = funded.accounts()
        assert (account.user, account.provider) == (owner.address, provider.address)
        assert {each.user for each in funded.accounts(wallet.address)} == {wallet.address}
        with Broker(**where, private_key=net.new_wallet().private_key, store=Store("memory:")) as stranger:
            assert stranger.accounts() == []

    def test_missing_acknowledgement_counts_as_not_acknowledged(self, funded, owner, provider, mine):
        """0g-direct §10.22: a missing acknowledgement counts as one."""
        (flag,) = [each for each in dataclasses.fields(ServiceRecord) if each.name == "acknowledged"]
        assert flag.default is flag.default_factory is dataclasses.MISSING, "the record has a default"
        assert funded.service(provider.address).acknowledged
        provider.revoke_acknowledgement()
        try:
            assert not funded.service(provider.address).acknowledged
            caught = refused(NotAcknowledged, answer, mine)
            assert caught.code == "service_not_acknowledged"
        finally:
            provider.acknowledge()
            provider.drop_caches()
        account = run(funded.core.own_account(provider.address))
        assert check_account(account, provider.address, owner.address) is account
        withdrawn = dataclasses.replace(account, acknowledged=False)
        caught = refused(NotAcknowledged, check_account, withdrawn, provider.address, owner.address)
        assert "zerog acknowledge" in caught.hint
        assert "42" in answer(mine)

    def test_standard_services_do_not_count_as_verifiable(self, net, options, reader):
        """0g-direct §10.21: any text, "standard" included, counts as verifiable; TeeTLS is unknown."""
        with ChatClient(**options, provider=net.provider("chat-standard").address) as client:
            service = client.service()
            receipt = client.create(QUESTION).receipt
        assert service.kind is Kind.STANDARD
        assert receipt.verdict.status == "not_verifiable"
        assert not receipt.verdict.satisfies("claimed")
        with Broker.read_only(**place(net)) as broker:
            assert broker.service(net.provider("chat-tls").address).kind is Kind.TEE_TLS
        words = {s.verifiability: s.kind for s in reader.services() if s.verifiability in STRANGE_WORDS}
        assert words == dict.fromkeys(STRANGE_WORDS, Kind.STANDARD)

    def test_tier_denominators_are_honoured(self, market, reader):
        """0g-direct §10.25, §10.27: fees leave out tiers, and tiers leave out their denominators."""
        wallet, provider = market.new_wallet(), market.providers[0]
        market.open_account(wallet, provider)
        (tier,) = reader.service(provider.address).tiers
        assert (tier.input_multiplier, tier.output_multiplier) == ((3, 2), (5, 4))
        options = {**place(market), "private_key": wallet.private_key, "provider": provider.address}
        with ChatClient(**options) as client:
            receipt = client.create(QUESTION).receipt
        entry = provider.log[-1]
        assert receipt.fee.exact
        assert receipt.fee.amount == neuron(entry.fee)
        prices = provider.prices[0] * 3 // 2, provider.prices[1] * 5 // 4
        flat = provider.prices[0] * receipt.usage.prompt_tokens + provider.prices[1] * receipt.usage.completion_tokens
        due = prices[0] * receipt.usage.prompt_tokens + prices[1] * receipt.usage.completion_tokens
        assert flat < receipt.fee.amount.units <= due

    def test_tiered_pricing_that_is_no_object_does_not_crash(self, reader):
        """0g-direct §10.27: prices that are null or no object crash the reader."""
        odd = [service for service in reader.services() if service.additional_info in ODD_INFO]
        assert {service.additional_info for service in odd} == set(ODD_INFO)
        for service in odd:
            assert (service.tiers, service.cache_divisor) == ((), 0), service.additional_info
            assert isinstance(service.info, dict)
            assert isinstance(service.kind, Kind)

    def test_an_unknown_provider_is_told_apart_from_an_rpc_failure(self, where):
        """0g-direct §10.16: every error, also a dead node, becomes "service not found" without its cause."""
        with Broker.read_only(**where) as broker:
            unknown = refused(ConfigError, broker.service, NOBODY)
            assert (unknown.code, unknown.retryable) == ("unknown_provider", False)
            broker.core.chain.rpc.url = DEAD
            down = refused(ChainError, broker.service, NOBODY)
        assert (down.code, down.retryable) == ("rpc_unavailable", True)
        assert isinstance(down.__cause__, RequestError)

    def test_a_second_call_asks_the_chain_nothing(self, funded, mine):
        """0g-direct §10.14: every call makes up to 4 round trips more, nothing is cached."""
        with ChatClient(**mine, record_age=60) as client:
            client.create(QUESTION)
            client.backend._chain.rpc.url = DEAD
            reply = client.create(QUESTION)
        assert "42" in reply.text
        assert reply.receipt.verdict.status == "verified"

    def test_a_service_without_https_gets_no_token(self, market):
        """0g-direct §10.36: nobody checks that the service's URL is https."""
        options = {**place(market), "private_key": market.new_wallet().private_key, "model": None}
        with Broker.read_only(**place(market)) as broker:
            plain = next(service for service in broker.services() if service.model == "m54")
        with ChatClient(**{**options, "provider": plain.provider}) as client:
            for call in (client.token, lambda: client.create(QUESTION)):
                caught = refused(ConfigError, call)
                assert caught.code == "insecure_url"


class TestSettingsAndSilence:
    @pytest.mark.parametrize("name", ["nowhere", "Mainnet", "16661", ""])
    def test_an_unknown_chain_is_an_error_and_never_mainnet(self, owner, mine, name):
        """0g-direct §10.31: an unknown chain gets mainnet's addresses."""
        for kind in (Broker, ChatClient):
            options = {k: v for k, v in mine.items() if k != "provider"} | {"network": name}
            caught = refused(ConfigError, kind, **options)
            assert (caught.code, "mainnet" in caught.hint) == ("unknown_network", True)

    @pytest.mark.parametrize("name", ["mainnet", "testnet"])
    def test_an_rpc_of_another_chain_is_refused_and_nothing_is_sent(self, mine, owner, net, provider, name):
        """0g-direct §10.31: network and RPC endpoint are not compared."""
        options = {**mine, "network": name}
        before = len(provider.requests)
        with ChatClient(**options) as client:
            assert "31337" in str(refused(WrongChain, client.create, QUESTION))
        del options["provider"]
        with Broker(**options, store=Store("memory:")) as broker:
            for call in (broker.services, broker.ledger, lambda: broker.deposit(og("3"))):
                with pytest.raises(WrongChain):
                    call()
        assert net.chain.nonce(owner.address) == 0
        assert len(provider.requests) == before

    def test_what_cannot_be_read_is_an_error_and_no_default(self, where, owner, provider):
        """0g-direct §10.15, §10.19, peers §B4 (0g-inference-sdk): errors become zeros, empty lists, bare Exception."""
        down = {**where, "rpc_url": DEAD}
        with Broker(**down, private_key=owner.private_key, store=Store("memory:")) as broker:
            reads = [broker.services, broker.ledger, broker.accounts, broker.settlements, broker.lock_time]
            named = [broker.service, broker.account, broker.acknowledge, lambda p: broker.transfer(p, og("1"))]
            reads += [broker.service_name, broker.retrieve, broker.delete_ledger, lambda: broker.deposit(og("3"))]
            reads += [lambda call=call: call(provider.address) for call in named]
            for call in reads:
                caught = refused(ChainError, call)
                assert (caught.code, bool(caught.hint)) == ("rpc_unavailable", True), call

    def test_an_rpc_that_hangs_is_given_up(self, where, monkeypatch):
        """0g-direct §10.13: RPC requests have no timeout."""
        import zg_core.chain.rpc as module

        assert module._TIMEOUTS.read <= 30
        monkeypatch.setattr(module, "_TIMEOUTS", Timeouts(connect=0.3, read=0.3))
        with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with Broker.read_only(**{**where, "rpc_url": url}) as broker:
                caught = refused(ChainError, broker.services)
        assert (caught.code, caught.retryable) == ("rpc_unavailable", True)

    def test_everything_has_an_async_twin_that_does_not_block_the_loop(self, mine, owner, provider, tmp_path):
        """0g-direct §10.13, peers §B4 (0g-inference-sdk): there is no async API, every call blocks."""
        twins = {Broker: AsyncBroker, ApiKeys: AsyncApiKeys, ChatClient: AsyncChatClient, Funder: AsyncFunder}
        for one, twin in twins.items():
            public = {name for name, _ in inspect.getmembers(one, callable) if not name.startswith("_")}
            assert public - {"close"} <= set(dir(twin)), f"{twin.__name__} lacks {public - set(dir(twin))}"

        async def work() -> tuple[str, int]:
            turns = 0

            async def tick() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0.001)

            ticker = asyncio.create_task(tick())
            options = {name: value for name, value in mine.items() if name != "provider"}
            async with AsyncBroker(**options, store=Store("memory:")) as broker:
                await broker.deposit(og("3"))
                await broker.transfer(provider.address, og("2"))
                provider.drop_caches()
                keys = AsyncApiKeys(broker, f"sqlite:///{tmp_path}/a.db")
                token = (await keys.create(provider.address)).token
            options.pop("private_key")
            async with AsyncChatClient(**options, api_key=token) as client:
                text = (await client.create(QUESTION)).text
            ticker.cancel()
            return text, turns

        text, turns = asyncio.run(work())
        assert "42" in text
        assert turns > 20, f"the loop went round {turns} times only"

    def test_nothing_is_printed(self, broker, mine, owner, provider, tmp_path, capfd):
        """0g-direct §10.18, peers §B4 (0g-inference-sdk): 24 prints with emoji corrupt protocols on stdout."""
        broker.deposit(og("5"))
        broker.transfer(provider.address, og("2"))
        broker.acknowledge(provider.address)
        provider.drop_caches()
        keys = ApiKeys(broker, f"sqlite:///{tmp_path}/k.db")
        keys.create(provider.address)
        assert "42" in answer(mine)
        for call in (lambda: broker.service(NOBODY), lambda: broker.add_ledger(og("3"))):
            with pytest.raises(ZeroGError):
                call()
        keys.revoke(provider.address, 0)
        broker.retrieve()
        shown = capfd.readouterr()
        assert (shown.out, shown.err) == ("", "")
