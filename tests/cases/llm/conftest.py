"""Providers that sign what a model server in the field has sent: one passes the bytes on, one rewrites them first."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.cases.llm.asking import FACES, Face
from tests.cases.llm.inputs import Case
from tests.cases.llm.values import ENCLAVE, SEPARATE
from tests.faces.enclave import Enclave
from zg_core.localnet import LocalNet, ProviderSettings, ProviderSpec
from zg_core.localnet.model.upstream import UpstreamReply

_EVENT = re.compile(rb".*?(?:\r?\n\r?\n|\Z)", re.DOTALL)


class Field:
    """A model server that sends the body it is given, and afterwards says "done"."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.asked: list[dict[str, Any]] = []

    def _next(self, usual: bytes) -> bytes:
        return (self.bodies.pop(0) if self.bodies else usual).replace(b"@ID@", uuid.uuid4().hex.encode())

    async def complete(self, path: str, body: bytes) -> UpstreamReply:
        self.asked.append(json.loads(body))
        return UpstreamReply(200, {"content-type": "application/json"}, self._next(DONE))

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        self.asked.append(json.loads(body))
        for event in _EVENT.findall(self._next(STREAMED)):
            if event:
                yield event

    async def models(self) -> list[dict[str, Any]]:
        return []


_SAID: dict[str, Any] = {"id": "@ID@", "created": 1, "model": "m"}
_DONE = {"role": "assistant", "content": "done"}
DONE = json.dumps({**_SAID, "choices": [{"index": 0, "message": _DONE, "finish_reason": "stop"}]}).encode()
STREAMED = (
    b"data: "
    + json.dumps({**_SAID, "choices": [{"index": 0, "delta": _DONE, "finish_reason": "stop"}]}).encode()
    + b"\n\ndata: [DONE]\n\n"
)


class Stage:
    """The network, the model server behind its providers, and a provider whose every byte a case writes."""

    def __init__(self, net: LocalNet, field: Field, enclave: Enclave) -> None:
        self.net, self.field, self.enclave = net, field, enclave

    def settings(self, kind: str) -> dict[str, Any]:
        """What a face needs to ask the provider of a kind, and to accept nothing that was not verified."""
        provider = next(one for one in self.net.providers if one.spec.kind == kind)
        return {
            "provider": provider.address,
            "model": "field",
            "private_key": self.net.wallet.private_key,
            "network": "local",
            "rpc_url": self.net.rpc_url,
            "verify": "require",
        }

    def serve(self, case: Case) -> None:
        """Answer the next question with the bytes of `case`."""
        if case.form != "http":
            self.field.bodies.append(case.body)
            return
        status, headers = case.http
        if status == 200:
            kind = {"Content-Type": headers["content-type"]}
            self.enclave.say(case.body, None, headers=kind)
        else:
            self.enclave.refuse(f"{status} No", case.body, **headers)


@pytest.fixture(scope="session")
def field_net() -> Iterator[Stage]:
    field = Field()
    settings = replace(ProviderSettings.fast(), settle_interval=None)
    specs = [ProviderSpec(model="field", upstream=field, kind=kind) for kind in (ENCLAVE, SEPARATE)]
    with LocalNet(providers=specs, settings=settings) as net:
        for provider in net.providers:
            net.open_account(net.wallet, provider, 100 * 10**18)
        enclave = Enclave(net)
        try:
            yield Stage(net, field, enclave)
        finally:
            enclave.stop()


@pytest.fixture
def stage(field_net: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Nothing said and nothing asked; what is not there is not waited for."""
    field_net.field.bodies.clear()
    field_net.field.asked.clear()
    field_net.enclave.replies.clear()
    field_net.enclave.received.clear()
    monkeypatch.setattr("zg_core.backends.direct.backend.SIGNATURE_DELAYS", (0.0, 0.001))
    return field_net


@pytest.fixture(params=FACES, ids=str)
def face(request: pytest.FixtureRequest) -> Face:
    return request.param  # type: ignore[no-any-return]
