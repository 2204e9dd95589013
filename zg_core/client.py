"""The clients: `ChatClient` without, `AsyncChatClient` with an event loop. Thin shells over `zg_core.calls.path`."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from zg_core.backends import registry
from zg_core.backends.base import Setting
from zg_core.budget import Spending
from zg_core.calls.call import Options, Reply, Slot
from zg_core.calls.elsewhere import AsyncJudging, Judging
from zg_core.calls.extra_headers import extra_headers
from zg_core.calls.limits import Limits
from zg_core.calls.path import Calls
from zg_core.calls.retries import Retries
from zg_core.calls.streams import AsyncReplyStream, ReplyStream
from zg_core.config import Environment, Settings, blaming, check_url, conceal
from zg_core.errors import (
    AttestationError,
    ConfigError,
    InsufficientFunds,
    ModelNotServed,
    VerificationUnavailable,
)
from zg_core.http.timeouts import timeouts_of
from zg_core.http.transport import AsyncTransport, SyncTransport, run
from zg_core.objects import check_objects
from zg_core.receipts.memory import MemoryReceipts
from zg_core.receipts.stored import ReceiptStore, Retention
from zg_core.routing.target import Target, cannot_route, routing_of
from zg_core.shown.tracebacks import forgetful
from zg_core.store import Store
from zg_core.tasks.base import CHAT, task_selling
from zg_core.tasks.models import ModelInfo
from zg_core.verify.policy import Policy
from zg_core.verify.reach import reach_said
from zg_core.verify.replay import ReplayGuard
from zg_core.wallet import Wallet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from types import TracebackType

    from zg_core.backends.base import Backend, Route, Service
    from zg_core.backends.base import Options as BackendOptions
    from zg_core.budget import Budget
    from zg_core.config import Network, Secret
    from zg_core.http.timeouts import Patience
    from zg_core.progress import Listener
    from zg_core.receipts.model import Receipt
    from zg_core.routing.candidates import Explanation
    from zg_core.routing.failover import Chooser
    from zg_core.routing.routing import Routing
    from zg_core.verify.attestation import AttestationOptions
    from zg_core.verify.conditions import Condition
    from zg_core.verify.reach import Reach

__all__ = ["AsyncChatClient", "AsyncReplyStream", "ChatClient", "ReplyStream"]

# One memory for the process: an answer given to one client must not be served to another as new.
_GUARD = ReplayGuard()
_AUTO: Any = object()


def _own_policy(demanded: Any, **settings: Any) -> Policy:
    """The policy of one client: each warns for itself."""
    made = Policy.of(demanded, **settings)
    return replace(made, _warned=set()) if made is demanded else made


def _pace(limits: Limits | None, network: Network) -> tuple[Limits | None, Limits | None]:
    """The limits from the first call on, and those that begin once a reply names a rate."""
    if limits is not _AUTO:
        return limits, None
    if network.name == "local":  # its providers may have none: their replies tell
        return None, Limits()
    return Limits(), None


@forgetful
class _Client:
    """What both clients share: settings checked and parts put together, without I/O."""

    _transport: SyncTransport | AsyncTransport
    calls: Calls
    _service_type: ClassVar[str] = CHAT.service_type

    def __init__(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        private_key: str | Secret | None = None,
        api_key: str | Secret | None = None,
        wallet: Wallet | None = None,
        backend: str | BackendOptions | None = None,
        network: str | Network | None = None,
        rpc_url: str | None = None,
        ledger: str | None = None,
        inference: str | None = None,
        verify: str | Policy | Condition | None = None,
        minimum: str | None = None,
        kinds: Iterable[str] | None = None,
        stream: str | None = None,
        identity: str | None = None,
        attest: int | None = None,
        accept_models: Mapping[str, str] | None = None,
        nonce: bool = False,
        sealed: bool = False,
        attestation: AttestationOptions | None = None,
        limits: Limits | None = _AUTO,
        budget: Budget | None = None,
        timeout: Patience = None,
        max_retries: int = 2,
        retry_deadline: float = 60.0,
        retry_unknown: bool = False,
        record_age: float | None = None,
        ca_file: str | None = None,
        http_client: Any = None,
        headers: Mapping[str, str] | None = None,
        service_type: str | None = None,
        on_receipt: Callable[[Receipt], None] | None = None,
        on_verdict: Callable[[Receipt], None] | None = None,
        on_progress: Listener | None = None,
        store: str | Store | None = None,
        receipts: Retention | None = None,
        keep_bytes: bool = False,
        routing: Routing | None = None,
        allow_private_providers: bool | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Make a client; nothing is read or sent yet.

        Args:
            provider: Provider address; without it one is chosen for `model`.
            model: Model name; without it the provider's.
            private_key: The wallet's key; default ``ZEROG_PRIVATE_KEY``.
            api_key: A 0G API key (``app-sk-…``) instead of a wallet; default ``ZEROG_API_KEY``.
            wallet: A `Wallet`, for keystore files and secrets managers.
            backend: ``"direct"``, ``"router"``, ``"opengradient"``, or the options of one, such as ``Direct()``. By
                default the one that the API key is for (``app-sk-`` direct, ``sk-`` router), else the one that
                ``ZEROG_BACKEND`` names, else direct.
            network: ``"mainnet"``, ``"testnet"`` (default), ``"local"`` or a `Network`.
            rpc_url: JSON-RPC endpoint instead of the network's own.
            ledger: LedgerManager address instead of the network's own.
            inference: InferenceServing address instead of the network's own.
            verify: ``"off"``, ``"background"``, ``"warn"`` (default), ``"require"``, a condition such as
                ``AllOf(ResponseBound(), Kinds("TeeML"), Attested(level=2))``, or a whole `Policy`.
            minimum: Least verdict that satisfies, default ``"verified"``. ``"response_bound"`` accepts answers that may
                belong to another question than yours.
            kinds: Kinds of service that may see a prompt.
            stream: ``"after"`` (default) or ``"hold"``: whether chunks wait for the verdict.
            identity: TeeTLS: the upstream vendor that must have answered.
            attest: Level up to which the enclave must be attested before it sees a prompt (extra ``attestation``).
            accept_models: Renames that you accept, ``{"asked": "forwarded"}``: a request signed so is then proven.
            sealed: Encrypt requests to the attested enclave; what cannot be is refused (extra ``sealed``).
            nonce: Put a random value into each request's ``user``, so that no signature of an earlier one fits it.
            attestation: What is allowed in an attestation, and where evidence is looked up.
            limits: Rate and requests under way, counted for all clients of a process and, as for the rate, for all
                who share `store`; by default the providers' own, on a local network those of a provider whose replies
                name a rate; None lifts them.
            budget: The most that calls may cost, counted in `store`; beyond it they are refused before they are sent.
            timeout: Seconds until the first byte of a reply, and between two of them (default 300), or `Timeouts`, or
                what httpx takes: ``(connect, read)``, or its ``Timeout``.
            max_retries: Further attempts after what was never served: connect errors, 429, 503, statuses of a content
                network that cannot reach the provider, and reads of the chain before anything is sent.
            retry_deadline: Seconds from the first failure in which further attempts must begin. Where a provider asks
                for a longer wait, the call fails at once, and its error says in ``details["retry_after"]`` how long.
            retry_unknown: Also send a request again that was sent and not answered. Both may be billed: each attempt
                has a receipt and is held in the budget. Off by default: it is raised as `OutcomeUnknown`.
            record_age: Seconds for which a service's record on chain is used as it is (10; on a local network, whose
                records change between two calls, 0). An older one is read again: before the prompt leaves where
                `kinds`, `identity`, `attest`, a condition or a budget depends on it, else beside the call. Verdicts and
                exact fees rest on a record that was read after the call began, or at most so long before.
            ca_file: A certificate authority to trust instead of the system's, for local networks with TLS.
            http_client: An httpx2 (or httpx) client to send everything through; an `AsyncClient` for `AsyncChatClient`.
                Of its settings only those of its connections apply; closing it is the caller's affair.
            headers: What is sent beside our own headers with every request for an answer.
            service_type: Which services to choose among; by default those that the client is for.
            on_receipt: Called with the receipt of every request that left, refused ones too.
            on_verdict: Called when a background check has ended.
            on_progress: Called with a `Progress` while a call waits for the provider to see our own transaction.
            store: Where receipts are kept: ``"memory:"``, ``"sqlite:///path"``, ``"postgresql+psycopg://…"``, or a
                `Store`; default ``ZEROG_STORE``, else ``"memory:"``.
            receipts: How long a store keeps receipts; by default 90 days, and at most 100,000.
            keep_bytes: Keep the bytes of request and response in receipts, so that others can check them again.
            routing: How the provider of each call is chosen among those that serve `model`, and which one a call goes
                to when it was certainly not served; excludes `provider`. Without it one is chosen once and kept.
            allow_private_providers: Whether the URLs that the chain names may lead to this machine and into private
                networks; for people who run their own providers. Default ``ZEROG_ALLOW_PRIVATE_PROVIDERS``, else only
                on a local network.
            environ: Environment to read instead of ``os.environ``.

        Raises:
            ConfigError: a setting is missing or malformed.
        """
        # A traceback can show the locals of every frame: nothing in this one is a key from here on.
        private_key, api_key, environ = conceal(private_key), conceal(api_key), self._environment(environ)
        word = verify if isinstance(verify, str) else None
        check_objects(
            {"wallet": wallet, "budget": budget, "routing": routing, "attestation": attestation, "receipts": receipts}
            | ({} if limits is _AUTO else {"limits": limits})
        )
        settings = Settings.resolve(
            network=network,
            rpc_url=rpc_url,
            ledger=ledger,
            inference=inference,
            private_key=private_key if wallet is None else None,
            api_key=api_key,
            provider=provider,
            model=model,
            verify=word,
            store=store.url if isinstance(store, Store) else store,
            allow_private_providers=allow_private_providers,
            environ=environ,
        )
        with blaming("verify", settings.sources, about="verify="):
            self.policy = _own_policy(
                settings.verify if verify is None or word is not None else verify,
                minimum=minimum,
                kinds=kinds,
                stream=stream,
                identity=identity,
                attest=attest,
                accept_models=accept_models,
            )
        """What is demanded of every reply."""
        self.network = settings.network
        """The chain and its contracts."""
        self.receipts = MemoryReceipts()
        """The newest receipts of this client."""
        with blaming("store", settings.sources):
            kept = store if isinstance(store, Store) else Store.open(settings.store)
        self.stored = None if kept.kind == "memory" else ReceiptStore(kept, receipts)
        """All receipts of the store, other processes' too; None where it is ``memory:``."""
        check_url(self.network.rpc_url, "rpc_url", secure=False)
        wallet_given = wallet
        if wallet is None and settings.private_key is not None:
            with blaming("private_key", settings.sources):
                wallet = Wallet.from_key(settings.private_key)
        retries = Retries(max_retries, retry_deadline, retry_unknown)
        if routing is not None and provider is not None:
            raise cannot_route("routing and provider exclude each other", "leave one out, or use Routing(allow=[…])")
        self._transport = self._make_transport(ca_file, http_client)
        self._sources = settings.sources
        self.task = task_selling(service_type or self._service_type)
        """What this client is for."""
        setting = Setting(
            self._transport,
            self.policy,
            self.task,
            self.network,
            wallet,
            settings.api_key,
            settings.provider if routing is None else None,  # what was passed wins over the environment
            settings.model,
            settings.store,
            retries,
            _GUARD,
            careful=budget is not None,
            record_age=record_age,
            routing=routing,
            sealed=sealed,
            attestation=attestation,
            on_progress=on_progress,
            sources=settings.sources,
            environ=environ,
        )
        by_variable = settings.sources if backend is None else {}
        with blaming("api_key", settings.sources), blaming("backend", by_variable):
            key = settings.api_key if wallet_given is None or api_key is not None else None
            made = registry.chosen(backend, key=key, said=settings.backend)
        with blaming("backend", by_variable if made.name == settings.backend else {}, about=" Router "):
            self.backend: Backend = made.make(setting)
        """How inference is reached."""
        self.network = getattr(self.backend, "network", self.network)
        bound = getattr(self.backend, "provider", None)  # a key may be good for one provider only
        routing = routing_of(routing, self.backend, setting.provider, bound)
        self.spending = None if budget is None else Spending(budget, kept, self.backend.realm)
        """What is spent, held and left of the budget; None without one."""
        if self.spending is not None:
            told: dict[str, Any] = {"wallet": wallet, "ca_file": ca_file, "listener": on_progress}
            registry.appoint(self.backend, self.spending, self.stored, self._transport, **told)
        self._model = settings.model
        self._target = Target(
            self.backend,
            self.task,
            self._transport,
            provider=setting.provider or bound,
            model=settings.model,
            choose=choice(self.backend, setting),
        )
        self._chooser = None if routing is None else self._make_chooser(routing)
        limits, later = _pace(limits, self.network)
        self._transport.make_room(0 if limits is None else limits.in_flight)
        # No reference to self below: a dropped client is freed at once, with its connections.
        self.calls = Calls(
            self.backend,
            self._target,
            self._transport,
            policy=self.policy,
            receipts=self.receipts,
            guard=_GUARD,
            network=self.network.name,
            limits=limits,
            later=later,
            retries=retries,
            timeouts=timeouts_of(timeout),
            on_receipt=on_receipt,
            on_verdict=on_verdict,
            stored=self.stored,
            keep_bytes=keep_bytes,
            spending=self.spending,
            store=kept,
            chooser=self._chooser,
            headers=extra_headers(headers),
            gives_away=_keys(getattr(self.backend, "pays_with", None) or wallet, settings.api_key),
            settings=SETTINGS,
            nonce=nonce,
        )

    @classmethod
    def _environment(cls, environ: Mapping[str, str] | None) -> Environment:
        """The environment, without what names a service for chats where the client is for something else."""
        read = Environment(environ)
        if cls._service_type == CHAT.service_type:
            return read
        return Environment({name: said for name, said in read.items() if name not in ("ZEROG_PROVIDER", "ZEROG_MODEL")})

    def _make_transport(self, ca_file: str | None, http_client: Any) -> SyncTransport | AsyncTransport:
        raise NotImplementedError

    def _make_chooser(self, routing: Routing | None) -> Chooser:
        from zg_core.routing.failover import Chooser

        facts: dict[str, Any] = {"model": self._model, "network": self.network.name, "sources": self._sources}
        return Chooser(routing, self.backend, self.task, self._transport, **facts)

    async def _route(self, model: str | None = None) -> Route:
        if self._chooser is None:
            return await self._target.route(model)
        return await self._chooser.first(self._target.model(model))

    async def _reach(self, model: str | None) -> Reach:
        reach = getattr(self.backend, "reach", None)
        if reach is None or self._chooser is not None:
            service = (await self._route(model)).service
            return reach_said(service)
        service = await self._target.service(model)
        found: Reach = await reach(service.provider, model or self._model or "")
        return found

    async def _services(self) -> list[Service]:
        every = getattr(self.backend, "services", None)  # in one read, where there are services of other tasks, too
        if every is not None:
            return list(await every())
        return [offer.service for offer in await self.backend.offers(self.task, None)]

    async def _token(self) -> Secret:
        token = getattr(self.backend, "token", None)
        if token is None:
            message = f"backend {self.backend.name!r} has no token to give away"
            raise ConfigError(message, code="no_token", hint="its key or wallet opens it for other programs, too")
        found: Secret = await token((await self._route()).service.provider)
        return found

    async def _explain(self, model: str | None) -> Explanation:
        if self._chooser is not None:
            return await self._chooser.explain(self._target.model(model))
        chosen: str | None = None
        try:
            route = await self._target.route(model)
            chosen, model = route.service.provider, route.model
        except (AttestationError, VerificationUnavailable, InsufficientFunds, ModelNotServed):
            pass
        return await self._make_chooser(None).explain(self._target.model(model), chosen)

    async def _model_info(self, model: str | None, service: Service | None) -> ModelInfo:
        if service is None:
            route = await self._route(model)
            service, model = route.service, route.model
        asked = getattr(self.backend, "model_info", None)
        if asked is None:
            return ModelInfo(model or service.model, self.task.service_type)
        found: ModelInfo = await asked(service, model or service.model)
        return found

    def __repr__(self) -> str:
        if not hasattr(self, "calls"):  # shown in the traceback of a constructor that refused its arguments
            return f"{type(self).__name__}(unfinished)"
        said = {"backend": self.backend.name, "network": self.network.name, "provider": self._target.provider}
        facts = ", ".join(f"{k}={v!r}" for k, v in (said | {"model": self._model}).items() if v is not None)
        return f"{type(self).__name__}({facts}, verify={self.policy.mode!r})"


