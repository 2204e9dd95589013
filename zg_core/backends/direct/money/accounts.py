"""What a user holds and does on chain: ledger, sub-accounts, and the transactions that move money between them.

Written once as coroutines; `zg_core.backends.direct.money.broker` shows them with and without an event loop.
Everything that can be known beforehand is checked before anything is sent, in words that say what to do.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from zg_core.backends.direct.changes import CHANGES
from zg_core.chain.rpc import quantity
from zg_core.contracts import abi
from zg_core.contracts.settlements import read_settlements
from zg_core.crypto import same_address, typed_address
from zg_core.errors import ConfigError, InsufficientFunds, ZeroGError
from zg_core.money import Amount
from zg_core.progress import tell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zg_core.chain.flights import Handed
    from zg_core.chain.intentions import Intention
    from zg_core.chain.transactions import Sender, TransactionResult
    from zg_core.contracts.reader import ChainReader
    from zg_core.contracts.settlements import Settlement
    from zg_core.http.transport import Transport
    from zg_core.progress import Listener
    from zg_core.types import ServiceRecord
    from zg_core.wallet import Wallet

__all__ = ["Accounts", "Ledger", "PendingRefund", "SubAccount"]

logger = logging.getLogger(__name__)

# Minimums and limits of the contracts, in neuron and pieces (0g-abi "constants").
MINIMUM_LEDGER = Amount("3", "0G")
MINIMUM_ACCOUNT = Amount("1", "0G")
_TRANSFER = "transferFund(address,string,uint256)"
PROVIDERS_PER_BATCH = 20
REFUNDS_PER_ACCOUNT = 5
_NOTHING = Amount(0)


@dataclass(frozen=True, slots=True)
class Ledger:
    """A user's ledger: `available` can be transferred or refunded, `locked` lies in sub-accounts."""

    user: str
    available: Amount
    total: Amount

    @property
    def locked(self) -> Amount:
        """What lies in sub-accounts."""
        return self.total - self.available


@dataclass(frozen=True, slots=True)
class PendingRefund:
    """Money on its way back from a sub-account; a further `retrieve` collects it once its lock time is over."""

    amount: Amount
    requested_at: datetime


@dataclass(frozen=True, slots=True)
class SubAccount:
    """What a user holds at one provider.

    Attributes:
        user: Whose it is.
        provider: Where it is.
        balance: All that lies there, pending refunds included.
        pending_refund: What was asked back and is not yet free.
        refunds: The pending refunds, oldest first.
        acknowledged: Whether the user has acknowledged the provider's TEE signer.
        generation: How often all keys were revoked.
        revoked_keys: Ids of revoked API keys of this generation.
    """

    user: str
    provider: str
    balance: Amount
    pending_refund: Amount
    refunds: tuple[PendingRefund, ...]
    acknowledged: bool
    generation: int
    revoked_keys: frozenset[int]

    @property
    def usable(self) -> Amount:
        """What the provider counts on."""
        return self.balance - self.pending_refund

    @classmethod
    def of(cls, account: abi.Account) -> SubAccount:
        """From what the chain says."""
        return cls(
            account.user,
            account.provider,
            Amount(account.balance),
            Amount(account.pending_refund),
            tuple(PendingRefund(Amount(r.amount), datetime.fromtimestamp(r.created_at, UTC)) for r in account.refunds),
            account.acknowledged,
            account.generation,
            frozenset(number for number in range(256) if account.is_revoked(number)),
        )


