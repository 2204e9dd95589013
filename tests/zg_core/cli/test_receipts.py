"""``zerog receipts``: list, show, export, verify and audit."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import threading
from dataclasses import replace

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from tests.patience import PATIENCE
from tests.zg_core.cli.running import zerog_of
from zg_core import ChatClient, VerificationWarning
from zg_core.calls.closing import RECORD_CHANGED
from zg_core.receipts import Receipt, ReceiptStore
from zg_core.store import Store
from zg_core.verify.verdict import Reason, Status, Verdict

OWN_KEY = "0x" + "77" * 32


def stored(who) -> ReceiptStore:
    return ReceiptStore(Store.open(f"sqlite:///{who.environ['ZEROG_HOME']}/store.db"))


def asked(who, provider, text="hi", **options):
    """One call by the library into the command line's store; its receipt."""
    environ = {name: value for name, value in who.environ.items() if name != "ZEROG_HOME"}
    with ChatClient(provider=provider, environ=environ, store=stored(who)._store, **options) as client:
        return client.create({"messages": [{"role": "user", "content": text}]}).receipt


def written(tmp_path, *receipts: Receipt) -> str:
    path = tmp_path / "receipts.json"
    path.write_text(json.dumps({"receipts": [each.to_dict() for each in receipts]}))
    return str(path)


def forged(receipt: Receipt) -> Receipt:
    """The receipt with another answer, signed by a key of the forger's, who is named as the signer."""
    made = Receipt.from_dict(receipt.to_dict())
    forger = Account.from_key(OWN_KEY)
    answer = b'{"id":"chatcmpl-1","choices":[{"message":{"content":"forged"}}]}'
    digest = hashlib.sha256(answer).hexdigest()
    text = f"{receipt.request_sha256}:{digest}"
    signature = "0x" + bytes(forger.sign_message(encode_defunct(text=text)).signature).hex()
    made.response_sha256, made.response_body, made.response_bytes = digest, answer, len(answer)
    made.usage, made.fee = None, replace(receipt.fee, exact=False, reason="no_usage")
    made.service = replace(receipt.service, tee_signer=forger.address)
    verdict = replace(
        receipt.verdict,
        expected_signer=forger.address,
        recovered_signer=forger.address,
        signed_text=text,
        signature=signature,
        response_sha256=digest,
        signed_response_sha256=digest,
    )
    made.settle(verdict)
    return made


class TestListAndShow:
    def test_calls_of_the_command_line_are_on_record(self, rich, provider):
        receipt = rich.json("chat", "hi", "--provider", provider)["receipt"]
        (listed,) = rich.json("receipts", "list")["receipts"]
        assert listed == receipt
        ran = rich("receipts", "list")
        assert receipt["receipt_id"][:12] in ran.out
        assert "verified" in ran.out
        shown = rich.json("receipts", "show", receipt["receipt_id"][:8])
        assert shown["receipt"] == receipt
        assert [each["status"] for each in shown["verdicts"]] == ["verified"]
        assert receipt["request"]["sha256"] in rich("receipts", "show", receipt["receipt_id"]).out

    def test_no_receipts_are_none_and_an_unknown_one_is_an_error(self, poor):
        assert "no receipts" in poor("receipts", "list").out
        assert poor.fails("receipts", "show", "0" * 32, code=1)["code"] == "unknown_receipt"

    def test_a_memory_store_has_none(self, poor):
        assert poor.fails("receipts", "list", code=1, ZEROG_STORE="memory:")["code"] == "memory_store"

    def test_the_list_can_be_narrowed(self, rich, provider, market):
        asked(rich, provider)
        assert len(rich.json("receipts", "list", "--provider", provider)["receipts"]) == 1
        assert rich.json("receipts", "list", "--provider", market.providers[1].address)["receipts"] == []
        assert rich.json("receipts", "list", "--until", "2020-01-01")["receipts"] == []


class TestExport:
    def test_json_goes_through_verify(self, rich, provider, market, tmp_path):
        asked(rich, provider)
        path = tmp_path / "all.json"
        assert rich.json("receipts", "export", "-o", str(path))["count"] == 1
        signer = market.providers[0].tee_signer
        assert "passed" in rich("receipts", "verify", str(path), "--signer", signer).out

    def test_csv_has_a_line_for_each_and_no_formulas(self, rich, provider):
        receipt = asked(rich, provider)
        receipt.model, receipt.chat_id = "=HYPERLINK(1)", "@SUM(A1)"
        stored(rich).write(receipt)
        (row,) = csv.DictReader(io.StringIO(rich("receipts", "export", "--format", "csv").out))
        assert (row["model"], row["chat_id"]) == ("'=HYPERLINK(1)", "'@SUM(A1)")
        assert row["fee"] == str(receipt.fee.amount.units)


