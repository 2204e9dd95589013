"""OpenGradient's signatures: the shared vectors, and everything that must not pass."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from eth_abi import encode

from zg_core.crypto import keccak256
from zg_core.exchange import Exchange
from zg_core.types import Kind
from zg_core.verify.schemes.canonical import Answer, request_texts
from zg_core.verify.schemes.evidence import Kept
from zg_core.verify.schemes.registry import scheme_named
from zg_core.verify.schemes.rsa_pss import Signed, evidence_of, examine, message_hash, tee_id_of
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

VECTORS = json.loads(Path(__file__).with_name("opengradient_signed.json").read_text(encoding="utf-8"))
KEY = base64.b64decode(VECTORS["public_key_der_b64"])
NOW = 1_790_000_000
CASES = {case["name"]: case for case in VECTORS["cases"]}
ALL = [*VECTORS["cases"], {"name": "a completion", **VECTORS["completions"]}]
NAMES = [case["name"] for case in ALL]


def answer_of(case: dict[str, Any]) -> Answer:
    """The answer of a vector: events, a whole body, or what a completion's body is."""
    answer = Answer()
    response = case.get("response")
    if response is None:
        text = {"choices": [{"index": 0, "text": case["output_utf8"], "finish_reason": "stop"}]}
        response = {**text, **case["fields"]}
    for said in response if isinstance(response, list) else [response]:
        answer.take(said)
    return answer


def judged(payload: dict[str, Any], answer: Answer, **options: Any) -> Verdict:
    """The verdict on an answer that came when the vectors were signed."""
    return examine(payload, answer, KEY, **{"kind": Kind.TEE_TLS, "window": (NOW, NOW), **options})


@pytest.mark.parametrize("case", ALL, ids=NAMES)
def test_a_vector_has_this_canonical_text_output_and_hash(case):
    texts = request_texts(case["request_body"])
    assert case["canonical_utf8"].encode() in texts
    answer = answer_of(case)
    assert answer.output == case["output_utf8"].encode()
    request = keccak256(case["canonical_utf8"].encode())
    assert request.hex() == case["fields"]["tee_request_hash"]
    assert message_hash(request, keccak256(answer.output), NOW).hex() == case["msg_hash"]


@pytest.mark.parametrize("case", ALL, ids=NAMES)
def test_a_vector_is_verified(case):
    verdict = judged(case["request_body"], answer_of(case))
    assert (verdict.status, verdict.reason) == (Status.VERIFIED, Reason.NONE)
    assert verdict.expected_signer == verdict.recovered_signer == VECTORS["tee_id"]
    assert Signed.of_text(verdict.signed_text, verdict.signature) == Signed.parse({**case["fields"], "tee_id": None})


def test_the_enclave_is_the_hash_of_its_key():
    assert tee_id_of(KEY) == VECTORS["tee_id"]


def test_the_leaf_of_a_batch_is_a_hash_of_these_five():
    fields = Signed.parse(CASES["text, unicode is ASCII-escaped, temperature becomes 0.0"]["fields"])
    assert fields is not None
    kinds = [kind.split()[0] for kind in VECTORS["batch_leaf"]["encoding"]]
    values = [bytes.fromhex(fields.tee_id[2:]), fields.request_hash, fields.output_hash, fields.signature]
    leaf = keccak256(keccak256(encode(kinds, [*values, fields.timestamp])))
    assert "0x" + leaf.hex() == VECTORS["batch_leaf"]["standard_merkle_leaf"]


PLAIN = CASES["text, unicode is ASCII-escaped, temperature becomes 0.0"]
TOOLS = CASES["answer is tool calls: output is the sorted JSON of tool_calls"]
STREAM = next(case for case in VECTORS["cases"] if isinstance(case["response"], list))


def changed(case: dict[str, Any], change: Any) -> Answer:
    """The answer of a vector after an operator has changed its body."""
    altered = copy.deepcopy(case)
    change(altered["response"])
    return answer_of(altered)


def _message(body: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = body["choices"][0]["message"]
    return message


CALLS = _message(TOOLS["response"])["tool_calls"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("one letter", lambda body: _message(body).update(content="Hello")),
        (
            "a call beside the text",
            lambda body: _message(body).update(tool_calls=_message(TOOLS["response"])["tool_calls"]),
        ),
        ("a second choice", lambda body: body["choices"].append({"index": 1, "message": {"content": "x"}})),
        ("a second choice of the same index", lambda body: body["choices"].append({"message": {"content": "x"}})),
    ],
)
def test_what_the_caller_would_see_beyond_the_signed_text_fails(name, change):
    verdict = judged(PLAIN["request_body"], changed(PLAIN, change))
    assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.CONTENT_MISMATCH), name


