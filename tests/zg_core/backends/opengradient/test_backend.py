"""Calls to a local OpenGradient: paid once, shared by many, proven, and refused where something does not hold."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from tests import moments
from tests.patience import PATIENCE
from tests.zg_core.backends.opengradient.conftest import ASKS_TOOL, QUESTION, TOOLS
from zg_core import Budget
from zg_core.errors import (
    AttestationError,
    BudgetExceeded,
    ConfigError,
    InsufficientFunds,
    ModelNotServed,
    OutcomeUnknown,
    PaymentRequired,
    ProviderUnavailable,
    RequestError,
    SessionRejected,
    StreamTruncated,
    VerificationFailed,
    VerificationUnavailable,
    ZeroGError,
)
from zg_core.http.transport import run
from zg_core.localnet.opengradient.gateway import GatewayState
from zg_core.localnet.opengradient.settings import OPG, GatewaySettings
from zg_core.money import Amount
from zg_core.verify.replay import ReplayGuard
from zg_core.verify.verdict import Binding, Reason, Status


def text_of(events: Any) -> str:
    return "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e.get("choices"))


def seen(og) -> list[Any]:
    return [each for gateway in og.gateways for each in gateway.seen]


def permits(og) -> int:
    return sum(gateway.permits for gateway in og.gateways)


class TestOneCall:
    def test_an_answer_is_paid_and_proven(self, og, make):
        reply = make(verify="require").create(QUESTION)
        receipt = reply.receipt
        assert reply.text == "2+3 = 5"
        assert (receipt.verdict.status, receipt.verdict.binding) == (Status.VERIFIED, Binding.REWRITTEN)
        assert receipt.verdict.unsigned == "usage, model, finish_reason"
        assert (receipt.backend, receipt.fee.amount.currency, receipt.payment) == ("opengradient", "OPG", "x402-upto")
        assert receipt.fee.amount.units == 13 * 2 * 10**12 + 6 * 8 * 10**12
        shown = {sha256(each.enclave.certificate.der).hexdigest() for each in og.gateways}
        assert receipt.certificate_sha256 in shown

    def test_a_stream_is_judged_on_its_signed_end(self, make):
        with make(verify="require").stream(QUESTION) as events:
            assert text_of(events) == "2+3 = 5"
        assert events.receipt is not None
        assert events.receipt.verdict.status is Status.VERIFIED

    @pytest.mark.parametrize("model", ["openai/gpt-5", "google/gemini-2.5-flash"])
    @pytest.mark.parametrize("stream", [False, True])
    def test_tool_calls_are_proven_whole_and_in_pieces(self, make, model, stream):
        client = make(verify="require", model=model)
        asked = {"messages": [ASKS_TOOL], "tools": TOOLS, "tool_choice": "any"}
        if stream:
            with client.stream(asked) as events:
                names = [
                    call["function"].get("name")
                    for event in events
                    for call in event["choices"][0]["delta"].get("tool_calls") or ()
                ]
            assert "get_token_price" in names
            receipt = events.receipt
        else:
            reply = client.create(asked)
            assert reply.body["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "get_token_price"
            receipt = reply.receipt
        assert receipt is not None
        assert receipt.verdict.status is Status.VERIFIED

    def test_images_go_in_unsigned_and_come_out_unsigned(self, make):
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
        content = [{"type": "text", "text": "What is in this image?"}, image]
        reply = make(verify="require", model="openai/gpt-image-2").create(
            {"messages": [{"role": "user", "content": content}]}
        )
        assert reply.body["choices"][0]["message"]["images"][0]["image_url"]["url"].startswith("data:image/png")
        assert reply.receipt.verdict.unsigned == "usage, model, finish_reason, images, attachments"

    def test_gateways_of_april_are_understood(self, og, make):
        for gateway in og.gateways:
            gateway.settings = replace(GatewaySettings.april(), idle=None)
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
        content = [{"type": "text", "text": "What is in this image?"}, image]
        reply = make(verify="require").create({"messages": [{"role": "user", "content": content}]})
        assert reply.receipt.verdict.status is Status.VERIFIED
        assert (reply.receipt.fee.exact, reply.receipt.fee.reason) == (False, "not_metered_yet")
        assert reply.receipt.fee.upper == OPG // 10

    def test_no_prompt_leaves_before_the_payment_is_agreed(self, og, make):
        for gateway in og.gateways:
            gateway.fail("wrong_payee", times=None)
        with pytest.raises(PaymentRequired):
            make().create(QUESTION)
        assert all(b"2+3" not in each.body for each in seen(og))

    @pytest.mark.parametrize("mode", ["private", "batch", "individual"])
    def test_what_is_published_is_the_caller_s_choice(self, og, make, mode):
        reply = make(settlement=mode).create(QUESTION)
        assert {each.mode for each in seen(og)} == {mode}
        published = reply.receipt.grant.get("published", {})
        assert ("transaction" in published) is (mode == "individual")
        assert reply.receipt.grant["mode"] == mode


class TestSharing:
    def test_calls_one_after_the_other_share_a_permit(self, og, make):
        client = make()
        receipts = [client.create(QUESTION).receipt for _ in range(3)]
        assert permits(og) == 1
        assert len({receipt.grant["nonce"] for receipt in receipts}) == 1

    def test_64_threads_share_one_permit_and_the_chain_takes_the_sum(self, og, make):
        client, wallet = make(), og.wallet
        before = og.tokens(wallet.address)
        with ThreadPoolExecutor(64) as pool:
            receipts = [each.receipt for each in pool.map(lambda _: client.create(QUESTION), range(64))]
        assert permits(og) == 1
        assert all(receipt.verdict.status is Status.VERIFIED for receipt in receipts)
        og.settle()
        claimed = sum(receipt.fee.amount.units for receipt in receipts)
        assert before - og.tokens(wallet.address) == claimed == sum(gateway.metered for gateway in og.gateways)

    async def test_64_tasks_share_one_permit(self, og, amake):
        async with amake() as client:
            replies = await asyncio.gather(*(client.create(QUESTION) for _ in range(64)))
        assert permits(og) == 1
        assert {reply.receipt.verdict.status for reply in replies} == {Status.VERIFIED}

    def test_a_client_that_allows_less_uses_no_permit_of_one_that_allows_more(self, og, make):
        make().create(QUESTION)
        with pytest.raises(PaymentRequired) as refused:
            make(cap=Amount("1", "OPG")).create(QUESTION)
        assert refused.value.code == "payment_amount"
        assert permits(og) == 1

    def test_clients_of_one_wallet_share_it_too(self, og, make):
        make().create(QUESTION)
        make().create(QUESTION)
        assert permits(og) == 1

    def test_a_session_that_is_over_is_paid_anew_without_a_second_payment_for_a_call(self, og, make):
        client = make()
        first = client.create(QUESTION).receipt
        for gateway in og.gateways:
            gateway.fail("session_expired")
        second = client.create(QUESTION).receipt
        assert permits(og) == 2
        assert first.grant["nonce"] != second.grant["nonce"]
        assert sum(gateway.served for gateway in og.gateways) == 2

    def test_a_storm_of_ended_sessions_ends(self, og, make):
        client = make()
        client.create(QUESTION)
        for gateway in og.gateways:
            gateway.fail("session_expired", times=None)
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: client.create(QUESTION), range(8)))
        assert len(replies) == 8
        assert sum(gateway.served for gateway in og.gateways) == 9

    def test_a_permit_that_was_not_sent_is_used_by_the_next_call(self, og, make):
        client = make()
        with pytest.raises(ConfigError) as refused:
            client.create({"messages": [{"role": "user", "content": og.wallet.private_key}]})
        assert refused.value.code == "secret_in_request"
        client.create(QUESTION)
        challenges = [each for each in seen(og) if not each.permit and not each.session]
        assert (permits(og), len(challenges)) == (1, 1)


class TestBudgets:
    def test_64_calls_fit_a_budget_of_one_permit_and_never_exceed_it(self, og, make):
        client = make(budget=Budget(per_run=Amount("6", "OPG")))
        with ThreadPoolExecutor(16) as pool:
            receipts = [each.receipt for each in pool.map(lambda _: client.create(QUESTION), range(64))]
        assert permits(og) == 1
        left = client.spending.left(og.wallet.address, receipts[0].provider)["per_run"]
        assert left == Amount("1", "OPG")  # the permit's cap answers for all of them

    def test_a_second_permit_fits_once_the_chain_says_what_the_first_has_taken(self, og, make):
        client = make(budget=Budget(per_run=Amount("6", "OPG")))
        first = client.create(QUESTION).receipt
        for gateway in og.gateways:
            gateway.fail("session_expired", times=2)
        with pytest.raises(SessionRejected, match="counts against the budget"):
            client.create(QUESTION)
        og.settle()
        second = client.create(QUESTION).receipt
        assert first.grant["nonce"] != second.grant["nonce"]
        assert first.payment_hash is not None
        assert client.spending.left(og.wallet.address, second.provider)["per_run"] < Amount("1", "OPG")

    def test_a_budget_that_a_permit_does_not_fit_refuses_before_anything_is_sent(self, og, make):
        make().create(QUESTION)  # a session that is another client's
        before = len(seen(og))
        with pytest.raises(BudgetExceeded):
            make(budget=Budget(per_call=Amount("0.1", "OPG"))).create(QUESTION)
        assert not any(each.permit or each.session for each in seen(og)[before:])


class TestRefusedBeforeSigning:
    @pytest.mark.parametrize(
        ("fault", "code"),
        [
            ("greedy_amount", "payment_amount"),
            ("wrong_payee", "payment_recipient"),
            ("wrong_asset", "payment_asset"),
            ("wrong_network", "payment_network"),
            ("unknown_scheme", "payment_scheme"),
            ("long_lifetime", "payment_lifetime"),
        ],
    )
    def test_what_is_not_allowed_is_refused_by_name(self, og, make, fault, code):
        for gateway in og.gateways:
            gateway.fail(fault)
        with pytest.raises(PaymentRequired) as refused:
            make().create(QUESTION)
        assert refused.value.code == code
        assert not any(each.permit for each in seen(og))

    def test_a_lower_cap_refuses_what_the_default_allows(self, og, make):
        with pytest.raises(PaymentRequired, match=r"5 OPG.*0\.1 OPG") as refused:
            make(cap=Amount("0.1", "OPG")).create(QUESTION)
        assert refused.value.code == "payment_amount"

    def test_without_tokens_or_approval_nothing_is_signed(self, og, make):
        for wallet, code in (
            (og.new_wallet(balance=0), "opg_insufficient"),
            (og.new_wallet(balance=OPG, approved=OPG), "opg_insufficient"),
            (og.new_wallet(), "opg_not_approved"),
        ):
            with pytest.raises(InsufficientFunds) as refused:
                make(private_key=wallet.private_key).create(QUESTION)
            assert refused.value.code == code
        assert not any(each.permit for each in seen(og))

    def test_a_gateway_that_finds_no_approval_says_so(self, og, make):
        wallet = og.new_wallet()
        with pytest.raises(InsufficientFunds) as refused:
            make(private_key=wallet.private_key, check_funds=False).create(QUESTION)
        assert refused.value.code == "opg_not_approved"
        assert sum(each.permit for each in seen(og)) == 1  # and no second one

    def test_a_clock_that_is_off_is_noticed(self, og, make):
        for gateway in og.gateways:
            gateway.set_clock(3600)
        with pytest.raises(ConfigError, match=r"3[56].. s behind") as refused:
            make().create(QUESTION)
        assert refused.value.code == "clock_off"
        assert not any(each.permit for each in seen(og))

    def test_a_model_that_is_not_offered_costs_nothing(self, og, make):
        with pytest.raises(ModelNotServed):
            make(model="openai/gpt-0").create(QUESTION)
        assert not any(each.permit for each in seen(og))

    def test_without_a_wallet_nothing_is_sent(self, og, make):
        with pytest.raises(ConfigError, match="OG_PRIVATE_KEY") as refused:
            make(private_key=None).create(QUESTION)
        assert refused.value.code == "no_credential"
        assert seen(og) == []

    def test_the_key_may_come_from_opengradient_s_variable(self, og, make):
        client = make(private_key=None, environ={"OG_PRIVATE_KEY": og.wallet.private_key})
        assert client.create(QUESTION).receipt.payer == og.wallet.address
        with pytest.raises(ConfigError) as refused:
            client.create({"messages": [{"role": "user", "content": og.wallet.private_key}]})
        assert refused.value.code == "secret_in_request"


class TestConnections:
    @pytest.mark.parametrize("signed", [False, True])
    def test_another_certificate_gets_no_byte(self, og, make, signed):
        for gateway in og.gateways:
            gateway.swap_certificate(signed_by_own=signed)
        try:
            with pytest.raises(ProviderUnavailable, match="certificate"):
                make().create(QUESTION)
            assert seen(og) == []
        finally:
            for gateway in og.gateways:
                gateway.show_own_certificate()

    def test_a_call_goes_to_the_next_enclave_where_one_is_dead_and_pays_once(self, og, make):
        client = make()
        first = client.create(QUESTION).receipt.provider
        dead = next(gateway for gateway in og.gateways if gateway.tee_id == first)
        dead.kill()
        try:
            replies = [client.create(QUESTION).receipt for _ in range(3)]
            assert {receipt.provider for receipt in replies} == {g.tee_id for g in og.gateways} - {first}
            assert permits(og) == 2
        finally:
            dead.restart()

    def test_a_retired_enclave_is_not_asked(self, og, make):
        og.gateways[0].retire()
        assert make().create(QUESTION).receipt.provider == og.gateways[1].tee_id
        assert og.gateways[0].seen == ()

    def test_a_named_enclave_that_is_silent_is_refused_with_the_reason(self, og, make):
        silent = og.gateways[0]
        silent.fall_silent(7200)
        with pytest.raises(ZeroGError, match=r"was heard last 7[12]") as refused:
            make(provider=silent.tee_id).create(QUESTION)
        assert refused.value.code == "enclave_inactive"
        assert seen(og) == []

    def test_an_enclave_that_nobody_registered_is_unknown(self, og, make):
        with pytest.raises(ConfigError) as refused:
            make(provider="0x" + "12" * 32).create(QUESTION)
        assert refused.value.code == "unknown_provider"

    def test_an_ended_certificate_is_refused_before_anything_is_sent(self, og, make):
        from zg_core.localnet.opengradient.enclave import Certificate

        for gateway in og.gateways:
            gateway.register(tlsCertificate=Certificate(days=-1).der)
        with pytest.raises(ZeroGError, match="certificate has ended"):
            make().create(QUESTION)
        assert seen(og) == []

    def test_a_certificate_that_ends_between_two_calls_is_refused_at_the_second(self, og, make, monkeypatch):
        client = make()
        client.create(QUESTION)
        asked = len(seen(og))
        moments.this_threads(monkeypatch, time.time() + 100 * 365 * 86400)
        with pytest.raises(ZeroGError, match="certificate has ended"):
            client.create(QUESTION)
        assert len(seen(og)) == asked

    def test_an_entry_that_has_become_unfit_is_refused_as_soon_as_it_is_read(self, og, make):
        client = make()
        client.create(QUESTION)
        asked = len(seen(og))
        for gateway in og.gateways:
            gateway.register(tlsCertificate=b"none")
        run(client.backend.registry.active(since=time.monotonic()))
        with pytest.raises(ZeroGError, match="certificate cannot be read"):
            client.create(QUESTION)
        assert len(seen(og)) == asked

    def test_an_image_that_is_not_accepted_is_refused(self, og, make):
        with pytest.raises(ZeroGError, match="is not accepted"):
            make(pcrs=["0x" + "11" * 32]).create(QUESTION)
        assert make(pcrs=["0x" + og.hypervisor.pcr_hash.hex()]).create(QUESTION).text == "2+3 = 5"


class TestVerdicts:
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        ("fault", "status", "reason"),
        [
            ("tamper", Status.FAILED, Reason.CONTENT_MISMATCH),
            ("call_injected", Status.FAILED, Reason.CONTENT_MISMATCH),
            ("wrong_key", Status.FAILED, Reason.SIGNER_MISMATCH),
            ("clock_off", Status.UNAVAILABLE, Reason.STALE),
            ("other_request", Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN),
            ("other_model", Status.RESPONSE_BOUND, Reason.MODEL_RENAMED),
        ],
    )
    def test_what_does_not_hold_is_named(self, og, make, fault, status, reason, stream):
        for gateway in og.gateways:
            gateway.fail(fault)
        client = make(verify="require")
        with pytest.raises((VerificationFailed, VerificationUnavailable)) as refused:
            if stream:
                with client.stream(QUESTION) as events:
                    list(events)
            else:
                client.create(QUESTION)
        receipt = refused.value.receipt
        assert receipt is not None
        assert (receipt.verdict.status, receipt.verdict.reason) == (status, reason)

    def test_an_unsigned_answer_and_an_unsigned_stream(self, og, make):
        client = make(verify="require")
        for stream, reason in ((False, Reason.NO_SIGNATURE), (True, Reason.INCOMPLETE)):
            for gateway in og.gateways:
                gateway.behave()
                gateway.fail("no_signature")
            with pytest.raises(VerificationUnavailable) as refused:
                if stream:
                    with client.stream(QUESTION) as events:
                        list(events)
                else:
                    client.create(QUESTION)
            assert refused.value.receipt is not None
            assert refused.value.receipt.verdict.reason in (reason, Reason.NO_SIGNATURE)

    @pytest.mark.parametrize("stream", [False, True])
    def test_an_old_answer_is_known_by_its_signature(self, og, make, stream):
        client = make(verify="require")

        def ask() -> None:
            if stream:
                with client.stream(QUESTION) as events:
                    list(events)
            else:
                client.create(QUESTION)

        ask()
        for gateway in og.gateways:
            gateway.fail("replay")
        with pytest.raises(VerificationFailed) as refused:
            ask()
        assert refused.value.code == "replayed"

    @pytest.mark.parametrize("stream", [False, True])
    def test_so_it_is_in_another_process_and_within_other_bytes(self, og, make, stream, tmp_path, monkeypatch):
        """The signature covers the output, not the bytes around it: whoever stands between may change those."""
        genuine, fresh = GatewayState.replayed, itertools.count()

        def replayed(self: GatewayState, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
            found = genuine(self, events)
            return [{**event, "id": f"chatcmpl-{next(fresh)}", "system_fingerprint": "new"} for event in found]

        monkeypatch.setattr(GatewayState, "replayed", replayed)

        def ask(store: str) -> Status:
            monkeypatch.setattr("zg_core.client._GUARD", ReplayGuard())  # as another process
            client = make(verify="require", store=f"sqlite:///{tmp_path}/{store}.db")
            if not stream:
                return client.create(QUESTION).receipt.verdict.status
            with client.stream(QUESTION) as events:
                list(events)
            return events.receipt.verdict.status

        assert [ask("ours"), ask("ours")] == [Status.VERIFIED, Status.VERIFIED], "honest answers are told apart"
        for gateway in og.gateways:
            gateway.fail("replay", times=None)
        try:
            assert ask("other") is Status.VERIFIED, "only a memory tells it from a new one"
            with pytest.raises(VerificationFailed) as refused:
                ask("ours")
        finally:
            for gateway in og.gateways:
                gateway.behave()
        assert refused.value.code == "replayed"

    @pytest.mark.parametrize("fault", ["cut", "mid_stream_error"])
    def test_a_stream_that_breaks_off_is_an_error_with_what_came(self, og, make, fault):
        for gateway in og.gateways:
            gateway.fail(fault)
        with (
            pytest.raises((StreamTruncated, RequestError)) as broken,
            make(verify="require").stream(QUESTION) as events,
        ):
            list(events)
        assert broken.value.text.startswith("2+")
        assert broken.value.receipt is not None
        assert broken.value.receipt.fee.upper == 5 * OPG

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_compressed_answer_is_read(self, og, make, stream):
        for gateway in og.gateways:
            gateway.fail("gzip")
        client = make(verify="require")
        if stream:
            with client.stream(QUESTION) as events:
                assert text_of(events) == "2+3 = 5"
        else:
            assert client.create(QUESTION).text == "2+3 = 5"

    def test_an_enclave_is_attested_before_the_prompt_leaves(self, og, make):
        image = ["0x" + og.hypervisor.pcr_hash.hex()]
        reply = make(attest=3, pcrs=image).create(QUESTION)
        assert reply.receipt.attestation is not None
        assert reply.receipt.attestation["level"] == 3
        with pytest.raises(VerificationUnavailable):
            make(attest=3).create(QUESTION)  # no image was named
        assert make(attest=2).create(QUESTION).receipt.attestation["level"] == 2

    def test_under_another_root_it_is_refused(self, og, make):
        with pytest.raises(AttestationError):
            make(attest=2, nitro_root="11" * 32).create(QUESTION)
        assert seen(og) == []

    def test_a_gateway_without_a_document_is_attested_by_the_registry_alone(self, og, make):
        for gateway in og.gateways:
            gateway.hide_attestation()
        assert make(attest=0).create(QUESTION).receipt.attestation["level"] == 0
        with pytest.raises(VerificationUnavailable):
            make(attest=1).create(QUESTION)


class TestLost:
    def test_a_paid_request_without_an_answer_is_not_sent_again(self, og, make):
        for gateway in og.gateways:
            gateway.fail("cut_before_answer")
        with pytest.raises(OutcomeUnknown) as lost:
            make(max_retries=5).create(QUESTION)
        assert lost.value.receipt is not None
        assert sum(each.permit for each in seen(og)) == 1
        assert sum(gateway.served for gateway in og.gateways) == 1

    def test_a_gateway_that_is_busy_before_the_payment_is_asked_again(self, og, make):
        og.gateways[0].fail("unavailable")
        og.gateways[1].fail("unavailable")
        assert make().create(QUESTION).text == "2+3 = 5"
        assert permits(og) == 1

    def test_a_busy_gateway_is_left_for_the_next_within_a_session(self, og, make):
        client = make()
        first = client.create(QUESTION).receipt.provider
        next(g for g in og.gateways if g.tee_id == first).fail("unavailable")
        second = client.create(QUESTION).receipt
        assert second.verdict.status is Status.VERIFIED
        assert sum(gateway.served for gateway in og.gateways) == 2


class TestOtherSchemes:
    @pytest.mark.parametrize("scheme", ["exact-permit2", "exact-eip3009"])
    def test_a_price_for_each_call_is_paid_and_exact(self, og, make, scheme):
        for gateway in og.gateways:
            gateway.settings = GatewaySettings(scheme=scheme, identifier=True, idle=None)
        before = og.tokens(og.wallet.address)
        receipts = [make().create(QUESTION).receipt for _ in range(2)]
        assert [(r.fee.exact, r.fee.amount) for r in receipts] == [(True, Amount("0.01", "OPG"))] * 2
        assert before - og.tokens(og.wallet.address) == 2 * OPG // 100
        assert receipts[0].grant["nonce"] != receipts[1].grant["nonce"]
        assert receipts[0].grant["identifier"].startswith("pay_")

    def test_exact_can_be_left_out(self, og, make):
        for gateway in og.gateways:
            gateway.settings = GatewaySettings(scheme="exact-permit2", idle=None)
        with pytest.raises(PaymentRequired) as refused:
            make(schemes=["upto"]).create(QUESTION)
        assert refused.value.code == "payment_scheme"


def test_secrets_of_payments_show_nowhere(og, make, caplog):
    client = make(provider=og.gateways[0].tee_id)  # on a slow machine it may be passed over for its sign of life
    reply = client.create(QUESTION)
    (sent,) = [each for each in seen(og) if each.permit]
    session = next(iter(each.session for each in seen(og) if each.session), "")
    client.create(QUESTION)
    session = session or next(each.session for each in seen(og) if each.session)
    shown = repr(reply.receipt) + str(reply.receipt.to_dict()) + caplog.text + repr(client) + repr(client.backend)
    assert sent.headers["payment-signature"] not in shown
    assert session not in shown
    assert og.wallet.private_key.removeprefix("0x") not in shown


def test_a_stream_that_nobody_reads_to_its_end_leaves_the_permit_to_others(og, make):
    client = make(provider=og.gateways[0].tee_id)
    stream = client.stream(QUESTION)
    next(iter(stream))
    done = threading.Event()

    def other() -> None:
        client.create(QUESTION)
        done.set()

    threading.Thread(target=other, daemon=True).start()
    assert done.wait(PATIENCE)
    stream.close()
    assert permits(og) == 1
