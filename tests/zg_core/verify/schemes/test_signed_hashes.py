"""The verdict table: every status and reason a reply can get, for every kind of service that signs.

Signatures are real ones, made here with eth_account. The look-ups are functions of the test, since their failing is
part of the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from tests.zg_core.verify.scene import (
    ANSWER,
    BROKER,
    CHAT_ID,
    ENCLAVE,
    FINGERPRINT,
    PROVIDER,
    REQUEST,
    SIGNING,
    STRANGER,
    Scene,
    service,
    sha,
)
from zg_core.crypto import CURVE_ORDER
from zg_core.types import Kind, ServiceRecord
from zg_core.verify.verdict import Binding, Reason, Status

Change = Callable[[Scene], None]
ROWS: list[tuple[str, tuple[Kind, ...], Status, Reason, Change]] = []


def row(status: Status, reason: Reason = Reason.NONE, kinds: tuple[Kind, ...] = SIGNING) -> Callable[[Change], Change]:
    """Add a row: what was changed, and the one verdict it must get."""

    def add(change: Change) -> Change:
        ROWS.append((change.__name__.replace("_", " "), kinds, status, reason, change))
        return change

    return add


TLS = (Kind.TEE_TLS,)
PAIRS = (Kind.TEE_ML, Kind.TEE_ML_SEPARATED)


def rotated(record: ServiceRecord, key: str) -> ServiceRecord:
    """`record` after the enclave got another key."""
    address = Account.from_key(key).address
    if record.kind is Kind.TEE_ML_SEPARATED:
        info = {**json.loads(record.additional_info), "TargetTeeAddress": address}
        return replace(record, additional_info=json.dumps(info))
    return replace(record, tee_signer=address)


# verified -----------------------------------------------------------------------------------------------------------


@row(Status.VERIFIED)
def honest(scene: Scene) -> None:
    """Nothing is changed."""


@row(Status.VERIFIED)
def the_signing_address_of_the_document_is_a_lie(scene: Scene) -> None:
    scene.document["signing_address"] = "0x" + "00" * 20


@row(Status.VERIFIED)
def the_chat_id_comes_from_the_body(scene: Scene) -> None:
    scene.header, scene.body_id = "", f"chatcmpl-{CHAT_ID}"


@row(Status.VERIFIED)
def the_request_was_remarshalled_with_usage_asked_for(scene: Scene) -> None:
    # 0g-direct §4.3: sorted keys, HTML escapes, float64 numbers
    scene.signed_request = sha(
        b'{"max_tokens":5,"messages":[{"content":"a\\u003cb","role":"user"}],"model":"m","stream":true,'
        b'"stream_options":{"include_usage":true},"temperature":1}'
    )


@row(Status.VERIFIED)
def the_key_was_rotated_before_the_call_and_the_cache_is_old(scene: Scene) -> None:
    scene.record_after = rotated(scene.record, STRANGER)
    scene.key = STRANGER


@row(Status.VERIFIED)
def the_key_was_rotated_after_the_call(scene: Scene) -> None:
    scene.record_after = rotated(scene.record, STRANGER)


@row(Status.VERIFIED)
def the_owner_acknowledged_the_key_meanwhile(scene: Scene) -> None:
    scene.record = replace(scene.record, acknowledged=False)


@row(Status.VERIFIED)
def the_chain_is_down_but_not_needed(scene: Scene) -> None:
    scene.record_after = None


@row(Status.VERIFIED, kinds=TLS)
def the_service_became_teetls_meanwhile(scene: Scene) -> None:
    scene.record = service(Kind.TEE_ML)


@row(Status.VERIFIED, kinds=(Kind.TEE_ML,))
def the_service_became_teeml_meanwhile(scene: Scene) -> None:
    scene.record = service(Kind.TEE_TLS)


RENAMED = b'{"max_tokens":5,"messages":[],"model":"m"}'


def ask_for(scene: Scene, model: str, forwarded: bytes = RENAMED) -> None:
    """The request names `model`; the provider signs `forwarded`."""
    scene.sent = b'{"model":"%s","messages":[],"max_tokens":5}' % model.encode()
    scene.signed_request = sha(forwarded)


@row(Status.VERIFIED)
def the_model_was_renamed_as_the_user_accepts(scene: Scene) -> None:
    ask_for(scene, "alias")
    scene.accept_models = {"alias": "m"}


@row(Status.VERIFIED)
def the_model_was_renamed_to_a_name_that_only_the_user_knows(scene: Scene) -> None:
    ask_for(scene, "m", RENAMED.replace(b'"m"', b'"vendor/m-1"'))
    scene.accept_models = {"m": "vendor/m-1", "alias": "m"}


@row(Status.VERIFIED)
def an_adapter_was_rewritten_as_the_user_accepts(scene: Scene) -> None:
    ask_for(scene, "ft-m-1", b'{"lora_adapter_name":"ft-m-1","max_tokens":5,"messages":[],"model":"m"}')
    scene.accept_models = {"ft-m-1": "m"}


@row(Status.VERIFIED)
def no_model_was_asked_for_and_the_provider_named_its_own(scene: Scene) -> None:
    scene.sent = b'{"messages":[],"max_tokens":5}'
    scene.signed_request = sha(RENAMED)


@row(Status.VERIFIED)
def the_hashes_have_0x(scene: Scene) -> None:
    scene.signed_request, scene.signed_answer = "0x" + scene.signed_request, "0x" + scene.signed_answer


@row(Status.VERIFIED, kinds=TLS)
def the_certificate_has_0x_in_one_place(scene: Scene) -> None:
    scene.document["tls_cert_fingerprint"] = "0x" + FINGERPRINT


# response_bound: the model was renamed ------------------------------------------------------------------------------


@row(Status.RESPONSE_BOUND, Reason.MODEL_RENAMED)
def an_alias_was_renamed_to_the_model_on_chain(scene: Scene) -> None:
    ask_for(scene, "alias")


@row(Status.RESPONSE_BOUND, Reason.MODEL_RENAMED)
def an_alias_was_renamed_and_another_rename_is_accepted(scene: Scene) -> None:
    ask_for(scene, "alias")
    scene.accept_models = {"alias": "n", "other": "m"}


@row(Status.RESPONSE_BOUND, Reason.MODEL_RENAMED)
def the_model_on_chain_was_renamed_to_its_canonical_name(scene: Scene) -> None:
    ask_for(scene, "m", RENAMED.replace(b'"m"', b'"vendor/m-1"'))
    info = json.loads(scene.record.additional_info) | {"CanonicalID": "vendor/m-1"}
    scene.record = scene.record_after = replace(scene.record, additional_info=json.dumps(info))


@row(Status.RESPONSE_BOUND, Reason.MODEL_RENAMED)
def a_dear_model_of_many_was_renamed_to_the_one_on_chain(scene: Scene) -> None:
    ask_for(scene, "large")
    info = json.loads(scene.record.additional_info) | {"MultiModel": True}
    scene.record = scene.record_after = replace(scene.record, additional_info=json.dumps(info))


@row(Status.RESPONSE_BOUND, Reason.MODEL_RENAMED)
def an_adapter_was_rewritten_to_its_base(scene: Scene) -> None:
    ask_for(scene, "ft-m-1", b'{"lora_adapter_name":"ft-m-1","max_tokens":5,"messages":[],"model":"m"}')


@row(Status.RESPONSE_BOUND, Reason.MODEL_RENAMED)
def an_adapter_was_replaced_by_its_base(scene: Scene) -> None:
    ask_for(scene, "ft-m-1")


# response_bound -----------------------------------------------------------------------------------------------------


@row(Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN)
def the_model_was_renamed_to_a_name_that_is_not_on_chain(scene: Scene) -> None:
    ask_for(scene, "m", RENAMED.replace(b'"m"', b'"vendor/m-1"'))


@row(Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN)
def the_model_was_renamed_as_accepted_and_the_question_replaced(scene: Scene) -> None:
    ask_for(scene, "alias", RENAMED.replace(b"[]", b"[1]"))
    scene.accept_models = {"alias": "m"}


@row(Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN)
def the_request_was_rewritten_in_an_unknown_way(scene: Scene) -> None:
    scene.signed_request = sha(REQUEST + b" ")


@row(Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN)
def somebody_elses_genuine_exchange(scene: Scene) -> None:
    scene.received = b'{"id":"chatcmpl-theirs","choices":[]}'
    scene.signed_request, scene.signed_answer = sha(b'{"their":"prompt"}'), sha(scene.received)


@row(Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN)
def the_request_of_ours_went_to_another_provider(scene: Scene) -> None:
    scene.guard.sent("0x" + "cd" * 20, sha(b"elsewhere"))
    scene.signed_request = sha(b"elsewhere")


# unavailable --------------------------------------------------------------------------------------------------------


@row(Status.UNAVAILABLE, Reason.INCOMPLETE)
def the_reply_was_cut(scene: Scene) -> None:
    scene.complete = False


@row(Status.UNAVAILABLE, Reason.INCOMPLETE)
def the_reply_was_cut_and_altered(scene: Scene) -> None:
    scene.complete, scene.received = False, b"x"


@row(Status.UNAVAILABLE, Reason.NO_CHAT_ID)
def the_reply_names_no_chat_id(scene: Scene) -> None:
    scene.header = ""


@row(Status.UNAVAILABLE, Reason.NO_CHAT_ID)
def the_chat_id_is_not_fit_for_a_url(scene: Scene) -> None:
    scene.header = "../v1/models"


@row(Status.UNAVAILABLE, Reason.NO_SIGNATURE)
def the_signature_is_never_there(scene: Scene) -> None:
    scene.found = False


@row(Status.UNAVAILABLE, Reason.NO_SIGNATURE)
def the_same_bytes_were_seen_before_and_nobody_signed_them(scene: Scene) -> None:
    scene.replayed, scene.found = True, False  # an error page, for example


@row(Status.UNAVAILABLE, Reason.RECORD_UNREADABLE)
def another_key_signed_and_the_chain_is_down(scene: Scene) -> None:
    scene.key, scene.record_after = STRANGER, None


@row(Status.UNAVAILABLE, Reason.RECORD_UNREADABLE)
def the_key_is_not_acknowledged_and_the_chain_is_down(scene: Scene) -> None:
    scene.record, scene.record_after = replace(scene.record, acknowledged=False), None


@row(Status.UNAVAILABLE, Reason.RECORD_UNREADABLE)
def another_form_was_signed_and_the_chain_is_down(scene: Scene) -> None:
    scene.tail, scene.record_after = f"{scene.tail}:more", None


# not_verifiable -----------------------------------------------------------------------------------------------------


@row(Status.NOT_VERIFIABLE, Reason.UNSIGNED_SERVICE, kinds=(Kind.STANDARD,))
def the_service_signs_nothing(scene: Scene) -> None:
    """Nothing is changed."""


@row(Status.NOT_VERIFIABLE, Reason.UNSIGNED_SERVICE, kinds=(Kind.STANDARD,))
def the_service_signs_nothing_and_the_reply_was_cut(scene: Scene) -> None:
    scene.complete = False


# failed: content ----------------------------------------------------------------------------------------------------


@row(Status.FAILED, Reason.CONTENT_MISMATCH)
def one_byte_of_the_answer_was_changed(scene: Scene) -> None:
    scene.received = ANSWER.replace(b"yes", b"yez")


@row(Status.FAILED, Reason.CONTENT_MISMATCH)
def something_was_appended_to_the_answer(scene: Scene) -> None:
    scene.received = ANSWER + b"\n"


@row(Status.FAILED, Reason.CONTENT_MISMATCH)
def the_answer_is_empty(scene: Scene) -> None:
    scene.received = b""


@row(Status.FAILED, Reason.CONTENT_MISMATCH)
def the_key_signed_other_bytes(scene: Scene) -> None:
    scene.signed_answer = sha(b"other bytes")


@row(Status.FAILED, Reason.CONTENT_MISMATCH)
def the_hashes_are_swapped(scene: Scene) -> None:
    scene.signed_request, scene.signed_answer = scene.signed_answer, scene.signed_request


# failed: signer -----------------------------------------------------------------------------------------------------


@row(Status.FAILED, Reason.SIGNER_MISMATCH)
def another_key_signed(scene: Scene) -> None:
    scene.key = STRANGER


@row(Status.FAILED, Reason.SIGNER_MISMATCH)
def another_key_signed_and_claims_to_be_the_right_one(scene: Scene) -> None:
    scene.key = STRANGER
    scene.document["signing_address"] = scene.record.signer


@row(Status.FAILED, Reason.SIGNER_MISMATCH)
def the_key_was_rotated_but_not_to_this_one(scene: Scene) -> None:
    scene.key = STRANGER
    scene.record_after = rotated(scene.record, "0x" + "4" * 64)


@row(Status.FAILED, Reason.SIGNER_MISMATCH)
def another_key_signed_and_the_service_signs_nothing_any_more(scene: Scene) -> None:
    scene.key, scene.record_after = STRANGER, service(Kind.STANDARD)


@row(Status.FAILED, Reason.SIGNER_MISMATCH)
def the_signature_belongs_to_another_text(scene: Scene) -> None:
    honest_body = json.loads(scene.signature_body())
    scene.document["text"] = honest_body["text"].replace(scene.signed_answer, sha(b"other"))


@row(Status.FAILED, Reason.SIGNER_MISMATCH)
def the_record_names_no_key(scene: Scene) -> None:
    if scene.kind is Kind.TEE_ML_SEPARATED:
        scene.record = replace(scene.record, additional_info='{"TargetSeparated": true}')
    else:
        scene.record = replace(scene.record, tee_signer="0x" + "00" * 20)
    scene.record_after = scene.record


@row(Status.FAILED, Reason.SIGNER_MISMATCH, kinds=(Kind.TEE_ML_SEPARATED,))
def the_broker_signed_for_the_separate_enclave(scene: Scene) -> None:
    scene.key = BROKER


@row(Status.FAILED, Reason.SIGNER_MISMATCH, kinds=(Kind.TEE_ML, Kind.TEE_TLS))
def the_model_enclave_signed_for_the_broker(scene: Scene) -> None:
    scene.key = ENCLAVE


@row(Status.FAILED, Reason.SIGNER_NOT_ACKNOWLEDGED)
def the_key_is_not_acknowledged(scene: Scene) -> None:
    scene.record = scene.record_after = replace(scene.record, acknowledged=False)


@row(Status.FAILED, Reason.SIGNER_NOT_ACKNOWLEDGED)
def the_key_was_rotated_and_is_not_acknowledged_yet(scene: Scene) -> None:
    scene.key = STRANGER
    scene.record_after = replace(rotated(scene.record, STRANGER), acknowledged=False)


# failed: malformed --------------------------------------------------------------------------------------------------


def document_row(
    name: str,
    body: bytes | Callable[[dict[str, Any]], Any],
    status: Status = Status.FAILED,
    reason: Reason = Reason.MALFORMED,
) -> None:
    def change(scene: Scene) -> None:
        scene.body = body if isinstance(body, bytes) else json.dumps(body(json.loads(scene.signature_body()))).encode()

    ROWS.append((name, SIGNING, status, reason, change))


def no_document(name: str, body: bytes | Callable[[dict[str, Any]], Any]) -> None:
    """What a gateway answers in the provider's place proves nothing, and accuses nobody."""
    document_row(name, body, Status.UNAVAILABLE, Reason.NO_SIGNATURE)


