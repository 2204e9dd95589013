"""What a server serves, and to whom: from the command line, or from a TOML file with several named models."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from zg_core.backends.registry import options_named
from zg_core.budget import Budget
from zg_core.config import Secret
from zg_core.errors import ConfigError
from zg_core.money import Amount
from zg_core.routing.routing import Routing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ANY", "Allowance", "Entry", "ServeSettings", "allowance_of", "entry_of", "read_toml"]

ANY = "*"
"""Name of the entry that answers for every model on chain that no other entry names."""
Period = Literal["call", "day", "total"]
_PERIODS: tuple[Period, ...] = ("call", "day", "total")
_SETTINGS = frozenset({"host", "port", "verify", "minimum", "budget", "hold", "max_body", "public_names", "models"})
_OF_A_MODEL = frozenset(
    {"accept_models", "api_key_env", "attest", "backend", "hold", "kinds", "minimum", "model", "provider", "routing"}
    | {"verify"}
)
_AMOUNT = re.compile(r"[0-9]{1,30}(\.[0-9]{1,18})?")
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Allowance:
    """The most that may be spent: ``0.05/call``, ``5/day`` (UTC), ``20/total``. Amounts are 0G.

    Example:
        >>> allowance_of("5/day")
        Allowance(amount=Amount('5', '0G'), period='day')
    """

    amount: Amount
    period: Period

    def __str__(self) -> str:
        return f"{str(self.amount).removesuffix(' 0G')}/{self.period}"


def allowance_of(text: str, default: Period = "day") -> Allowance:
    """What a text such as ``5/day`` allows; without a period, per `default`.

    Raises:
        ConfigError: it is no such text (code ``bad_budget``).
    """
    number, slash, period = text.strip().partition("/")
    word = period if slash else default
    amount = Amount(number) if _AMOUNT.fullmatch(number) else Amount(0)
    if word not in _PERIODS or amount.units <= 0:
        raise ConfigError(
            f"{text[:60]!r} is no budget", code="bad_budget", hint="write 0G and a period: 0.05/call, 5/day or 20/total"
        )
    return Allowance(amount, word)


@dataclass(frozen=True, slots=True)
class Entry:
    """One model that the server answers for.

    Attributes:
        name: What callers ask for; `ANY` for every model on chain.
        settings: Settings of the clients that answer (`AsyncChatClient`); no secret in plain text.
        model: What the model is called where it is asked for: None where that is what the caller said, "" where it is
            whatever the provider serves.
        hold: Whether a stream waits for its verdict.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    model: str | None = None
    hold: bool = False


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How a server is run.

    Attributes:
        entries: What it answers for, by name.
        host: Where it listens; elsewhere than on this machine only with a token.
        port: TCP port.
        token: What its owner shows; None lets every program of this machine in.
        budget: What all its calls together may cost.
        store: URL of the store.
        max_body: Most bytes of a request.
        grace: Seconds that calls under way may take to end when the server stops.
        names: Host names beside this machine's own by which it may be asked.
        traced: Whether calls belong to the traces that requests name (OpenTelemetry).
    """

    entries: Mapping[str, Entry]
    host: str = "127.0.0.1"
    port: int = 3000
    token: Secret | None = None
    budget: tuple[Allowance, ...] = ()
    store: str = "memory:"
    max_body: int = 32 * _MEGABYTE
    grace: float = 30.0
    names: frozenset[str] = frozenset()
    traced: bool = False

    def __post_init__(self) -> None:
        """Refuse what would open the server to strangers.

        Raises:
            ConfigError: it listens beyond this machine without a token (code ``token_needed``).
        """
        if self.token is None and not is_loopback(self.host):
            raise ConfigError(
                f"{self.host} can be reached from other machines, and without a token everybody there could spend",
                code="token_needed",
                hint="leave out --no-token, or listen on 127.0.0.1",
            )
        if not self.entries:
            raise ConfigError("no model to serve", code="bad_serve_config", hint="name one: --model NAME")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    import ipaddress

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def budget_of(everybodys: tuple[Allowance, ...], own: Allowance | None = None, run: str = "") -> Budget | None:
    """The budget of the core for the calls of one caller; None for none.

    Args:
        everybodys: What all callers together may spend.
        own: What this one may spend.
        run: The name under which its own spending is counted.
    """
    limits: dict[str, Any] = {}
    for each in everybodys:
        _tighten(limits, {"call": "per_call", "day": "per_day", "total": "per_wallet"}[each.period], each.amount)
    if own is not None:
        _tighten(limits, "per_call" if own.period == "call" else "per_run", own.amount)
    if not limits:
        return None
    return Budget(**limits, run=run) if run else Budget(**limits)


def _tighten(limits: dict[str, Any], name: str, amount: Amount) -> None:
    limits[name] = min(amount, limits.get(name, amount))


def read_toml(path: Path, settings: ServeSettings, shared: Mapping[str, Any]) -> ServeSettings:
    """`settings`, with what a TOML file says; `shared` are the settings that every model begins with.

    Raises:
        ConfigError: it cannot be read, or says what nobody understands (code ``bad_serve_config``).
    """
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _bad(f"{path} cannot be read: {error}") from None
    _refuse_others(text, _SETTINGS, str(path))
    models = text.get("models")
    if not isinstance(models, dict) or not models:
        raise _bad(f'{path} names no model: [models."NAME"]')
    common: dict[str, Any] = {**shared, **{name: text[name] for name in ("verify", "minimum") if name in text}}
    held = _typed(text, "hold", bool, False)
    entries = {}
    for name, said in models.items():
        if not isinstance(said, dict):
            raise _bad(f"models.{name} is no table")
        entries[name] = entry_of(name, said, common, hold=held)
    changes: dict[str, Any] = {"entries": entries}
    changes |= {name: _typed(text, name, kind, None) for name, kind in (("host", str), ("port", int)) if name in text}
    if "budget" in text:
        told = text["budget"]
        told = [told] if isinstance(told, str) else told
        if not isinstance(told, list) or not all(isinstance(each, str) for each in told):
            raise _bad('budget is a text, or a list of them: ["5/day", "0.05/call"]')
        changes["budget"] = tuple(map(allowance_of, told))
    if "max_body" in text:
        changes["max_body"] = _typed(text, "max_body", int, 32) * _MEGABYTE
    if "public_names" in text:
        changes["names"] = frozenset(map(str.lower, _texts(text["public_names"], "public_names")))
    return replace(settings, **changes)


def entry_of(name: str, said: Mapping[str, Any], shared: Mapping[str, Any], *, hold: bool = False) -> Entry:
    """The entry that a table of the file, or the command line, describes.

    Raises:
        ConfigError: it says what nobody understands (code ``bad_serve_config``).
    """
    where = f"models.{name}"
    if not name or len(name) > 200 or not name.isprintable():
        raise _bad(f"{where[:200]!r} is no name of a model")
    _refuse_others(said, _OF_A_MODEL, where)
    settings: dict[str, Any] = dict(shared)
    for key, kind in (("provider", str), ("verify", str), ("minimum", str), ("attest", int)):
        if key in said:
            settings[key] = _typed(said, key, kind, None)
    if "backend" in said:
        settings["backend"] = _backend(said["backend"], where)
    if "kinds" in said:
        settings["kinds"] = _texts(said["kinds"], f"{where}: kinds")
    if "accept_models" in said:
        pairs = said["accept_models"]
        if not isinstance(pairs, dict) or not all(isinstance(each, str) for each in pairs.values()):
            raise _bad(f"{where}: accept_models is a table of texts")
        settings["accept_models"] = dict(pairs)
    if "routing" in said:
        settings["routing"] = _routing(said["routing"], where)
    if "api_key_env" in said:
        variable = _typed(said, "api_key_env", str, "")
        if not os.environ.get(variable):
            raise _bad(f"{where}: the environment has no {variable}")
        settings["api_key"] = Secret(os.environ[variable])
    model = _typed(said, "model", str, None)
    if model is None and name != ANY:
        model = "" if "provider" in said else name
    if model:
        settings["model"] = model
    entry_hold = _typed(said, "hold", bool, hold)
    if entry_hold:
        settings["stream"] = "hold"
    return Entry(name, settings, None if model == name else model, entry_hold)


def _backend(said: Any, where: str) -> Any:
    """The name of a backend, or the options of one that a table names: ``{ name = "router", sealed = true }``."""
    if isinstance(said, str):
        return said
    if not isinstance(said, dict) or not isinstance(said.get("name"), str):
        raise _bad(f"{where}: backend is a name, or a table with one")
    made = type(options_named(said["name"], f"{where}: backend"))
    try:
        return made(**{name: value for name, value in said.items() if name != "name"})
    except TypeError as error:
        raise _bad(f"{where}: backend: {error}") from None


def _routing(said: Any, where: str) -> Routing:
    words: Any = {"sort": said} if isinstance(said, str) else said
    if not isinstance(words, dict):
        raise _bad(f'{where}: routing is "price", "latency", "throughput" or a table')
    try:
        words = dict(words)
        if "max_price" in words:
            words["max_price"] = Amount(words["max_price"])
        return Routing(**words)
    except TypeError as error:
        raise _bad(f"{where}: routing: {error}") from None


def _refuse_others(said: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    if others := sorted(said.keys() - known):
        raise _bad(f"{where} says {', '.join(others)}; known are {', '.join(sorted(known))}")


def _typed(said: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = said.get(name, default)
    if value is not default and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise _bad(f"{name} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _texts(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _bad(f"{name} is a list of texts")
    return value


def _bad(message: str) -> ConfigError:
    return ConfigError(message, code="bad_serve_config", hint="see docs/serve.md")
