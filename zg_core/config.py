"""Networks, settings and secrets: what a client needs to know before it does anything.

Settings come from arguments first, then from ``ZEROG_*`` variables. Nothing here does I/O.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from zg_core.crypto import typed_address
from zg_core.errors import ConfigError, ZeroGError
from zg_core.http.reach import OWN_PROVIDERS, OutOfReach, check_host
from zg_core.shown.tracebacks import clears_locals

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, KeysView, ValuesView

__all__ = ["NETWORKS", "Network", "Secret", "Settings", "shown_url"]

KEY_NAMES = ("ZEROG_PRIVATE_KEY", "PRIVATE_KEY", "ZG_PRIVATE_KEY")
"""Variables of the environment that may hold the wallet's key, the first that is set."""


class Secret:
    """A text that never shows itself: not in ``repr``, ``str``, comparisons, formatting, copies or pickles.

    Example:
        >>> Secret("0xabc")
        Secret('**********')
        >>> Secret("0xabc").reveal()
        '0xabc'
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; do not store or log it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("secrets are not pickled; pass them through the environment")


class SecretHeaders(Mapping[str, str]):
    """Request headers that name themselves but show no values.

    Tracebacks are often logged with the local variables of every frame, so a token may not lie in a plain dict.

    Example:
        >>> SecretHeaders({"Authorization": "Bearer abc"})
        SecretHeaders(Authorization)
    """

    __slots__ = ("_headers",)

    def __init__(self, *several: Mapping[str, str]) -> None:
        self._headers: dict[str, str] = {}
        for headers in several:  # the later ones win
            self._headers.update(headers._headers if type(headers) is SecretHeaders else headers)  # noqa: SLF001

    def __getitem__(self, name: str) -> str:
        return self._headers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._headers.keys()

    def items(self) -> ItemsView[str, str]:
        """Names and values."""
        return self._headers.items()

    def values(self) -> ValuesView[str]:
        """The values."""
        return self._headers.values()

    def __repr__(self) -> str:
        return f"SecretHeaders({', '.join(self)})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("secrets are not pickled")


class Environment(Mapping[str, str]):
    """Environment variables that can be read but do not show themselves: there are keys among them.

    Example:
        >>> Environment({"ZEROG_MODEL": "m", "ZEROG_PRIVATE_KEY": ""}).first("ZEROG_PRIVATE_KEY", "ZEROG_MODEL")
        'm'
    """

    __slots__ = ("_variables",)

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = os.environ if variables is None else variables

    def __getitem__(self, name: str) -> str:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __repr__(self) -> str:
        return f"Environment({len(self)} variables)"

    def first(self, *names: str) -> str | None:
        """The first of these variables that is set and not empty."""
        return next((self[name] for name in names if self.get(name)), None)


def conceal(text: str | Secret | None) -> Secret | None:
    """`text` as a `Secret`; None stays None."""
    return text if text is None or isinstance(text, Secret) else Secret(text)


_ENCLAVE = re.compile("0x[0-9a-fA-F]{64}")
LONGEST_ID = 128
"""Characters that the id of a provider has at most; the store has room for no more."""
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_PLACE = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/?#\\\s]*@)?(\[[0-9A-Fa-f:.]*\]|[A-Za-z0-9._~-]*)(:[0-9]*)?(?![A-Za-z0-9])"
)
_BARE_PLACE = re.compile(r"([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)(:[0-9]+)?(?=[/?#]|$)")


def shown_url(url: object) -> str:
    """As much of a URL as may be shown: what follows the host, and what stands before it, may be a key.

    Example:
        >>> shown_url("https://user:secret@rpc.example:8545/v2/secret?key=secret"), shown_url("secret")
        ('https://rpc.example:8545/…', 'a text of 6 characters')
    """
    if not isinstance(url, str):
        return f"a {type(url).__name__}"
    found = _PLACE.match(url) or _BARE_PLACE.match(url)
    if found is None:
        return f"a text of {len(url)} characters"
    place = "".join(part or "" for part in found.groups())
    return place if url == place else place + "/…"


class Url(str):
    """A URL that shows scheme and host only, in tracebacks, too; as a text it is itself.

    Example:
        >>> Url("https://rpc.example/v2/key")
        Url('https://rpc.example/…')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Url({shown_url(self)!r})"


