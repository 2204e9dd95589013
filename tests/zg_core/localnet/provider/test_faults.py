"""Every fault: how it is set, and what it does on the wire."""

import gzip
import json
import socket
import time
from dataclasses import replace
from urllib.parse import urlsplit

import httpx2
import pytest

from zg_core.localnet import Fault, LocalNet, ProviderSettings, ProviderSpec, fault_meanings
from zg_core.localnet.chain import abi
from zg_core.localnet.provider.faults import SESSION_REASONS

BOTH = pytest.mark.parametrize("stream", [False, True])
QUESTION = "Repeat after me: Grüße, 你好 42"


@pytest.fixture(scope="module")
def net():
    specs = [
        ProviderSpec(model="m"),
        ProviderSpec(model="t", kind="TeeTLS"),
        ProviderSpec(model="p", kind="TeeML-separated"),
        ProviderSpec(model="e", service_type="embedding"),
    ]
    with LocalNet(providers=specs, settings=replace(ProviderSettings.fast(), settle_interval=None)) as running:
        yield running


@pytest.fixture
def caller(net, connect, reverting):
    reverting(net)

    def make(model="m", **kwargs):
        return connect(net, net.provider(model), **kwargs)

    return make


def raw_stream(one, *, stream=True):
    """The response as it arrives: headers, undecoded pieces, and the error that ended it."""
    pieces, error = [], None
    body = one.body(QUESTION, stream=stream)
    one.sent = body
    with one.http.stream(
        "POST",
        one.provider.url + "/v1/proxy/chat/completions",
        content=body,
        headers={"authorization": one.token(), "accept-encoding": "identity"},
    ) as response:
        try:
            pieces.extend(response.iter_raw())
        except httpx2.HTTPError as caught:
            error = caught
    return response.headers, pieces, error


# the plan


OF_MEDIA = {fault for fault in Fault if fault.value.startswith(("image", "duration", "job"))}
"""Tested in services/test_media_faults.py."""


def test_every_fault_has_a_name_a_meaning_and_a_test():
    assert set(fault_meanings()) == {fault.value for fault in Fault}
    assert all(len(meaning) > 10 for meaning in fault_meanings().values())
    tested = {name for name in globals() if name.startswith("test_")}
    for fault in set(Fault) - OF_MEDIA:
        assert any(name.startswith(f"test_{fault.value}") for name in tested), f"no test for {fault.value}"


def test_a_fault_fires_once_n_times_or_until_cleared(caller):
    one = caller()

    def statuses(count):
        return [one.chat().status_code for _ in range(count)]

    one.provider.fault("unavailable")
    assert statuses(2) == [503, 200]
    one.provider.fault(Fault.UNAVAILABLE, times=2)
    assert statuses(3) == [503, 503, 200]
    standing = one.provider.fault(Fault.UNAVAILABLE, times=None)
    assert statuses(3) == [503, 503, 503]
    assert standing.fired == 3
    one.provider.clear_faults()
    assert statuses(1) == [200]


def test_a_fault_is_a_context_manager(caller):
    one = caller()
    with one.provider.fault("unavailable", times=None) as active:
        assert one.chat().status_code == 503
    assert one.chat().status_code == 200
    assert active.fired == 1


def test_faults_concern_charged_requests_only(caller):
    one = caller()
    one.provider.fault("unavailable")
    assert one.get("/v1/models").status_code == 200
    assert one.signature("x").status_code == 400
    assert one.chat().status_code == 503


def test_a_fault_of_streams_waits_for_a_stream(caller):
    one = caller()
    one.provider.fault(Fault.COMMENT_AFTER_DONE)
    assert one.chat().status_code == 200
    assert one.chat(stream=True).content.endswith(b": keep-alive\n\n")


# bytes against signature


