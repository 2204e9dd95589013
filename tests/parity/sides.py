"""The chains that a step is run on: two anvils and our own, behind the same few calls."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from tests.patience import PATIENCE
from zg_core.localnet.base.clock import Clock
from zg_core.localnet.chain.chain import Chain
from zg_core.localnet.chain.evm import Call
from zg_core.localnet.chain.genesis import REGISTERED_AT

Log = tuple[str, tuple[bytes, ...], bytes]
"""Address in lower case, topics, data."""
Answer = tuple[bool, bytes]
"""Whether a call succeeded, and what it returned: the result or the reason."""
View = tuple[str, bytes, str]
"""A call to read with: contract, data, sender."""


@dataclass(frozen=True)
class Transaction:
    """What is sent, and the same unpacked."""

    raw: bytes
    sender: str
    to: str | None
    data: bytes
    value: int
    returns: bool
    """Whether the function returns something, so that its output has to be found out."""


@dataclass(frozen=True)
class Outcome:
    """What became of a transaction. Two are equal when a contract's user sees no difference: gas does not count."""

    status: int
    output: bytes
    logs: tuple[Log, ...]
    created: str | None
    gas: int = field(compare=False)
    fee: int = field(compare=False)


class Side(Protocol):
    """One chain with one make of the contracts on it."""

    name: str

    def send(self, transaction: Transaction, time: int) -> Outcome:
        """Mine a transaction in a block of its own with this time."""

    def read(self, views: Sequence[View], accounts: Sequence[str]) -> tuple[list[Answer], list[int]]:
        """Call without a transaction, and balances."""

    def set_balance(self, address: str, amount: int) -> None:
        """Give an account coins."""

    def snapshot(self) -> Any:
        """Remember everything."""

    def restore(self, snapshot: Any) -> None:
        """Go back; uses the snapshot up."""


def unhex(text: str | None) -> bytes:
    return bytes.fromhex((text or "0x")[2:])