def high_s(signature: str) -> str:
    raw = bytes.fromhex(signature[2:])
    s = CURVE_ORDER - int.from_bytes(raw[32:64])
    return "0x" + (raw[:32] + s.to_bytes(32) + bytes([55 - raw[64]])).hex()


no_document("the document is empty", b"")
no_document("the document is no json", b"<html>gateway</html>")
no_document("the document is not utf-8", b'{"text":"\xff"}')
no_document("the document is nested without end", b"[" * 60_000)
no_document("the document is a list", lambda d: [d])
no_document("the document is null", b"null")
no_document("the document is cut", lambda d: json.dumps(d)[:80])
no_document("the document is an error", lambda d: {"error": {"message": "signature service restarting"}})
document_row("the signature is empty", lambda d: d | {"signature": ""})
document_row("the signature has no 0x", lambda d: d | {"signature": d["signature"][2:]}, Status.VERIFIED, Reason.NONE)
document_row("the signature has X", lambda d: d | {"signature": "0X" + d["signature"][2:]})
no_document("the text is missing", lambda d: {k: v for k, v in d.items() if k != "text"})
no_document("the text is empty", lambda d: d | {"text": ""})
no_document("the text is a list", lambda d: d | {"text": [d["text"]]})
document_row("the text is half a character", lambda d: d | {"text": "\ud800"})
document_row("the text is not ascii", lambda d: d | {"text": d["text"] + "\u00e9"})
no_document("the signature is missing", lambda d: {k: v for k, v in d.items() if k != "signature"})
no_document("the signature is a number", lambda d: d | {"signature": 7})
document_row("the signature is no hex", lambda d: d | {"signature": "0x" + "zz" * 65})
document_row("the signature is too short", lambda d: d | {"signature": d["signature"][:-2]})
document_row("the signature is too long", lambda d: d | {"signature": d["signature"] + "00"})
document_row("the signature has v 0 or 1", lambda d: d | {"signature": d["signature"][:-2] + "01"})
document_row("the signature has a high s", lambda d: d | {"signature": high_s(d["signature"])})
document_row("the signature is zero", lambda d: d | {"signature": "0x" + "00" * 64 + "1b"})
document_row("the provider identity is an object", lambda d: d | {"provider_identity": {"a": 1}})


