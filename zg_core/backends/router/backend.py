"""0G Router as a backend: in the clear, where its word is all there is, and sealed, where none is needed."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from zg_core.backends import sealing
from zg_core.backends.onchain import RECORD_AGE, Listed, listed, unregistered
from zg_core.backends.router.api import RouterApi
from zg_core.backends.router.catalogue import Catalogue, abilities_of, tariff_of
from zg_core.backends.router.headers import routing_headers
from zg_core.backends.router.refusals import refusal, request_id_of
from zg_core.backends.router.trace import Trace, fee_of_trace, only_trace
from zg_core.backends.service import Body, Grant, Offer, Route, Service
from zg_core.backends.signatures import SIGNATURE_DELAYS, Missed, fetch_signature
from zg_core.config import SecretHeaders
from zg_core.contracts.reader import ChainReader
from zg_core.crypto import checksum_address, is_address, same_address
from zg_core.errors import (
    ChainError,
    ConfigError,
    ModelNotServed,
    VerificationUnavailable,
    ZeroGError,
)
from zg_core.jsontext import encode_body
from zg_core.pricing import Tariff, fee_of
from zg_core.sealing.profiles import profile_of
from zg_core.tasks.requests import request_bytes
from zg_core.types import Kind
from zg_core.verify.schemes.claims import claim_evidence
from zg_core.verify.schemes.claims import remade as claimed_again
from zg_core.verify.schemes.evidence import Kept
from zg_core.verify.verdict import Reason, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.base import Setting
    from zg_core.backends.router.headers import Wishes
    from zg_core.backends.router.networks import RouterNetwork
    from zg_core.calls.call import Call
    from zg_core.config import Secret
    from zg_core.money import Fee
    from zg_core.tasks.base import Task
    from zg_core.types import ServiceRecord as Record

__all__ = ["RouterBackend"]

ROUTER = "router"
"""The provider of a call in the clear: who of all providers answers is the Router's choice."""
_TRACE, _REQUEST_ID = "trace", "request_id"
_CHECK_SECONDS = 60.0
"""For so long the Router may check a signature before it says the last word, without a byte (30 s, 0g-router §4.2)."""
_MOST_CANDIDATES = 16  # each is looked up on chain
_SEALED_OR_DIRECT = (
    "sealed=True proves it through the Router (backend=Router(sealed=True)), and backend='direct' without it; or, if a "
    "claim will do, minimum='signer_only' or 'claimed'"
)


@dataclass(frozen=True, slots=True)
class SealedRoute(Route):
    """A route to one enclave, and when the record of its provider was read.

    Attributes:
        service: Who will answer.
        made: When the route was made, by ``time.monotonic``.
    """

    service: Listed
    made: float = field(default_factory=time.monotonic)