@BOTH
@pytest.mark.parametrize("model", ["m", "t"])
def test_body_changed_breaks_the_response_hash_by_one_letter(caller, tools, model, stream):
    one = caller(model)
    honest = tools.text_of(one.chat(QUESTION, stream=stream))
    one.provider.fault(Fault.BODY_CHANGED)
    response = one.chat(QUESTION, stream=stream)
    changed = tools.text_of(response)
    assert len(changed) == len(honest)
    assert sum(a != b for a, b in zip(honest, changed, strict=True)) == 1
    signed = one.signed(response)
    assert signed["text"].split(":")[1] != tools.sha256(response.content)
    assert tools.recover(signed["text"], signed["signature"]) == one.provider.tee_signer
    assert one.provider.log[-1].response_sha256 == signed["text"].split(":")[1]


def test_body_changed_reaches_separate_enclaves_and_embeddings(caller, tools):
    one = caller("p")
    one.provider.fault(Fault.BODY_CHANGED)
    response = one.chat()
    signed = one.signature(response.json()["id"]).json()
    assert signed["text"].split(":")[1] != tools.sha256(response.content)
    one = caller("e")
    one.provider.fault(Fault.BODY_CHANGED)
    response = one.post(b'{"model":"e","input":"x y"}', path="/v1/proxy/embeddings")
    assert one.signed(response)["text"].split(":")[1] != tools.sha256(response.content)


@BOTH
def test_usage_changed_is_outside_the_signature_and_not_billed(caller, tools, stream):
    one = caller()
    one.provider.fault(Fault.USAGE_CHANGED, factor=3)
    response = one.chat(stream=stream)
    shown = (tools.events(response)[-2] if stream else response.json())["usage"]
    entry = one.provider.log[-1]
    assert shown["prompt_tokens"] == 3 * entry.usage.prompt_tokens
    assert shown["completion_tokens"] == 3 * entry.usage.completion_tokens
    assert one.signed(response)["text"].split(":")[1] != tools.sha256(response.content)


@BOTH
def test_usage_inflated_is_signed_and_billed(caller, tools, stream):
    one = caller()
    one.chat(stream=stream)
    honest = one.provider.log[-1]
    one.provider.fault(Fault.USAGE_INFLATED, factor=10)
    response = one.chat(stream=stream)
    assert one.signed(response)["text"] == f"{tools.sha256(one.sent)}:{tools.sha256(response.content)}"
    shown = (tools.events(response)[-2] if stream else response.json())["usage"]
    entry = one.provider.log[-1]
    assert shown["prompt_tokens"] == entry.usage.prompt_tokens == 10 * honest.usage.prompt_tokens
    assert entry.fee == 10 * honest.fee


@pytest.mark.parametrize("claim", ["tee", "own"])
@pytest.mark.parametrize("model", ["m", "t"])
def test_other_signer_covers_the_right_bytes_with_a_wrong_key(caller, tools, model, claim):
    one = caller(model)
    one.provider.fault(Fault.OTHER_SIGNER, claim=claim)
    response = one.chat()
    signed = one.signed(response)
    assert signed["text"].split(":")[1] == tools.sha256(response.content)
    recovered = tools.recover(signed["text"], signed["signature"])
    assert recovered != one.provider.tee_signer
    assert signed["signing_address"] == (one.provider.tee_signer if claim == "tee" else recovered)


def test_signature_other_bytes_is_by_the_right_key_over_other_hashes(caller, tools):
    one = caller()
    one.provider.fault(Fault.SIGNATURE_OTHER_BYTES)
    response = one.chat()
    signed = one.signed(response)
    request, answer = signed["text"].split(":")
    assert request != tools.sha256(one.sent)
    assert answer != tools.sha256(response.content)
    assert tools.recover(signed["text"], signed["signature"]) == one.provider.tee_signer


