"""0G Direct: a wallet or API key, per-provider sub-accounts, signed responses (0g-direct)."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zg_core.backends.direct import refusals
from zg_core.backends.direct.catalogue import Catalogue
from zg_core.backends.direct.changes import CHANGES, is_lag, named_balance, same_balance
from zg_core.backends.direct.credentials import ApiKeyCredential, NoCredential, WalletCredential
from zg_core.backends.direct.records import RECORD_AGE, Records
from zg_core.backends.direct.signatures import SIGNATURE_DELAYS, Missed, fetch_signature
from zg_core.backends.former import Route
from zg_core.calls.budgets import is_held
from zg_core.config import SecretHeaders, blaming, check_url
from zg_core.errors import (
    ChainError,
    ConfigError,
    ModelNotServed,
    ProviderUnavailable,
    ZeroGError,
)
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import read_all
from zg_core.http.provider_requests import provider_request
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import parse_json
from zg_core.money import either
from zg_core.pricing import fee_of
from zg_core.store import Store
from zg_core.verify.reach import reach_of
from zg_core.verify.schemes import signed_hashes as response
from zg_core.verify.verdict import Binding, Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from zg_core.backends.direct.attesting import Attestations
    from zg_core.backends.direct.contracts.abi import Account
    from zg_core.backends.direct.contracts.reader import ChainReader
    from zg_core.backends.direct.credentials import Credential
    from zg_core.calls.retries import Retries
    from zg_core.config import Network, Secret
    from zg_core.exchange import Exchange
    from zg_core.http.messages import Request
    from zg_core.http.transport import Transport
    from zg_core.money import Fee
    from zg_core.types import Service, Usage
    from zg_core.verify.attestation import AttestationOptions, AttestationReport
    from zg_core.verify.policy import Policy
    from zg_core.verify.reach import Reach
    from zg_core.verify.replay import ReplayGuard

    Choice = Callable[["DirectBackend", str], Awaitable[str]]

__all__ = ["DirectBackend"]

CHAT = "chatbot"
_MODELS_TIMEOUTS = Timeouts(connect=10.0, read=15.0, whole=30.0)
_MAX_MODELS_BYTES = 5 * 1024 * 1024  # 0g-direct §4.8
_MODELS_SECONDS = 60.0  # an unknown name is looked for again in a list that is older: an adapter may be new


class DirectBackend:
    """Reaches providers directly.

    Args:
        network: Chain and contracts.
        credential: Who pays.
        chain: Reads of the contracts.
        transport: HTTP.
        policy: Which kinds may see a prompt.
        guard: Knows the requests that were ours.
        provider: The provider to use; None lets `choose` find one.
        model: The model to ask for; None takes the provider's.
        service_type: Which services to choose among.
        store: URL of the store where other processes note their transactions.
        attestation: How attestations are judged, for a policy that asks for one.
        catalogue: What providers say about their models.
        sources: Of settings that come from the environment, the variable; hints name it.
        record_age: Seconds for which a service record is used as it is.
        careful: Whether an older one is read again before a prompt leaves, because a budget depends on it; the policy
            can ask for that, too.
        choose: Finds the provider for a model (`zg_core.routing`); asked once, and its answer is kept.
        retries: How often reading a record is tried again where a verdict waits for it.
    """

    name = "direct"

    def __init__(
        self,
        *,
        network: Network,
        credential: Credential,
        chain: ChainReader,
        transport: Transport,
        policy: Policy,
        guard: ReplayGuard,
        provider: str | None = None,
        model: str | None = None,
        service_type: str = CHAT,
        store: str = "memory:",
        attestation: AttestationOptions | None = None,
        catalogue: Catalogue | None = None,
        sources: Mapping[str, str] | None = None,
        record_age: float = RECORD_AGE,
        careful: bool = False,
        choose: Choice | None = None,
        retries: Retries | None = None,
    ) -> None:
        self.network = network
        self._sources = sources or {}
        self._credential = credential
        self._chain = chain
        self._transport = transport
        self._policy = policy
        self._guard = guard
        self._model = model
        self._service_type = service_type
        self._store_url = store
        self._attestation_options = attestation
        self._attestations: Attestations | None = None
        if provider is None and isinstance(credential, ApiKeyCredential):
            provider = credential.claims.provider
        self._provider = provider
        self._catalogue = catalogue or Catalogue(transport)
        self._choose = choose or _unnamed
        self._records = Records(chain, transport, record_age, retries)
        self._careful = careful or policy.looks_at_records
        self._missed = Missed()
        self._served: dict[str, tuple[float, frozenset[str]]] = {}

    @property
    def payer(self) -> str:
        """Address of the account that pays."""
        return self._credential.address

    @property
    def pays(self) -> bool:
        """Whether there is a wallet or API key."""
        return not isinstance(self._credential, NoCredential)

    def gives_away(self, data: bytes) -> bool:
        """Whether the key that pays, or a token, is part of `data`."""
        return self._credential.is_in(data)

    async def services(self) -> list[Service]:
        """All services on chain."""
        return await self._chain.services()

    @property
    def provider(self) -> str | None:
        """The provider that every call goes to; None while none is chosen."""
        return self._provider

    def target(self, model: str | None) -> str:
        """The model to choose a provider for.

        Raises:
            ConfigError: none is named (code ``no_target``).
        """
        wanted = model or self._model
        if wanted is None:
            raise _no_target(self._service_type)
        return wanted

    async def market(self, model: str) -> list[tuple[Service, Account | None]]:
        """All services of `model`, acknowledged or not, each with the payer's sub-account there."""
        services = [s for s in await self._chain.services() if self._sells(s) and s.model == model]
        accounts = await self._accounts() if services else {}
        return [(service, accounts.get(service.provider)) for service in services]

    async def _accounts(self) -> dict[str, Account]:
        """The payer's sub-accounts by provider; none without a payer."""
        if isinstance(self._credential, NoCredential):
            return {}
        return {a.provider: a for a in await self._chain.accounts(self.payer)}

    async def unserved(self, model: str) -> ModelNotServed:
        """The error for a model that nobody serves."""
        acknowledged = [service for service in await self._chain.services() if service.acknowledged]
        known = sorted({service.model for service in acknowledged if self._sells(service)})
        said = f"it has {', '.join(known[:8]) or 'none'}; see `zerog providers`"
        others = {one.service_type for one in acknowledged if one.model == model and not self._sells(one)}
        if others:
            said = f"it is served as {' and '.join(sorted(others))}, asked for as {self._service_type}; {said}"
        if model == self._model and (variable := self._sources.get("model")):
            said += f"; {variable} names the model"
        return ModelNotServed(
            f"no acknowledged provider on {self.network.name} serves {model!r}", hint=said, model=model
        )

    def _sells(self, service: Service) -> bool:
        return service.service_type == self._service_type

    async def route(self, model: str | None) -> Route:
        """See `Backend.route`."""
        return await self.route_to(await self._decided(model), model)

    async def _decided(self, model: str | None) -> str:
        if self._provider is None:
            async with self._transport.lock("route"):
                if self._provider is None:
                    self._provider = await self._choose(self, self.target(model))
        return self._provider

    async def reach(self, model: str | None) -> Reach:
        """The best verdict that a reply can get, as far as the chain tells; nothing is sent to the provider."""
        service = await self._chain.service(await self._decided(model))
        return reach_of(service, model or self._model, self._policy.accept_models)

    async def route_to(self, provider: str, model: str | None) -> Route:
        """The route to `provider`, if it is fit for one; nothing is sent.

        Raises:
            ConfigError: it is not registered, or its URL is none that a prompt may be sent to.
            ModelNotServed: it does not serve `model`.
            AttestationError, VerificationUnavailable: the policy forbids it, or asks for more than can be proven there.
        """
        made = time.monotonic()
        with blaming("provider", self._sources if provider == self._provider else {}):
            # What a prompt may not be sent without is read before; everything else beside the call, for its verdict.
            careful = self._careful or is_held()
            service = await (self._records.young(provider, made) if careful else self._chain.service(provider))
        self.admit(service)
        wanted = model or self._model or service.model
        if wanted != service.model and wanted not in (served := await self._models(service, wanted)):
            names = ", ".join([service.model, *sorted(served - {service.model})][:8])
            raise ModelNotServed(
                f"provider {service.provider} does not serve {wanted!r}",
                hint=f"it serves {names}; {self._other_way(wanted, model)}",
                model=wanted,
            )
        self._policy.admit(service, model=wanted)
        report = await self._attested(service, wanted)
        tariff = None
        if service.usd_priced or service.multi_model:
            tariff = await self._catalogue.tariff(service, wanted)
        read = self._chain.read_at(service.provider)
        return Route(service, wanted, report, self._chain.block_of(service.provider), tariff, made, read)

    async def refreshed(self, route: Route, *, patient: bool) -> Route:
        """See `Backend.refreshed`."""
        provider = route.service.provider
        try:
            record = await (self._records.patient if patient else self._records.young)(provider, route.made)
        except ConfigError:  # it has left the chain: nothing acknowledges its key any more
            return replace(route, service=_unregistered(route.service), read=time.monotonic())
        except ChainError:
            return replace(route, stale=True)
        read = self._chain.read_at(provider)
        if record == route.service:
            return replace(route, read=read)
        # How the change and the request followed each other cannot be told: the provider may have billed either price.
        return replace(route, service=record, read=read, block=self._chain.block_of(provider), earlier=route.service)

    def rests(self, route: Route, changed: Callable[[Route], None]) -> None:
        """See `Backend.rests`."""
        if not route.stale:
            told = lambda record: changed(replace(route, service=record, earlier=route.service))  # noqa: E731
            self._records.rests(route.service.provider, route.service, told)

    def _other_way(self, wanted: str, asked: str | None) -> str:
        """How to come to a provider of `wanted`, in words that name where provider and model were said."""
        if variable := self._sources.get("provider"):
            return f"{variable} names the provider: unset it, and give model={wanted!r}"
        if asked is None and (variable := self._sources.get("model")):
            return f"{variable} names the model"
        return f"or leave out provider=… and give model={wanted!r}"

    async def _attested(self, service: Service, model: str) -> AttestationReport | None:
        """The attestation that the policy asks for, None if it asks for none.

        Raises:
            AttestationError: it does not hold.
            VerificationUnavailable: it cannot be had.
        """
        level = self._policy.demand.level
        if level is None:
            return None
        if self._attestations is None:
            from zg_core.backends.direct.attesting import Attestations

            self._attestations = Attestations(self._transport, self._attestation_options)
        report = await self._attestations.report(service, level, model)
        self._policy.admit(service, report, model=model)
        return report

    def admit(self, service: Service) -> None:
        """Refuse a service that the policy forbids, or whose URL no prompt may be sent to."""
        self._policy.admit(service)
        self._check_url(service)

    def _check_url(self, service: Service) -> str:
        private = service.private and self.network.private_providers
        return check_url(service.url, f"the URL of provider {service.provider}", private=private)

    async def authorise(self, route: Route) -> Mapping[str, str]:
        """See `Backend.authorise`."""
        token = await self._credential.token(self._chain, self._transport, route.service.provider)
        return SecretHeaders({"Authorization": f"Bearer {token.reveal()}"})

    async def token(self, route: Route | None = None) -> Secret:
        """The bearer token for this backend's provider, or that of `route`."""
        route = route or await self.route(None)
        return await self._credential.token(self._chain, self._transport, route.service.provider)

    def url(self, route: Route, path: str) -> str:
        """See `Backend.url`."""
        self._check_url(route.service)
        return route.service.endpoint + path

    def refusal(self, route: Route, status: int, headers: Mapping[str, str], body: bytes) -> ZeroGError:
        """See `Backend.refusal`."""
        signed_here = isinstance(self._credential, WalletCredential)
        error = refusals.refusal(route.service, route.model, status, headers, body, signed_here=signed_here)
        if isinstance(error, ModelNotServed):  # the next such call ends here: five of them would block the user
            self._served.pop(route.service.provider, None)
        return error

    async def patience(self, route: Route, error: ZeroGError) -> float:
        """See `Backend.patience`."""
        provider, payer = route.service.provider, self.payer
        if not is_lag(error):
            return 0.0
        store = Store.open(self._store_url)
        left = await self._transport.blocking(CHANGES.left, self.network.chain_id, payer, provider, store)
        seen = named_balance(error)
        if left and seen is not None:
            account = await self._chain.account(payer, provider)
            if account is not None and same_balance(seen, account.usable):
                return 0.0  # the provider is up to date: it really is too little
        return left

    async def renew(self, route: Route) -> bool:
        """See `Backend.renew`."""
        return self._credential.drop(route.service.provider)

    def fee(self, route: Route, usage: Usage | None) -> Fee:
        """See `Backend.fee`."""
        fee = fee_of(route.service, usage, route.tariff)
        if route.earlier is not None and route.tariff is None:
            before = fee_of(route.earlier, usage)
            if (before.amount, before.exact) != (fee.amount, fee.exact):
                return either(before, fee, "price_changed")
        return replace(fee, exact=False, reason="old_record", lower=0, upper=None) if route.stale and fee.exact else fee

    def sent(self, route: Route, exchange: Exchange) -> None:  # noqa: ARG002 - the interface's
        """See `Backend.sent`."""
        self._records.beside(route.service.provider, route.made)

    async def verify(self, route: Route, exchange: Exchange) -> Verdict:
        """See `Backend.verify`."""

        async def fetch(chat_ids: tuple[str, ...]) -> bytes | None:
            provider, delays = route.service.provider, tuple(SIGNATURE_DELAYS)
            chosen = self._missed.delays(provider, delays) if self._policy.mode == "warn" else delays
            found = await fetch_signature(self._transport, route.service, route.model, chat_ids, delays=chosen)
            self._missed.note(provider, found=found is not None, waited=chosen == delays)
            return found

        async def reread() -> Service:
            try:
                return await self._chain.service(route.service.provider, fresh=True)
            except ConfigError:  # the provider has left the chain: nothing acknowledges its key any more
                return _unregistered(route.service)

        verdict = await response.verify(
            exchange,
            route.service,
            fetch=fetch,
            reread=reread,
            guard=self._guard,
            accept_models=self._policy.accept_models,
        )
        verdict = replace(verdict, record_age=route.record_age)
        if route.stale and verdict.satisfies(Status.CLAIMED):  # what it names may hold no more
            verdict = replace(verdict, status=Status.UNAVAILABLE, reason=Reason.RECORD_UNREADABLE)
        # So that this reply is known for ours when it comes again.
        if verdict.binding in (Binding.REWRITTEN, Binding.RENAMED):
            self._guard.sent(route.service.provider, verdict.signed_request_sha256)
        return verdict

    def describe(self) -> dict[str, Any]:
        """See `Backend.describe`."""
        return {"backend": self.name, "network": self.network.name, "provider": self._provider, "model": self._model}

    async def _models(self, service: Service, wanted: str) -> frozenset[str]:
        """Ids that the provider lists besides its on-chain model: other models, aliases and its adapters."""
        read, names = self._served.get(service.provider, (-math.inf, frozenset()))
        if wanted not in names and time.monotonic() - read > _MODELS_SECONDS:
            listed = await self._get_json(self._get(service, "/v1/models"))
            ids = _names(listed, "data", "id") | _names(listed, "data", "canonical_id")
            headers = await self.authorise(Route(service, service.model))
            adapters = await self._get_json(self._get(service, "/v1/lora/adapters", headers))
            names = frozenset({service.model} | ids | _names(adapters, "adapters", "adapterName"))
            self._served[service.provider] = (time.monotonic(), names)
        return names

    def _get(self, service: Service, path: str, headers: Mapping[str, str] | None = None) -> Request:
        return provider_request("GET", service, path, headers=headers, timeouts=_MODELS_TIMEOUTS)

    async def _get_json(self, request: Request) -> Any:
        """The JSON that is answered; None when there is none: an older broker has no such route.

        Raises:
            ProviderUnavailable: it cannot be told now; asking for a wrong model may block the user for an hour.
        """
        url = request.url
        answer = await self._transport.send(request)
        try:
            body = await read_all(answer, _MAX_MODELS_BYTES)
        except BodyBroken as error:
            raise ProviderUnavailable(f"{url} cannot be read: {error}", hint="try again") from error
        if answer.status in (429, 502, 503, 504):
            raise ProviderUnavailable(f"{url} answered {answer.status}", hint="try again", status=answer.status)
        try:
            return parse_json(body) if answer.status == 200 else None
        except (ValueError, RecursionError):
            return None


async def _unnamed(_: DirectBackend, model: str) -> str:
    raise ConfigError(f"no provider of {model!r} is named", code="no_target", hint="pass provider='0x…'")


def _no_target(service_type: str) -> ConfigError:
    variables = "(or set ZEROG_PROVIDER, ZEROG_MODEL)"
    if service_type != CHAT:
        variables = f"of an {service_type} service (ZEROG_PROVIDER and ZEROG_MODEL name one for chats)"
    return ConfigError(
        "neither a provider nor a model is given",
        code="no_target",
        hint=f"pass provider='0x…' or model='…' {variables}; see `zerog providers`",
    )


def _unregistered(service: Service) -> Service:
    return replace(service, acknowledged=False)


def _names(value: Any, container: str, field: str) -> set[str]:
    entries = value.get(container) if isinstance(value, dict) else value
    if not isinstance(entries, list):
        return set()
    return {e[field] for e in entries if isinstance(e, dict) and isinstance(e.get(field), str)}
