"""From the events of a streamed reply to LangChain's chunks.

LangChain adds chunks up: equal keys are concatenated or summed. So whatever is said once about the whole reply (why it
finished, which model, how many tokens, what it cost, the verdict) goes into one chunk: the last, empty one.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.utils.json import parse_partial_json

from langchain_zerog._blocks import blocks_beside
from langchain_zerog._convert import reasoning_kwargs_of, reply_metadata, usage_metadata
from langchain_zerog._receipts import media_of
from langchain_zerog.media.pictures import IN_CONTENT
from zg_core.calls.alike import Words
from zg_core.frameworks.tool_calls import ToolCallMerger, is_complete
from zg_core.receipts.recent import hash_of
from zg_core.tasks.replies import Beside, Chosen, beside_of, content_text, images_in_content, reasoning_name, usage_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from zg_core.receipts.model import Receipt

__all__ = ["ChunkMaker"]

# Under output_version="v1" LangChain numbers text and reasoning blocks from 0 and merges blocks of one number,
# whatever their type, so tool calls are numbered out of their way.
_FIRST_INDEX_V1 = 1000


class ChunkMaker:
    """Makes chunks of the events of one stream.

    Args:
        output_version: The model's; ``"v1"`` moves the numbers of tool calls.
    """

    def __init__(self, output_version: str | None = None) -> None:
        self._v1 = output_version == "v1"
        self._calls = _Chunks(_FIRST_INDEX_V1 if self._v1 else 0)
        self._chosen, self._beside = Chosen(), Beside()
        self._text: list[str] = []
        self._about: dict[str, Any] = {}  # what events say beside choices and usage: as first said
        self._thought = ""  # the server's name for reasoning
        self._in_content = False  # whether images stand there
        self._finish_reason: str | None = None
        self._usage: Any = None

    def chunks(self, seen: Iterable[Mapping[str, Any] | Words]) -> Iterator[ChatGenerationChunk]:
        """The chunks for events that came at once."""
        for each in seen:
            if not isinstance(each, Words):
                if (chunk := self.chunk(each)) is not None:
                    yield chunk
            elif not each.pattern.bare:
                yield from self.chunks(map(each.pattern.event, each.texts))
            elif (
                self._chosen.of(each.pattern.event("")) is not None
            ):  # all else was said by the event it is learnt from
                make, said = _text_chunks(), self._text
                for text in each.texts:
                    if text:
                        said.append(text)
                        yield make(text)

    def chunk(self, event: Mapping[str, Any]) -> ChatGenerationChunk | None:
        """The chunk for `event`; None when it adds nothing to the message by itself."""
        for name, value in event.items():
            if value is not None and name not in self._about and name not in _IN_CHUNKS:
                self._about[name] = value
        if ("usage" in event or "x_groq" in event) and (usage := usage_in(event)) is not None:
            self._usage = usage
        if (choice := self._chosen.of(event)) is None:
            return None
        if (reason := choice.get("finish_reason")) and isinstance(reason, str):
            self._finish_reason = reason
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = {}
        if len(delta) == 1 and type(text := delta.get("content")) is str and not choice.get("logprobs"):
            if text:  # what nearly all of them are
                self._text.append(text)
            return _text_chunks()(text) if text else None
        content = content_text(delta.get("content"))
        self._text.append(content)
        beside = beside_of(delta)
        self._beside.take(beside)
        self._in_content = self._in_content or ("images" in beside and images_in_content(delta))
        if thought := reasoning_kwargs_of(delta, named=bool(self._thought)):
            self._thought = self._thought or reasoning_name(delta)
        if isinstance(refusal := beside.get("refusal"), str):  # what is in pieces is shown in pieces
            thought["refusal"] = refusal
        calls = self._calls.take(delta)
        logprobs = choice.get("logprobs")
        if not (content or thought or calls or logprobs):
            return None
        if not (thought or calls or logprobs):
            return _text_chunks()(content)
        return ChatGenerationChunk(
            message=AIMessageChunk(content=content, additional_kwargs=thought, tool_call_chunks=calls),
            generation_info={"logprobs": logprobs} if logprobs else None,
        )

    def last(self, receipt: Receipt | None) -> ChatGenerationChunk:
        """The final chunk: empty, with everything that is said once."""
        assert receipt is not None  # noqa: S101 - a stream that was read to its end has one
        beside = blocks_beside(self._beside.whole)
        said = hash_of("".join(self._text), self._calls.whole(), media_of(beside))
        metadata = reply_metadata(self._about, receipt, said, self._thought)
        if self._in_content:
            metadata[IN_CONTENT] = True
        return ChatGenerationChunk(
            message=AIMessageChunk(
                # In the v1 format content is what LangChain made of the chunks, before this was known.
                content=_numbered(beside) if self._v1 and beside else "",
                additional_kwargs={name: value for name, value in self._beside.whole.items() if name != "refusal"},
                usage_metadata=usage_metadata(self._usage),
                response_metadata=metadata,
                tool_call_chunks=self._calls.spoil(),
                chunk_position="last",
            ),
            generation_info={"finish_reason": self._finish_reason} if self._finish_reason else None,
        )


def _numbered(blocks: list[Any]) -> list[Any]:
    """`blocks` under numbers of their own: LangChain gives neighbours of one type the same, and merges them."""
    return [{**block, "index": _FIRST_INDEX_V1 * 2 + number} for number, block in enumerate(blocks)]


@cache
def _text_chunks() -> Callable[[str], ChatGenerationChunk]:
    """What makes a chunk of nothing but a text.

    Most chunks are such, and validating their fields, all empty but one, costs more than half of making them; so they
    are copies of one that LangChain has validated. Where such a copy is not what it should be, all are validated.
    """
    try:
        copies = _copies()
        if _insides(copies("a")) == _insides(_validated("a")):
            return copies
    except (AttributeError, TypeError):
        pass  # pydantic keeps its objects in another way
    return _validated


def _validated(text: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


def _copies() -> Callable[[str], ChatGenerationChunk]:
    """Makes what `_validated` makes, as pydantic makes copies."""
    model = _validated("a")
    outer, inner = vars(model), vars(model.message)
    fresh = [(name, type(value)) for name, value in inner.items() if isinstance(value, dict | list)]
    said, outer_said = model.message.__pydantic_fields_set__, model.__pydantic_fields_set__
    beside = model.message.__pydantic_extra__
    new, put = object.__new__, object.__setattr__

    def make(text: str) -> ChatGenerationChunk:
        values = inner.copy()
        for name, kind in fresh:  # no two chunks share what a reader of one may change
            values[name] = kind()
        values["content"] = text
        message = new(AIMessageChunk)
        put(message, "__dict__", values)
        put(message, "__pydantic_fields_set__", said.copy())
        put(message, "__pydantic_extra__", None if beside is None else {})
        put(message, "__pydantic_private__", None)
        values = outer.copy()
        values["message"], values["text"] = message, text
        made = new(ChatGenerationChunk)
        put(made, "__dict__", values)
        put(made, "__pydantic_fields_set__", outer_said.copy())
        put(made, "__pydantic_extra__", None)
        put(made, "__pydantic_private__", None)
        return made

    return make


def _insides(chunk: ChatGenerationChunk) -> list[Any]:
    """All that pydantic keeps of a chunk and of its message, and of which type."""
    return [
        (
            type(one),
            list(vars(one)),
            *(getattr(one, f"__pydantic_{kind}__") for kind in ("fields_set", "extra", "private")),
        )
        for one in (chunk, chunk.message)
    ] + [chunk, {**vars(chunk.message)}]


class _Chunks:
    """The fragments of tool calls as LangChain's chunks."""

    def __init__(self, first_index: int) -> None:
        self._merger = ToolCallMerger(first_index)

    def whole(self) -> list[tuple[str, Any]]:
        """Names and arguments of the calls that LangChain makes of all chunks, `spoil` among them."""
        if not self._merger.calls:
            return []
        ends = {chunk["index"]: chunk["args"] or "" for chunk in self.spoil()}
        whole = ((call, call.arguments + ends.get(call.index, "")) for call in self._merger.calls)
        chunks = [tool_call_chunk(name=call.name, args=args, id=call.id, index=call.index) for call, args in whole]
        made = AIMessageChunk(content="", tool_call_chunks=chunks)
        return [(call["name"], call["args"]) for call in made.tool_calls]

    def spoil(self) -> list[ToolCallChunk]:
        """Chunks that keep calls without a name, or whose arguments are no JSON object, from being mended.

        LangChain closes what is open in the arguments of a streamed call: from a reply that was cut off it would make a
        call with half a path. Not streamed, such a call is invalid; a bracket that closes nothing makes it so here.
        """
        broken = [
            call
            for call in self._merger.calls
            if not call.name or (call.arguments.strip() and not is_complete(call.arguments))
        ]
        return [
            tool_call_chunk(name=None, args=end, id=None, index=call.index)
            for call in broken
            if (end := _unmendable_end(call.arguments)) is not None
        ]

    def take(self, delta: Mapping[str, Any]) -> list[ToolCallChunk]:
        """The chunks for the calls of one delta."""
        if not (delta.get("tool_calls") or delta.get("function_call")):
            return []
        return [
            tool_call_chunk(name=each.name, args=each.arguments, id=each.id, index=each.index)
            for each in self._merger.take(delta)
        ]


_IN_CHUNKS = frozenset({"choices", "usage", "x_groq"})


def _unmendable_end(arguments: str) -> str | None:
    """What to add so that LangChain's lenient parser makes no object of `arguments`; None if nothing is needed."""
    for end in ("", "]", "}", '"]', '"}', '\\"]', '\\"}'):
        try:
            mended = parse_partial_json(arguments + end)
        except ValueError:
            return end or None
        if not isinstance(mended, dict):
            return end or None
    return None