class Anvil:
    """A connection to an anvil process."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def close(self) -> None:
        self._connection.close()

    def _post(self, body: Any) -> Any:
        self._connection.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(self._connection.getresponse().read())

    def rpc(self, method: str, *params: Any) -> Any:
        answer = self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        if "error" in answer:
            raise AssertionError(f"{self.name}: {method} failed: {answer['error']}")
        return answer["result"]

    def send(self, transaction: Transaction, time: int) -> Outcome:
        self.rpc("evm_setNextBlockTimestamp", time)
        receipt = self.rpc("eth_sendRawTransactionSync", "0x" + transaction.raw.hex())
        status = int(receipt["status"], 16)
        output = b""
        if status == 0 or transaction.returns:
            trace = self.rpc("debug_traceTransaction", receipt["transactionHash"], {"tracer": "callTracer"})
            if status == 0 and trace.get("error") != "execution reverted":
                raise AssertionError(f"{self.name}: not refused but failed: {trace.get('error')}")
            output = unhex(trace.get("output"))
        logs = tuple(
            (log["address"].lower(), tuple(unhex(topic) for topic in log["topics"]), unhex(log["data"]))
            for log in receipt["logs"]
        )
        gas = int(receipt["gasUsed"], 16)
        created = receipt["contractAddress"]
        return Outcome(
            status, output, logs, created and created.lower(), gas, gas * int(receipt["effectiveGasPrice"], 16)
        )

    def read(self, views: Sequence[View], accounts: Sequence[str]) -> tuple[list[Answer], list[int]]:
        requests: list[dict[str, Any]] = [
            {"method": "eth_call", "params": [{"from": sender, "to": to, "data": "0x" + data.hex()}, "latest"]}
            for to, data, sender in views
        ]
        requests += [{"method": "eth_getBalance", "params": [account, "latest"]} for account in accounts]
        if not requests:
            return [], []
        batch = [{"jsonrpc": "2.0", "id": number, **request} for number, request in enumerate(requests)]
        answers = sorted(self._post(batch), key=lambda answer: answer["id"])
        calls = [self._answer(answer) for answer in answers[: len(views)]]
        return calls, [int(answer["result"], 16) for answer in answers[len(views) :]]

    def _answer(self, answer: dict[str, Any]) -> Answer:
        if "error" not in answer:
            return True, unhex(answer["result"])
        error = answer["error"]
        if error["code"] != 3:
            raise AssertionError(f"{self.name}: a call was not refused but failed: {error}")
        return False, unhex(error.get("data"))

    def set_balance(self, address: str, amount: int) -> None:
        self.rpc("anvil_setBalance", address, hex(amount))

    def snapshot(self) -> Any:
        return self.rpc("evm_snapshot")

    def restore(self, snapshot: Any) -> None:
        if self.rpc("evm_revert", snapshot) is not True:
            raise AssertionError(f"{self.name}: there is no snapshot {snapshot}")


@contextmanager
def anvil(program: str, name: str) -> Iterator[Anvil]:
    """Run anvil on a free port of this machine, and stop exactly this process at the end."""
    command = [program, "--host", "127.0.0.1", "--port", "0", "--hardfork", "cancun", "--chain-id", "31337"]
    command += ["--block-base-fee-per-gas", "1000000000", "--timestamp", str(REGISTERED_AT - 1000)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        connection = Anvil(name, _port(process.stdout))
        # Its log of every request goes on; nobody reads it, so that it must not have to wait for a reader.
        with _drained(process.stdout):
            yield connection
            connection.close()
            process.terminate()
            process.wait(PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE)
        process.stdout.close()


def _port(lines: Iterable[str]) -> int:
    seen = []
    for line in lines:
        seen.append(line)
        if "Listening on" in line:
            return int(line.strip().rpartition(":")[2])
    pytest.fail("anvil did not start:\n" + "".join(seen))


@contextmanager
def _drained(lines: Iterable[str]) -> Iterator[None]:
    def drain() -> None:
        for _ in lines:
            continue

    thread = threading.Thread(target=drain, name="anvil output", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE)


class StoppedClock(Clock):
    """Time stands still: every block is given its time."""

    def now(self) -> float:
        return float(REGISTERED_AT)


class Local:
    """Our chain in this process, with the packaged genesis: what `localnet` runs on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.chain = Chain(clock=StoppedClock())

    def send(self, transaction: Transaction, time: int) -> Outcome:
        self.chain.set_next_timestamp(time)
        returned = b""
        if transaction.returns and transaction.to is not None:
            sender, to = unhex(transaction.sender), unhex(transaction.to)
            returned = self.chain.simulate(Call(sender, to, transaction.data, transaction.value), pending=True).output
        receipt = self.chain.receipt(self.chain.submit(transaction.raw))
        assert receipt is not None
        if receipt.status == 0 and receipt.error != "execution reverted":
            raise AssertionError(f"{self.name}: not refused but failed: {receipt.error}")
        logs = tuple((log.address.lower(), tuple(map(bytes, log.topics)), bytes(log.data)) for log in receipt.logs)
        output = returned if receipt.status else receipt.revert_data
        created = receipt.contract_address
        fee = receipt.gas_used * receipt.effective_gas_price
        return Outcome(receipt.status, output, logs, created and created.lower(), receipt.gas_used, fee)

    def read(self, views: Sequence[View], accounts: Sequence[str]) -> tuple[list[Answer], list[int]]:
        answers = []
        for to, data, sender in views:
            outcome = self.chain.simulate(Call(unhex(sender), unhex(to), data, 0))
            if outcome.error not in {None, "execution reverted"}:
                raise AssertionError(f"{self.name}: a call was not refused but failed: {outcome.error}")
            answers.append((outcome.error is None, outcome.output))
        return answers, [self.chain.balance(account) for account in accounts]

    def set_balance(self, address: str, amount: int) -> None:
        self.chain.set_balance(address, amount)

    def snapshot(self) -> Any:
        return self.chain.snapshot()

    def restore(self, snapshot: Any) -> None:
        self.chain.revert(snapshot)
