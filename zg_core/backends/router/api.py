"""Reads of the Router beside inference: JSON in, JSON out, every size and wait bounded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from zg_core.backends.router.refusals import refusal
from zg_core.config import SecretHeaders
from zg_core.errors import ProviderUnavailable, RequestError
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.router.networks import RouterNetwork
    from zg_core.config import Secret
    from zg_core.http.transport import Transport

__all__ = ["RouterApi"]

_MOST_BYTES = 16 * 1024 * 1024
_TIMEOUTS = Timeouts(connect=10.0, read=30.0, whole=60.0)


class RouterApi:
    """Asks the Router.

    Args:
        router: Where it is.
        transport: HTTP.
    """

    def __init__(self, router: RouterNetwork, transport: Transport) -> None:
        self.router = router
        self._transport = transport

    async def ask(
        self,
        method: str,
        path: str,
        key: Secret | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """What is answered, parsed; None for an answer without content.

        Args:
            method: HTTP's.
            path: Below ``/v1``, with its query.
            key: Who asks; None asks as anybody.
            body: Sent as JSON.
            headers: Beside the key's.

        Raises:
            ZeroGError: it is refused, or cannot be had.
        """
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key.reveal()}"
        data = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = Request(method, self.router.base_url + path, SecretHeaders(sent), data, _TIMEOUTS, public=False)
        sent.clear()
        answer = await self._transport.send(request)
        try:
            content = await read_all(answer, _MOST_BYTES, _TIMEOUTS.whole)
        except BodyBroken as error:
            raise ProviderUnavailable(f"the Router broke off: {error}", hint="try again") from error
        if not 200 <= answer.status < 300:
            raise refusal(self.router, "", answer.status, answer.headers, content)
        if not content.strip():
            return None
        try:
            return parse_json(content)
        except (ValueError, RecursionError):
            hint = "check base_url=: something else may answer there"
            raise RequestError("the Router answered with no JSON", code="malformed_reply", hint=hint) from None

    async def rows(self, path: str, key: Secret | None = None) -> list[dict[str, Any]]:
        """The objects of a list."""
        said = await self.ask("GET", path, key)
        data = said.get("data") if isinstance(said, dict) else said
        if not isinstance(data, list):
            hint = "check base_url=: something else may answer there"
            raise RequestError("the Router answered with no list", code="malformed_reply", hint=hint)
        return [row for row in data if isinstance(row, dict)]
