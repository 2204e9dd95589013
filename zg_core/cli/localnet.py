"""``zerog localnet up``: a local network in the foreground."""

from __future__ import annotations

import os
import shlex
import signal
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console

__all__ = ["up", "write_env_file"]


def up(
    *,
    providers: int,
    rpc_port: int,
    env_file: Path | None,
    upstream: str | None,
    tls: bool,
    production: bool,
    console: Console,
) -> None:
    """Start the network, write `env_file`, and wait for SIGINT or SIGTERM."""
    from zg_core.localnet import LocalNet, ProviderSettings

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if env_file is not None:
        env_file.unlink(missing_ok=True)  # whoever waits for it must not find that of an earlier run
    settings = ProviderSettings.production() if production else ProviderSettings.fast()
    began = time.monotonic()
    with console.status("starting a local 0G network"):
        net = LocalNet(providers=providers, settings=settings, rpc_port=rpc_port, tls=tls, upstream=upstream)
        net.start()
    try:
        console.print(f"chain {net.chain_id} at {net.rpc_url}, ready in {time.monotonic() - began:.1f} s")
        for provider in net.providers:
            console.print(f"provider {provider.address}  {provider.kind}  {provider.model}  {provider.url}")
        if env_file is not None:
            write_env_file(env_file, net.env())
            console.print(f"settings: source {env_file}")
        console.print("Ctrl-C ends it")
        stop.wait()
        console.print("stopping")
    finally:
        net.stop()


def write_env_file(path: Path, values: Mapping[str, str]) -> None:
    """Write ``export`` lines, readable by the owner only; the file appears whole or not at all."""
    text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)
