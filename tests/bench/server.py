"""The server that `make bench` measures against: answers made beforehand, in a process of its own.

``python -m tests.bench.server`` starts a local chain, registers one provider whose URL is this server, prints settings
as a line of JSON, and runs until its standard input ends. Answers differ in their chat id only; the signature over each
is made when it is asked for, here, so that a client pays for fetching and checking it and for nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
import threading
import uuid
from collections import OrderedDict
from dataclasses import replace
from functools import lru_cache

from zg_core.localnet import LocalNet, ProviderSettings
from zg_core.localnet.base.keys import Key
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.localnet.provider.onchain import STAKE, ChainSide, Registration

CHUNKS = 200
MODEL = "bench-chat"
THINKS, THOUGHT = b'"user":"thinks"', 0.05
"""A request with this in it is answered after so many seconds, sooner than any model begins."""
_USAGE = {"prompt_tokens": 20, "completion_tokens": CHUNKS, "total_tokens": 20 + CHUNKS}
_ID = "00000000-0000-4000-8000-000000000000"


def _base(kind: str) -> dict[str, object]:
    return {"id": f"chatcmpl-{_ID}", "object": kind, "created": 1_700_000_000, "model": MODEL}


def _dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


_MESSAGE = {"role": "assistant", "content": "The answer is 42. " * 10}
ANSWER = _dumps(
    {
        **_base("chat.completion"),
        "choices": [{"index": 0, "finish_reason": "stop", "message": _MESSAGE}],
        "usage": _USAGE,
    }
)


def _event(**choice: object) -> str:
    body = {**_base("chat.completion.chunk"), "choices": [{"index": 0, "delta": {}, "finish_reason": None, **choice}]}
    return f"data: {_dumps(body)}\n\n"


PIECES = [
    _event(delta={"role": "assistant", "content": ""}),
    *[_event(delta={"content": f"word{n} "}) for n in range(CHUNKS)],
    _event(finish_reason="stop"),
    f"data: {_dumps({**_base('chat.completion.chunk'), 'choices': [], 'usage': _USAGE})}\n\n",
    "data: [DONE]\n\n",
]


_ASKED = re.compile(rb"(chunks|words)=([0-9]+)")
"""In a request: so many chunks, or so many words in one piece, are the answer."""


def _pieces(request: bytes) -> list[str]:
    """The answer to a request, in the pieces in which it is sent."""
    asked = _ASKED.search(request)
    if asked is None:
        return PIECES if b'"stream":true' in request.replace(b'": ', b'":') else [ANSWER]
    return _long(asked[1].decode(), int(asked[2]))


@lru_cache(maxsize=8)
def _long(kind: str, count: int) -> list[str]:
    if kind == "words":
        return [ANSWER.replace(_MESSAGE["content"], "word " * count)]
    return [PIECES[0], *[_event(delta={"content": f"word{n} "}) for n in range(count)], *PIECES[-3:]]


class Answers:
    """Makes replies and, when asked, their signatures."""

    def __init__(self, tee: Key) -> None:
        self._tee = tee
        self._hashes: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self.connections = 0
        self.open = 0
        self.most_open = 0

    def reply(self, request: bytes) -> tuple[str, list[bytes]]:
        """A chat id, and the body in the pieces in which it is sent."""
        chat_id = str(uuid.uuid4())
        pieces = [text.replace(_ID, chat_id).encode() for text in _pieces(request)]
        self._hashes[chat_id] = hashlib.sha256(request).hexdigest(), hashlib.sha256(b"".join(pieces)).hexdigest()
        if len(self._hashes) > 4096:
            self._hashes.popitem(last=False)
        return chat_id, pieces

    def signature(self, chat_id: str) -> bytes | None:
        """The signature document, None for an unknown id."""
        found = self._hashes.get(chat_id)
        if found is None:
            return None
        text = ":".join(found)
        signature = "0x" + self._tee.sign_message(text.encode()).hex()
        document = {"text": text, "signature": signature, "signing_address": self._tee.address}
        return _dumps({**document, "signing_algo": "ecdsa"}).encode()


class Connection(asyncio.Protocol):
    """HTTP/1.1, kept alive, just enough of it."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._data = bytearray()
        self._wanted = 0  # bytes before the next request can be whole

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        answers = self._answers
        answers.connections += 1
        answers.open += 1
        answers.most_open = max(answers.most_open, answers.open)

    def connection_lost(self, error: Exception | None) -> None:
        self._answers.open -= 1

    def data_received(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= self._wanted and (end := self._data.find(b"\r\n\r\n", 0, 65536)) >= 0:
            head = bytes(self._data[:end])
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            length = int(lengths[0].partition(b":")[2]) if lengths else 0
            self._wanted = end + 4 + length
            if len(self._data) < self._wanted:
                return
            path, body = head.split(b" ", 2)[1].decode("latin-1"), bytes(self._data[end + 4 : self._wanted])
            del self._data[: self._wanted]
            self._wanted = 0
            if THINKS in body:
                asyncio.get_running_loop().call_later(THOUGHT, self._answer, path, body)
            else:
                self._answer(path, body)

    def _answer(self, path: str, body: bytes) -> None:
        if path.endswith("/chat/completions"):
            chat_id, pieces = self._answers.reply(body)
            if len(pieces) == 1:
                self._whole(pieces[0], f"ZG-Res-Key: {chat_id}\r\n")
            else:
                self._transport.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
                    + f"ZG-Res-Key: {chat_id}\r\n\r\n".encode()
                )
                for piece in pieces:  # one write each, as they would come from a model
                    self._transport.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self._transport.write(b"0\r\n\r\n")
        elif "/signature/" in path:
            document = self._answers.signature(path.rpartition("/")[2].partition("?")[0])
            self._whole(document or b"{}", status="200 OK" if document else "404 Not Found")
        elif path == "/connections":
            self._whole(
                _dumps({"connections": self._answers.connections, "most_open": self._answers.most_open}).encode()
            )
        else:
            self._whole(_dumps({"object": "list", "data": [{"id": MODEL}]}).encode())

    def _whole(self, body: bytes, more: str = "", status: str = "200 OK") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        self._transport.write(head.encode() + body)