@BOTH
@pytest.mark.parametrize("model", ["m", "t", "p"])
def test_replay_own_sends_an_earlier_answer_to_the_same_user(caller, tools, model, stream):
    one, other = caller(model), caller(model)
    first = one.chat("the first question", stream=stream)
    first_request = one.sent
    other.chat("somebody else's question", stream=stream)
    one.provider.fault(Fault.REPLAY_OWN)
    again = one.chat("the second question", stream=stream)
    assert again.content == first.content
    assert again.headers.get("zg-res-key") == first.headers.get("zg-res-key")
    if model == "m":
        signed = one.signed(again)
        assert signed["text"] == f"{tools.sha256(first_request)}:{tools.sha256(again.content)}"
    if model == "p":
        document = tools.events(again)[0] if stream else again.json()
        assert one.signature(document["id"]).json()["text"].endswith(tools.sha256(again.content))


def test_replay_own_without_an_earlier_exchange_says_so(caller):
    one = caller()
    one.provider.fault(Fault.REPLAY_OWN)
    response = one.chat()
    assert response.status_code == 500
    assert "no earlier exchange" in response.json()["error"]


@pytest.mark.parametrize(
    ("model", "stream"), [("m", False), ("m", True), ("t", False), ("t", True), ("p", False), ("p", True), ("e", False)]
)
@pytest.mark.parametrize("known", [True, False])
def test_replay_other_is_genuine_but_answers_somebody_else(caller, tools, model, stream, known):
    one = caller(model)

    def ask(who, text):
        if model == "e":
            return who.post(json.dumps({"model": "e", "input": text}).encode(), path="/v1/proxy/embeddings")
        return who.chat(text, stream=stream)

    ask(one, "my own earlier question")
    theirs = ask(caller(model), "their question") if known else None
    one.provider.fault(Fault.REPLAY_OTHER)
    response = ask(one, "my question")
    if theirs is not None:
        assert response.content == theirs.content
    key = response.headers.get("zg-res-key")
    if model == "p":
        key = (tools.events(response)[0] if stream else response.json())["id"]
    signed = one.signature(key).json()
    fields = signed["text"].split(":")
    assert fields[1] == tools.sha256(response.content)
    assert fields[0] != tools.sha256(one.sent)
    assert tools.recover(signed["text"], signed["signature"]) == one.provider.response_signer


@BOTH
def test_body_remarshalled_hashes_the_go_form_of_the_request(caller, tools, stream):
    one = caller()
    one.provider.fault(Fault.BODY_REMARSHALLED)
    response = one.chat("1 < 2 & 3", stream=stream)
    go = json.dumps(json.loads(one.sent), sort_keys=True, separators=(",", ":"))
    go = go.replace("<", "\\u003c").replace("&", "\\u0026").encode()
    assert go != one.sent
    assert one.signed(response)["text"] == f"{tools.sha256(go)}:{tools.sha256(response.content)}"


# the signature's coming


def test_signature_late_by_lookups(caller):
    one = caller()
    one.provider.fault(Fault.SIGNATURE_LATE, misses=3)
    key = one.chat().headers["zg-res-key"]
    assert [one.signature(key).status_code for _ in range(5)] == [400, 400, 400, 200, 200]


def test_signature_late_by_time(net, caller):
    one = caller()
    one.provider.fault(Fault.SIGNATURE_LATE, misses=0, seconds=30)
    key = one.chat().headers["zg-res-key"]
    assert one.signature(key).status_code == 400
    net.clock.advance(31)
    assert one.signature(key).status_code == 200


def test_signature_never_announces_a_key_that_is_not_there(net, caller):
    one = caller()
    one.provider.fault(Fault.SIGNATURE_NEVER)
    key = one.chat().headers["zg-res-key"]
    assert one.signature(key).status_code == 400
    net.clock.advance(600)
    assert one.signature(key).status_code == 400


@BOTH
def test_no_header_leaves_the_body_id_to_find_the_signature(caller, tools, stream):
    one = caller()
    one.provider.fault(Fault.NO_HEADER)
    response = one.chat(stream=stream)
    assert "zg-res-key" not in response.headers
    document = tools.events(response)[0] if stream else response.json()
    signed = one.signature(document["id"].removeprefix("chatcmpl-")).json()
    assert signed["text"].split(":")[1] == tools.sha256(response.content)


