"""A provider's settlements and registration, read back from the chain."""

import json
from dataclasses import replace

import pytest
from eth_account.messages import encode_typed_data
from eth_utils import keccak

from zg_core.localnet import LocalNet, ProviderSettings, ProviderSpec
from zg_core.localnet.base.keys import Key, recover_address
from zg_core.localnet.chain import abi
from zg_core.localnet.provider.billing import BillingEntry
from zg_core.localnet.provider.settlement import requests_hash
from zg_core.localnet.provider.state import adapter_name, adapter_task

OG = 10**18


@pytest.fixture(scope="module")
def net():
    calm = replace(ProviderSettings.fast(), settle_interval=None)
    with LocalNet(
        providers=[ProviderSpec(model="m"), ProviderSpec(model="p", kind="TeeML-separated")], settings=calm
    ) as n:
        yield n


@pytest.fixture
def caller(net, connect, reverting):
    reverting(net)
    return lambda provider=0, **kwargs: connect(net, provider, **kwargs)


def account(net, caller):
    contract = abi.inference()
    data = net.chain.call(
        to=contract.address, data=contract.encode("getAccount", caller.wallet.address, caller.provider.address)
    )
    return contract.decode("getAccount", data)


def events_of(net, record):
    """Names and arguments of a transaction's events, in order, of both contracts."""
    receipt = net.chain.receipt(record.tx_hash)
    found = []
    for log in receipt.logs:
        for contract in (abi.ledger(), abi.inference()):
            decoded = contract.decode_log(log.address, log.topics, log.data)
            if decoded is not None and log.address == contract.address:
                found.append(decoded)
    return found


def items_of(net, record):
    """The TEESettlementData of a transaction, decoded from its call data with eth_abi."""
    from eth_abi import decode

    data = bytes.fromhex(net.chain.rpc("eth_getTransactionByHash", [record.tx_hash])["input"][2:])
    assert data[:4] == keccak(text="settleFeesWithTEE((address,address,uint256,bytes32,uint256,bytes)[])")[:4]
    (items,) = decode(["(address,address,uint256,bytes32,uint256,bytes)[]"], data[4:])
    return items


@pytest.mark.parametrize("provider", [0, 1])
def test_a_settlement_collects_the_billed_fees_and_says_so_on_chain(net, caller, provider):
    one = caller(provider)
    for stream in (False, True, False):
        one.chat(stream=stream)
    entries = one.provider.log
    total = sum(entry.fee for entry in entries)
    assert total > 0
    before, provider_before = account(net, one), net.chain.balance(one.provider.address)
    (record,) = one.provider.settle()
    (user,) = record.users
    assert (user.user, user.status, user.paid, user.unsettled) == (one.wallet.address, "SUCCESS", total, 0)
    after = account(net, one)
    assert before["balance"] - after["balance"] == total
    assert after["nonce"] == user.nonce
    receipt = net.chain.rpc("eth_getTransactionReceipt", [record.tx_hash])
    gas = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    assert net.chain.balance(one.provider.address) == provider_before + total - gas
    names = [name for name, _ in events_of(net, record)]
    assert names == ["FundSpent", "BalanceUpdated", "TEESettlementResult"]
    events = dict(events_of(net, record))
    assert (events["FundSpent"]["user"], events["FundSpent"]["amount"]) == (one.wallet.address, total)
    assert (events["BalanceUpdated"]["amount"], events["BalanceUpdated"]["pendingRefund"]) == (after["balance"], 0)
    assert (events["TEESettlementResult"]["status"], events["TEESettlementResult"]["unsettledAmount"]) == (0, 0)


def test_the_enclaves_key_signed_the_typed_message(net, caller):
    one = caller(1)
    one.chat()
    (record,) = one.provider.settle()
    ((user, provider, fee, hashed, nonce, signature),) = items_of(net, record)
    message = encode_typed_data(
        {"name": "0G Inference Serving", "version": "1", "chainId": 31337, "verifyingContract": net.inference},
        {
            "TEESettlement": [
                {"name": "requestsHash", "type": "bytes32"},
                {"name": "nonce", "type": "uint256"},
                {"name": "provider", "type": "address"},
                {"name": "user", "type": "address"},
                {"name": "totalFee", "type": "uint256"},
            ]
        },
        {"requestsHash": hashed, "nonce": nonce, "provider": provider, "user": user, "totalFee": fee},
    )
    digest = keccak(b"\x19\x01" + message.header + message.body)
    assert recover_address(digest, signature) == one.provider.tee_signer
    assert hashed == requests_hash(one.provider.log)
    assert fee == sum(entry.fee for entry in one.provider.log)


