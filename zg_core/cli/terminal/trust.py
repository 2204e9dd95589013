"""Belief in the made-up hardware of a local network: asked for by name, and for local networks only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from zg_core.config import is_loopback
from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from zg_core.cli.terminal.run import Run
    from zg_core.verify.attestation import AttestationOptions

__all__ = ["local_attestation", "local_trust"]

_MOST_BYTES = 64 * 1024


def local_attestation(run: Run) -> AttestationOptions:
    """What ``--local-root`` of a command that asks for answers means; errors as in `local_trust`."""
    from zg_core.verify.attestation import AttestationOptions

    with run.public() as broker:
        trusted = local_trust(broker.network, broker.transport, os.environ.get("ZEROG_STATUS_URL"), None)
    return AttestationOptions(**trusted)


def local_trust(network: Any, transport: Any, status_url: str | None, pccs: str | None) -> dict[str, Any]:
    """Root, OS image and collateral service of a local network.

    Raises:
        ConfigError: this is no local network, or its service is not known or does not answer.
    """
    from zg_core.http.bodies import BodyBroken
    from zg_core.http.messages import Request, read_all
    from zg_core.http.timeouts import Timeouts
    from zg_core.http.transport import run as drive

    if not network.is_local:
        raise ConfigError("--local-root is for local networks only", code="not_local", hint="leave it out")
    if not status_url or not is_loopback(status_url):
        raise ConfigError(
            "the local network's status service is not known",
            code="no_status_service",
            hint="source the settings that `zerog localnet up` wrote, or give --status-url",
        )

    async def get(path: str) -> bytes:
        times = Timeouts(connect=10.0, read=30.0, whole=30.0)
        request = Request("GET", f"{status_url}/attestation/{path}", timeouts=times, public=False)
        response = await transport.send(request)
        body = await read_all(response, _MOST_BYTES)
        if response.status != 200:
            raise BodyBroken(f"HTTP {response.status}")
        return body

    try:
        image = drive(get("os-image")).decode("ascii", "replace")
        return {"root": drive(get("root")), "pccs_url": pccs or f"{status_url}/pccs", "os_images": frozenset({image})}
    except BodyBroken as error:
        raise ConfigError(f"{status_url} gives no root: {error}", code="no_status_service") from None