@dataclass(frozen=True, slots=True)
class Network:
    """One chain with the serving contracts on it (0g-direct §1).

    Attributes:
        name: ``"mainnet"``, ``"testnet"``, ``"local"`` or the user's own.
        chain_id: What ``eth_chainId`` must answer.
        rpc_url: JSON-RPC endpoint; of it, ``repr`` shows scheme and host only.
        ledger: LedgerManager address.
        inference: InferenceServing address.
        status_url: Public status API, "" if none.
        allow_private_providers: Whether the URLs that this chain names may lead to this machine and into private
            networks; for people who run their own providers.
    """

    name: str
    chain_id: int
    rpc_url: str
    ledger: str
    inference: str
    status_url: str = ""
    allow_private_providers: bool = False

    def __post_init__(self) -> None:
        """Hide the path of the RPC endpoint."""
        if isinstance(self.rpc_url, str):
            object.__setattr__(self, "rpc_url", Url(self.rpc_url))

    @property
    def is_local(self) -> bool:
        """Whether this is a local network: it is called so, and its RPC endpoint is on this machine."""
        return self.name == "local" and is_loopback(self.rpc_url)

    @property
    def private_providers(self) -> bool:
        """Whether providers may be on this machine or in a private network."""
        return self.allow_private_providers or self.is_local

    def __repr__(self) -> str:
        return f"Network({self.name!r}, chain_id={self.chain_id}, rpc_url={shown_url(self.rpc_url)!r})"


