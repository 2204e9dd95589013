"""The pages of *Start*, pasted into an empty folder; the page of a real network on its local twin."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pasting import ROOT, Block, blocks
from tests.patience import PATIENCE
from tests.zg_core.conftest import CALM
from zg_core.localnet import LocalNet
from zg_core.wallet import Wallet


class Reader:
    """Somebody who pastes block after block into a shell, in an empty folder."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ZEROG", "ZG_"))}
        path = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
        # Programs of the page import the package, not the tests beside it.
        self.environ = {**kept, **environ, "PATH": path, "ZEROG_HOME": str(folder / "home"), "PYTHONSAFEPATH": ""}
        self.started: list[subprocess.Popen[str]] = []
        self.kept = ""

    def paste(self, block: Block) -> str:
        """What a block prints; an error of it is one of the page."""
        word, _, rest = block.note.partition(" ")
        if word == "not":
            return ""
        if word == "file:":
            (self.folder / rest).write_text(block.text, encoding="utf-8")
            return ""
        assert block.language == "sh", f"{block} is neither run nor a file"
        if word == "runs":
            self._start(block, self.folder / rest.removeprefix("until "))
            return ""
        if word == "may":  # fail: the page says how it ends on the local network
            return self._bash(f"{self.kept}{block.text}\ntrue", block)
        save = f"\nprintf 'export {rest}=%s\\n' \"${rest}\" > .kept" if word == "keeps" else ""
        printed = self._bash(f"set -euo pipefail\n{self.kept}{block.text}{save}", block)
        if word == "keeps":
            self.kept += (self.folder / ".kept").read_text()
        # One terminal: what a block sets is there in the next one.
        self.kept += "".join(f"{line}\n" for line in block.text.splitlines() if line.startswith(("source ", "export ")))
        return printed

    def _bash(self, script: str, block: Block) -> str:
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=PATIENCE,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block} fails:\n{block.text}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def _start(self, block: Block, ready: Path) -> None:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {block.text.strip()}"], cwd=self.folder, env=self.environ, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.started.append(process)
        assert process.stdout is not None
        for _ in process.stdout:  # it says that it is ready after the file is there
            if ready.exists():
                return
        pytest.fail(f"{block} ended with {process.wait()}, and there is no {ready.name}")

    def close(self) -> None:
        for process in self.started:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path, {})
    yield reader
    reader.close()


def test_the_local_network(alone: Reader) -> None:
    printed = "".join(alone.paste(block) for block in blocks(ROOT / "docs/start/local.md"))
    assert "The capital of France is Paris." in printed
    assert printed.count("verified") >= 2
    assert printed.rstrip().endswith("content_mismatch")


def test_the_testnet_on_its_local_twin(tmp_path: Path) -> None:
    with LocalNet(providers=2, settings=CALM) as net:
        twin = {
            "ZEROG_NETWORK": "local", "ZEROG_RPC_URL": net.rpc_url, "ZEROG_LEDGER": net.ledger,
            "ZEROG_INFERENCE": net.inference, "ZEROG_PRIVATE_KEY": net.new_wallet().private_key,
        }  # fmt: skip
        reader = Reader(tmp_path, twin)
        printed = []
        for block in blocks(ROOT / "docs/start/testnet.md"):
            if block.note.startswith("moves the clock by "):
                net.chain.increase_time(int(block.note.rpartition(" ")[2]))
                net.chain.mine()
            printed.append(reader.paste(block))
        served = sum(len(provider.log) for provider in net.providers)
        sent = net.chain.nonce(Wallet.from_key(twin["ZEROG_PRIVATE_KEY"]).address)
    both = "".join(printed)
    assert served == 2
    assert both.count("The capital of France is Paris.") == 2
    assert "deposited 3 0G" in both
    assert "nothing outside of what the receipts allow" in both, "the program's receipt is in another store"
    assert "free at" in printed[-2] + printed[-3]
    assert "deleted" in printed[-1]
    assert sent == 5, "the page says how many transactions there are"


def test_the_clock_of_a_local_network_moves_as_its_page_says(tmp_path: Path) -> None:
    (block,) = (each for each in blocks(ROOT / "docs/localnet.md") if "evm_increaseTime" in each.text)
    with LocalNet(settings=CALM) as net:
        before = net.chain.timestamp
        Reader(tmp_path, net.env()).paste(block)
        assert net.chain.timestamp - before >= 86400


def test_the_router_on_this_machine(alone: Reader) -> None:
    printed = [alone.paste(block) for block in blocks(ROOT / "docs/start/router.md")]
    both = "".join(printed)
    assert "local-chat-1" in both
    assert both.count("The capital of France is Paris.") == 2
    assert both.count("signer_only") == 2
    assert "1 agrees, 0 differs, 0 missing, 0 unknown" in both  # the command line's; a program keeps what it says


def test_opengradient_on_this_machine(alone: Reader) -> None:
    both = "".join(alone.paste(block) for block in blocks(ROOT / "docs/start/opengradient.md"))
    assert "1000 OPG" in both
    assert both.count("2+3 = 5") == 2
    assert both.count("FAILED") == 0
    assert "level 2: the document is signed by a genuine Nitro hypervisor" in both
    assert "not signed: usage, model, finish_reason" in both
    assert re.search("permit        (open|settled)", both)  # five seconds after its last call


def test_the_tests_of_ones_own_agent(alone: Reader) -> None:
    printed = "".join(alone.paste(block) for block in blocks(ROOT / "docs/testing.md"))
    assert "4 passed" in printed


def test_every_block_that_is_left_out_says_why() -> None:
    for page in (ROOT / "docs/start").glob("*.md"):
        for block in blocks(page):
            if block.note.startswith("not run"):
                assert len(block.note.removeprefix("not run").strip(": ")) > 20, str(block)
