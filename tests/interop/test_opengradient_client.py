"""The official client of OpenGradient, opengradient 1.1.4, unmodified against our local gateways; x402's own transport.

It shows that the local network speaks as the field does. It cannot show verification: the client accepts what our
client refuses, which the last steps show.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import HERE, ROOT, install, locked, uv
from tests.patience import PATIENCE
from zg_core import ChatClient, OpenGradient
from zg_core.errors import VerificationFailed
from zg_core.localnet import GatewaySettings, OpenGradientNet
from zg_core.localnet.opengradient import places
from zg_core.localnet.opengradient.settings import OPG

CONSTRAINTS = HERE / "constraints-opengradient-client.txt"
CLIENT = ROOT / ".venv-opengradient-client"


def make_client() -> Path:
    """The interpreter that has the official client, and exactly the versions of the constraints."""
    python, stamp = CLIENT / "bin" / "python", CLIENT / ".installed"
    with locked(CONSTRAINTS):
        parts = (CONSTRAINTS.read_bytes(), sys.version.encode(), bytes(CLIENT))
        wanted = hashlib.sha256(b"\0".join(parts)).hexdigest()
        if not (python.exists() and stamp.is_file() and stamp.read_text() == wanted):
            shutil.rmtree(CLIENT, ignore_errors=True)
            install("the environment", uv(), "venv", "--quiet", "--python", sys.executable, CLIENT)
            to = ("--python", python, "--constraints", CONSTRAINTS)
            install("the official client", uv(), "pip", "install", *to, "opengradient", UV_COMPILE_BYTECODE="1")
            stamp.write_text(wanted)
    return python


@pytest.fixture(scope="module")
def net() -> Iterator[OpenGradientNet]:
    with OpenGradientNet(gateways=1, settings=GatewaySettings(idle=None)) as network:
        yield network


@pytest.fixture(scope="module")
def steps(net: OpenGradientNet) -> dict[str, Any]:
    """What the official client reported, by step."""
    wallet = net.new_wallet()
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(net.directory),
        "LANG": "C.UTF-8",
        "BASE_MAINNET_RPC": net.rpc_url,
        "REGISTRY_RPC": net.registry_rpc_url,
        "PRIVATE_KEY": wallet.private_key,
    }
    command = [make_client(), HERE / "opengradient_client.py"]
    (gateway,) = net.gateways
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        found = {}
        for line in run.stdout:
            said = json.loads(line)
            found[said["step"]] = said
            if said["step"] == "tools":
                gateway.fail("tamper")
        errors = run.stderr.read() if run.stderr else ""
        assert run.wait(PATIENCE) == 0, errors[-3000:]
    found["wallet"] = {"address": wallet.address}
    return found


@pytest.mark.heavy
def test_the_official_client_finds_approves_asks_streams_and_calls_tools(net, steps):
    assert (steps["approval"]["before"], steps["approval"]["after"]) == (0, 10 * OPG)
    assert steps["chat"]["text"] == steps["stream"]["text"] == "2+3 = 5"
    assert steps["chat"]["tee_id"] == net.gateways[0].tee_id.removeprefix("0x")
    assert steps["stream"]["final"] is True
    assert (steps["tools"]["name"], steps["tools"]["finish"]) == ("get_token_price", "tool_calls")


@pytest.mark.heavy
def test_its_calls_share_a_permit_that_is_settled_for_what_was_metered(net, steps):
    (gateway,) = net.gateways
    before = net.tokens(gateway.payment_address)
    metered = gateway.metered
    assert gateway.permits == 1
    assert len(net.settle()) == 1
    assert net.tokens(gateway.payment_address) - before == metered > 0
    assert net.tokens(steps["wallet"]["address"]) == 1_000 * OPG - metered


@pytest.mark.heavy
def test_it_shows_a_tampered_answer_that_ours_refuses_and_no_payment_hash(net, steps):
    assert steps["chat"]["payment_hash"] is None
    assert steps["tampered"]["text"]
    net.gateways[0].fail("tamper")
    options = OpenGradient(registry_rpc_url=net.registry_rpc_url, rpc_url=net.rpc_url)
    key = net.wallet.private_key
    with (
        ChatClient(backend=options, model="openai/gpt-5", private_key=key, verify="require", environ={}) as client,
        pytest.raises(VerificationFailed) as refused,
    ):
        client.create({"messages": [{"role": "user", "content": "tampered"}]})
    assert refused.value.code == "content_mismatch"


async def test_the_transport_of_x402_pays_the_local_gateway(net):
    import httpx
    from eth_account import Account
    from x402 import x402Client
    from x402.http.clients.httpx import x402AsyncTransport
    from x402.mechanisms.evm import EthAccountSigner
    from x402.mechanisms.evm.upto import UptoEvmClientScheme

    (gateway,), before = net.gateways, net.gateways[0].metered
    client: Any = x402Client()
    signer = EthAccountSigner(Account.from_key(net.wallet.private_key))
    client.register("eip155:8453", UptoEvmClientScheme(signer))
    limit = {"network": "eip155:8453", "asset": places.TOKEN, "max_amount_per_payment": str(5 * OPG)}
    client.set_spend_controls({"allowed_assets": [limit]})
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted.check_hostname = False
    trusted.load_verify_locations(cadata=gateway.enclave.certificate.der)
    transport = x402AsyncTransport(client, httpx.AsyncHTTPTransport(verify=trusted))
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "What is 2+3?"}], "max_tokens": 50}
    async with httpx.AsyncClient(transport=transport, timeout=PATIENCE) as http:
        for stream in (False, True):
            said = await http.post(
                f"{gateway.url}/v1/chat/completions",
                json={**body, "stream": stream},
                headers={"Authorization": "Bearer 0x12"},
            )
            assert said.status_code == 200
            assert said.headers["x-upto-session"]
            assert "tee_signature" in said.text
    assert gateway.metered > before