# Addresses: 0g-direct §1.2. The local ones are those of a fresh local network (localnet §2).
NETWORKS: Mapping[str, Network] = {
    "mainnet": Network(
        "mainnet",
        16661,
        "https://evmrpc.0g.ai",
        "0x2dE54c845Cd948B72D2e32e39586fe89607074E3",
        "0x47340d900bdFec2BD393c626E12ea0656F938d84",
        "https://compute-status.0g.ai",
    ),
    "testnet": Network(
        "testnet",
        16602,
        "https://evmrpc-testnet.0g.ai",
        "0xE70830508dAc0A97e6c087c75f402f9Be669E406",
        "0xa79F4c8311FF93C06b8CfB403690cc987c93F91E",
        "https://compute-status-testnet.0g.ai",
    ),
    "local": Network(
        "local",
        31337,
        "http://127.0.0.1:8545",
        "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0",
        "0x0165878A594ca255338adfa4d48449f69242Eb8F",
    ),
}
DEFAULT_NETWORK = "testnet"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that arguments and environment say, checked as far as that goes without I/O.

    Example:
        >>> Settings.resolve(network="mainnet", environ={}).network.chain_id
        16661
    """

    network: Network
    private_key: Secret | None = None
    api_key: Secret | None = None
    provider: str | None = None
    model: str | None = None
    verify: str = "warn"
    backend: str | None = None
    store: str = field(default="memory:", repr=False)
    chosen: bool = field(default=True, repr=False)
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Of settings that come from the environment, the variable."""

    @classmethod
    @clears_locals
    def resolve(
        cls,
        *,
        network: str | Network | None = None,
        rpc_url: str | None = None,
        ledger: str | None = None,
        inference: str | None = None,
        private_key: str | Secret | None = None,
        api_key: str | Secret | None = None,
        provider: str | None = None,
        model: str | None = None,
        verify: str | None = None,
        store: str | None = None,
        allow_private_providers: bool | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Combine arguments with ``ZEROG_*`` variables; arguments win, and a `Network` is taken as it is.

        An API key given as an argument is used even if the environment also holds a wallet key, and the other way
        round; with both in the environment, the backend takes the one that it can use, and Direct the wallet key.
        Provider and model say together who answers, so an argument for one of them replaces both variables.

        Raises:
            ConfigError: unknown network, malformed address or URL.
        """
        # A traceback can show the locals of every frame: nothing in this one is a key from here on.
        key, token, env = conceal(private_key), conceal(api_key), Environment(environ)
        private_key = api_key = environ = None
        rpc_url = hidden(rpc_url)
        sources: dict[str, str] = {}

        def pick(name: str, argument: str | None, *variables: str) -> str | None:
            if argument is not None:
                return argument
            found = next((variable for variable in variables if env.get(variable)), None)
            if found is None:
                return None
            sources[name] = found
            return env[found]

        def address(name: str, argument: str | None, *variables: str) -> str | None:
            text = pick(name, argument, *variables)
            return check_contract(text, source(name, sources)) if text else None

        wanted = network if isinstance(network, Network) else pick("network", network, "ZEROG_NETWORK")
        base = _network(DEFAULT_NETWORK if wanted is None else wanted, sources)
        whole = isinstance(network, Network)
        url = hidden(pick("rpc_url", rpc_url, *(() if whole else ("ZEROG_RPC_URL", "ZG_RPC_ENDPOINT"))))
        private = allow_private_providers
        if private is None and not whole:
            private = _switch(env, "ZEROG_ALLOW_PRIVATE_PROVIDERS")
        if whole:
            check_contract(base.ledger, "ledger=")
            check_contract(base.inference, "inference=")
        base = replace(
            base,
            rpc_url=check_url(url, source("rpc_url", sources).rstrip("="), secure=False) if url else base.rpc_url,
            ledger=address("ledger", ledger, *(() if whole else ("ZEROG_LEDGER",))) or base.ledger,
            inference=address("inference", inference, *(() if whole else ("ZEROG_INFERENCE",))) or base.inference,
            allow_private_providers=base.allow_private_providers if private is None else private is True,
        )
        if key is None and token is None:
            key = conceal(pick("private_key", None, *KEY_NAMES))
            token = conceal(pick("api_key", None, "ZEROG_API_KEY"))
        asked = provider is None and model is None
        demand = pick("verify", verify, "ZEROG_VERIFY")
        return cls(
            network=base,
            private_key=key if key is not None and key.reveal() else None,
            api_key=token if token is not None and token.reveal() else None,
            provider=_provider(pick("provider", provider, *(("ZEROG_PROVIDER",) if asked else ())), sources),
            model=pick("model", model, *(("ZEROG_MODEL",) if asked else ())),
            verify="warn" if demand is None else demand,
            backend=pick("backend", None, "ZEROG_BACKEND"),
            store=pick("store", store, "ZEROG_STORE") or "memory:",
            chosen=wanted is not None,
            sources=sources,
        )


@contextmanager
def blaming(name: str, sources: Mapping[str, str], *, about: str = "") -> Iterator[None]:
    """Have an error about the setting `name` say which variable of the environment it came from, if it did.

    Args:
        name: The setting.
        sources: Variables by setting.
        about: What stands in the message of an error about it, where other errors are met on the way, too.
    """
    try:
        yield
    except ZeroGError as error:
        variable = sources.get(name)
        if variable and about in error.message and not re.search(rf"\b{variable}\b", str(error)):
            error.hint = f"{error.hint}; {variable} says so" if error.hint else f"{variable} says so"
        raise


def source(name: str, sources: Mapping[str, str]) -> str:
    """What to blame for the setting `name`: the variable that it came from, else the argument.

    Example:
        >>> source("provider", {"provider": "ZEROG_PROVIDER"}), source("provider", {})
        ('ZEROG_PROVIDER', 'provider=')
    """
    return sources.get(name, f"{name}=")


def _network(network: str | Network, sources: Mapping[str, str]) -> Network:
    if isinstance(network, Network):
        return network
    if network not in NETWORKS:
        raise ConfigError(
            f"unknown network {network!r}",
            code="unknown_network",
            hint=f"{source('network', sources)} takes one of {', '.join(NETWORKS)}; network= also takes a Network",
        )
    return NETWORKS[network]


def _switch(env: Environment, name: str) -> bool | None:
    """What a variable that is on or off says; None where it is not set."""
    word = env.first(name)
    if word is None:
        return None
    if word.lower() not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
        raise ConfigError(f"{name} is neither on nor off: {word!r}", code="bad_setting", hint=f"{name}=1 or {name}=0")
    return word.lower() in ("1", "true", "yes", "on")


def _provider(text: str | None, sources: Mapping[str, str]) -> str | None:
    """The id of a provider: an address as chains write it, or what else its backend calls it."""
    if not text:
        return None
    if isinstance(text, str) and _ENCLAVE.fullmatch(text):
        return text.lower()
    opaque = isinstance(text, str) and text.isprintable() and " " not in text and len(text) <= LONGEST_ID
    return text if opaque and not _ADDRESS.fullmatch(text) else check_contract(text, source("provider", sources))


def check_contract(text: str, name: str) -> str:
    """`text` if it is an address, as chains write it.

    Raises:
        ConfigError: it is none (code ``bad_address``).
    """
    try:
        return typed_address(text)
    except ValueError as error:
        raise ConfigError(
            f"{name.rstrip('=')}: {error}",
            code="bad_address",
            hint=f"copy it again; {name} takes 0x and 40 hex digits",
        ) from None


def is_loopback(url: str) -> bool:
    """Whether `url` points at this machine."""
    return (urlsplit(url).hostname or "") in _LOOPBACK


def hidden(url: str | None) -> str | None:
    """`url` as one that shows scheme and host only; what is no text stays what it is, for `check_url`."""
    return Url(url) if isinstance(url, str) else url


def check_url(url: str, name: str, *, secure: bool = True, private: bool = False) -> str:
    """`url` without trailing slashes, if requests may be sent there.

    What its name resolves to is judged when it is dialled (`zg_core.http.reach`).

    Args:
        url: The URL.
        name: What to call it in the error.
        secure: Whether a stranger chose it, say on chain. Then it is to be https (http on this machine only),
            without query and fragment, and lead to the public internet. Otherwise any http(s) URL will do.
        private: Whether it may lead to this machine and into private networks all the same.

    Raises:
        ConfigError: it is no such URL; scheme and host are all that is shown of it.
    """
    shown = shown_url(url)
    url = Url(url if isinstance(url, str) else "")  # a traceback can show the locals of every frame
    host, problem = _parted(url, strict=secure)
    if problem == "none":
        raise ConfigError(f"{name} is not an http(s) URL: {shown}", code="bad_url", hint=f"check {name}")
    if problem:
        hint = "remove user:password@ from the URL" if problem == "credentials" else "choose another provider"
        raise ConfigError(f"{name} carries {problem}: {shown}", code="bad_url", hint=hint)
    if secure and not url.lower().startswith("https:") and not is_loopback(url):
        raise ConfigError(
            f"{name} is plain http: {shown}",
            code="insecure_url",
            hint="prompts and tokens travel over https only; choose another provider (provider=…)",
        )
    if secure and not private:
        try:
            check_host(host)
        except OutOfReach as error:
            message = f"{name} leads to {error}: {shown}"
            raise ConfigError(message, code="insecure_url", hint=OWN_PROVIDERS) from None
    return Url(url.rstrip("/"))


def _parted(url: str, *, strict: bool) -> tuple[str, str]:
    """The host of `url`, and what is wrong with it: "none" where it is no URL, or what it carries."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        valid = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except ValueError:
        return "", "none"
    # What one parser drops or folds, another may not: then the host that is checked is not the one that is called.
    if not valid or not url.isascii() or not url.isprintable() or set(url) & set(" \\"):
        return "", "none"
    if "@" in parts.netloc:
        return host, "credentials"
    return host, ("a query" if "?" in url else "a fragment" if "#" in url else "") if strict else ""
