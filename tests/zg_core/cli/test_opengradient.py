"""``zerog opengradient …``: approval, balance, doctor and settlement on a local OpenGradient."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.patience import PATIENCE
from tests.zg_core.backends.opengradient.conftest import arguments
from zg_core import ChatClient, OpenGradient
from zg_core.cli.app import cli
from zg_core.localnet.opengradient.network import OpenGradientNet

QUESTION = {"messages": [{"role": "user", "content": "What is 2+3?"}], "max_tokens": 50}


@pytest.fixture
def run(zerog_opengradient: OpenGradientNet, tmp_path, monkeypatch) -> Any:
    """Runs a command in an environment that names the network; its exit status and JSON document."""
    for name, value in zerog_opengradient.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ZEROG_STORE", f"sqlite:///{tmp_path}/store.sqlite")

    def command(*words: str, key: str | None = None) -> tuple[int, Any]:
        if key is not None:
            monkeypatch.setenv("ZEROG_PRIVATE_KEY", key)
        done = CliRunner().invoke(cli, ["opengradient", *words, "--json"])
        return done.exit_code, json.loads(done.stdout) if done.stdout.strip() else done.output

    return command


def test_an_approval_is_made_once(run, zerog_opengradient):
    wallet = zerog_opengradient.new_wallet()
    status, done = run("approve", "5", "--yes", key=wallet.private_key)
    assert (status, done["before"]["units"] if "units" in done["before"] else done["before"]) is not None
    assert zerog_opengradient.allowance(wallet.address) == 5 * 10**18
    assert done["transaction"].startswith("0x")
    status, again = run("approve", "5", "--yes")
    assert (status, again["transaction"]) == (0, None)


def test_a_balance_shows_what_is_held_and_approved(run, zerog_opengradient):
    status, found = run("balance")
    assert status == 0
    assert found["wallet"] == zerog_opengradient.wallet.address


def test_the_doctor_looks_at_everything_and_pays_nothing(run, zerog_opengradient):
    status, found = run("doctor", "--nitro-root", zerog_opengradient.hypervisor.root_sha256)
    assert (status, found["well"]) == (0, True)
    zerog_opengradient.gateways[0].fail("wrong_asset")
    status, found = run("doctor", "--nitro-root", zerog_opengradient.hypervisor.root_sha256)
    assert (status, found["well"]) == (1, False)
    assert [each["code"] for each in found["findings"] if each["outcome"] == "fail"] == ["payment_asset"]
    assert not any(each.permit for gateway in zerog_opengradient.gateways for each in gateway.seen)


def test_a_settlement_is_found_for_all_calls_of_a_permit(run, zerog_opengradient, tmp_path):
    net = zerog_opengradient
    options = OpenGradient(registry_rpc_url=net.registry_rpc_url, rpc_url=net.rpc_url)
    with ChatClient(
        backend=options,
        model="openai/gpt-5",
        provider=net.gateways[0].tee_id,
        private_key=net.wallet.private_key,
        store=f"sqlite:///{tmp_path}/store.sqlite",
        environ={},
    ) as client:
        receipts = [client.create(QUESTION).receipt for _ in range(2)]
    (hash_,) = net.settle()
    status, found = run("settlement", receipts[1].id)
    assert (status, found["status"], found["transaction"], found["calls"]) == (0, "settled", hash_, 2)
    assert found["amount"] == found["claimed"]


def test_a_network_comes_up_in_the_foreground_and_names_itself(tmp_path):
    import os
    import shlex
    import signal
    import subprocess
    import sys

    env_file = tmp_path / "og.env"
    command = [sys.executable, "-m", "zg_core.cli", "localnet", "up", "--opengradient", "--env-file", str(env_file)]
    with subprocess.Popen(
        [*command, "--legacy-names", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        try:
            lines = []
            while True:  # the document is there when the network is
                lines.append(running.stdout.readline())
                try:
                    document = json.loads("".join(lines))
                    break
                except ValueError:
                    assert lines[-1], running.stderr and running.stderr.read()
            lines = shlex.split(env_file.read_text().replace("export ", ""))
            settings = dict(line.split("=", 1) for line in lines)
            assert settings["BASE_MAINNET_RPC"] == settings["ZEROG_BASE_RPC_URL"] == document["rpc_url"]
            own = {name: value for name, value in os.environ.items() if not name.startswith("ZEROG_")}
            with ChatClient(model="openai/gpt-5", environ={**own, **settings}) as client:
                receipt = client.create(QUESTION).receipt
            assert (receipt.backend, str(receipt.verdict.status)) == ("opengradient", "verified")
            assert receipt.provider in {each["tee_id"] for each in document["gateways"]}
        finally:
            running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE) == 0


def test_a_receipt_is_anchored_by_the_registry(run, zerog_opengradient, tmp_path):
    with ChatClient(**arguments(zerog_opengradient), keep_bytes=True) as client:
        document = client.create(QUESTION).receipt.to_dict()
    ids = {each.tee_id for each in zerog_opengradient.gateways}
    (another,) = ids - {document["provider"]}
    listed = zerog_opengradient.env()["ZEROG_OPENGRADIENT_RPC_URL"]
    file = tmp_path / "receipt.json"
    for provider, expected in (
        (document["provider"], (0, "passed")),
        (another, (1, "failed")),
    ):
        file.write_text(json.dumps({**document, "provider": provider}))
        done = CliRunner().invoke(cli, ["receipts", "verify", str(file), "--rpc", listed, "--json"])
        (told,) = json.loads(done.stdout)["results"]
        assert (done.exit_code, told["result"]) == expected, told
        assert told["anchor"] == "the registry"


def test_receipts_are_audited_against_what_was_taken_on_chain(run, zerog_opengradient, tmp_path):
    og = zerog_opengradient
    with ChatClient(**arguments(og), store=f"sqlite:///{tmp_path}/store.sqlite") as client:
        receipt = client.create(QUESTION).receipt
    og.settle()
    done = CliRunner().invoke(cli, ["receipts", "audit", "--backend", "opengradient", "--json"])
    document = json.loads(done.stdout)
    assert (done.exit_code, document["ok"], document["backend"]) == (0, True, "opengradient")
    results = {one["receipt_id"]: one["result"] for one in document["calls"]}
    assert results[receipt.id] == "agrees"
    assert document["providers"][0]["settled"] == str(receipt.fee.amount.units)
    for gateway in og.gateways:
        gateway.fail("settlement_inflated", factor=3)
    with ChatClient(**arguments(og), store=f"sqlite:///{tmp_path}/store.sqlite") as client:
        client.create(QUESTION)
    og.settle()
    done = CliRunner().invoke(cli, ["receipts", "audit", "--backend", "opengradient"])
    assert done.exit_code == 1
    assert "settled_too_much" in done.output
