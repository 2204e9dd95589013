"""The error JSON-RPC calls end in, and its codes."""

from __future__ import annotations

from typing import Any, Final

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
SERVER_ERROR: Final = -32000
REVERTED_CODE: Final = 3


class NoAnswer(BaseException):
    """The connection is to be closed without an answer; no `Exception`, or it would become one."""


class RpcError(Exception):
    """What a node answers instead of a result.

    Attributes:
        code: as in JSON-RPC 2.0 and geth: -32601 unknown method, -32602 bad parameters, -32000 refused,
            3 reverted.
        message: in geth's words.
        data: revert data as 0x hex for code 3, else None.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        self.code = code
        self.message = message
        self.data = data
        super().__init__(f"{message} (code {code})")

    def as_json(self) -> dict[str, Any]:
        """Return the "error" member of a response."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error