def test_the_book_names_the_transaction_and_nothing_is_settled_twice(caller):
    one = caller()
    one.chat()
    (record,) = one.provider.settle()
    assert [(e.settled, e.settled_tx) for e in one.provider.log] == [(e.fee, record.tx_hash) for e in one.provider.log]
    assert one.provider.settle() == []
    one.chat()
    (second,) = one.provider.settle()
    assert second.users[0].paid == one.provider.log[1].fee
    assert one.provider.settlements[-2:] == [record, second]


def test_nonces_are_unix_time_times_ten_million_and_grow(net, caller):
    one = caller()
    nonces = []
    for _ in range(3):
        one.chat()
        nonces.append(one.provider.settle()[0].users[0].nonce)
    assert nonces == sorted(set(nonces))
    assert nonces[0] // 10_000_000 == pytest.approx(net.clock.now(), abs=5)


def test_users_are_settled_together_fifty_a_transaction(net, caller):
    one = caller()
    state = net._states[0]
    keys = [Key.random() for _ in range(52)]
    for number, key in enumerate(keys):
        state.log.add(
            BillingEntry(
                user=key.address,
                chat_id="",
                model="m",
                usage=None,
                input_fee=0,
                output_fee=1,
                request_sha256="",
                response_sha256="",
                time=0.0,
                request_id=str(number),
            )
        )
    one.chat()
    records = one.provider.settle()
    assert [len(record.users) for record in records] == [50, 3]
    statuses = {user.user: user.status for record in records for user in record.users}
    assert statuses[one.wallet.address] == "SUCCESS"
    assert {statuses[key.address] for key in keys} == {"INVALID_SIGNATURE"}, "they have no account"
    assert one.provider.unsettled(keys[0].address) == 1


def test_a_balance_that_does_not_cover_the_fees_is_taken_whole(net, caller):
    one = caller(amount=OG)
    state = net._states[0]
    for number in (1, 2):
        state.log.add(
            BillingEntry(
                user=one.wallet.address,
                chat_id="",
                model="m",
                usage=None,
                input_fee=0,
                output_fee=OG - 1,
                request_sha256="",
                response_sha256="",
                time=0.0,
                request_id=str(number),
            )
        )
    (record,) = one.provider.settle()
    (user,) = record.users
    assert (user.status, user.paid, user.unsettled) == ("PARTIAL", OG, OG - 2)
    assert [entry.settled for entry in one.provider.log[-2:]] == [OG - 1, 1]
    assert one.provider.unsettled(one.wallet.address) == OG - 2
    net.open_account(one.wallet, one.provider, OG)
    (record,) = one.provider.settle()
    assert record.users[0].paid == OG - 2
    assert one.provider.unsettled(one.wallet.address) == 0


def test_an_unconfirmed_signer_cannot_settle_and_the_debt_stays(net, caller):
    one = caller()
    one.chat()
    owed = one.provider.unsettled(one.wallet.address)
    one.provider.revoke_acknowledgement()
    (record,) = one.provider.settle()
    assert record.users[0].status == "NO_TEE_SIGNER"
    assert one.provider.unsettled(one.wallet.address) == owed > 0
    one.provider.acknowledge()
    assert one.provider.settle()[0].users[0].paid == owed


def test_old_fees_are_settled_in_the_background_and_all_of_them_in_time(connect):
    settings = replace(ProviderSettings.fast(), settle_interval=None, settle_buffer=60, settle_force_interval=600)
    with LocalNet(settings=settings) as net:
        one, state = connect(net), net._states[0]
        one.chat()
        assert one.provider.log
        state.settle_due()
        assert one.provider.settlements == [], "younger than the buffer"
        net.clock.advance(61)
        state.settle_due()
        assert len(one.provider.settlements) == 1
        one.chat()
        assert one.provider.log
        net.clock.advance(540)
        one.chat()
        assert len(one.provider.log) == 3
        state.settle_due()
        assert one.provider.unsettled(one.wallet.address) == 0, "everything, after the force interval"


