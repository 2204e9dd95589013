"""JSON-RPC over a `Transport`: single calls and batches, with every way to fail told apart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.errors import ChainError, RequestError
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.http.transport import Transport

__all__ = ["JsonRpc", "RpcFailure"]

_TIMEOUTS = Timeouts(connect=10.0, read=30.0)
_MAX_BYTES = 32 * 1024 * 1024
_HINT = "check ZEROG_RPC_URL (rpc_url=…), or try again"


@dataclass(frozen=True, slots=True)
class RpcFailure:
    """An error object that the node answered; `data` is the revert data as hex, if any."""

    code: int
    message: str
    data: str = ""


class JsonRpc:
    """One JSON-RPC endpoint."""

    def __init__(self, url: str, transport: Transport) -> None:
        self.url = url
        self._transport = transport
        self._batches = True

    async def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Answers to `calls`, in order: results, or `RpcFailure` values. One HTTP request where the node allows it.

        Raises:
            ChainError: the node cannot be reached or answers junk.
        """
        if len(calls) > 1 and self._batches:
            try:
                answers = await self._post([_call(i, *call) for i, call in enumerate(calls)])
            except ChainError as error:
                if error.code != "rpc_junk":
                    raise
                answers = None
            if isinstance(answers, list) and len(answers) == len(calls):
                by_id = {str(answer.get("id")): answer for answer in answers if isinstance(answer, dict)}
                return [self._result(by_id.get(str(i))) for i in range(len(calls))]
            self._batches = False  # this node takes single calls only
        return [self._result(await self._post(_call(i, *call))) for i, call in enumerate(calls)]

    async def _post(self, message: Any) -> Any:
        body = json.dumps(message, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json"}
        request = Request("POST", self.url, headers, body, _TIMEOUTS, public=False)  # the user's own choice
        try:
            response = await self._transport.send(request)
            content = await read_all(response, _MAX_BYTES)
        except (RequestError, BodyBroken) as error:
            raise ChainError(
                f"the chain's RPC endpoint does not answer: {error}", code="rpc_unavailable", hint=_HINT, retryable=True
            ) from error
        try:
            return parse_json(content)
        except (ValueError, RecursionError):
            raise self._junk(f"HTTP {response.status}, no JSON") from None

    def _result(self, answer: Any) -> Any:
        if not isinstance(answer, dict):
            raise self._junk("an answer is missing")
        if (error := answer.get("error")) is not None:
            if not isinstance(error, dict):
                raise self._junk("an error that is no object")
            data = error.get("data")
            if isinstance(data, dict):  # some nodes nest it
                data = data.get("data")
            code = error.get("code")
            return RpcFailure(
                code if isinstance(code, int) else 0,
                str(error.get("message", ""))[:500],
                data if isinstance(data, str) else "",
            )
        if "result" not in answer:
            raise self._junk("neither result nor error")
        return answer["result"]

    @staticmethod
    def _junk(what: str) -> ChainError:
        message = f"the chain's RPC endpoint answers junk: {what}"
        return ChainError(message, code="rpc_junk", hint=_HINT, retryable=True)


def _call(number: int, method: str, params: list[Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
