"""Past one machine: 8 processes with one wallet and one PostgreSQL store, plain ones and Ray's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleet import ASKED, BURST, MAX_TOKENS, PACED, RATE, TRANSFERS, WORKERS
from tests.patience import PATIENCE
from zg_core import Broker, Budget, Store, neuron, og
from zg_core.budget import Spending
from zg_core.localnet import LocalNet
from zg_core.pricing import estimate
from zg_core.receipts import ReceiptStore

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/deployment.md").read_text(), re.DOTALL | re.MULTILINE)
DEPOSIT = og("20")
pytestmark = [pytest.mark.heavy, pytest.mark.requires("postgres")]


@pytest.mark.parametrize("how", ["processes", pytest.param("ray", marks=pytest.mark.requires("ray"))])
def test_8_processes_share_budget_rate_nonces_and_receipts(
    net: LocalNet, postgres: str, environment: dict[str, str], how: str
) -> None:
    (provider, other), wallet = net.providers, net.new_wallet()
    net.open_account(wallet, provider, DEPOSIT.units)
    net.open_account(wallet, other, DEPOSIT.units)
    options = {"private_key": wallet.private_key, "network": "local", "rpc_url": net.rpc_url, "store": postgres}
    with Broker(**options, environ={}) as broker:
        broker.deposit(og(str(WORKERS * TRANSFERS)))
        before = nonce_of(net, wallet.address)
        billed_before, paced_before = len(provider.log), len(other.log)
        most = estimate(broker.service(provider.address), asked())
        assert most is not None
        limit = 3 * most.units  # fewer than are in flight at once, and less than all of them cost
        where = {"provider": provider.address, "paced": other.address, "chain_id": net.chain_id}
        settings = {**options, **where, "limit": limit, "most": most.units}
        done = run(how, settings, environment)

        assert len({each["pid"] for each in done}) == WORKERS
        transactions = [hash_ for each in done for hash_ in each["transactions"]]
        assert len(set(transactions)) == len(transactions) == WORKERS * TRANSFERS
        assert nonce_of(net, wallet.address) == before + WORKERS * TRANSFERS
        account = broker.account(provider.address)
        assert account is not None
        assert account.balance == DEPOSIT + og(str(WORKERS * TRANSFERS))

    bills = {entry.chat_id: entry.fee for entry in provider.log[billed_before:]}
    paced = {entry.chat_id: entry.fee for entry in other.log[paced_before:]}
    assert len(paced) == WORKERS * PACED
    # However slow they were: so many turns of one rate take so long.
    took = max(entry.time for entry in other.log[paced_before:]) - min(each["began"] for each in done)
    assert took >= (WORKERS * PACED - BURST) * 60 / RATE
    store = Store(postgres)
    receipts = ReceiptStore(store).select(payer=wallet.address)
    assert {receipt.id for receipt in receipts} == {id_ for each in done for id_ in each["receipts"] + each["paced"]}
    assert {receipt.chat_id: receipt.fee.amount.units for receipt in receipts} == bills | paced
    assert all(receipt.fee.exact for receipt in receipts)
    asked_at = [receipt for receipt in receipts if receipt.provider == provider.address]
    assert {str(receipt.verdict.status) for receipt in asked_at} == {"verified"}

    refused = sum(each["refused"] for each in done)
    assert refused, "nobody was held back by the budget"
    assert len(asked_at) + refused == WORKERS * ASKED
    spending = Spending(Budget(per_wallet=neuron(limit)), store, net.chain_id)
    left = spending.left(wallet.address, provider.address)["per_wallet"].units
    assert limit - left == sum(bills.values()) <= limit
    assert left < most.units, "somebody was refused though there was room"
    assert [each for each in spending.held() if each.payer == wallet.address] == []
    store.close()


@pytest.mark.requires("ray")
def test_the_readmes_example_runs(net: LocalNet, postgres: str, environment: dict[str, str], tmp_path: Path) -> None:
    (block,) = (block for block in BLOCKS if "import ray" in block)
    wallet, provider = net.new_wallet(), net.providers[0]
    net.open_account(wallet, provider, DEPOSIT.units)
    billed_before = len(provider.log)
    program = tmp_path / "example.py"
    program.write_text(block)
    own = {
        "ZEROG_NETWORK": "local",
        "ZEROG_RPC_URL": net.rpc_url,
        "ZEROG_PROVIDER": provider.address,
        "ZEROG_PRIVATE_KEY": wallet.private_key,
        "ZEROG_STORE": postgres,
    }
    done = subprocess.run(
        [sys.executable, program],
        env={**environment, **own},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    bills = provider.log[billed_before:]
    assert len(bills) == 32
    assert f"32 answers, 32 receipts, {og_text(sum(entry.fee for entry in bills))}" in done.stdout, done.stdout


def asked() -> bytes:
    """The longest request that a worker sends, and more."""
    messages = [{"role": "user", "content": "Repeat after me: worker 7, question 19"}]
    return json.dumps({"messages": messages, "max_tokens": MAX_TOKENS, "model": "local-chat-1"}).encode()


def nonce_of(net: LocalNet, address: str) -> int:
    return int(net.chain.rpc("eth_getTransactionCount", [address, "latest"]), 16)


def og_text(units: int) -> str:
    return str(neuron(units))


def run(how: str, settings: dict[str, Any], environment: dict[str, str]) -> list[dict[str, Any]]:
    """What every process of a fleet did."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fleet", how],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        input=json.dumps(settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    assert [each["error"] for each in results if "error" in each] == []
    return results
