"""0G Direct: a wallet or API key, per-provider sub-accounts, signed responses (0g-direct)."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zg_core.backends import sealing
from zg_core.backends.direct import refusals
from zg_core.backends.direct.catalogue import Catalogue
from zg_core.backends.direct.changes import CHANGES, is_lag, named_balance, same_balance
from zg_core.backends.direct.credentials import ApiKeyCredential, NoCredential, WalletCredential, check_account
from zg_core.backends.direct.pictures import fetch_images, look_at_job
from zg_core.backends.direct.records import Records
from zg_core.backends.direct.services import DirectRoute, Listing, Watch
from zg_core.backends.onchain import RECORD_AGE, Listed, listed, unregistered
from zg_core.backends.service import Body, Grant
from zg_core.backends.signatures import SIGNATURE_DELAYS, Missed, fetch_signature
from zg_core.calls.budgets import is_held
from zg_core.config import SecretHeaders, blaming
from zg_core.crypto import sha256_hex
from zg_core.errors import (
    ConfigError,
    ModelNotServed,
    NotAcknowledged,
    ProviderUnavailable,
    SessionRejected,
    VerificationUnavailable,
    ZeroGError,
)
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import read_all
from zg_core.http.provider_requests import provider_request, provider_url
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import parse_json
from zg_core.pricing import Tariff
from zg_core.progress import tell
from zg_core.store import Store
from zg_core.tasks.base import TRANSCRIPTION
from zg_core.tasks.requests import request_bytes
from zg_core.types import Kind
from zg_core.verify.reach import ADAPTER_PREFIX, reach_of
from zg_core.verify.schemes import signed_hashes as response
from zg_core.verify.verdict import Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.direct.attesting import Attestations
    from zg_core.backends.direct.credentials import Credential
    from zg_core.backends.service import Offer, Route, Service
    from zg_core.calls.call import Call
    from zg_core.calls.retries import Retries
    from zg_core.config import Network, Secret
    from zg_core.contracts.abi import Account
    from zg_core.contracts.reader import ChainReader
    from zg_core.exchange import Exchange
    from zg_core.http.messages import Request
    from zg_core.http.transport import Transport
    from zg_core.money import Fee
    from zg_core.progress import Listener
    from zg_core.tasks.base import Task
    from zg_core.tasks.models import ModelInfo
    from zg_core.types import ServiceRecord as Record
    from zg_core.verify.attestation import AttestationOptions, AttestationReport
    from zg_core.verify.attestation.sealing_keys import SealingKeys
    from zg_core.verify.policy import Policy
    from zg_core.verify.reach import Reach
    from zg_core.verify.replay import ReplayGuard

__all__ = ["DirectBackend"]

logger = logging.getLogger(__name__)

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
        provider: The provider that the user named, for hints.
        model: The model that the user named, for hints.
        store: URL of the store where other processes note their transactions.
        attestation: How attestations are judged, for a policy that asks for one.
        catalogue: What providers say about their models.
        sources: Of settings that come from the environment, the variable; hints name it.
        record_age: Seconds for which a service record is used as it is.
        careful: Whether an older one is read again before a prompt leaves, because a budget depends on it; the policy
            can ask for that, too.
        retries: How often reading a record is tried again where a verdict waits for it.
        on_progress: Told when a call waits for the provider to see our own transaction.
        sealing_keys: The keys of enclaves, where requests are sealed.
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
        store: str = "memory:",
        attestation: AttestationOptions | None = None,
        catalogue: Catalogue | None = None,
        sources: Mapping[str, str] | None = None,
        record_age: float = RECORD_AGE,
        careful: bool = False,
        retries: Retries | None = None,
        on_progress: Listener | None = None,
        sealing_keys: SealingKeys | None = None,
    ) -> None:
        self._sealing = sealing_keys
        self.network = network
        self._private = network.private_providers
        self.realm = f"eip155:{network.chain_id}"
        if provider is None and isinstance(credential, ApiKeyCredential):
            provider = credential.claims.provider
        self.provider = provider
        """The provider that was named, here or in an API key: it is good for no other."""
        self._sources = sources or {}
        self._credential = credential
        self._chain = chain
        self._transport = transport
        self._policy = policy
        self._guard = guard
        self._model = model
        self._store_url = store
        self._attestation_options = attestation
        self._attestations: Attestations | None = None
        self._catalogue = catalogue or Catalogue(transport)
        self._records = Records(chain, transport, record_age, retries)
        self._careful = careful or policy.looks_at_records
        self._missed = Missed()
        self._served: dict[str, tuple[float, frozenset[str]]] = {}
        self._kept: dict[tuple[str, str], Listed] = {}
        self._watch = Watch(transport, network)
        self._on_progress = on_progress
        self._bearers: dict[str, tuple[Secret, SecretHeaders]] = {}  # by provider, the token and its header

    @property
    def payer(self) -> str:
        """Address of the account that pays."""
        return self._credential.address

    @property
    def pays(self) -> bool:
        """Whether there is a wallet or API key."""
        return not isinstance(self._credential, NoCredential)

    # choosing

    async def offers(self, task: Task, model: str | None) -> list[Offer]:
        """See `Backend.offers`: the chain's services of `task`, and what speaks against each.

        Providers of several models are asked which these are; an adapter is looked for at every provider that can be
        paid. One that does not tell serves neither.
        """
        if isinstance(self._credential, ApiKeyCredential):
            records = [await self._chain.service(self._credential.claims.provider)]
        else:
            records = await self._chain.services()
        sold = [record for record in records if record.service_type == task.service_type]
        if model is not None:
            sold = [record for record in sold if record.model == model or self._may_serve(record, model)]
        accounts = await self._accounts() if sold else {}
        offers = []
        for record in sold:
            objection = self._objection(record, accounts)
            if model is None or record.model == model or await self._lists(record, model, objection):
                offers.append(await self._offer(record, model or record.model, objection))
        return offers

    async def services(self) -> list[Service]:
        """All services on chain, of whatever task."""
        return [await self._listed(record, record.model) for record in await self._chain.services()]

    async def _offer(self, record: Record, model: str, objection: ZeroGError | None) -> Offer:
        service = await self._listed(record, model)
        return Listing(service, objection, catalogue=self._catalogue, watch=self._watch)

    def _may_serve(self, record: Record, model: str) -> bool:
        return record.acknowledged and (record.multi_model or model.startswith(ADAPTER_PREFIX))

    async def _lists(self, record: Record, model: str, objection: ZeroGError | None) -> bool:
        """Whether the provider lists `model` beside the one on chain; one that does not tell, does not."""
        try:
            return model in await self._models(record, model, adapters=objection is None and self.pays)
        except ZeroGError as error:
            logger.debug("provider %s does not tell which models it has: %s", record.provider, error)
            return False

    def _objection(self, record: Record, accounts: Mapping[str, Account]) -> ZeroGError | None:
        if not record.acknowledged:
            said = "the contract owner has not acknowledged its TEE signer"
            return NotAcknowledged(said, code="service_not_acknowledged")
        try:
            self.admit(record)
            if self.pays:  # who only reads is told what there is
                check_account(accounts.get(record.provider), record.provider, self.payer)
        except ZeroGError as error:
            return error
        return None

    async def _accounts(self) -> dict[str, Account]:
        """The payer's sub-accounts by provider; none without a payer."""
        if isinstance(self._credential, NoCredential):
            return {}
        return {a.provider: a for a in await self._chain.accounts(self.payer)}

    async def _listed(self, record: Record, model: str) -> Listed:
        """The record in the words that every backend shares; the same object as long as nothing has changed."""
        block, tariff = self._chain.block_of(record.provider), None
        if record.usd_priced or record.multi_model:
            tariff = await self._catalogue.tariff(record, model)
        kept = self._kept.get((record.provider, model))
        same = kept is not None and kept.on_chain is record and kept.record["block"] == block
        if kept is not None and same and (tariff is None or tariff == kept.tariff):
            return kept
        reach = reach_of(record, model, self._policy.accept_models).status
        tariff = tariff or Tariff.of(record)
        made = listed(record, model, self.network, tariff=tariff, reach=reach, block=block)
        self._kept[record.provider, model] = made
        return made

    async def reach(self, provider: str, model: str) -> Reach:
        """The best verdict that a reply can get, as far as the chain tells; nothing is sent to the provider."""
        return reach_of(await self._chain.service(provider), model or None, self._policy.accept_models)

    async def route(self, service: Service, model: str) -> DirectRoute:
        """See `Backend.route`."""
        made, provider = time.monotonic(), service.provider
        # What a prompt may not be sent without is read before; everything else beside the call, for its verdict.
        careful = self._careful or is_held()
        record = self._chain.in_hand(provider, made - self._records.age if careful else made - self._chain.ttl)
        if record is None:
            with blaming("provider", self._sources if provider == self.provider else {}, about="no provider "):
                record = await (self._records.young(provider, made) if careful else self._chain.service(provider))
        self.admit(record)
        if self._policy.looks_at_records:  # what is demanded of a kind is no demand on a key that two kinds share
            await self._chain.known()
            self._refuse_shared(record)
        wanted = model or record.model
        if wanted != record.model and wanted not in (served := await self._models(record, wanted)):
            names = ", ".join([record.model, *sorted(served - {record.model})][:8])
            raise ModelNotServed(
                f"provider {record.provider} does not serve {wanted!r}",
                hint=f"it serves {names}; {self._other_way(wanted)}",
                model=wanted,
            )
        if wanted != record.model:
            self._policy.admit(record, model=wanted)
        attests = self._sealing is not None or self._policy.demand.level is not None
        report = await self._attested(record, wanted) if attests else None
        read = self._chain.read_at(provider)
        return DirectRoute(
            await self._listed(record, wanted), wanted, report, made, read, records=self._records, chain=self._chain
        )

    def _refuse_shared(self, record: Record) -> None:
        if rivals := self._chain.rivals(record):
            raise VerificationUnavailable(
                f"the key of provider {record.provider} ({record.kind}) is that of {rivals[0]} too, of another kind; "
                "nothing was sent",
                code="signer_shared",
                hint="choose another provider",
            )

    def _other_way(self, wanted: str) -> str:
        """How to come to a provider of `wanted`, in words that name where provider and model were said."""
        if variable := self._sources.get("provider"):
            return f"{variable} names the provider: unset it, and give model={wanted!r}"
        if wanted == self._model and (variable := self._sources.get("model")):
            return f"{variable} names the model"
        if self.provider is None:
            return f"this client chose it for its first call and keeps it: make another with model={wanted!r}"
        return f"or leave out provider=… and give model={wanted!r}"

    async def _attested(self, service: Record, model: str) -> AttestationReport | None:
        """The attestation that the policy asks for, None if it asks for none.

        Raises:
            AttestationError: it does not hold.
            VerificationUnavailable: it cannot be had.
        """
        level = self._policy.demand.level
        if self._sealing is not None:
            if service.kind is Kind.STANDARD:
                said = f"provider {service.provider} has no enclave to seal to; nothing was sent"
                raise VerificationUnavailable(said, code="cannot_seal", hint="choose another provider")
            _, sealed = await self._sealing.of(service, model)
            self._policy.admit(service, sealed, model=model)
            return sealed
        if level is None:
            return None
        if self._attestations is None:
            from zg_core.backends.direct.attesting import Attestations

            self._attestations = Attestations(self._transport, self._attestation_options)
        report = await self._attestations.report(service, level, model)
        self._policy.admit(service, report, model=model)
        return report

    def admit(self, service: Record) -> None:
        """Refuse a service that the policy forbids, or whose URL no prompt may be sent to."""
        self._policy.admit(service)
        self._check_url(service)

    def _check_url(self, service: Record) -> str:
        private = service.private and self._private
        return provider_url(service.url, service.provider, private)

    # one request

    def body(self, route: Route, task: Task, payload: Mapping[str, Any], data: bytes | None = None) -> Body:
        """See `Backend.body`: as it is, with the model of the route where none is named."""
        sold = direct(route).service.on_chain.service_type
        if sold != task.service_type:
            raise ConfigError(
                f"provider {route.service.provider} serves {sold}, not {task.service_type}; nothing was sent",
                code="wrong_service",
                hint=f"`zerog providers` lists those that serve {task.service_type}",
            )
        if self._sealing is not None:
            return sealing.body_of(task, route.model, payload, self._sealing.in_hand(route.service.provider))
        return Body(*request_bytes(task, route.model, payload, data))

    async def grant(self, call: Call, error: ZeroGError | None = None) -> Grant | float | None:
        """See `Backend.grant`.

        While the provider may not have seen our own last transaction yet, these are the seconds until it has; a session
        that was rejected is signed anew once, with what the chain says now.
        """
        if error is None:
            return await self._grant(call, "")
        if error.code == sealing.KEY_MISMATCH and self._sealing is not None:
            if call.grant is None or call.grant.facts.get("session") == "new key":
                return None
            provider = call.route.service.provider
            self._sealing.forget(provider)
            record = await self._chain.service(provider, fresh=True)  # it may have changed with the key
            if (objection := sealing.objection_to(record)) is not None:
                raise objection
            await self._attested(record, call.route.model)
            return await self._grant(call, "new key")
        if not call.hasty and (left := await self._patience(call, error)) > 0:
            self._tell_of(call, error, left)
            return left
        renewed = call.grant is not None and call.grant.facts.get("session") == "renewed"
        if isinstance(error, SessionRejected) and not renewed and self._credential.drop(call.receipt.provider):
            return await self._grant(call, "renewed")
        return None

    async def _grant(self, call: Call, session: str) -> Grant:
        provider, route = call.route.service.provider, direct(call.route)
        token = await self._credential.token(self._chain, self._transport, provider)
        self._records.beside(provider, route.made)
        bearer = self._bearers.get(provider)
        if bearer is None or bearer[0] is not token:
            bearer = self._bearers[provider] = token, SecretHeaders({"Authorization": f"Bearer {token.reveal()}"})
        return Grant(bearer[1], facts={"session": session} if session else {})

    def _tell_of(self, call: Call, error: ZeroGError, left: float) -> None:
        provider = call.receipt.provider
        tell(
            self._on_progress,
            "waiting_for_provider",
            f"provider {provider} does not see your last transaction yet ({error.code}); this takes at most "
            f"{left:.0f} s more",
            provider=provider,
            code=error.code,
            seconds=left,
        )

    async def token(self, provider: str) -> Secret:
        """The bearer token for `provider`."""
        return await self._credential.token(self._chain, self._transport, provider)

    def refusal(self, call: Call, status: int, headers: Mapping[str, str], body: bytes) -> ZeroGError:
        """See `Backend.refusal`."""
        signed_here, route = isinstance(self._credential, WalletCredential), direct(call.route)
        record = route.service.on_chain
        if self._sealing is not None and (changed := sealing.key_changed(status, body)) is not None:
            return changed
        error = refusals.refusal(record, route.model, status, headers, body, signed_here=signed_here)
        if isinstance(error, ModelNotServed):  # the next such call ends here: five of them would block the user
            self._served.pop(record.provider, None)
        return error

    async def _patience(self, call: Call, error: ZeroGError) -> float:
        """Seconds for which a refusal may only mean that the provider has not seen our own change yet; 0 if not."""
        provider, payer = call.route.service.provider, self.payer
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

    # its reply

    @property
    def hears_text(self) -> bool:
        """See `Backend.hear`."""
        return self._sealing is not None

    def hear(self, call: Call, said: dict[str, Any]) -> dict[str, Any] | None:
        """See `Backend.hear`: all that a reply says here is its answer, opened where it is sealed."""
        return said if self._sealing is None else sealing.hear(call, said)

    def fee(self, call: Call) -> Fee:
        """See `Backend.fee`."""
        return direct(call.route).fee(call.usage)

    async def verify(self, call: Call) -> Verdict:
        """See `Backend.verify`."""
        if self._sealing is not None:
            return await self._judge_sealed(call)
        if call.task.counted == ("images",):
            return await self._judge_images(call)
        verdict = await self.judge(direct(call.route), call.exchange)
        if call.task.name == TRANSCRIPTION.name and call.streamed and verdict.reason is Reason.CONTENT_MISMATCH:
            # The enclave hashes all that it was sent, and may have forwarded less (services §4.4): no accusation.
            return replace(verdict, status=Status.UNAVAILABLE, reason=Reason.INCOMPLETE)
        return verdict

    async def _judge_images(self, call: Call) -> Verdict:
        """The verdict on images, which are fetched first where the answer holds addresses."""
        route, kind = direct(call.route), call.receipt.kind
        urls = call.heard.get("image_urls")
        if urls:
            await self.fetch_images(call)
        verdict = await self.judge(route, call.exchange)
        # Of a job, too, nobody sees the bytes that a relay has hashed: they come inside another document.
        aside = call.heard.get("aside") and kind is Kind.TEE_TLS
        unseen = aside or (bool(urls) and (kind is Kind.TEE_TLS or not call.exchange.images))
        if unseen and verdict.reason is Reason.CONTENT_MISMATCH:
            # The signed bytes are those of the images, or of an answer that nobody was shown (services §1.2).
            relayed = kind is Kind.TEE_TLS
            status, reason = (Status.SIGNER_ONLY, Reason.NONE) if relayed else (Status.UNAVAILABLE, Reason.INCOMPLETE)
            return replace(verdict, status=status, reason=reason)
        return verdict

    async def look_at(self, call: Call, job_id: str) -> tuple[int, Mapping[str, str], dict[str, Any]]:
        """What the provider says of a job: status, headers, document."""
        record = direct(call.route).service.on_chain
        token = await self._credential.token(self._chain, self._transport, record.provider)
        headers = SecretHeaders({"Authorization": f"Bearer {token.reveal()}"})
        return await look_at_job(self._transport, record, job_id, headers)

    async def fetch_images(self, call: Call) -> None:
        """Fetch the images that an answer names by address into ``call.heard["images"]``, once.

        What goes wrong is left in ``call.heard["image_error"]``: the answer is paid, and a verdict is due all the same.
        """
        if "images" in call.heard or "image_error" in call.heard:
            return
        record, key = direct(call.route).service.on_chain, call.heard.get("image_key") or call.exchange.chat_id
        try:
            found = await fetch_images(self._transport, record, key, call.heard["image_urls"])
        except ZeroGError as error:
            call.heard["image_error"] = error
            return
        call.heard["images"] = found
        call.exchange.images = tuple(map(sha256_hex, found))

    async def judge(self, route: DirectRoute, exchange: Exchange) -> Verdict:
        """The verdict on an exchange along `route`."""
        record = route.service.on_chain

        async def fetch(chat_ids: tuple[str, ...]) -> bytes | None:
            provider, delays = record.provider, tuple(SIGNATURE_DELAYS)
            chosen = self._missed.delays(provider, delays) if self._policy.mode == "warn" else delays
            found = await fetch_signature(self._transport, record, route.model, chat_ids, delays=chosen)
            self._missed.note(provider, found=found is not None, waited=chosen == delays)
            return found

        async def reread() -> Record:
            try:
                return await self._chain.service(record.provider, fresh=True)
            except ConfigError:  # the provider has left the chain: nothing acknowledges its key any more
                return unregistered(record)

        verdict = await response.verify(
            exchange,
            record,
            fetch=fetch,
            reread=reread,
            guard=self._guard,
            accept_models=self._policy.accept_models,
            record_age=route.record_age,
        )
        if route.stale and verdict.satisfies(Status.CLAIMED):  # what it names may hold no more
            verdict = replace(verdict, status=Status.UNAVAILABLE, reason=Reason.RECORD_UNREADABLE)
        return self._of_one_kind(verdict, record)

    def _of_one_kind(self, verdict: Verdict, record: Record) -> Verdict:
        """`verdict`, unless its key is that of a record of another kind as well: then nobody can tell whose it was."""
        if verdict.satisfies(Status.CLAIMED) and self._chain.rivals(record):
            return replace(verdict, status=Status.UNAVAILABLE, reason=Reason.SIGNER_SHARED)
        return verdict

    async def _judge_sealed(self, call: Call) -> Verdict:
        route = direct(call.route)
        record = route.service.on_chain

        async def fetch(ids: tuple[str, ...]) -> bytes | None:
            return await fetch_signature(self._transport, record, record.model, ids)

        async def reread() -> Record:
            try:
                return await self._chain.service(record.provider, fresh=True)
            except ConfigError:
                return unregistered(record)

        verdict = await sealing.verdict_on(call, record, fetch=fetch, reread=reread)
        verdict = replace(verdict, record_age=route.record_age)
        if route.stale and verdict.satisfies(Status.CLAIMED):
            verdict = replace(verdict, status=Status.UNAVAILABLE, reason=Reason.RECORD_UNREADABLE)
        return self._of_one_kind(verdict, record)

    async def model_info(self, service: Service, model: str) -> ModelInfo:
        """What the provider says about `model`."""
        record = service.on_chain if isinstance(service, Listed) else await self._chain.service(service.provider)
        return await self._catalogue.info(record, model or record.model)

    async def _models(self, service: Record, wanted: str, *, adapters: bool = True) -> frozenset[str]:
        """Ids that the provider lists besides its on-chain model: other models, aliases and its adapters."""
        read, names = self._served.get(service.provider, (-math.inf, frozenset()))
        if wanted not in names and time.monotonic() - read > _MODELS_SECONDS:
            listed = await self._get_json(self._get(service, "/v1/models"))
            names = frozenset({service.model}) | _names(listed, "data", "id") | _names(listed, "data", "canonical_id")
            if not adapters:
                return names
            token = await self._credential.token(self._chain, self._transport, service.provider)
            headers = SecretHeaders({"Authorization": f"Bearer {token.reveal()}"})
            tuned = await self._get_json(self._get(service, "/v1/lora/adapters", headers))
            names |= _names(tuned, "adapters", "adapterName")
            self._served[service.provider] = (time.monotonic(), names)
        return names

    def _get(self, service: Record, path: str, headers: Mapping[str, str] | None = None) -> Request:
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


def direct(route: Route) -> DirectRoute:
    """`route`, which this backend has made."""
    assert isinstance(route, DirectRoute)  # noqa: S101 - routes go back to who made them
    return route


def _names(value: Any, container: str, field: str) -> set[str]:
    entries = value.get(container) if isinstance(value, dict) else value
    if not isinstance(entries, list):
        return set()
    return {e[field] for e in entries if isinstance(e, dict) and isinstance(e.get(field), str)}
