"""The arguments that `ZeroG` and `ZeroGEmbedding` share: who pays, who answers, what has to be proven."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

from llama_index.core.bridge.pydantic import BaseModel, Field, PrivateAttr, SecretStr
from pydantic import ConfigDict, field_serializer, model_validator

from llama_index_zerog.instrumentation import Relay
from zg_core.config import KEY_NAMES, Network
from zg_core.fieldtypes import AttestationOptions, Budget, Condition, Limits, Policy, Receipt, Routing, Timeouts, Wallet
from zg_core.frameworks.clients import Clients, OwnsClients
from zg_core.frameworks.fields import (
    CLIENT_FIELDS,
    client_settings,
    from_env,
    keep_what_was_passed,
    objects_from_plain,
    reject_unknown,
    secret_from_env,
)

__all__ = ["ClientFields"]


class ClientFields(OwnsClients, BaseModel):
    """Settings of the client. Keys, URLs and objects are neither shown nor serialised."""

    model_config = ConfigDict(
        defer_build=True, hide_input_in_errors=True, arbitrary_types_allowed=True, protected_namespaces=()
    )

    model: str | None = Field(default_factory=from_env("ZEROG_MODEL"))
    """Name of the model; the provider's own if not given. Default ``ZEROG_MODEL``."""
    provider: str | None = Field(default_factory=from_env("ZEROG_PROVIDER"))
    """Address of the provider; without it one is chosen for `model`. Default ``ZEROG_PROVIDER``."""
    private_key: SecretStr | None = Field(default_factory=secret_from_env(*KEY_NAMES), exclude=True, repr=False)
    """Key of the wallet that pays. Default ``ZEROG_PRIVATE_KEY``."""
    api_key: SecretStr | None = Field(default_factory=secret_from_env("ZEROG_API_KEY"), exclude=True, repr=False)
    """A 0G API key (``app-sk-…``) instead of a wallet. Default ``ZEROG_API_KEY``."""
    wallet: Wallet | None = Field(default=None, exclude=True, repr=False)
    """A `zg_core.Wallet` instead of a key."""
    network: str | Network | None = Field(default_factory=from_env("ZEROG_NETWORK"), repr=False)
    """``"mainnet"``, ``"testnet"``, ``"local"`` or a `zg_core.Network`. Default ``ZEROG_NETWORK``, else testnet."""
    rpc_url: str | None = Field(default=None, exclude=True, repr=False)
    """JSON-RPC endpoint instead of the network's; such URLs often hold a key."""
    ledger: str | None = Field(default=None, repr=False)
    inference: str | None = Field(default=None, repr=False)
    verify: str | Policy | Condition | None = Field(default_factory=from_env("ZEROG_VERIFY"), repr=False)
    """``"off"``, ``"background"``, ``"warn"`` (default), ``"require"``, a condition, or a `zg_core.Policy`."""
    minimum: str | None = None
    """The least verdict that satisfies."""
    kinds: list[str] | None = None
    """Kinds of service that may see a prompt; all if not given."""
    stream_policy: Literal["after", "hold"] | None = None
    """Whether a stream's chunks wait for the verdict (``"hold"``) or not (``"after"``, default)."""
    identity: str | None = None
    """TeeTLS providers: the upstream vendor that must have answered."""
    attest: int | None = None
    """Level up to which the enclave must be attested before it sees a prompt."""
    attestation: AttestationOptions | None = Field(default=None, exclude=True, repr=False)
    routing: Routing | None = Field(default=None, repr=False)
    """How each call's provider is chosen among those that serve `model`, and where it goes when one does not serve."""
    limits: Limits | Literal["auto"] | None = Field(default="auto", exclude=True, repr=False)
    """Rate and requests under way, for all clients of a process together: by default the providers' own on real
    networks; None lifts them."""
    budget: Budget | None = Field(default=None, exclude=True, repr=False)
    """The most that calls may cost, counted in `store`; beyond it they are refused before they are sent."""
    timeout: float | Timeouts | None = Field(default=None, exclude=True, repr=False)
    """Seconds without a byte before giving up (default 300), or `zg_core.Timeouts`."""
    max_retries: int = Field(default=2, ge=0)
    """Further attempts after connect errors, 429 and 503, which never served anything."""
    retry_deadline: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    """Seconds from the first failure in which further attempts must begin; a call that would have to wait longer fails
    at once, and its error says in ``details["retry_after"]`` how long."""
    retry_unknown: bool = False
    """Whether a request that was sent and not answered is sent again: it may be paid twice, with a receipt each."""
    ca_file: str | None = None
    """A certificate authority to trust instead of the system's, for local networks with TLS."""
    allow_private_providers: bool | None = Field(default=None, exclude=True, repr=False)
    """Whether the chain's URLs may lead to this machine and into private networks: for people who run their own
    providers. Default ``ZEROG_ALLOW_PRIVATE_PROVIDERS``, else only on a local network."""
    store: str | None = Field(default=None, exclude=True, repr=False)
    """Where receipts are kept; default ``ZEROG_STORE``, else memory."""
    on_receipt: Callable[[Receipt], None] | None = Field(default=None, exclude=True, repr=False)
    """Called with the receipt of every call that may have cost money."""
    on_verdict: Callable[[Receipt], None] | None = Field(default=None, exclude=True, repr=False)
    """Called when a background check has ended (``verify="background"``)."""

    _clients: Clients = PrivateAttr(default_factory=Clients)

    @model_validator(mode="before")
    @classmethod
    def _reject_unknown_arguments(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        aliases = {field.alias for field in cls.model_fields.values() if field.alias}
        known = {*cls.model_fields, *aliases, "class_name"}
        reject_unknown(cls.__name__, values, known, advice="other parameters go into additional_kwargs")
        return objects_from_plain(values)

    @field_serializer("verify")
    def _plain_policy(self, policy: Any) -> Any:
        """A model that is made again has to ask for as much proof as this one."""
        if policy is None or isinstance(policy, str):
            return policy
        from zg_core.verify.policy import Policy as Demand

        return Demand.of(policy).to_dict()

    @field_serializer("routing")
    def _plain_routing(self, routing: Any) -> Any:
        """A model that is made again has to keep to the same providers and prices."""
        return routing if routing is None else routing.to_dict()

    @field_serializer("network")
    def _plain_network(self, network: Any) -> Any:
        """The name alone: the RPC URL may hold a key."""
        return network.name if isinstance(network, Network) else network

    @model_validator(mode="after")
    def _keep_what_was_passed(self) -> Self:
        keep_what_was_passed(self)
        return self

    def _client_settings(self, **more: Any) -> dict[str, Any]:
        relay = Relay(self.on_receipt)
        return client_settings(self, CLIENT_FIELDS, stream=self.stream_policy, on_receipt=relay, **more)

    def __getstate__(self) -> dict[str, Any]:
        """Pickles hold neither keys, nor URLs that may hold one, nor connections; the environment's apply later."""
        state = dict(super().__getstate__())
        state["__dict__"] = {**state["__dict__"], **dict.fromkeys(("private_key", "api_key", "wallet", "rpc_url"))}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.private_key is None and self.api_key is None:
            self.__dict__["private_key"] = secret_from_env(*KEY_NAMES)()
            if self.private_key is None:
                self.__dict__["api_key"] = secret_from_env("ZEROG_API_KEY")()