async def _serve(answers: Answers, ready: asyncio.Future[int], end: asyncio.Event) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(answers), "127.0.0.1", 0)
    ready.set_result(server.sockets[0].getsockname()[1])
    async with server:
        await end.wait()


async def _main() -> None:
    loop = asyncio.get_running_loop()
    tee, account = Key.random(), Key.random()
    answers, ready, end = Answers(tee), loop.create_future(), asyncio.Event()
    serving = asyncio.create_task(_serve(answers, ready, end))
    url = f"http://127.0.0.1:{await ready}"
    with LocalNet(providers=0, settings=replace(ProviderSettings.fast(), settle_interval=None)) as net:
        net.chain.set_balance(account.address, 2 * STAKE)
        side = ChainSide(net.chain, account, next(iter(DEV_KEYS.values())))
        side.register(Registration("chatbot", url, MODEL, "TeeML", 1, 1, "{}", tee.address), first=True)
        side.acknowledge()
        net.open_account(net.wallet, account.address, 100 * 10**18)
        environ = {
            "ZEROG_NETWORK": "local",
            "ZEROG_RPC_URL": net.rpc_url,
            "ZEROG_PRIVATE_KEY": net.wallet.private_key,
            "ZEROG_PROVIDER": account.address,
        }
        sys.stdout.write(_dumps({"environ": environ, "url": url, "model": MODEL}) + "\n")
        sys.stdout.flush()
        threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(end.set)), daemon=True).start()
        await serving


if __name__ == "__main__":
    asyncio.run(_main())