SETTINGS = frozenset(inspect.signature(_Client.__init__).parameters) - {"self"}
"""Names of the clients' settings: no request may hold one."""


@forgetful
class ChatClient(_Client, Judging):
    """Calls providers and returns answers with receipts; blocking.

    Example:
        >>> client = ChatClient(provider="0x" + "11" * 20, private_key="0x" + "22" * 32, environ={})
        >>> client.policy.mode
        'warn'
        >>> client.close()
    """

    _transport: SyncTransport

    def _make_transport(self, ca_file: str | None, http_client: Any) -> SyncTransport:
        return SyncTransport(ca_file, client=http_client)

    def create(
        self,
        payload: Mapping[str, Any],
        *,
        path: str = CHAT.path,
        timeout: Patience = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send an OpenAI-shaped payload and return the whole answer.

        Args:
            payload: The body of the request.
            path: Where to.
            timeout: Instead of the client's, for this call.
            headers: Beside the client's, for this call.

        Raises:
            ArgumentError: nothing was sent; the payload holds a setting of the client.
            ConfigError: nothing was sent; a setting or the payload is wrong.
            BudgetExceeded: nothing was sent; it could cost more than the budget has left.
            ChainError: nothing was sent; funds, acknowledgement or the chain's RPC.
            RequestError: the provider refused, failed or broke off.
            VerificationFailed: the evidence contradicts the answer, which is in ``error.text``.
            VerificationUnavailable: the policy asks for more than could be proven.
        """
        return run(self.calls.create(payload, path, options_of(timeout, headers)))

    def stream(
        self, payload: Mapping[str, Any], *, timeout: Patience = None, headers: Mapping[str, str] | None = None
    ) -> ReplyStream:
        """Send a payload and iterate over the events of the answer as they come; for the rest see `create`."""
        slot = Slot()
        return ReplyStream(self.calls.stream(payload, slot, options_of(timeout, headers)), slot)

    def service(self) -> Service:
        """The service this client talks to, chosen now if it was not yet; with `routing`, the first choice now."""
        return run(self._route()).service

    def services(self) -> list[Service]:
        """All services there are, those too that cannot be used; what each is for is its ``task``."""
        return run(self._services())

    def explain(self, model: str | None = None) -> Explanation:
        """Every service of `model` (by default of the one this client asks for), and why it is or is not chosen.

        The chain is read now; ``print`` shows a table. What is said holds for a stream of a new conversation, now.

        Raises:
            ConfigError: no model is named, here or in the client.
            ChainError: the chain cannot be read.
        """
        return run(self._explain(model))

    def model_info(self, model: str | None = None, *, service: Service | None = None) -> ModelInfo:
        """What the provider says about `model`, by default the one this client asks for: size, inputs, abilities.

        Of another `service`, what that one's provider says about its model.

        Read once from ``/v1/models`` and remembered for ten minutes. It is the provider's word: signed by nobody.

        Raises:
            ProviderUnavailable: the provider cannot be asked now.
        """
        return run(self._model_info(model, service))

    def reach(self, model: str | None = None) -> Reach:
        """The best verdict that a reply of `model` can get, and why it is no better: known from the chain beforehand.

        With ``verify="require"`` a call that asks for more is refused before its prompt leaves.

        Raises:
            ConfigError: no provider and no model is named.
            ChainError: the chain cannot be read.
        """
        return run(self._reach(model))

    def token(self) -> Secret:
        """The bearer token for the provider: a session token that is reused until 1 h is left, or the API key."""
        return run(self._token())

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@forgetful
class AsyncChatClient(_Client, AsyncJudging):
    """Async twin of `ChatClient`; one object serves many event loops, one after the other or at once."""

    _transport: AsyncTransport

    def _make_transport(self, ca_file: str | None, http_client: Any) -> AsyncTransport:
        return AsyncTransport(ca_file, client=http_client)

    async def create(
        self,
        payload: Mapping[str, Any],
        *,
        path: str = CHAT.path,
        timeout: Patience = None,  # noqa: ASYNC109 - as of `ChatClient`: between bytes, not in all
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """See `ChatClient.create`."""
        return await self.calls.create(payload, path, options_of(timeout, headers))

    def stream(
        self, payload: Mapping[str, Any], *, timeout: Patience = None, headers: Mapping[str, str] | None = None
    ) -> AsyncReplyStream:
        """See `ChatClient.stream`."""
        slot = Slot()
        return AsyncReplyStream(self.calls.stream(payload, slot, options_of(timeout, headers)), slot)

    async def service(self) -> Service:
        """See `ChatClient.service`."""
        return (await self._route()).service

    async def services(self) -> list[Service]:
        """See `ChatClient.services`."""
        return await self._services()

    async def explain(self, model: str | None = None) -> Explanation:
        """See `ChatClient.explain`."""
        return await self._explain(model)

    async def model_info(self, model: str | None = None, *, service: Service | None = None) -> ModelInfo:
        """See `ChatClient.model_info`."""
        return await self._model_info(model, service)

    async def reach(self, model: str | None = None) -> Reach:
        """See `ChatClient.reach`."""
        return await self._reach(model)

    async def token(self) -> Secret:
        """See `ChatClient.token`."""
        return await self._token()

    async def close(self) -> None:
        """Finish background checks of this event loop and close its connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def options_of(timeout: Patience, headers: Mapping[str, str] | None) -> Options | None:
    """What one call asks for beside its payload."""
    if timeout is None and headers is None:
        return None
    return Options(None if timeout is None else timeouts_of(timeout), extra_headers(headers))


def _keys(wallet: Wallet | None, key: Secret | None) -> Callable[[bytes], bool]:
    """Whether bytes hold a key of the user's."""

    def gives_away(data: bytes) -> bool:
        named = key is not None and key.reveal().removeprefix("sk-").encode() in data
        return named or (wallet is not None and wallet.is_in(data))

    return gives_away


def choice(backend: Backend, setting: Setting) -> Callable[[str], Awaitable[Service]]:
    """How a service is found where neither `provider` nor `routing` is given; routing is loaded only then."""

    async def choose(model: str) -> Service:
        from zg_core.routing.failover import Chooser

        facts: dict[str, Any] = {"model": setting.model, "network": setting.network.name, "sources": setting.sources}
        return await Chooser(None, backend, setting.task, setting.transport, **facts).choose(model)

    return choose