class RouterBackend:
    """Reaches providers through 0G Router.

    Args:
        setting: What the client is made with.
        router: Which Router.
        key: Pays.
        wishes: How the Router shall choose.
        sealed: Whether requests are sealed.
        verify_tee: Whether the Router is asked to check signatures.
        key_signed: Whether the key on chain must have signed the quote that shows the key to seal to.
        given_url: Whether the user named the Router's URL.
    """

    name = ROUTER

    def __init__(
        self,
        setting: Setting,
        router: RouterNetwork,
        key: Secret,
        wishes: Wishes,
        *,
        sealed: bool = False,
        verify_tee: bool = False,
        key_signed: bool = True,
        given_url: bool = False,
    ) -> None:
        self.network = setting.network
        self.router = router
        self.realm = router.realm
        self.sealed = sealed
        self.chooses = not sealed
        """Whether it chooses among providers itself; else each candidate is an offer of its own."""
        self.interchangeable = sealed and wishes.provider is None and wishes.fallbacks is not False
        """Whether a call goes on to the next enclave, sealed anew, where one has certainly not served it (§10.5)."""
        self._setting = setting
        self._transport = setting.transport
        self._policy = setting.policy
        self._key = key
        self._payer = f"key:{hashlib.sha256(key.reveal().encode()).hexdigest()[:24]}"
        self._wishes = wishes
        self._verify_tee = verify_tee
        self._key_signed = key_signed
        self._api = RouterApi(router, setting.transport)
        self.catalogue = Catalogue(self._api)
        self._chain = ChainReader(setting.network, setting.transport)
        self._missed = Missed()
        self._keys: Any = None
        self._private = router.is_local or given_url
        age = setting.record_age
        self._age = (0.0 if setting.network.name == "local" else RECORD_AGE) if age is None else age

    @property
    def payer(self) -> str:
        """What stands for the key that pays; it says nothing of it."""
        return self._payer

    def gives_away(self, data: bytes) -> bool:
        """Whether `data` holds the key that pays."""
        return self._key.reveal().encode() in data

    # choosing

    async def offers(self, task: Task, model: str | None) -> list[Offer]:
        """See `Backend.offers`: in the clear the Router for each model, sealed each enclave that could answer."""
        if self.sealed:
            return await self._candidates(task, model)
        rows = await self.catalogue.providers(task, model)
        if not rows:
            return []
        by_model: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_model.setdefault(str(row.get("canonical_id") or row.get("model_id") or ""), []).append(row)
        offers = []
        for name, group in by_model.items():
            abilities = frozenset().union(*(abilities_of(row) for row in group))
            service = self._service(task, model or name, tariff_of(group))
            offers.append(Offer(service, None, abilities))
        return offers

    def _service(self, task: Task, model: str, tariff: Tariff | None) -> Service:
        provider = self._wishes.provider or ROUTER
        return Service(
            provider,
            model,
            task.name,
            self.router.base_url,
            Kind.STANDARD,
            tariff if "seconds" not in task.counted else None,  # nobody knows how long a recording is
            Status.SIGNER_ONLY,
            private=self._private,
            record={"router": str(self.router.base_url), "sealed": False},
        )

    async def _candidates(self, task: Task, model: str | None) -> list[Offer]:
        """Every enclave that the request could be sealed to, in the order of the preview, with its chain record."""
        profile_of(task.name)
        named: list[tuple[str, str]] | None = None
        pinned = self._wishes.provider is not None
        if self._wishes.provider is not None:
            named = [(self._wishes.provider, model or "")]
        elif model is not None:
            headers = routing_headers(self._wishes)
            named = await self.catalogue.preview(task, {"model": model}, self._key, headers)
        if named is None:  # not enabled here: what is on chain, as far as the Router knows it
            rows = await self.catalogue.providers(task, model)
            named = [
                (checksum_address(row["address"]), str(row.get("canonical_id") or ""))
                for row in rows
                if is_address(row.get("address"))
            ]
        offers = []
        unique: dict[str, str] = {}
        for address, canonical in named:
            unique.setdefault(address, canonical)
        for address, canonical in list(unique.items())[:_MOST_CANDIDATES]:
            try:
                record = await self._chain.service(address)
            except ConfigError:  # a stranger: the chain knows no such provider
                continue
            service = await self._enclave(task, record, canonical or model or record.model)
            others = None if pinned or model is None else self._other_model(record, model)
            offers.append(Offer(service, sealing.objection_to(record) or others))
        return offers

    def _other_model(self, record: Record, model: str) -> ZeroGError | None:
        """What speaks against a candidate that sells another model, by the chain: who is one is only the Router's word.

        The name is outside the seal, and the Router changes it, so nothing else could tell.
        """
        if record.multi_model or _plain_name(record.model) == _plain_name(model):
            return None
        if (self._policy.accept_models or {}).get(model) == record.model:
            return None
        return VerificationUnavailable(
            f"the Router names provider {record.provider} for the model {model[:120]!r}, and on chain that one sells "
            f"{record.model[:120]!r}; nothing is sealed to it",
            code=str(Reason.MODEL_RENAMED),
            hint=f"ask for model={record.model[:120]!r}; or, if you know that it is the same, "
            f"accept_models={{{model[:120]!r}: {record.model[:120]!r}}}; or name the provider: provider='0x…'",
        )

    async def _enclave(self, task: Task, record: Record, model: str) -> Listed:
        block = self._chain.block_of(record.provider)
        tariff = Tariff.of(record)
        reach = Status.VERIFIED if record.kind is not Kind.STANDARD else Status.NOT_VERIFIABLE
        made = listed(record, model, self.network, tariff=tariff, reach=reach, block=block)
        facts = {**made.record, "router": str(self.router.base_url), "sealed": True}
        return replace(made, url=self.router.base_url, task=task.name, private=self._private, record=facts)

    async def route(self, service: Service, model: str) -> Route:
        """See `Backend.route`."""
        task = self._setting.task
        if self.sealed:
            return await self._sealed_route(task, service, model)
        self._refuse_more_than_claims()
        wanted = model or service.model
        if not wanted:
            hint = "pass model='…', one that `zerog router models` lists"
            raise ConfigError("no model is named", code="no_target", hint=hint)
        if service.url:
            return Route(service, wanted)
        rows = await self.catalogue.providers(task, wanted)
        if self._wishes.provider is not None:
            rows = [row for row in rows if same_address(str(row.get("address")), self._wishes.provider)] or rows
        if not rows:
            raise await self._not_served(task, wanted)
        return Route(self._service(task, wanted, tariff_of(rows)), wanted)

    def _refuse_more_than_claims(self) -> None:
        """Refuse what no reply in the clear can meet, before the prompt leaves."""
        if self._policy.mode != "require":
            return
        blank = self._service(self._setting.task, "", None)
        if self._policy.demand.refuses(blank, None, strict=True) is not None:
            raise VerificationUnavailable(
                "a reply through the Router in the clear can be signer_only at best: it is the Router's word",
                code="out_of_reach",
                hint=_SEALED_OR_DIRECT,
            )

    async def _sealed_route(self, task: Task, service: Service, model: str) -> Route:
        made, address = time.monotonic(), service.provider
        record = await self._chain.service(address, since=made - self._age)
        if (objection := sealing.objection_to(record)) is not None:
            raise objection
        self._policy.admit(record)
        wanted = service.model or model
        if not service.model:
            rows = await self.catalogue.providers(task, None)
            own = [row for row in rows if same_address(str(row.get("address")), address)]
            wanted = str(own[0].get("canonical_id") or model) if own else model or record.model
        _, report = await self._sealing_keys().of(record)
        self._policy.admit(record, report)
        return SealedRoute(await self._enclave(task, record, wanted), wanted, report, made)

    def _sealing_keys(self) -> Any:
        if self._keys is None:
            from zg_core.verify.attestation.sealing_keys import SealingKeys

            level = self._policy.demand.level
            options = self._setting.attestation
            self._keys = SealingKeys(self._transport, level, options, signed=self._key_signed)
        return self._keys

    async def _not_served(self, task: Task, model: str) -> ModelNotServed:
        if not await self.catalogue.offers(task):
            said = f"the Router of {self.router.name} offers no {task.service_type} service"
            return ModelNotServed(said, code="task_not_offered", hint="use backend='direct' for it", model=model)
        names = sorted({str(row.get("canonical_id")) for row in await self.catalogue.providers(task, None)})
        hint = f"it has {', '.join(names[:8]) or 'none'}; `zerog router models` lists them"
        return ModelNotServed(f"the Router of {self.router.name} has no model {model!r}", hint=hint, model=model)

    # one request

    def body(self, route: Route, task: Task, payload: Mapping[str, Any], data: bytes | None = None) -> Body:
        """See `Backend.body`."""
        if self.sealed:
            key = self._sealing_keys().in_hand(route.service.provider)
            return sealing.body_of(task, route.model, payload, key)
        if self._verify_tee and task.form == "json":
            asked = {**payload, "model": payload.get("model") or route.model, "verify_tee": True}
            return Body(encode_body(asked), held=_CHECK_SECONDS)
        return Body(*request_bytes(task, route.model, payload, data))

    async def grant(self, call: Call, error: ZeroGError | None = None) -> Grant | float | None:
        """See `Backend.grant`: the key and what is asked of the Router; once more where the enclave has a new key."""
        facts: dict[str, Any] = {}
        if error is not None:
            again = call.grant is not None and call.grant.facts.get("sealed_to") == "new key"
            if error.code != sealing.KEY_MISMATCH or again or not self.sealed:
                return None
            keys, provider = self._sealing_keys(), call.route.service.provider
            keys.forget(provider)
            record = await self._chain.service(provider, fresh=True)  # it may have changed with the key
            if (objection := sealing.objection_to(record)) is not None:
                raise objection
            self._policy.admit(record)
            _, report = await keys.of(record)
            self._policy.admit(record, report)
            facts = {"sealed_to": "new key"}
        wishes = replace(self._wishes, provider=call.route.service.provider) if self.sealed else self._wishes
        headers = routing_headers(wishes, sealed=self.sealed)
        secret = {"Authorization": f"Bearer {self._key.reveal()}", **headers}
        return Grant(SecretHeaders(secret), facts=facts | {"asked": headers})

    def refusal(self, call: Call, status: int, headers: Mapping[str, str], body: bytes) -> ZeroGError:
        """See `Backend.refusal`."""
        call.heard[_REQUEST_ID] = request_id_of(headers, body)
        if self.sealed and (changed := sealing.key_changed(status, body)) is not None:
            return changed
        return refusal(self.router, call.route.model, status, headers, body, sealed=self.sealed)

    # its reply

    @property
    def hears_text(self) -> bool:
        """See `Backend.hear`."""
        return self.sealed

    def hear(self, call: Call, said: dict[str, Any]) -> dict[str, Any] | None:
        """See `Backend.hear`."""
        heard = call.heard
        if (trace := Trace.of(said)) is not None:
            before = heard.get(_TRACE)
            heard[_TRACE] = trace if before is None else before.and_then(trace)
            if not self.sealed and trace.provider:  # who answered, by the Router's word
                call.route = replace(call.route, service=replace(call.route.service, provider=trace.provider))
                call.receipt.provider = trace.provider
        if self.sealed:
            said = sealing.hear(call, said)
        return None if call.streamed and trace is not None and only_trace(said) else said

    def fee(self, call: Call) -> Fee:
        """See `Backend.fee`: the Router's word, held against the provider's prices where these are on chain."""
        self._note(call)
        trace: Trace | None = call.heard.get(_TRACE)
        service = call.route.service
        record = getattr(service, "on_chain", None)
        if record is None or Tariff.of(record) is None:
            return fee_of_trace(trace, self._most(call), service.currency)
        own = fee_of(record, call.usage)  # the Router takes no share (0g-router §9.1)
        said = fee_of_trace(trace, None)
        if trace is None or trace.billing is None:
            return replace(own, exact=False, reason="cost_not_said", lower=0, upper=own.most)
        if said.amount.currency != "0G":
            return said
        if not own.exact:  # the enclave has bound no count that would show it
            return replace(said, exact=False, reason=own.reason, lower=0, upper=own.most)
        if said.amount == own.amount:
            return said
        both = sorted((said.amount.units, own.amount.units))
        return replace(said, exact=False, reason="cost_contradicts", lower=both[0], upper=both[1])

    @staticmethod
    def _most(call: Call) -> int | None:
        tariff, usage = call.route.service.tariff, call.usage
        if "prompt_tokens" not in call.task.counted:  # what is billed is not in it
            return None
        return None if tariff is None or usage is None else tariff.most(usage.prompt_tokens, usage.completion_tokens)

    def _note(self, call: Call) -> None:
        """Who answered and under which number, into the receipt."""
        trace: Trace | None = call.heard.get(_TRACE)
        number = request_id_of(call.exchange.headers) or (trace.request_id if trace else "")
        call.heard[_REQUEST_ID] = number
        said = (trace or Trace()).and_then(Trace(request_id=number)).to_dict()
        evidence = call.receipt.evidence
        call.receipt.evidence = replace(evidence, facts={**evidence.facts, "trace": said})

    async def verify(self, call: Call) -> Verdict:
        """See `Backend.verify`."""
        trace: Trace | None = call.heard.get(_TRACE)
        if not self.sealed:
            return await self._claimed(call, trace)
        assert isinstance(call.route, SealedRoute)  # noqa: S101 - it was made here
        record, made = call.route.service.on_chain, call.route.made
        stale = False
        try:
            record = await self._chain.service(record.provider, since=made - self._age)
        except ConfigError:
            record = unregistered(record)
        except ChainError:
            stale = True
        asked = record

        async def fetch(ids: tuple[str, ...]) -> bytes | None:
            return await self._fetch(asked, ids)

        async def reread() -> Record:
            try:
                return await self._chain.service(asked.provider, fresh=True)
            except ConfigError:
                return unregistered(asked)

        verdict = await sealing.verdict_on(call, record, fetch=fetch, reread=reread)
        read = self._chain.read_at(record.provider)
        age = math.ceil(max(0.0, made - read)) if math.isfinite(read) else None
        verdict = replace(verdict, record_age=age)
        self._note(call)  # the evidence is another one by now
        if stale and verdict.satisfies(Status.CLAIMED):
            verdict = replace(verdict, status=Status.UNAVAILABLE, reason=Reason.RECORD_UNREADABLE)
        return verdict

    async def _fetch(self, record: Record, ids: tuple[str, ...]) -> bytes | None:
        delays = tuple(SIGNATURE_DELAYS)
        chosen = self._missed.delays(record.provider, delays) if self._policy.mode == "warn" else delays
        found = await fetch_signature(self._transport, record, record.model, ids, delays=chosen)
        self._missed.note(record.provider, found=found is not None, waited=chosen == delays)
        return found

    async def _claimed(self, call: Call, trace: Trace | None) -> Verdict:
        """What can be said of a reply in the clear: that a key on chain signed something, or what the Router claims."""
        exchange = call.exchange
        record, document = None, None
        number = exchange.headers.get("zg-res-key", "")  # the id in the body is no other name for it here
        ids = (number,) if number and number == exchange.chat_id else ()
        if exchange.complete and trace is not None and trace.provider:
            try:
                record = await self._chain.service(trace.provider)
                if ids and record.kind is not Kind.STANDARD:
                    document = await self._fetch(record, ids)
            except (ChainError, ConfigError):
                record = None
        evidence = claim_evidence(document, ids, None if trace is None else trace.to_dict())
        verdict = claimed_again(Kept(exchange, evidence, record, Verdict(Status.UNAVAILABLE)))
        if verdict.reason in (Reason.SIGNER_MISMATCH, Reason.SIGNER_NOT_ACKNOWLEDGED) and record is not None:
            try:
                record = await self._chain.service(record.provider, fresh=True)
                verdict = claimed_again(Kept(exchange, evidence, record, verdict))
            except (ChainError, ConfigError):
                verdict = replace(verdict, status=Status.UNAVAILABLE, reason=Reason.RECORD_UNREADABLE)
        call.receipt.evidence = replace(evidence, signer=verdict.recovered_signer)
        self._note(call)
        return verdict


def _plain_name(model: str) -> str:
    """What the Router makes of a name on chain: without the vendor, in lower case."""
    return model.rpartition("/")[2].lower()
