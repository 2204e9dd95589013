"""``zerog localnet up``: a local network in the foreground."""

from __future__ import annotations

import shlex
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from zg_core.cli.terminal.private import write_private
from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from zg_core.cli.terminal.output import Output
    from zg_core.localnet import LocalNet

__all__ = ["up", "up_opengradient", "write_env_file"]


FUND = 10 * 10**18
"""Neuron that ``--fund`` puts into the sub-account at every provider."""


def up(
    *,
    providers: int,
    services: Sequence[str],
    fund: bool,
    rpc_port: int,
    env_file: Path | None,
    legacy_names: bool,
    upstream: str | None,
    tls: bool,
    production: bool,
    anvil: str | None,
    rpc: str | None,
    router: bool = False,
    out: Output,
) -> None:
    """Start the network, write `env_file`, and wait for SIGINT or SIGTERM.

    The JSON document is printed when the network is ready.

    Raises:
        ConfigError: options that exclude each other, or a node that cannot carry the network.
    """
    from zg_core.localnet import LocalNet, NodeUnfit, ProviderSettings

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if env_file is not None:
        env_file.unlink(missing_ok=True)  # whoever waits for it must not find that of an earlier run
    settings = ProviderSettings.production() if production else ProviderSettings.fast()
    began = time.monotonic()
    with out.waiting("starting a local 0G network"):
        try:
            net = LocalNet(
                providers=providers,
                services=services,
                settings=settings,
                rpc_port=rpc_port,
                tls=tls,
                upstream=upstream,
                anvil=anvil,
                rpc=rpc,
                router=router,
            ).start()
        except NodeUnfit as error:
            raise ConfigError(str(error), code="bad_node", hint=error.hint) from None
        except ValueError as error:
            raise ConfigError(str(error), code="bad_option", hint="see `zerog localnet up --help`") from None
    try:
        if fund:
            for provider in net.providers:
                net.open_account(net.wallet, provider, FUND)
        out.line(f"chain {net.chain_id} at {net.rpc_url}, ready in {time.monotonic() - began:.1f} s")
        for provider in net.providers:
            out.line(f"provider {provider.address}  {provider.kind}  {provider.model}  {provider.url}")
        out.line(f"status service {net.status_url}")
        if router:
            out.line(f"router {net.router.base_url}, key {net.router.api_key}")
        if fund:
            out.line(f"wallet {net.wallet.address}: {FUND // 10**18} 0G at every provider")
        if net.ca_file is not None:
            out.line(f"certificate authority {net.ca_file}")
        if env_file is not None:
            write_env_file(env_file, _settings(net, legacy_names=legacy_names))
            out.line(f"settings: source {_sourced(env_file)}")
        else:
            out.line(
                "settings: not written; with --env-file local.env, clients find the network by: source ./local.env"
            )
        out.line("Ctrl-C ends it")
        routed: dict[str, Any] = {}
        if router:
            keys = {"api_key": net.router.api_key, "management_key": net.router.management_key}
            routed = {"router": {"base_url": net.router.base_url, **keys}}
        out.document(_document(net, env_file, funded=FUND if fund else 0) | routed)
        stop.wait()
        out.line("stopping")
    finally:
        net.stop()


def _sourced(file: Path) -> str:
    """How a shell reads `file`: one looks for a name without a folder among its programs first (`env` is one)."""
    return str(file) if len(file.parts) > 1 else f"./{file}"


def up_opengradient(gateways: int, *, rpc_port: int, env_file: Path | None, legacy_names: bool, out: Output) -> None:
    """Start a local OpenGradient, write `env_file`, and wait for SIGINT or SIGTERM.

    Raises:
        ConfigError: the extra is not installed (code ``missing_extra``).
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if env_file is not None:
        env_file.unlink(missing_ok=True)
    began = time.monotonic()
    with out.waiting("starting a local OpenGradient"):
        try:
            from zg_core.localnet.opengradient.network import OpenGradientNet

            net = OpenGradientNet(gateways=gateways, rpc_port=rpc_port, publish_after=5.0).start()
        except ModuleNotFoundError as error:
            hint = "pip install 'zerog-integrations[localnet,opengradient]'"
            raise ConfigError(f"it needs the package {error.name}", code="missing_extra", hint=hint) from None
    try:
        out.line(f"payment chain {net.chain.chain_id} at {net.rpc_url}, ready in {time.monotonic() - began:.1f} s")
        out.line(f"registry chain {net.registry_chain.chain_id} at {net.registry_rpc_url}")
        for gateway in net.gateways:
            out.line(f"gateway {gateway.tee_id}  {gateway.url}")
        out.line(f"wallet {net.wallet.address}: 1000 OPG, 100 approved for payments")
        if env_file is not None:
            values = net.env()
            if legacy_names:
                values |= {"BASE_MAINNET_RPC": net.rpc_url, "OG_PRIVATE_KEY": net.wallet.private_key}
            write_env_file(env_file, values)
            out.line(f"settings: source {_sourced(env_file)}")
        out.line("Ctrl-C ends it")
        out.document(
            {
                "network": "local",
                "chain_id": net.chain.chain_id,
                "rpc_url": net.rpc_url,
                "registry_rpc_url": net.registry_rpc_url,
                "nitro_root": net.hypervisor.root_sha256,
                "blobs_url": net.blobs_url,
                "wallet": net.wallet.address,
                "env_file": None if env_file is None else str(env_file),
                "gateways": [{"tee_id": each.tee_id, "url": each.url} for each in net.gateways],
            }
        )
        stop.wait()
        out.line("stopping")
    finally:
        net.stop()


def _settings(net: LocalNet, *, legacy_names: bool) -> dict[str, str]:
    values = {**net.env(), "ZEROG_STATUS_URL": net.status_url}
    if net.ca_file is not None:
        values["ZEROG_CA_FILE"] = str(net.ca_file)
    return {name: value for name, value in values.items() if legacy_names or name.startswith("ZEROG_")}


def _document(net: LocalNet, env_file: Path | None, *, funded: int) -> dict[str, Any]:
    return {
        "network": "local",
        "chain_id": net.chain_id,
        "rpc_url": net.rpc_url,
        "ledger": net.ledger,
        "inference": net.inference,
        "status_url": net.status_url,
        "ca_file": None if net.ca_file is None else str(net.ca_file),
        "env_file": None if env_file is None else str(env_file),
        "wallet": net.wallet.address,
        "providers": [
            {
                "provider": each.address,
                "kind": each.kind,
                "service": each.spec.service_type,
                "model": each.model,
                "url": each.url,
                "funded": str(funded),
            }
            for each in net.providers
        ],
    }


def write_env_file(path: Path, values: Mapping[str, str]) -> None:
    """Write ``export`` lines, readable by the owner only; the file appears whole or not at all."""
    text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
    write_private(path, text)