# streams


def test_truncated_stream_ends_early_but_properly(caller, tools):
    one = caller()
    one.provider.fault(Fault.TRUNCATED_STREAM, events=3)
    response = one.chat(stream=True)
    found = tools.events(response)
    assert len(found) == 3
    assert "[DONE]" not in found
    assert all("usage" not in event for event in found)
    assert one.signed(response)["text"].split(":")[1] == tools.sha256(response.content)
    assert one.provider.log[-1].usage is None


@BOTH
def test_split_utf8_cuts_inside_characters(caller, tools, stream):
    one = caller()
    one.provider.fault(Fault.SPLIT_UTF8)
    headers, pieces, error = raw_stream(one, stream=stream)
    body = b"".join(pieces)
    assert error is None
    assert "ü".encode() in body
    undecodable = [piece for piece in pieces if not _decodes(piece)]
    assert undecodable, "no piece ended inside a character"
    assert one.signature(headers["zg-res-key"]).json()["text"].endswith(tools.sha256(body))


def _decodes(piece):
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


@BOTH
def test_split_json_cuts_inside_tokens(caller, tools, stream):
    one = caller()
    _, honest, _ = raw_stream(one, stream=stream)
    one.provider.fault(Fault.SPLIT_JSON)
    headers, pieces, _ = raw_stream(one, stream=stream)
    assert len(pieces) > 5 * len(honest)
    assert any(piece.endswith(b"cho") for piece in pieces)
    assert one.signature(headers["zg-res-key"]).json()["text"].endswith(tools.sha256(b"".join(pieces)))


def test_usage_null_in_one_piece_is_billed_by_words(caller, tools):
    one = caller()
    one.provider.fault(Fault.USAGE_NULL)
    response = one.chat()
    assert response.json()["usage"] is None
    assert one.signed(response)["text"].split(":")[1] == tools.sha256(response.content)
    words = len(tools.text_of(response).split())
    assert one.provider.log[-1].fee == words * one.provider.prices[1]


@pytest.mark.parametrize("final", [False, True])
def test_usage_null_in_a_stream(caller, tools, final):
    one = caller()
    one.provider.fault(Fault.USAGE_NULL, final=final)
    response = one.chat(stream=True)
    usages = [event["usage"] for event in tools.events(response)[:-1]]
    assert usages[:-1] == [None] * (len(usages) - 1)
    assert (usages[-1] is None) is final
    assert (one.provider.log[-1].usage is None) is final
    assert one.signed(response)["text"].split(":")[1] == tools.sha256(response.content)


def test_trailing_event_has_no_choices_and_is_signed(caller, tools):
    one = caller()
    one.provider.fault(Fault.TRAILING_EVENT)
    response = one.chat(stream=True)
    found = tools.events(response)
    assert found[-1] == "[DONE]"
    assert "choices" not in found[-2]
    assert "usage" in found[-3]
    assert one.signed(response)["text"].split(":")[1] == tools.sha256(response.content)


def test_comment_after_done_is_part_of_the_signed_bytes(caller, tools):
    one = caller()
    one.provider.fault(Fault.COMMENT_AFTER_DONE)
    response = one.chat(stream=True)
    assert response.content.endswith(b"data: [DONE]\n\n: keep-alive\n\n")
    assert one.signed(response)["text"].split(":")[1] == tools.sha256(response.content)


# transport


