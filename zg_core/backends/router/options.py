"""What ``backend=`` takes for 0G Router: the settings that no other backend has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from zg_core.backends.router.headers import Wishes
from zg_core.config import check_url, conceal
from zg_core.errors import ConfigError
from zg_core.shown.tracebacks import forgetful

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.backends.base import Setting
    from zg_core.backends.router.backend import RouterBackend

__all__ = ["KEY_VARIABLE", "URL_VARIABLE", "Router"]

URL_VARIABLE = "ZEROG_ROUTER_URL"
KEY_VARIABLE = "ZEROG_ROUTER_API_KEY"
"""For whoever has a key of 0G Direct in ``ZEROG_API_KEY``, or a wallet."""


@forgetful
@dataclass(frozen=True, slots=True)
class Router:
    """0G Router: one API key (``sk-…``) and one balance for all providers.

    In the clear the Router reads prompts and answers, and nothing it says can be recomputed: a reply is ``claimed`` or
    ``signer_only``, never more. Sealed, only the enclave can read them, and a reply is ``verified``.

    Attributes:
        sealed: Encrypt each request to the key of an attested enclave, and accept only what that has sealed and signed
            (extra ``sealed``). What cannot be sealed is refused; nothing is ever sent in the clear instead.
        base_url: Where the Router is, instead of the network's own; default ``ZEROG_ROUTER_URL``.
        trust_mode: The least tier of provider: ``"verified"``, ``"private"``, or None for any.
        sort: ``"price"`` or ``"latency"``.
        identity: The only upstream channel to use, such as ``"aliyun"``.
        fallbacks: Whether the Router may go on to another provider when one fails; None leaves it to the Router.
        require_parameters: Refuse providers that would ignore a parameter.
        max_price_usd: The most that a million tokens may cost, in USD: ``"0.5"``, or ``("0.5", "2")`` for prompt and
            answer.
        verify_tee: Have the Router check the provider's signature before it answers, and say so: a claim. It can take
            30 seconds. In the clear only.
        key_signed: Sealed: whether the provider's key on chain must have signed the quote that shows the encryption
            key. Without it, and below ``attest=3``, whoever runs a machine with genuine hardware could show a key of
            his own.

    Raises:
        ConfigError: one of them is malformed.

    Example:
        >>> from zg_core import ChatClient
        >>> client = ChatClient(backend=Router(sort="price"), api_key="sk-" + "1" * 32, model="m", environ={})
        >>> client.backend.name
        'router'
    """

    name: ClassVar[str] = "router"

    sealed: bool = False
    base_url: str | None = None
    trust_mode: Literal["verified", "private"] | None = "verified"
    sort: Literal["price", "latency"] | None = None
    identity: str | None = None
    fallbacks: bool | None = None
    require_parameters: bool = False
    max_price_usd: str | Sequence[str] | None = None
    verify_tee: bool = False
    key_signed: bool = True

    def __post_init__(self) -> None:
        """Check what can be checked without a network."""
        for name in ("sealed", "verify_tee", "key_signed"):
            if not isinstance(getattr(self, name), bool):
                message = f"{name} is {getattr(self, name)!r}"
                raise ConfigError(message, code="bad_setting", hint=f"{name}= takes True or False")
        if self.sealed and self.verify_tee:
            raise _no_tee()
        if self.base_url is not None:
            object.__setattr__(self, "base_url", check_url(self.base_url, "base_url", private=True))
        if self.max_price_usd is not None and not isinstance(self.max_price_usd, str):
            object.__setattr__(self, "max_price_usd", tuple(self.max_price_usd))
        _ = self.wishes

    @property
    def wishes(self) -> Wishes:
        """How the Router shall choose."""
        return Wishes(
            self.trust_mode,
            self.sort,
            None,
            self.identity,
            self.fallbacks,
            self.require_parameters,
            self.max_price_usd,
        )

    def make(self, setting: Setting) -> RouterBackend:
        """See `Options.make`."""
        from zg_core.backends.router.backend import RouterBackend
        from zg_core.backends.router.headers import wishes_of
        from zg_core.backends.router.keys import inference_key
        from zg_core.backends.router.networks import router_of

        environ = setting.environ
        url = self.base_url or (environ.first(URL_VARIABLE) if environ is not None else None)
        router = router_of(setting.network, url)
        given = setting.api_key or (None if environ is None else conceal(environ.first(KEY_VARIABLE)))
        if given is None:
            hint = f"pass api_key='sk-…' or set ZEROG_API_KEY or {KEY_VARIABLE}; keys are made at {router.console}"
            raise ConfigError("0G Router is paid by an API key, and there is none", code="no_credential", hint=hint)
        key = inference_key(given, router)
        sealed = self.sealed or setting.sealed
        if sealed and self.verify_tee:
            raise _no_tee()
        wishes = wishes_of(self.wishes, setting.routing, setting.provider)
        return RouterBackend(
            setting,
            router,
            key,
            wishes,
            sealed=sealed,
            verify_tee=self.verify_tee,
            key_signed=self.key_signed,
            given_url=url is not None,
        )


def _no_tee() -> ConfigError:
    hint = "leave verify_tee out: sealed replies are checked here, and the field would break the seal"
    return ConfigError("verify_tee cannot be part of a sealed request", code="bad_setting", hint=hint)
