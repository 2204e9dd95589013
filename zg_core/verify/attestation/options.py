"""How attestations are judged, as one value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError
from zg_core.verify.attestation.collateral import Collateral
from zg_core.verify.attestation.quote import unhex

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AttestationOptions"]

# The statuses that dcap-qvl gives a platform (0g-direct §6.6).
STATUSES = (
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "TDRelaunchAdvised",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
)
PHALA_PCCS = "https://pccs.phala.network"


@dataclass(frozen=True)
class AttestationOptions:
    """What is accepted, and where evidence is looked up.

    Attributes:
        statuses: TCB statuses that level 2 accepts. ``SWHardeningNeeded`` is among them by default: the hardware is
            up to date, and the software that has to be hardened is measured.
        collateral_max_age: Level 2: how old what Intel signed about the platform may be; None accepts it until it
            ends, which is thirty days after it was signed.
        os_images: Level 3: the OS images that are accepted, each ``(MRTD, RTMR1, RTMR2)`` in hex, or the three joined
            by colons, as `zerog verify` prints them. Without it level 3 is `unavailable`: on genuine hardware anybody
            can start an operating system of his own, which measures whatever it is told. No list is shipped. RTMR0 is
            the shape of the machine, RTMR3 the application (0g-direct §6.2).
        compose_hashes: Level 3: the only compose hashes that are accepted (hex); None accepts any that was measured.
        require_pinned: Level 3: whether the compose file must fix what is started, every image by its digest.
        pccs_url: Where collateral is fetched.
        collateral: Collateral given instead, also as a path or as JSON text.
        root: The certificate (DER) to trust instead of Intel's root, for evidence of a local network. Only said here;
            no setting of the environment replaces the root.
        nras_url: Level 4: NVIDIA's attestation service; None does not ask it, so that the level is `unavailable`.
        nras_keys_url: Where its public keys are (JWKS).

    Example:
        >>> AttestationOptions(statuses=("UpToDate",)).pccs_url
        'https://pccs.phala.network'
        >>> AttestationOptions(os_images=["0xAB:cd:ef"]).os_images
        frozenset({('ab', 'cd', 'ef')})
    """

    statuses: tuple[str, ...] = ("UpToDate", "SWHardeningNeeded")
    compose_hashes: frozenset[str] | None = None
    os_images: frozenset[tuple[str, str, str]] | None = None
    require_pinned: bool = False
    pccs_url: str = PHALA_PCCS
    collateral: Collateral | str | Path | None = field(default=None, repr=False)
    root: bytes | None = field(default=None, repr=False)
    nras_url: str | None = "https://nras.attestation.nvidia.com/v3/attest/gpu"
    nras_keys_url: str = "https://nras.attestation.nvidia.com/.well-known/jwks.json"
    collateral_max_age: timedelta | None = None

    def __post_init__(self) -> None:
        """Bring the lists into one form and read collateral.

        Raises:
            ConfigError: an unknown status, a text in place of a list, what is no hex, or collateral that is none.
        """
        given: Any = self.collateral
        statuses = _several("statuses", self.statuses, 'statuses=("UpToDate",)')
        if unknown := [each for each in statuses if each not in STATUSES]:
            raise _bad(f"{', '.join(map(repr, unknown))}: no TCB status", f"use {', '.join(STATUSES)}")
        object.__setattr__(self, "statuses", tuple(statuses))
        if given is not None and not isinstance(given, Collateral):
            object.__setattr__(self, "collateral", Collateral.read(given))
        age: Any = self.collateral_max_age
        if age is not None and (not isinstance(age, timedelta) or age <= timedelta(0)):
            raise _bad(f"collateral_max_age is {age!r}", "a time that is past, for example timedelta(days=7)")
        if self.compose_hashes is not None:
            hashes = _several("compose_hashes", self.compose_hashes, 'compose_hashes={"37bf…"}')
            object.__setattr__(self, "compose_hashes", frozenset(_digits("compose_hashes", each) for each in hashes))
        if self.os_images is not None:
            images = _several("os_images", self.os_images, "os_images={(MRTD, RTMR1, RTMR2)}")
            object.__setattr__(self, "os_images", frozenset(map(_image, images)))


def _several(name: str, value: Any, example: str) -> list[Any]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise _bad(f"{name} takes a tuple (or set), not a {type(value).__name__}", f"for example {example}")
    return list(value)


def _image(value: Any) -> tuple[str, ...]:
    parts = value.split(":") if isinstance(value, str) else value
    if isinstance(parts, bytes) or not isinstance(parts, Sequence) or len(parts) != 3:
        hint = "each is (MRTD, RTMR1, RTMR2) in hex, or MRTD:RTMR1:RTMR2 as `zerog verify` prints it"
        raise _bad(f"os_images holds {str(value)[:60]!r}, which is no image", hint)
    return tuple(_digits("os_images", each) for each in parts)


def _digits(name: str, value: Any) -> str:
    try:
        found = unhex(value.strip()).hex()
    except (ValueError, TypeError, AttributeError):
        found = ""
    if not found:
        raise _bad(f"{name} holds {str(value)[:100]!r}, which is no hex", "hexadecimal digits, with or without 0x")
    return found


def _bad(message: str, hint: str) -> ConfigError:
    return ConfigError(message, code="bad_attestation_options", hint=hint)
