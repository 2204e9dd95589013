"""What the other ways cost: sealed, paid by x402, routed; each beside a verified call at a fixed provider.

All three networks are local and live in a process of their own, so that only the client's CPU is counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from tests.bench.contenders import RECORD_AGE
from tests.bench.measures import cpu_ms
from tests.bench.targets import Row

_KILOBYTE = "What is 2+3? " + "Answer with the number. " * 42
_NETWORKS = """
import json, sys
from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.localnet.opengradient.network import OpenGradientNet

with LocalNet(providers=[ProviderSpec(model="m")]) as net, OpenGradientNet(gateways=1) as og:
    net.open_account(net.wallet, net.providers[0])
    print(json.dumps({
        "environ": net.env(), "provider": net.providers[0].address, "root": net.attestation_root.hex(),
        "pccs": net.pccs_url, "image": net.os_image, "key": og.wallet.private_key, "registry": og.registry_rpc_url,
        "payments": og.rpc_url, "blobs": og.blobs_url, "nitro": og.hypervisor.root_sha256,
    }), flush=True)
    sys.stdin.read()
"""


def rows(rounds: int) -> Iterator[Row]:
    """Measure."""
    from zg_core import ChatClient, OpenGradient, Routing
    from zg_core.verify.attestation.options import AttestationOptions

    command = [sys.executable, "-c", _NETWORKS]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        ExitStack() as stack,
    ):
        assert process.stdout is not None
        assert process.stdin is not None
        stack.callback(process.stdin.close)
        told = json.loads(process.stdout.readline())
        proven = {"verify": "require", "limits": None}
        shared = {"environ": told["environ"], "model": "m", "record_age": RECORD_AGE, **proven}
        fixed = {**shared, "provider": told["provider"]}
        attestation = AttestationOptions(
            root=bytes.fromhex(told["root"]), pccs_url=told["pccs"], os_images=[told["image"]]
        )
        urls = {"registry_rpc_url": told["registry"], "rpc_url": told["payments"], "blobs_url": told["blobs"]}
        paid = OpenGradient(**urls, nitro_root=told["nitro"])

        def asking(**settings: Any) -> Callable[[], Any]:
            client = stack.enter_context(ChatClient(**settings))
            asked = {"messages": [{"role": "user", "content": _KILOBYTE}], "max_tokens": 20}
            return lambda: client.create(asked)

        found = cpu_ms(
            {
                "fixed": asking(**fixed),
                "sealed": asking(**fixed, sealed=True, attestation=attestation),
                "routed": asking(**shared, routing=Routing()),
                "x402": asking(backend=paid, model="openai/gpt-5", private_key=told["key"], environ={}, **proven),
            },
            rounds,
            20,
        )
    yield Row("sealed call of 1 kB CPU / unsealed require", found["sealed"] / found["fixed"])
    yield Row("x402 call within a session CPU / Direct require", found["x402"] / found["fixed"])
    yield Row("routed call CPU / fixed provider", found["routed"] / found["fixed"])
