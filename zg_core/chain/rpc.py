"""JSON-RPC over a `Transport`: single calls and batches, with every way to fail told apart.

Nothing is asked twice here: whoever asks knows whether that is safe, and how long there is time. Only a batch that a
node does not take as one is asked in pieces.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from typing import TYPE_CHECKING, Any

from zg_core.chain.failures import RpcFailure
from zg_core.chain.words import is_rate_limit
from zg_core.config import shown_url
from zg_core.errors import ChainError, RequestError
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.http.refusals import retry_after
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import parse_json
from zg_core.shown.redaction import learn_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zg_core.http.messages import Response
    from zg_core.http.transport import Transport

__all__ = ["JsonRpc", "data_of", "quantity", "rpc_junk"]

_MAX_BYTES = 32 * 1024 * 1024
_BROADCASTS = ("eth_sendRawTransaction", "eth_sendTransaction")
_MAX_SECONDS = 60.0  # for a whole answer: one that drips would keep below the time between two reads
_TIMEOUTS = Timeouts(connect=10.0, read=30.0, whole=_MAX_SECONDS)
_HINT = "check ZEROG_RPC_URL (rpc_url=…), or try again"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GATEWAY = frozenset({408, 502, 503, 504, *range(520, 531)})
# What a node takes in a batch is asked anew after so long; a batch of two is never too large, and what a node does
# slowly it does not do because of the size.
_REMEMBERED, _SMALL, _AT_ONCE = 600.0, 2, 5.0
_SIZE = re.compile(r"too (many|large|big)|exceed|limit|max")
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*")

Call = tuple[str, list[Any]]


class _Smaller(Exception):
    """The node does not take this batch: `size` says that it may take a smaller one, `sure` that it said so."""

    def __init__(self, error: ChainError, *, size: bool = False, sure: bool = False) -> None:
        super().__init__()
        self.error = error
        self.size = size
        self.sure = sure


class JsonRpc:
    """One JSON-RPC endpoint.

    Args:
        url: Where it is; may hold a key, so no message shows more of it than the host.
        transport: HTTP.
        clock: Seconds, never going back.
    """

    def __init__(self, url: str, transport: Transport, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        learn_url(url)
        self._transport = transport
        self._clock = clock
        self._ids = itertools.count(1)
        self._most: int | None = None  # calls in a batch, until `_forget`
        self._forget = 0.0
        self._strikes = 0

    def __repr__(self) -> str:
        return f"JsonRpc({shown_url(self.url)!r})"

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Answers to `calls`, in order: results, or `RpcFailure` values. One HTTP request where the node allows it.

        Raises:
            ChainError: the node cannot be reached (``rpc_unavailable``), asks to slow down (``rpc_rate_limited``, with
                ``details["retry_after"]`` where it says for how long), redirects or answers junk.
        """
        found: list[Any] = []
        most = self._most if self._most is not None and self._clock() < self._forget else len(calls)
        for start in range(0, len(calls), max(most, 1)):
            found += await self._ask(calls[start : start + most])
        return found

    async def _ask(self, calls: Sequence[Call]) -> list[Any]:
        began = self._clock()
        try:
            answers = await self._exchange(calls)
        except _Smaller as refused:
            if refused.error.code == "rpc_unavailable" and (
                len(calls) <= _SMALL or self._clock() - began > _AT_ONCE
            ):  # not for its size
                raise refused.error from refused.__cause__
            half = (len(calls) + 1) // 2 if refused.size else 1
            found = []
            for start in range(0, len(calls), half):
                found += await self._ask(calls[start : start + half])
            self._strikes += 1
            if refused.sure or self._strikes > 1:  # one bad moment is no habit
                now = self._clock()
                self._most = half if self._most is None or now >= self._forget else min(half, self._most)
                self._forget = now + _REMEMBERED
            return found
        if len(calls) > 1:
            self._strikes = 0
        return answers

    async def _exchange(self, calls: Sequence[Call]) -> list[Any]:
        ids = [next(self._ids) for _ in calls]
        messages = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in zip(ids, calls, strict=True)
        ]
        several = len(messages) > 1
        try:
            answer = await self._post(messages if several else messages[0])
            return self._match(answer, ids) if several else [self._result(answer, ids[0], alone=True)]
        except ChainError as error:
            pieces = error.details.pop("pieces", None)
            if several and pieces:
                raise _Smaller(error, size=pieces == "smaller") from error.__cause__
            raise

    def _match(self, answers: Any, ids: list[int]) -> list[Any]:
        """The results of a batch in the order of `ids`."""
        if isinstance(answers, list) and len(answers) == len(ids):
            by_id = {one.get("id"): one for one in answers if isinstance(one, dict) and _is_id(one.get("id"))}
            texts = {str(name): one for name, one in by_id.items()}
            if len(by_id) == len(ids):
                return [self._result(texts.get(str(number)), number) for number in ids]
        said = answers[0] if isinstance(answers, list) and len(answers) == 1 else answers
        failure = _failure(said) if isinstance(said, dict) and said.get("error") is not None else None
        if failure is None:
            raise rpc_junk("no answer to each call of a batch", pieces="single")
        if is_rate_limit(failure):
            raise self._limited(failure.message)
        low = failure.message.lower()
        sure = failure.code == -32600 or "batch" in low
        size = sure and _SIZE.search(low) is not None
        raise _Smaller(rpc_junk(f"it refuses a batch ({failure.message})"), size=size, sure=sure)

    async def _post(self, message: Any) -> Any:
        body = json.dumps(message, separators=(",", ":")).encode()
        # Not twice: a second answer to the same transaction says something else than the first.
        once = any(call["method"] in _BROADCASTS for call in (message if isinstance(message, list) else [message]))
        headers = {"Content-Type": "application/json"}
        request = Request("POST", self.url, headers, body, _TIMEOUTS, once, public=False)  # the user's own choice
        try:
            response = await self._transport.send(request)
            content = await read_all(response, _MAX_BYTES, _MAX_SECONDS)
        except (RequestError, BodyBroken) as error:
            never_left = isinstance(error, RequestError) and error.code == "connect_failed"
            details: dict[str, Any] = {"sent": False} if never_left else {"pieces": "smaller"}
            raise ChainError(
                f"the chain's RPC endpoint does not answer: {error}",
                code="rpc_unavailable",
                hint=_HINT,
                retryable=True,
                **details,
            ) from error
        try:
            answer = parse_json(content)
        except (ValueError, RecursionError):
            answer = None
        self._check_status(response, answer)
        if (answer is None and content.strip() != b"null") or (response.status >= 400 and not _is_answer(answer)):
            raise rpc_junk(f"HTTP {response.status}, no JSON-RPC", status=response.status, pieces="single")
        return answer

    def _check_status(self, response: Response, answer: Any) -> None:
        """Refuse what is no answer of a node."""
        status = response.status
        if status in _REDIRECTS:
            target = response.headers.get("location", "")
            where = shown_url(target) if "://" in target else "another path"
            raise ChainError(
                f"the chain's RPC endpoint redirects to {where} (HTTP {status}); not followed",
                code="rpc_redirect",
                hint="set ZEROG_RPC_URL (rpc_url=…) to the address that it redirects to",
                status=status,
            )
        if status == 429:
            said = _failure(answer).message if isinstance(answer, dict) else ""
            raise self._limited(said or "HTTP 429", retry_after(response.headers, said), status)
        if status == 413:
            raise rpc_junk("HTTP 413, the request is too large", status=status, pieces="smaller")
        if status in _GATEWAY and not _is_answer(answer):
            raise ChainError(
                f"the chain's RPC endpoint does not answer (HTTP {status})",
                code="rpc_unavailable",
                hint=_HINT,
                retryable=True,
                **_known(status=status, retry_after=retry_after(response.headers)),
            )

    @staticmethod
    def _limited(said: str, seconds: float | None = None, status: int | None = None) -> ChainError:
        return ChainError(
            f"the chain's RPC endpoint limits the rate of requests ({said})",
            code="rpc_rate_limited",
            hint="wait a moment, ask less often, or use an endpoint of your own (rpc_url=…)",
            retryable=True,
            **_known(retry_after=seconds, status=status),
        )

    def _result(self, answer: Any, number: int, *, alone: bool = False) -> Any:
        if not isinstance(answer, dict):
            raise rpc_junk("an answer is missing")
        failed = answer.get("error") is not None
        name = answer.get("id")
        # An error before the request was read has no id.
        if not (_is_id(name) and str(name) == str(number)) and not (alone and failed and name is None):
            raise rpc_junk("an answer to another request")
        if failed:
            if not isinstance(answer["error"], dict):
                raise rpc_junk("an error that is no object")
            failure = _failure(answer)
            if is_rate_limit(failure):
                raise self._limited(failure.message)
            return failure
        if "result" not in answer:
            raise rpc_junk("neither result nor error")
        return answer["result"]


