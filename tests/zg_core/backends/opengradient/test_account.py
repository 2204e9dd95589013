"""A payer's side: approval in exact integers, settlements found on chain, publications found by their leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.zg_core.backends.opengradient.conftest import QUESTION, options
from zg_core.backends.opengradient.account import AsyncOpenGradientAccount, OpenGradientAccount, ensure_opg_approval
from zg_core.backends.opengradient.publication import included, leaf_hash
from zg_core.errors import ConfigError, InsufficientFunds
from zg_core.localnet.opengradient.settings import OPG, GatewaySettings
from zg_core.money import Amount
from zg_core.receipts.model import Receipt
from zg_core.verify.schemes.rsa_pss import Signed
from zg_core.verify.verdict import Status


@pytest.fixture
def account(og) -> Iterator[OpenGradientAccount]:
    with OpenGradientAccount(options(og), private_key=og.wallet.private_key, environ={}) as made:
        yield made


class TestApproval:
    def test_it_is_made_once_and_only_as_far_as_asked(self, og):
        wallet = og.new_wallet()
        settings: dict[str, Any] = {"options": options(og), "private_key": wallet.private_key, "environ": {}}
        made = ensure_opg_approval("1.1", **settings)
        assert (made.before.units, made.after.units) == (0, 22 * OPG // 10)
        assert made.transaction.startswith("0x")
        assert og.allowance(wallet.address) == 22 * OPG // 10
        again = ensure_opg_approval(Amount("2", "OPG"), Amount("7", "OPG"), **settings)
        assert (again.transaction, again.after.units) == ("", 22 * OPG // 10)

    def test_more_than_there_is_is_refused_before_a_transaction(self, og):
        wallet = og.new_wallet(balance=OPG)
        with pytest.raises(InsufficientFunds):
            ensure_opg_approval(5, options=options(og), private_key=wallet.private_key, environ={})
        assert og.allowance(wallet.address) == 0

    async def test_the_same_in_an_event_loop(self, og):
        wallet = og.new_wallet()
        async with AsyncOpenGradientAccount(options(og), private_key=wallet.private_key, environ={}) as account:
            assert (await account.ensure_approval(5)).after == Amount("10", "OPG")
            assert (await account.funds()).allowance == Amount("10", "OPG")


class TestSettlement:
    def test_a_permit_is_open_then_settled_for_the_sum_of_its_calls(self, og, make, account):
        client = make(provider=og.gateways[0].tee_id)
        receipts = [client.create(QUESTION).receipt for _ in range(3)]
        assert account.settlement(*receipts).status == "open"
        assert (receipts[0].payment_hash, bool(receipts[0].payment_pending)) == (None, True)
        (hash_,) = og.settle()
        found = account.settlement(*receipts)
        assert (found.status, found.transaction, found.calls) == ("settled", hash_, 3)
        assert found.amount == found.claimed == Amount(3 * receipts[0].fee.amount.units, "OPG")
        assert found.excess is None

    def test_an_audit_holds_receipts_against_what_permits_took(self, og, make, account):
        first, second = make(), make()
        for gateway in og.gateways:
            gateway.settings = GatewaySettings(idle=None)
        receipts = [client.create(QUESTION).receipt for client in (first, first, second)]
        before = account.audit(receipts)
        assert [each.result for each in before] == ["open"] * 3
        hashes = set(og.settle())
        found = account.audit(receipts)
        assert ([each.result for each in found], found.findings, found.ok) == (["agrees"] * 3, (), True)
        assert {each.transaction for each in found} == hashes
        total = sum(each.fee.amount.units for each in receipts)
        assert sum(each.settled.units for each in found.providers) == total
        assert found.backend == "opengradient"

    def test_an_audit_finds_what_was_taken_beyond_the_receipts(self, og, make, account):
        receipt = make().create(QUESTION).receipt
        for gateway in og.gateways:
            gateway.fail("settlement_inflated", factor=3)
        og.settle()
        found = account.audit([receipt])
        (finding,) = found.findings
        assert (finding.code, found.ok) == ("settled_too_much", False)
        assert finding.excess == Amount(2 * receipt.fee.amount.units, "OPG")

    async def test_an_audit_in_an_event_loop(self, og, make):
        receipt = make().create(QUESTION).receipt
        og.settle()
        wallet = og.wallet.private_key
        async with AsyncOpenGradientAccount(options(og), private_key=wallet, environ={}) as account:
            assert (await account.audit([receipt])).ok

    def test_a_receipt_learns_its_payment_hash(self, og, make):
        receipt = make().create(QUESTION).receipt
        (hash_,) = og.settle()
        assert receipt.settlement(options(og), environ={}).transaction == hash_
        assert (receipt.payment_hash, receipt.payment_pending) == (hash_, "")
        assert Receipt.from_dict(receipt.to_dict()).payment_hash == hash_

    def test_what_is_taken_beyond_what_was_metered_is_shown(self, og, make, account):
        receipt = make().create(QUESTION).receipt
        for gateway in og.gateways:
            gateway.fail("settlement_inflated", factor=3)
        og.settle()
        found = account.settlement(receipt)
        assert found.excess == Amount(2 * receipt.fee.amount.units, "OPG")

    def test_each_of_two_permits_of_one_payer_is_found_by_its_number(self, og, make, account):
        first = make().create(QUESTION).receipt
        for gateway in og.gateways:
            gateway.fail("session_expired")
        second = make().create(QUESTION).receipt
        hashes = set(og.settle())
        found = {account.settlement(each).transaction for each in (first, second)}
        assert found == hashes
        assert len(found) == 2

    @pytest.mark.parametrize("scheme", ["exact-permit2", "exact-eip3009"])
    def test_the_other_ways_to_pay_are_found_too(self, og, make, account, scheme):
        for gateway in og.gateways:
            gateway.settings = GatewaySettings(scheme=scheme, idle=None)
        receipt = make().create(QUESTION).receipt
        found = account.settlement(receipt)
        assert (found.status, found.amount) == ("settled", Amount("0.01", "OPG"))

    def test_a_call_that_costs_nothing_leaves_a_permit_that_ends_unused(self, og, make, account):
        receipt = make().create(QUESTION).receipt
        facts = {**receipt.grant, "deadline": 1}
        receipt.grant = facts
        assert account.settlement(receipt).status == "unused"

    def test_receipts_of_other_backends_have_none(self):
        from zg_core.money import Fee
        from zg_core.types import Kind

        receipt = Receipt(
            "direct", "local", 31337, "0x" + "ab" * 20, "m", Kind.TEE_ML, "11" * 32, 1, 2, Fee(Amount(7), exact=True)
        )
        with pytest.raises(ConfigError) as refused:
            receipt.settlement()
        assert refused.value.code == "no_settlement"


class TestPublication:
    def test_an_answer_is_found_in_its_batch(self, og, make, account):
        receipts = [make().create(QUESTION).receipt for _ in range(3)]
        assert account.publication(receipts[0]).status == "not_located"
        transaction = og.publish()
        for receipt in receipts:
            found = account.publication(receipt)
            assert (found.status, found.transaction) == ("published", transaction)

    def test_a_receipt_tells_payment_and_publication_at_once(self, og, make):
        receipts = [make(provider=og.gateways[0].tee_id).create(QUESTION).receipt for _ in range(3)]
        transaction = og.publish()
        (paid,) = og.settle()
        for receipt in receipts:
            found = receipt.settlement(options(og), environ={})
            assert (found.status, found.transaction) == ("settled", paid)
            assert (found.publication.status, found.publication.transaction) == ("published", transaction)
            signed = Signed.of_text(receipt.evidence.signed_text, receipt.evidence.signature)
            leaf, root = leaf_hash(receipt.provider, signed), bytes.fromhex(found.publication.root[2:])
            proof = [bytes.fromhex(each[2:]) for each in found.publication.proof]
            assert included(leaf, proof, root)
            assert not included(leaf_hash("0x" + "12" * 32, signed), proof, root)
            assert receipt.grant["settlement"]["publication"]["root"] == found.publication.root
            assert Receipt.from_dict(receipt.to_dict()).payment_hash == paid

    @pytest.mark.parametrize("mode", ["private", "batch", "individual"])
    def test_each_call_may_say_what_is_published_of_it(self, og, make, mode):
        receipt = (
            make(settlement="private" if mode != "private" else "individual")
            .create({**QUESTION, "settlement": mode})
            .receipt
        )
        assert {each.mode for gateway in og.gateways for each in gateway.seen} == {mode}
        found = receipt.settlement(options(og), environ={}).publication
        assert (found.mode, found.status) == (
            mode,
            {"private": "private", "batch": "not_located", "individual": "published"}[mode],
        )
        assert receipt.verdict.status is Status.VERIFIED

    def test_a_mode_that_nobody_knows_is_refused_before_anything_is_sent(self, og, make):
        with pytest.raises(ConfigError, match="nothing was sent"):
            make().create({**QUESTION, "settlement": "public"})
        assert not [each for gateway in og.gateways for each in gateway.seen]

    def test_a_registry_s_chain_that_is_away_does_not_hide_the_payment(self, og, make):
        receipt = make().create(QUESTION).receipt
        (paid,) = og.settle()
        found = receipt.settlement(options(og, registry_rpc_url="http://127.0.0.1:1"), environ={})
        assert (found.transaction, found.publication.status) == (paid, "not_located")

    def test_more_events_than_are_looked_at_are_told_of(self, og, make, account, monkeypatch):
        receipt = make().create(QUESTION).receipt
        og.relay._waiting.clear()  # a relay that leaves it out
        for _ in range(2):  # somebody else's
            og.relay.add((bytes(32), bytes(32), bytes(32), b"signature", 1))
            og.publish()
        monkeypatch.setattr("zg_core.backends.opengradient.publication._MOST_LOGS", 1)
        found = account.publication(receipt)
        assert (found.status, "there are more" in found.reason) == ("not_located", True)

    def test_a_blob_that_is_not_the_tree_proves_nothing(self, og, make, account):
        receipt = make().create(QUESTION).receipt
        og.publish()
        for name, blob in list(og.relay.blobs.items()):
            og.relay.blobs[name] = blob.replace(b'"treeIndex": 0', b'"treeIndex": 0').replace(
                b'"value": ["0x', b'"value": ["0xff'
            )
        assert account.publication(receipt).status == "not_located"

    def test_a_single_one_is_found_by_its_event(self, make, account):
        receipt = make(settlement="individual").create(QUESTION).receipt
        found = account.publication(receipt)
        assert (found.status, found.transaction) == ("published", receipt.grant["published"]["transaction"])

    def test_a_private_one_is_nowhere(self, make, account):
        assert account.publication(make(settlement="private").create(QUESTION).receipt).status == "private"


class TestDoctor:
    def test_all_is_well_without_a_payment(self, og, account):
        findings = account.doctor()
        steps = [each.step for each in findings]
        assert {"registry", "enclave", "attestation", "challenge", "policy", "funds"} == set(steps)
        assert not [each for each in findings if each.outcome == "fail"]
        assert not any(each.permit for gateway in og.gateways for each in gateway.seen)

    def test_what_does_not_hold_is_named(self, og, account):
        og.gateways[0].fail("wrong_payee")
        og.gateways[1].hide_attestation()
        found = {each.code for each in account.doctor() if each.outcome == "fail"}
        assert found == {"payment_recipient"}
        assert any(each.outcome == "unavailable" and each.step == "attestation" for each in account.doctor())
