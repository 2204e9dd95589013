"""A provider behind a gateway of ours: the chain, as the RPC shows it, names the gateway, which alters answers."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any

from eth_abi import decode, encode
from eth_utils import keccak

from tests.cases.chain.field import Connection, FieldServer, Relay
from tests.patience import PATIENCE
from zg_core.localnet import LocalNet

_RECORD = "(address,string,string,uint256,uint256,uint256,string,string,string,address,bool)"
GET_SERVICE = "0x" + keccak(text="getService(address)")[:4].hex()
ALL_SERVICES = "0x" + keccak(text="getAllServices(uint256,uint256)")[:4].hex()

Alter = Callable[[str, str, int, dict[str, str], bytes], bytes | None]
"""Method, path, status, headers and body of a response; the bytes to send instead, None for those there are."""
Change = Callable[[list[Any]], None]
"""Changes the fields of a service record."""


def records(net: LocalNet, change: Change) -> Relay:
    """A node that shows other service records than the chain holds."""

    def changed(record: Any) -> tuple[Any, ...]:
        fields = list(record)
        change(fields)
        return tuple(fields)

    def hook(method: str, params: Any, relay: Relay) -> Any:
        said = relay.up(method, params)
        data = params[0].get("data", "") if method == "eth_call" and isinstance(said, str) else ""
        if data.startswith(GET_SERVICE):
            (record,) = decode([_RECORD], bytes.fromhex(said[2:]))
            return "0x" + encode([_RECORD], [changed(record)]).hex()
        if data.startswith(ALL_SERVICES):
            found, count = decode([_RECORD + "[]", "uint256"], bytes.fromhex(said[2:]))
            return "0x" + encode([_RECORD + "[]", "uint256"], [[changed(one) for one in found], count]).hex()
        return said

    return Relay(hook, net.rpc_url)


def behind(net: LocalNet, gateway: Gateway) -> Relay:
    """A node whose records lead to `gateway`."""

    def moved(fields: list[Any]) -> None:
        fields[2] = gateway.url

    return records(net, moved)


class Gateway(FieldServer):
    """Hands requests on to the provider at `url`, and alters what comes back; keeps method and path of each."""

    def __init__(self, url: str, alter: Alter) -> None:
        self.seen: list[tuple[str, str]] = []
        self._to = url.removeprefix("http://")
        self._alter = alter
        super().__init__(self._pass)

    def _pass(self, connection: Connection) -> None:
        while (got := connection.request()) is not None:
            line, *lines = got[0].decode("latin-1").split("\r\n")
            method, path, _ = line.split(" ")
            headers = dict(each.split(": ", 1) for each in lines)
            sent = {n: v for n, v in headers.items() if n.lower() not in ("host", "content-length", "connection")}
            self.seen.append((method, path))
            upstream = http.client.HTTPConnection(self._to, timeout=PATIENCE)
            upstream.request(method, path, got[1] or None, sent)
            answer = upstream.getresponse()
            body, said = answer.read(), answer.getheaders()
            upstream.close()
            other = self._alter(method, path, answer.status, dict(said), body)
            if other is not None:
                connection.send(other)
                continue
            dropped = ("transfer-encoding", "content-length", "connection")
            kept = "".join(f"{n}: {v}\r\n" for n, v in said if n.lower() not in dropped)
            head = f"HTTP/1.1 {answer.status} X\r\n{kept}Content-Length: {len(body)}\r\n\r\n"
            connection.send(head.encode("latin-1") + body)

    def prompts(self) -> int:
        """How many requests came that cost money."""
        return sum(path.endswith("/chat/completions") for _, path in self.seen)
