"""The settings of the client under a model object, declared once for the classes of every framework.

A setting is added in two places: to the client (`zg_core.client`) and here. A field goes to the client under its own
name, whatever the framework.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import asdict, fields
from functools import cache
from importlib import import_module
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_serializer,
    model_validator,
)
from pydantic_core import core_schema

from zg_core.config import KEY_NAMES, Network, blaming
from zg_core.errors import ZeroGError
from zg_core.frameworks.arguments import CallRules, reject_unknown
from zg_core.frameworks.clients import Clients, OwnsClients
from zg_core.frameworks.environment import (
    EnvSecret,
    EnvText,
    FieldEnvironment,
    FromEnvironment,
    from_env,
    secret_from_env,
)
from zg_core.money import Amount
from zg_core.objects import check_objects
from zg_core.shown.tracebacks import clears_locals
from zg_core.tasks.parameters import CHAT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zg_core.backends.base import Options as BackendOptions
    from zg_core.budget import Budget
    from zg_core.calls.limits import Limits
    from zg_core.client import AsyncChatClient, ChatClient
    from zg_core.http.timeouts import Patience, Timeouts
    from zg_core.progress import Progress
    from zg_core.receipts.model import Receipt
    from zg_core.receipts.stored import Retention
    from zg_core.routing.routing import Routing
    from zg_core.store import Store
    from zg_core.verify.attestation.options import AttestationOptions
    from zg_core.verify.conditions import Condition
    from zg_core.verify.policy import Policy
    from zg_core.wallet import Wallet

    Backend = str | BackendOptions
    Key = str | SecretStr  # what may be passed; held as a secret

__all__ = ["ClientFields", "Later", "aliases_of"]


class Later:
    """Stands in a pydantic model for a class of ours that is imported when a value comes, not with the model.

    Objects of the class are taken as they are, without a look into their fields; of a dataclass, a dictionary of its
    fields as well, which is what serialised settings hold. Type checkers see the class itself::

        if TYPE_CHECKING:
            from zg_core.wallet import Wallet
        else:
            Wallet = Later.of("zg_core.wallet", "Wallet")
    """

    def __init__(self, module: str, name: str, *, from_dict: bool = False) -> None:
        self._module = module
        self._name = name
        self._from_dict = from_dict

    @classmethod
    def of(cls, module: str, name: str, *, from_dict: bool = False) -> Any:
        """What to write in the annotation of a field."""
        return Annotated[Any, cls(module, name, from_dict=from_dict)]

    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._take)

    def _take(self, value: Any) -> Any:
        # Texts and numbers are what a field's other types are for.
        if value is not None and not isinstance(value, str | int | float):
            kind = getattr(import_module(self._module), self._name)
            if isinstance(value, kind):
                return value
            if self._from_dict and isinstance(value, dict):
                return kind(**value)
        raise ValueError(f"this is no {self._name}")


def _patience(value: Any) -> Any:
    """What httpx takes as a timeout, as ours."""
    if value is None or isinstance(value, str | int | float | dict):
        return value
    from zg_core.http.timeouts import timeouts_of

    return timeouts_of(value)


def _backend(value: Any) -> Any:
    """The name of a backend, or its options; what was serialised is options again."""
    if isinstance(value, dict):
        from zg_core.backends.registry import options_named

        kind = type(options_named(str(value.get("name"))))
        return kind(**{name: each for name, each in value.items() if name != "name"})
    if value is None or isinstance(value, str) or hasattr(value, "make"):
        return value
    raise ValueError("this is neither the name of a backend nor its options")


if not TYPE_CHECKING:
    Backend = Annotated[Any, BeforeValidator(_backend)]
    AttestationOptions = Later.of("zg_core.verify.attestation.options", "AttestationOptions")
    Budget = Later.of("zg_core.budget", "Budget")
    Condition = Later.of("zg_core.verify.conditions", "Condition")
    Limits = Later.of("zg_core.calls.limits", "Limits", from_dict=True)
    Policy = Later.of("zg_core.verify.policy", "Policy")
    Progress = Receipt = Any  # only as what a listener is given
    Retention = Later.of("zg_core.receipts.stored", "Retention", from_dict=True)
    Routing = Later.of("zg_core.routing.routing", "Routing")
    Store = Later.of("zg_core.store", "Store")
    Timeouts = Later.of("zg_core.http.timeouts", "Timeouts", from_dict=True)
    Wallet = Later.of("zg_core.wallet", "Wallet")
    Patience = Annotated[float | Timeouts | None, BeforeValidator(_patience)]
    Key = SecretStr


class ClientFields(OwnsClients, BaseModel):
    """Settings of the client. Keys, URLs and objects are neither shown nor serialised.

    What was passed wins over the environment, a None that was passed, too. Provider and model say together who answers:
    one that was passed replaces both variables.
    """

    # Errors must not repeat the arguments: a key may be among them.
    model_config = ConfigDict(
        defer_build=True,
        populate_by_name=True,
        protected_namespaces=(),
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    model: str | None = Field(
        default_factory=from_env("ZEROG_MODEL"), validation_alias=AliasChoices("model", "model_name")
    )
    """Name of the model; without it the provider's own. Default ``ZEROG_MODEL``."""
    provider: str | None = Field(default_factory=from_env("ZEROG_PROVIDER"))
    """Address of the provider; without it one is chosen for `model`. Default ``ZEROG_PROVIDER``."""

    private_key: Key | None = Field(default_factory=secret_from_env(*KEY_NAMES), exclude=True, repr=False)
    """Key of the wallet that pays. Default ``ZEROG_PRIVATE_KEY``. None says that it comes later, as a configurable
    field: else a missing key is an error of the constructor."""
    api_key: Key | None = Field(default_factory=secret_from_env("ZEROG_API_KEY"), exclude=True, repr=False)
    """A 0G API key instead of a wallet: ``app-sk-…`` for one provider, ``sk-…`` for 0G Router. Default
    ``ZEROG_API_KEY``."""
    wallet: Wallet | None = Field(default=None, exclude=True, repr=False)
    """A `zg_core.Wallet` instead of a key, for keystore files and secrets managers; opened when it first signs."""

    backend: Backend | None = Field(default_factory=from_env("ZEROG_BACKEND"), repr=False)
    """``"direct"``, ``"router"``, ``"opengradient"``, or the options of one: ``Router(sealed=True)``. If not given,
    by the API key (``app-sk-`` direct, ``sk-`` router), else ``ZEROG_BACKEND``, else direct."""
    network: str | Network | None = Field(default_factory=from_env("ZEROG_NETWORK"), repr=False)
    """``"mainnet"``, ``"testnet"``, ``"local"`` or a `zg_core.Network`. Default ``ZEROG_NETWORK``, else testnet."""
    rpc_url: str | None = Field(default_factory=from_env("ZEROG_RPC_URL", "ZG_RPC_ENDPOINT"), exclude=True, repr=False)
    """JSON-RPC endpoint instead of the network's; such URLs often hold a key. Default ``ZEROG_RPC_URL``."""
    ledger: str | None = Field(default_factory=from_env("ZEROG_LEDGER"), repr=False)
    """LedgerManager address instead of the network's. Default ``ZEROG_LEDGER``."""
    inference: str | None = Field(default_factory=from_env("ZEROG_INFERENCE"), repr=False)
    """InferenceServing address instead of the network's. Default ``ZEROG_INFERENCE``."""

    verify: str | Policy | Condition | None = Field(default_factory=from_env("ZEROG_VERIFY"), repr=False)
    """``"off"``, ``"background"``, ``"warn"`` (default), ``"require"``, a `zg_core.Policy`, or a condition of
    `zg_core.verify`, which is required. Default ``ZEROG_VERIFY``."""
    minimum: str | None = None
    """The least verdict that satisfies: ``"verified"`` (default); ``"response_bound"`` accepts answers that may belong
    to another question than yours."""
    kinds: list[str] | None = None
    """Kinds of service that may see a prompt, for example ``["TeeML"]``; all if not given."""
    stream_policy: Literal["after", "hold"] | None = None
    """Whether a stream's chunks wait for the verdict (``"hold"``) or not (``"after"``, default)."""
    identity: str | None = None
    """TeeTLS providers: the upstream vendor that must have answered."""
    attest: int | None = None
    """Level up to which the enclave must be attested before it sees a prompt."""
    attestation: AttestationOptions | None = Field(default=None, exclude=True, repr=False)
    """What is allowed in an attestation, and where evidence is looked up."""
    accept_models: dict[str, str] | None = None
    """Renames that you accept, ``{"asked": "forwarded"}``: what a provider calls the same model."""
    sealed: bool = False
    """Whether requests are encrypted to the key of the provider's attested enclave, so that nobody on the way reads
    them; what cannot be sealed is refused (extra ``sealed``)."""
    nonce: bool = False
    """Whether a random value goes into each request's ``user``, where you set none, so that no signature of an earlier
    request fits it."""

    routing: Routing | None = Field(default=None, repr=False)
    """How each call's provider is chosen among those that serve `model`, and where it goes when one does not serve."""
    limits: Limits | Literal["auto"] | None = Field(default="auto", repr=False)
    """Rate and requests under way, for all clients of a process together: by default the providers' own, on a local
    network those of a provider whose replies name a rate; None lifts them."""
    budget: Budget | None = Field(default=None, exclude=True, repr=False)
    """The most that calls may cost, counted in `store`; beyond it they are refused before they are sent."""
    timeout: Patience = Field(default=None, repr=False, validation_alias=AliasChoices("timeout", "request_timeout"))
    """Seconds until the first byte of a reply, and between two of them (default 300), or `zg_core.Timeouts`; also what
    httpx takes: ``(connect, read)``, or its ``Timeout``."""
    max_retries: int | None = Field(default=2, ge=0)
    """Further attempts after connect errors, 429 and 503, which never served anything."""
    retry_deadline: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    """Seconds from the first failure in which further attempts must begin; a call that would have to wait longer fails
    at once, and its error says in ``details["retry_after"]`` how long."""
    retry_unknown: bool = False
    """Whether a request that was sent and not answered is sent again: it may be paid twice, with a receipt each."""
    record_age: float | None = None
    """Seconds for which a service's record on chain is used as it is (10; on a local network 0); older ones are read
    again. Verdicts and exact fees rest on a record that is no older."""
    allow_private_providers: bool | None = Field(default=None, exclude=True, repr=False)
    """Whether the chain's URLs may lead to this machine and into private networks: for people who run their own
    providers. Default ``ZEROG_ALLOW_PRIVATE_PROVIDERS``, else only on a local network."""
    ca_file: str | None = None
    """A certificate authority to trust instead of the system's, for local networks with TLS."""
    http_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx2.Client` (or `httpx.Client`) for blocking calls. Only its connections are used: proxies, TLS settings,
    transports; not its headers, cookies, credentials or redirects. It stays yours to close."""
    http_async_client: Any = Field(default=None, exclude=True, repr=False)
    """The same for asynchronous calls, an `AsyncClient`: bound to the first event loop that uses it."""
    headers: dict[str, str] | None = Field(
        default=None, exclude=True, repr=False, validation_alias=AliasChoices("headers", "default_headers")
    )
    """What is sent beside our own headers with every request for an answer; ``extra_headers`` of a call adds to it."""
    store: str | Store | None = Field(default_factory=from_env("ZEROG_STORE"), exclude=True, repr=False)
    """Where receipts are kept and the budget is counted: a URL, or a `zg_core.Store`; default ``ZEROG_STORE``, else
    memory."""
    receipts: Retention | None = Field(default=None, repr=False)
    """How long the store keeps receipts (`zg_core.Retention`)."""
    keep_bytes: bool = False
    """Whether receipts hold the bytes of request and response, so that others can check them again."""
    on_receipt: Callable[[Receipt], None] | None = Field(default=None, exclude=True, repr=False)
    """Called with the receipt of every call that may have cost money."""
    on_verdict: Callable[[Receipt], None] | None = Field(default=None, exclude=True, repr=False)
    """Called when a background check has ended (``verify="background"``)."""
    on_progress: Callable[[Progress], None] | None = Field(default=None, exclude=True, repr=False)
    """Called while a call waits for the provider to see our own transaction."""

    if TYPE_CHECKING:
        # Other names of arguments, for type checkers: of `timeout` and `headers`.
        request_timeout: Patience = None
        default_headers: dict[str, str] | None = None
    else:

        @property
        def request_timeout(self) -> Patience:
            """The same as `timeout`."""
            return self.timeout

        @property
        def default_headers(self) -> dict[str, str] | None:
            """The same as `headers`."""
            return self.headers

    _clients: Clients = PrivateAttr(default_factory=Clients)

    # What a class says of itself: where other arguments go, what is tolerated and left out; of calls, the parameters of
    # requests, what holds further ones by name, and what the framework passes on that means nothing to a provider.
    _advice: ClassVar[str] = ""
    _elsewhere: ClassVar[Mapping[str, str]] = {}
    _tolerated: ClassVar[frozenset[str]] = frozenset()
    _of_requests: ClassVar[frozenset[str]] = CHAT
    _extra: ClassVar[tuple[str, ...]] = ()
    _of_the_framework: ClassVar[frozenset[str]] = frozenset()
    _service_type: ClassVar[str | None] = None

    @clears_locals
    def __init__(self, *arguments: Any, **values: Any) -> None:
        # A traceback can show the locals of every frame: nothing in this one is a key from here on.
        for name in ("private_key", "api_key"):
            if isinstance(values.get(name), str):
                values[name] = SecretStr(values[name])
        try:
            check_objects(values, allowed=("auto", dict))
            super().__init__(*arguments, **values)
            self._check()
        except ZeroGError as error:
            raise self._as_error(error) from error.__cause__

    @model_validator(mode="wrap")
    @classmethod
    def _resolve(cls, values: Any, handler: Any) -> Self:
        if not isinstance(values, dict):
            made: Self = handler(values)
            return made
        reject_unknown(cls.__name__, values, _known(cls), advice=cls._advice, elsewhere=cls._elsewhere)
        # Of the environment, though passed: the object is made of another one's values.
        marked = {name: value for name, value in values.items() if isinstance(value, EnvText | EnvSecret)}
        made = handler(_objects_from_plain(values))
        made.__dict__.update({name: value for name, value in marked.items() if name in cls.model_fields})
        made.__pydantic_fields_set__.difference_update(marked)
        made._forget_replaced()  # noqa: SLF001
        return made

    def _forget_replaced(self) -> None:
        """Take out what the environment said and an argument replaces.

        Among credentials of the environment, a wallet goes before an API key (as in zg_core).
        """
        given, values = self.model_fields_set, self.__dict__
        who = {"provider", "model"}
        if any(values[name] for name in who & given):
            values.update(dict.fromkeys(who - given))
        if values["routing"] is not None and "provider" not in given:
            values["provider"] = None
        if values["wallet"] is not None or (
            "private_key" not in given and values["api_key"] is not None and "api_key" in given
        ):
            values["private_key"] = None
        if "api_key" not in given and (values["wallet"] is not None or values["private_key"] is not None):
            values["api_key"] = None

    def _demands(self) -> Policy:
        """What is asked of every reply.

        Raises:
            ConfigError: a word that is none of a policy's.
        """
        from zg_core.verify.policy import Policy as Demand

        return Demand.of(
            "warn" if self.verify is None else self.verify,
            minimum=self.minimum,
            kinds=self.kinds,
            stream=self.stream_policy,
            identity=self.identity,
            attest=self.attest,
            accept_models=self.accept_models,
        )

    def _check(self) -> None:
        """Find what is wrong or missing and can be told without a look at key, chain or file.

        Raises:
            ConfigError: a key that is missing, or a policy that is none.
            ArgumentError: a setting among request parameters.
        """
        sources = {"verify": self.verify.variable} if isinstance(self.verify, EnvText) else {}
        with blaming("verify", sources, about="verify="):
            self._demands()
        credentials = ("private_key", "api_key", "wallet")
        later = any(name in self.model_fields_set and self.__dict__[name] is None for name in credentials)
        if not later and all(self.__dict__[name] is None for name in credentials) and not self._paid_elsewhere():
            from zg_core.wallet import missing_credential

            raise missing_credential()
        self._rules().check_fields(self.__dict__, self._secrets)

    def _paid_elsewhere(self) -> bool:
        """Whether the backend has a variable of its own for the key that pays, and it is set."""
        variable = _OWN_KEYS.get(self._backend_name)
        return variable is not None and secret_from_env(variable)() is not None

    @property
    def _backend_name(self) -> str:
        """The backend that was named, "" where none was."""
        backend = self.backend
        return "" if backend is None else str(getattr(backend, "name", backend))

    @classmethod
    def _rules(cls) -> CallRules:
        """What the calls of this class take."""
        return _rules(cls)

    @classmethod
    def _as_error(cls, error: ZeroGError) -> Exception:
        """An error of the constructor in the framework's words."""
        return error

    def _secrets(self) -> tuple[str, ...]:
        """What no parameter of a request may hold, in lower case."""
        held = (self.private_key, self.api_key, *(secret_from_env(name)() for name in (*KEY_NAMES, "ZEROG_API_KEY")))
        texts = [each.get_secret_value().lower().removeprefix("0x") for each in held if isinstance(each, SecretStr)]
        if self.wallet is not None:
            texts.append(self.wallet._digits())  # noqa: SLF001 - nobody else is told
        return tuple(text for text in texts if len(text) >= _SHORTEST)

    # as data

    @field_serializer("model", "provider", "ledger", "inference", "minimum", "identity", check_fields=False)
    def _plain_text(self, text: str | None) -> str | None:
        return None if text is None else str(text)

    @field_serializer("verify")
    def _plain_policy(self, policy: Any) -> Any:
        """A model that is made again has to ask for as much proof as this one."""
        if policy is None or isinstance(policy, str):
            return None if policy is None else str(policy)
        from zg_core.verify.policy import Policy as Demand

        return Demand.of(policy).to_dict()

    @field_serializer("routing")
    def _plain_routing(self, routing: Any) -> Any:
        """A model that is made again has to keep to the same providers and prices."""
        return routing if routing is None else routing.to_dict()

    @field_serializer("backend")
    def _plain_backend(self, backend: Any) -> Any:
        """A model that is made again has to be sealed as this one; an RPC URL may hold a key, and stays here."""
        if backend is None or isinstance(backend, str):
            return self._plain_text(backend)
        options = {each.name: getattr(backend, each.name) for each in fields(backend) if "rpc_url" not in each.name}
        options = {
            name: str(value) if isinstance(value, Amount) else sorted(value) if isinstance(value, frozenset) else value
            for name, value in options.items()
        }
        known = (str, int, float, tuple, list, type(None))
        plain = {name: value for name, value in options.items() if isinstance(value, known)}
        return {"name": backend.name, **plain}

    @field_serializer("network")
    def _plain_network(self, network: Any) -> Any:
        """The name alone: the RPC URL may hold a key."""
        return network.name if isinstance(network, Network) else self._plain_text(network)

    @field_serializer("limits", "timeout", "receipts")
    def _plain_values(self, value: Any) -> Any:
        return asdict(value) if hasattr(value, "__dataclass_fields__") else value

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._clients = Clients()  # noqa: SLF001
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # A deep copy uses the same HTTP clients: they are their owner's.
        own = {id(client): client for client in (self.http_client, self.http_async_client) if client is not None}
        return super().__deepcopy__({**(memo or {}), **own})

    def __getstate__(self) -> dict[Any, Any]:
        """Pickles hold neither keys, nor URLs that may hold one, nor connections; the environment's apply later."""
        state = super().__getstate__()
        stays = ("private_key", "api_key", "wallet", "rpc_url", "headers", "http_client", "http_async_client")
        state["__dict__"] = {**state["__dict__"], **dict.fromkeys(stays)}
        state["__pydantic_fields_set__"] = set(state["__pydantic_fields_set__"]).difference(stays)
        return state

    # clients

    def _relay(self) -> Callable[[Receipt], None]:
        """What the client tells of its receipts: whoever listens in the framework, and `on_receipt`."""
        raise NotImplementedError

    @clears_locals  # an address of a node may hold a password
    def _client(self) -> ChatClient:
        clients, said = self._clients, self._said()
        return clients.blocking_of(said) or clients.blocking(self._client_settings(), self._unchanged(said))

    @clears_locals  # an address of a node may hold a password
    def _async_client(self) -> AsyncChatClient:
        clients, said = self._clients, self._said()
        return clients.asynchronous_of(said) or clients.asynchronous(
            self._client_settings(asynchronous=True), self._unchanged(said)
        )

    def _said(self) -> object:
        """All that `_client_settings` are made of: while it is as it was, so are they."""
        values = self.__dict__
        held = [copy(value) for name in _HOLDING if (value := values[name])]
        return _values()(values), frozenset(self.__pydantic_fields_set__), held

    def _unchanged(self, said: object) -> object:
        """`said`, if the settings that were made since then are made of it; another thread may have changed a field."""
        return said if said == self._said() else None

    def _client_settings(self, *, asynchronous: bool = False) -> dict[str, Any]:
        """The arguments of the client. What nobody passed comes to it by the environment: its errors then say so."""
        values, given = self.__dict__, self.model_fields_set
        backed, never = _variables(type(self))
        settings: dict[str, Any] = {}
        kept: dict[str, EnvText | EnvSecret] = {}
        hidden = set(never)
        for name in _client_fields():
            value = values[name]
            if name in backed:
                if name not in given and isinstance(value, EnvText | EnvSecret):
                    kept[value.variable] = value
                    hidden.update(backed[name])
                    continue
                if value is None:
                    if name in given:
                        hidden.update(backed[name])
                    continue
            settings[name] = copy(value) if name in _HOLDING else value
        settings["stream"] = values["stream_policy"]
        settings["http_client"] = values["http_async_client" if asynchronous else "http_client"]
        settings["on_receipt"] = self._relay()
        settings["environ"] = FieldEnvironment(kept, frozenset(hidden))
        if values["limits"] != "auto":
            settings["limits"] = values["limits"]
        if values["max_retries"] is not None:
            settings["max_retries"] = values["max_retries"]
        if self._service_type is not None:
            settings["service_type"] = self._service_type
        return settings


_OWN_KEYS = {"opengradient": "OG_PRIVATE_KEY", "router": "ZEROG_ROUTER_API_KEY"}
_HOLDING = ("kinds", "accept_models", "headers")  # what may be changed in place
_SHORTEST = 16  # of what is looked for as a secret: a placeholder is none
# They go to the client under another name, in one of its forms, or only where they say something.
_IN_OTHER_FORM = {"stream_policy", "http_client", "http_async_client", "on_receipt", "limits", "max_retries"}


@cache
def _client_fields() -> tuple[str, ...]:
    """Fields that are arguments of the client as they are."""
    return tuple(name for name in ClientFields.model_fields if name not in _IN_OTHER_FORM)


@cache
def _values() -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """What reads the values of all fields."""
    return itemgetter(*ClientFields.model_fields)


@cache
def _variables(cls: type[ClientFields]) -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    """Of a class, the variables that fill its fields; and those of fields that it does not let the environment fill."""

    def of(kind: type[ClientFields]) -> dict[str, tuple[str, ...]]:
        factories = {name: field.default_factory for name, field in kind.model_fields.items()}
        return {name: made.variables for name, made in factories.items() if isinstance(made, FromEnvironment)}

    backed = of(cls)
    never = [variable for name, names in of(ClientFields).items() if name not in backed for variable in names]
    return backed, frozenset(never)


@cache
def _known(cls: type[ClientFields]) -> frozenset[str]:
    """What the constructor of a class takes."""
    return frozenset({*cls.model_fields, *aliases_of(cls), *cls._tolerated})


@cache
def _rules(cls: type[ClientFields]) -> CallRules:
    from zg_core.client import SETTINGS

    return CallRules(
        owner=cls.__name__,
        parameters=cls._of_requests - {"messages", "input", "stream"},
        settings=SETTINGS | frozenset(ClientFields.model_fields) | (aliases_of(ClientFields) - {"model_name"}),
        fields=frozenset({*cls.model_fields, *aliases_of(cls)}),
        aliases={"model_name": "model", "stop_sequences": "stop"},
        tolerated=cls._tolerated | cls._of_the_framework | {"stream"},
        extra=cls._extra,
        elsewhere=cls._elsewhere,
    )


def aliases_of(cls: type[BaseModel]) -> set[str]:
    """Other names that the fields of a class are passed by."""
    found: set[str] = set()
    for field in cls.model_fields.values():
        alias = field.validation_alias
        names: Iterable[Any] = alias.choices if isinstance(alias, AliasChoices) else (alias, field.alias)
        found.update(name for name in names if isinstance(name, str))
    return found


def _objects_from_plain(values: dict[str, Any]) -> dict[str, Any]:
    """`values` of a constructor, with a policy and a routing where they were written as plain data (``to_dict``)."""
    made: dict[str, Any] = {}
    if isinstance(plain := values.get("verify"), dict):
        from zg_core.verify.policy import Policy as Demand

        made["verify"] = Demand.from_dict(plain)
    if isinstance(plain := values.get("routing"), dict):
        from zg_core.routing.routing import Routing as Choice

        made["routing"] = Choice.from_dict(plain)
    return values | made
