"""A payer's side of OpenGradient: funds, approval, and what became of payments. Thin shells, one blocking, one not."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from zg_core.audits.bills import audit_bills
from zg_core.backends.opengradient import publication, settlement
from zg_core.backends.opengradient.doctor import Finding, examine
from zg_core.backends.opengradient.funds import Approval, Funds, approve_call, funds_of, wanted
from zg_core.backends.opengradient.options import OpenGradient, is_local
from zg_core.backends.opengradient.settlement import bill_of
from zg_core.chain.rpc import JsonRpc
from zg_core.chain.transactions import Sender
from zg_core.config import KEY_NAMES, Environment, Network, Secret, conceal
from zg_core.errors import ChainError, ConfigError, InsufficientFunds
from zg_core.http.transport import AsyncTransport, SyncTransport, run
from zg_core.money import Amount
from zg_core.shown.tracebacks import clears_locals, forgetful
from zg_core.store import Store
from zg_core.verify.schemes.rsa_pss import Signed
from zg_core.wallet import Wallet, missing_credential

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zg_core.audits.result import Audit
    from zg_core.backends.opengradient.publication import Publication
    from zg_core.backends.opengradient.settlement import Settlement
    from zg_core.chain.transactions import Sending
    from zg_core.progress import Listener
    from zg_core.receipts.model import Receipt

__all__ = ["AsyncOpenGradientAccount", "OpenGradientAccount", "ensure_opg_approval"]


@forgetful
class _Account:
    """What both share: settings checked and parts put together, without I/O."""

    _transport: SyncTransport | AsyncTransport

    def __init__(
        self,
        options: OpenGradient | None = None,
        *,
        private_key: str | Secret | None = None,
        wallet: Wallet | None = None,
        store: str | Store | None = None,
        sending: Sending | None = None,
        ca_file: str | None = None,
        on_progress: Listener | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Make it; nothing is read or sent yet.

        Args:
            options: Where OpenGradient is; its defaults if not given.
            private_key: The wallet's key; default ``ZEROG_PRIVATE_KEY``, else ``OG_PRIVATE_KEY``.
            wallet: A `Wallet`, for keystore files and secrets managers.
            store: Where the numbers of transactions are kept; default ``ZEROG_STORE``, else ``memory:``.
            sending: How long to wait for transactions, and what their gas may cost at most.
            ca_file: A certificate authority to trust instead of the system's.
            on_progress: Called with a `Progress` at every step of a transaction.
            environ: Environment to read instead of ``os.environ``.

        Raises:
            ConfigError: a setting is malformed.
        """
        private_key, variables = conceal(private_key), Environment(environ)
        environ = None
        self.options = (options or OpenGradient()).placed(variables)
        """Where OpenGradient is, and what is allowed."""
        key = private_key or (conceal(variables.first(*KEY_NAMES, "OG_PRIVATE_KEY")) if wallet is None else None)
        self._wallet = wallet or (None if key is None else Wallet.from_key(key))
        self._transport = self._make_transport(ca_file)
        self.registry_url, self.rpc_url = self.options.urls(variables)
        name = "local" if is_local(self.rpc_url) else "base"
        self.network = Network(name, self.options.chain_id, self.rpc_url, "", "")
        """The chain where calls are paid."""
        place = store or variables.get("ZEROG_STORE") or "memory:"
        self._store = place if isinstance(place, Store) else Store.open(place)
        self._sending = sending
        self._listener = on_progress
        self._rpc = JsonRpc(self.rpc_url, self._transport)

    def _make_transport(self, ca_file: str | None) -> SyncTransport | AsyncTransport:
        raise NotImplementedError

    @property
    def address(self) -> str:
        """Who pays.

        Raises:
            ConfigError: nobody does (code ``no_credential``).
        """
        return self._payer().address

    def _payer(self) -> Wallet:
        if self._wallet is None:
            raise missing_credential()
        return self._wallet

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._wallet!r}, chain_id={self.options.chain_id})"

    async def _funds(self) -> Funds:
        return await funds_of(self._rpc, self.options.token, self.options.chain_id, self.address)

    async def _ensure(self, min_allowance: Any, approve_amount: Any) -> Approval:
        least, most = wanted(min_allowance, approve_amount)
        before = await self._funds()
        if before.allowance.units >= least:
            return Approval(before.allowance, before.allowance)
        if before.balance.units < least:
            raise InsufficientFunds(
                f"the account holds {before.balance}, and {Amount(least, 'OPG')} are to be approved; nothing was sent",
                code="opg_insufficient",
                hint="buy OPG on Base, or approve less",
                of_payer=True,
            )
        sender = Sender(
            self.network,
            self._transport,
            self._payer(),
            store=self._store,
            sending=self._sending,
            on_progress=self._listener,
        )
        result = await sender.send("approve", self.options.token, "0x" + approve_call(most).hex())
        after = await self._funds()
        return Approval(before.allowance, after.allowance, result.hash)

    async def _settlement(self, receipts: Iterable[Receipt]) -> Settlement:
        chosen = list(receipts)
        if not chosen or any(each.backend != "opengradient" for each in chosen):
            raise ConfigError("no receipt of OpenGradient", code="no_payment", hint="pass receipts of this backend")
        facts = chosen[0].grant
        if "nonce" not in facts:
            return settlement.Settlement("unused", reason="nothing was paid: the gateway asked for nothing")
        own = [each for each in chosen if each.grant.get("nonce") == facts["nonce"]]
        began = min(each.started_at for each in own).timestamp()
        found = await settlement.find(self._rpc, facts, since=began, now=time.time())
        claimed = Amount(sum(each.fee.amount.units for each in own if each.outcome != "refused"), "OPG")
        return settlement.with_claims(found, len(own), claimed)

    async def _audit(self, receipts: Iterable[Receipt]) -> Audit:
        permits: dict[str, list[Receipt]] = {}
        for receipt in receipts:
            if receipt.backend == "opengradient":
                permits.setdefault(str(receipt.grant.get("nonce", f"without {receipt.id}")), []).append(receipt)
        bills = [bill_of(own, await self._settlement(own)) for own in permits.values()]
        return audit_bills(bills, backend="opengradient")

    async def _became(self, receipt: Receipt) -> Settlement:
        found = await self._settlement([receipt])
        try:
            published = await self._publication(receipt)
        except ChainError as error:  # of another chain than the payment's, which is known
            mode = str(receipt.grant.get("mode") or "batch")
            published = publication.Publication("not_located", mode, reason=error.message)
        return replace(found, publication=published)

    async def _publication(self, receipt: Receipt) -> Publication:
        mode = str(receipt.grant.get("mode") or "batch")
        signed = Signed.of_text(receipt.evidence.signed_text, receipt.evidence.signature)
        if signed is None:
            return publication.Publication("not_located", mode, reason="the receipt holds no signature")
        rpc = JsonRpc(self.registry_url, self._transport)
        return await publication.find(
            rpc,
            self._transport,
            mode=mode,
            tee_id=receipt.provider,
            signed=signed,
            relay=self.options.relay,
            blobs_url=self.options.blobs_url,
        )

    async def _doctor(self, model: str) -> list[Finding]:
        address = None if self._wallet is None else self._wallet.address
        urls = self.registry_url, self.rpc_url
        return await examine(self.options, self._transport, urls, payer=address, model=model)


