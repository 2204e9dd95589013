"""Everything one provider knows: its keys, prices, caches, limits, signatures, book and faults."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.keys import Key, checksum_address
from zg_core.localnet.provider.billing import BillingLog, Prices, Usage
from zg_core.localnet.provider.faults import Fault, FaultPlan, FaultSet
from zg_core.localnet.provider.limits import Limits
from zg_core.localnet.provider.onchain import Registration, additional_info
from zg_core.localnet.provider.settlement import MAX_USERS, SettlementRecord, UserSettlement, requests_hash
from zg_core.localnet.provider.signing import SignatureShelf
from zg_core.localnet.provider.tokens import TokenChecker
from zg_core.localnet.services.adapters import Adapter, Adapters
from zg_core.localnet.services.jobs import ImageShelf, Jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zg_core.localnet.base.clock import Clock
    from zg_core.localnet.hardware.attestation import Enclave
    from zg_core.localnet.model.upstream import Upstream
    from zg_core.localnet.provider.billing import BillingEntry
    from zg_core.localnet.provider.onchain import ChainAccount, ChainSide
    from zg_core.localnet.provider.settings import ProviderSettings, ProviderSpec
    from zg_core.localnet.provider.signing import ChatSignature


@dataclass(frozen=True)
class RecordedRequest:
    """One HTTP request as it arrived. Time in unix seconds."""

    method: str
    path: str
    time: float
    body_sha256: str
    authorized: bool
    """Whether it carried an Authorization header."""


@dataclass(frozen=True)
class PastExchange:
    """A finished, honest exchange, kept so that a fault can replay it."""

    user: str
    chat_key: str
    path: str
    stream: bool
    pieces: tuple[bytes, ...]
    usage: Usage | None
    signature: ChatSignature
    content_type: str = "application/json"


@dataclass(frozen=True)
class SavedState:
    """A copy of a provider's state, for `ProviderState.restore`."""

    tee_key: Key
    enclave_key: Key
    input_price: int
    output_price: int
    shelf: dict[str, Any]
    log: list[Any]
    past: tuple[PastExchange, ...]
    settlements: tuple[SettlementRecord, ...]
    requests: int


