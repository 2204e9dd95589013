"""The official Python client, 0g-inference-sdk 0.9.1, against `zerog localnet up`.

client.py takes it through everything once; each test is about one step. Known faults of the client are worked round
there, with a comment that names the fault.
"""

from __future__ import annotations

import pytest

from zg_core.backends.direct.session import read_token
from zg_core.errors import VerificationFailed

STEPS = (
    "discovery",
    "ledger",
    "first_transfer_runs_out_of_gas",
    "transfer",
    "acknowledgement",
    "session_headers",
    "chat",
    "streaming",
    "api_key",
    "api_key_of_zg_core",
    "refusals",
    "signature_check",
    "changed_body_is_accepted",
    "settlement",
    "revoked_key",
    "revoked_all",
    "retrieval",
    "refund",
)
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
ANSWER = "The capital of France is Paris."


@pytest.fixture(scope="module")
def steps(run_python):
    return run_python()


@pytest.mark.parametrize("step", STEPS)
def test_the_official_client_completes(step, steps):
    steps[step]


def test_every_step_is_asserted_here_and_the_client_ended_well(steps):
    assert tuple(steps.lines) == STEPS
    assert steps.status == 0, steps.stderr[-3000:]


def test_it_finds_our_contracts_and_providers_without_being_told_addresses(steps, network):
    facts = steps["discovery"]
    assert facts["ledger"] == network.settings["LEDGER"]
    assert facts["inference"] == network.settings["INFERENCE"]
    with network.client() as client:
        assert facts["models"] == sorted(service.model for service in client.services())


def test_a_first_transfer_with_its_own_gas_limit_fails_as_on_the_real_chain(steps):
    said = steps["first_transfer_runs_out_of_gas"]["said"]
    assert said == "Contract operation 'transferFund' failed: Transaction failed"


def test_the_signer_it_reads_is_the_one_that_signs_and_the_one_we_read(steps, network):
    with network.client() as client:
        signer = client.service().on_chain.signer
    assert steps["acknowledgement"]["signer"] == steps["signature_check"]["signer"] == signer


def test_its_session_is_one_of_our_form(steps, network):
    claims = read_token(steps["session_headers"]["authorization"].removeprefix("Bearer "))
    assert claims.provider == network.providers[0]
    assert (claims.token_id, claims.generation) == (255, 0)
    assert claims.expires_at - claims.timestamp == 24 * 3600 * 1000


def test_it_gets_the_answer_in_one_piece_and_as_a_stream(steps):
    assert steps["chat"]["text"] == steps["streaming"]["text"] == ANSWER


def test_its_api_keys_are_ones_of_our_form(steps):
    facts = steps["api_key"]
    claims = read_token(facts["key"])
    assert (claims.token_id, claims.generation) == (0, 0)
    assert claims.expires_at - claims.timestamp == 3_600_000
    assert (facts["id_of_an_unnumbered_second_key"], facts["id"]) == (0, 1)  # the fault, and the way round


def test_the_provider_refuses_what_the_real_one_refuses(steps):
    refused = {name: said.rpartition("validate session: ")[2] for name, said in steps["refusals"].items()}
    assert refused.pop("no_token").startswith("missing or invalid Authorization header")
    assert refused == {
        "other_provider": "session token is for different provider",
        "changed_token": "signature verification failed: address mismatch",
        "expired": "session token expired",
    }


def test_a_revocation_is_noticed_and_locks_the_client_out_unless_worked_round(steps):
    one, everything = steps["revoked_key"], steps["revoked_all"]
    assert "session token has been revoked" in one["refused"]
    assert "future generation" in one["session_without_workaround"]
    assert "session token has been revoked (generation expired)" in everything["refused"]
    assert "session token has been revoked (generation expired)" in everything["session_without_workaround"]


def test_a_changed_body_that_it_accepts_is_refused_by_ours(steps, network, set_fault):
    theirs = steps["changed_body_is_accepted"]
    assert theirs["process_response"] is True
    assert theirs["signature_function"] is True
    assert theirs["text"] != ANSWER
    set_fault("body_changed")
    with network.client() as client, pytest.raises(VerificationFailed) as refused:
        client.create({"messages": QUESTION})
    assert refused.value.code == "content_mismatch"
    assert refused.value.text != ANSWER


def test_our_client_works_with_its_api_key(steps, network):
    with network.client(api_key=steps["revoked_all"]["key"]) as client:
        reply = client.create({"messages": QUESTION})
    assert reply.text == ANSWER
    assert reply.receipt.verdict.status == "verified"


def test_the_network_ends_cleanly(steps, network):
    network.end()