@row(Status.FAILED, Reason.MALFORMED)
def the_signed_text_has_one_field_more(scene: Scene) -> None:
    scene.tail = f"{scene.tail}:more"


@row(Status.FAILED, Reason.MALFORMED)
def the_signed_text_is_one_hash(scene: Scene) -> None:
    scene.document["text"] = text = sha(REQUEST)
    signature = Account.sign_message(encode_defunct(text=text), scene.key).signature
    scene.document["signature"] = "0x" + bytes(signature).hex()


@row(Status.FAILED, Reason.MALFORMED)
def a_hash_is_in_capitals(scene: Scene) -> None:
    scene.signed_answer = scene.signed_answer.upper()


@row(Status.FAILED, Reason.MALFORMED)
def a_hash_is_short(scene: Scene) -> None:
    scene.signed_request = scene.signed_request[:-1]


@row(Status.FAILED, Reason.MALFORMED)
def a_hash_has_a_blank(scene: Scene) -> None:
    scene.signed_request = " " + scene.signed_request


@row(Status.FAILED, Reason.MALFORMED, kinds=PAIRS)
def a_routing_proof_where_a_pair_is_signed(scene: Scene) -> None:
    scene.tail = f":centralized:openrouter:{FINGERPRINT}"


@row(Status.FAILED, Reason.MALFORMED, kinds=TLS)
def a_pair_where_a_routing_proof_is_signed(scene: Scene) -> None:
    scene.tail = ""


