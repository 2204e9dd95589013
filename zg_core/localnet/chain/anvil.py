"""An anvil process of our own: started on a free port of this machine, stopped by its process id."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING, Final

from zg_core.localnet.chain.abi import CHAIN_ID
from zg_core.localnet.chain.evm import BASE_FEE
from zg_core.localnet.chain.node import NodeUnfit

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

_STOP_SECONDS: Final = 20


class AnvilProcess:
    """Runs `program` until `stop`; `url` is where it answers.

    Args:
        program: the path of anvil, or its name on the PATH.
        port: where to listen; 0 for any free port.

    Raises:
        NodeUnfit: it cannot be started.
    """

    def __init__(self, program: str | Path, port: int = 0) -> None:
        command = [str(program), "--host", "127.0.0.1", "--port", str(port), "--chain-id", str(CHAIN_ID)]
        command += ["--allow-origin", "http://127.0.0.1"]  # otherwise any web page may read and write
        command += ["--hardfork", "cancun", "--block-base-fee-per-gas", str(BASE_FEE)]
        try:
            # A session of its own: Ctrl-C is for us, and we end it when nobody needs it any more.
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
            )
        except OSError as error:
            raise NodeUnfit(f"anvil cannot be started: {error}", "give the path of the program: --anvil PATH") from None
        output = self._process.stdout
        assert output is not None  # noqa: S101 - it was asked for
        seen: list[str] = []
        for line in output:
            seen.append(line.strip())
            if "Listening on" in line:
                self.url = f"http://127.0.0.1:{int(line.strip().rpartition(':')[2])}"
                break
        else:
            self.stop()
            raise NodeUnfit(f"anvil ended at once: {' '.join(seen)[-300:] or 'it said nothing'}", "check the program")
        # It logs every request; somebody has to read that, or it stops when the pipe is full.
        self._reader = threading.Thread(target=_drain, args=(output,), name="zerog-localnet-anvil", daemon=True)
        self._reader.start()

    def stop(self) -> None:
        """End the process and wait for it; again is no error."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if hasattr(self, "_reader"):
            self._reader.join(_STOP_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _drain(output: IO[str]) -> None:
    for _ in output:
        continue
