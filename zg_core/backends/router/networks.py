"""Where the Router of each network is (0g-router §1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zg_core.config import check_url, is_loopback
from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.config import Network

__all__ = ["ROUTERS", "RouterNetwork", "router_of"]


@dataclass(frozen=True, slots=True)
class RouterNetwork:
    """The Router of one network.

    Attributes:
        name: That of the network.
        chain_id: Its chain.
        base_url: What paths are put behind: ends with ``/v1``.
        console: Where people make keys and deposit.
    """

    name: str
    chain_id: int
    base_url: str
    console: str

    @property
    def realm(self) -> str:
        """Whose money and identities: balances of Router and chain are separate, and each network's are its own."""
        return f"0g-router:{self.chain_id}"

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.base_url)


ROUTERS: Mapping[str, RouterNetwork] = {
    "mainnet": RouterNetwork("mainnet", 16661, "https://router-api.0g.ai/v1", "https://pc.0g.ai"),
    "testnet": RouterNetwork(
        "testnet", 16602, "https://router-api-testnet.integratenetwork.work/v1", "https://pc.testnet.0g.ai"
    ),
    "local": RouterNetwork("local", 31337, "", "`zerog localnet up --router`"),
}


def router_of(network: Network, base_url: str | None = None) -> RouterNetwork:
    """The Router of a network.

    Args:
        network: The chain.
        base_url: Where it is instead; ``/v1`` at its end may be left out.

    Raises:
        ConfigError: none is known there (code ``no_router``), or the URL is none that a key may be sent to.

    Example:
        >>> from zg_core.config import NETWORKS
        >>> str(router_of(NETWORKS["mainnet"]).base_url)
        'https://router-api.0g.ai/v1'
    """
    known = ROUTERS.get(network.name, RouterNetwork(network.name, network.chain_id, "", "its console"))
    known = replace(known, chain_id=network.chain_id)
    given = base_url or known.base_url
    if not given:
        hint = (
            "pass backend=Router(base_url='http://127.0.0.1:…/v1') or set ZEROG_ROUTER_URL; local networks print theirs"
        )
        raise ConfigError(f"no Router is known on the network {network.name!r}", code="no_router", hint=hint)
    # Named by the user, so it may be on this machine; a key goes there, so not over plain http to another.
    url = check_url(given, "base_url", private=True)
    return replace(known, base_url=str(url if url.endswith("/v1") else f"{url}/v1"))
