"""Routes, refusals and their words, over real sockets."""

import base64
import json
from dataclasses import replace

import pytest

from zg_core.localnet import LocalNet, ProviderSettings, ProviderSpec, Tier
from zg_core.localnet.chain import abi

OG = 10**18
PREFIX = "Provider proxy: handle proxied service, "
PRODUCTION = replace(ProviderSettings.production(), settle_interval=None)
ROOMY = replace(PRODUCTION, requests_per_minute=None, ip_requests_per_second=None)


@pytest.fixture(scope="module")
def net():
    specs = [
        ProviderSpec(model="m", settings=ROOMY),
        ProviderSpec(
            model="t", kind="TeeTLS", settings=ROOMY, tiers=(Tier(1000), Tier(0, 3, 2, input_multiplier_denominator=2))
        ),
        ProviderSpec(model="s", kind="standard", settings=ROOMY, lora=False),
        ProviderSpec(model="e", service_type="embedding", settings=ROOMY),
        ProviderSpec(model="p", kind="TeeML-separated", settings=ROOMY),
        ProviderSpec(model="unconfirmed", acknowledged=False, settings=ROOMY),
    ]
    with LocalNet(providers=specs) as running:
        yield running


@pytest.fixture
def caller(net, connect, reverting):
    reverting(net)

    def make(model="m", **kwargs):
        return connect(net, net.provider(model), **kwargs)

    return make


def send(net, wallet, contract, function, *args, value=0):
    net.chain.send(wallet.private_key, to=contract.address, data=contract.encode(function, *args), value=value)


# paths


@pytest.mark.parametrize(
    "path",
    [
        "/v1/proxy/chat/completions",
        "/v1/proxy/v1/chat/completions",
        "/v1/proxy/chat/completions/",
        "/v1/proxy/chat/completions?x=1",
    ],
)
def test_the_charged_route_and_its_spellings(caller, path):
    one = caller()
    assert one.post(one.body(), path=path).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/v1/proxy/nothing", "/v1/proxy/embeddings", "/v1/proxy", "/v1/proxy/v1", "/v1/proxy/v1/v1/chat/completions"],
)
def test_other_paths_are_not_supported(caller, tools, path):
    response = caller().post(b"{}", path=path)
    assert response.status_code == 400
    assert tools.error_of(response) == PREFIX + "unsupported endpoint: endpoint not supported"


def test_an_embedding_provider_does_not_chat(caller, tools):
    one = caller("e")
    assert "endpoint not supported" in tools.error_of(one.post(one.body()))


def test_outside_of_v1_there_is_nothing(caller):
    response = caller().get("/nothing")
    assert (response.status_code, response.text) == (404, "404 page not found")


def test_a_preflight_is_answered_without_a_token(caller, http):
    one = caller()
    response = http.options(
        one.provider.url + "/v1/proxy/chat/completions", headers={"origin": "http://localhost:3000"}
    )
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "Authorization" in response.headers["access-control-allow-headers"]


def test_a_body_of_32_mb_is_read_and_one_byte_more_is_413(caller, tools):
    one = caller()
    start = b'{"model":"other","padding":"'
    fits = start + b"x" * (32 * 2**20 - len(start) - 2) + b'"}'
    assert "model not supported" in tools.error_of(one.post(fits))
    response = one.post(fits + b" ")
    assert response.status_code == 413
    assert response.json() == {"error": "Request body size exceeds the maximum allowed size of 32MB"}


# sessions (the reasons themselves are tested in test_tokens)


def test_a_refused_session_is_a_400_with_a_string(caller, tools):
    response = caller().post(b"{}", token=None)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.json() == {
        "error": PREFIX + "validate session: missing or invalid Authorization header, "
        "must be Bearer app-sk-<base64(rawMessage:signature)>"
    }


