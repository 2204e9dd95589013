"""Programs that pay, look, or are killed: processes forked from one that has loaded everything.

A `Run` is a process of its own; `Payers` carry out one run after the other, and only who was killed is replaced.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from tests.patience import PATIENCE
from zg_core import Broker, Sending, Store, ZeroGError, og
from zg_core.http.transport import SyncTransport
from zg_core.wallet import Wallet

# What each run would load for itself.
for _each in ("eth_abi.abi", "eth_utils", "encodings.idna", "sqlalchemy.dialects.sqlite", "sqlite3", "zoneinfo"):
    importlib.import_module(_each)
importlib.import_module("zg_core.backends.direct.money.broker")
Wallet.from_key("0x" + "11" * 32).sign_digest(bytes(32))

_CLOCK = time.monotonic
KILLED = "killed"
HASTE = 25  # a run that waits for a second moves its clock by one, and takes a 25th of it


class Run:
    """One run in a process of its own.

    Args:
        job: See `work`.
    """

    _context = get_context("forkserver")
    _context.set_forkserver_preload([__name__])

    def __init__(self, job: dict[str, Any]) -> None:
        self._told, theirs = self._context.Pipe(duplex=False)
        self._process = self._context.Process(target=alone, args=(job, theirs), daemon=True)
        with _nothing_to_import_again():
            self._process.start()
        theirs.close()
        self._guard, self._over = threading.Lock(), False

    def kill(self) -> None:
        """As ``kill -9``; from any thread, and nothing if it has ended."""
        with self._guard:
            if not self._over:
                self._process.kill()

    def result(self) -> Any:
        """What it said, or `KILLED`."""
        try:
            assert self._told.poll(PATIENCE), "it hangs"
            said = self._told.recv()
        except EOFError:
            said = KILLED
        finally:
            self._told.close()
        self._process.join(PATIENCE)
        with self._guard:
            self._over = True
            code = self._process.exitcode
        assert code == (-signal.SIGKILL if said is KILLED else 0) or code == -signal.SIGKILL, f"ended with {code}"
        self._process.close()
        return said


class Payers:
    """Processes that carry out one run after the other."""

    def __init__(self) -> None:
        self._idle: list[_Payer] = []

    def run(self, job: dict[str, Any]) -> Turn:
        """Let one of them do it."""
        return Turn(self._idle.pop() if self._idle else _Payer(), job, self._idle)

    def close(self) -> None:
        """Send them home."""
        while self._idle:
            self._idle.pop().end()


class _Payer:
    """One such process."""

    def __init__(self) -> None:
        self.line, theirs = Run._context.Pipe()
        self.process = Run._context.Process(target=serve, args=(theirs,), daemon=True)
        with _nothing_to_import_again():
            self.process.start()
        theirs.close()

    def end(self) -> None:
        self.line.close()
        self.process.join(PATIENCE)
        assert self.process.exitcode in (0, -signal.SIGKILL), f"ended with {self.process.exitcode}"
        self.process.close()


class Turn:
    """A run by one of the `Payers`; as a `Run`."""

    def __init__(self, payer: _Payer, job: dict[str, Any], idle: list[_Payer]) -> None:
        self._payer, self._idle = payer, idle
        self._guard, self._over, self._killed = threading.Lock(), False, False
        payer.line.send(job)

    def kill(self) -> None:
        """As ``kill -9``; from any thread, and nothing if it has ended."""
        with self._guard:
            if not self._over:
                self._killed = True
                self._payer.process.kill()

    def result(self) -> Any:
        """What it said, or `KILLED`."""
        said, gone = KILLED, True
        with suppress(EOFError, ConnectionResetError):
            assert self._payer.line.poll(PATIENCE), "it hangs"
            said = self._payer.line.recv()
            assert self._payer.line.poll(PATIENCE), "it never closes"
            gone = self._payer.line.recv() is not None
        with self._guard:
            self._over = True
            gone = gone or self._killed
        if gone:
            self._payer.end()
        else:
            self._idle.append(self._payer)
        return said


def serve(line: Connection) -> None:
    """Carry out what is asked, one after the other, until nobody asks any more."""
    original = Store.transaction
    with suppress(EOFError):
        while True:
            work(line.recv(), line)
            Store.transaction = original  # type: ignore[method-assign]
            line.send(None)  # its broker and store are closed


def alone(job: dict[str, Any], told: Connection) -> None:
    """Carry out one."""
    work(job, told)
    told.close()


def work(job: dict[str, Any], told: Connection) -> None:
    """Do what is asked and tell it.

    Args:
        job: ``broker``: its options. ``sending``: of `Sending`. ``pay``: 0G to be deposited; or what is pending is
            looked at. ``dies``: at which transaction of the store, and whether before it is committed.
        told: Where to tell what came of it: ``"paid"`` or the code of an error; of a look, for each transaction that
            was pending, the amount and what became of it, and then how many are still not settled.
    """
    _hurry()
    if job.get("dies") is not None:
        _die_at(*job["dies"])
    store = Store(job["broker"]["store"])
    try:
        with Broker(**{**job["broker"], "store": store}, sending=Sending(**job["sending"])) as broker:
            told.send(_pay(broker, job["pay"]) if "pay" in job else _look(broker))
    finally:
        store.close()


@contextmanager
def _nothing_to_import_again() -> Iterator[None]:
    """Else each run imports the program of the tests, pytest, for itself."""
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    main.__spec__ = None
    with suppress(AttributeError):
        del main.__file__
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)


def _hurry() -> None:
    """From now on, waiting moves the clock of this process; what takes time takes as long as ever."""
    clock, ahead = _CLOCK, 0.0

    async def sleep(self: SyncTransport, seconds: float) -> None:
        nonlocal ahead
        time.sleep(seconds / HASTE)  # noqa: ASYNC251 - this transport blocks by design
        ahead += seconds - seconds / HASTE

    time.monotonic = lambda: clock() + ahead
    SyncTransport.sleep = sleep  # type: ignore[method-assign]


def _pay(broker: Broker, amount: int) -> str:
    try:
        broker.deposit(og(str(amount)))
    except ZeroGError as error:
        return error.code or type(error).__name__
    return "paid"


def _look(broker: Broker) -> tuple[list[tuple[int, str]], int] | str:
    found = []
    try:
        for each in broker.pending():
            became = each.state
            if not each.is_settled:
                try:
                    broker.resume(each.id)
                    became = "mined"
                except ZeroGError as error:
                    became = error.code or type(error).__name__
            found.append((each.value.units // 10**18, became))
        return found, sum(not each.is_settled for each in broker.pending())
    except ZeroGError as error:
        return error.code or type(error).__name__


def _die_at(number: int, before: bool) -> None:
    """End this process at that transaction of the store, as ``kill -9``."""
    original, count = Store.transaction, 0

    @contextmanager
    def transaction(self: Store, *, durable: bool = True) -> Iterator[Any]:
        nonlocal count
        with original(self, durable=durable) as made:
            yield made
            count += 1
            if count == number and before:
                os.kill(os.getpid(), signal.SIGKILL)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    Store.transaction = transaction  # type: ignore[method-assign]
