"""OpenGradient: enclaves from a registry, certificates compared, permits of x402, answers signed by RSA keys."""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from zg_core.backends.base import Body, Grant, Offer, Route, Service
from zg_core.backends.opengradient import challenge as asking
from zg_core.backends.opengradient import payment
from zg_core.backends.opengradient.attesting import Attestations
from zg_core.backends.opengradient.funds import funds_of, short_of
from zg_core.backends.opengradient.models import wire_name
from zg_core.backends.opengradient.options import is_local
from zg_core.backends.opengradient.referee import Permits
from zg_core.backends.opengradient.refusals import check_clock, refusal
from zg_core.backends.opengradient.registry import HEARTBEAT_SECONDS, Enclave, Registry, Validity
from zg_core.backends.opengradient.sessions import Session, seat_of
from zg_core.backends.opengradient.wording import mode_of, worded
from zg_core.calls.retries import Attempts
from zg_core.chain.rpc import JsonRpc
from zg_core.config import Network, Secret, SecretHeaders, check_url
from zg_core.errors import (
    ChainError,
    ConfigError,
    ProviderUnavailable,
    SessionRejected,
    ZeroGError,
)
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import encode_body, parse_json
from zg_core.money import METERED, Amount, Fee
from zg_core.tasks.base import CHAT
from zg_core.tasks.models import ModelInfo
from zg_core.types import Kind
from zg_core.verify.replay import mark_of
from zg_core.verify.schemes.canonical import Answer
from zg_core.verify.schemes.rsa_pss import UnfitKey, check_key, evidence_of, examine
from zg_core.verify.verdict import Reason, Status, Verdict
from zg_core.wallet import Wallet, missing_credential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.base import Setting
    from zg_core.backends.opengradient.options import OpenGradient
    from zg_core.backends.opengradient.payment import Permit
    from zg_core.backends.opengradient.sessions import Seat
    from zg_core.calls.call import Call
    from zg_core.tasks.base import Task

__all__ = ["OpenGradientBackend"]

logger = logging.getLogger(__name__)

_KEY_VARIABLE = "OG_PRIVATE_KEY"
_V1 = "/v1"
# Any token lets a request in, and one must be there (opengradient §2.2).
_BEARER = "Bearer 0x" + "0" * 40
_PROBE_TIMEOUTS = Timeouts(connect=10.0, read=30.0, whole=60.0)
_MOST_REFUSAL = 1024 * 1024
_MOST_RENEWALS = 3
_WORTH_KEEPING = 120.0  # seconds that a permit that was not sent must be good for yet
_SESSION = "x-upto-session"
_PAID = "payment-response"
_PUBLISHED = {
    "x-settlement-tx-hash": "transaction",
    "x-settlement-walrus-blob-id": "blob",
    "x-settlement-job-id": "job",
}
_PUBLISHED_IN_STREAM = {
    "data_settlement_transaction_hash": "transaction",
    "data_settlement_blob_id": "blob",
    "settlement_job_id": "job",
}


