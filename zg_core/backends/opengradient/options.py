"""What only this backend has, as one value: `OpenGradient`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from zg_core.backends.opengradient import places
from zg_core.config import Url, check_url, is_loopback
from zg_core.crypto import typed_address
from zg_core.errors import ConfigError
from zg_core.money import Amount
from zg_core.shown.tracebacks import forgetful
from zg_core.verify.attestation.nitro import AWS_ROOT_SHA256

if TYPE_CHECKING:
    from zg_core.backends.base import Backend, Setting

__all__ = ["MODES", "RPC_VARIABLES", "OpenGradient"]

MODES = ("private", "batch", "individual")
"""What is published of an answer: nothing; a hash in a batch; everything."""
RPC_VARIABLES = ("ZEROG_BASE_RPC_URL", "BASE_MAINNET_RPC")
REGISTRY_VARIABLE = "ZEROG_OPENGRADIENT_RPC_URL"
BLOBS_VARIABLE = "ZEROG_OPENGRADIENT_BLOBS_URL"
ROOT_VARIABLE = "ZEROG_OPENGRADIENT_NITRO_ROOT"
_TEE = 66


@forgetful
@dataclass(frozen=True, slots=True)
class OpenGradient:
    """How OpenGradient is used, for ``backend=``.

    Attributes:
        cap: The most that one permit may allow. A gateway asks for it as a cap, not as a price: newer ones for 5 OPG,
            older ones for 0.1. What is over is never taken; a lower cap refuses gateways that ask for more.
        pay_to: Payees that are accepted beside the one that the registry names for the enclave.
        settlement: What is published of an answer: ``"private"`` nothing, ``"batch"`` (default) its hashes within a
            batch, ``"individual"`` all of it, request included, for everybody to read.
        schemes: Kinds of payment that are accepted: ``"upto"``, ``"exact"``.
        longest: Seconds for which a permit may be good.
        skew: Seconds by which the gateway's clock may differ from this machine's.
        check_funds: Whether balance and approval are looked up before a permit is signed.
        pcrs: Images of enclaves that are accepted (the registry's ``pcrHash``); None leaves that to the registry.
        nitro_root: SHA-256 of the root that attests enclaves; AWS's, but for a local network, which may say it in
            ``ZEROG_OPENGRADIENT_NITRO_ROOT``: with a registry elsewhere, that variable is not read.
        registry: Address of the registry.
        registry_rpc_url: JSON-RPC endpoint of its chain; default ``ZEROG_OPENGRADIENT_RPC_URL``, else OpenGradient's.
        registry_chain_id: Id of its chain.
        rpc_url: JSON-RPC endpoint of the chain where calls are paid; default ``ZEROG_BASE_RPC_URL`` or
            ``BASE_MAINNET_RPC``, else a public one of Base.
        chain_id: Id of that chain.
        token: The token that calls are paid in.
        relay: The contract that publishes hashes; None finds it by its events.
        blobs_url: Where published blobs are; a local network may say it in ``ZEROG_OPENGRADIENT_BLOBS_URL``.

    Raises:
        ConfigError: one of them is malformed (code ``bad_opengradient``, or ``bad_url``).

    Example:
        >>> OpenGradient(cap=Amount("0.5", "OPG")).settlement
        'batch'
    """

    cap: Amount = field(default_factory=lambda: Amount("5", "OPG"))
    pay_to: tuple[str, ...] = ()
    settlement: str = "batch"
    schemes: tuple[str, ...] = ("upto", "exact")
    longest: int = 3600
    skew: int = 120
    check_funds: bool = True
    pcrs: frozenset[str] | None = None
    nitro_root: str = AWS_ROOT_SHA256
    registry: str = places.REGISTRY
    registry_rpc_url: str | None = None
    registry_chain_id: int = places.REGISTRY_CHAIN_ID
    rpc_url: str | None = None
    chain_id: int = places.CHAIN_ID
    token: str = places.TOKEN
    relay: str | None = None
    blobs_url: str = places.BLOBS_URL

    def __post_init__(self) -> None:
        """Check all, and bring it into one form."""
        cap: Any = self.cap
        if isinstance(cap, str) and cap.endswith(" OPG"):  # as it is serialised
            cap = Amount(cap.removesuffix(" OPG"), "OPG")
            object.__setattr__(self, "cap", cap)
        if not isinstance(cap, Amount) or cap.currency != "OPG" or cap.units <= 0:
            raise _bad(f"cap is {cap!r}", 'an amount of OPG above nothing: cap=Amount("5", "OPG")')
        if self.settlement not in MODES:
            raise _bad(f"settlement is {self.settlement!r}", f"use one of {', '.join(MODES)}")
        for name in ("pay_to", "schemes", "pcrs"):
            if isinstance(getattr(self, name), str):
                raise _bad(f"{name} is one text", f"give several: {name}=[…]")
        if unknown := set(self.schemes) - {"upto", "exact"}:
            raise _bad(f"schemes holds {sorted(map(str, unknown))}", "upto and exact are understood")
        for name in ("longest", "skew", "chain_id", "registry_chain_id"):
            number: Any = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number <= 0:
                raise _bad(f"{name} is {number!r}", "a whole number above nothing")
        put = object.__setattr__
        put(self, "schemes", tuple(self.schemes))
        put(self, "pay_to", tuple(_address("pay_to", each) for each in self.pay_to))
        for name in ("registry", "token"):
            put(self, name, _address(name, getattr(self, name)))
        put(self, "relay", None if self.relay is None else _address("relay", self.relay))
        put(self, "pcrs", None if self.pcrs is None else frozenset(_hash("pcrs", each) for each in self.pcrs))
        put(self, "nitro_root", _hash("nitro_root", self.nitro_root)[2:])
        for name in ("registry_rpc_url", "rpc_url", "blobs_url"):
            url = getattr(self, name)
            put(self, name, None if url is None else Url(check_url(url, name, secure=False)))

    @property
    def name(self) -> str:
        """``"opengradient"``."""
        return "opengradient"

    @property
    def terms(self) -> str:
        """What a permit may say, as one text: clients that allow the same share permits."""
        allowed = (self.cap.units, sorted(self.pay_to), sorted(self.schemes), self.longest, self.token)
        return repr(allowed)

    def make(self, setting: Setting) -> Backend:
        """See `zg_core.backends.base.Options.make`."""
        if setting.sealed:
            hint = "leave sealed= out, or use backend='router' or 'direct'"
            raise ConfigError("OpenGradient has no sealed requests", code="cannot_seal", hint=hint)
        from zg_core.backends.opengradient.backend import OpenGradientBackend  # circle: it is made with these options

        return OpenGradientBackend(self, setting)

    def urls(self, environ: Any) -> tuple[str, str]:
        """The JSON-RPC endpoints of the registry's chain and of the payment chain: given, set, or the public ones."""
        first = getattr(environ, "first", lambda *_: None)
        listed = self.registry_rpc_url or first(REGISTRY_VARIABLE) or places.REGISTRY_RPC_URL
        payment = self.rpc_url or first(*RPC_VARIABLES) or places.BASE_RPC_URL
        return check_url(listed, REGISTRY_VARIABLE, secure=False), check_url(payment, RPC_VARIABLES[0], secure=False)

    def placed(self, environ: Any) -> OpenGradient:
        """The same, on a local network with what its environment says of blobs and attestation."""
        first = getattr(environ, "first", lambda *_: None)
        if not is_local(self.urls(environ)[0]):
            return self
        said = {}
        if self.nitro_root == AWS_ROOT_SHA256 and (root := first(ROOT_VARIABLE)):
            said["nitro_root"] = root
        if self.blobs_url == places.BLOBS_URL and (url := first(BLOBS_VARIABLE)):
            said["blobs_url"] = url
        return replace(self, **said) if said else self


def is_local(registry_url: str) -> bool:
    """Whether the registry is one on this machine, whose gateways may be here, too."""
    return is_loopback(registry_url)


def _address(name: str, value: Any) -> str:
    try:
        return typed_address(value)
    except ValueError as error:
        raise _bad(f"{name}: {error}", "an address is 0x and 40 hex digits") from None


def _hash(name: str, value: Any) -> str:
    digits = value.lower().removeprefix("0x") if isinstance(value, str) else ""
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise _bad(f"{name} holds {str(value)[:80]!r}", "64 hex digits")
    return "0x" + digits


def _bad(message: str, hint: str) -> ConfigError:
    return ConfigError(message, code="bad_opengradient", hint=hint)
