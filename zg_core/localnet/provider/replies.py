"""Answers as a provider writes them: errors, and its book for the control routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from zg_core.localnet.provider import gojson

if TYPE_CHECKING:
    from collections.abc import Iterable


def record_json(record: Any) -> dict[str, Any]:
    """A settlement for the control route; amounts as decimal text."""
    return {
        "tx": record.tx_hash,
        "block": record.block,
        "users": [
            {
                "user": user.user,
                "status": user.status,
                "totalFee": str(user.total_fee),
                "paid": str(user.paid),
                "unsettled": str(user.unsettled),
                "nonce": str(user.nonce),
                "requestsHash": "0x" + user.requests_hash.hex(),
            }
            for user in record.users
        ],
    }


def entry_json(entry: Any) -> dict[str, Any]:
    """A billing entry for the control route; amounts as decimal text."""
    return {
        "user": entry.user,
        "chatId": entry.chat_id,
        "model": entry.model,
        "promptTokens": entry.usage.prompt_tokens if entry.usage else None,
        "completionTokens": entry.usage.completion_tokens if entry.usage else None,
        "cachedTokens": entry.usage.cached_tokens if entry.usage else None,
        "inputFee": str(entry.input_fee),
        "outputFee": str(entry.output_fee),
        "fee": str(entry.fee),
        "units": entry.units,
        "unit": entry.unit,
        "requestSha256": entry.request_sha256,
        "responseSha256": entry.response_sha256,
        "time": entry.time,
        "stream": entry.stream,
        "clientLeft": entry.client_left,
        "settled": str(entry.settled),
        "settledTx": entry.settled_tx,
    }


def error_response(
    status: int, error: str | dict[str, str], headers: Iterable[tuple[str, str]] | None = None
) -> Response:
    """``{"error": …}`` as the provider writes it."""
    response = Response(
        gojson.dumps({"error": error}), status_code=status, media_type="application/json; charset=utf-8"
    )
    for name, value in headers or ():
        response.headers[name] = value
    return response