@pytest.fixture(params=[True, False], ids=["bytes", "hashes"])
def kept(request):
    return request.param


class TestVerify:
    def test_an_honest_receipt_needs_an_anchor(self, rich, provider, market, tmp_path, kept, nobody):
        path = written(tmp_path, asked(rich, provider, keep_bytes=kept))
        pins = tmp_path / "pins.json"
        pins.write_text(json.dumps({provider.lower(): [market.providers[0].tee_signer]}))
        ran = nobody("receipts", "verify", path, ok=False)
        assert ran.code == 3
        assert "consistent, signer not anchored" in ran.out
        assert ("hashes only" in ran.out) is not kept
        for anchor in (("--signer", market.providers[0].tee_signer), ("--pins", str(pins)), ("--rpc", market.rpc_url)):
            document = nobody.json("receipts", "verify", path, *anchor)
            assert [each["result"] for each in document["results"]] == ["passed"], document

    def test_a_receipt_forged_with_an_own_key_never_passes(self, rich, provider, market, tmp_path, nobody):
        path = written(tmp_path, forged(asked(rich, provider, keep_bytes=True)))
        pins = tmp_path / "pins.json"
        pins.write_text(json.dumps({f"31337:{provider}": market.providers[0].tee_signer}))
        assert nobody("receipts", "verify", path, ok=False).code == 3
        for anchor in (("--signer", market.providers[0].tee_signer), ("--pins", str(pins)), ("--rpc", market.rpc_url)):
            ran = nobody("receipts", "verify", path, *anchor, ok=False)
            assert ran.code == 1, str(ran)
            assert "failed" in ran.out

    def test_pins_without_the_provider_prove_nothing(self, rich, provider, tmp_path, nobody):
        path = written(tmp_path, asked(rich, provider))
        (tmp_path / "pins.json").write_text("{}")
        assert nobody("receipts", "verify", path, "--pins", str(tmp_path / "pins.json"), ok=False).code == 3

    def test_a_rotated_signer_is_found_at_the_block_of_the_call(self, rich, provider, market, tmp_path, nobody):
        path = written(tmp_path, asked(rich, provider))
        market.providers[0].rotate_signer()
        ran = nobody("receipts", "verify", path, "--rpc", market.rpc_url)
        assert "passed" in ran.out

    def test_a_signer_that_rotated_during_the_call_still_passes(self, rich, provider, market, tmp_path, nobody):
        with market.providers[0].fault("signer_rotated"):
            receipt = asked(rich, provider)
        assert receipt.verdict.status is Status.VERIFIED
        path = written(tmp_path, receipt)
        assert nobody("receipts", "verify", path, ok=False).code == 3
        assert "passed" in nobody("receipts", "verify", path, "--rpc", market.rpc_url).out

    @pytest.mark.parametrize("rpc", ["http://127.0.0.1:1"])
    def test_a_chain_that_cannot_be_read_proves_nothing(self, rich, provider, tmp_path, nobody, rpc):
        ran = nobody("receipts", "verify", written(tmp_path, asked(rich, provider)), "--rpc", rpc, ok=False)
        assert ran.code == 3
        assert "the chain cannot be read" in ran.err

    @pytest.mark.parametrize("junk", ["", "[]", "{}", "[1]", '{"receipts": [{"schema": "zerog-receipt/9"}]}'])
    def test_what_is_no_receipt_is_an_error(self, nobody, tmp_path, junk):
        (tmp_path / "junk.json").write_text(junk)
        assert nobody.fails("receipts", "verify", str(tmp_path / "junk.json"), code=1)["code"] == "bad_receipt"

    def test_what_to_verify_must_be_named(self, nobody):
        assert nobody.fails("receipts", "verify", code=2)["code"] == "usage"
        assert nobody.fails("receipts", "verify", "x", "--rpc", "u", "--signer", "0x" + "1" * 40, code=2)


class TestLate:
    def test_a_pending_verdict_is_made_up_for(self, rich, provider):
        receipt = asked(rich, provider)
        receipt.verdict = Verdict(Status.PENDING, kind=receipt.kind)
        stored(rich).append(receipt)
        assert rich.json("receipts", "list")["receipts"][0]["status"] == "pending"
        document = rich.json("receipts", "verify", "--late")
        assert [each["verdict"]["status"] for each in document["results"]] == ["verified"]
        assert rich.json("receipts", "list")["receipts"][0]["status"] == "verified"
        assert "no receipt is pending" in rich("receipts", "verify", "--late").out

    def test_a_signature_that_is_gone_stays_unavailable(self, rich, provider, market):
        with market.providers[0].fault("signature_never"), pytest.warns(VerificationWarning):
            receipt = asked(rich, provider)
        assert receipt.verdict.reason is Reason.NO_SIGNATURE
        ran = rich("receipts", "verify", "--late", ok=False)
        assert ran.code == 3


