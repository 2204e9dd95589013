"""``make bench``: how long the local network takes to start, and what a call costs beside the bare HTTP library.

Start times are medians in milliseconds, with imports done before. Calls are CPU time of this process in interleaved
rounds; the server is another process. Ratios are to the HTTP library alone, so that the machine cancels out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zg_core import ChatClient, Wallet
from zg_core.http import library
from zg_core.localnet import Chain, LocalNet
from zg_core.session import make_token

if TYPE_CHECKING:
    from collections.abc import Callable

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
LONG = {"messages": [{"role": "user", "content": "Repeat: " + " ".join(f"word{n}" for n in range(190))}]}


def median_ms(work: Callable[[], Any], rounds: int) -> float:
    """Median wall time of `work` in milliseconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def start_times(rounds: int) -> list[tuple[str, float]]:
    """Chain and network starts."""

    def network(providers: int) -> None:
        LocalNet(providers=providers).start().stop()

    Chain()  # what is loaded once per process is not part of a start
    return [
        ("chain with contracts", median_ms(Chain, rounds)),
        ("network, 1 provider, up and down", median_ms(lambda: network(1), max(3, rounds // 4))),
        ("network, 5 providers, up and down", median_ms(lambda: network(5), max(3, rounds // 4))),
    ]


def snapshot_times(rounds: int) -> list[tuple[str, float]]:
    """Snapshot and revert."""
    chain = Chain()
    return [("snapshot and revert", median_ms(lambda: chain.revert(chain.snapshot()), rounds * 10))]


class OtherProcess:
    """A local network in a process of its own, as ``zerog localnet up`` starts it."""

    def __enter__(self) -> dict[str, str]:
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "bench.env"
        command = [sys.executable, "-m", "zg_core.cli", "localnet", "up", "--env-file", str(path)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not path.exists():
            if self._process.poll() is not None:
                raise RuntimeError("the local network did not start")
            time.sleep(0.02)
        pairs = (line.removeprefix("export ").split("=", 1) for line in path.read_text().splitlines())
        return {name: value.strip("'") for name, value in pairs}

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()


def fund(env: dict[str, str]) -> None:
    """Open a sub-account for the wallet, over RPC with web3."""
    from web3 import Web3

    from zg_core.localnet.abi import ledger

    w3 = Web3(Web3.HTTPProvider(env["RPC_URL"]))
    account = w3.eth.account.from_key(env["PRIVATE_KEY"])
    contract = ledger()
    for name, arguments, value in (
        ("depositFund", (), 10 * 10**18),
        ("transferFund", (env["PROVIDER"], "inference-v1.0", 5 * 10**18), 0),
    ):
        transaction = {
            "to": contract.address,
            "data": "0x" + contract.encode(name, *arguments).hex(),
            "value": value,
            "from": account.address,
            "nonce": w3.eth.get_transaction_count(account.address),
            "chainId": w3.eth.chain_id,
            "gas": 1_000_000,
            "maxFeePerGas": w3.to_wei(2, "gwei"),
            "maxPriorityFeePerGas": w3.to_wei(1, "gwei"),
        }
        sent = w3.eth.send_raw_transaction(account.sign_transaction(transaction).raw_transaction)
        w3.eth.wait_for_transaction_receipt(sent)


def call_costs(env: dict[str, str], rounds: int) -> list[tuple[str, float, float]]:
    """CPU per call: name, milliseconds for a call and for a stream."""
    now = time.time_ns() // 1_000_000
    token = make_token(Wallet.from_key(env["PRIVATE_KEY"]), env["PROVIDER"], now_ms=now, generation=0).reveal()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    url = env["PROVIDER_URL"] + "/v1/proxy/chat/completions"
    plain = library().Client()
    model = "local-chat-1"

    def bare() -> None:
        plain.post(url, headers=headers, content=json.dumps({"model": model, **QUESTION})).raise_for_status().json()

    def bare_stream() -> None:
        body = json.dumps({"model": model, **LONG, "stream": True, "stream_options": {"include_usage": True}})
        with plain.stream("POST", url, headers=headers, content=body) as response:
            response.raise_for_status()
            for _ in response.iter_bytes():
                pass

    contenders: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {"HTTP library alone": (bare, bare_stream)}
    clients = []
    for mode in ("off", "background", "require"):
        client = ChatClient(environ=env, verify=mode)
        clients.append(client)
        contenders[f"ChatClient, verify={mode}"] = (
            lambda client=client: client.create(QUESTION),
            lambda client=client: list(client.stream(LONG)),
        )
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in contenders}
    for _ in range(rounds):
        for name, (call, stream) in contenders.items():
            for work, column, repeats in ((call, 0, 5), (stream, 1, 1)):
                began = time.process_time()
                for _ in range(repeats):
                    work()
                times[name][column].append(1000 * (time.process_time() - began) / repeats)
    for client in clients:
        client.close()
    plain.close()
    return [(name, statistics.median(calls), statistics.median(streams)) for name, (calls, streams) in times.items()]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {rounds} rounds\n")
    print(f"{'start':<40}{'median ms':>12}")
    for name, milliseconds in [*start_times(rounds), *snapshot_times(rounds)]:
        print(f"{name:<40}{milliseconds:>12.2f}")
    with OtherProcess() as env:
        fund(env)
        rows = call_costs(env, rounds)
    base = rows[0]
    print(f"\n{'CPU per call, ratio':<40}{'call':>12}{'stream':>12}")
    for name, call, stream in rows:
        print(f"{name:<40}{call / base[1]:>12.2f}{stream / base[2]:>12.2f}")
    print(f"\n(1.00 is {base[1]:.2f} ms a call, {base[2]:.2f} ms a stream)")


if __name__ == "__main__":
    main()
