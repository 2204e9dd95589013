"""What a call is made of: what is asked, the call under way, its reply, and where a stream leaves its receipt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from zg_core.errors import ConfigError
from zg_core.jsontext import encode_body, parse_json
from zg_core.tasks.base import CHAT, task_at
from zg_core.tasks.chat import text_of
from zg_core.tasks.forms import fields_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.service import Body, Grant, Route
    from zg_core.calls.budgets import Counts
    from zg_core.calls.gate import Place
    from zg_core.calls.retries import Retries
    from zg_core.exchange import Exchange
    from zg_core.http.messages import Response
    from zg_core.http.timeouts import Timeouts
    from zg_core.pricing import Asked
    from zg_core.receipts.model import Receipt
    from zg_core.tasks.base import Task
    from zg_core.types import Usage

__all__ = ["Ask", "Call", "Options", "Reply", "Slot"]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and its receipt.

    Attributes:
        body: The response as the provider sent it, parsed.
        receipt: The record of the call, verdict included.
    """

    body: dict[str, Any]
    receipt: Receipt

    @property
    def text(self) -> str:
        """Content of the first choice, "" if it has none (a tool call, for example)."""
        return text_of(self.body)


@dataclass(frozen=True, slots=True)
class Options:
    """What one call asks for beside its payload.

    Attributes:
        timeouts: Instead of the client's.
        headers: Beside the client's and our own.
        retries: Instead of the client's.
        aside: Whether it is handed in as a job.
    """

    timeouts: Timeouts | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retries: Retries | None = None
    aside: bool = False


_PLAIN = Options()


@dataclass(slots=True)
class Slot:
    """Where a running stream leaves its receipt, and its call."""

    receipt: Receipt | None = None
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked, before anyone is chosen to answer it.

    Attributes:
        payload: The request, parsed.
        path: Where it is asked for, below a service's endpoint: that of a task.
        data: Its bytes, where the caller brings them; they are sent as they are.
        options: What is asked for beside it.

    Raises:
        ConfigError: `path` is that of no task (code ``unknown_task``), or the model is no text.
    """

    payload: Mapping[str, Any] = field(repr=False)
    path: str = CHAT.path
    data: bytes | None = field(default=None, repr=False)
    options: Options = _PLAIN

    def __post_init__(self) -> None:
        """Refuse what is none of our requests."""
        task_at(self.path)
        model = self.payload.get("model")
        if not (model is None or isinstance(model, str)):
            message = f"model is a {type(model).__name__}, not text"
            raise ConfigError(message, code="bad_request_body", hint="pass model='…', or leave it out")

    @classmethod
    def read(cls, data: bytes, path: str, options: Options) -> Self:
        """What the bytes of a request ask; this is the one time that they are parsed.

        Raises:
            ConfigError: they are no JSON object (code ``bad_request_body``), or as above.
        """
        task_at(path)
        if task_at(path).form == "multipart" and data.startswith(b"--"):
            if not (fields := fields_in(data)):
                hint = "send multipart/form-data, up to its last boundary"
                raise ConfigError("the request is no whole form", code="bad_request_body", hint=hint)
            if fields.get("stream") == "true":
                fields["stream"] = True
            return cls(fields, path, data, options)
        try:
            payload = parse_json(data)
        except (ValueError, RecursionError) as error:
            message = f"the request is not JSON: {error}"
            raise ConfigError(message, code="bad_request_body", hint="send one JSON object") from None
        if not isinstance(payload, dict):
            message = f"the request is a JSON {type(payload).__name__}, not an object"
            raise ConfigError(message, code="bad_request_body", hint="send one JSON object")
        return cls(payload, path, data, options)

    @property
    def task(self) -> Task:
        """What is asked for."""
        return task_at(self.path)

    @property
    def model(self) -> str | None:
        """The model asked for; None where none is named."""
        return self.payload.get("model") or None

    @property
    def streamed(self) -> bool:
        """Whether the answer is to come as events."""
        return self.payload.get("stream") is True

    def for_user(self, name: str) -> Self:
        """The same for a user, where none is named; of bytes that the caller brings, the rest stays as it is."""
        if self.payload.get("user") is not None:
            return self
        payload = {**self.payload, "user": name}
        if self.data is None or "user" in self.payload or self.data.startswith(b"--"):
            return replace(self, payload=payload, data=None)
        brace = self.data.index(b"{") + 1
        head, rest = self.data[:brace], self.data[brace:]
        said = encode_body({"user": name})[1:-1] + (b"," if self.payload else b"")
        return replace(self, payload=payload, data=head + said + rest)


@dataclass(slots=True)
class Call:
    """A call under way: one request, one receipt."""

    route: Route
    exchange: Exchange
    receipt: Receipt
    asked: Asked
    started: float
    streamed: bool = False
    response: Response | None = None
    usage: Usage | None = None
    odd_usage: bool = False  # a count among what was reported is none
    text: list[str] = field(default_factory=list)
    hasty: bool = False  # there are other providers: a refusal that may pass is not waited for
    sent: bool = False  # the request is on its way, or was answered
    budget: Counts | None = None  # all that it is held to
    held: int = 0  # neuron held for it there
    finished: bool = False  # a finish_reason was seen
    kept: list[bytes] | None = None  # the response, where bytes are kept
    place: Place | None = None  # among the requests under way, where these are limited
    task: Task = CHAT
    body: Body | None = None  # its bytes are those of the exchange
    grant: Grant | None = None  # what the request was sent with
    heard: dict[str, Any] = field(default_factory=dict)  # what the reply said beside its answer: the backend's notes
    marks: set[bytes] = field(default_factory=set)  # what else no two replies share, by the backend's scheme

    def leave(self) -> None:
        """The request is not under way any more; again has no effect."""
        if self.place is not None:
            self.place.leave()
