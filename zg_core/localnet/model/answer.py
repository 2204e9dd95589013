"""From a checked request to an answer: which of the model's abilities takes it, in one place."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from zg_core.localnet.model.evidence import Evidence
from zg_core.localnet.model.forms import react
from zg_core.localnet.model.forms.spoken import spoken_answer
from zg_core.localnet.model.json import compact_json, find_objects
from zg_core.localnet.model.plan import Plan, PlannedCall, best_tool, fill_call, plan_calls
from zg_core.localnet.model.render import Answer
from zg_core.localnet.model.request import ChatRequest, Tool
from zg_core.localnet.model.rules import Conversation, text_answer
from zg_core.localnet.model.schema import fill_schema
from zg_core.localnet.model.schema_check import check_schema
from zg_core.localnet.model.values import InvalidRequestError, Message, ToolCall
from zg_core.localnet.model.words import quoted, squeeze, topic

_LONGEST: Final = 20_000
"""Characters of a turn the rules look at; of a longer one its beginning and its end."""
_KEY: Final = re.compile(r"[A-Za-z_][\w-]{0,63}")
_FORMAT_INSTRUCTIONS: Final = re.compile(r"Here's a JSON schema to follow|The output should be formatted as a JSON")


@dataclass(frozen=True, slots=True)
class Turn:
    """The part of a conversation that is being answered: what the user said last, and what tools returned since.

    `text` is what the rules look at, `whole` all of it; they differ for very long turns only.
    """

    text: str
    whole: str
    calls_made: tuple[str, ...]
    results: tuple[str, ...]


def answer_chat(request: ChatRequest) -> Answer:
    """Answer `request`: with tool calls, in the form it asks for, or in words."""
    following_react = not request.tools and react.is_react(request.messages)
    turn = read_turn(request.messages, following_react=following_react)
    reasoning = ""
    if request.thinks:
        reasoning = f"The request is about {topic(turn.text)}. I look for what it asks and answer just that."
    calls = _tool_calls(request, turn)
    if calls:
        return Answer(calls=_with_ids(calls, request.messages), reasoning=reasoning)
    if following_react:
        return Answer(_react_turn(request.messages, turn), reasoning=reasoning)
    return Answer(_content(request, turn), reasoning=reasoning)


def read_turn(messages: Sequence[Message], *, following_react: bool = False) -> Turn:
    """The last user turn of `messages`; ReAct's observations count as results although users send them."""
    start = len(messages) - 1
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "user" and not (following_react and react.is_observation(messages[index])):
            start = index
            break
    since = messages[start + 1 :]
    if following_react:
        results = tuple(react.observation(message) for message in since if react.is_observation(message))
        made = tuple("" for _ in results)
    else:
        results = tuple(_result_text(message) for message in since if message.role == "tool")
        made = tuple(call.name for message in since for call in message.tool_calls)
    whole = text = squeeze(messages[start].text)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}\n{text[-_LONGEST // 2 :]}"
    return Turn(text, whole, made, results)


def _result_text(message: Message) -> str:
    attached = [f"[{media.kind} {media.media_type}, {media.size} bytes]" for media in message.media]
    return "\n".join(part for part in (message.text, *attached) if part)


def _tool_calls(request: ChatRequest, turn: Turn) -> list[PlannedCall]:
    if request.tool_choice == "none":
        return []
    if request.tool_choice == "named":
        tools: tuple[Tool, ...] = tuple(tool for tool in request.tools if tool.name == request.tool_name)
        calls = plan_calls(turn.text, tools, generous=True)[:1]
        chosen = calls[0] if calls and not turn.results else []
        chosen = chosen or [fill_call(tools[0], turn.text, results=turn.results, generous=True)]
    elif calls_left := _remaining(
        plan_calls(turn.text, request.tools, generous=_is_form(request)), len(turn.calls_made)
    ):
        chosen = calls_left
    elif request.tool_choice == "required":
        unused = [tool for tool in request.tools if tool.name not in turn.calls_made] or request.tools
        # Frameworks that take the final answer through a tool offer that tool last.
        tool = best_tool(turn.text, unused) or unused[-1 if turn.results else 0]
        chosen = [fill_call(tool, turn.text, results=turn.results, generous=True)]
    else:
        chosen = []
    return chosen if request.parallel_tool_calls else chosen[:1]


def _is_form(request: ChatRequest) -> bool:
    """A single tool that must be called is a way to ask for structured output."""
    return request.tool_choice == "required" and len(request.tools) == 1


def _remaining(plan: Plan, made: int) -> list[PlannedCall]:
    """The calls of the first step that is not done, without those of it that are."""
    for step in plan:
        if made < len(step):
            return step[made:]
        made -= len(step)
    return []


def _with_ids(calls: Sequence[PlannedCall], messages: Sequence[Message]) -> tuple[ToolCall, ...]:
    """Ids made from the conversation so far: the same for the same request, new in every turn."""
    seed = hashlib.sha256(repr(messages).encode("utf-8", "replace"))
    made = []
    for index, call in enumerate(calls):
        digest = hashlib.sha256(f"{seed.hexdigest()}|{index}|{call.name}".encode()).hexdigest()
        made.append(ToolCall(f"call_{digest[:24]}", call.name, compact_json(call.arguments)))
    return tuple(made)


def _react_turn(messages: Sequence[Message], turn: Turn) -> str:
    left = _remaining(plan_calls(turn.text, react.read_tools(messages)), len(turn.results))
    if left:
        return react.action_text(left[0])
    return react.answer_text(text_answer(_conversation(messages, turn)))


def _content(request: ChatRequest, turn: Turn) -> str:
    evidence = Evidence(turn.text, results=turn.results)
    if request.format == "json_schema":
        return compact_json(fill_schema(request.schema, evidence, generous=True))
    schema = _schema_in(turn.whole, request.messages)
    if schema is not None:
        # The instructions that carry the schema are full of words in quotes; what the user wants stands around them.
        plain = _FORMAT_INSTRUCTIONS.split(turn.text)[0]
        return compact_json(fill_schema(schema, Evidence(plain, results=turn.results), generous=True))
    conversation = _conversation(request.messages, turn)
    spoken = None if turn.results else spoken_answer(turn.whole[-_LONGEST:], conversation.system)
    if spoken is not None and request.format == "text":
        return spoken
    if request.format == "json_object":
        return compact_json(_json_object(conversation))
    return text_answer(conversation)


def _conversation(messages: Sequence[Message], turn: Turn) -> Conversation:
    return Conversation(turn.text, turn.whole, turn.results, tuple(messages))


def _json_object(conversation: Conversation) -> dict[str, Any]:
    """An object with the keys quoted in the prompt."""
    system = "\n".join(message.text for message in conversation.messages if message.role == "system")
    for text in (conversation.query, system):
        keys = [word for word in quoted(text) if _KEY.fullmatch(word)]
        if keys:
            plain = text
            for key in keys:
                plain = plain.replace(key, "")
            evidence = Evidence(plain, results=conversation.results)
            return {key: next(evidence.strings(key)) for key in dict.fromkeys(keys)}
    return {"answer": text_answer(conversation)}


def _schema_in(text: str, messages: Sequence[Message]) -> dict[str, Any] | None:
    """The JSON schema a prompt asks to follow, as output parsers of the frameworks write it."""
    for place in (text, *(message.text for message in messages if message.role == "system")):
        if "schema" in place.lower() and '"properties"' in place:
            # Templates double the braces of what they hold, and some parsers send it so.
            for written in (place, place.replace("{{", "{").replace("}}", "}")):
                found = [value for value in find_objects(written) if "properties" in value and _is_schema(value)]
                if found:
                    return found[-1]
    return None


def _is_schema(value: Any) -> bool:
    try:
        check_schema(value, "schema")
    except InvalidRequestError:
        return False
    return True