def test_the_text_of_a_refusal_is_escaped_as_go_writes_it(caller):
    assert rb"app-sk-\u003cbase64(rawMessage:signature)\u003e" in caller().post(b"{}", token=None).content


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"provider": "0x" + "12" * 20}, "session token is for different provider"),
        ({"expiresAt": 0}, "ephemeral token must have an expiration time"),
        ({"timestamp": 0}, "ephemeral token duration cannot exceed 24 hours"),
        ({"timestamp": 1, "expiresAt": 2}, "session token expired"),
        ({"generation": 1}, "invalid session token (future generation)"),
        ({"address": "0x" + "12" * 20}, "signature verification failed: address mismatch"),
    ],
)
def test_sessions_are_checked_against_the_chain_and_the_clock(caller, tools, changes, reason):
    one = caller()
    response = one.post(one.body(), token=one.token(**changes))
    assert (response.status_code, tools.error_of(response)) == (400, f"{PREFIX}validate session: {reason}")


def test_a_session_ends_when_the_networks_clock_says_so(net, caller, tools):
    one = caller()
    token = one.token()
    assert one.post(one.body(), token=token).status_code == 200
    net.clock.advance(86_401)
    assert tools.error_of(one.post(one.body(), token=token)).endswith("session token expired")


def test_revocation_is_seen_when_the_account_cache_ends(net, caller, tools):
    one = caller()
    inference = abi.inference()
    key = one.token(tokenId=7, expiresAt=0)
    session = one.token()
    assert one.post(one.body(), token=key).status_code == 200
    send(net, one.wallet, inference, "revokeToken", one.provider.address, 7)
    assert one.post(one.body(), token=key).status_code == 200, "the account is cached for two minutes"
    net.clock.advance(120)
    assert tools.error_of(one.post(one.body(), token=key)).endswith("session token has been revoked")
    assert one.post(one.body(), token=session).status_code == 200
    send(net, one.wallet, inference, "revokeAllTokens", one.provider.address)
    renewed = one.token(generation=1)
    assert tools.error_of(one.post(one.body(), token=renewed)).endswith("invalid session token (future generation)")
    net.clock.advance(120)
    assert one.post(one.body(), token=renewed).status_code == 200
    assert tools.error_of(one.post(one.body(), token=session)).endswith("revoked (generation expired)")


def test_the_prefix_of_errors_is_a_setting(connect, tools):
    with LocalNet(providers=[ProviderSpec(settings=replace(ROOMY, error_prefix=""))]) as newest:
        response = connect(newest).post(b"{}", token=None)
        assert tools.error_of(response).startswith("validate session: missing")


# admission


def test_without_an_account_there_is_no_service(caller, tools):
    one = caller(amount=None)
    response = one.chat()
    assert response.status_code == 400
    assert tools.error_of(response).startswith(
        PREFIX + "validate request: get account from contract, account not exist"
    )


def test_a_user_who_took_back_the_acknowledgement_is_told_so(net, caller, tools):
    one = caller(amount=OG)
    # to take it back the sub-account must be empty: retrieve, wait a day, retrieve
    ledger = abi.ledger()
    send(net, one.wallet, ledger, "retrieveFund", [one.provider.address], "inference-v1.0")
    net.clock.advance(86_400)
    send(net, one.wallet, ledger, "retrieveFund", [one.provider.address], "inference-v1.0")
    send(net, one.wallet, abi.inference(), "acknowledgeTEESigner", one.provider.address, False)
    assert tools.error_of(one.chat()) == (
        PREFIX + "validate request: user not acknowledge the provider, please use acknowledgeProviderSigner function "
        "in sdk first, it will take effect in 2 minutes"
    )


def test_a_provider_the_owner_has_not_confirmed_refuses(caller, tools):
    one = caller("unconfirmed")
    assert tools.error_of(one.chat()) == PREFIX + "validate request: service not acknowledge the tee signer"
    one.provider.acknowledge()
    assert one.chat().status_code == 200
    one.provider.revoke_acknowledgement()
    assert "service not acknowledge the tee signer" in tools.error_of(one.chat())


