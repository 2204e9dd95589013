"""The operator: he runs the machine in front of a genuine enclave, sees and changes all traffic, and holds no key.

`Operator` is a proxy in front of a local provider. He may ask the enclave himself, as any customer, keep what it signs,
and serve it to somebody else. `Enclave` is an honest enclave whose answers have whatever form of id a test wants.
"""

from __future__ import annotations

import http.client
import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.patience import PATIENCE
from zg_core import ChatClient
from zg_core.localnet import LocalNet, LocalProvider, LocalWallet
from zg_core.localnet.base.keys import Key, sha256_hex
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.localnet.provider.onchain import STAKE, ChainSide, Registration

OWNER = next(iter(DEV_KEYS.values()))
_OF_THE_CONNECTION = ("connection", "content-length", "transfer-encoding", "date", "server", "host")


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def is_chat(self) -> bool:
        return self.path.endswith("/chat/completions")

    @property
    def streams(self) -> bool:
        return bool(self.is_chat and json.loads(self.body).get("stream"))


@dataclass(frozen=True)
class Said:
    """One response."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


class Machine:
    """A server on loopback that answers as told; what it was asked."""

    def __init__(self, answer: Callable[[Asked], Said]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        machine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                machine.asked.append(asked)
                said = machine.answer(asked)
                self.send_response(said.status)
                for name, value in said.headers.items():
                    if name.lower() not in _OF_THE_CONNECTION:
                        self.send_header(name, value)
                self.send_header("content-length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body)

            do_GET = do_POST = _answer  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Operator(Machine):
    """Stands in front of `provider`, whose record on chain leads to him from now on: that needs no new acknowledgement.

    `plan` answers what he does not pass on; None passes on.
    """

    def __init__(self, net: LocalNet, provider: LocalProvider) -> None:
        self._net = net
        self._real = provider.url
        self.provider = provider
        self.plan: Callable[[Asked], Said | None] = lambda _: None
        super().__init__(lambda asked: self.plan(asked) or self.forward(asked))
        side = provider._state.side
        record = side.service()
        names = ("serviceType", "model", "verifiability", "inputPrice", "outputPrice", "additionalInfo")
        kind, *rest = (record[name] for name in names)
        side.register(Registration(kind, self.url, *rest, record["teeSignerAddress"]), first=False)
        assert side.service()["teeSignerAcknowledged"]

    def forward(self, asked: Asked, body: bytes | None = None) -> Said:
        """Hand a request on, with another body if he likes."""
        connection = http.client.HTTPConnection(self._real.partition("://")[2], timeout=PATIENCE)
        headers = {name: value for name, value in asked.headers.items() if name not in _OF_THE_CONNECTION}
        connection.request(asked.method, asked.path, body=asked.body if body is None else body, headers=headers)
        answer = connection.getresponse()
        said = Said(answer.read(), answer.status, {k.lower(): v for k, v in answer.getheaders()})
        connection.close()
        return said

    def ask(self, wallet: LocalWallet, payload: dict[str, Any], *, stream: bool) -> Said:
        """Ask the enclave with a wallet of his own; what it answers, signature waiting under its id."""
        kept: list[Said] = []

        def keep(asked: Asked) -> Said | None:
            if not asked.is_chat:
                return None
            kept.append(self.forward(asked))
            return kept[-1]

        before, self.plan = self.plan, keep
        settings = {"network": "local", "rpc_url": self._net.rpc_url, "environ": {}, "verify": "off"}
        with ChatClient(provider=self.provider.address, private_key=wallet.private_key, **settings) as client:
            if stream:
                list(client.stream(payload))
            else:
                client.create(payload)
        self.plan = before
        return kept[0]


def serving(loot: dict[bool, Said]) -> Callable[[Asked], Said | None]:
    """A plan: whatever is asked, `loot` is the answer, whole or as a stream; the enclave never sees the question."""
    return lambda asked: loot[asked.streams] if asked.is_chat else None


class Enclave(Machine):
    """An honest enclave with a key on chain: it answers once in each form and signs that; it is served ever again.

    Args:
        net: Where it is registered.
        body_id: The ``id`` inside the body.
        info: ``additionalInfo`` on chain; ``{key}`` stands for its address.
    """

    def __init__(self, net: LocalNet, body_id: str, info: str = "{}") -> None:
        self._key = Key.random()
        self._body_id = body_id
        self._old: dict[bool, tuple[bytes, str]] = {}
        self._signatures: dict[str, str] = {}
        super().__init__(self._reply)
        self._info = info.replace("{key}", self._key.address)
        self.address = self.register(net)

    def register(self, net: LocalNet, info: str | None = None, *, acknowledged: bool = True) -> str:
        """A record on chain that leads here, with `info` of its own if need be; the provider's address."""
        operator = Key.random()
        net.chain.set_balance(operator.address, 2 * STAKE)
        side = ChainSide(net.chain, operator, OWNER)
        facts = Registration("chatbot", self.url, "old", "TeeML", 1, 1, self._info, self._key.address)
        if info is not None:
            facts = replace(facts, additional_info=info.replace("{key}", self._key.address))
        side.register(facts, first=True)
        if acknowledged:
            side.acknowledge()
        net.open_account(net.wallet, operator.address)
        return operator.address

    def _reply(self, asked: Asked) -> Said:
        if asked.is_chat:
            if asked.streams not in self._old:
                self._old[asked.streams] = self._answer(asked)
            body, signature = self._old[asked.streams]
            key = str(uuid.uuid4())
            self._signatures[key] = signature
            kind = "text/event-stream" if asked.streams else "application/json"
            return Said(body, headers={"content-type": kind, "ZG-Res-Key": key})
        found = self._signatures.get(asked.path.rpartition("/signature/")[2].partition("?")[0])
        return Said(b'{"error":"chat_id_not_found"}', 400) if found is None else Said(found.encode())

    def _answer(self, asked: Asked) -> tuple[bytes, str]:
        head: dict[str, Any] = {"id": self._body_id} if self._body_id else {}
        usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
        text = {"role": "assistant", "content": "ETH is 1000"}
        if asked.streams:
            choice = {"index": 0, "delta": text, "finish_reason": "stop"}
            events = [{**head, "choices": [choice]}, {**head, "choices": [], "usage": usage}]
            body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
        else:
            choice = {"index": 0, "message": text, "finish_reason": "stop"}
            body = json.dumps({**head, "choices": [choice], "usage": usage}).encode()
        signed = f"{sha256_hex(asked.body)}:{sha256_hex(body)}"
        signature = "0x" + self._key.sign_message(signed.encode()).hex()
        return body, json.dumps({"text": signed, "signature": signature})
