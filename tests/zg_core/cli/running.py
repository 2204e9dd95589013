"""Runs `zerog` in this process, and looks at everything it prints for secrets and tracebacks."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from typer.main import get_command
from typer.testing import CliRunner

from zg_core.cli.app import cli

if TYPE_CHECKING:
    from pathlib import Path

    from zg_core.localnet import LocalNet, LocalWallet

COMMAND = get_command(cli)
TELLS = ("token", "keys create", "keys rotate")
"""The commands that may print a token."""


@dataclass
class Ran:
    """What one command did."""

    line: str
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        found = json.loads(self.out)
        assert isinstance(found, dict), self
        return found

    @property
    def error(self) -> dict[str, Any]:
        """The JSON error on stderr."""
        assert self.out == "", self
        found: dict[str, Any] = json.loads(self.err)["error"]
        return found

    def __str__(self) -> str:
        return f"$ zerog {self.line}\n{self.out}{self.err}exit code {self.code}"


def sweep(ran: Ran, *secrets: str) -> Ran:
    """Look for what must never be printed."""
    both = ran.out + ran.err
    assert "Traceback" not in both, ran
    for secret in secrets:
        assert secret.removeprefix("0x") not in both, f"the private key is printed by zerog {ran.line}"
    assert "app-sk-ey" not in ran.err, f"a token is printed on stderr by zerog {ran.line}"
    if not ran.line.startswith(TELLS):
        assert "app-sk-ey" not in ran.out, f"a token is printed by zerog {ran.line}"
    return ran


@dataclass
class Zerog:
    """Runs commands with settings of its own.

    Attributes:
        environ: ``ZEROG_*`` variables.
        secrets: What must never be printed.
    """

    environ: dict[str, str]
    secrets: list[str] = field(default_factory=list)

    def __call__(self, *words: str, ok: bool | None = True, stdin: str | None = None, **more: str) -> Ran:
        """Run a command line; `more` are further variables. With ``ok=None`` it may end in any way."""
        code: Any = None
        # Not `invoke`: that puts the whole command together each time.
        with CliRunner().isolation(input=stdin, env={**self.environ, **more}) as (out, err, *_):
            try:
                COMMAND.main(list(words), prog_name="zerog")
            except SystemExit as end:
                code = end.code
            sys.stdout.flush()
            sys.stderr.flush()
            printed = out.getvalue().decode(), err.getvalue().decode()
        ran = sweep(Ran(" ".join(words), code, *printed), *self.secrets)
        if ok is not None:
            assert (ran.code == 0) is ok, str(ran)
        return ran

    def json(self, *words: str, **more: str) -> dict[str, Any]:
        """Run a command line that succeeds with ``--json``; its document."""
        ran = self(*words, "--json", **more)
        assert ran.err == "", str(ran)
        return ran.document

    def fails(self, *words: str, code: int, **more: Any) -> dict[str, Any]:
        """Run a command line that fails, once for people and once with ``--json``; the JSON error."""
        ran = self(*words, ok=False, **more)
        assert ran.code == code, str(ran)
        assert len([line for line in ran.err.splitlines() if line.startswith("error: ")]) == 1, str(ran)
        ran = self(*words, "--json", ok=False, **more)
        assert ran.code == code, str(ran)
        return ran.error

    def settings(self, **more: str) -> dict[str, str]:
        """A whole environment for a process of its own."""
        return {**{name: value for name, value in os.environ.items() if "ZEROG" not in name}, **self.environ, **more}


def zerog_of(net: LocalNet, home: Path, wallet: LocalWallet | None) -> Zerog:
    environ = {
        "ZEROG_HOME": str(home),
        "ZEROG_NETWORK": "local",
        "ZEROG_RPC_URL": net.rpc_url,
        "ZEROG_LEDGER": net.ledger,
        "ZEROG_INFERENCE": net.inference,
    }
    if wallet is None:
        return Zerog(environ)
    return Zerog({**environ, "ZEROG_PRIVATE_KEY": wallet.private_key}, [wallet.private_key])
