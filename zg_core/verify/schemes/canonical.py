"""What OpenGradient's gateways hash and sign: a request in its canonical form, and the output of an answer. No I/O.

A gateway writes them with Python's ``json.dumps(…, sort_keys=True)`` and its defaults: blanks after ``,`` and ``:``,
everything beyond ASCII escaped, floats as Python prints them (opengradient §3.1).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from zg_core.jsontext import parse_json
from zg_core.sse import DONE, SSEDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Answer", "Signed", "has_attachments", "request_texts", "text_of"]

_ROLES = {"developer": "system"}
# Parts of a message that a client may show and no gateway signs.
_BESIDE = ("reasoning_content", "reasoning", "refusal", "audio", "annotations", "images")
_HASH = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")
_MOST_TIME = 2**40
_SORTED = json.JSONEncoder(sort_keys=True)
_SIGNED_KEYS = frozenset({"tee_signature", "tee_timestamp", "tee_request_hash", "tee_output_hash", "tee_id"})


def request_texts(payload: Mapping[str, Any]) -> list[bytes]:
    r"""The canonical forms that a gateway may have signed of a request, the newest gateways' first.

    There are several where it has attachments (older gateways print the list as Python does, newer ones leave out
    everything but type and file name: attachments are not signed) or asks for a search. None where a gateway could not
    have answered it, for example with a temperature that is no number.

    Args:
        payload: The request as it was sent: with ``messages`` for a chat, else with ``prompt``.

    Example:
        >>> request_texts({"model": "gpt-5", "prompt": "Grüße", "temperature": 0, "max_tokens": 9})
        [b'{"max_tokens": 9, "model": "gpt-5", "prompt": "Gr\\u00fc\\u00dfe", "temperature": 0.0}']
    """
    texts: list[bytes] = []
    for form in _forms(payload):
        try:
            text = _SORTED.encode(form).encode()
        except (ValueError, TypeError, RecursionError):
            continue
        if text not in texts:
            texts.append(text)
    return texts


def has_attachments(payload: Mapping[str, Any]) -> bool:
    """Whether a request holds an image or a file: newer gateways sign its kind and name, and not what is in it.

    Example:
        >>> has_attachments({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})
        True
    """
    messages = payload.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for each in content if isinstance(content, list) else ():
            if isinstance(each, dict) and each.get("type") != "text":
                return True
    return False


def _forms(payload: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    try:
        temperature = float(payload.get("temperature") or 0.0)
    except (TypeError, ValueError, OverflowError):
        return
    base: dict[str, Any] = {"model": payload.get("model"), "temperature": temperature}
    if payload.get("max_tokens") is not None:
        base["max_tokens"] = payload["max_tokens"]
    if "messages" not in payload:
        yield base | {"prompt": payload.get("prompt")} | _truthy(payload, "stop")
        return
    messages = payload["messages"]
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        return
    base |= _truthy(payload, "stop", "tools", "response_format")
    parted = any(isinstance(each.get("content"), list) for each in messages)  # else both forms are the same
    for reduced in (True, False) if parted else (True,):
        form = base | {"messages": [_message(each, reduced=reduced) for each in messages]}
        if payload.get("web_search") is True:
            yield form | {"web_search": True}
        yield form


def _truthy(payload: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: payload[name] for name in names if payload.get(name)}


def _message(message: Mapping[str, Any], *, reduced: bool) -> dict[str, Any]:
    role, content = message.get("role"), message.get("content")
    role = _ROLES.get(str(role), role)
    said: dict[str, Any] = {"role": role}
    match role:
        case "assistant":
            said["content"] = content or ""
            if message.get("tool_calls"):
                said["tool_calls"] = [_tool_call(each) for each in message["tool_calls"]]
        case "tool":
            said |= {"content": content, "tool_call_id": message.get("tool_call_id")}
        case "function":
            said |= {"content": content, "name": message.get("name")}
        case "user" if isinstance(content, list):
            said["content"] = [_part(each) for each in content] if reduced else str(content)
        case _:
            said["content"] = content
    return said


def _part(part: Any) -> Any:
    """A part of a message as newer gateways sign it: text as it is, an attachment by its type and name."""
    if not isinstance(part, dict) or part.get("type") == "text":
        return {"type": "text", "text": part.get("text")} if isinstance(part, dict) else part
    file = part.get("file")
    name = part.get("filename") or (file.get("filename") if isinstance(file, dict) else None)
    return {"type": part.get("type")} | ({"filename": name} if name else {})


def _tool_call(call: Any) -> dict[str, Any]:
    call = call if isinstance(call, dict) else {}
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    return {
        "id": call.get("id"),
        "type": call.get("type") or "function",
        "function": {"name": function.get("name"), "arguments": function.get("arguments")},
    }


@dataclass(frozen=True, slots=True)
class Signed:
    """The fields in which a gateway gives its signature (opengradient §2.6).

    Attributes:
        signature: The signature's bytes.
        timestamp: When it was made, unix seconds.
        request_hash: Hash of the request as the gateway says; what counts is our own.
        output_hash: Hash of the output as it says.
        tee_id: The enclave's id as it says.
    """

    signature: bytes
    timestamp: int
    request_hash: bytes = b""
    output_hash: bytes = b""
    tee_id: str = ""

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Signed | None:
        """Read the ``tee_…`` fields; None where they are no signature.

        Example:
            >>> Signed.parse({"tee_signature": "AAAA", "tee_timestamp": 1790000000}).timestamp
            1790000000
            >>> Signed.parse({"tee_signature": "not base64!", "tee_timestamp": 1}) is None
            True
        """
        said, time = fields.get("tee_signature"), fields.get("tee_timestamp")
        if isinstance(time, str) and time.isascii() and time.isdigit() and len(time) < 20:
            time = int(time)
        if not isinstance(said, str) or isinstance(time, bool) or not isinstance(time, int):
            return None
        try:
            signature = base64.b64decode(said, validate=True)
        except (binascii.Error, ValueError):
            return None
        if not signature or not 0 < time < _MOST_TIME:
            return None
        request, output, tee_id = (
            _hash(fields.get(name)) for name in ("tee_request_hash", "tee_output_hash", "tee_id")
        )
        return cls(signature, time, request, output, "0x" + tee_id.hex() if tee_id else "")

    @property
    def text(self) -> str:
        """The signed facts as one line, kept in receipts: the two hashes and the time."""
        return text_of(self.request_hash, self.output_hash, self.timestamp)

    @property
    def encoded(self) -> str:
        """The signature in Base64."""
        return base64.b64encode(self.signature).decode()

    @classmethod
    def of_text(cls, text: str, signature: str) -> Signed | None:
        """What `text` and the signature in Base64 say; None where they are not those of a receipt."""
        parts = text.split(":")
        if len(parts) != 3:
            return None
        fields = dict(zip(("tee_request_hash", "tee_output_hash", "tee_timestamp"), parts, strict=True))
        return cls.parse({**fields, "tee_signature": signature})


def text_of(request_hash: bytes, output_hash: bytes, timestamp: int) -> str:
    """Signed facts as the line that receipts keep."""
    return f"{request_hash.hex()}:{output_hash.hex()}:{timestamp}"


def _hash(value: object) -> bytes:
    found = _HASH.fullmatch(value) if isinstance(value, str) else None
    return b"" if found is None else bytes.fromhex(found[1])


@dataclass(slots=True)
class Answer:
    """What an answer says, put together from its events or taken from its whole body, as its caller sees it.

    Attributes:
        text: Pieces of the first choice's text.
        calls: Its tool calls by index.
        finish: Its ``finish_reason``.
        signed: The fields of the gateway's signature (``tee_…``), from the event that carries them.
        beside: Names of what is in it that no gateway signs.
        surplus: Whether it holds what a caller may see or run and no gateway signs: a second choice, a second name of a
            call, a call in another form than gateways', or its text in two places, of which a client shows one.
        places: Where its words stood: ``"delta"``, ``"message"``, ``"text"``.

    Example:
        >>> answer = Answer()
        >>> answer.take({"choices": [{"delta": {"content": "Hi"}, "index": 0, "finish_reason": "stop"}]})
        >>> answer.output, answer.ended
        (b'Hi', True)
    """

    text: list[str] = field(default_factory=list)
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    finish: str = ""
    signed: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    beside: set[str] = field(default_factory=set)
    surplus: bool = False
    places: set[str] = field(default_factory=set)
    _parsed: tuple[dict[str, Any], Signed | None] | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def read(cls, response: bytes) -> Self:
        """The answer that these bytes are: events, or one body; what is neither says nothing."""
        answer = cls()
        bare = response.removeprefix(b"\xef\xbb\xbf").lstrip()
        try:
            events = [bare] if bare[:1] == b"{" else SSEDecoder().feed(response + b"\n\n")
            for event in events:
                said = None if event == DONE else parse_json(event)
                if isinstance(said, dict):
                    answer.take(said)
            if bare[:1] == b"{":
                answer.is_body()
        except (ValueError, RecursionError):
            return answer
        return answer

    @property
    def signature(self) -> Signed | None:
        """What `signed` says, read once; None where it is no signature."""
        if self._parsed is None or self._parsed[0] is not self.signed:
            self._parsed = self.signed, Signed.parse(self.signed)
        return self._parsed[1]

    @property
    def ended(self) -> bool:
        """Whether its end was seen."""
        return bool(self.finish)

    def is_body(self) -> None:
        """It was one body and no stream: a client reads no ``delta`` in it."""
        self.surplus = self.surplus or "delta" in self.places

    def take(self, said: Mapping[str, Any]) -> None:
        """Take one event of a stream, or a whole body."""
        if "tee_signature" in said:
            self.signed = {name: said[name] for name in _SIGNED_KEYS if name in said}
        if isinstance(said.get("model"), str):
            self.model = said["model"]
        choices = said.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            if choice.get("index", 0) not in (0, None) or choice is not choices[0]:  # type: ignore[index]
                self.surplus = True
                continue
            self._choice(choice)

    def _choice(self, choice: Mapping[str, Any]) -> None:
        if isinstance(choice.get("text"), str):
            self.places.add("text")
            self.text.append(choice["text"])
        for name in ("delta", "message"):
            part = choice.get(name)
            if isinstance(part, dict):
                self.places.add(name)
                self._part(part, whole=name == "message")
        self.surplus = self.surplus or len(self.places) > 1
        if isinstance(choice.get("finish_reason"), str):
            self.finish = choice["finish_reason"]

    def _part(self, part: Mapping[str, Any], *, whole: bool) -> None:
        content = part.get("content")
        if isinstance(content, str):
            self.text.append(content)
        elif content:
            self.beside.add("content")
        self.beside.update(name for name in _BESIDE if part.get(name))
        calls = part.get("tool_calls")
        if part.get("function_call") or (calls and not isinstance(calls, list)):
            self.surplus = True  # clients run it as any other call
        for place, call in enumerate(calls if isinstance(calls, list) else ()):
            if not isinstance(call, dict):
                self.surplus = True
                continue
            index = call.get("index")
            if whole:
                index = place
            elif not isinstance(index, int) or isinstance(index, bool):  # clients take it for one more
                index = max(self.calls, default=-1) + 1
            self._call(index, call)

    def _call(self, index: int, call: Mapping[str, Any]) -> None:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        so_far = self.calls.get(index)
        if so_far is None:
            self.calls[index] = _tool_call(call)
            return
        into = so_far["function"]
        for known, more, name in ((so_far, call, "id"), (into, function, "name")):
            if known[name] and more.get(name) and (name == "name" or more[name] != known[name]):
                self.surplus = True  # clients put the pieces of a name together
            known[name] = known[name] or more.get(name)
        if isinstance(function.get("arguments"), str):
            into["arguments"] = (into["arguments"] or "") + function["arguments"]

    @property
    def output(self) -> bytes:
        """What a gateway signs of it: the tool calls where it has any, else its text.

        Text beside tool calls is not signed; tool calls beside a signed text would be, and therefore never pass.
        """
        if self.calls:
            try:
                return _SORTED.encode([self.calls[index] for index in sorted(self.calls)]).encode()
            except (ValueError, TypeError, RecursionError):
                return b""
        return "".join(self.text).encode("utf-8", "surrogatepass")

    @property
    def unsigned(self) -> tuple[str, ...]:
        """Names of what it holds, or says of itself, that the signature does not cover (opengradient §3.1)."""
        beside = set(self.beside)
        if self.calls and any(self.text):
            beside.add("text")
        return ("usage", "model", "finish_reason", *sorted(beside))