class Accounts:
    """Reads, and transactions if there is a `sender`.

    Args:
        chain: Reads of the contracts.
        transport: HTTP.
        sender: Sends with the wallet; None to read only.
        user: Whose accounts are meant when none is named; the wallet's by default.
        on_progress: Told what happens.
    """

    def __init__(
        self,
        chain: ChainReader,
        transport: Transport,
        *,
        sender: Sender | None,
        user: str | None,
        on_progress: Listener | None,
    ) -> None:
        self.chain = chain
        self._transport = transport
        self.network = chain.network
        self._sender = sender
        self._user = user
        self.listener = on_progress

    # reads

    async def service(self, provider: str) -> ServiceRecord:
        """One service, read fresh."""
        return await self.chain.service(address(provider, "provider"), fresh=True)

    async def ledger(self, user: str | None = None) -> Ledger | None:
        """The user's ledger."""
        found = await self.chain.ledger(self.user(user))
        return None if found is None else Ledger(found.user, Amount(found.available), Amount(found.total))

    async def account(self, provider: str, user: str | None = None) -> SubAccount | None:
        """One sub-account."""
        found = await self.chain.account(self.user(user), address(provider, "provider"))
        return None if found is None else SubAccount.of(found)

    async def accounts(self, user: str | None = None) -> list[SubAccount]:
        """All sub-accounts of the user."""
        return [SubAccount.of(found) for found in await self.chain.accounts(self.user(user))]

    async def settlements(
        self, user: str | None = None, *, from_block: int | None = None, to_block: int | str = "latest"
    ) -> list[Settlement]:
        """Settlements of the user's calls."""
        return await read_settlements(
            self.chain.rpc,
            self.network,
            self.user(user),
            sleep=self._transport.sleep,
            from_block=from_block,
            to_block=to_block,
            on_progress=self.listener,
        )

    def user(self, user: str | None = None) -> str:
        """`user`, or the one meant by default.

        Raises:
            ConfigError: neither is there, or it is no address.
        """
        if user is not None:
            return address(user, "user")
        if self._user is not None:
            return self._user
        if self._sender is not None:
            return self._sender.wallet.address
        raise ConfigError("no user is named", code="no_user", hint="pass user='0x…', or use a wallet (private_key=…)")

    def wallet_of(self, user: str) -> Wallet | None:
        """The wallet, if it is this user's."""
        wallet = None if self._sender is None else self._sender.wallet
        return wallet if wallet is not None and same_address(wallet.address, user) else None

    # transactions

    async def pending(self) -> list[Intention]:
        """What was asked for, and had no clear end, as one look shows it now."""
        return await self.sender.unsettled()

    async def pending_transfers(self, provider: str) -> list[Intention]:
        """Transfers to a sub-account among them, whatever their amounts."""
        call = abi.Call.of(self.network.ledger, _TRANSFER, [provider, "", 0])
        return await self.sender.unsettled(call.to, call.data[: len("0x") + 2 * (4 + 32)])

    async def resume(self, intention: str) -> TransactionResult:
        """Wait on for one of them."""
        return await self.sender.resume(intention)

    async def add_ledger(self, amount: Amount, additional_info: str = "", *, again: bool = False) -> TransactionResult:
        """Make the ledger."""
        value = spendable(amount)
        if await self.chain.ledger(self.sender.wallet.address) is not None:
            raise ConfigError(
                f"{self.sender.wallet.address} has a ledger already",
                code="ledger_exists",
                hint="top it up with `zerog deposit` (Broker.deposit)",
            )
        _at_least(amount, MINIMUM_LEDGER, "a new ledger")
        return await self._ledger_call("addLedger(string)", [additional_info], value, again=again)

    async def deposit(self, amount: Amount, *, again: bool = False) -> TransactionResult:
        """Add to the wallet's ledger, or make it."""
        return await self._deposit(self.sender.wallet.address, amount, "depositFund()", [], again=again)

    async def deposit_for(self, recipient: str, amount: Amount, *, again: bool = False) -> TransactionResult:
        """Add to somebody's ledger, or make it."""
        owner = address(recipient, "recipient")
        if int(owner, 16) == 0:
            raise ConfigError("the zero address cannot have a ledger", code="bad_address", hint="check recipient")
        return await self._deposit(owner, amount, "depositFundFor(address)", [owner], again=again)

    async def _deposit(
        self, owner: str, amount: Amount, signature: str, arguments: Sequence[Any], *, again: bool
    ) -> TransactionResult:
        value = spendable(amount)
        if await self.chain.ledger(owner) is None:
            _at_least(amount, MINIMUM_LEDGER, "a new ledger")
        return await self._ledger_call(signature, arguments, value, again=again)

    async def transfer(
        self, provider: str, amount: Amount, again: bool = False, handed: Handed | None = None
    ) -> TransactionResult:
        """Move money from the ledger to a sub-account.

        Args:
            provider: Where the sub-account is.
            amount: How much.
            again: Send even if the same was asked for before and its end was unclear.
            handed: Filled with what may have reached a node, also when this fails.
        """
        value = spendable(amount, zero=True)
        provider, user = address(provider, "provider"), self.sender.wallet.address
        if same_address(provider, user):
            raise ConfigError(
                "a provider cannot be its own user", code="self_as_provider", hint="use a wallet other than provider's"
            )
        service, account = await self.chain.service_and_account(provider, user)
        ledger = await self.chain.ledger(user)
        if ledger is None:
            raise no_ledger(user)
        if account is None:
            _at_least(amount, MINIMUM_ACCOUNT, "a new sub-account")
        needed = value - min(value, 0 if account is None else account.pending_refund)
        if needed > ledger.available:
            raise InsufficientFunds(
                f"the ledger of {user} has {Amount(ledger.available)} available, {Amount(needed)} are needed",
                code="ledger_too_small",
                hint=f"run `zerog deposit {_bare(Amount(needed - ledger.available))}`, or `zerog retrieve` what other "
                "providers hold",
                available=ledger.available,
                needed=needed,
            )
        if not service.acknowledged:
            message = f"the contract owner has not acknowledged the signer of {provider}: it serves nobody for now"
            tell(self.listener, "service_not_acknowledged", message, provider=provider)
        name = await self.chain.service_name()
        try:
            result = await self._ledger_call(_TRANSFER, [provider, name, value], again=again, handed=handed)
        except ZeroGError as error:
            if "transaction" in error.details:  # it may be mined
                await self.note_change(provider)
            raise
        await self.note_change(provider)
        return result

    async def acknowledge(self, provider: str) -> TransactionResult | None:
        """Acknowledge the provider's signer; None if that was done already."""
        provider = address(provider, "provider")
        account = await self.own_account(provider)
        if account.acknowledged:
            return None
        result = await self.inference_call("acknowledgeTEESigner(address,bool)", [provider, True])
        await self.note_change(provider)
        return result

    async def retrieve(
        self, providers: Iterable[str] | None = None, *, again: bool = False
    ) -> tuple[TransactionResult, ...]:
        """Collect what is free and ask the rest back, in batches."""
        user = self.sender.wallet.address
        if await self.chain.ledger(user) is None:
            raise no_ledger(user)
        chosen = await self._retrievable(user, providers)
        name = await self.chain.service_name()
        batches = [chosen[n : n + PROVIDERS_PER_BATCH] for n in range(0, len(chosen), PROVIDERS_PER_BATCH)]
        done: list[TransactionResult] = []
        for number, batch in enumerate(batches, start=1):
            try:
                done.append(await self._ledger_call("retrieveFund(address[],string)", [batch, name], again=again))
            except ZeroGError as error:
                if len(batches) > 1:
                    error.message += f"; batch {number} of {len(batches)}, before it were mined: " + (
                        ", ".join(each.hash for each in done) or "none"
                    )
                    error.details |= {"done": tuple(done), "left": tuple(batch for batch in batches[number - 1 :])}
                raise
        return tuple(done)

    async def refund(self, amount: Amount | Literal["all"], *, again: bool = False) -> TransactionResult:
        """Pay out from the ledger to the wallet."""
        wanted = None if amount == "all" else spendable(amount)
        user = self.sender.wallet.address
        ledger = await self.chain.ledger(user)
        if ledger is None:
            raise no_ledger(user)
        value = ledger.available if wanted is None else wanted
        rest = ledger.available - value
        if rest < 0:
            raise InsufficientFunds(
                f"the ledger of {user} has {Amount(ledger.available)} available, not {Amount(value)}",
                code="ledger_too_small",
                hint="what lies in sub-accounts comes back with `zerog retrieve`",
                available=ledger.available,
                needed=value,
            )
        if 0 < rest < MINIMUM_LEDGER.units:
            most = max(ledger.available - MINIMUM_LEDGER.units, 0)
            raise ConfigError(
                f"a refund leaves nothing or at least {MINIMUM_LEDGER}; this one would leave {Amount(rest)}",
                code="below_minimum",
                hint=f"refund everything ({Amount(ledger.available)})"
                + (f", or at most {Amount(most)}" if most else ""),
            )
        return await self._ledger_call("refund(uint256)", [value], again=again)

    async def delete_ledger(self) -> TransactionResult:
        """Delete the empty ledger."""
        user = self.sender.wallet.address
        ledger = await self.chain.ledger(user)
        if ledger is None:
            raise no_ledger(user)
        if ledger.total:
            raise ConfigError(
                f"the ledger still holds {Amount(ledger.total)}, {Amount(ledger.locked)} of it in sub-accounts",
                code="ledger_not_empty",
                hint="run `zerog retrieve`, wait for the lock time, run it again, then `zerog refund all`",
            )
        return await self._ledger_call("deleteLedger()", [], again=True)  # it can be done once only

    @property
    def sender(self) -> Sender:
        """Who sends.

        Raises:
            ConfigError: this is read only.
        """
        if self._sender is None:
            raise ConfigError(
                "this needs a wallet",
                code="read_only",
                hint="use Broker(private_key=…) or set ZEROG_PRIVATE_KEY, instead of Broker.read_only()",
            )
        return self._sender

    async def own_account(self, provider: str) -> abi.Account:
        """The wallet's sub-account at `provider`.

        Raises:
            InsufficientFunds: there is none.
        """
        user = self.sender.wallet.address
        account = await self.chain.account(user, provider)
        if account is None:
            raise InsufficientFunds(
                f"{user} has no sub-account at provider {provider}",
                code="no_account",
                hint=f"run `zerog transfer {provider} 1.1`; it acknowledges the provider, too",
                provider=provider,
            )
        return account

    async def note_change(self, provider: str) -> None:
        """Remember that the provider may not have seen this account's last change yet."""
        sender = self.sender
        try:
            await self._transport.blocking(
                CHANGES.note, self.network.chain_id, sender.wallet.address, provider, sender.store
            )
        except ConfigError:  # the transaction is mined: a store that is full or gone must not make it look failed
            logger.exception("the store could not note a change of the account at %s", provider)

    async def inference_call(self, signature: str, arguments: Sequence[Any]) -> TransactionResult:
        """Send a transaction to InferenceServing: one that moves nothing, and may be repeated after an unclear end."""
        call = abi.Call.of(self.network.inference, signature, arguments)
        return await self.sender.send(signature.partition("(")[0], call.to, call.data, again=True)

    async def _ledger_call(
        self,
        signature: str,
        arguments: Sequence[Any],
        value: int = 0,
        *,
        again: bool = False,
        handed: Handed | None = None,
    ) -> TransactionResult:
        call = abi.Call.of(self.network.ledger, signature, arguments)
        name = signature.partition("(")[0]
        options: dict[str, Any] = {"again": True} if again else {}
        if handed is not None:
            options["handed"] = handed
        return await self.sender.send(name, call.to, call.data, value, **options)

    async def _retrievable(self, user: str, providers: Iterable[str] | None) -> list[str]:
        """Providers where a retrieval does something; a named one where it cannot is an error."""
        wanted = None if providers is None else dict.fromkeys(address(each, "provider") for each in providers)
        accounts = {account.provider: account for account in await self.chain.accounts(user)}
        if wanted is not None and (missing := [each for each in wanted if each not in accounts]):
            raise InsufficientFunds(
                f"{user} has no sub-account at {', '.join(missing)}",
                code="no_account",
                hint="see `zerog account`",
                provider=missing[0],
            )
        lock, now = await self.chain.lock_time(), await self._chain_time()
        chosen = []
        for provider in accounts if wanted is None else wanted:
            account = accounts[provider]
            locked = [refund for refund in account.refunds if refund.created_at + lock > now]
            if account.usable and len(locked) >= REFUNDS_PER_ACCOUNT:
                free = datetime.fromtimestamp(min(refund.created_at for refund in locked) + lock, UTC)
                message = (
                    f"{len(locked)} refunds are pending at {provider}, no more fit before {free:%Y-%m-%d %H:%M} UTC"
                )
                if wanted is not None:
                    raise ConfigError(message, code="too_many_refunds", hint="wait, or leave this provider out")
                tell(self.listener, "left_out", message, provider=provider)
            elif account.usable or len(locked) < len(account.refunds):
                chosen.append(provider)
        return chosen

    async def _chain_time(self) -> int:
        (block,) = await self.chain.rpc.batch([("eth_getBlockByNumber", ["latest", False])])
        return quantity(block.get("timestamp") if isinstance(block, dict) else block, "eth_getBlockByNumber")


