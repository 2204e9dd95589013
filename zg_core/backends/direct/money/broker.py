"""`Broker` and `AsyncBroker`: discovery, accounts and money on the 0G network.

Thin shells over `zg_core.backends.direct.money.accounts`.
Nothing here spends unless a method that says so is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from zg_core.backends.direct.audit.charges import audited
from zg_core.backends.direct.money.accounts import Accounts, Ledger, SubAccount, address
from zg_core.chain.telling import told_by_now
from zg_core.chain.transactions import Sender, Sending, TransactionResult
from zg_core.config import Environment, Settings, check_url, conceal
from zg_core.contracts.reader import ChainReader
from zg_core.contracts.serving import SERVING
from zg_core.errors import ConfigError
from zg_core.http.transport import AsyncTransport, SyncTransport, run
from zg_core.shown.tracebacks import forgetful
from zg_core.store import Store
from zg_core.wallet import Wallet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from types import TracebackType

    from zg_core.audits.result import Audit
    from zg_core.chain.intentions import Intention
    from zg_core.config import Network, Secret
    from zg_core.contracts.settlements import Settlement
    from zg_core.money import Amount
    from zg_core.progress import Listener
    from zg_core.receipts.anchors import Anchor
    from zg_core.receipts.audited import Audited
    from zg_core.receipts.model import Receipt
    from zg_core.types import ServiceRecord

__all__ = ["AsyncBroker", "Broker"]

_NOBODY: Any = object()


@forgetful
class _Broker:
    """What both brokers share: settings checked and parts put together, without I/O."""

    _transport: SyncTransport | AsyncTransport

    def __init__(
        self,
        *,
        private_key: str | Secret | None = None,
        wallet: Wallet | None = None,
        user: str | None = None,
        network: str | Network | None = None,
        rpc_url: str | None = None,
        ledger: str | None = None,
        inference: str | None = None,
        store: str | Store | None = None,
        sending: Sending | None = None,
        ca_file: str | None = None,
        on_progress: Listener | None = None,
        allow_private_providers: bool | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Make a broker; nothing is read or sent yet.

        Args:
            private_key: The wallet's key; default ``ZEROG_PRIVATE_KEY``.
            wallet: A `Wallet`, for keystore files and secrets managers.
            user: Whose ledger and accounts the reading methods mean when they are not told; default the wallet's.
            network: ``"mainnet"``, ``"testnet"`` (default), ``"local"`` or a `Network`.
            rpc_url: JSON-RPC endpoint instead of the network's own.
            ledger: LedgerManager address instead of the network's own.
            inference: InferenceServing address instead of the network's own.
            store: Where nonces are kept; default ``ZEROG_STORE``, else ``memory:``. All processes and machines that
                send with one wallet share one.
            sending: How long to wait for transactions, when to replace them, and what their gas may cost at most.
            ca_file: A certificate authority to trust instead of the system's.
            on_progress: Called with a `Progress` at every step of a transaction.
            allow_private_providers: Whether the URLs that the chain names may lead to this machine and into private
                networks, as for `ChatClient`.
            environ: Environment to read instead of ``os.environ``.

        Raises:
            ConfigError: a setting is missing or malformed.
        """
        # A traceback can show the locals of every frame: nothing in this one is a key from here on.
        private_key, environ = conceal(private_key), Environment(environ)
        reads_only = wallet is _NOBODY
        settings = Settings.resolve(
            network=network,
            rpc_url=rpc_url,
            ledger=ledger,
            inference=inference,
            private_key=private_key if wallet is None else "",
            store=store if isinstance(store, str) else None,
            allow_private_providers=allow_private_providers,
            environ=environ,
        )
        self.network = settings.network
        """The chain and its contracts."""
        check_url(self.network.rpc_url, "rpc_url", secure=False)
        if wallet is None:
            if settings.private_key is None:
                raise ConfigError(
                    "no wallet is set",
                    code="no_wallet",
                    hint="set ZEROG_PRIVATE_KEY or pass private_key=…; Broker.read_only() needs none",
                )
            wallet = Wallet.from_key(settings.private_key)
        self.store = store if isinstance(store, Store) else Store.open(settings.store)
        """Where nonces are kept."""
        self._transport = self._make_transport(ca_file)
        sender = None
        if not reads_only:
            sender = Sender(
                self.network,
                self._transport,
                wallet,
                store=self.store,
                sending=sending,
                contracts=SERVING,
                on_progress=on_progress,
            )
        owner = None if user is None else address(user, "user")
        chain = ChainReader(self.network, self._transport)
        self.core = Accounts(chain, self._transport, sender=sender, user=owner, on_progress=on_progress)
        """The same as coroutines, for parts that are written once for both brokers."""

    @classmethod
    def read_only(cls, **options: Any) -> Self:
        """A broker without a wallet: it can read everything and spend nothing.

        Args:
            **options: ``user``, ``network``, ``rpc_url``, ``ledger``, ``inference``, ``ca_file``, ``environ``, as for a
                broker with a wallet.
        """
        return cls(wallet=_NOBODY, **options)

    def _make_transport(self, ca_file: str | None) -> SyncTransport | AsyncTransport:
        raise NotImplementedError

    @property
    def address(self) -> str:
        """The wallet's address; for a read-only broker, its user's.

        Raises:
            ConfigError: it has neither.
        """
        return self.core.user()

    @property
    def transport(self) -> SyncTransport | AsyncTransport:
        """How this broker reaches the network."""
        return self._transport

    def __repr__(self) -> str:
        return f"{type(self).__name__}(network={self.network.name!r})"

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("brokers are not pickled; make one in each process, with the same store")