def test_the_balance_rule_in_the_providers_words(net, caller, tools):
    one = caller(amount=OG)
    response = one.chat()
    fee = 4 * one.provider.prices[0]  # less than a millionth of 0G: shown as zero
    assert 0 < fee < OG // 10**6
    assert response.status_code == 400
    assert tools.error_of(response) == (
        PREFIX + "validate request: insufficient balance: your locked balance is 1.000000 0G, but the required minimum "
        "is 1.000001 0G (breakdown: minimum reserve 1.000000 0G + unsettled fees 0.000000 0G + current request fee "
        "0.000001 0G). Please add more funds with: 0g-compute-cli transfer-fund "
        f"--provider {one.provider.address} --amount <amount>"
    )


def test_the_reserve_plus_unsettled_fees_plus_the_estimate_must_be_there(net, caller, tools):
    one = caller(amount=OG + 10**13)
    admitted = 0
    while one.chat().status_code == 200:
        admitted += 1
    assert admitted >= 1
    unsettled = one.provider.unsettled(one.wallet.address)
    assert unsettled == sum(entry.fee for entry in one.provider.log if entry.user == one.wallet.address)
    assert f"unsettled fees {unsettled / OG:.6f} 0G" in tools.error_of(one.chat())
    words = one.body("What is 2 + 2?")
    assert one.post(words).status_code == 400
    one.provider.settle()
    assert "unsettled fees 0.000000 0G" in tools.error_of(one.chat())


def test_money_in_a_pending_refund_does_not_count(net, caller, tools):
    one = caller(amount=2 * OG)
    send(net, one.wallet, abi.ledger(), "retrieveFund", [one.provider.address], "inference-v1.0")
    assert "your locked balance is 0.000000 0G" in tools.error_of(one.chat())


def test_a_top_up_is_seen_when_the_account_cache_ends(net, caller):
    one = caller(amount=OG)
    ledger = abi.ledger()
    assert one.chat().status_code == 400
    send(net, one.wallet, ledger, "depositFund", value=OG)
    send(net, one.wallet, ledger, "transferFund", one.provider.address, "inference-v1.0", OG)
    assert one.chat().status_code == 400
    net.clock.advance(120)
    assert one.chat().status_code == 200


def test_the_estimate_can_be_left_out(connect):
    settings = replace(ROOMY, estimate_input_fee=False)
    with LocalNet(providers=[ProviderSpec(settings=settings)]) as net:
        assert connect(net, amount=OG).chat().status_code == 200


# the model


def test_another_model_is_refused_by_name(caller, tools):
    response = caller().chat(model="gpt-4")
    assert response.status_code == 400
    assert tools.error_of(response) == (
        PREFIX
        + 'prepare HTTP request: enforce configured model: model not supported: requested "gpt-4", accepted: ["m"]'
    )


def test_five_wrong_models_block_the_user_for_an_hour(net, caller, tools):
    one, other = caller(), caller()
    for _ in range(5):
        assert one.chat(model="x").status_code == 400
    for body in (one.body(), one.body(model="x")):
        response = one.post(body)
        assert response.status_code == 429
        assert tools.error_of(response) == (
            "Rate limit exceeded: too many invalid model requests. Please try again in 1h0m0s"
        )
    assert other.chat().status_code == 200
    net.clock.advance(1800)
    assert tools.error_of(one.chat()).endswith("in 30m0s")
    net.clock.advance(1800)
    assert one.chat().status_code == 200


def test_money_is_looked_at_before_the_model(caller, tools):
    assert "insufficient balance" in tools.error_of(caller(amount=OG).chat(model="x"))


def test_a_body_that_is_no_json_is_refused(caller, tools):
    response = caller().post(b"nope")
    assert response.status_code == 400
    assert "failed to parse JSON body" in tools.error_of(response)


# beside the proxy


def test_an_unknown_signature_is_a_400(caller):
    response = caller().signature("00000000-0000-0000-0000-000000000000")
    assert (response.status_code, response.json()) == (
        400,
        {"error": PREFIX + "prepare HTTP request: Chat id not found or expired, chat_id_not_found"},
    )


