"""What the chain and the providers say about a payer's charges: the other half of an audit."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zg_core.errors import ChainError, ZeroGError
from zg_core.types import Amount

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zg_core.accounts import Accounts
    from zg_core.chain.settlements import Settlement
    from zg_core.http import Transport

__all__ = ["Charges", "read_charges"]

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
    accounts: Accounts, transport: Transport, user: str, providers: Iterable[str], *, from_block: int = 0
) -> Charges:
    """Read what was charged to `user`.

    What a provider has not yet settled only its user may ask, so that is read only for the wallet of `accounts`.

    Args:
        accounts: `Broker.core`.
        transport: `Broker.transport`.
        user: The payer.
        providers: Which providers to ask for what is unsettled.
        from_block: First block of settlements; public nodes limit how far back one query may reach.

    Raises:
        ChainError: the chain cannot be read.
    """
    settlements = await accounts.settlements(user, from_block=from_block)
    blocks = sorted({each.block for each in settlements})
    answers = await accounts.chain.rpc.batch([("eth_getBlockByNumber", [hex(each), False]) for each in blocks])
    times = {block: _time(answer) for block, answer in zip(blocks, answers, strict=True)}
    services = {each.provider.lower(): each for each in await accounts.chain.services()}
    wallet = accounts.wallet_of(user)
    unsettled: dict[str, Amount] = {}
    for provider in providers:
        service = services.get(provider.lower())
        if wallet is None or service is None:
            continue
        from zg_core.funding import unsettled_fee

        try:
            account = await accounts.chain.account(user, provider)
            if account is not None:
                fee = await unsettled_fee(transport, wallet, service.url, provider, account.generation)
                unsettled[service.provider] = Amount(fee)
        except ZeroGError as error:
            logger.warning("provider %s does not tell what is unsettled: %s", provider, error.message)
    prices = {each.provider: (each.input_price, each.output_price) for each in services.values()}
    return Charges([(times[each.block], each) for each in settlements], unsettled, prices)


def _time(answer: Any) -> datetime:
    try:
        return datetime.fromtimestamp(int(answer["timestamp"], 16), UTC)
    except (TypeError, ValueError, KeyError, OverflowError, OSError):
        message = "the chain's RPC endpoint answers junk: eth_getBlockByNumber"
        raise ChainError(message, code="rpc_junk", hint="check ZEROG_RPC_URL (--rpc-url)", retryable=True) from None