class OpenGradientAccount(_Account):
    """Funds, approval and payments of one account.

    Example:
        >>> account = OpenGradientAccount(private_key="0x" + "11" * 32, environ={})
        >>> account.address
        '0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A'
    """

    _transport: SyncTransport

    def _make_transport(self, ca_file: str | None) -> SyncTransport:
        return SyncTransport(ca_file)

    def funds(self) -> Funds:
        """Balance, allowance and money for gas.

        Raises:
            ChainError: the chain cannot be read.
        """
        return run(self._funds())

    def ensure_approval(self, min_allowance: Any, approve_amount: Any = None) -> Approval:
        """Let payments take tokens, if they may take less than `min_allowance` now: sends at most one transaction.

        Args:
            min_allowance: An `Amount` of OPG, or whole OPG as int or text.
            approve_amount: What is approved then; twice as much by default. Never without a limit.

        Raises:
            ConfigError: an amount is none (code ``bad_amount``).
            InsufficientFunds: the account holds less.
            ChainError: the chain cannot be read, or the transaction's end is unclear (``transaction_pending``).
        """
        return run(self._ensure(min_allowance, approve_amount))

    def settlement(self, *receipts: Receipt) -> Settlement:
        """What became of the permit that the first of these receipts was paid by; the others say who shared it.

        Raises:
            ChainError: the chain cannot be read.
        """
        return run(self._settlement(receipts))

    def audit(self, receipts: Iterable[Receipt]) -> Audit:
        """Receipts beside what was taken on chain by the permits that they name; those of other backends are left out.

        Pass all receipts of the payer: a permit that other calls share looks as if too much were taken.

        Raises:
            ChainError: the chain cannot be read.
        """
        return run(self._audit(receipts))

    def publication(self, receipt: Receipt) -> Publication:
        """Where hashes of an answer were published.

        Raises:
            ChainError: the chain cannot be read.
        """
        return run(self._publication(receipt))

    def became(self, receipt: Receipt) -> Settlement:
        """Both of one receipt: its permit's settlement, and in that its `publication`. See `Receipt.settlement`."""
        return run(self._became(receipt))

    def doctor(self, model: str = "openai/gpt-5") -> list[Finding]:
        """Look at registry, enclaves, attestation, challenge, policy and funds, without paying."""
        return run(self._doctor(model))

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncOpenGradientAccount(_Account):
    """Async twin of `OpenGradientAccount`."""

    _transport: AsyncTransport

    def _make_transport(self, ca_file: str | None) -> AsyncTransport:
        return AsyncTransport(ca_file)

    async def funds(self) -> Funds:
        """See `OpenGradientAccount.funds`."""
        return await self._funds()

    async def ensure_approval(self, min_allowance: Any, approve_amount: Any = None) -> Approval:
        """See `OpenGradientAccount.ensure_approval`."""
        return await self._ensure(min_allowance, approve_amount)

    async def settlement(self, *receipts: Receipt) -> Settlement:
        """See `OpenGradientAccount.settlement`."""
        return await self._settlement(receipts)

    async def audit(self, receipts: Iterable[Receipt]) -> Audit:
        """See `OpenGradientAccount.audit`."""
        return await self._audit(receipts)

    async def publication(self, receipt: Receipt) -> Publication:
        """See `OpenGradientAccount.publication`."""
        return await self._publication(receipt)

    async def became(self, receipt: Receipt) -> Settlement:
        """See `OpenGradientAccount.became`."""
        return await self._became(receipt)

    async def doctor(self, model: str = "openai/gpt-5") -> list[Finding]:
        """See `OpenGradientAccount.doctor`."""
        return await self._doctor(model)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@clears_locals
def ensure_opg_approval(min_allowance: Any, approve_amount: Any = None, **settings: Any) -> Approval:
    """Let payments of OpenGradient take tokens, if they may take less than `min_allowance` now.

    Args:
        min_allowance: An `Amount` of OPG, or whole OPG as int or text.
        approve_amount: What is approved then; twice as much by default. Never without a limit.
        settings: What `OpenGradientAccount` takes: ``private_key``, ``options``, ….

    Raises:
        ConfigError: an amount is none (code ``bad_amount``), or there is no wallet (``no_credential``).
        InsufficientFunds: the account holds less.
        ChainError: the chain cannot be read, or the transaction's end is unclear.
    """
    with OpenGradientAccount(**settings) as account:
        return account.ensure_approval(min_allowance, approve_amount)