def address(text: object, what: str) -> str:
    """`text` in EIP-55 capitals, whatever its case.

    Raises:
        ConfigError: it is no address, or a mistyped one.
    """
    try:
        return typed_address(text)
    except ValueError as error:
        raise ConfigError(f"{what}: {error}", code="bad_address", hint="copy it again") from None


def spendable(amount: object, *, zero: bool = False) -> int:
    """`amount` in neuron.

    Raises:
        ConfigError: not an `Amount` of 0G, or not positive.
    """
    if not isinstance(amount, Amount):
        raise ConfigError(
            f"an amount cannot be a {type(amount).__name__}",
            code="bad_amount",
            hint='write og("1.5") or neuron(10**18)',
        )
    if amount.currency != "0G":
        raise ConfigError(f"the contracts take 0G, not {amount.currency}", code="bad_amount", hint='write og("1.5")')
    if amount.units < 0 or (amount.units == 0 and not zero):
        raise ConfigError(f"the amount must be more than nothing, not {amount}", code="bad_amount")
    return amount.units


def no_ledger(user: str) -> InsufficientFunds:
    """The error for a user without a ledger."""
    return InsufficientFunds(f"{user} has no ledger", code="no_ledger", hint="run `zerog deposit 3` (at least 3 0G)")


def _at_least(amount: Amount, minimum: Amount, what: str) -> None:
    if amount < minimum:
        raise ConfigError(
            f"{what} takes at least {minimum}, not {amount}",
            code="below_minimum",
            hint=f"give {minimum} or more" + ("; 1.1 0G or more can also serve" if minimum == MINIMUM_ACCOUNT else ""),
        )


def _bare(amount: Amount) -> str:
    return str(amount).removesuffix(" 0G")
