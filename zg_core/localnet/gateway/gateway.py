"""The RPC endpoint before the local chain: hands on what it is asked, and misbehaves as far as faults are set."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.encoding import hex_bytes
from zg_core.localnet.chain.error import INVALID_PARAMS, NoAnswer, RpcError
from zg_core.localnet.chain.evm import BASE_FEE
from zg_core.localnet.chain.pool import decode
from zg_core.localnet.chain.rpc import Reply, answer
from zg_core.localnet.gateway.dialects import reworded
from zg_core.localnet.gateway.faults import SEND, NodeFault, NodeFaultPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zg_core.localnet.chain.chain import Chain
    from zg_core.localnet.gateway.faults import ActiveNodeFault

__all__ = ["Gateway"]

_F = NodeFault
_CONTROL = b"local_"
_RATE_LIMIT = {"code": -32005, "message": "daily request count exceeded, request rate limited"}
# Where the block is among the parameters of a method.
_BLOCK_AT = {
    "eth_call": 1,
    "eth_getBalance": 1,
    "eth_getBlockByNumber": 0,
    "eth_getCode": 1,
    "eth_getTransactionCount": 1,
}


class Gateway:
    """Stands before a chain.

    Args:
        chain: What is asked.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._lock = threading.Lock()
        self._held: list[tuple[bytes, int]] = []  # transactions, and after how many requests they are handed on
        self.faults = NodeFaultPlan()
        """What goes wrong."""
        # For programs that are not in this process.
        self._controls: dict[str, Callable[..., Any]] = {
            "local_addFault": self._add_fault,
            "local_faults": self._list_faults,
            "local_clearFaults": self.clear,
        }

    def respond(self, body: bytes) -> Reply | None:
        """The reply to one HTTP request; None where the connection is to be closed without one."""
        self._hand_on()
        if not self.faults and _CONTROL not in body:
            return Reply(answer(self._chain, body))
        try:
            methods = _methods(body)
            controls = any(each in self._controls for each in methods)
            reply = None if controls else self._misbehave(body, methods)
            return reply or Reply(answer(self, body))
        except NoAnswer:
            return None

    def clear(self) -> None:
        """Take all faults back, and hand on what was held back."""
        self.faults.clear()
        self._hand_on(all_of_them=True)

    # what happens to a request as a whole

    def _misbehave(self, body: bytes, methods: list[str]) -> Reply | None:
        if (fault := self._take(methods, _F.SLOW)) is not None:
            self._chain.clock.wait(float(fault.options["seconds"]))
        if self._take(methods, _F.CUT) is not None:
            raise NoAnswer
        if (fault := self._take(methods, _F.JUNK)) is not None:
            return Reply(str(fault.options["body"]).encode(), int(fault.options["status"]))
        if (fault := self._take(methods, _F.RATE_LIMITED)) is not None:
            return _limited(body, fault)
        if len(methods) > 1:
            return self._refused_batch(methods)
        return None

    def _refused_batch(self, methods: list[str]) -> Reply | None:
        fault = next((each for each in self.faults.active() if each.fault is _F.BATCH_REFUSED), None)
        if fault is None or len(methods) <= fault.options["most"] or self._take(methods, _F.BATCH_REFUSED) is None:
            return None
        if fault.options["form"] == "cut":
            raise NoAnswer
        error = {"code": -32600, "message": "batches are not supported"}
        if fault.options["most"] > 1:
            error["message"] = f"too many calls in the batch, at most {fault.options['most']}"
        said = {"jsonrpc": "2.0", "id": None, "error": error}
        return Reply(_encode([said] if fault.options["form"] == "list" else said))

    # what happens to one call

    def rpc(self, method: str, params: Sequence[Any] = ()) -> Any:
        """Answer one call, as the faults that are set have it."""
        if (control := self._controls.get(method)) is not None:
            return control(*params)
        if method == SEND:
            return self._send(params)
        if (fault := self._take([method], _F.LAGGING, _F.STUCK)) is not None:
            return self._ask_earlier(method, list(params), self._head(fault))
        result = self._chain.rpc(method, params)
        if self._take([method], _F.RECEIPT_HIDDEN, _F.TRANSACTION_HIDDEN) is not None:
            return None
        if isinstance(result, dict) and self._take([method], _F.RECEIPT_REVERTED) is not None:
            return {**result, "status": "0x0", "logs": []}
        if (fault := self._take([method], _F.COUNT_RAISED)) is not None:
            return hex(int(result, 16) + int(fault.options["by"]))
        if (fault := self._take([method], _F.PRICE_RAISED)) is not None:
            return hex(int(fault.options["tip"]) + (BASE_FEE if method == "eth_gasPrice" else 0))
        return result

    def _head(self, fault: ActiveNodeFault) -> int:
        """The newest block that a node knows which is behind."""
        newest = self._chain.block_number
        if fault.fault is _F.LAGGING:
            return max(newest - int(fault.options["blocks"]), 0)
        if fault.options["block"] is None:
            fault.options["block"] = newest
        return min(int(fault.options["block"]), newest)

    def _ask_earlier(self, method: str, params: list[Any], head: int) -> Any:
        """The answer of a node that has not seen the blocks after `head`."""
        if method == "eth_blockNumber":
            return hex(head)
        place = _BLOCK_AT.get(method)
        if place is None:  # a transaction or its receipt, asked for by hash
            result = self._chain.rpc(method, params)
            number = result.get("blockNumber") if isinstance(result, dict) else None
            return None if number is not None and int(number, 16) > head else result
        params += [None] * (place + 1 - len(params))
        if params[place] in (None, "latest", "pending"):
            params[place] = hex(head)
        return self._chain.rpc(method, params)

    def _send(self, params: Sequence[Any]) -> Any:
        before = (_F.REFUSED, _F.REQUEST_LOST, _F.DROPPED, _F.DELAYED)
        fault = self._take([SEND], *before)
        if fault is not None:
            return self._keep_back(fault, params)
        try:
            result = self._chain.rpc(SEND, params)
        except RpcError as error:
            if (other := self._take([SEND], _F.REWORDED)) is None:
                raise
            raise RpcError(error.code, reworded(error.message, other.options["dialect"]), error.data) from error
        fault = self._take([SEND], _F.ANSWER_LOST, _F.ANSWERED_WITH_ERROR, _F.REPEATED)
        if fault is None:
            return result
        if fault.fault is _F.ANSWER_LOST:
            raise NoAnswer
        if fault.options["words"] is not None:
            raise RpcError(int(fault.options["code"]), str(fault.options["words"]))
        try:
            return self._chain.rpc(SEND, params)
        except RpcError as error:
            other = self._take([SEND], _F.REWORDED)
            words = error.message if other is None else reworded(error.message, other.options["dialect"])
            raise RpcError(error.code, words) from error

    def _keep_back(self, fault: ActiveNodeFault, params: Sequence[Any]) -> Any:
        """What is said of a transaction that the chain does not get, or not yet."""
        if fault.fault is _F.REQUEST_LOST:
            raise NoAnswer
        if fault.fault is _F.REFUSED:
            raise RpcError(int(fault.options["code"]), str(fault.options["words"]))
        raw = bytes.fromhex(str(params[0])[2:])
        if fault.fault is _F.DELAYED:
            with self._lock:
                self._held.append((raw, int(fault.options["requests"])))
        return hex_bytes(decode(raw, self._chain.chain_id).hash)

    def _hand_on(self, *, all_of_them: bool = False) -> None:
        if not self._held:
            return
        with self._lock:
            due = [raw for raw, left in self._held if all_of_them or left <= 1]
            self._held = [(raw, left - 1) for raw, left in self._held if not all_of_them and left > 1]
        for raw in due:
            try:
                self._chain.submit(raw)
            except ValueError:  # it comes too late, and nobody is there to be told
                continue

    def _add_fault(self, fault: Any = "", options: Any = None) -> list[dict[str, Any]]:
        try:
            self.faults.add(str(fault), **(options or {}))
        except (ValueError, TypeError) as error:
            raise RpcError(INVALID_PARAMS, str(error)) from error
        return self._list_faults()

    def _list_faults(self) -> list[dict[str, Any]]:
        return [
            {"fault": each.fault.value, "times": each.remaining, "method": each.method, "options": each.options}
            for each in self.faults.active()
        ]

    def _take(self, methods: Sequence[str], *faults: NodeFault) -> ActiveNodeFault | None:
        found = self.faults.take(methods, *faults)
        if found is not None and found.then is not None:
            if found.fault in (_F.ANSWER_LOST, _F.REQUEST_LOST, _F.CUT):
                found.then()
                raise NoAnswer
            found.then()
        return found


def _limited(body: bytes, fault: ActiveNodeFault) -> Reply:
    if fault.options["form"] == "http":
        headers = {"Retry-After": str(fault.options["seconds"])}
        return Reply(b'{"message": "Too Many Requests"}', 429, headers)
    if fault.options["form"] == "object":
        return Reply(_encode({"jsonrpc": "2.0", "id": None, "error": _RATE_LIMIT}))
    calls = json.loads(body)
    answers = [
        {"jsonrpc": "2.0", "id": call.get("id") if isinstance(call, dict) else None, "error": _RATE_LIMIT}
        for call in (calls if isinstance(calls, list) else [calls])
    ]
    return Reply(_encode(answers if isinstance(calls, list) else answers[0]))


def _methods(body: bytes) -> list[str]:
    """The methods that a request asks for; none if it is no JSON-RPC."""
    try:
        calls = json.loads(body)
    except (ValueError, RecursionError):
        return []
    listed = calls if isinstance(calls, list) else [calls]
    return [str(call.get("method")) for call in listed if isinstance(call, dict)]


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
