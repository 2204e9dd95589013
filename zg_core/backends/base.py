"""What a backend does for the one path that every call takes: three attributes, eight methods.

Four words, and no further plug-in points:

- a *task* is what is asked for (`zg_core.tasks`): path, form, how its answer is counted;
- a *service* is whoever can answer it, in words that every backend shares, with the backend's own record beside it;
- a *grant* is what lets one request in and pays for it: headers, the most it can cost, what the receipt says of it;
- a *verification scheme* is a pure function from kept evidence to a verdict, named in the receipt.

A credential is no concept of the path: it is what a backend is made with. Nor is a payment scheme: it is how a backend
makes grants and reads fees. A new backend is one folder here, one in the local network, one line in `registry`, and
passing ``tests/backends/suite.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from zg_core.backends.service import LONGEST_ID, Body, Correction, Grant, Offer, Route, Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.calls.call import Call
    from zg_core.calls.retries import Retries
    from zg_core.config import Environment, Network, Secret
    from zg_core.errors import ZeroGError
    from zg_core.http.transport import Transport
    from zg_core.money import Fee
    from zg_core.progress import Listener
    from zg_core.routing.routing import Routing
    from zg_core.tasks.base import Task
    from zg_core.verify.attestation import AttestationOptions
    from zg_core.verify.policy import Policy
    from zg_core.verify.replay import ReplayGuard
    from zg_core.verify.verdict import Verdict
    from zg_core.wallet import Wallet

__all__ = [
    "LONGEST_ID",
    "Backend",
    "Body",
    "Correction",
    "Grant",
    "Offer",
    "Options",
    "Route",
    "Service",
    "Setting",
]


class Backend(Protocol):
    """One way to reach inference; everything here is driven by `zg_core.calls`, with and without an event loop."""

    name: str
    """``"direct"``, ``"router"``, ``"opengradient"``."""
    realm: str
    """Whose money and identities: key of gates, paces, budgets, pins and receipts, e.g. ``"eip155:16661"``."""

    @property
    def payer(self) -> str:
        """The account that pays, in the realm's words; asked for when a call departs.

        Raises:
            ConfigError: nobody does (code ``no_credential``).
        """
        ...

    # choosing: zg_core.routing does it, once for all backends

    async def offers(self, task: Task, model: str | None) -> list[Offer]:
        """The catalogue: every service of `task` (and `model`), those that cannot be used with the reason.

        Raises:
            ChainError, RequestError: it cannot be read.
        """
        ...

    async def route(self, service: Service, model: str) -> Route:
        """Read afresh and check what can be checked before a prompt leaves: record, policy, attestation, URL, price.

        Args:
            service: One of `offers`; or one of which no more is known than its provider, where the user names that.
            model: The model to ask for; "" is the service's own.

        Raises:
            ConfigError: the provider is not known, or its URL is none that a prompt may be sent to.
            ModelNotServed: it does not serve `model`.
            AttestationError, VerificationUnavailable: the policy forbids it, or asks for more than can be proven there.
        """
        ...

    # one request

    def body(self, route: Route, task: Task, payload: Mapping[str, Any], data: bytes | None = None) -> Body:
        """The bytes: encoded, put into the words of this backend, or sealed.

        Args:
            route: Where it goes.
            task: What is asked for.
            payload: The request. It may name no model: then the body names that of the route.
            data: The bytes that were parsed to `payload`, where a caller brought them: sent as they are if they can be.
        """
        ...

    async def grant(self, call: Call, error: ZeroGError | None = None) -> Grant | float | None:
        """What the request is sent with.

        After `error`, a refusal that certainly served nothing: a new grant (session signed anew, challenge paid),
        the seconds within which the same one will do (our own transaction is not seen yet: it is tried until then), or
        None to give up. What was
        granted for the request that was refused is ``call.grant``.
        """
        ...

    def refusal(self, call: Call, status: int, headers: Mapping[str, str], body: bytes) -> ZeroGError:
        """The error for a response that is not a success; names in `headers` are in lower case."""
        ...

    # its reply

    def hear(self, call: Call, said: dict[str, Any]) -> dict[str, Any] | None:
        """Note what an event, or the whole body, says beside its answer (cost, evidence, provider), in ``call.heard``.

        Returns what the caller shall see: the same object, opened where it is sealed, None to swallow it. Events come
        by the hundred: a backend whose ``hears_text`` is false is not told of those that differ from one before in
        nothing but their text.
        """
        ...

    def fee(self, call: Call) -> Fee:
        """What it cost, from usage, tariff and what was heard."""
        ...

    async def verify(self, call: Call) -> Verdict:
        """Fetch what evidence is missing, keep it with the receipt, and apply its scheme."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """What a client makes its backend with. Keys are wrapped, and nothing here was read or sent.

    Attributes:
        transport: HTTP, time, locks.
        policy: What is demanded of replies: `Policy.admit` is asked by `Backend.route`.
        task: What the client is for.
        network: The chain that was named, with its contracts; ``network.is_local`` is a local network.
        wallet: Who pays, if it is a wallet.
        api_key: Who pays, if it is a key.
        provider: The provider that was named.
        model: The model that was named.
        store: URL of the store.
        retries: What may be tried again.
        guard: Knows the requests that were ours.
        careful: Whether a prompt must wait for a young record, because a budget depends on its prices.
        routing: What the user asks of whoever chooses; a backend that `chooses` itself is asked in its own words.
        sealed: Whether requests are sealed to an enclave; a backend that cannot refuses to be made.
        record_age: Seconds for which what was read of a service is used as it is; None is the backend's own.
        attestation: How attestations are judged.
        on_progress: Told of what takes more than a moment.
        sources: Of settings that come from the environment, the variable: hints name it.
        environ: The environment, for variables that only this backend has.
    """

    transport: Transport
    policy: Policy
    task: Task
    network: Network
    wallet: Wallet | None
    api_key: Secret | None
    provider: str | None
    model: str | None
    store: str
    retries: Retries
    guard: ReplayGuard
    careful: bool = False
    record_age: float | None = None
    routing: Routing | None = None
    sealed: bool = False
    attestation: AttestationOptions | None = None
    on_progress: Listener | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    environ: Environment | None = None


class Options(Protocol):
    """What ``backend=`` takes beside a name: a small frozen value with what only that backend has."""

    @property
    def name(self) -> str:
        """That of the backend."""
        ...

    def make(self, setting: Setting) -> Backend:
        """The backend. This imports it; nothing is read or sent.

        Raises:
            ConfigError: a setting is missing or malformed, or one that this backend does not have was given.
        """
        ...
