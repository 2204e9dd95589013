"""`zerog` as a process: a real terminal that is asked, clean streams, interruptions, and a quick start."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading

import pytest

from tests.patience import PATIENCE
from tests.zg_core.cli.running import Ran, sweep, zerog_of
from zg_core.localnet import LocalNet

ZEROG = [sys.executable, "-m", "zg_core.cli"]


def at_terminal(zerog, *words, answer):
    """Run with stdin and stderr on a terminal; `answer` is typed. Returns the run, with what the terminal showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*ZEROG, *words], stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, env=zerog.settings(TERM="xterm")
    )
    os.close(theirs)
    shown = b""
    typed = False
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the process has ended
            break
        if not piece:
            break
        shown += piece
        if b"[y/N]" in shown and not typed:
            typed = True
            os.write(ours, answer)
    out = process.communicate(timeout=PATIENCE)[0].decode()
    os.close(ours)
    return sweep(Ran(" ".join(words), process.returncode, out, shown.decode()), *zerog.secrets)


def test_a_yes_at_the_terminal_spends(poor):
    ran = at_terminal(poor, "deposit", "3", answer=b"y\n")
    assert ran.code == 0, str(ran)
    assert "deposited 3 0G" in ran.out
    assert "from       the wallet 0x" in ran.err
    assert "send it? [y/N]" in ran.err
    assert poor.json("account")["ledger"]["available"]["amount"] == "3"


@pytest.mark.parametrize("answer", [b"\n", b"\x04"], ids=["enter", "end"])
def test_anything_else_at_the_terminal_spends_nothing(poor, answer):
    ran = at_terminal(poor, "deposit", "3", "--json", answer=answer)
    assert ran.code == 2, str(ran)
    assert ran.out == ""
    assert "not_confirmed" in ran.err
    assert poor.json("account")["ledger"] is None


def test_the_streams_are_clean_in_a_pipe(rich, provider):
    def run(*words):
        done = subprocess.run(
            [*ZEROG, *words], capture_output=True, text=True, env=rich.settings(), timeout=PATIENCE, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return sweep(Ran(" ".join(words), done.returncode, done.stdout, done.stderr), *rich.secrets)

    ran = run("chat", "What is the capital of France?", "--provider", provider)
    assert (ran.code, ran.out) == (0, "The capital of France is Paris.\n"), str(ran)
    ran = run("account", "--json")
    assert ran.code == 0, str(ran)
    assert json.loads(ran.out)["accounts"]
    assert ran.err == ""


def test_a_reader_that_goes_away_leaves_no_traceback(rich):
    command = " ".join([*ZEROG, "account", "--json"])
    done = subprocess.run(
        f"{command} | true",
        shell=True,
        capture_output=True,
        text=True,
        env=rich.settings(),
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == ""


def test_ctrl_c_while_an_answer_is_awaited_names_the_receipt(tmp_path):
    with LocalNet(providers=1) as net:
        zerog = zerog_of(net, tmp_path, net.wallet)
        provider = net.providers[0]
        net.open_account(net.wallet, provider)
        with provider.fault("hang") as hanging:
            process = subprocess.Popen(
                [*ZEROG, "chat", "hi", "--json", "--provider", provider.address],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=zerog.settings(),
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - as above
            )  # fmt: skip
            timer = threading.Timer(PATIENCE, process.kill)
            timer.start()
            try:
                while not hanging.fired and process.poll() is None:
                    threading.Event().wait(0.02)
                process.send_signal(signal.SIGINT)
                out, err = process.communicate()
            finally:
                timer.cancel()
    assert (process.returncode, out) == (130, ""), err
    error = json.loads(err)["error"]
    assert error["code"] == "interrupted"
    assert error["receipt"]["provider"] == provider.address
    listed = zerog.json("receipts", "list")["receipts"]
    assert [each["receipt_id"] for each in listed] == [error["receipt"]["receipt_id"]]


def test_ctrl_c_after_sending_names_the_transaction(tmp_path):
    with LocalNet(providers=1) as net:
        zerog = zerog_of(net, tmp_path, net.new_wallet())
        net.chain.automine = False
        process = subprocess.Popen(
            [*ZEROG, "deposit", "3", "--yes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=zerog.settings(),
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in a shell's background jobs  # noqa: PLW1509
        )  # fmt: skip
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        try:
            for line in process.stderr:
                if "on its way" in line:
                    break
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
        finally:
            timer.cancel()
        (waiting,) = net.chain.waiting()
    assert process.returncode == 130, err
    assert f"transaction 0x{waiting.hash.hex()} was sent and may still be mined" in err
    assert out == ""
    assert "Traceback" not in err


def test_the_help_is_quick_and_loads_nothing_heavy():
    program = (
        "import sys\n"
        "from zg_core.cli import main\n"
        "sys.argv[1:] = {words!r}\n"
        "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
        "heavy = 'web3 sqlalchemy httpx httpx2 openai eth_account eth_abi eth_utils starlette uvicorn eth'\n"
        "sys.exit(f'{{code}}: ' + ' '.join(name for name in heavy.split() if name in sys.modules))\n"
    )
    for words in (["--help"], ["keys", "create", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", program.format(words=words)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.stderr.strip() == "0:", done.stderr
        assert "Usage" in done.stdout