class OpenGradientBackend:
    """See `zg_core.backends.base.Backend`.

    Args:
        options: What only this backend has.
        setting: What a client makes its backend with.
    """

    name = "opengradient"
    interchangeable = True
    """Any enclave answers as well as any other: a call goes to the next where one is dead."""

    def __init__(self, options: OpenGradient, setting: Setting) -> None:
        self.options = options = options.placed(setting.environ)
        self.realm = f"eip155:{options.chain_id}"
        registry_url, payment_url = options.urls(setting.environ)
        self._private = is_local(registry_url) or setting.network.allow_private_providers
        name = "local" if is_local(registry_url) and is_local(payment_url) else "base"
        self.network = Network(name, options.chain_id, payment_url, "", "", allow_private_providers=self._private)
        self._policy = setting.policy
        self._transport = setting.transport
        self._retries = setting.retries
        self._wallet = setting.wallet or _own_wallet(setting)
        age = 60.0 if setting.record_age is None else setting.record_age
        self.registry = Registry(registry_url, options.registry, options.registry_chain_id, setting.transport, age=age)
        self.rpc = JsonRpc(payment_url, setting.transport)
        self._attestations = Attestations(options, setting.transport)
        self._warmed = False
        self.permits = Permits()
        """What this client was charged with by permits, until the chain tells more."""
        # A budget counts what its own clients' permits allow: they share none with clients that have another, or none.
        self._own = uuid.uuid4().hex if setting.careful else ""
        self._offered: set[tuple[str, str]] = set()
        # What was worked out from the entries that were read last, and not for every call again.
        self._entries: dict[str, Enclave] = {}
        self._services: dict[tuple[Enclave, str, str], Service] = {}
        self._validity: dict[Enclave, Validity] = {}

    @property
    def payer(self) -> str:
        """Address of the account that pays."""
        return self.wallet.address

    @property
    def pays_with(self) -> Wallet | None:
        """The wallet, None where nobody pays: its key must be part of no request."""
        return self._wallet

    @property
    def wallet(self) -> Wallet:
        """Who pays.

        Raises:
            ConfigError: nobody does (code ``no_credential``).
        """
        if self._wallet is None:
            error = missing_credential()
            error.hint = "set ZEROG_PRIVATE_KEY or OG_PRIVATE_KEY (the wallet's key), or pass private_key=…"
            raise error
        return self._wallet

    # choosing

    async def offers(self, task: Task, model: str | None) -> list[Offer]:
        """See `Backend.offers`: every enclave answers for every model; a gateway says itself which it does not know."""
        if task.name != CHAT.name:
            return []
        active = await self._active()
        found = []
        for enclave in active.values():
            service = self._service(enclave, wire_name(model or ""), task)
            found.append(Offer(service, self._objection(enclave)))
        return found

    async def route(self, service: Service, model: str) -> Route:
        """See `Backend.route`."""
        enclave = await self._enclave(service.provider)
        if (objection := self._objection(enclave)) is not None:
            raise objection
        wanted = wire_name(model or service.model)
        if not wanted:
            raise ConfigError(
                "no model is named", code="no_target", hint="pass model='openai/gpt-5', or set ZEROG_MODEL"
            )
        found = self._service(enclave, wanted, CHAT)
        report = None
        level = self._policy.demand.level
        if level is not None:
            pin = found.certificate_sha256
            report = await self._attestations.report(enclave, level, pin=pin, private=self._private)
        return Route(found, wanted, report)

    async def model_info(self, service: Service, model: str) -> ModelInfo:
        """What gateways can do with any chat model; they ignore `tool_choice`, so a schema is what holds an answer."""
        takes = frozenset({"tools", "response_format", "structured_outputs", "max_tokens", "temperature"})
        return ModelInfo(wire_name(model or service.model), CHAT.service_type, capabilities=takes)

    async def _active(self, *, since: float | None = None) -> dict[str, Enclave]:
        """`Registry.active`; what was worked out from entries that were read before is forgotten."""
        active = await self.registry.active(since=since)
        if active is not self._entries:
            self._entries, self._services, self._validity = active, {}, {}
        return active

    async def _enclave(self, tee_id: str) -> Enclave:
        """The enclave, active now as far as is known."""
        active = await self._active()
        if (found := active.get(tee_id)) is not None:
            return found
        active = await self._active(since=time.monotonic())
        if (found := active.get(tee_id)) is not None:
            return found
        entry = await self.registry.one(tee_id)
        why = "its owner has switched it off" if not entry.enabled else "its image is not approved, or it is silent"
        if entry.enabled and time.time() - entry.heartbeat > HEARTBEAT_SECONDS:
            why = f"it was heard last {time.time() - entry.heartbeat:.0f} s ago"
        raise _inactive(tee_id, why)

    def _service(self, enclave: Enclave, model: str, task: Task) -> Service:
        key = enclave, model, task.name
        if (kept := self._services.get(key)) is not None:
            return kept
        made = self._services[key] = Service(
            enclave.tee_id,
            model,
            task.name,
            enclave.endpoint + _V1,
            Kind.TEE_TLS,
            reach=Status.VERIFIED,
            currency="OPG",
            certificate_sha256=hashlib.sha256(enclave.certificate).hexdigest(),
            private=self._private,
            record=enclave.record(),
        )
        return made

    def _objection(self, enclave: Enclave) -> ZeroGError | None:
        """Why an enclave cannot be used now; None where it can."""
        try:
            validity = self._validity.get(enclave) or self._looked_at(enclave)
        except ConfigError as error:
            return error
        if (problem := validity.problem(time.time())) is not None:
            return _unfit(enclave, "certificate_unfit", problem)
        silent = time.time() - enclave.heartbeat
        if not enclave.enabled or silent > HEARTBEAT_SECONDS + self.options.skew:
            return _inactive(enclave.tee_id, f"it was heard last {silent:.0f} s ago")
        if silent < -self.options.skew:
            return _inactive(enclave.tee_id, f"its last heartbeat is {-silent:.0f} s ahead of this machine's clock")
        if self.options.pcrs is not None and enclave.pcr_hash not in self.options.pcrs:
            return _unfit(enclave, "image_not_accepted", f"its image {enclave.pcr_hash} is not accepted")
        return None

    def _looked_at(self, enclave: Enclave) -> Validity:
        """How long the certificate of an enclave holds whose URL and keys are fit for use, which never changes.

        Raises:
            ConfigError: they are not.
        """
        check_url(enclave.endpoint, f"the URL of enclave {enclave.tee_id}", private=self._private)
        if not enclave.endpoint.startswith("https:"):
            raise _unfit(enclave, "insecure_url", "its URL is not https, so that no certificate can be compared")
        try:
            check_key(enclave.public_key)
        except UnfitKey as error:
            raise _unfit(enclave, "unfit_key", f"its signing key is {error}") from None
        try:
            validity = self._validity[enclave] = Validity.of(enclave.certificate)
        except ValueError as error:
            raise _unfit(enclave, "certificate_unfit", str(error)) from None
        return validity

    # one request

    def body(self, route: Route, task: Task, payload: Mapping[str, Any], data: bytes | None = None) -> Body:  # noqa: ARG002
        """See `Backend.body`: in the words of gateways (`zg_core.backends.opengradient.wording`)."""
        mode = mode_of(payload, self.options.settlement)
        return Body(encode_body(worded(payload, route.model)), facts={"mode": mode})

    async def grant(self, call: Call, error: ZeroGError | None = None) -> Grant | float | None:
        """See `Backend.grant`: a session that calls share, else a permit for what the gateway asks, if that is allowed.

        A permit that was refused is not followed by another in the same call: both could be taken.
        """
        renewed = 0
        if error is not None:
            shown = None if call.grant is None else call.grant.headers.get("X-Upto-Session")
            if not isinstance(error, SessionRejected) or shown is None or call.grant is None:
                return None
            renewed = int(call.grant.facts.get("renewed", 0)) + 1
            if renewed > _MOST_RENEWALS:
                return None
            self._seat(call).over(shown)
        seat = self._seat(call)
        found = await seat.take(self._transport, call, alone=renewed > 1)
        facts = {"renewed": renewed} if renewed else {}
        if isinstance(found, Session):
            await self._offer(call)
            headers = self._headers(call, {"X-Upto-Session": found.id.reveal()})
            self._bound(call, found.cap)
            return Grant(headers, Amount(0, "OPG"), {**found.facts, **facts})
        try:
            permit = found or await self._bought(call)
        except BaseException:
            seat.paid(call, None)
            raise
        if permit is None:
            return Grant(self._headers(call, {}), Amount(0, "OPG"), facts, heard=partial(self._free, seat, call))
        headers = self._headers(call, {payment.HEADER: permit.header.reveal()})
        most = Amount(permit.cap, "OPG")
        self._bound(call, permit.cap)
        self.permits.brought(call.receipt)
        paid = partial(self._paid, seat, call, permit)
        return Grant(headers, most, {**permit.facts, **facts}, heard=paid, stands=True)

    @staticmethod
    def _bound(call: Call, cap: int) -> None:
        """Whatever becomes of the call: it cannot cost more than its permit allows."""
        call.receipt.fee = replace(call.receipt.fee, upper=cap)

    def _seat(self, call: Call) -> Seat:
        where = call.route.service.url, call.task.path, self._mode(call), self.options.terms
        return seat_of(self.realm, self.payer.lower(), *where, self._own)

    def _mode(self, call: Call) -> str:
        """What is published of this call's answer."""
        return self.options.settlement if call.body is None else str(call.body.facts["mode"])

    def _headers(self, call: Call, more: Mapping[str, str]) -> SecretHeaders:
        fixed = {"Authorization": _BEARER, "X-SETTLEMENT-TYPE": self._mode(call)}
        return SecretHeaders({**fixed, **more})

    @staticmethod
    def _free(seat: Seat, call: Call, headers: Mapping[str, str] | None) -> None:  # noqa: ARG004 - nothing was paid
        seat.paid(call, None)

    @staticmethod
    def _paid(seat: Seat, call: Call, permit: Permit, headers: Mapping[str, str] | None) -> None:
        """The request with a permit has an answer, or none will come."""
        said = None if headers is None else headers.get(_SESSION)
        session = None if not said else Session(Secret(said), permit.facts, permit.cap)
        kept = headers is None and not call.sent and permit.deadline - time.time() > _WORTH_KEEPING
        unsent = permit if kept else None
        seat.paid(call, session, unsent=unsent)

    async def _bought(self, call: Call) -> Permit | None:
        """A permit for what the gateway asks; None where it asks for nothing.

        The question asks nothing of the caller's: no prompt leaves before the payment is agreed.
        """
        attempts = Attempts(self._retries)
        if not self._warmed:  # beside the question
            self._transport.aside(_warm)
            self._warmed = True
        while True:
            try:
                challenge = await self._challenge(call)
                break
            except ZeroGError as error:
                if call.hasty or (wait := attempts.wait(error)) is None:
                    raise
            await self._transport.sleep(wait)
        if challenge is None:
            return None
        enclave = Enclave.of_record(call.route.service.record)
        terms = asking.approved(challenge, self.options, enclave.payment_address)
        if self.options.check_funds:
            await self._check_funds(terms)
        return await self._transport.blocking(payment.signed, challenge, terms, self.wallet)

    async def _check_funds(self, terms: asking.Terms) -> None:
        try:
            funds = await funds_of(self.rpc, self.options.token, self.options.chain_id, self.payer)
        except ChainError as error:
            if error.code in ("rpc_unavailable", "rpc_rate_limited"):
                logger.info("balance and approval could not be looked up: %s", error.message)
                return  # the gateway looks at them, too
            raise
        if not terms.permit2:
            funds = replace(funds, allowance=funds.balance)
        if (short := short_of(funds, terms.amount)) is not None:
            raise short

    async def _offer(self, call: Call) -> None:
        """Ask once for each model whether the gateway has it, before a prompt for it leaves within a session."""
        if (call.route.service.url, call.route.model) not in self._offered:
            await self._challenge(call)

    async def _challenge(self, call: Call) -> asking.Challenge | None:
        service = call.route.service
        asked = {"model": call.route.model, "messages": [{"role": "user", "content": "."}], "max_tokens": 1}
        url = check_url(service.url, f"the URL of enclave {service.provider}", private=service.private)
        request = Request(
            "POST",
            url + call.task.path,
            {**self._headers(call, {}), "Content-Type": "application/json"},
            encode_body(asked),
            _PROBE_TIMEOUTS,
            public=not service.private,
            pin=service.certificate_sha256,
        )
        response = await self._transport.send(request)
        try:
            body = await read_all(response, _MOST_REFUSAL)
        except BodyBroken:
            body = b""
        if 200 <= response.status < 300:
            return None
        if response.status != 402:
            raise self._refused(service, call.route.model, response.status, response.headers, body)
        self._offered.add((service.url, call.route.model))
        check_clock(response.headers, self.options.skew)
        challenge = asking.read(response.headers)
        if challenge is None:
            raise self._refused(service, call.route.model, 402, response.headers, body)
        return challenge

    def refusal(self, call: Call, status: int, headers: Mapping[str, str], body: bytes) -> ZeroGError:
        """See `Backend.refusal`."""
        sent = {} if call.grant is None else call.grant.headers
        how = "session" if "X-Upto-Session" in sent else "permit" if payment.HEADER in sent else ""
        return refusal(call.route.service.provider, call.route.model, status, headers, body, how=how)

    @staticmethod
    def _refused(service: Service, model: str, status: int, headers: Mapping[str, str], body: bytes) -> ZeroGError:
        return refusal(service.provider, model, status, headers, body)

    # its reply

    def hear(self, call: Call, said: dict[str, Any]) -> dict[str, Any] | None:
        """See `Backend.hear`."""
        if "paymentResponse" in said and "choices" not in said:  # of a newer protocol, right before the end
            call.heard["paid"] = said.get("paymentResponse")
            return None
        answer: Answer = call.heard.setdefault("answer", Answer())
        answer.take(said)
        if "tee_signature" in said and (signed := answer.signature) is not None:
            # What is around it, nobody signed: the same signature is the same answer, whatever its bytes.
            call.marks = {mark_of("rsa_pss", "", signed.encoded)}
        if isinstance(said.get("opengradient"), dict):
            call.heard["cost"] = said["opengradient"]
        for name, word in _PUBLISHED_IN_STREAM.items():
            if isinstance(said.get(name), str):
                call.heard.setdefault("published", {})[word] = said[name][:200]
        return said

    def fee(self, call: Call) -> Fee:
        """See `Backend.fee`: what the gateway says that it metered, unsigned; the chain has the truth.

        A permit with a price is exact. Where a gateway says nothing, only the cap is known.
        """
        receipt, grant = call.receipt, call.grant
        facts = dict(receipt.grant)
        if published := _published(call):
            facts["published"] = published
        facts["mode"] = self._mode(call)
        receipt.grant = facts
        cap = None if grant is None or grant.most is None else grant.most.units
        if facts.get("scheme") == "exact" and cap:
            receipt.payment = "x402-exact"
            return Fee(Amount(cap, "OPG"), exact=True, lower=cap, upper=cap)
        receipt.payment = "x402-upto"
        claimed = _claimed(call.heard.get("cost"))
        most = int(facts.get("cap", 0) or 0)
        if claimed is None or claimed > most:
            return Fee(Amount(0, "OPG"), exact=False, reason="not_metered_yet", upper=most)
        if cap:  # the call that brought the permit answers for all that can be taken by it
            return Fee(Amount(claimed, "OPG"), exact=False, reason=METERED, upper=cap)
        return Fee(Amount(claimed, "OPG"), exact=False, reason=METERED, upper=claimed)

    async def verify(self, call: Call) -> Verdict:
        """See `Backend.verify`."""
        enclave = Enclave.of_record(call.route.service.record)
        answer: Answer = call.heard.get("answer") or Answer()
        if not call.streamed:
            answer.is_body()
        began = call.receipt.started_at.timestamp()
        window = (began, began + max(call.receipt.seconds, 0.0))
        verdict = self._judged(call, answer, enclave, window)
        if verdict.reason is Reason.SIGNER_MISMATCH:  # an enclave that booted anew has another key
            try:
                active = await self.registry.active(since=time.monotonic())
            except ChainError:
                verdict = replace(verdict, status=Status.UNAVAILABLE, reason=Reason.RECORD_UNREADABLE)
            else:
                known = {each.tee_id for each in active.values()}
                named = "" if answer.signature is None else answer.signature.tee_id
                if named in known and named != enclave.tee_id and active[named].endpoint == enclave.endpoint:
                    enclave = active[named]
                verdict = self._judged(call, answer, enclave, window)
        call.receipt.evidence = evidence_of(answer, enclave.public_key, window)
        return verdict

    def _judged(self, call: Call, answer: Answer, enclave: Enclave, window: tuple[float, float]) -> Verdict:
        exchange, age = call.exchange, max(0.0, call.started - self.registry.read_at)
        try:
            payload = parse_json(exchange.request)
        except (ValueError, RecursionError):
            payload = {}
        return examine(
            payload,
            answer,
            enclave.public_key,
            kind=call.route.service.kind,
            window=window,
            complete=exchange.complete,
            seen=exchange.replayed,
            accept_models=self._policy.accept_models,
            known={
                "request_sha256": exchange.request_sha256,
                "response_sha256": exchange.response_sha256,
                "record_age": int(age) if age < 1e9 else None,
            },
        )


