"""The official TypeScript client, @0gfoundation/0g-compute-ts-sdk 0.9.0, against `zerog localnet up`.

client.mjs takes it through everything once; each test is about one step. Known faults of the client are worked round
there, with a comment that names the fault.
"""

from __future__ import annotations

import pytest

from zg_core.backends.direct.session import read_token
from zg_core.errors import VerificationFailed

pytestmark = pytest.mark.requires("node")

STEPS = (
    "discovery",
    "ledger",
    "transfer",
    "acknowledgement",
    "session_headers",
    "chat",
    "streaming",
    "api_key",
    "get_secret_on_the_command_line",
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
def steps(run_typescript):
    return run_typescript()


@pytest.mark.parametrize("step", STEPS)
def test_the_official_client_completes(step, steps):
    steps[step]


def test_every_step_is_asserted_here_and_the_client_ended_well(steps):
    assert tuple(steps.lines) == STEPS
    assert steps.status == 0, steps.stderr[-3000:]


def test_it_finds_our_providers_without_being_told_addresses_and_takes_the_chain_for_hardhat(steps, network):
    with network.client() as client:
        assert steps["discovery"]["models"] == sorted(service.model for service in client.services())
    assert "Detected hardhat (chain ID: 31337)" in steps.stderr


def test_the_signer_it_reads_is_the_one_we_read(steps, network):
    with network.client() as client:
        signer = client.service().on_chain.signer
    assert steps["discovery"]["signer"] == steps["acknowledgement"]["signer"] == signer


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
    assert (claims.token_id, claims.generation) == (facts["id"], 0) == (0, 0)
    assert claims.expires_at - claims.timestamp == 3_600_000
    assert facts["id_of_an_unnumbered_second_key"] == 0  # the fault
    assert read_token(steps["get_secret_on_the_command_line"]["key"]).token_id == 1


def test_the_provider_refuses_what_the_real_one_refuses(steps):
    refused = {name: said.rpartition("validate session: ")[2] for name, said in steps["refusals"].items()}
    assert refused.pop("no_token").startswith("missing or invalid Authorization header")
    assert refused == {
        "other_provider": "session token is for different provider",
        "changed_token": "signature verification failed: address mismatch",
        "expired": "session token expired",
    }


def test_it_finds_no_signature_for_a_made_up_chat_id(steps):
    facts = steps["signature_check"]
    assert facts["made_up"] == "getting signature error"
    assert facts["without_chat_id"] is None


def test_a_revocation_is_noticed_and_the_revoked_id_is_handed_out_again(steps):
    one, everything = steps["revoked_key"], steps["revoked_all"]
    assert "session token has been revoked" in one["refused"]
    assert one["id_handed_out_again"] == 0
    assert "session token has been revoked" in one["again_refused"]
    assert "session token has been revoked (generation expired)" in everything["refused"]
    assert read_token(everything["key"]).generation == 1


def test_it_accepts_a_changed_body(steps):
    theirs = steps["changed_body_is_accepted"]
    assert theirs["process_response"] is True
    assert theirs["text"] != ANSWER


def test_the_very_signature_it_accepts_for_a_changed_body_is_refused_by_our_client(
    steps, network, set_fault, run_typescript
):
    steps["transfer"]
    set_fault("body_changed")
    with network.client() as client, pytest.raises(VerificationFailed) as refused:
        client.create({"messages": QUESTION})
    receipt = refused.value.receipt
    assert (refused.value.code, receipt.verdict.status) == ("content_mismatch", "failed")
    assert refused.value.text != ANSWER
    assert run_typescript("judge", receipt.chat_id)["judge"]["process_response"] is True


def test_our_client_works_with_its_api_key(steps, network):
    with network.client(api_key=steps["revoked_all"]["key"]) as client:
        reply = client.create({"messages": QUESTION})
    assert reply.text == ANSWER
    assert reply.receipt.verdict.status == "verified"


def test_the_network_ends_cleanly(steps, network):
    network.end()
