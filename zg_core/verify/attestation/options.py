"""How attestations are judged, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError
from zg_core.verify.attestation.collateral import Collateral

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
        compose_hashes: Level 3: the only compose hashes that are accepted (hex); None accepts any that was measured.
        os_images: Level 3: the only OS images that are accepted, each ``(MRTD, RTMR1, RTMR2)`` in hex; None accepts
            any. RTMR0 is the shape of the machine, RTMR3 the application (0g-direct §6.2).
        require_pinned: Level 3: whether every image in the compose file must be pinned by digest.
        pccs_url: Where collateral is fetched.
        collateral: Collateral given instead, also as a path or as JSON text.
        root: The certificate (DER) to trust instead of Intel's root, for evidence of a local network. Only said here;
            no setting of the environment replaces the root.
        nras_url: Level 4: NVIDIA's attestation service; None does not ask it, so that the level is `unavailable`.
        nras_keys_url: Where its public keys are (JWKS).

    Example:
        >>> AttestationOptions(statuses=("UpToDate",)).pccs_url
        'https://pccs.phala.network'
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

    def __post_init__(self) -> None:
        """Bring the allow-lists into one form and read collateral.

        Raises:
            ConfigError: an unknown status, or collateral that is none.
        """
        unknown = set(self.statuses) - set(STATUSES)
        if unknown:
            message = f"{', '.join(sorted(unknown))}: no TCB status"
            raise ConfigError(message, code="bad_attestation_options", hint=f"use {', '.join(STATUSES)}")
        given: Any = self.collateral
        if given is not None and not isinstance(given, Collateral):
            object.__setattr__(self, "collateral", Collateral.read(given))
        if self.compose_hashes is not None:
            hashes = frozenset(each.lower().removeprefix("0x") for each in self.compose_hashes)
            object.__setattr__(self, "compose_hashes", hashes)
        if self.os_images is not None:
            images = frozenset(tuple(each.lower() for each in image) for image in self.os_images)
            object.__setattr__(self, "os_images", images)