def test_a_signature_lives_for_twenty_minutes(net, caller):
    one = caller()
    key = one.chat().headers["zg-res-key"]
    assert one.signature(key).status_code == 200
    net.clock.advance(1100)
    assert one.signature(key).status_code == 200
    net.clock.advance(100)
    assert one.signature(key).status_code == 400


def test_models_have_prices_in_neuron_and_say_who_answers(caller):
    one = caller("t")
    (entry,) = one.get("/v1/models").json()["data"]
    assert entry["id"] == "t"
    assert entry["pricing"]["prompt"] == str(one.provider.prices[0])
    assert entry["pricing"]["completion"] == str(one.provider.prices[1])
    assert entry["pricing"]["tiered_pricing"] == [
        {"max_input_tokens": 1000, "input_multiplier": 1, "output_multiplier": 1},
        {"max_input_tokens": 0, "input_multiplier": 3, "output_multiplier": 2, "input_multiplier_denominator": 2},
    ]
    assert entry["pricing"]["cache_token_billing"] == {"divisor": 4}
    assert (entry["verifiability"], entry["provider_type"], entry["tee_attested"]) == ("TeeML", "centralized", True)
    (entry,) = caller("m").get("/v1/models").json()["data"]
    assert entry["type"] == "chatbot"
    assert "provider_type" not in entry
    (entry,) = caller("s").get("/v1/models").json()["data"]
    assert (entry["verifiability"], entry["tee_attested"], entry["tee_type"]) == ("standard", False, "")
    (entry,) = caller("e").get("/v1/models").json()["data"]
    assert (entry["type"], entry["id"]) == ("embedding", "e")


def test_one_may_ask_for_ones_own_unsettled_fee_only(caller):
    one, other = caller(), caller()
    one.chat()
    fee = one.provider.log[-1].fee
    path = f"/v1/user/{one.wallet.address.lower()}/unsettledfee"
    response = one.get(path, token=one.token())
    assert response.json() == {"userAddress": one.wallet.address, "unsettledFee": str(fee)}
    response = other.get(path, token=other.token())
    assert (response.status_code, response.json()) == (403, {"error": "you can only query your own unsettled fee"})
    assert one.get(path).status_code == 400


def test_adapters_are_listed_for_a_session(caller, tools):
    one = caller()
    (adapter,) = one.get("/v1/lora/adapters", token=one.token()).json()["adapters"]
    assert adapter["adapterName"] == one.provider.adapter == f"ft-m-{adapter['taskId'][:12]}"
    assert (adapter["baseModel"], adapter["state"], adapter["userAddress"]) == ("m", "active", one.wallet.address)
    assert one.get(f"/v1/lora/adapters/{adapter['adapterName']}", token=one.token()).json() == adapter
    assert one.get("/v1/lora/adapters/ft-x", token=one.token()).status_code == 404
    assert tools.error_of(one.get("/v1/lora/adapters")).startswith("validate session:")
    without = caller("s")
    assert without.get("/v1/lora/adapters", token=without.token()).json() == {"adapters": []}


def test_the_quote_names_the_signer_in_both_layouts(caller, tools):
    one = caller()
    legacy, newer = one.get("/v1/quote"), one.get("/v1/quote?legacy=false")
    data = base64.b64decode(legacy.json()["report_data"])
    assert data == one.provider.tee_signer.encode().ljust(64, b"\0")
    data = base64.b64decode(newer.json()["report_data"])
    assert data[32:52].hex() == one.provider.tee_signer[2:].lower()
    assert data[52:] == b"\0\0\0\1" + bytes(8)
    assert "signed by made-up hardware" in legacy.json()["local_network"]
    assert tools.recover(legacy.text, legacy.headers["zg-quote-signature"]) == one.provider.tee_signer