def test_the_background_leaves_out_who_cannot_pay(connect):
    settings = replace(ProviderSettings.fast(), settle_interval=None, settle_buffer=0)
    with LocalNet(settings=settings) as net:
        one, state = connect(net), net._states[0]
        one.chat()
        assert one.provider.log
        state.log.add(replace(one.provider.log[0], user=net.new_wallet().address, request_id="stranger"))
        one.provider.revoke_acknowledgement()
        height = net.chain.block_number
        state.settle_due()
        assert net.chain.block_number == height, "nothing is sent while the signer is not acknowledged"
        one.provider.acknowledge()
        state.settle_due()
        assert [user.user for user in one.provider.settlements[0].users] == [one.wallet.address]
        height = net.chain.block_number
        state.settle_due()
        assert net.chain.block_number == height


def test_the_background_loop_needs_no_call(connect, tools):
    with LocalNet() as net:
        one = connect(net)
        one.chat()
        tools.until(lambda: one.provider.log[0].settled_tx)
        assert one.provider.settlements[0].users[0].user == one.wallet.address


def test_prices_change_on_chain_and_in_the_book_and_keep_the_confirmation(net, caller):
    one = caller()
    one.chat()
    one.provider.set_price(1, 2)
    one.chat()
    entry = one.provider.log[-1]
    assert entry.fee == entry.usage.prompt_tokens + 2 * entry.usage.completion_tokens
    contract = abi.inference()
    data = net.chain.call(to=contract.address, data=contract.encode("getService", one.provider.address))
    record = contract.decode("getService", data)
    assert (record["inputPrice"], record["outputPrice"], record["teeSignerAcknowledged"]) == (1, 2, True)


def test_what_a_provider_writes_on_chain(connect):
    specs = [
        ProviderSpec(model="a"),
        ProviderSpec(model="b", kind="TeeTLS"),
        ProviderSpec(model="c", kind="TeeML-separated"),
        ProviderSpec(model="d", kind="standard", cache_divisor=None),
    ]
    with LocalNet(providers=specs) as net:
        contract = abi.inference()
        infos = []
        for provider in net.providers:
            data = net.chain.call(to=contract.address, data=contract.encode("getService", provider.address))
            record = contract.decode("getService", data)
            assert (record["url"], record["model"], record["serviceType"]) == (provider.url, provider.model, "chatbot")
            assert record["teeSignerAddress"] == provider.tee_signer
            assert record["teeSignerAcknowledged"]
            infos.append((record["verifiability"], json.loads(record["additionalInfo"])))
        assert [v for v, _ in infos] == ["TeeML", "TeeML", "TeeML", "standard"]
        teeml, teetls, separate, standard = (info for _, info in infos)
        assert teeml == {
            "VerifierURL": teeml["VerifierURL"],
            "TEEVerifier": "dstack",
            "TargetSeparated": False,
            "TargetTeeAddress": "",
            "ImageName": teeml["ImageName"],
            "ImageDigest": teeml["ImageDigest"],
            "cacheTokenBilling": {"divisor": 4},
        }
        assert (teetls["ProviderType"], teetls["ProviderIdentity"]) == ("centralized", "openrouter")
        assert (teetls["TargetSeparated"], "ProviderType" in separate) == (True, False)
        assert separate["TargetTeeAddress"] == net.providers[2].response_signer
        assert (standard["ProviderType"], standard["TEEVerifier"], "cacheTokenBilling" in standard) == (
            "standard",
            "",
            False,
        )


def test_adapter_names_follow_the_rule():
    name = adapter_name("org/Some Model.7b", adapter_task("0xAb"))
    assert name.startswith("ft-org-Some-Model-7b-")
    assert len(name) == len("ft-org-Some-Model-7b-") + 12
    assert name == adapter_name("org/Some Model.7b", adapter_task("0xaB"))