class TestBundle:
    @pytest.fixture
    def bundled(self, rich, provider, tmp_path):
        rich("chat", "hi", "--provider", provider, ZEROG_RUN="nightly")
        asked(rich, provider)  # of no run
        return tmp_path / "out.zip"

    def test_a_run_is_checked_offline_by_somebody_else(self, rich, nobody, market, bundled, tmp_path):
        (tmp_path / "quotes").mkdir()
        (tmp_path / "quotes" / "report.json").write_text("{}")
        made = rich.json(
            "receipts", "bundle", "--run", "nightly", str(bundled), "--sign", "--evidence", str(tmp_path / "quotes")
        )
        assert made["count"] == 1
        signer = market.providers[0].tee_signer
        ran = nobody("receipts", "verify", str(bundled), "--signer", signer)
        assert (ran.code, "passed" in ran.out, "run nightly" in ran.out) == (0, True, True)
        assert made["signer"] in ran.out
        assert "payment.payer" in ran.out, "what nobody vouches for"
        found = nobody.json("receipts", "verify", str(bundled), "--rpc", market.rpc_url)
        assert (found["manifest_sha256"], found["signer"]) == (made["manifest_sha256"], made["signer"])
        assert [each["result"] for each in found["results"]] == ["passed"]
        assert nobody("receipts", "verify", str(bundled), ok=False).code == 3, "nobody says whose key it is"

    def test_since_a_time_and_unsigned(self, rich, nobody, market, bundled):
        made = rich.json("receipts", "bundle", "--since", "2020-01-01", str(bundled))
        assert (made["count"], made["signer"]) == (2, None)
        ran = nobody("receipts", "verify", str(bundled), "--signer", market.providers[0].tee_signer)
        assert "nobody: whoever had it may have changed it" in ran.out
        assert ran.out.count("passed") == 2

    def test_one_that_was_changed_is_refused(self, rich, nobody, bundled):
        rich("receipts", "bundle", "--since", "2020-01-01", str(bundled))
        whole = bytearray(bundled.read_bytes())
        whole[len(whole) // 2] ^= 1
        bundled.write_bytes(whole)
        assert nobody.fails("receipts", "verify", str(bundled), code=1)["code"] == "bad_bundle"

    def test_what_is_asked_for_has_to_be_said_and_there(self, rich, bundled):
        assert rich("receipts", "bundle", str(bundled), ok=False).code == 2
        assert rich.fails("receipts", "bundle", "--run", "other", str(bundled), code=1)["code"] == "bad_bundle"
        assert not bundled.exists()

    def test_the_run_is_in_the_lists(self, rich, bundled):
        assert len(rich.json("receipts", "list", "--run", "nightly")["receipts"]) == 1
        assert len(rich.json("receipts", "export", "--run", "nightly")["receipts"]) == 1
        assert rich.json("receipts", "list", "--run", "other")["receipts"] == []


class TestAudit:
    def test_of_a_backend_that_nothing_is_known_of(self, poor):
        assert poor.fails("receipts", "audit", "--backend", "other", code=1)["code"] == "unknown_backend"

    def test_of_a_backend_whose_receipts_say_where_to_look_no_block_is_taken(self, poor):
        words = ("receipts", "audit", "--backend", "opengradient", "--from-block", "7")
        assert poor.fails(*words, code=1)["code"] == "bad_setting"

    def test_honest_settlements_fit(self, rich, provider, market):
        receipts = [asked(rich, provider) for _ in range(2)]
        market.providers[0].settle()
        alone = asked(rich, provider)
        market.providers[0].settle()
        asked(rich, provider)
        document = rich.json("receipts", "audit")
        assert (document["ok"], document["findings"]) == (True, [])
        (row,) = document["providers"]
        covered = {each for settlement in row["settlements"] for each in settlement["receipts"]}
        assert {each.id for each in [*receipts, alone]} <= covered
        assert int(row["settled"]) + int(row["unsettled"]) == int(row["exact"])
        assert "nothing outside" in rich("receipts", "audit").out

    def found(self, who, *codes):
        ran = who("receipts", "audit", "--json", ok=False)
        assert ran.code == 1, str(ran)
        assert [each["code"] for each in ran.document["findings"] if each["outside"]] == [*codes], str(ran)
        return ran.document

    def test_a_settlement_above_the_providers_own_log_is_found(self, rich, provider, market):
        with market.providers[0].fault("settlement_inflated", times=None, factor=3):
            receipt = asked(rich, provider)
            market.providers[0].settle()  # if it has not done so by itself
        document = self.found(rich, "settled_too_much")
        (finding,) = document["findings"]
        assert "ZEROG_STORE" in document["warnings"][0]
        assert finding["excess"] == str(2 * receipt.fee.amount.units)
        assert finding["receipts"] == [receipt.id]

    def raised(self, who, provider, market, record_age):
        """Two calls, before the second of which the price is raised, and a third that reads the record again."""
        environ = {name: value for name, value in who.environ.items() if name != "ZEROG_HOME"}
        corrected = threading.Event()
        given = {"provider": provider, "environ": environ, "record_age": record_age, "store": stored(who)._store}
        with ChatClient(**given, on_verdict=lambda _: corrected.set()) as client:
            client.create({"messages": [{"role": "user", "content": "hi"}]})
            market.providers[0].fault("price_raised")
            second = client.create({"messages": [{"role": "user", "content": "hi"}]}).receipt
            if not record_age:
                client.create({"messages": [{"role": "user", "content": "hi"}]})
            if RECORD_CHANGED in second.flags:  # its own read came before the change
                assert corrected.wait(PATIENCE)
        market.providers[0].settle()

    def test_a_price_raised_between_two_calls_is_found(self, rich, provider, market):
        before = market.providers[0].prices
        try:
            self.raised(rich, provider, market, record_age=3600)
            self.found(rich, "settled_too_much", "price_raised")
        finally:
            market.providers[0].set_price(*before)

    def test_with_young_records_the_receipts_allow_for_it(self, rich, provider, market):
        before = market.providers[0].prices
        try:
            self.raised(rich, provider, market, record_age=0)
            findings = rich.json("receipts", "audit")["findings"]
            assert {(each["code"], each["outside"]) for each in findings} == {("price_raised", False)}
        finally:
            market.providers[0].set_price(*before)

    def test_an_openly_raised_price_is_a_notice(self, rich, provider, market):
        before = market.providers[0].prices
        asked(rich, provider)
        try:
            market.providers[0].set_price(before[0] * 2, before[1])
            asked(rich, provider)
            document = rich.json("receipts", "audit")
        finally:
            market.providers[0].set_price(*before)
        assert [(each["code"], each["outside"]) for each in document["findings"]] == [("price_raised", False)]

    def test_inflated_usage_is_found(self, rich, provider, market):
        with market.providers[0].fault("usage_inflated", factor=1000):
            receipt = asked(rich, provider)
        market.providers[0].settle()
        too_much, inflated = self.found(rich, "settled_too_much", "usage_inflated")["findings"]
        assert inflated["receipts"] == [receipt.id]
        assert int(too_much["excess"]) > 0, "what was billed beyond the bytes exchanged"

    def test_receipts_kept_in_memory_are_named_before_the_provider_is_accused(self, rich, provider, market):
        asked(rich, provider)
        environ = {name: value for name, value in rich.environ.items() if name != "ZEROG_HOME"}
        with ChatClient(provider=provider, environ=environ) as client:  # in the library's own store: memory
            client.create({"messages": [{"role": "user", "content": "hi"}]})
        market.providers[0].settle()
        both = rich("receipts", "audit", ok=False)
        assert both.code == 1
        assert "kept in memory" in both.err
        assert "ZEROG_STORE" in both.err
        assert f"{rich.environ['ZEROG_HOME']}/store.db" in both.err

    def test_nor_is_an_empty_store_silent_about_it(self, rich, provider, market):
        environ = {name: value for name, value in rich.environ.items() if name != "ZEROG_HOME"}
        with ChatClient(provider=provider, environ=environ) as client:
            client.create({"messages": [{"role": "user", "content": "hi"}]})
        market.providers[0].settle()
        ran = rich("receipts", "audit", ok=False)
        assert (ran.code, "no receipts to compare" in ran.out, "ZEROG_STORE" in ran.err) == (3, True, True)

    def test_without_receipts_there_is_nothing_to_compare(self, poor):
        ran = poor("receipts", "audit", ok=False)
        assert (ran.code, "no receipts to compare" in ran.out) == (3, True)

    def test_anybody_can_be_audited_at_the_upper_end(self, rich, provider, market, tmp_path):
        asked(rich, provider)
        owner = rich.json("account")["wallet"]
        other = zerog_of(market, tmp_path, None)  # the same home, no wallet
        (row,) = other.json("receipts", "audit", "--user", owner)["providers"]
        assert row["unsettled"] is None