@BOTH
def test_gzip_is_sent_unasked_and_signed_decoded(caller, tools, stream):
    one = caller()
    one.provider.fault(Fault.GZIP)
    headers, pieces, _ = raw_stream(one, stream=stream)
    assert headers["content-encoding"] == "gzip"
    decoded = gzip.decompress(b"".join(pieces))
    assert decoded.rstrip().endswith(b"[DONE]" if stream else b"}")
    assert one.signature(headers["zg-res-key"]).json()["text"].endswith(tools.sha256(decoded))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_points_elsewhere_and_shows_who_follows(caller, http, status):
    one = caller()
    one.provider.fault(Fault.REDIRECT, status=status, times=2)
    response = one.chat()
    assert response.status_code == status
    assert response.headers["location"] == one.provider.url + "/_local/redirected"
    assert [r.path for r in one.provider.requests if "redirected" in r.path] == []
    followed = http.post(
        one.provider.url + "/v1/proxy/chat/completions",
        content=one.body(),
        headers={"authorization": one.token()},
        follow_redirects=True,
    )
    assert followed.json() == {"redirected": True, "authorized": True}
    assert [r.authorized for r in one.provider.requests if "redirected" in r.path] == [True]


def test_redirect_takes_any_location(caller):
    one = caller()
    one.provider.fault(Fault.REDIRECT, location="http://other.invalid/x")
    assert one.chat().headers["location"] == "http://other.invalid/x"


@BOTH
def test_slow_drip_sends_small_pieces_with_pauses(caller, tools, stream):
    one = caller()
    one.provider.fault(Fault.SLOW_DRIP, size=60, delay=0.003)
    started = time.monotonic()
    headers, pieces, _ = raw_stream(one, stream=stream)
    assert time.monotonic() - started >= 0.003 * (len(pieces) - 2)
    assert len(pieces) >= 6
    assert max(map(len, pieces)) <= 60
    assert one.signature(headers["zg-res-key"]).json()["text"].endswith(tools.sha256(b"".join(pieces)))


def test_rate_limited_has_the_reset_header(caller, tools):
    one = caller()
    one.provider.fault(Fault.RATE_LIMITED, reset=7)
    response = one.chat()
    assert response.status_code == 429
    assert tools.error_of(response)["type"] == "rate_limit_error"
    assert response.headers["x-ratelimit-reset-requests"] == "7s"
    assert response.headers["x-ratelimit-remaining-requests"] == "0"


def test_unavailable_is_the_providers_503(caller, tools):
    one = caller()
    one.provider.fault(Fault.UNAVAILABLE)
    response = one.chat()
    assert (response.status_code, tools.error_of(response)) == (
        503,
        "Server is currently processing too many requests. Please try again later.",
    )
    assert one.provider.log == []


@pytest.mark.parametrize("reason", list(SESSION_REASONS))
def test_session_rejected_for_each_reason(caller, tools, reason):
    one = caller()
    one.provider.fault(Fault.SESSION_REJECTED, reason=reason)
    response = one.chat()
    assert response.status_code == 400
    assert tools.error_of(response) == (
        f"Provider proxy: handle proxied service, validate session: {SESSION_REASONS[reason]}"
    )
    assert one.chat().status_code == 200


@BOTH
def test_refused_after_service_bills_what_it_refuses(caller, stream):
    one = caller()
    one.provider.fault(Fault.REFUSED_AFTER_SERVICE, status=429)
    response = one.chat(stream=stream)
    assert (response.status_code, response.json()) == (429, {"error": "no capacity"})
    assert (len(one.provider.log), one.provider.log[-1].fee > 0) == (1, True)
    assert one.chat().status_code == 200


@BOTH
@pytest.mark.parametrize("billed", [True, False])
def test_cut_before_first_byte_resets_the_connection(caller, stream, billed):
    one = caller()
    one.provider.fault(Fault.CUT_BEFORE_FIRST_BYTE, billed=billed)
    with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
        one.chat(stream=stream)
    assert len(one.provider.log) == billed
    assert one.chat().status_code == 200


