"""Who says whose key must have signed a receipt: somebody else than the receipt itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.crypto import typed_address
from zg_core.errors import ConfigError
from zg_core.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Anchor", "id_of", "read_pins"]

_LONG_ID = re.compile(r"0x[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a receipt is measured against.

    Attributes:
        source: Where this comes from, in words.
        signers: Who may have signed: addresses, or what else the evidence's scheme calls a signer.
        services: The provider's records as the anchor has them, the likeliest first; then `signers` are theirs. Of 0G's
            chain they are `zg_core.types.ServiceRecord`, of other backends plain data.
        complete: Whether these are all that could have been in force; if not, a mismatch accuses nobody.
        facts: What it says beside that of the receipt's fields, by name: ``realm``, ``inference``, ``provider``, …
    """

    source: str
    signers: tuple[str, ...] = ()
    services: tuple[Any, ...] = ()
    complete: bool = True
    facts: Mapping[str, str | int] = field(default_factory=dict, hash=False)


def read_pins(path: Path, provider: str, chain_id: int) -> Anchor:
    """The signers that a pins file names for a provider.

    The file is a JSON object: a provider's address, or ``chain id:address``, to a signer or a list of signers. Ids of
    32 bytes, as enclaves of other backends have, stand in place of addresses.

    Raises:
        ConfigError: it cannot be read, or is of another form (code ``bad_pins``).
    """
    try:
        value = parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _bad_pins(path, str(error)) from None
    if not isinstance(value, dict):
        raise _bad_pins(path, "no object")
    found: list[str] = []
    chains = set()
    for name, signers in value.items():
        chain, _, address = name.rpartition(":")
        listed: Sequence[Any] = signers if isinstance(signers, list) else [signers]
        if chain and not chain.isdigit():
            raise _bad_pins(path, f"{name[:60]!r} is no address with its signers")
        try:
            owner, addresses = id_of(address), [id_of(each) for each in listed]
        except ValueError as error:
            raise _bad_pins(path, f"{name[:60]!r} is no address with its signers ({error})") from None
        if owner.lower() == provider.lower() and chain in ("", str(chain_id)):
            found += addresses
            chains.add(chain)
    facts: dict[str, str | int] = {"provider": provider} if found else {}
    if chains == {str(chain_id)}:
        facts["realm"] = f"eip155:{chain_id}"
    return Anchor(f"pins file {path.name}", tuple(found), facts=facts)


def id_of(text: Any) -> str:
    """The address, or id of 32 bytes, in what somebody has typed.

    Raises:
        ValueError: it is neither.

    Example:
        >>> id_of("0x" + "AB" * 32) == "0x" + "ab" * 32
        True
    """
    return text.lower() if isinstance(text, str) and _LONG_ID.fullmatch(text) else typed_address(text)


def _bad_pins(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path} is no pins file: {why}", code="bad_pins", hint='for example {"0xprovider…": ["0xsigner…"]}'
    )