@row(Status.FAILED, Reason.MALFORMED, kinds=TLS)
def the_routing_proof_is_not_centralized(scene: Scene) -> None:
    scene.tail = f":decentralized:openrouter:{FINGERPRINT}"
    scene.document["provider_type"] = "decentralized"


@row(Status.FAILED, Reason.MALFORMED, kinds=TLS)
def the_routing_proof_names_nobody(scene: Scene) -> None:
    scene.tail = f":centralized::{FINGERPRINT}"
    scene.document["provider_identity"] = ""


@row(Status.FAILED, Reason.MALFORMED, kinds=TLS)
def the_routing_proof_has_no_certificate(scene: Scene) -> None:
    scene.tail = ":centralized:openrouter:none"
    scene.document["tls_cert_fingerprint"] = "none"


@row(Status.FAILED, Reason.MALFORMED, kinds=TLS)
def the_document_names_another_vendor_than_the_text(scene: Scene) -> None:
    scene.document["provider_identity"] = "somebody-better"


@row(Status.FAILED, Reason.MALFORMED, kinds=TLS)
def the_document_leaves_the_routing_facts_out(scene: Scene) -> None:
    scene.document |= {"provider_type": None, "provider_identity": None, "tls_cert_fingerprint": None}


# failed: replayed ---------------------------------------------------------------------------------------------------


