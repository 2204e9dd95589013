"""Which keys the Router takes, and what the others are (0g-router §2): told apart before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core.config import Secret
from zg_core.errors import ConfigError
from zg_core.shown.redaction import learn

if TYPE_CHECKING:
    from zg_core.backends.router.networks import RouterNetwork

__all__ = ["inference_key", "management_key"]

# Longest first: all of them begin with what the Router's own keys begin with.
_STRANGERS = {
    "sk-proj-": "OpenAI",
    "sk-svcacct-": "OpenAI",
    "sk-admin-": "OpenAI",
    "sk-ant-": "Anthropic",
    "sk-or-": "OpenRouter",
}


def inference_key(key: Secret | str, network: RouterNetwork) -> Secret:
    """A key that may ask for answers.

    Args:
        key: What was given.
        network: Where it shall be used, for the hint.

    Raises:
        ConfigError: another kind of key, or another vendor's (code ``wrong_key``); it is neither shown nor sent.

    Example:
        >>> from zg_core.backends.router.networks import ROUTERS
        >>> inference_key("sk-proj-abcdefghijklmnop", ROUTERS["testnet"])
        Traceback (most recent call last):
        ...
        zg_core.errors.ConfigError: this is a key of OpenAI, and goes nowhere else; nothing was sent \
(hint: make a key of 0G's Router (sk-…) at https://pc.testnet.0g.ai)
    """
    text = _text(key)
    make = f"make a key of 0G's Router (sk-…) at {network.console}"
    for prefix, vendor in _STRANGERS.items():
        if text.startswith(prefix):
            raise _wrong(f"this is a key of {vendor}, and goes nowhere else", make)
    if text.startswith("app-sk-"):
        hint = f"leave backend= out, or pass backend='direct'; or {make}"
        raise _wrong("this is a key of 0G Direct (app-sk-…), for one provider", hint)
    if text.startswith("mk-"):
        hint = f"{make}, or with this one: `zerog router keys create`, RouterAccount(management_key=…).create_key(…)"
        raise _wrong("this is a management key (mk-…), which asks for no answers", hint)
    if text.startswith("pk-"):
        raise _wrong("this is a partner key (pk-…), which reads usage only", make)
    if not text.startswith("sk-"):
        raise _wrong("this is no key of 0G's Router", make)
    return _usable(text, make)


def management_key(key: Secret | str, network: RouterNetwork) -> Secret:
    """A key that may read the account and manage keys.

    Args:
        key: What was given.
        network: Where it shall be used, for the hint.

    Raises:
        ConfigError: it is none (code ``wrong_key``).
    """
    text = _text(key)
    make = f"make a management key (mk-…) at {network.console}"
    if text.startswith("mk-"):
        return _usable(text, make)
    what = "this key asks for answers, and may not see the account" if text.startswith("sk-") else "no management key"
    raise _wrong(what, make)


def _text(key: Secret | str) -> str:
    return (key.reveal() if isinstance(key, Secret) else key).strip()


def _usable(text: str, make: str) -> Secret:
    if len(text) < 8 or not text.isascii() or not text.isprintable() or " " in text:
        raise _wrong("the key is cut or holds characters that no key has", make)
    learn(text)
    return Secret(text)


def _wrong(what: str, hint: str) -> ConfigError:
    return ConfigError(f"{what}; nothing was sent", code="wrong_key", hint=hint)