def test_only_a_separate_model_enclave_has_its_own_report(caller, tools):
    one = caller("p")
    report = one.get("/v1/proxy/attestation/report?model=p&nonce=" + "ab" * 32).json()
    assert (report["signing_address"], report["request_nonce"]) == (one.provider.response_signer, "ab" * 32)
    assert one.get("/v1/proxy/attestation/report").json()["request_nonce"] == "00" * 32
    for bad in ("xyz", "ab" * 33):
        assert one.get("/v1/proxy/attestation/report?nonce=" + bad).status_code == 400
    for model in ("t", "s"):
        response = caller(model).get("/v1/proxy/attestation/report")
        assert response.status_code == 501
        assert tools.error_of(response).startswith("LLM attestation report is not available for this provider.")
    assert caller("m").get("/v1/proxy/attestation/report").status_code == 404


# control routes


def test_faults_are_set_listed_and_cleared_over_http(caller, http):
    one = caller()
    url = one.provider.url + "/_local/fault"
    answer = http.post(url, json={"fault": "slow_drip", "times": None, "options": {"size": 9}}).json()
    assert answer["active"] == [{"fault": "slow_drip", "times": None, "options": {"size": 9, "delay": 0.01}}]
    assert "truncated_stream" in answer["faults"]
    assert http.delete(url).json()["active"] == []
    http.post(url, json={"fault": "unavailable"})
    assert [one.chat().status_code for _ in range(2)] == [503, 200]
    assert http.get(url).json()["active"] == []


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ({"fault": "nonsense"}, "unknown fault"),
        ({"fault": "gzip", "times": 0}, "at least 1"),
        ({"fault": "gzip", "options": {"x": 1}}, "no option 'x'"),
        ({"fault": "session_rejected", "options": {"reason": "x"}}, "unknown reason"),
        ([], "attribute"),
    ],
)
def test_bad_orders_are_refused_with_a_reason(caller, http, order, text):
    one = caller()
    response = http.post(one.provider.url + "/_local/fault", json=order)
    assert response.status_code == 400
    assert text in response.json()["error"]
    assert http.get(one.provider.url + "/_local/fault").json()["active"] == []


def test_the_book_and_settling_over_http(caller, http):
    one = caller()
    one.chat()
    (entry,) = http.get(one.provider.url + "/_local/log").json()["log"]
    assert (entry["user"], entry["settled"]) == (one.wallet.address, "0")
    (settlement,) = http.post(one.provider.url + "/_local/settle").json()["settlements"]
    assert settlement["users"][0]["status"] == "SUCCESS"
    assert settlement["users"][0]["paid"] == entry["fee"]
    assert http.get(one.provider.url + "/_local/log").json()["log"][0]["settledTx"] == settlement["tx"]


def test_web_pages_cannot_reach_the_control_routes(caller, http):
    one = caller()
    response = http.post(one.provider.url + "/_local/settle", headers={"origin": "https://evil.example"})
    assert response.status_code == 403


def test_strangers_cannot_reach_the_control_routes():
    """The servers listen on 127.0.0.1; the routes ask again, for the day somebody puts a proxy in front."""
    import asyncio

    from zg_core.localnet.provider.app import Recorder

    sent = []

    class State:
        settings = ROOMY

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/_local/settle",
        "headers": [],
        "client": ("10.0.0.7", 1),
        "state": {},
    }
    asyncio.run(Recorder(None, State())(scope, receive, send))
    assert sent[0]["status"] == 403


def test_every_request_is_recorded(caller, tools):
    one = caller()
    before = len(one.provider.requests)
    one.chat()
    one.get("/v1/models")
    one.http.get(one.provider.url + "/_local/log")
    first, second = one.provider.requests[before:]
    assert (first.method, first.path, first.body_sha256) == (
        "POST",
        "/v1/proxy/chat/completions",
        tools.sha256(one.sent),
    )
    assert (first.authorized, second.authorized) == (True, False)
    assert (second.method, second.path) == ("GET", "/v1/models")
    assert json.dumps(first.__dict__).count("app-sk") == 0