@row(Status.FAILED, Reason.REPLAYED)
def the_chat_id_was_seen_before(scene: Scene) -> None:
    scene.known_id = True


@row(Status.FAILED, Reason.REPLAYED)
def the_same_bytes_were_seen_before_under_another_id(scene: Scene) -> None:
    scene.replayed = True


@row(Status.FAILED, Reason.REPLAYED)
def an_earlier_exchange_of_ours_under_a_new_chat_id(scene: Scene) -> None:
    scene.guard.sent(PROVIDER, sha(b"our earlier request"))
    scene.received = b'{"id":"chatcmpl-old","choices":[]}'
    scene.signed_request, scene.signed_answer = sha(b"our earlier request"), sha(scene.received)


CASES = [(name, kind, *rest) for name, kinds, *rest in ROWS for kind in kinds]


@pytest.mark.parametrize(
    ("kind", "status", "reason", "change"),
    [case[1:] for case in CASES],
    ids=[f"{kind}: {name}" for name, kind, *_ in CASES],
)
def test_the_verdict_table(kind: Kind, status: Status, reason: Reason, change: Change) -> None:
    scene = Scene(kind)
    change(scene)
    verdict = scene.verdict()
    assert (str(verdict.status), str(verdict.reason)) == (str(status), str(reason)), verdict.to_dict()
    assert verdict.request_sha256 == sha(scene.sent)
    assert verdict.response_sha256 == sha(scene.received)
    assert json.loads(json.dumps(verdict.to_dict())) == verdict.to_dict()
    json.dumps(verdict.to_dict(), ensure_ascii=False).encode()  # can be written to a file
    if status is Status.VERIFIED:
        renamed = bool(scene.accept_models)
        assert verdict.binding in ((Binding.RENAMED,) if renamed else (Binding.EXACT, Binding.REWRITTEN))
        assert verdict.signed_response_sha256 == verdict.response_sha256
        assert verdict.recovered_signer.lower() == verdict.expected_signer.lower()
        assert verdict.kind is kind
        assert bool(verdict.provider_identity) is (kind is Kind.TEE_TLS)
    if status is Status.RESPONSE_BOUND:
        assert verdict.binding is (Binding.RENAMED if reason is Reason.MODEL_RENAMED else Binding.UNKNOWN)
    assert bool(verdict.signed_model) is (verdict.binding is Binding.RENAMED)
    assert verdict.signed_model != verdict.asked_model or not verdict.signed_model
    if status is Status.FAILED:
        assert verdict.reason is not Reason.NONE
        assert not verdict.satisfies("claimed")


