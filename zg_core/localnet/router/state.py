"""Everything the Router knows, and its Python face."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from zg_core.localnet.base.keys import Key
from zg_core.localnet.router.faults import ActiveRouterFault, RouterFault, RouterFaultPlan
from zg_core.localnet.router.ledger import SCOPES, KeyRecord, Ledger
from zg_core.localnet.router.relay import SHAPES
from zg_core.localnet.router.sessions import session_token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zg_core.localnet.provider.signing import ChatSignature
    from zg_core.localnet.provider.state import ProviderState

_MINUTE = 60.0


class RouterState:
    """What the routes share.

    Args:
        providers: All that are registered, in the order of the network.
        wallet: Pays the providers.
        now: The network's time.
    """

    def __init__(self, providers: Sequence[ProviderState], wallet: Key, now: Callable[[], float]) -> None:
        self.providers = providers
        self.wallet = wallet
        self.now = now
        self.ledger = Ledger(Key.random().address, now)
        self.faults = RouterFaultPlan()
        self.kept_frames: dict[bool, list[bytes]] = {}
        self.trace_shape = "empty"
        self.passes_key = True
        self.tells_cost = True
        self.previews = True
        self.embeds = True
        self.requests_per_minute: int | None = None
        self._minutes: dict[str, tuple[float, int]] = {}
        self._tokens: dict[str, tuple[float, str]] = {}
        self._seen: list[bytes] = []
        self._lock = threading.Lock()
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    def note(self, data: bytes) -> None:
        """Keep what passed."""
        with self._lock:
            self._seen.append(data)

    @property
    def seen(self) -> list[bytes]:
        """All that passed, in both directions."""
        with self._lock:
            return list(self._seen)

    def forget(self) -> None:
        """Keep nothing of what has passed until now."""
        with self._lock:
            self._seen.clear()

    def reach(self, provider: ProviderState) -> str:
        """Where a provider is, by the chain."""
        return str(provider.side.service()["url"])

    def token(self, provider: ProviderState) -> str:
        """A session with a provider."""
        until, token = self._tokens.get(provider.address, (0.0, ""))
        if until <= self.now():
            token = session_token(self.wallet, provider.address, self.now())
            self._tokens[provider.address] = (self.now() + 1800, token)
        return token

    def shelved(self, provider: ProviderState, chat_key: str) -> ChatSignature | None:
        """The signature that the Router would find."""
        return provider.shelf.get(chat_key) if chat_key else None

    def client(self) -> Any:
        """An HTTP client of the running loop."""
        import httpx2

        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = httpx2.AsyncClient(timeout=60.0, trust_env=False, verify=False)
        return self._clients[loop]

    async def aclose(self) -> None:
        """Close the running loop's client."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def minute(self, key: str) -> tuple[int, int, float]:
        """How many requests a minute has, how many of them are left after this one (-1: none was), when it ends."""
        now = self.now()
        limit = self.requests_per_minute
        if limit is None:
            return 60, 59, now + _MINUTE
        began, used = self._minutes.get(key, (now, 0))
        if now - began >= _MINUTE:
            began, used = now, 0
        if used < limit:
            used += 1
            self._minutes[key] = began, used
            return limit, limit - used, began + _MINUTE
        return limit, -1, began + _MINUTE


class LocalRouter:
    """The Router of a running `LocalNet`. All methods may be called from any thread."""

    def __init__(self, state: RouterState, url: str) -> None:
        self._state = state
        self.base_url = f"{url}/v1"
        """What paths are put behind."""
        ledger = state.ledger
        self.api_key: str = ledger.make("sk", "default").key
        """A key that asks for answers. Of no value: it lives and dies with the network."""
        self.management_key: str = ledger.make("mk", "management", scopes=SCOPES).key
        """A key that reads the account and manages keys."""

    def __repr__(self) -> str:
        return f"LocalRouter({self.base_url})"

    def new_key(self, name: str = "", *, manages: bool = False, **settings: Any) -> str:
        """Another key.

        Args:
            name: Of the key.
            manages: Whether it is a management key.
            settings: ``scopes`` of a management key; ``trust_mode``, ``allowed_models``, ``limit`` of another.
        """
        ledger = self._state.ledger
        return ledger.make("mk" if manages else "sk", name or f"key {len(ledger.keys)}", **settings).key

    def key_record(self, key: str) -> KeyRecord:
        """What the Router knows of a key.

        Raises:
            KeyError: it made no such key.
        """
        return self._state.ledger.keys[key]

    @property
    def balance(self) -> int:
        """Neuron that can be spent."""
        return self._state.ledger.total

    def set_balance(self, deposit: int, *, credit: int = 0, vault: int = 0) -> None:
        """What the account holds, in neuron."""
        ledger = self._state.ledger
        ledger.deposit, ledger.credit, ledger.vault = deposit, credit, vault

    def pay_in(self, currency: str) -> None:
        """Settle in ``"0g"`` or ``"usd"``."""
        self._state.ledger.currency = currency

    @property
    def history(self) -> list[dict[str, Any]]:
        """Every charged request, oldest first."""
        return [dict(entry) for entry in self._state.ledger.history]

    @property
    def seen(self) -> list[bytes]:
        """Every byte that passed, in both directions, headers of requests too."""
        return self._state.seen

    def forget(self) -> None:
        """Keep nothing of what has passed until now."""
        self._state.forget()

    def behave(
        self,
        *,
        trace: str | None = None,
        passes_key: bool | None = None,
        tells_cost: bool | None = None,
        previews: bool | None = None,
        embeds: bool | None = None,
        requests_per_minute: int | None = None,
    ) -> None:
        """How it is, of what real Routers are or were; what is not given stays.

        Args:
            trace: Where a stream's trace goes: one of `SHAPES`.
            passes_key: Whether the provider's chat key is passed on, or one of its own made up.
            tells_cost: Whether the trace names a cost.
            previews: Whether ``/routing/preview`` is enabled.
            embeds: Whether embeddings are offered.
            requests_per_minute: What a key may ask; 0 lifts the limit.

        Raises:
            ValueError: an unknown shape.
        """
        state = self._state
        if trace is not None:
            if trace not in SHAPES:
                raise ValueError(f"trace is one of {', '.join(SHAPES)}")
            state.trace_shape = trace
        state.passes_key = state.passes_key if passes_key is None else passes_key
        state.tells_cost = state.tells_cost if tells_cost is None else tells_cost
        state.previews = state.previews if previews is None else previews
        state.embeds = state.embeds if embeds is None else embeds
        if requests_per_minute is not None:
            state.requests_per_minute = requests_per_minute or None
            state._minutes.clear()  # noqa: SLF001 - its own

    def fault(self, fault: RouterFault | str, *, times: int | None = 1, **options: Any) -> ActiveRouterFault:
        """Misbehave on the next `times` requests that the fault is about; None means until cleared.

        Raises:
            ValueError: unknown fault, or a count below 1.
            TypeError: an option the fault does not have.
        """
        return self._state.faults.add(fault, times, **options)

    def clear_faults(self) -> None:
        """Behave again, as at the start."""
        self._state.faults.clear()
        self.behave(trace="empty", passes_key=True, tells_cost=True, previews=True, embeds=True, requests_per_minute=0)