@BOTH
@pytest.mark.parametrize("billed", [True, False])
def test_cut_after_first_byte_leaves_a_torso(caller, stream, billed):
    one = caller()
    one.provider.fault(Fault.CUT_AFTER_FIRST_BYTE, billed=billed)
    headers, pieces, error = raw_stream(one, stream=stream)
    assert isinstance(error, httpx2.ReadError | httpx2.RemoteProtocolError)
    assert b"[DONE]" not in b"".join(pieces)
    assert len(one.provider.log) == billed
    if billed:
        entry = one.provider.log[-1]
        assert entry.client_left
        assert entry.usage.completion_tokens > 0
    assert one.signature(headers["zg-res-key"]).status_code == 200


# the provider's own changes


def service(net, provider):
    contract = abi.inference()
    data = net.chain.call(to=contract.address, data=contract.encode("getService", provider.address))
    return contract.decode("getService", data)


def test_price_raised_between_two_calls(net, caller):
    one = caller()
    one.chat()
    before, old = one.provider.log[-1], one.provider.prices
    one.provider.fault(Fault.PRICE_RAISED, factor=5)
    one.chat()
    after = one.provider.log[-1]
    assert after.fee == 5 * before.fee
    record = service(net, one.provider)
    assert (record["inputPrice"], record["outputPrice"]) == (5 * old[0], 5 * old[1])
    assert record["teeSignerAcknowledged"], "a price change does not need the owner"


def test_signer_rotated_with_the_owners_confirmation(net, caller, tools):
    one = caller()
    old = one.provider.tee_signer
    one.provider.fault(Fault.SIGNER_ROTATED)
    response = one.chat()
    signed = one.signed(response)
    assert tools.recover(signed["text"], signed["signature"]) == one.provider.tee_signer != old
    assert service(net, one.provider)["teeSignerAddress"] == one.provider.tee_signer
    assert one.provider.settle()[0].users[0].status == "SUCCESS"


def test_signer_rotated_without_it_stops_the_service(net, caller, tools):
    one = caller()
    one.provider.fault(Fault.SIGNER_ROTATED, acknowledged=False)
    assert "service not acknowledge the tee signer" in tools.error_of(one.chat())
    assert not service(net, one.provider)["teeSignerAcknowledged"]
    one.provider.acknowledge()
    assert one.chat().status_code == 200


def test_settlement_inflated(caller):
    one = caller()
    assert one.chat().status_code == 200
    owed = one.provider.log[-1].fee
    with one.provider.fault("settlement_inflated", factor=3) as active:
        assert one.chat().status_code == 200  # a request does not use it up
        owed += one.provider.log[-1].fee
        (record,) = one.provider.settle()
    assert active.fired == 1
    (mine,) = [user for user in record.users if user.user == one.wallet.address]
    assert mine.paid == 3 * owed
    assert one.provider.unsettled(one.wallet.address) == 0


# those that never answer, or answer by another clock


@pytest.mark.parametrize("billed", [True, False])
@BOTH
def test_hang(caller, tools, stream, billed):
    one = caller()
    hang = one.provider.fault(Fault.HANG, billed=billed)
    address = urlsplit(one.provider.url)
    body = one.body(QUESTION, stream=stream)
    lines = [
        f"POST {address.path}/v1/proxy/chat/completions HTTP/1.1",
        f"Host: {address.netloc}",
        f"Authorization: {one.token()}",
        f"Content-Length: {len(body)}",
    ]
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        tools.until(lambda: hang.fired)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
    if billed:
        tools.until(lambda: one.provider.log != [])
    assert [entry.client_left for entry in one.provider.log] == [True] * billed


def test_clock_ahead(caller):
    one = caller()
    one.provider.fault(Fault.CLOCK_AHEAD, seconds=3600)
    assert one.chat().status_code == 200
    one.provider.fault(Fault.CLOCK_AHEAD, times=2)
    answers = [one.chat() for _ in range(2)]
    assert [(answer.status_code, "session token expired" in answer.text) for answer in answers] == [(400, True)] * 2
    assert one.chat().status_code == 200
