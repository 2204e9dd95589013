"""``zerog chat`` and ``zerog token``."""

from __future__ import annotations

import pytest

from tests.patience import PATIENCE
from tests.zg_core.cli.running import zerog_of
from zg_core import ChatClient
from zg_core.backends.direct import changes as settling
from zg_core.backends.direct.session import read_token
from zg_core.cli import chat
from zg_core.config import Secret
from zg_core.http.transport import SyncTransport
from zg_core.localnet import LocalNet, ProviderSettings
from zg_core.verify.replay import ReplayGuard

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."


@pytest.mark.parametrize("how", [[], ["--stream"], ["--no-stream"], ["--hold"]], ids=" ".join)
def test_the_answer_is_on_stdout_and_its_proof_on_stderr(steady, provider, how):
    ran = steady("chat", QUESTION, "--provider", provider, *how)
    assert ran.out == f"{ANSWER}\n"
    for words in ("chat id  ", f"provider {provider}", "fee      0.00000", "verdict  verified: "):
        assert words in ran.err, str(ran)


@pytest.mark.parametrize("how", [[], ["--stream"]], ids=" ".join)
def test_the_document_holds_answer_and_receipt(steady, provider, how):
    document = steady.json("chat", QUESTION, *how, ZEROG_PROVIDER=provider)
    assert document["answer"] == ANSWER
    assert document["verdict"] == "verified"
    assert document["provider"] == provider
    assert document["receipt"]["payment"]["fee"] == document["fee"]["neuron"]
    assert document["receipt"]["chat_id"] == document["chat_id"]


def test_a_model_alone_chooses_a_funded_provider(steady, market, provider):
    assert steady.json("chat", "hi", "--model", "chat-ml")["provider"] == provider
    # what the environment says does not stand against what was asked for
    elsewhere = market.providers[1].address
    assert steady.json("chat", "hi", "--model", "chat-ml", ZEROG_PROVIDER=elsewhere)["provider"] == provider
    assert steady.json("chat", "hi", "--provider", provider, ZEROG_MODEL="another")["model"] == "chat-ml"


@pytest.mark.parametrize("words", [[], ["-"]], ids=["nothing", "dash"])
def test_the_question_can_be_piped_in(steady, provider, words):
    assert ANSWER in steady("chat", *words, "--provider", provider, stdin=QUESTION).out


def test_an_empty_question_is_a_usage_error(steady, provider):
    assert steady.fails("chat", "--provider", provider, code=2, stdin=" \n")["code"] == "usage"


def test_options_reach_the_provider(steady, provider):
    usual = steady.json("chat", QUESTION, "--provider", provider)["receipt"]["usage"]
    ran = steady.json("chat", QUESTION, "--provider", provider, "--system", "Be brief.", "--max-tokens", "2")
    assert ran["receipt"]["usage"]["completion_tokens"] == 2
    assert ran["receipt"]["usage"]["prompt_tokens"] > usual["prompt_tokens"]
    assert ANSWER.startswith(ran["answer"])


@pytest.mark.parametrize("how", [["--no-stream"], ["--stream"], ["--hold"]], ids=" ".join)
def test_a_lie_ends_with_code_1_and_its_proof(steady, market, provider, how):
    market.providers[0].fault("body_changed")
    ran = steady("chat", QUESTION, "--provider", provider, *how, ok=False)
    assert ran.code == 1, str(ran)
    assert "error: do not trust this reply" in ran.err
    assert "verdict  failed (content_mismatch)" in ran.err
    if how != ["--stream"]:  # what has been shown cannot be taken back
        assert ran.out == "", str(ran)


def test_the_json_error_of_a_lie_holds_the_receipt_and_not_the_answer(steady, market, provider):
    market.providers[0].fault("body_changed")
    ran = steady("chat", QUESTION, "--provider", provider, "--json", ok=False)
    assert ran.code == 1
    assert ran.error["code"] == "content_mismatch"
    assert ran.error["type"] == "VerificationFailed"
    assert ran.error["receipt"]["verdict"]["status"] == "failed"
    assert "text" not in ran.error


@pytest.fixture
def unsigned(market):
    """The provider that signs nothing."""
    return market.providers[2].address


def test_an_answer_that_cannot_be_verified_ends_with_code_3(steady, unsigned):
    ran = steady("chat", QUESTION, "--provider", unsigned, ok=False)
    assert ran.code == 3, str(ran)
    assert ran.out == f"{ANSWER}\n"
    assert "verdict  not_verifiable" in ran.err
    assert "VerificationWarning" not in ran.err
    ran = steady("chat", QUESTION, "--provider", unsigned, "--json", ok=False)
    assert ran.code == 3, str(ran)
    assert ran.document["verdict"] == "not_verifiable"


def test_require_refuses_before_it_asks_a_provider_that_signs_nothing(steady, market, unsigned):
    before = len(market.providers[2].requests)
    assert steady.fails("chat", "hi", "--provider", unsigned, "--verify", "require", code=3)["code"] == "not_verifiable"
    assert len(market.providers[2].requests) == before


def test_less_has_to_be_asked_for_by_name(steady, market, provider, monkeypatch):
    """The answer that another question got is on stdout, and the exit code says that nothing ties it to this one."""

    def ask(*words, ok):
        # the other user's question was asked by this very process, perhaps: another one knows nothing of it
        monkeypatch.setattr("zg_core.client._GUARD", ReplayGuard())
        market.providers[0].fault("replay_other")
        return steady("chat", QUESTION, "--provider", provider, *words, ok=ok, ZEROG_STORE="memory:")

    ran = ask(ok=False)
    assert ran.code == 3, str(ran)
    assert ran.out
    assert "verdict  response_bound (request_unknown)" in ran.err
    ran = ask("--verify", "require", "--no-stream", ok=False)
    assert (ran.code, ran.out) == (3, ""), str(ran)
    assert ask("--minimum", "response_bound", ok=True).out


