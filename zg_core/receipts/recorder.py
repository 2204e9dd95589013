"""Where a call leaves its receipt, moment by moment: in memory always, in the store where there is one.

What cannot be written before the request leaves stops the call: nothing was sent or spent. What cannot be written
after that never costs the user an answer that is paid: it is logged, flagged ``not_stored``, and tried again with the
next receipt.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zg_core.http.transport import Transport
    from zg_core.receipts.memory import MemoryReceipts
    from zg_core.receipts.model import Receipt
    from zg_core.receipts.stored import ReceiptStore

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

    async def opened(self, receipt: Receipt) -> None:
        """The request is about to be sent.

        Raises:
            ConfigError: the store cannot be used; nothing was sent.
        """
        if self._stored is not None:
            await self._transport.blocking(self._stored.write, receipt)

    async def unsent(self, receipt: Receipt) -> None:
        """The request never left: it cost nothing."""
        if self._stored is not None:
            await self._transport.blocking(self._try, self._stored.drop, receipt)

    async def closed(self, receipt: Receipt) -> None:
        """The call has ended; its verdict may follow."""
        if self._stored is not None:
            await self._transport.blocking(self._try, self._stored.write, receipt)

    async def noted(self, receipt: Receipt, marks: Iterable[bytes]) -> frozenset[bytes]:
        """Note the marks of a reply for all who share the store; those that were noted before."""
        old: set[bytes] = set()
        if self._stored is not None:
            await self._transport.blocking(self._try, partial(self._note, marks, old), receipt)
        return frozenset(old)

    def noted_aside(self, receipt: Receipt, marks: Iterable[bytes]) -> None:
        """`noted`, where nobody may wait."""
        if self._stored is not None:
            self._transport.aside(self._try, partial(self._note, marks, set()), receipt)

    def _note(self, marks: Iterable[bytes], old: set[bytes], receipt: Receipt) -> None:
        assert self._stored is not None  # noqa: S101 - asked by the caller
        old |= self._stored.note(receipt, marks)

    async def judged(self, receipt: Receipt) -> None:
        """The verdict was made after `closed`."""
        if self._stored is not None:
            await self._transport.blocking(self._try, self._stored.append, receipt)

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