class ProviderState:
    """The state of one provider, shared by its HTTP routes and its Python face.

    Args:
        spec: what it is.
        settings: how strict it is.
        key: its account on chain.
        side: its contract calls.
        clock: the network's time.
        upstream: what answers.
        enclave: its attestation.
    """

    def __init__(
        self,
        spec: ProviderSpec,
        settings: ProviderSettings,
        *,
        key: Key,
        side: ChainSide,
        clock: Clock,
        upstream: Upstream,
        enclave: Enclave,
    ) -> None:
        self.spec = spec
        self.settings = settings
        self.key = key
        self.side = side
        self.clock = clock
        self.upstream = upstream
        self.enclave = enclave
        self.url = ""
        self.tee_key = Key.random()
        self.enclave_key = Key.random()
        self.operators_key = Key.random()
        """What the operator would like prompts to be sealed to."""
        self.quote_fault = ""
        """What is wrong with the quote that shows the encryption key (`LocalProvider.quote_fault`)."""
        self.input_price = spec.input_price
        self.output_price = spec.output_price
        self.adapter = (
            adapter_name(spec.model, adapter_task(key.address))
            if spec.lora and spec.service_type == "chatbot"
            else None
        )
        self.adapters = Adapters(_adapters_of(spec, key.address) if self.adapter else [])
        self.jobs = Jobs(clock.now, settings.image_ttl)
        self.images = ImageShelf(clock.now, settings.image_ttl)
        self.limits = Limits(settings, clock.now, spec.context_length)
        self.faults = FaultPlan()
        self.shelf = SignatureShelf(clock.now)
        self.log = BillingLog()
        self.past: deque[PastExchange] = deque(maxlen=512)
        self.requests: list[RecordedRequest] = []
        self.settlements: list[SettlementRecord] = []
        self.tokens = TokenChecker(key.address, settings, now=clock.now, account=self.account)
        self.wake = threading.Event()
        self._accounts: dict[str, tuple[float, ChainAccount]] = {}
        self._acknowledged: tuple[float, bool] | None = None
        self._identities: Iterator[str] = _cycle(spec.identities)
        self.change_lock = threading.RLock()
        self._last_nonce = 0
        self._last_forced = clock.now()

    @property
    def address(self) -> str:
        """The provider's address on chain."""
        return self.key.address

    @property
    def signing_key(self) -> Key:
        """The key responses are signed with: the model's enclave's where it is separate."""
        return self.enclave_key if self.spec.kind == "TeeML-separated" else self.tee_key

    @property
    def prices(self) -> Prices:
        """What requests are billed at now."""
        spec = self.spec
        inward, outward = self.input_price, self.output_price
        if spec.usd_prices is not None:
            inward, outward = (int(Fraction(price) * spec.usd_rate) for price in spec.usd_prices)
        return Prices(inward, outward, spec.tiers, spec.cache_divisor)

    def next_identity(self) -> str:
        """The vendor that answers the next TeeTLS request; they take turns."""
        return next(self._identities)

    # reads of the chain, cached

    def account(self, user: str) -> ChainAccount | None:
        """The user's sub-account, at most `account_cache` seconds old; None (never remembered) if there is none."""
        try:
            user = checksum_address(user)
        except ValueError:
            return None
        now = self.clock.now()
        cached = self._accounts.get(user)
        if cached is not None and cached[0] > now:
            return cached[1]
        account = self.side.account(user)
        if account is not None:
            self._accounts[user] = (now + self.settings.account_cache, account)
        return account

    def signer_acknowledged(self) -> bool:
        """Whether the owner has acknowledged the signer, at most `service_cache` seconds old."""
        now = self.clock.now()
        if self._acknowledged is None or self._acknowledged[0] <= now:
            self._acknowledged = (now + self.settings.service_cache, self.side.signer_acknowledged())
        return self._acknowledged[1]

    def drop_caches(self) -> None:
        """Read the chain anew on the next request."""
        self._accounts.clear()
        self._acknowledged = None
        self.tokens.forget()

    # changes of the registration

    def register(self, *, first: bool = False) -> None:
        """Write the current record on chain."""
        spec = self.spec
        self.side.register(
            Registration(
                service_type=spec.service_type,
                url=self.url,
                model=spec.model,
                verifiability="standard" if spec.kind == "standard" else "TeeML",
                input_price=self.input_price,
                output_price=self.output_price,
                additional_info=additional_info(spec, target_tee_address=self.enclave_key.address),
                tee_signer=self.tee_key.address,
            ),
            first=first,
        )
        self._acknowledged = None

    def acknowledge(self) -> None:
        """The contract owner confirms the signer."""
        self.side.acknowledge()
        self._acknowledged = None

    def revoke_acknowledgement(self) -> None:
        """The contract owner takes the confirmation back."""
        self.side.revoke_acknowledgement()
        self._acknowledged = None

    def set_price(self, input_price: int, output_price: int) -> None:
        """Change the prices, on chain and for billing. Neuron per token."""
        with self.change_lock:
            self.input_price, self.output_price = input_price, output_price
            self.register()

    def rotate_signer(self, *, acknowledged: bool = True) -> None:
        """Start using new enclave keys, registered on chain and, unless told otherwise, confirmed by the owner."""
        with self.change_lock:
            self.tee_key, self.enclave_key = Key.random(), Key.random()
            self.register()
            if acknowledged:
                self.acknowledge()

    # settlement

    def settle(self, *, older_than: float = 0.0) -> list[SettlementRecord]:
        """Collect fees on chain: one item a user, at most 50 users a transaction.

        Args:
            older_than: leave requests alone that are younger than this, in seconds.

        Returns:
            One record per transaction; empty if nothing was due.
        """
        with self.change_lock:
            return self._settle(self.log.due(not_after=self.clock.now() - older_than))

    def settle_due(self) -> None:
        """What the background loop does every `settle_interval`: old requests, and at times all of them.

        Users who cannot pay now are left out, and everybody while the signer is not acknowledged: such a settlement
        would only be refused, again and again.
        """
        with self.change_lock:
            now = self.clock.now()
            force = now - self._last_forced >= self.settings.settle_force_interval
            if force:
                self._last_forced = now
            due = self.log.due(not_after=now - (0.0 if force else self.settings.settle_buffer))
            if due and self.side.signer_acknowledged():
                self._settle({user: entries for user, entries in due.items() if self._can_pay(user)})

    def _can_pay(self, user: str) -> bool:
        account = self.side.account(user)
        return account is not None and account.acknowledged and account.balance > 0

    def _settle(self, due: dict[str, list[BillingEntry]]) -> list[SettlementRecord]:
        users = sorted(due)
        faults = self.faults.take_for_settlement() if users else FaultSet()
        inflated = Fault.SETTLEMENT_INFLATED in faults
        factor = faults.option(Fault.SETTLEMENT_INFLATED, "factor") if inflated else 1
        records = []
        for start in range(0, len(users), MAX_USERS):
            items = [self._item(user, due[user], factor) for user in users[start : start + MAX_USERS]]
            record = self.side.settle(items, self.tee_key)
            self.log.settle(
                {
                    item.user: (item.request_ids, outcome.paid)
                    for item, outcome in zip(items, record.users, strict=True)
                    if outcome.paid
                },
                record.tx_hash,
            )
            for outcome in record.users:
                self._accounts.pop(outcome.user, None)
            records.append(record)
        self.settlements += records
        return records

    def _item(self, user: str, entries: list[BillingEntry], factor: int) -> UserSettlement:
        return UserSettlement(
            user=user,
            provider=self.address,
            total_fee=sum(entry.fee - entry.settled for entry in entries) * factor,
            requests_hash=requests_hash(entries),
            nonce=self._next_nonce(),
            request_ids=tuple(entry.request_id for entry in entries),
        )

    def _next_nonce(self) -> int:
        self._last_nonce = max(self._last_nonce + 1, int(self.clock.now()) * 10_000_000)
        return self._last_nonce

    # saving

    def save(self) -> SavedState:
        """A copy of what a test may want back; limits and faults are cleared by `restore` instead."""
        with self.change_lock:
            return SavedState(
                tee_key=self.tee_key,
                enclave_key=self.enclave_key,
                input_price=self.input_price,
                output_price=self.output_price,
                shelf=self.shelf.save(),
                log=self.log.save(),
                past=tuple(self.past),
                settlements=tuple(self.settlements),
                requests=len(self.requests),
            )

    def restore(self, saved: SavedState) -> None:
        """Return to a saved state; the chain must have been reverted to the same moment."""
        with self.change_lock:
            self.tee_key, self.enclave_key = saved.tee_key, saved.enclave_key
            self.input_price, self.output_price = saved.input_price, saved.output_price
            self.shelf.restore(saved.shelf)
            self.log.restore(saved.log)
            self.past = deque(saved.past, maxlen=self.past.maxlen)
            self.settlements = list(saved.settlements)
            del self.requests[saved.requests :]
            self.limits.clear()
            self.faults.clear()
            self.quote_fault = ""
            self.jobs.clear()
            self.adapters.entries[:] = _adapters_of(self.spec, self.address) if self.adapter else []
            self.drop_caches()


def _cycle(names: tuple[str, ...]) -> Iterator[str]:
    while True:
        yield from names or ("",)


def _adapters_of(spec: ProviderSpec, provider: str) -> list[Adapter]:
    tasks = [(adapter_task(provider), "active"), *spec.adapters]
    return [Adapter(adapter_name(spec.model, task), task, spec.model, state) for task, state in tasks]


def adapter_name(model: str, task: str) -> str:
    """The name of a fine-tuned adapter: ``ft-``, the base model, the first 12 characters of the task (0g-direct §8)."""
    base = model.replace("/", "-").replace(".", "-").replace(" ", "-").strip("-")
    return f"ft-{base}-{task[:12]}"


def adapter_task(provider: str) -> str:
    """The id of the fine-tuning task that made a provider's first adapter."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"local-adapter:{provider.lower()}"))