@pytest.mark.parametrize(
    "change",
    [
        lambda call: call["function"].update(arguments='{"symbol": "BTC"}'),
        lambda call: call["function"].update(name="send_all"),
        lambda call: call.update(id="call_2"),
    ],
)
def test_a_changed_tool_call_fails(change):
    verdict = judged(TOOLS["request_body"], changed(TOOLS, lambda body: change(_message(body)["tool_calls"][0])))
    assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.CONTENT_MISMATCH)


def test_text_beside_tool_calls_is_named_as_unsigned():
    answer = changed(TOOLS, lambda body: _message(body).update(content="Trust me."))
    assert judged(TOOLS["request_body"], answer).status is Status.VERIFIED
    assert "text" in answer.unsigned
    assert "text" not in answer_of(TOOLS).unsigned
    assert {"usage", "model", "finish_reason"} <= set(answer_of(PLAIN).unsigned)


def test_reasoning_and_images_are_named_as_unsigned():
    answer = changed(PLAIN, lambda body: _message(body).update(images=[{}], reasoning_content="hm"))
    assert {"images", "reasoning_content"} <= set(answer.unsigned)


def test_pieces_of_a_streamed_call_are_put_together_as_clients_do():
    answer = Answer()
    pieces: list[dict[str, Any]] = [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "get_token_price", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"symbol":'}},
        {"index": 0, "function": {"arguments": ' "ETH"}'}},
    ]
    for piece in pieces:
        answer.take({"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]})
    answer.take({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], **TOOLS["fields"]})
    assert judged(TOOLS["request_body"], answer).status is Status.VERIFIED
    answer.take({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": "_all"}}]}}]})
    assert judged(TOOLS["request_body"], answer).reason is Reason.CONTENT_MISMATCH


def test_what_counts_is_the_signature_that_came_last():
    answer = answer_of(PLAIN)
    first = answer.signature
    assert first == Signed.parse(PLAIN["fields"])
    answer.take({**PLAIN["fields"], "tee_signature": "AAAA"})
    assert answer.signature != first
    assert judged(PLAIN["request_body"], answer).reason is Reason.SIGNER_MISMATCH


def test_an_answer_to_another_question_is_bound_to_no_request():
    payload = {**PLAIN["request_body"], "messages": [{"role": "user", "content": "another"}]}
    verdict = judged(payload, answer_of(PLAIN))
    assert (verdict.status, verdict.reason) == (Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN)
    assert verdict.binding is Binding.UNKNOWN


def test_a_request_forwarded_under_another_model_is_shown():
    payload = {**PLAIN["request_body"], "model": "gpt-5-latest"}
    verdict = judged(payload, answer_of(PLAIN))
    assert (verdict.status, verdict.reason) == (Status.RESPONSE_BOUND, Reason.MODEL_RENAMED)
    assert (verdict.asked_model, verdict.signed_model) == ("gpt-5-latest", "gpt-5")
    accepted = judged(payload, answer_of(PLAIN), accept_models={"gpt-5-latest": "gpt-5"})
    assert accepted.status is Status.VERIFIED


@pytest.mark.parametrize("offset", [-601, 601])
def test_a_signature_of_another_time_proves_nothing_and_accuses_nobody(offset):
    moment = NOW + offset
    verdict = judged(PLAIN["request_body"], answer_of(PLAIN), window=(moment, moment))
    assert (verdict.status, verdict.reason) == (Status.UNAVAILABLE, Reason.STALE)


def test_the_same_signature_twice_is_a_replay():
    verdict = judged(PLAIN["request_body"], answer_of(PLAIN), seen=True)
    assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.REPLAYED)


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"tee_signature": "%%%"}, Status.FAILED, Reason.MALFORMED),
        ({"tee_timestamp": None}, Status.FAILED, Reason.MALFORMED),
        ({"tee_timestamp": True}, Status.FAILED, Reason.MALFORMED),
        ({"tee_timestamp": -1}, Status.FAILED, Reason.MALFORMED),
        ({"tee_timestamp": NOW + 1}, Status.FAILED, Reason.SIGNER_MISMATCH),
        ({"tee_signature": base64.b64encode(bytes(256)).decode()}, Status.FAILED, Reason.SIGNER_MISMATCH),
        ({"tee_id": "0x" + "11" * 32}, Status.FAILED, Reason.SIGNER_MISMATCH),
        ({"tee_id": None}, Status.VERIFIED, Reason.NONE),
        ({"tee_request_hash": "junk", "tee_output_hash": None}, Status.VERIFIED, Reason.NONE),
    ],
)
def test_what_the_gateway_says_of_its_signature_is_not_believed(fields, status, reason):
    verdict = judged(PLAIN["request_body"], changed(PLAIN, lambda body: body.update(fields)))
    assert (verdict.status, verdict.reason) == (status, reason)


