"""The chain is the budget's referee: what a provider charged beyond all receipts of the wallet in the store.

Receipts say what calls can have cost; an operator can lie about it (a refusal after service, a price raised in between,
a list that says 0, counts that are inflated or hidden). Settlement events on chain, and what the provider says is still
to be settled, cannot be less than what it takes. Balances are no measure: transfers and retrievals are ours.

Compared are, by wallet and provider, what was settled since the provider was first seen and what is unsettled now, with
what was unsettled then and the most that all receipts since allow. Only the excess is a discrepancy. The chain is read
before the provider is asked, and the receipts last, so that what happens in between never accuses an honest provider.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zg_core.backends.direct.audit.noted import OPEN, Noted
from zg_core.backends.direct.money.unsettled import unsettled_fee
from zg_core.backends.onchain import on_chain
from zg_core.budget import discrepancy_of
from zg_core.chain.logs import head_of
from zg_core.contracts.reader import ChainReader
from zg_core.contracts.settlements import read_settlements
from zg_core.crypto import same_address
from zg_core.errors import ConfigError, ZeroGError
from zg_core.http.transport import SyncTransport, run
from zg_core.pricing import PROMPT_ALLOWANCE, Tariff
from zg_core.progress import tell
from zg_core.receipts.plain import DIRECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.budget import Discrepancy, Spending
    from zg_core.config import Network
    from zg_core.http.transport import Transport
    from zg_core.progress import Listener
    from zg_core.receipts.model import Receipt
    from zg_core.receipts.stored import ReceiptStore
    from zg_core.types import ServiceRecord
    from zg_core.verify.reach import Answering
    from zg_core.wallet import Wallet

__all__ = ["BILLED_BEYOND", "Referee", "appoint"]

logger = logging.getLogger(__name__)

BILLED_BEYOND = "billed_beyond_receipts"
"""Name of the event that tells of a discrepancy."""
_ELSEWHERE = "if programs with other stores pay with this wallet, give all one ZEROG_STORE, or say Budget(others=True)"
_EVERY = 60.0  # seconds between two looks at one provider
_AGAIN = 2.0  # seconds for which a look is new enough to refuse by
_UNBURIED = 12  # newest blocks, which may still be replaced
_GRACE = 5.0  # seconds in which a provider has booked a call that has ended
_GUESS = 32_768  # tokens of an answer that nothing limits


@dataclass(frozen=True, slots=True)
class _Look:
    """What was read from outside in one look."""

    block: int
    buried: int
    settled: int
    recent: int
    unsettled: int


class Referee:
    """Compares what is charged to one wallet with its receipts.

    Args:
        spending: Whose limits count what is found.
        stored: All receipts of the store.
        chain: Reads events and sub-accounts.
        transport: Asks providers.
        payer: The wallet's address, asked for when it is needed.
        wallet: To ask what is unsettled, which only the user may; None reads the chain only.
        listener: Told of what is found.
    """

    def __init__(
        self,
        spending: Spending,
        stored: ReceiptStore,
        chain: ChainReader,
        transport: Transport,
        *,
        payer: Callable[[], str],
        wallet: Wallet | None,
        listener: Listener | None = None,
    ) -> None:
        self._spending = spending
        self._noted = Noted(spending)
        self._stored = stored
        self._chain = chain
        self._transport = transport
        self._payer = payer
        self._wallet = wallet
        self._listener = listener
        self._due: dict[str, float] = {}
        self._disputed: dict[str, int] = {}
        self._lock = threading.Lock()

    async def before(self, service: Answering, began: float) -> None:
        """A call to `service`, begun at unix time `began`, is about to be held for.

        Before the first one it is noted where the account stands; from time to time a look is begun beside a call.
        """
        record = on_chain(service)
        key, now = service.provider.lower(), time.monotonic()
        with self._lock:
            due = self._due.get(key)
            if due is not None and due > now:
                return
            self._due[key] = now + _EVERY
        if due is not None:
            self._transport.spawn(lambda: self._quietly(record), f"referee of {service.provider}")
            return
        try:
            await self._first(record, began)
        except ZeroGError as error:  # no reason to refuse a call; the next one tries again
            self._due.pop(key, None)
            logger.warning("provider %s is not compared with the chain yet: %s", service.provider, error.message)

    def refused(self, provider: str, units: int) -> None:
        """A request to `provider` was refused that can have cost `units` neuron for all that.

        Once refusals can have cost as much as a limit of the budget, the next call does not wait for its minute.
        """
        key = provider.lower()
        with self._lock:
            disputed = self._disputed.get(key, 0) + units
            least = self._spending.budget.least
            if least is not None and disputed >= least.units and key in self._due:
                self._due[key], disputed = 0.0, 0
            self._disputed[key] = disputed

    async def again(self, service: Answering) -> bool:
        """Look before a budget refuses; whether that was done, and less may be counted now."""
        payer = self._payer()
        row = await self._transport.blocking(self._noted.seen, payer, service.provider)
        if row is None or int(row["counted"]) == 0 or time.time() - row["looked"] < _AGAIN:
            return False
        await self._quietly(on_chain(service))
        return True

    async def look(self, service: ServiceRecord) -> Discrepancy | None:
        """Compare now; what is charged beyond the receipts, None if nothing is.

        Raises:
            ChainError: the chain cannot be read.
            ConfigError: the store cannot be used.
        """
        payer = self._payer()
        row = await self._transport.blocking(self._noted.seen, payer, service.provider)
        if row is None:
            await self._first(service, time.time())
            return None
        seen = await self._outside(service, payer, row)
        found, grown = await self._transport.blocking(self._compared, service, payer, row, seen)
        if grown and found is not None:
            message = (
                f"provider {service.provider} charged {found.excess} more than all receipts of {payer} allow"
                f"{'' if found.counted else '; it is not counted'}; {_ELSEWHERE}"
            )
            logger.warning("%s", message)
            tell(self._listener, BILLED_BEYOND, message, provider=service.provider, excess=found.excess)
        return found

    async def look_at_all(self) -> list[Discrepancy]:
        """`look` at every provider that this wallet was seen at; those that cannot be read keep what is known."""
        found = []
        for provider in await self._transport.blocking(self._noted.providers_seen, self._payer()):
            try:
                one = await self.look(await self._chain.service(provider, fresh=True))
            except ConfigError as error:  # it has left the chain
                if error.code == "store_unavailable":
                    raise
                continue
            if one is not None:
                found.append(one)
        return found

    async def _quietly(self, service: ServiceRecord) -> None:
        try:
            await self.look(service)
        except ZeroGError as error:
            logger.warning("provider %s could not be compared with the chain: %s", service.provider, error.message)

    async def _first(self, service: ServiceRecord, began: float) -> None:
        """Note what is unsettled before the first call; again has no effect."""
        payer = self._payer()
        if await self._transport.blocking(self._noted.seen, payer, service.provider) is not None:
            return
        owed = await self._unsettled(service, payer)  # before the block: what is settled in between counts in favour
        if owed:  # it is the provider's word alone, and excuses no more than it can collect
            account = await self._chain.account(payer, service.provider)
            owed = min(owed, 0 if account is None else account.balance)
        block = await head_of(self._chain.rpc)
        await self._transport.blocking(self._noted.see, payer, service.provider, began, owed, block)

    async def _outside(self, service: ServiceRecord, payer: str, row: Mapping[str, Any]) -> _Look:
        head = await head_of(self._chain.rpc)
        first = int(row["block"]) + 1
        settled = recent = 0
        buried = max(head - _UNBURIED, first - 1)
        if first <= head:
            for each in await read_settlements(
                self._chain.rpc,
                self._chain.network,
                payer,
                sleep=self._transport.sleep,
                from_block=first,
                to_block=head,
            ):
                if same_address(each.provider, service.provider):
                    recent += each.paid.units if each.block > buried else 0
                    settled += each.paid.units if each.block <= buried else 0
        said = await self._unsettled(service, payer)
        account = await self._chain.account(payer, service.provider)
        balance = 0 if account is None else account.balance
        return _Look(head, buried, settled, recent, min(said or 0, balance))  # it cannot collect more

    async def _unsettled(self, service: ServiceRecord, payer: str) -> int | None:
        """What the provider says is unsettled; None where it does not say."""
        if self._wallet is None or not same_address(self._wallet.address, payer):
            return None
        account = await self._chain.account(payer, service.provider)
        if account is None:
            return 0
        try:
            return await unsettled_fee(self._transport, self._wallet, service, account.generation)
        except ZeroGError as error:
            logger.info("provider %s does not tell what is unsettled: %s", service.provider, error.message)
            return None

    def _compared(
        self, service: ServiceRecord, payer: str, row: Mapping[str, Any], seen: _Look
    ) -> tuple[Discrepancy | None, bool]:
        """Count what is new; the discrepancy, and whether it has grown. The receipts are read here, last."""
        since, rolled = row["since"], row["rolled"]
        horizon = max(rolled, time.time() - OPEN)
        covered, old = 0, 0
        begun = datetime.fromtimestamp(rolled, UTC)
        held = {each.receipt: each.upper.units for each in self._spending.held()}
        receipts = self._stored.select(payer=payer, provider=service.provider, chain_id=self._chain_id, since=begun)
        for receipt in receipts:
            if receipt.backend != DIRECT:  # paid elsewhere: it allows nothing here
                continue
            at = receipt.started_at.timestamp()
            if at < since and receipt.outcome != "unknown" and at + receipt.seconds < since - _GRACE:
                continue  # in what was unsettled then
            most = self._most(receipt, held)
            if most is None:
                return (discrepancy_of(row) if int(row["excess"]) else None), False  # nobody can say what is too much
            covered += most
            old += most if at < horizon else 0
        return self._noted.compared(
            payer,
            service.provider,
            before=row,
            block=seen.buried,
            settled=seen.settled,
            charged=seen.settled + seen.recent + seen.unsettled,
            unsettled=seen.unsettled,
            covered=covered,
            rolled=horizon,
            rolled_cover=old,
        )

    @property
    def _chain_id(self) -> int:
        return self._chain.network.chain_id

    def _most(self, receipt: Receipt, held: Mapping[str, int]) -> int | None:
        """The most that a call may have cost; a refusal says that nothing was served."""
        if receipt.outcome == "refused":
            return 0
        if (units := self._spending.cost(receipt.fee)) is not None:
            return units
        if receipt.id in held:
            return held[receipt.id]
        tariff = None if receipt.service is None else Tariff.of(receipt.service)
        return None if tariff is None else tariff.most(receipt.request_bytes + PROMPT_ALLOWANCE, _GUESS)


def appoint(
    spending: Spending,
    stored: ReceiptStore,
    network: Network,
    transport: Transport,
    *,
    payer: Callable[[], str],
    wallet: Wallet | None,
    ca_file: str | None,
    listener: Listener | None,
) -> None:
    """Make the chain the referee of a client's budget. See `Referee`."""
    told: dict[str, Any] = {"payer": payer, "wallet": wallet, "listener": listener}

    def reconcile() -> list[Discrepancy]:
        other = SyncTransport(ca_file)
        return run(Referee(spending, stored, ChainReader(network, other), other, **told).look_at_all())

    spending.attach(Referee(spending, stored, ChainReader(network, transport), transport, **told), reconcile)