@pytest.mark.parametrize("words", [["--minimum", "pending"], ["--minimum", "good"]], ids=" ".join)
def test_a_minimum_that_proves_nothing_is_an_error(steady, provider, words):
    assert steady.fails("chat", "hi", "--provider", provider, *words, code=1)["code"] == "bad_policy"


def test_more_than_the_budget_is_not_sent(steady, market, provider):
    before = len(market.providers[0].log)
    words = ("chat", "hi", "--provider", provider, "--max-tokens", "20")
    assert steady.fails(*words, "--budget", "0.000000001", code=1)["code"] == "budget_exceeded"
    assert steady.fails(*words, "--budget", "1 EUR", code=1)["code"] == "bad_amount"
    assert steady.fails(*words, "--budget", "much", code=2)["code"] == "usage"
    assert len(market.providers[0].log) == before
    assert steady.json(*words, "--budget", "0.1 0G")["answer"]


@pytest.mark.parametrize("pair", ["alias", "=m", "alias=", "="])
def test_a_rename_that_is_none_is_a_usage_error(steady, provider, pair):
    assert steady.fails("chat", "hi", "--provider", provider, "--accept-model", pair, code=2)["code"] == "usage"


def test_with_verification_off_the_answer_is_enough(steady, unsigned):
    ran = steady("chat", QUESTION, "--provider", unsigned, "--verify", "off")
    assert "verdict  not_checked" in ran.err


@pytest.mark.parametrize("there", [False, True], ids=["still running", "already there"])
def test_a_verdict_in_the_background_is_waited_for_and_judged(steady, market, provider, monkeypatch, there):
    def settle(client, receipt, answer):
        if there:
            receipt.resolve(PATIENCE)
        judge(client, receipt, answer)

    judge = chat.settle_verdict
    monkeypatch.setattr(chat, "settle_verdict", settle)
    assert steady.json("chat", "hi", "--provider", provider, ZEROG_VERIFY="background")["verdict"] == "verified"
    market.providers[0].fault("body_changed")
    ran = steady("chat", "hi", "--provider", provider, ok=False, ZEROG_VERIFY="background")
    assert ran.code == 1, str(ran)


def test_an_unknown_way_to_verify_is_a_usage_error(steady):
    assert steady.fails("chat", "hi", "--verify", "maybe", code=2)["code"] == "usage"


def test_a_provider_that_has_not_seen_a_transfer_of_another_process_is_waited_for(tmp_path, monkeypatch):
    with LocalNet(settings=ProviderSettings.production()) as net:
        zerog, provider = zerog_of(net, tmp_path, net.new_wallet()), net.providers[0].address

        async def sleep(_, seconds):
            net.clock.advance(seconds)

        monkeypatch.setattr(SyncTransport, "sleep", sleep)
        zerog("deposit", "3", "--yes")
        zerog("transfer", provider, "1", "--yes")
        ran = zerog("chat", "hi", "--provider", provider, ok=False)
        assert "insufficient balance" in ran.err
        assert "does not see" not in ran.err, "it really is too little, and was waited for"
        zerog("transfer", provider, "0.5", "--yes")
        monkeypatch.setattr(settling.CHANGES, "_changed", {})  # what another process did is not known here
        ran = zerog("chat", QUESTION, "--provider", provider)
        assert ran.out == f"{ANSWER}\n"
        assert ran.err.count("does not see your last transaction yet") == 1


@pytest.mark.parametrize("command", [["chat", "hi"], ["token"]], ids=lambda words: words[0])
class TestRefusals:
    """What both commands refuse, before anything is sent."""

    def test_no_credential(self, nobody, provider, command):
        assert nobody.fails(*command, "--provider", provider, code=1)["code"] == "no_credential"

    def test_no_account(self, poor, provider, command):
        error = poor.fails(*command, "--provider", provider, code=1)
        assert error["code"] == "no_account"
        assert f"zerog transfer {provider} 1.1" in error["hint"]

    def test_nobody_chosen(self, steady, command):
        assert steady.fails(*command, code=1)["hint"]

    def test_an_unknown_provider(self, steady, command):
        assert steady.fails(*command, "--provider", "0x" + "77" * 20, code=1)["code"] == "unknown_provider"

    def test_an_unknown_model(self, steady, command):
        assert steady.fails(*command, "--model", "none-such", code=1)["code"] == "model_not_served"


def test_the_token_is_printed_alone_and_called_a_secret(steady, provider):
    ran = steady("token", "--provider", provider)
    claims = read_token(Secret(ran.out.strip()))
    assert claims.provider == provider
    assert claims.token_id == 255
    assert "this is a secret" in ran.err
    assert "until" in ran.err


def test_the_token_opens_the_door(steady, provider):
    document = steady.json("token", "--provider", provider)
    assert document["base_url"].endswith("/v1/proxy")
    environ = {name: value for name, value in steady.environ.items() if name != "ZEROG_PRIVATE_KEY"}
    with ChatClient(api_key=document["token"], environ=environ) as client:
        reply = client.create({"messages": [{"role": "user", "content": QUESTION}]})
    assert reply.text == ANSWER


def test_a_backend_is_chosen_by_name_and_a_wrong_one_is_told(steady, provider):
    assert steady.json("chat", QUESTION, "--provider", provider, "--backend", "direct")["answer"] == ANSWER
    refused = steady.fails("chat", QUESTION, "--backend", "rooter", code=2)
    assert refused["code"] == "usage"
