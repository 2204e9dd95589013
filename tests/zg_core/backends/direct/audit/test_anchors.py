"""The chain as the anchor of a receipt, and verdicts made late: what the receipt says of its record does not count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.zg_core.conftest import ask
from zg_core import Broker, ChatClient
from zg_core.backends.direct.audit.anchors import chain_anchor, resolve_late
from zg_core.contracts.reader import ChainReader
from zg_core.errors import ChainError, ConfigError
from zg_core.http.transport import run
from zg_core.localnet import LocalNet, LocalProvider
from zg_core.localnet.provider.onchain import Registration
from zg_core.receipts import Check, Receipt, ReceiptStore, check
from zg_core.store import Store
from zg_core.types import ServiceRecord
from zg_core.verify.verdict import Reason, Status, Verdict


class ForgetfulChain(ChainReader):
    """Reads a node that keeps no old state."""

    async def service_at(self, provider: str, block: int) -> ServiceRecord:
        raise ChainError(f"missing trie node {provider} {block}", code="rpc_error")


@pytest.fixture
def broker(options: dict[str, Any]) -> Iterator[Broker]:
    where = {name: options[name] for name in ("network", "rpc_url", "ledger", "inference")}
    with Broker.read_only(**where, environ={}) as made:
        yield made


@pytest.fixture
def chain(broker: Broker) -> ChainReader:
    return broker.core.chain


@pytest.fixture
def forgetful(broker: Broker) -> ChainReader:
    return ForgetfulChain(broker.network, broker.transport)


@pytest.fixture
def own(net: LocalNet, provider: LocalProvider) -> Iterator[LocalProvider]:
    """The TeeML provider; its record is as before afterwards."""
    snapshot = net.snapshot()
    yield provider
    net.revert(snapshot)


def asked(options: dict[str, Any], provider: LocalProvider, **more: Any) -> Receipt:
    with ChatClient(**{**options, "provider": provider.address, "keep_bytes": True, **more}) as client:
        return client.create(ask("hi")).receipt


def change(net: LocalNet, number: int, **changes: Any) -> None:
    """The operator registers his service anew."""
    side = net._states[number].side
    now = side.service()
    facts = {
        "service_type": now["serviceType"],
        "url": now["url"],
        "model": now["model"],
        "verifiability": now["verifiability"],
        "input_price": now["inputPrice"],
        "output_price": now["outputPrice"],
        "additional_info": now["additionalInfo"],
        "tee_signer": now["teeSignerAddress"],
    }
    side.register(Registration(**{**facts, **changes}), first=False)


def checked(receipt: Receipt, chain: ChainReader) -> Check:
    return check(receipt.to_dict(), run(chain_anchor(receipt, chain)))


class TestAnchor:
    def test_the_record_at_the_block_of_the_call_counts(self, options, own, net, chain):
        receipt = asked(options, own)
        change(net, 0, url="http://127.0.0.1:9", input_price=10**15)
        found = checked(receipt, chain)
        assert found.result == "passed", found.reason
        assert not {"service.url", "payment.prices", "payment.fee"} & set(found.unvouched)

    def test_a_record_that_was_never_there_fails(self, options, own, net, chain):
        receipt = asked(options, own)
        for name, value in {"url": "https://evil", "input_price": 7, "updated_at": 1, "model": "x"}.items():
            forged = Receipt.from_dict(receipt.to_dict())
            forged.service = replace(forged.service, **{name: value})
            forged.input_price = forged.service.input_price
            assert checked(forged, chain).result == "failed"

    def test_a_record_read_just_after_the_newest_block_is_found(self, options, own, net, chain):
        """The block number is asked for just before the record; a change may come in between."""
        before = run(chain.service(own.address, fresh=True))
        change(net, 0, url="http://127.0.0.1:9")
        change(net, 0, url=before.url)
        receipt = asked(options, own)
        receipt.service_block -= 1
        change(net, 0, url="http://127.0.0.1:8")
        found = checked(receipt, chain)
        assert found.result == "passed", found.reason
        assert "service.url" not in found.unvouched

    def test_where_old_state_is_forgotten_an_unchanged_record_is_known(self, options, own, forgetful):
        receipt = asked(options, own)
        found = checked(receipt, forgetful)
        assert found.result == "passed", found.reason
        assert "service.url" not in found.unvouched
        receipt.service = replace(receipt.service, url="https://evil")
        assert checked(receipt, forgetful).result == "failed"

    def test_where_old_state_is_forgotten_a_changed_record_is_nobody_s_word(self, options, own, net, forgetful):
        receipt = asked(options, own)
        net.clock.advance(5)
        change(net, 0, url="http://127.0.0.1:9")
        found = checked(receipt, forgetful)
        assert found.result == "passed", found.reason
        assert {"service.url", "payment.prices", "payment.fee", "kind"} <= set(found.unvouched)

    @pytest.mark.parametrize("days", [-400, 0, 400])
    def test_where_old_state_is_forgotten_no_clock_of_the_caller_accuses(self, options, own, net, forgetful, days):
        receipt = asked(options, own)
        receipt.started_at += timedelta(days=days)
        net.clock.advance(5)
        own.rotate_signer()
        assert checked(receipt, forgetful).result == "unproven"

    def test_a_provider_that_left_is_known_by_its_past(self, options, own, net, chain, forgetful):
        receipt = asked(options, own)
        before = chain.service

        async def left(provider: str, *, fresh: bool = False) -> ServiceRecord:
            raise ConfigError("it is not registered", code="unknown_provider")

        chain.service = forgetful.service = left
        try:
            assert checked(receipt, chain).result == "passed"
            assert checked(receipt, forgetful).result == "unproven"
        finally:
            chain.service = before

    def test_a_revoked_key_counted_while_it_was_acknowledged(self, options, own, chain):
        receipt = asked(options, own)
        own.revoke_acknowledgement()
        assert checked(receipt, chain).result == "passed"
        receipt.service_block = int(run(chain.rpc.batch([("eth_blockNumber", [])]))[0], 16)
        assert checked(receipt, chain).result == "failed", "at that block it was not"

    def test_another_chain_or_contract_is_said_to_be_one(self, options, own, chain):
        receipt = asked(options, own)
        for name, value in (("chain_id", 1), ("backend", "router"), ("inference", "0x" + "11" * 20)):
            other = Receipt.from_dict(receipt.to_dict())
            setattr(other, name, value)
            with pytest.raises(ConfigError) as caught:
                run(chain_anchor(other, chain))
            assert caught.value.code == "other_network"
        receipt.ledger = "0x" + "11" * 20
        assert checked(receipt, chain).result == "failed"


class TestLate:
    @pytest.fixture
    def kept(self, tmp_path) -> ReceiptStore:
        return ReceiptStore(Store.open(f"sqlite:///{tmp_path}/store.db"))

    def pending(self, kept: ReceiptStore, receipt: Receipt, **changes: Any) -> Receipt:
        """The receipt as one whose check was broken off, with a record of its own making."""
        receipt.service = replace(receipt.service, **changes)
        receipt.verdict = Verdict(Status.PENDING, kind=receipt.kind)
        kept.write(receipt)
        return receipt

    def late(self, kept: ReceiptStore, broker: Broker, chain: ChainReader | None = None) -> Verdict:
        (done,) = run(resolve_late(kept, chain or broker.core.chain, broker.transport))
        return done.verdict

    def test_signer_and_url_are_read_from_the_chain(self, options, own, kept, broker):
        made_up = {"url": "http://127.0.0.1:9", "tee_signer": "0x" + "11" * 20, "additional_info": "{}"}
        self.pending(kept, asked(options, own), **made_up)
        verdict = self.late(kept, broker)
        assert (verdict.status, verdict.expected_signer) == (Status.VERIFIED, own.tee_signer)

    def test_those_of_other_backends_are_not_looked_at(self, options, own, kept, broker):
        receipt = asked(options, own)
        receipt.backend = "opengradient"  # on a chain of the same number
        self.pending(kept, receipt)
        assert run(resolve_late(kept, broker.core.chain, broker.transport)) == []

    def test_a_provider_that_moved_is_asked_where_it_is(self, options, own, net, kept, broker):
        receipt = asked(options, own)
        real = net._states[0].url
        change(net, 0, url="http://127.0.0.1:9")
        self.pending(kept, receipt)
        assert self.late(kept, broker).reason is Reason.NO_SIGNATURE
        change(net, 0, url=real)
        assert self.late(kept, broker).status is Status.VERIFIED

    def test_a_key_that_rotated_since_is_known_by_its_block(self, options, own, kept, broker, forgetful, net):
        receipt = asked(options, own)
        old = own.tee_signer
        net.clock.advance(5)
        own.rotate_signer()
        self.pending(kept, receipt)
        assert self.late(kept, broker, forgetful).reason is Reason.RECORD_UNREADABLE, "it accuses nobody"
        verdict = self.late(kept, broker)
        assert (verdict.status, verdict.expected_signer) == (Status.VERIFIED, old)

    def test_a_kind_that_changed_since_is_known_by_its_block(self, options, own, net, kept, broker):
        receipt = asked(options, own)
        change(net, 0, additional_info='{"ProviderType":"centralized"}')
        self.pending(kept, receipt)
        verdict = self.late(kept, broker)
        assert (verdict.status, verdict.kind) == (Status.VERIFIED, receipt.kind)

    def test_a_url_that_may_not_be_asked_is_not(self, options, own, net, kept, broker):
        receipt = asked(options, own)
        self.pending(kept, receipt)
        change(net, 0, url="http://provider.example")
        assert self.late(kept, broker).status is Status.UNAVAILABLE

    def test_a_key_of_the_receipt_s_own_making_proves_nothing(self, options, own, kept, broker):
        """Whoever can write into the store names his key there, and serves what it signed at a URL of his."""
        receipt = asked(options, own)
        receipt.response_sha256 = "11" * 32
        self.pending(kept, receipt, tee_signer="0x" + "11" * 20)
        assert self.late(kept, broker).reason is Reason.CONTENT_MISMATCH