def _known(**details: Any) -> dict[str, Any]:
    return {name: value for name, value in details.items() if value is not None}


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_answer(value: Any) -> bool:
    """Whether a body is JSON-RPC: gateways say their own troubles in it, too."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and ("result" in first or isinstance(first.get("error"), dict))


def _failure(answer: dict[str, Any]) -> RpcFailure:
    error = answer.get("error")
    if not isinstance(error, dict):
        return RpcFailure(0, str(error or "")[:500])
    data, code, message = error.get("data"), error.get("code"), str(error.get("message", ""))
    if isinstance(data, dict):  # some nodes nest it
        data = data.get("data")
    shown = data if isinstance(data, str) and _DATA.fullmatch(data) else ""
    if isinstance(data, str) and not shown and data not in ("", message):
        message = f"{message}: {data}" if message else data  # Ethermint says there what it means
    return RpcFailure(code if isinstance(code, int) else 0, message[:500], shown)


def rpc_junk(what: str, *, status: int = 200, **details: Any) -> ChainError:
    """The error for an answer that makes no sense; it may on the next try, unless the address is wrong."""
    return ChainError(
        f"the chain's RPC endpoint answers junk: {what}",
        code="rpc_junk",
        hint=_HINT,
        retryable=not 400 <= status < 500,
        **details,
    )


def quantity(value: Any, what: str) -> int:
    """A number as JSON-RPC writes it: ``0x`` and at most 64 digits.

    Raises:
        ChainError: it is none; `what` was asked.

    Example:
        >>> quantity("0x2a", "eth_blockNumber")
        42
    """
    if isinstance(value, str) and _QUANTITY.fullmatch(value):
        return int(value, 16)
    raise rpc_junk(f"{what}: {value.message}" if isinstance(value, RpcFailure) else f"{what} is not a number")


def data_of(value: Any, what: str) -> bytes:
    """Bytes as JSON-RPC writes them: ``0x`` and two digits each.

    Raises:
        ChainError: it is none; `what` was asked.
    """
    if isinstance(value, str) and _DATA.fullmatch(value):
        return bytes.fromhex(value[2:])
    raise rpc_junk(f"{what}: {value.message}" if isinstance(value, RpcFailure) else f"{what} is not hex")
