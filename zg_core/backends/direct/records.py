"""Service records that are young enough to rest on, and what becomes of receipts that rested on one that had changed.

Operators change prices, URL, kind and acknowledgement without notice, so a verdict and an exact fee rest on a record
read after the call began or at most `record_age` seconds before (architecture, "Decisions"). Frequent calls share one
read; a rare call has one beside the request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from zg_core.backends.onchain import RECORD_AGE
from zg_core.calls.retries import Attempts, Retries
from zg_core.contracts.updates import read_updates
from zg_core.errors import ChainError, ConfigError
from zg_core.http.timeouts import is_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.contracts.reader import ChainReader
    from zg_core.http.transport import Transport
    from zg_core.types import ServiceRecord

__all__ = ["Records", "check_age"]

logger = logging.getLogger(__name__)

_SLACK = 15.0  # seconds by which the chain's clock and ours may differ before a change counts as later than a call
_MOST = 4096  # receipts a provider's next read may correct


def check_age(seconds: float) -> float:
    """`seconds` if it is an age of records.

    Raises:
        ConfigError: it is no number of seconds, or negative.
    """
    if not is_seconds(seconds):
        message = f"record_age must be a number of seconds, not {seconds!r}"
        raise ConfigError(message, code="bad_record_age", hint="for example record_age=10; 0 reads for every call")
    return float(seconds)


class _Resting(NamedTuple):
    """A finished call: which record it rests on, as of which block, when it ended, and who is told of its change."""

    record: ServiceRecord
    block: int | None
    ended: float
    wall: float
    changed: Callable[[ServiceRecord, bool], None]


class Records:
    """The records of one client's providers.

    Args:
        chain: Reads them.
        transport: Does the reads beside calls.
        age: Seconds for which a record is used as it is.
        retries: How often a failed read is tried again where a verdict waits for it.
    """

    def __init__(
        self, chain: ChainReader, transport: Transport, age: float = RECORD_AGE, retries: Retries | None = None
    ) -> None:
        self._chain = chain
        self._transport = transport
        self._retries = retries or Retries()
        self._resting: dict[str, deque[_Resting]] = {}
        self._lock = threading.Lock()
        self.age = age
        chain.listener = self._read

    async def young(self, provider: str, moment: float) -> ServiceRecord:
        """The record, read at `moment` (of ``time.monotonic``) or at most `age` seconds before.

        Raises:
            ConfigError: the provider is not registered (any more).
            ChainError: the chain cannot be read.
        """
        return await self._chain.service(provider, since=moment - self.age)

    async def patient(self, provider: str, moment: float) -> ServiceRecord:
        """`young`, with the call's retries."""
        if (record := self._chain.in_hand(provider, moment - self.age)) is not None:
            return record
        attempts = Attempts(self._retries)
        while True:
            try:
                return await self.young(provider, moment)
            except ChainError as error:
                if (wait := attempts.wait(error)) is None:
                    raise
            await self._transport.sleep(wait)

    def beside(self, provider: str, moment: float) -> None:
        """Read the record in the background where the one in hand will be too old for a call that begins now."""
        if self._chain.read_at(provider) < moment - self.age:
            self._transport.spawn(lambda: self._quietly(provider, moment), f"record of {provider}")

    async def _quietly(self, provider: str, moment: float) -> None:
        try:
            await self.young(provider, moment)
        except (ChainError, ConfigError) as error:  # the verdict asks again, and says so
            logger.debug("the record of %s could not be read beside a call: %s", provider, error)

    def rests(self, provider: str, record: ServiceRecord, changed: Callable[[ServiceRecord, bool], None]) -> None:
        """A call of `provider` has ended now and rests on `record`.

        `changed` is called with the newer record if a later read shows that it may have changed before this moment;
        at once, if another call has read it since this one did. Beside it stands whether its prices are those that can
        have been in force: not where the record was written and the chain's events do not tell what it said before.
        """
        with self._lock:
            if (waiting := self._resting.get(provider)) is None:
                waiting = self._resting[provider] = deque(maxlen=_MOST)
            waiting.append(_Resting(record, self._chain.block_of(provider), time.monotonic(), time.time(), changed))
        if (newest := self._chain.in_hand(provider)) is not None and _differs(record, newest):
            changed(newest, True)

    def _read(self, record: ServiceRecord, began: float) -> None:
        """A record was read: what rests on an earlier one is settled by it."""
        with self._lock:
            waiting = self._resting.get(record.provider)
            if not waiting:
                return
            settled = [waiting.popleft() for _ in range(sum(one.ended <= began for one in waiting))]
        for one in settled:
            if _differs(one.record, record) and not _later(one, record):
                one.changed(record, True)
        between = [one for one in settled if one.block is not None and one.record.updated_at != record.updated_at]
        if between:
            self._transport.spawn(lambda: self._between(record, between), f"changes of {record.provider}")

    async def _between(self, now: ServiceRecord, resting: list[_Resting]) -> None:
        """Tell of prices that were raised and taken back between two reads, which neither of them shows."""
        chain, first = self._chain, min(one.block for one in resting if one.block is not None) + 1
        try:
            updates = await read_updates(chain.rpc, chain.network, now.provider, first, sleep=self._transport.sleep)
        except ChainError as error:
            logger.warning("what %s changed in between cannot be read: %s", now.provider, error.message)
            updates = []
        if all(update.at != now.updated_at for update in updates):  # a node that lags, or shows no events
            for one in resting:
                one.changed(now, False)
        for one in resting:
            for update in updates:
                was = replace(one.record, input_price=update.input_price, output_price=update.output_price)
                if was != one.record and update.at <= one.wall + _SLACK:
                    one.changed(was, True)


def _differs(before: ServiceRecord, after: ServiceRecord) -> bool:
    return before is not after and replace(before, updated_at=0) != replace(after, updated_at=0)


def _later(one: _Resting, after: ServiceRecord) -> bool:
    """Whether all of the change came after the call; an acknowledgement leaves no time (0g-contracts)."""
    acknowledged = (one.record.signer, one.record.acknowledged) == (after.signer, after.acknowledged)
    return acknowledged and after.updated_at != one.record.updated_at and after.updated_at > one.wall + _SLACK
