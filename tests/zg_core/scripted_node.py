"""A node that answers JSON-RPC over a real socket, as scripted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils import keccak

from tests.patience import PATIENCE

SERVICE = "(address,string,string,uint256,uint256,uint256,string,string,string,address,bool)"
REFUND = "(uint256,uint256,uint256,bool)"
ACCOUNT = f"(address,address,uint256,uint256,uint256,{REFUND}[],string,bool,uint256,uint256,uint256)"
LEDGER = "(address,uint256,uint256,string)"
INFERENCE, LEDGER_MANAGER = "0x" + "1f" * 20, "0x" + "1e" * 20


def revert(signature: str, *arguments: Any) -> dict[str, Any]:
    """The error object of a revert with a custom error."""
    types = signature.partition("(")[2][:-1].split(",")
    data = keccak(text=signature)[:4] + encode(types, arguments)
    return {"code": 3, "message": "execution reverted", "data": "0x" + data.hex()}


def address(number: int) -> str:
    return f"0x{number:040x}"


def service_tuple(number: int, **changes: Any) -> tuple[Any, ...]:
    values: dict[str, Any] = {
        "provider": address(number),
        "service_type": "chatbot",
        "url": f"https://p{number}.example/",
        "input_price": 100 + number,
        "output_price": 200 + number,
        "updated_at": 1_700_000_000,
        "model": f"model-{number}",
        "verifiability": "TeeML",
        "additional_info": "{}",
        "tee_signer": address(number + 10**6),
        "acknowledged": True,
    }
    return tuple((values | changes).values())


def account_tuple(user: str, provider: str, **changes: Any) -> tuple[Any, ...]:
    values: dict[str, Any] = {
        "user": user,
        "provider": provider,
        "nonce": 5,
        "balance": 3 * 10**18,
        "pending_refund": 10**18,
        "refunds": [],
        "additional_info": "",
        "acknowledged": True,
        "live": 0,
        "generation": 4,
        "bitmap": 0b101,
    }
    return tuple((values | changes).values())


class Node:
    """What the node knows, how it behaves, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.chain_id = 31337
        self.block = 7
        self.services: dict[str, tuple[Any, ...]] = {}
        self.accounts: dict[tuple[str, str], tuple[Any, ...]] = {}
        self.ledgers: dict[str, tuple[Any, ...]] = {}
        self.batches = True
        self.asked: list[list[str]] = []  # method or contract function names, per HTTP request
        self.pages: list[tuple[int, int]] = []
        self.body: Callable[[Any], bytes] | None = None  # instead of an honest response
        self.result: Callable[[str, Any], Any] | None = None  # instead of an honest result
        self.status = 200
        self.headers: dict[str, str] = {}
        self.cuts: Callable[[Any], bool] | None = None  # which requests end in a cut connection
        self.gate: threading.Barrier | None = None  # holds HTTP requests until as many are there
        self._functions = {
            keccak(text=signature)[:4]: (signature, function)
            for signature, function in {
                "getService(address)": self._service,
                "getAllServices(uint256,uint256)": self._services,
                "getAccount(address,address)": self._account,
                "getAccountsByUser(address,uint256,uint256)": self._accounts,
                "getLedger(address)": self._ledger,
            }.items()
        }

    def add(self, number: int, **changes: Any) -> str:
        """Register a service; its provider's address."""
        self.services[address(number)] = service_tuple(number, **changes)
        return address(number)

    def _service(self, provider: str) -> Any:
        if provider not in self.services:
            return revert("ServiceNotExist(address)", provider)
        return encode([SERVICE], [self.services[provider]])

    def _services(self, offset: int, limit: int) -> Any:
        if limit > 50:
            return revert("LimitTooLarge(uint256,uint256)", limit, 50)
        self.pages.append((offset, limit))
        everything = list(self.services.values())
        return encode([SERVICE + "[]", "uint256"], [everything[offset : offset + limit], len(everything)])

    def _account(self, user: str, provider: str) -> Any:
        if (user, provider) not in self.accounts:
            return revert("AccountNotExists(address,address)", user, provider)
        return encode([ACCOUNT], [self.accounts[user, provider]])

    def _accounts(self, user: str, offset: int, limit: int) -> Any:
        if limit > 50:
            return revert("LimitTooLarge(uint256,uint256)", limit, 50)
        self.pages.append((offset, limit))
        everything = [one for (owner, _), one in self.accounts.items() if owner == user]
        return encode([ACCOUNT + "[]", "uint256"], [everything[offset : offset + limit], len(everything)])

    def _ledger(self, user: str) -> Any:
        if user not in self.ledgers:
            return revert("LedgerNotExists(address)", user)
        return encode([LEDGER], [self.ledgers[user]])

    def _call(self, message: dict[str, Any]) -> tuple[str, Any]:
        if message["method"] == "eth_chainId":
            return "eth_chainId", hex(self.chain_id)
        if message["method"] == "eth_blockNumber":
            return "eth_blockNumber", hex(self.block)
        call, block = message["params"]
        assert (message["method"], block) == ("eth_call", "latest")
        data = bytes.fromhex(call["data"][2:])
        signature, function = self._functions[data[:4]]
        name, _, types = signature[:-1].partition("(")
        assert call["to"] == (LEDGER_MANAGER if name == "getLedger" else INFERENCE), "another contract"
        answer = function(*decode(types.split(","), data[4:]))
        return name, answer if isinstance(answer, dict) else "0x" + answer.hex()

    def respond(self, request: bytes) -> bytes:
        """The body of the response to one HTTP request."""
        messages = json.loads(request)
        if self.gate is not None:
            self.gate.wait(PATIENCE)
        if isinstance(messages, list) and not self.batches:
            self.asked.append(["batch refused"])
            return json.dumps(
                {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no batches"}}
            ).encode()
        answers, names = [], []
        for message in messages if isinstance(messages, list) else [messages]:
            name, answer = self._call(message)
            names.append(name)
            if self.result is not None:
                answer = self.result(name, answer)
            kind = "error" if isinstance(answer, dict) else "result"
            answers.append({"jsonrpc": "2.0", "id": message["id"], kind: answer})
        self.asked.append(names)
        honest = list(reversed(answers)) if isinstance(messages, list) else answers[0]  # any order is allowed
        return json.dumps(honest).encode() if self.body is None else self.body(honest)


@contextmanager
def running() -> Iterator[Node]:
    """A node at its `url`."""
    made = Node()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            if made.cuts is not None and made.cuts(json.loads(request)):
                made.asked.append(["cut"])
                self.close_connection = True
                return
            body = made.respond(request)
            self.send_response(made.status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)
