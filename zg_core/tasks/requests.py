"""The bytes of a request: the caller's own, or its payload encoded, with a model where it names none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.jsontext import encode_body
from zg_core.tasks.chat import for_model
from zg_core.tasks.forms import form_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.http.messages import Upload
    from zg_core.tasks.base import Task

__all__ = ["json_bytes", "request_bytes"]


def request_bytes(
    task: Task, model: str, payload: Mapping[str, Any], data: bytes | None = None
) -> tuple[bytes | Upload, str]:
    """The bytes of a request for `task`, and their content type; arguments as of `json_bytes`.

    A form is made of a payload that holds a file; edits can be asked for in JSON, too.
    """
    if data is not None and data.startswith(b"--"):
        boundary = data.partition(b"\r\n")[0][2:].decode("latin-1")
        return data, f"multipart/form-data; boundary={boundary}"
    if task.form != "multipart" or data is not None or isinstance(payload.get("image"), str):
        return json_bytes(model, payload, data), "application/json"
    return form_of(payload if payload.get("model") else {"model": model, **payload})


def json_bytes(model: str, payload: Mapping[str, Any], data: bytes | None = None) -> bytes:
    """A request as JSON.

    Args:
        model: Filled in where `payload` names none.
        payload: The request.
        data: The bytes that were parsed to `payload`, where the caller brought them: they are sent as they are.

    Example:
        >>> json_bytes("m", {"messages": []}), json_bytes("m", {"model": "n"}, b'{ "model": "n" }')
        (b'{"model":"m","messages":[]}', b'{ "model": "n" }')
    """
    if not payload.get("model"):
        return encode_body(for_model(payload, model))
    return encode_body(payload) if data is None else data