@forgetful
class Broker(_Broker):
    """Reads the market, and moves the wallet's money when told to; blocking.

    Example:
        >>> broker = Broker.read_only(network="testnet", environ={})
        >>> broker.network.chain_id
        16602
        >>> broker.close()
    """

    _transport: SyncTransport

    def _make_transport(self, ca_file: str | None) -> SyncTransport:
        return SyncTransport(ca_file)

    def services(self) -> list[ServiceRecord]:
        """All services on chain, unacknowledged ones included.

        Raises:
            ChainError: the chain cannot be read; as for every method.
            WrongChain: the RPC answers for another chain; as for every method.
        """
        return run(self.core.chain.services())

    def service(self, provider: str) -> ServiceRecord:
        """The service of one provider, read fresh.

        Raises:
            ConfigError: there is none (``unknown_provider``), or this is no address.
        """
        return run(self.core.service(provider))

    def ledger(self, user: str | None = None) -> Ledger | None:
        """The ledger of the wallet (or of `user`), None if there is none."""
        return run(self.core.ledger(user))

    def account(self, provider: str, user: str | None = None) -> SubAccount | None:
        """The sub-account at `provider`, None if there is none."""
        return run(self.core.account(provider, user))

    def accounts(self, user: str | None = None) -> list[SubAccount]:
        """All sub-accounts of the wallet (or of `user`)."""
        return run(self.core.accounts(user))

    def settlements(
        self, user: str | None = None, *, from_block: int | None = None, to_block: int | str = "latest"
    ) -> list[Settlement]:
        """What providers charged the wallet (or `user`) on chain, oldest first, with the TEE signer of each.

        Args:
            user: Whose, instead of the wallet's.
            from_block: First block; without it the first in which the wallet had sent a transaction.
            to_block: Last block.

        A long range is read in pieces as large as the node allows; `on_progress` is told how far it is.
        """
        return run(self.core.settlements(user, from_block=from_block, to_block=to_block))

    def audit(
        self,
        receipts: Iterable[Receipt | Audited],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        from_block: int | None = None,
    ) -> Audit:
        """Receipts of the wallet beside what providers settled on chain, and say that they have still to collect.

        Args:
            receipts: All of the wallet's, such as `ReceiptStore.audited` gives; those of other backends are left out.
            since: Begin of the period; default the first receipt of each provider.
            until: End of the period; default now.
            from_block: As of `settlements`.

        Raises:
            ChainError: the chain cannot be read.
        """
        return run(audited(self.core, self.transport, receipts, since=since, until=until, from_block=from_block))

    def anchor(self, receipt: Receipt) -> Anchor:
        """What the chain says of a receipt's provider, for `zg_core.receipts.check`.

        Raises:
            ConfigError: the receipt is of another chain or contract (code ``other_network``).
        """
        return run(_anchor(self.core, receipt))

    def lock_time(self) -> int:
        """Seconds from `retrieve` until the money is free."""
        return run(self.core.chain.lock_time())

    def service_name(self) -> str:
        """The name under which the ledger knows the serving contract, such as ``"inference-v1.0"``."""
        return run(self.core.chain.service_name())

    def pending(self) -> list[Intention]:
        """Transactions of the wallet that were asked for and had no clear end, as one look shows them now.

        Each is listed once more when its end has become clear: ``mined``, ``reverted`` or ``dropped``; ``unclear`` ones
        may still be mined. `resume` waits for one. They are remembered where nonces are, with a ``memory:`` store for
        as long as the process lives. Sends nothing.
        """
        return run(self.core.pending())

    def resume(self, intention: str) -> TransactionResult:
        """Wait on for a transaction of `pending` by its id, and hand it to the node again where that lacks it.

        Raises:
            ConfigError: there is none (``unknown_intention``).
            TransactionReverted: it was mined and did nothing.
            ChainError: it was dropped (``nonce_taken``), its nonce is in use now (``transaction_busy``), or it is still
                not seen mined (``transaction_pending``).
        """
        return run(self.core.resume(intention))

    def add_ledger(self, amount: Amount, additional_info: str = "", *, again: bool = False) -> TransactionResult:
        """Make the wallet's ledger with at least 3 0G. `deposit` does the same, and tops up one that exists.

        Args:
            amount: How much.
            additional_info: A text for the ledger.
            again: Send even if the same was asked for before and its end was unclear. As for every spending method.

        Raises:
            ConfigError: too little (``below_minimum``), or there is one (``ledger_exists``); nothing was sent.
            InsufficientFunds: the wallet holds too little; nothing was sent. As for every spending method.
            TransactionReverted: the contract refuses. As for every spending method.
            ChainError: the chain cannot be reached, or gas would cost more than ``Sending`` allows
                (``gas_too_expensive``); nothing was sent. The transaction was not seen mined in time, or the same was
                asked for before and may still be mined (``transaction_pending``), or is mined since
                (``transaction_mined``): see `pending`. As for every spending method.
        """
        return run(self.core.add_ledger(amount, additional_info, again=again))

    def deposit(self, amount: Amount, *, again: bool = False) -> TransactionResult:
        """Move money from the wallet to its ledger; the first time at least 3 0G.

        Raises:
            ConfigError: too little for a new ledger (``below_minimum``); nothing was sent.
        """
        return run(self.core.deposit(amount, again=again))

    def deposit_for(self, recipient: str, amount: Amount, *, again: bool = False) -> TransactionResult:
        """Move money from the wallet to somebody else's ledger; at least 3 0G if that is new.

        Raises:
            ConfigError: `recipient` is no address, or mistyped (``bad_address``); nothing was sent.
        """
        return run(self.core.deposit_for(recipient, amount, again=again))

    def transfer(self, provider: str, amount: Amount, *, again: bool = False) -> TransactionResult:
        """Move money from the ledger to the sub-account at `provider`, which also acknowledges its signer.

        Pending refunds there are cancelled first, without moving coins. A new sub-account takes at least 1 0G; to be
        served it needs about 1.1 0G, since providers keep 1 0G in reserve. The provider may take 2 minutes to see it;
        clients of this process wait for that.

        Raises:
            ConfigError: unknown provider, the wallet itself, or too little (``below_minimum``); nothing was sent.
            InsufficientFunds: no ledger (``no_ledger``) or too little in it (``ledger_too_small``); nothing was sent.
        """
        return run(self.core.transfer(provider, amount, again=again))

    def acknowledge(self, provider: str) -> TransactionResult | None:
        """Acknowledge the provider's TEE signer; None if that is done already, as it is after a transfer.

        Raises:
            InsufficientFunds: there is no sub-account (``no_account``).
        """
        return run(self.core.acknowledge(provider))

    def retrieve(self, providers: Iterable[str] | None = None, *, again: bool = False) -> tuple[TransactionResult, ...]:
        """Collect refunds whose lock time is over into the ledger, and ask back all the rest of the sub-accounts.

        So money comes back with two calls, the lock time apart. Sent in batches of 20 providers.

        Args:
            providers: Which sub-accounts; None for all where there is something to do.
            again: As for every spending method.

        Returns:
            One result for each batch; none if there is nothing to do.

        Raises:
            ConfigError: five refunds are pending at a provider that was named (``too_many_refunds``).
            ZeroGError: of a later batch; ``details["done"]`` holds the results of those before it.
        """
        return run(self.core.retrieve(providers, again=again))

    def refund(self, amount: Amount | Literal["all"], *, again: bool = False) -> TransactionResult:
        """Pay out from the ledger to the wallet. Nothing or at least 3 0G may stay; at 0 in all the ledger is deleted.

        Raises:
            ConfigError: the rest would be too small (``below_minimum``).
            InsufficientFunds: the ledger has less available (``ledger_too_small``), or there is none (``no_ledger``).
        """
        return run(self.core.refund(amount, again=again))

    def delete_ledger(self) -> TransactionResult:
        """Delete the empty ledger.

        Raises:
            ConfigError: it is not empty (``ledger_not_empty``).
        """
        return run(self.core.delete_ledger())

    def close(self) -> None:
        """Close the connections."""
        told_by_now(self.store)
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@forgetful
class AsyncBroker(_Broker):
    """Async twin of `Broker`; one object serves many event loops, one after the other or at once."""

    _transport: AsyncTransport

    def _make_transport(self, ca_file: str | None) -> AsyncTransport:
        return AsyncTransport(ca_file)

    async def services(self) -> list[ServiceRecord]:
        """See `Broker.services`."""
        return await self.core.chain.services()

    async def service(self, provider: str) -> ServiceRecord:
        """See `Broker.service`."""
        return await self.core.service(provider)

    async def ledger(self, user: str | None = None) -> Ledger | None:
        """See `Broker.ledger`."""
        return await self.core.ledger(user)

    async def account(self, provider: str, user: str | None = None) -> SubAccount | None:
        """See `Broker.account`."""
        return await self.core.account(provider, user)

    async def accounts(self, user: str | None = None) -> list[SubAccount]:
        """See `Broker.accounts`."""
        return await self.core.accounts(user)

    async def settlements(
        self, user: str | None = None, *, from_block: int | None = None, to_block: int | str = "latest"
    ) -> list[Settlement]:
        """See `Broker.settlements`."""
        return await self.core.settlements(user, from_block=from_block, to_block=to_block)

    async def audit(
        self,
        receipts: Iterable[Receipt | Audited],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        from_block: int | None = None,
    ) -> Audit:
        """See `Broker.audit`."""
        return await audited(self.core, self.transport, receipts, since=since, until=until, from_block=from_block)

    async def anchor(self, receipt: Receipt) -> Anchor:
        """See `Broker.anchor`."""
        return await _anchor(self.core, receipt)

    async def lock_time(self) -> int:
        """See `Broker.lock_time`."""
        return await self.core.chain.lock_time()

    async def service_name(self) -> str:
        """See `Broker.service_name`."""
        return await self.core.chain.service_name()

    async def pending(self) -> list[Intention]:
        """See `Broker.pending`."""
        return await self.core.pending()

    async def resume(self, intention: str) -> TransactionResult:
        """See `Broker.resume`."""
        return await self.core.resume(intention)

    async def add_ledger(self, amount: Amount, additional_info: str = "", *, again: bool = False) -> TransactionResult:
        """See `Broker.add_ledger`."""
        return await self.core.add_ledger(amount, additional_info, again=again)

    async def deposit(self, amount: Amount, *, again: bool = False) -> TransactionResult:
        """See `Broker.deposit`."""
        return await self.core.deposit(amount, again=again)

    async def deposit_for(self, recipient: str, amount: Amount, *, again: bool = False) -> TransactionResult:
        """See `Broker.deposit_for`."""
        return await self.core.deposit_for(recipient, amount, again=again)

    async def transfer(self, provider: str, amount: Amount, *, again: bool = False) -> TransactionResult:
        """See `Broker.transfer`."""
        return await self.core.transfer(provider, amount, again=again)

    async def acknowledge(self, provider: str) -> TransactionResult | None:
        """See `Broker.acknowledge`."""
        return await self.core.acknowledge(provider)

    async def retrieve(
        self, providers: Iterable[str] | None = None, *, again: bool = False
    ) -> tuple[TransactionResult, ...]:
        """See `Broker.retrieve`."""
        return await self.core.retrieve(providers, again=again)

    async def refund(self, amount: Amount | Literal["all"], *, again: bool = False) -> TransactionResult:
        """See `Broker.refund`."""
        return await self.core.refund(amount, again=again)

    async def delete_ledger(self) -> TransactionResult:
        """See `Broker.delete_ledger`."""
        return await self.core.delete_ledger()

    async def close(self) -> None:
        """Finish background work of this event loop and close its connections."""
        await self._transport.blocking(told_by_now, self.store)
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _anchor(core: Accounts, receipt: Receipt) -> Anchor:
    from zg_core.backends.direct.audit.anchors import chain_anchor

    return await chain_anchor(receipt, core.chain)
