"""Two programs, one wallet, each with a store of its own, ten deposits each at once (raiden#6626, xmtpd#1904)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.cases.chain.field import Expectations
from tests.cases.chain.money import User
from tests.patience import PATIENCE
from tests.processes import ROOT

CHILD = """
import json, sys
from zg_core import Broker, Sending, ZeroGError, og
good, bad = [], []
with Broker(store="memory:", sending=Sending(timeout=600, heal_after=1)) as broker:
    for _ in range(10):
        try:
            good.append(broker.deposit(og("3")).hash)
        except ZeroGError as error:
            bad.append(error.code)
print(json.dumps([good, bad]))
"""


def test_each_transaction_is_told_to_one_of_them_and_all_get_through(user: User, expect: Expectations) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ZEROG_")}
    environ |= {"ZEROG_NETWORK": "local", "ZEROG_RPC_URL": user.net.rpc_url, "ZEROG_LEDGER": user.net.ledger}
    environ |= {"ZEROG_INFERENCE": user.net.inference, "ZEROG_PRIVATE_KEY": user.wallet.private_key}
    command = [sys.executable, "-c", CHILD]
    running = [subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outcomes = [json.loads(process.communicate(timeout=PATIENCE)[0]) for process in running]
    hashes = [tx_hash for good, _ in outcomes for tx_hash in good]
    twice = sorted({tx_hash for tx_hash in hashes if hashes.count(tx_hash) > 1})
    expect("no transaction is told to both", not twice, twice)
    expect("as much is in the ledger as was told", user.ledger() == f"{3 * len(hashes)} 0G", user.ledger())
    expect("all twenty get through", len(hashes) == 20, [bad for _, bad in outcomes])
