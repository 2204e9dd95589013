"""Synthetic evidence, and a provider on loopback that serves whatever body it is given."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.zg_core.raw_server import Server, answer
from tests.zg_core.verify.scene import service
from zg_core.http.transport import AsyncTransport, SyncTransport, run
from zg_core.localnet.base.keys import Key
from zg_core.localnet.hardware.attestation import Enclave, os_image
from zg_core.localnet.hardware.platform import Maker
from zg_core.types import Kind
from zg_core.verify.attestation import AttestationOptions, AttestationReport, Collateral, attest

KEY = Key("0x" + "11" * 32)
NONCE = bytes(range(32))


@dataclass
class Made:
    """One enclave of made-up hardware, and what is needed to verify it."""

    maker: Maker
    enclave: Enclave
    now: datetime

    @property
    def collateral(self) -> Collateral:
        return Collateral.parse(self.enclave.platform.collateral)

    def options(self, **more: Any) -> AttestationOptions:
        """What believes in it, with its collateral at hand and no service of NVIDIA's."""
        given = {"root": self.maker.root, "collateral": self.collateral, "nras_url": None, "os_images": [os_image()]}
        return AttestationOptions(**{**given, **more})

    def body(self, layout: str = "legacy") -> dict[str, Any]:
        """Its report, in one of the three layouts."""
        if layout == "model":
            return self.enclave.model_report(KEY, NONCE)
        body: dict[str, Any] = json.loads(self.enclave.quote_body(KEY, legacy=layout == "legacy"))
        return body


@pytest.fixture(scope="module")
def made() -> Made:
    now = int(time.time())
    maker = Maker(now)
    return Made(maker, Enclave(lambda: maker), datetime.fromtimestamp(now, UTC))


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.stop()


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def attested(request: pytest.FixtureRequest, server: Server, made: Made) -> Any:
    """Attests the provider on loopback, with and without an event loop.

    It serves `body`: an object, the bytes of an answer, or what a `Server` does step by step.
    """

    def work(
        body: bytes | dict[str, Any] | list[Any], *, level: int = 3, kind: Kind = Kind.TEE_ML, **options: Any
    ) -> Any:
        served = answer(json.dumps(body).encode()) if isinstance(body, dict) else body
        server.script.append(served if isinstance(served, list) else [served])
        record = service(kind, tee_signer=KEY.address, url=server.url, private=True)
        settings = {"level": level, "now": made.now, "options": made.options(**options)}
        return asynchronous(record, settings) if request.param else synchronous(record, settings)

    return work


def synchronous(record: Any, settings: dict[str, Any]) -> AttestationReport:
    transport = SyncTransport()
    try:
        return run(attest(record, transport, **settings))
    finally:
        transport.close()


def asynchronous(record: Any, settings: dict[str, Any]) -> AttestationReport:
    async def work() -> AttestationReport:
        transport = AsyncTransport()
        try:
            return await attest(record, transport, **settings)
        finally:
            await transport.close()

    return asyncio.run(work())
