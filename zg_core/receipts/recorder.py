"""Where a call leaves its receipt, moment by moment: in memory always, in the store where there is one.

What cannot be written before the request leaves stops the call: nothing was sent or spent. What cannot be written
after that never costs the user an answer that is paid: it is logged, flagged ``not_stored``, and tried again with the
next receipt.
"""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from zg_core.http.transport import Transport
    from zg_core.receipts.memory import MemoryReceipts
    from zg_core.receipts.model import Receipt
    from zg_core.receipts.stored import ReceiptStore
    from zg_core.store import Store

__all__ = ["NOT_STORED", "Recorder"]

logger = logging.getLogger(__name__)

NOT_STORED = "not_stored"
"""The flag of a receipt that could not be written."""


class Recorder:
    """Keeps the receipts of one client.

    Args:
        memory: The newest ones.
        stored: All of them, if they shall outlive the process.
        transport: How blocking work is done beside an event loop.
    """

    def __init__(self, memory: MemoryReceipts, stored: ReceiptStore | None, transport: Transport) -> None:
        self._memory = memory
        self._stored = stored
        self._transport = transport

    def opened(self, receipt: Receipt, hold: Callable[[], None], stores: Collection[Store]) -> None:
        """The request is about to be sent, after `hold`: at one go where both write to the same store. It may wait.

        Args:
            receipt: Of the call.
            hold: Holds what it may cost, in `stores`.
            stores: None where nothing is held.

        Raises:
            ConfigError: the store cannot be used; nothing was sent.
        """
        stored = self._stored
        if stored is None:
            hold()
            return
        with stored.together() if stores and stored.shares(stores) else nullcontext():
            hold()
            stored.write(receipt, later=False)

    async def unsent(self, receipt: Receipt) -> None:
        """The request never left: it cost nothing."""
        if self._stored is not None:
            await self._transport.blocking(self._try, self._stored.drop, receipt)

    async def closed(self, receipt: Receipt) -> None:
        """The call has ended; its verdict may follow."""
        if self._stored is not None:
            await self._transport.blocking(self._try, self._stored.write, receipt)

    @property
    def keeps(self) -> bool:
        """Whether receipts outlive the process."""
        return self._stored is not None

    def ended(
        self,
        receipt: Receipt,
        count: Callable[[], None],
        stores: Collection[Store],
        marks: Iterable[bytes],
        known: Callable[[frozenset[bytes]], None],
    ) -> None:
        """`closed`, with all that is written when a call ends: at one go where all is in one store. It may wait.

        Args:
            receipt: Of the call; its verdict may follow.
            count: Counts what the call cost, in `stores`.
            stores: None where nothing is counted.
            marks: Of the reply, for all who share the store of receipts.
            known: Told which of them were noted before, ahead of the receipt's being written.
        """
        stored = self._stored
        if stored is not None and stored.shares(stores):
            try:
                with stored.together():
                    count()
                    known(stored.note(receipt, marks))
                    stored.write(receipt, later=False)
            except ConfigError:  # nothing of it was kept: each by itself, then, and what fails is told
                logger.debug("receipt %s could not be stored at one go", receipt.id, exc_info=True)
            else:
                return
        try:
            count()
        except ConfigError as error:  # must not cost the user a paid answer; the whole amount stays held
            logger.warning("receipt %s could not be settled in its budget: %s", receipt.id, error.message)
        if stored is not None:
            self._try(lambda each: known(stored.note(each, marks)), receipt)
            self._try(stored.write, receipt)

    def noted_aside(self, receipt: Receipt, marks: Iterable[bytes]) -> None:
        """Note the marks of a reply, where nobody may wait."""
        if self._stored is not None:
            self._transport.aside(self._try, partial(self._note, marks), receipt)

    def _note(self, marks: Iterable[bytes], receipt: Receipt) -> None:
        assert self._stored is not None  # noqa: S101 - asked by the caller
        self._stored.note(receipt, marks)

    async def judged(self, receipt: Receipt) -> None:
        """The verdict was made after `closed`; it is written though who waits for it goes before a thread is free."""
        stored, once = self._stored, threading.Lock()
        if stored is None:
            return

        def write() -> None:
            if once.acquire(blocking=False):  # a second time it would be a verdict more
                self._try(stored.append, receipt)

        try:
            await self._transport.blocking(write)
        except BaseException:
            self._transport.aside(write)
            raise

    def kept(self, receipt: Receipt) -> None:
        """Show the receipt among the newest ones."""
        self._memory.add(receipt)

    def broken_off(self, receipt: Receipt) -> None:
        """`closed`, where nobody may wait: the reader left, or the task was cancelled."""
        if self._stored is not None:
            self._transport.aside(self._try, self._stored.write, receipt)

    def dropped(self, receipt: Receipt) -> None:
        """`unsent`, where nobody may wait."""
        if self._stored is not None:
            self._transport.aside(self._try, self._stored.drop, receipt)

    def _try(self, write: Callable[[Receipt], None], receipt: Receipt) -> None:
        try:
            write(receipt)
        except ConfigError as error:
            if NOT_STORED not in receipt.flags:
                receipt.flags = (*receipt.flags, NOT_STORED)
            logger.warning("receipt %s could not be stored: %s", receipt.id, error.message)
