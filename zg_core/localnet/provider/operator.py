"""The operator of a genuine provider: he runs the machine in front of the enclave, and holds no key of it.

He sees and changes all traffic, may ask the enclave himself as any customer, and may change the URL and the prices of
his record on chain, which needs no new acknowledgement (0g-contracts). What he cannot do is sign.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.keys import Key, keccak256
from zg_core.localnet.provider.onchain import ChainSide, Registration
from zg_core.localnet.provider.tokens import EPHEMERAL_TOKEN_ID

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from zg_core.localnet.provider.state import ProviderState

__all__ = ["Operator", "Passed", "Said"]

_OF_THE_CONNECTION = ("connection", "content-length", "transfer-encoding", "date", "server", "host")
_HOUR = 3600


@dataclass(frozen=True)
class Passed:
    """A request that came to the operator: all of it, the bearer token too."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def is_call(self) -> bool:
        """Whether it is a paid one."""
        return self.method == "POST"

    @property
    def streams(self) -> bool:
        """Whether a stream is asked for."""
        try:
            payload = json.loads(self.body)
        except ValueError:
            return False
        return isinstance(payload, dict) and payload.get("stream") is True


@dataclass(frozen=True)
class Said:
    """A response."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


Plan = Callable[[Passed], "Said | None"]


class Operator:
    """Stands in front of a provider, whose record on chain leads to him until he is stopped.

    `seen` is everything that passed him. Each method is one thing he may do from now on; `honest` ends it. He may be
    given a plan of his own: a function of a request that returns what to say instead, None to pass it on.

    Args:
        state: The provider.
        side: Its place on chain.
        key: Of a customer with a sub-account there: he asks the enclave with it.
    """

    def __init__(self, state: ProviderState, side: ChainSide, key: Key) -> None:
        self._state = state
        self._side = side
        self._key = key
        self._genuine = state.url
        self.seen: list[Passed] = []
        self.plan: Plan | None = None
        operator = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                self._say(operator.answer(Passed(self.command, self.path, headers, body)))

            def _say(self, said: Said) -> None:
                self.send_response(said.status)
                for name, value in said.headers.items():
                    if name.lower() not in _OF_THE_CONNECTION:
                        self.send_header(name, value)
                self.send_header("content-length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body)

            do_GET = do_POST = _answer  # noqa: N815 - names of http.server

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="zerog-localnet-operator", daemon=True)
        self._thread.start()
        self.move(self.url)

    @property
    def url(self) -> str:
        """Where he listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, passed: Passed) -> Said:
        """What he says to a request: by his plan, else what the enclave says."""
        self.seen.append(passed)
        plan = self.plan
        return (plan(passed) if plan is not None else None) or self.forward(passed)

    def forward(self, passed: Passed, body: bytes | None = None) -> Said:
        """Hand a request on to the enclave, with another body if he likes."""
        connection = http.client.HTTPConnection(self._genuine.partition("://")[2], timeout=60)
        try:
            headers = {name: value for name, value in passed.headers.items() if name not in _OF_THE_CONNECTION}
            sent = passed.body if body is None else body
            connection.request(passed.method, passed.path, body=sent, headers=headers)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Said(answer.read(), answer.status, named)
        finally:
            connection.close()

    def ask(self, payload: dict[str, Any]) -> Said:
        """Ask the enclave with his own account; the answer and its signature are genuine."""
        headers = {"authorization": f"Bearer {self._token()}", "content-type": "application/json"}
        body = json.dumps({"model": self._state.spec.model, **payload}).encode()
        said = self.forward(Passed("POST", "/v1/proxy/chat/completions", headers, body))
        if said.status != 200:
            raise RuntimeError(f"the enclave answered its operator {said.status}: {said.body[:200]!r}")
        return said

    # what he may do

    def honest(self) -> None:
        """Pass everything on as it is, from his place."""
        self.plan = None

    def substitute(self, question: str) -> None:
        """Serve the enclave's answer to `question`, signed for him, whatever is asked."""
        asked = {"messages": [{"role": "user", "content": question}]}
        usage = {"stream": True, "stream_options": {"include_usage": True}}
        loot = {False: self.ask(asked), True: self.ask({**asked, **usage})}
        self.plan = lambda passed: loot[passed.streams] if passed.is_call else None

    def replay(self) -> None:
        """Serve the next answer of each form again and again."""
        kept: dict[bool, Said] = {}

        def plan(passed: Passed) -> Said | None:
            if not passed.is_call:
                return None
            if passed.streams not in kept:
                kept[passed.streams] = self.forward(passed)
            return kept[passed.streams]

        self.plan = plan

    def rename_model(self, model: str) -> None:
        """Ask the enclave for `model`, whatever model is asked for."""

        def plan(passed: Passed) -> Said | None:
            if not passed.is_call:
                return None
            return self.forward(passed, json.dumps({**json.loads(passed.body), "model": model}).encode())

        self.plan = plan

    def refuse_after_serving(self, status: int = 503) -> None:
        """Let the enclave serve and bill, and say it was refused."""

        def plan(passed: Passed) -> Said | None:
            if not passed.is_call:
                return None
            self.forward(passed)
            return Said(b'{"error":"no capacity"}', status)

        self.plan = plan

    def move(self, url: str) -> None:
        """Write another URL into the record on chain."""
        self._register(replace(self._record(), url=url))

    def raise_price(self, factor: int) -> None:
        """Multiply both prices in the record on chain; the enclave bills them."""
        state = self._state
        with state.change_lock:
            state.input_price, state.output_price = state.input_price * factor, state.output_price * factor
            raised = replace(self._record(), input_price=state.input_price, output_price=state.output_price)
            self._register(raised)

    def stop(self) -> None:
        """Leave: the record leads to the enclave again."""
        self.move(self._genuine)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _record(self) -> Registration:
        read = self._side.service()
        return Registration(
            read["serviceType"],
            read["url"],
            read["model"],
            read["verifiability"],
            read["inputPrice"],
            read["outputPrice"],
            read["additionalInfo"],
            read["teeSignerAddress"],
        )

    def _register(self, record: Registration) -> None:
        self._side.register(record, first=False)

    def _token(self) -> str:
        now = int(self._state.clock.now() * 1000)
        message = json.dumps(
            {
                "address": self._key.address,
                "provider": self._state.address,
                "timestamp": now,
                "expiresAt": now + _HOUR * 1000,
                "nonce": secrets.token_hex(16),
                "generation": 0,
                "tokenId": EPHEMERAL_TOKEN_ID,
            }
        )
        signature = "0x" + self._key.sign_message(keccak256(message.encode())).hex()
        return "app-sk-" + base64.b64encode(f"{message}|{signature}".encode()).decode()
