"""What the chain and the providers say about a payer's charges: the other half of an audit."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zg_core.audits.result import Audit, Finding
from zg_core.backends.direct.audit.auditing import audit
from zg_core.chain.logs import head_of
from zg_core.chain.rpc import quantity, rpc_junk
from zg_core.errors import ZeroGError
from zg_core.money import Amount
from zg_core.receipts.audited import Audited
from zg_core.receipts.plain import DIRECT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zg_core.backends.direct.money.accounts import Accounts
    from zg_core.contracts.settlements import Settlement
    from zg_core.http.transport import Transport
    from zg_core.receipts.model import Receipt
    from zg_core.types import ServiceRecord

__all__ = ["Charges", "audited", "read_charges"]

_ATTEMPTS = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Charges:
    """What `audit` takes beside the receipts.

    Attributes:
        settlements: Settlements of the payer, with the times of their blocks.
        unsettled: By provider, what it says it has still to collect; only those that said so.
        prices: By provider, neuron per input and output token on chain now.
    """

    settlements: list[tuple[datetime, Settlement]]
    unsettled: dict[str, Amount]
    prices: dict[str, tuple[int, int]]


async def read_charges(
    accounts: Accounts, transport: Transport, user: str, providers: Iterable[str], *, from_block: int | None = None
) -> Charges:
    """Read what was charged to `user`.

    What a provider has not yet settled only its user may ask, so that is read only for the wallet of `accounts`.

    Args:
        accounts: `Broker.core`.
        transport: `Broker.transport`.
        user: The payer.
        providers: Which providers to ask for what is unsettled.
        from_block: First block of settlements; without it the first in which the user had sent a transaction.

    Raises:
        ChainError: the chain cannot be read.
    """
    services = {each.provider.lower(): each for each in await accounts.chain.services()}
    listed = list(providers)
    head = await head_of(accounts.chain.rpc)
    settlements = await accounts.settlements(user, from_block=from_block, to_block=head)
    for _ in range(_ATTEMPTS):
        unsettled = await _unsettled(
            accounts, transport, user, [services[p.lower()] for p in listed if p.lower() in services]
        )
        since, head = head + 1, await head_of(accounts.chain.rpc)
        new = await accounts.settlements(user, from_block=since, to_block=head)
        if not new:  # none came in between, which would be counted twice or not at all
            break
        settlements += new
    else:
        unsettled = {}
    blocks = sorted({each.block for each in settlements})
    answers = await accounts.chain.rpc.batch([("eth_getBlockByNumber", [hex(each), False]) for each in blocks])
    times = {block: _time(answer) for block, answer in zip(blocks, answers, strict=True)}
    prices = {each.provider: (each.input_price, each.output_price) for each in services.values()}
    return Charges([(times[each.block], each) for each in settlements], unsettled, prices)


async def audited(
    accounts: Accounts,
    transport: Transport,
    receipts: Iterable[Receipt | Audited],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    from_block: int | None = None,
) -> Audit:
    """Read what was charged to the payer of `accounts`, and compare his receipts with it (`audit`).

    Raises:
        ChainError: the chain cannot be read.
    """
    own = [each for each in receipts if isinstance(each, Audited) or each.backend == DIRECT]
    asked = list(dict.fromkeys(each.provider for each in own))
    charges = await read_charges(accounts, transport, accounts.user(), asked, from_block=from_block)
    if charges.settlements and not own:
        total = sum(each.paid.units for _, each in charges.settlements)
        message = f"{Amount(total)} was settled, and there is no receipt: the calls were made with another store"
        return Audit((), (Finding("charged_without_receipt", "", message, outside=False),))
    return audit(
        own,
        charges.settlements,
        unsettled=charges.unsettled,
        prices=charges.prices,
        since=since,
        until=until,
    )


async def _unsettled(
    accounts: Accounts, transport: Transport, user: str, services: Iterable[ServiceRecord]
) -> dict[str, Amount]:
    from zg_core.backends.direct.money.unsettled import unsettled_fee

    wallet = accounts.wallet_of(user)
    found: dict[str, Amount] = {}
    for service in services if wallet is not None else ():
        try:
            account = await accounts.chain.account(user, service.provider)
            if account is not None and wallet is not None:
                fee = await unsettled_fee(transport, wallet, service, account.generation)
                found[service.provider] = Amount(fee)
        except ZeroGError as error:
            logger.warning("provider %s does not tell what is unsettled: %s", service.provider, error.message)
    return found


def _time(answer: Any) -> datetime:
    seconds = quantity(answer.get("timestamp") if isinstance(answer, dict) else answer, "eth_getBlockByNumber")
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise rpc_junk("eth_getBlockByNumber") from None