def _warm() -> None:
    """Load what signing needs; where that is missing, signing says so."""
    with suppress(ConfigError):
        payment.warm()


def _own_wallet(setting: Setting) -> Wallet | None:
    key = None if setting.environ is None else setting.environ.first(_KEY_VARIABLE)
    if key is None:
        return None
    secret, key = Secret(key), None
    return Wallet.from_key(secret)


def _claimed(block: Any) -> int | None:
    said = block.get("cost_opg") if isinstance(block, dict) else None
    if isinstance(said, str) and said.isascii() and said.isdigit() and len(said) < 40:
        return int(said)
    return None


def _published(call: Call) -> dict[str, str]:
    found = dict(call.heard.get("published") or {})
    for name, word in _PUBLISHED.items():
        if said := call.exchange.headers.get(name):
            found[word] = said[:200]
    return found


def _unfit(enclave: Enclave, code: str, why: str) -> ConfigError:
    return ConfigError(
        f"enclave {enclave.tee_id} cannot be used: {why}; nothing was sent",
        code=code,
        hint="choose another provider; `zerog opengradient doctor` looks at all of them",
    )


def _inactive(tee_id: str, why: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"enclave {tee_id} is not active: {why}; nothing was sent",
        code="enclave_inactive",
        hint="leave provider= out, and one that is active is chosen",
        retryable=False,
    )
