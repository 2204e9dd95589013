"""Which backend a client uses: one line for each there is, and the one rule by which it is chosen."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.base import Backend, Options
    from zg_core.budget import Spending
    from zg_core.config import Secret
    from zg_core.http.transport import Transport
    from zg_core.receipts.model import Receipt
    from zg_core.receipts.stored import ReceiptStore

__all__ = ["BACKENDS", "VARIABLE", "appoint", "chosen", "options_named", "settlement"]

BACKENDS: Mapping[str, str] = {
    "direct": "zg_core.backends.direct.options:Direct",
    "router": "zg_core.backends.router.options:Router",
    "opengradient": "zg_core.backends.opengradient.options:OpenGradient",
}
"""By name, where the class of its options is (`zg_core.backends.base.Options`)."""
VARIABLE = "ZEROG_BACKEND"
_PREFIXES = {"app-sk-": "direct", "sk-": "router"}
_MANAGING = ("mk-", "pk-")
"""Keys that manage an account and open no inference."""


def chosen(backend: str | Options | None, *, key: Secret | None, said: str | None) -> Options:
    """The backend that was asked for: the argument; else what an API key is for; else ``ZEROG_BACKEND``; else direct.

    Args:
        backend: The argument: a name, or the options of one.
        key: The API key, if there is one.
        said: What ``ZEROG_BACKEND`` says, None if nothing.

    Raises:
        ConfigError: there is no such backend (code ``unknown_backend``), or the key opens none (``wrong_key``).

    Example:
        >>> chosen(None, key=None, said=None).name
        'direct'
    """
    if backend is not None:
        return options_named(backend, "backend=") if isinstance(backend, str) else _checked(backend)
    if (by_key := _by_key(key)) is not None:
        return options_named(by_key, "the API key")
    return options_named(said or "direct", VARIABLE)


def options_named(name: str, source: str = "backend=") -> Options:
    """The options of a backend, all of them as they are by default.

    Raises:
        ConfigError: there is none of this name (code ``unknown_backend``), or it is not part of this release
            (``missing_backend``).
    """
    place = BACKENDS.get(name)
    if place is None:
        raise ConfigError(
            f"there is no backend {name[:40]!r}",
            code="unknown_backend",
            hint=f"{source} takes one of {', '.join(BACKENDS)}",
        )
    module, _, kind = place.partition(":")
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        message = f"backend {name!r} is not part of this release"
        raise ConfigError(message, code="missing_backend", hint="upgrade zerog-integrations") from None
    return cast("Options", getattr(found, kind)())


def appoint(
    backend: Backend, spending: Spending, stored: ReceiptStore | None, transport: Transport, **told: Any
) -> None:
    """Make a chain the referee of a client's budget, where the backend's calls are settled on one that tells."""
    if backend.name == "opengradient":
        from zg_core.backends.opengradient.backend import OpenGradientBackend
        from zg_core.backends.opengradient.referee import Referee

        assert isinstance(backend, OpenGradientBackend)  # noqa: S101 - by its name
        spending.referee = Referee(spending, backend.permits, backend.rpc)
    if backend.name == "direct" and stored is not None:
        from zg_core.backends.direct.audit import referee
        from zg_core.backends.direct.backend import DirectBackend

        assert isinstance(backend, DirectBackend)  # noqa: S101 - by its name
        referee.appoint(spending, stored, backend.network, transport, payer=lambda: backend.payer, **told)


def settlement(receipt: Receipt, options: Any = None, **settings: Any) -> Any:
    """What the chain says of the payment of a call, where its backend is paid by permits.

    Raises:
        ConfigError: it is not (code ``no_settlement``).
        ChainError: the chain cannot be read.
    """
    if receipt.backend != "opengradient":
        raise ConfigError(
            f"calls of backend {receipt.backend[:40]!r} are settled for all of them together",
            code="no_settlement",
            hint="`zerog settlements` shows those of a provider",
        )
    from zg_core.backends.opengradient.account import OpenGradientAccount

    with OpenGradientAccount(options, **settings) as account:
        return account.became(receipt)


def _checked(backend: Options) -> Options:
    if isinstance(backend, type) or not (isinstance(getattr(backend, "name", None), str) and hasattr(backend, "make")):
        named = backend.__name__ if isinstance(backend, type) else type(backend).__name__
        message = f"backend is {'the class' if isinstance(backend, type) else 'a'} {named}"
        names = ", ".join(BACKENDS)
        raise ConfigError(message, code="unknown_backend", hint=f"backend= takes {names}, or a value such as Direct()")
    return backend


def _by_key(key: Secret | None) -> str | None:
    """The backend that a key is for; None where it does not say."""
    if key is None:
        return None
    text = key.reveal().strip().removeprefix("Bearer ")
    name = next((name for prefix, name in _PREFIXES.items() if text.startswith(prefix)), None)
    managing = next((prefix for prefix in _MANAGING if text.startswith(prefix)), None)
    text = ""
    if managing is not None:
        raise ConfigError(
            f"a key that begins with {managing} manages an account: it opens no inference",
            code="wrong_key",
            hint="make an inference key: sk-… for the Router; `zerog keys create` makes one for a provider, app-sk-…",
        )
    return name