def test_an_answer_without_a_signature_is_no_proof():
    answer = changed(PLAIN, lambda body: [body.pop(name) for name in list(body) if name.startswith("tee_")])
    assert judged(PLAIN["request_body"], answer).reason is Reason.NO_SIGNATURE


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_stream_without_its_signed_end_is_incomplete(kept):
    answer = changed(STREAM, lambda events: events.__delitem__(slice(kept, None)))
    verdict = judged(STREAM["request_body"], answer)
    assert (verdict.status, verdict.reason) == (Status.UNAVAILABLE, Reason.INCOMPLETE)


def test_another_key_is_not_the_one_of_the_registry():
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    other = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = Signed.parse(PLAIN["fields"])
    assert signed is not None
    message = message_hash(signed.request_hash, signed.output_hash, NOW)
    forged = private.sign(message, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    fields = {"tee_signature": base64.b64encode(forged).decode(), "tee_id": None}
    answer = changed(PLAIN, lambda body: body.update(fields))
    assert judged(PLAIN["request_body"], answer).reason is Reason.SIGNER_MISMATCH
    verdict = examine(PLAIN["request_body"], answer, other, kind=Kind.TEE_TLS, window=(NOW, NOW))
    assert verdict.status is Status.VERIFIED


@pytest.mark.parametrize("key", [b"", b"junk", KEY[:-1]])
def test_a_record_without_a_key_is_unreadable_and_accuses_nobody(key):
    answer = changed(PLAIN, lambda body: body.update(tee_id=None))
    verdict = examine(PLAIN["request_body"], answer, key, kind=Kind.TEE_TLS, window=(NOW, NOW))
    assert (verdict.status, verdict.reason) == (Status.UNAVAILABLE, Reason.RECORD_UNREADABLE)


@pytest.mark.parametrize(
    "payload",
    [
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": "warm"},
        {"model": "m", "messages": "x"},
        {"model": "m", "messages": ["x"]},
        {"model": "m", "messages": [{"role": "user", "content": {1, 2}}]},
    ],
)
def test_a_request_that_no_gateway_could_sign_has_no_text(payload):
    assert request_texts(payload) == []


def test_values_of_models_are_written_as_python_writes_them():
    payload = {"model": "m", "messages": [], "temperature": 1e-7, "max_tokens": 0, "stop": [], "tools": None}
    assert request_texts(payload) == [b'{"max_tokens": 0, "messages": [], "model": "m", "temperature": 1e-07}']


def kept_of(case: dict[str, Any], *, bytes_kept: bool = True, **changes: Any) -> Kept:
    """What a receipt keeps of a vector's call."""
    response = case["response"]
    events = [f"data: {json.dumps(said)}\n\n" for said in response] if isinstance(response, list) else None
    body = ("".join(events) + "data: [DONE]\n\n" if events else json.dumps(response)).encode()
    exchange = Exchange(json.dumps(case["request_body"]).encode())
    exchange.feed(body)
    exchange.complete = True
    evidence = evidence_of(Answer.read(body), KEY, (NOW, NOW + 1))
    if not bytes_kept:
        exchange.request_sha256  # noqa: B018 - computed while there are bytes
        exchange.request = b""
    fields: dict[str, Any] = {"exchange": exchange, "evidence": evidence, "response": body if bytes_kept else None}
    fields |= {"record": {"public_key": VECTORS["public_key_der_b64"]}, "claimed": Verdict(Status.VERIFIED)}
    return Kept(**{**fields, **changes})


@pytest.mark.parametrize("case", VECTORS["cases"], ids=[case["name"] for case in VECTORS["cases"]])
def test_a_receipt_with_its_bytes_gives_the_verdict_again(case):
    scheme = scheme_named("rsa_pss")
    assert scheme is not None
    again, kept = scheme.remade(kept_of(case)), kept_of(case)
    assert again.status is Status.VERIFIED
    assert again.response_sha256 == kept.exchange.response_sha256
    once = judged(case["request_body"], answer_of(case))
    assert (again.signed_text, again.signature, again.unsigned) == (once.signed_text, once.signature, once.unsigned)


def test_without_the_bytes_only_the_signer_is_left():
    scheme = scheme_named("rsa_pss")
    assert scheme is not None
    assert scheme.remade(kept_of(PLAIN, bytes_kept=False)).status is Status.SIGNER_ONLY
    other = kept_of(PLAIN, bytes_kept=False, record={"public_key": "AAAA"})
    assert scheme.remade(other).reason is Reason.RECORD_UNREADABLE


def test_kept_bytes_of_another_answer_fail():
    scheme = scheme_named("rsa_pss")
    assert scheme is not None
    kept = kept_of(PLAIN, evidence=kept_of(TOOLS).evidence)
    assert scheme.remade(kept).reason is Reason.CONTENT_MISMATCH
