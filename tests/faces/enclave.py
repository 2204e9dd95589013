"""A provider whose bytes a test writes: registered on the chain of a local network, signing with its enclave's key.

What is sent and what is signed are two things, so that it can be honest in any form, or an operator who alters what an
honest enclave has signed.
"""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.zg_core.raw_server import CLOSE, STALL, Received, Server, Step, answer, chunk
from zg_core.localnet import LocalNet
from zg_core.localnet.base.keys import Key, sha256_hex
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.localnet.provider.onchain import STAKE, ChainSide, Registration

OWNER = next(iter(DEV_KEYS.values()))
MODEL = "scripted"
ID = b"@ID@"
"""Stands for the chat id in a body."""
_SAME: Any = object()


def event(content: str, **more: Any) -> bytes:
    """One event of a stream, in the usual form."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None, **more}
    said = {"id": ID.decode(), "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}
    return b"data: " + json.dumps(said).encode() + b"\n\n"


USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
COUNTED = b'data: {"id":"@ID@","choices":[],"usage":%s}\n\n' % json.dumps(USAGE).encode()
DONE = b"data: [DONE]\n\n"
STREAM = event("The capital ") + event("is Paris.") + event("", finish_reason="stop") + COUNTED + DONE
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "The capital is Paris."}, "finish_reason": "stop"}
WHOLE = json.dumps(
    {"id": ID.decode(), "object": "chat.completion", "created": 1, "model": MODEL, "choices": [CHOICE], "usage": USAGE}
).encode()
ANSWER = "The capital is Paris."


@dataclass
class Reply:
    """What is sent for one question, and what is signed.

    Attributes:
        body: The body of the response.
        signed: The bytes that the enclave has signed; None where it signs nothing.
        status: Status line of the response.
        headers: Further headers.
        then: What is done after the body instead of ending it.
        pieces: The body in pieces of so many bytes.
    """

    body: bytes
    signed: bytes | None = None
    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=dict)
    then: list[Step] = field(default_factory=list)
    pieces: int = 0


class Enclave(Server):
    """The provider: `replies` are sent one after the other, and `good` ones when none is left.

    Args:
        net: The network on whose chain it registers.
        changes: To its record on chain.
    """

    def __init__(self, net: LocalNet, **changes: Any) -> None:
        super().__init__()
        self.replies: list[Reply] = []
        self._documents: dict[str, bytes] = {}
        self._net = net
        self._guard = threading.Lock()
        operator, self._key = Key.random(), Key.random()
        net.chain.set_balance(operator.address, 2 * STAKE)
        facts: dict[str, Any] = {
            "service_type": "chatbot",
            "url": self.url,
            "model": MODEL,
            "verifiability": "TeeML",
            "input_price": 10**9,
            "output_price": 2 * 10**9,
            "additional_info": "{}",
            "tee_signer": self._key.address,
        }
        self.side = ChainSide(net.chain, operator, OWNER)
        self.side.register(Registration(**facts | changes), first=True)
        self.side.acknowledge()
        self.address = operator.address
        net.open_account(net.wallet, operator.address, 20 * 10**18)

    @property
    def settings(self) -> dict[str, Any]:
        """What every face needs to call it."""
        return {
            "provider": self.address,
            "private_key": self._net.wallet.private_key,
            "network": "local",
            "rpc_url": self._net.rpc_url,
            "model": MODEL,
        }

    def prompts(self) -> list[Received]:
        """The requests that cost money."""
        return [each for each in self.received if each.head.startswith(b"POST")]

    def say(self, body: bytes, signed: Any = _SAME, **more: Any) -> None:
        """Answer the next question with `body`, signed as it is unless said otherwise."""
        self.replies.append(Reply(body, body if signed is _SAME else signed, **more))

    def stall(self) -> None:
        """Say nothing at all to the next question."""
        self.replies.append(Reply(b"", None, "stall"))

    def hang_up(self) -> None:
        """Hang up on the next question without an answer."""
        self.replies.append(Reply(b"", None, "hang up"))

    def refuse(self, status: str, body: bytes = b"", **headers: str) -> None:
        """Answer the next question with an HTTP error."""
        self.replies.append(Reply(body, None, status, headers))

    def respond(self, received: Received) -> list[Step]:
        """See `Server.respond`."""
        method, path, _ = received.head.decode("latin-1").split(" ", 2)
        if method == "GET":
            document = self._documents.get(path.partition("?")[0].rpartition("/")[2])
            return [answer(b'{"error":"no"}', "404 Not Found") if document is None else answer(document)]
        with self._guard:
            streamed = json.loads(received.body).get("stream") is True
            good = STREAM if streamed else WHOLE
            reply = self.replies.pop(0) if self.replies else Reply(good, good)
        return self._steps(received, reply, streamed=streamed)

    def _steps(self, received: Received, reply: Reply, *, streamed: bool) -> list[Step]:
        chat_id = str(uuid.uuid4())
        body = reply.body.replace(ID, chat_id.encode())
        if reply.signed is not None:
            self._sign(chat_id, received.body, reply.signed.replace(ID, chat_id.encode()))
        if reply.status in ("stall", "hang up"):
            return [STALL if reply.status == "stall" else CLOSE]
        kind = "text/event-stream" if streamed else "application/json"
        headers = {"Content-Type": kind, "ZG-Res-Key": chat_id, **reply.headers}
        if not reply.status.startswith("200"):
            del headers["ZG-Res-Key"]
            return [answer(body, reply.status, **headers)]
        lines = [f"HTTP/1.1 {reply.status}", "Transfer-Encoding: chunked", *(f"{n}: {v}" for n, v in headers.items())]
        size = reply.pieces or len(body) or 1
        pieces = [chunk(body[at : at + size]) for at in range(0, len(body), size)]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return [head, *pieces, *(reply.then or [chunk(b"")])]

    def _sign(self, chat_id: str, request: bytes, response: bytes) -> None:
        text = f"{sha256_hex(request)}:{sha256_hex(response)}"
        signature = "0x" + self._key.sign_message(text.encode()).hex()
        said = {"text": text, "signature": signature, "signing_address": self._key.address, "signing_algo": "ecdsa"}
        self._documents[chat_id] = json.dumps(said).encode()