def test_the_table_has_every_reason_that_a_check_can_give() -> None:
    reached = {(status, reason) for _, _, status, reason, _ in ROWS}
    # Made without a check, by `zg_core.calls.closing`; two more by schemes of their own, one by who knows all records.
    elsewhere = {Reason.POLICY_OFF, Reason.ABANDONED, Reason.REFUSED, Reason.RECORD_CHANGED}
    elsewhere |= {Reason.STALE, Reason.CLAIM_FAILED, Reason.SIGNER_SHARED}
    assert {reason for _, reason in reached} == set(Reason) - elsewhere
    impossible = {Status.SIGNER_ONLY, Status.CLAIMED, Status.NOT_CHECKED, Status.PENDING}
    assert {status for status, _ in reached} == set(Status) - impossible
    assert all((status is Status.VERIFIED) == (reason is Reason.NONE) for status, reason in reached)


@pytest.mark.parametrize("kind", SIGNING)
class TestLookUps:
    def test_the_record_is_read_again_only_before_an_accusation_about_the_signer(self, kind: Kind) -> None:
        for name, kinds, status, reason, change in ROWS:
            if kind in kinds:
                scene = Scene(kind)
                change(scene)
                verdict = scene.verdict()
                accused = {Reason.SIGNER_MISMATCH, Reason.SIGNER_NOT_ACKNOWLEDGED, Reason.RECORD_UNREADABLE}
                malformed = reason is Reason.MALFORMED and verdict.recovered_signer
                saved = status is Status.VERIFIED and ("meanwhile" in name or "cache is old" in name)
                assert scene.reread == (1 if reason in accused or malformed or saved else 0), name

    def test_nothing_is_fetched_that_cannot_help(self, kind: Kind) -> None:
        for change in (the_reply_was_cut, the_reply_names_no_chat_id, the_chat_id_was_seen_before):
            scene = Scene(kind)
            change(scene)
            scene.verdict()
            assert scene.fetched == []

    def test_an_older_brokers_id_is_tried_after_the_newer(self, kind: Kind) -> None:
        scene = Scene(kind, header="", body_id="chatcmpl-old", found=False)
        assert scene.verdict().reason is Reason.NO_SIGNATURE
        assert scene.fetched == ["old", "chatcmpl-old"]

    def test_a_service_that_signs_nothing_is_not_asked(self, kind: Kind) -> None:
        scene = Scene(kind)
        scene.record = service(Kind.STANDARD)
        assert scene.verdict().status is Status.NOT_VERIFIABLE
        assert (scene.fetched, scene.reread) == ([], 0)
