"""Sending: preflight, fees, nonces under concurrency, reverts, and what happens when a transaction gets stuck."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from tests.patience import PATIENCE
from tests.processes import together
from zg_core import NETWORKS, ChainError, InsufficientFunds, TransactionReverted, Wallet, WrongChain
from zg_core.chain.encoding import Fees, Unsigned, rlp
from zg_core.chain.nonces import Nonces
from zg_core.chain.transactions import Sender, Sending
from zg_core.config import Network
from zg_core.contracts.abi import Call
from zg_core.contracts.serving import SERVING
from zg_core.crypto import checksum_address
from zg_core.http.transport import AsyncTransport, SyncTransport, run
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.progress import Progress
from zg_core.store import Store

RICH, RICH_KEY = next(iter(DEV_KEYS.items()))
STRANGER = checksum_address("0x" + "5e" * 20)
QUICK = Sending(timeout=PATIENCE, stuck_after=0.3, heal_after=0.3)


def rpc(url: str, method: str, *params: Any) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        answer = json.loads(response.read())
    assert "error" not in answer, f"{method}: {answer['error']}"
    return answer["result"]


class Chains:
    """Starts anvil with the given options; everything is ended afterwards."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *options: str) -> Network:
        process = subprocess.Popen(
            [self._program, "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._running.append(process)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Listening on" in line:
                threading.Thread(target=process.stdout.read, daemon=True).start()  # or its pipe fills up
                return replace(NETWORKS["local"], rpc_url="http://" + line.split()[-1])
        return pytest.fail("anvil did not start:\n" + "".join(lines))

    def stop(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(PATIENCE)


@pytest.fixture
def chains(anvil: str) -> Iterator[Chains]:
    started = Chains(anvil)
    yield started
    started.stop()


@pytest.fixture
def local(net: Any) -> Network:
    return replace(NETWORKS["local"], rpc_url=net.rpc_url, ledger=net.ledger, inference=net.inference)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


class Heard:
    """Collects progress and lets a test wait for a step."""

    def __init__(self) -> None:
        self.steps: list[Progress] = []
        self._changed = threading.Condition()

    def __call__(self, step: Progress) -> None:
        with self._changed:
            self.steps.append(step)
            self._changed.notify_all()

    @property
    def names(self) -> list[str]:
        return [step.name for step in self.steps]

    def wait_for(self, name: str, count: int = 1) -> Progress:
        with self._changed:
            there = self._changed.wait_for(lambda: self.names.count(name) >= count, timeout=PATIENCE)
        assert there, f"no {name} among {self.names}"
        return next(step for step in self.steps if step.name == name)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def sender(network: Network, store: Store, key: str = RICH_KEY, **more: Any) -> Sender:
    sending = more.pop("sending", QUICK)
    return Sender(
        network,
        more.pop("transport", None) or SyncTransport(),
        Wallet.from_key(key),
        store=store,
        sending=sending,
        contracts=SERVING,
        **more,
    )


def pay(who: Sender, value: int = 1, to: str = STRANGER) -> Any:
    return run(who.send("pay", to, "0x", value))


def in_thread(work: Callable[[], Any]) -> Any:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


# encoding


@pytest.mark.parametrize("chain_id", [1, 16602, 31337])
@pytest.mark.parametrize("fees", [Fees(10**9), Fees(3 * 10**9, 10**9)], ids=["legacy", "eip1559"])
def test_the_signed_bytes_are_those_of_eth_account(chain_id: int, fees: Fees) -> None:
    for nonce, value, data in [
        (0, 0, b""),
        (127, 1, b"\x00"),
        (128, 3 * 10**18, b"\xab" * 500),
        (70_000, 55, b"x" * 60),
    ]:
        prices = (
            {"gasPrice": fees.cap} if fees.tip is None else {"maxFeePerGas": fees.cap, "maxPriorityFeePerGas": fees.tip}
        )
        plain = {"chainId": chain_id, "nonce": nonce, "to": STRANGER, "value": value, "data": data, "gas": 90_000}
        expected = Account.from_key(RICH_KEY).sign_transaction(plain | prices)
        tx = Unsigned(chain_id, nonce, STRANGER, value, data, 90_000, fees)
        raw, tx_hash = tx.sign(Wallet.from_key(RICH_KEY))
        assert raw == "0x" + bytes(expected.raw_transaction).hex()
        assert tx_hash == "0x" + bytes(expected.hash).hex()


def test_rlp_prefixes_long_texts_and_lists_with_the_length_of_their_length() -> None:
    assert rlp(b"").hex() == "80"
    assert rlp(b"a" * 55)[0] == 0x80 + 55
    assert rlp(b"a" * 56)[:2].hex() == "b838"
    assert rlp([b"a" * 1024])[:3].hex() == "f90403"


# before sending


def test_a_call_that_would_revert_is_not_sent(net, local, store):
    wallet = net.new_wallet()
    call = Call.of(local.ledger, "refund(uint256)", [5])
    with pytest.raises(TransactionReverted) as caught:
        run(sender(local, store, wallet.private_key).send("refund", call.to, call.data))
    assert (caught.value.name, caught.value.arguments) == ("LedgerNotExists", {"user": wallet.address})
    assert "has no ledger" in str(caught.value)
    assert "zerog deposit" in caught.value.hint
    assert "transaction" not in caught.value.details
    assert net.chain.pending_nonce(wallet.address) == 0


@pytest.mark.parametrize("value", [10**18 + 1, 10**18 - 1], ids=["value", "value and gas"])
def test_a_wallet_that_cannot_pay_is_told_before_anything_is_sent(net, local, store, value):
    wallet = net.new_wallet(10**18)
    with pytest.raises(InsufficientFunds) as caught:
        pay(sender(local, store, wallet.private_key), value)
    assert caught.value.code == "wallet_too_small"
    assert "holds 1 0G" in str(caught.value)
    assert net.chain.pending_nonce(wallet.address) == 0


def test_another_chain_is_refused(net, local, store):
    with pytest.raises(WrongChain, match="31337"):
        pay(sender(replace(local, chain_id=16601), store))


def test_an_rpc_that_is_down_is_told(local, store):
    with pytest.raises(ChainError) as caught:
        pay(sender(replace(local, rpc_url="http://127.0.0.1:9"), store))
    assert (caught.value.code, caught.value.retryable) == ("rpc_unavailable", True)
    assert "ZEROG_RPC_URL" in caught.value.hint


def test_an_rpc_that_answers_junk_is_told(net, local, store):
    with pytest.raises(ChainError) as caught:
        pay(sender(replace(local, rpc_url=net.providers[0].url), store))
    assert caught.value.code == "rpc_junk"


# the usual case


def test_the_result_says_what_was_mined(net, local, store, heard):
    wallet = net.new_wallet()
    result = pay(sender(local, store, wallet.private_key, on_progress=heard), 7, to=net.new_wallet(0).address)
    mined = net.chain.receipt(result.hash)
    assert (result.block, result.gas_used, result.nonce) == (mined.block_number, 21_000, 0)
    assert result.fee.units == 1_000 * 10**18 - 7 - net.chain.balance(wallet.address)
    assert heard.names == ["sent", "mined"]
    assert heard.steps[0].details == {"transaction": result.hash, "nonce": 0}


def test_the_async_twin_does_the_same(net, local, store):
    wallet = net.new_wallet()

    async def send() -> Any:
        transport = AsyncTransport()
        one = sender(local, store, wallet.private_key, transport=transport)
        results = await asyncio.gather(*[one.send("pay", STRANGER, "0x", 1) for _ in range(5)])
        await transport.close()
        return results

    assert sorted(result.nonce for result in asyncio.run(send())) == [0, 1, 2, 3, 4]


def test_a_transaction_that_reverts_when_mined_is_decoded_and_named(net, local, store):
    # Both pass the preflight; when they are mined, only the first finds the money.
    wallet = net.new_wallet()
    deposit = Call.of(local.ledger, "depositFund()", [])
    run(sender(local, store, wallet.private_key).send("depositFund", deposit.to, deposit.data, 3 * 10**18))
    refund = Call.of(local.ledger, "refund(uint256)", [3 * 10**18])
    listeners = [Heard(), Heard()]
    net.chain.automine = False
    try:
        futures = [
            in_thread(
                lambda one=one: run(
                    sender(local, store, wallet.private_key, on_progress=one, sending=Sending()).send(
                        "refund", refund.to, refund.data
                    )
                )
            )
            for one in listeners
        ]
        for one in listeners:
            one.wait_for("sent")
    finally:
        net.chain.automine = True
    outcomes = [future.exception(PATIENCE) for future in futures]
    assert outcomes.count(None) == 1
    (error,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(error, TransactionReverted)
    assert error.name == "LedgerNotExists"
    assert net.chain.receipt(error.details["transaction"]).status == 0
    assert error.details["gas_used"] > 21_000


# nonces


def test_threads_and_processes_share_one_wallet_without_losing_a_nonce(net, local, tmp_path):
    wallet = net.new_wallet()
    assert_shared(local, f"sqlite:///{tmp_path}/store.db", wallet.private_key, processes=2, threads=4, each=2)
    assert net.chain.nonce(wallet.address) == 16


def test_whoever_waits_fills_the_gap_that_a_failed_send_left(net, local, store, heard):
    wallet = net.new_wallet()
    nonces = Nonces(store, local.chain_id, wallet.address)
    lost = nonces.take(0, 0)  # another process has nonce 0 …
    waiting = in_thread(lambda: pay(sender(local, store, wallet.private_key, on_progress=heard)))
    assert heard.wait_for("sent").details["nonce"] == 1
    assert not waiting.done()
    nonces.give_back(lost)  # … and fails to send it
    assert waiting.result(PATIENCE).nonce == 1
    assert heard.names == ["sent", "gap_filled", "mined"]
    assert net.chain.nonce(wallet.address) == 2


class Hasty(SyncTransport):
    """Does not wait between two looks."""

    async def sleep(self, seconds: float) -> None:
        """Go on."""


def test_a_chain_that_was_started_anew_is_believed(net, local, store):
    wallet = net.new_wallet()
    old = Nonces(store, local.chain_id, wallet.address)
    old.used(old.take(40, 40))
    result = pay(sender(local, store, wallet.private_key, transport=Hasty()))
    assert result.nonce == 0


def test_a_failed_send_leaves_no_lease(net, local, store):
    wallet = net.new_wallet()

    class Unable(Wallet):
        __slots__ = ()

        def sign_digest(self, digest: bytes) -> bytes:
            raise RuntimeError("the device was unplugged")

    one = Sender(local, SyncTransport(), Unable(lambda: wallet.private_key), store=store)
    with pytest.raises(RuntimeError, match="unplugged"):
        pay(one)
    assert Nonces(store, local.chain_id, wallet.address).take(0, 0).nonce == 0


# what only another node can show


@pytest.mark.requires("anvil")
def test_32_threads_send_with_one_wallet(chains, store):
    network = chains.start()
    listeners = Heard()
    one = sender(network, store, sending=Sending(timeout=PATIENCE), on_progress=listeners)
    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(lambda _: pay(one), range(96)))
    assert sorted(result.nonce for result in results) == list(range(96))
    assert int(rpc(network.rpc_url, "eth_getBalance", STRANGER, "latest"), 16) == 96
    assert set(listeners.names) == {"sent", "mined"}, "nothing had to be repaired"


@pytest.mark.requires("anvil")
def test_4_processes_of_8_threads_send_with_one_wallet(chains, tmp_path):
    network = chains.start()
    assert_shared(network, f"sqlite:///{tmp_path}/store.db", RICH_KEY, processes=4, threads=8, each=3)


@pytest.mark.requires("anvil")
@pytest.mark.parametrize("options", [(), ("--hardfork", "berlin")], ids=["eip1559", "legacy"])
def test_the_kind_of_transaction_is_the_chains(chains, store, options):
    network = chains.start(*options)
    result = pay(sender(network, store))
    shown = rpc(network.rpc_url, "eth_getTransactionByHash", result.hash)
    assert shown["type"] == ("0x0" if options else "0x2")
    assert 21_000 * 125 // 100 <= int(shown["gas"], 16) < 21_000 * 125 // 100 + 4096


@pytest.mark.requires("anvil")
def test_a_stuck_transaction_is_replaced_at_a_higher_fee(chains, store, heard):
    network = chains.start("--no-mining")
    waiting = in_thread(lambda: pay(sender(network, store, on_progress=heard), 5))
    step = heard.wait_for("replaced", count=2)
    rpc(network.rpc_url, "evm_mine")
    result = waiting.result(PATIENCE)
    assert step.details["replaced"] == heard.steps[0].details["transaction"] == result.replaced[0]
    assert len(result.replaced) >= 2
    assert int(rpc(network.rpc_url, "eth_getBalance", STRANGER, "latest"), 16) == 5, "paid once"
    assert int(rpc(network.rpc_url, "eth_getTransactionCount", RICH, "latest"), 16) == 1
    # The store knows that the nonce is used.
    assert Nonces(store, network.chain_id, RICH).floor() == 1


@pytest.mark.requires("anvil")
def test_a_transaction_that_is_not_mined_in_time_is_named_and_keeps_its_nonce(chains, store):
    network = chains.start("--no-mining")
    impatient = Sending(timeout=0.2, stuck_after=60)
    with pytest.raises(ChainError) as caught:
        pay(sender(network, store, sending=impatient), 3)
    assert (caught.value.code, caught.value.details["nonce"]) == ("transaction_pending", 0)
    assert caught.value.details["transaction"] in str(caught.value)
    assert not caught.value.retryable
    with pytest.raises(ChainError) as caught:
        pay(sender(network, store, sending=impatient), 4)
    assert caught.value.details["nonce"] == 1
    rpc(network.rpc_url, "evm_mine")
    assert int(rpc(network.rpc_url, "eth_getBalance", STRANGER, "latest"), 16) == 7


@pytest.mark.requires("anvil")
def test_a_transaction_that_the_node_lost_is_sent_again(chains, store, heard):
    network = chains.start("--no-mining")
    waiting = in_thread(
        lambda: pay(sender(network, store, on_progress=heard, sending=Sending(stuck_after=60, heal_after=0.2)))
    )
    sent = heard.wait_for("sent").details["transaction"]
    assert rpc(network.rpc_url, "anvil_dropTransaction", sent) == sent
    heard.wait_for("resent")
    rpc(network.rpc_url, "evm_mine")
    assert waiting.result(PATIENCE).hash == sent


@pytest.mark.requires("anvil")
def test_another_program_that_takes_our_nonce_is_told_and_nothing_is_paid_twice(chains, store, heard):
    network = chains.start("--no-mining")
    patient = Sending(stuck_after=60, heal_after=0.3)
    waiting = in_thread(lambda: pay(sender(network, store, on_progress=heard, sending=patient), 5))
    ours = heard.wait_for("sent").details["transaction"]
    rpc(network.rpc_url, "anvil_dropTransaction", ours)
    other = {"from": RICH, "to": STRANGER, "value": "0x1", "nonce": "0x0", "gas": "0x5208", "gasPrice": hex(10**11)}
    rpc(network.rpc_url, "eth_sendTransaction", other)
    rpc(network.rpc_url, "evm_mine")
    error = waiting.exception(PATIENCE)
    assert isinstance(error, ChainError)
    assert (error.code, error.details["transaction"]) == ("nonce_taken", ours)
    assert int(rpc(network.rpc_url, "eth_getBalance", STRANGER, "latest"), 16) == 1
    rpc(network.rpc_url, "evm_setAutomine", True)
    assert pay(sender(network, store)).nonce == 1


@pytest.mark.requires("anvil")
def test_the_transactions_of_another_program_are_gone_round(chains, store):
    network = chains.start()
    for _ in range(3):
        rpc(network.rpc_url, "eth_sendTransaction", {"from": RICH, "to": STRANGER, "value": "0x1"})
    one = sender(network, store)
    assert pay(one).nonce == 3
    rpc(network.rpc_url, "eth_sendTransaction", {"from": RICH, "to": STRANGER, "value": "0x1"})
    assert pay(one).nonce == 5


# several processes

SCRIPT = """
import json, os, sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from zg_core import NETWORKS, Sending, Store, Wallet
from zg_core.chain.transactions import Sender
from zg_core.http.transport import SyncTransport, run

url, store, to, threads, each = json.loads(sys.argv[1])
sender = Sender(replace(NETWORKS["local"], rpc_url=url), SyncTransport(), Wallet.from_env(), store=Store.open(store),
                sending=Sending(timeout=600))
with ThreadPoolExecutor(threads) as pool:
    results = list(pool.map(lambda _: run(sender.send("pay", to, "0x", 1)), range(threads * each)))
print(json.dumps([[result.nonce, result.hash] for result in results]))
"""


def assert_shared(network: Network, store: str, key: str, *, processes: int, threads: int, each: int) -> None:
    """Let processes with threads send at once; every nonce is used once and every transaction mined."""
    sink = Account.create().address
    argument = json.dumps([network.rpc_url, store, sink, threads, each])
    environ = {"ZEROG_PRIVATE_KEY": key}
    said = together(processes, SCRIPT, argument, preload=("sqlalchemy.dialects.sqlite",), environ=environ)
    sent = [pair for output in said for pair in json.loads(output)]
    total = processes * threads * each
    assert sorted(nonce for nonce, _ in sent) == list(range(total))
    assert len({tx_hash for _, tx_hash in sent}) == total
    assert int(rpc(network.rpc_url, "eth_getBalance", sink, "latest"), 16) == total
