"""The ReAct text protocol of llama-index's `ReActAgent`: tools described in the system prompt, calls written as text.

The model answers with `Thought: / Action: / Action Input:` and, once it has seen an `Observation:` for every call it
planned, with `Thought: / Answer:` (`langchain-llamaindex §3.5`).
"""

import re
from collections.abc import Sequence
from typing import Final

from zg_core.localnet.model.json import compact_json, load_json
from zg_core.localnet.model.plan import PlannedCall
from zg_core.localnet.model.request import Tool
from zg_core.localnet.model.schema_check import check_schema
from zg_core.localnet.model.values import Message

_OBSERVATION: Final = "Observation:"
_TOOL: Final = re.compile(
    r"^> Tool Name: (?P<name>[^\n]+)\nTool Description: (?P<description>.*?)\nTool Args: (?P<args>\{[^\n]*\})",
    re.MULTILINE | re.DOTALL,
)


def is_react(messages: Sequence[Message]) -> bool:
    """Whether the system prompt asks for the protocol."""
    return any(
        message.role == "system" and "Thought:" in message.text and "Action Input:" in message.text
        for message in messages
    )


def read_tools(messages: Sequence[Message]) -> tuple[Tool, ...]:
    """The tools the system prompt describes."""
    tools = []
    for message in messages:
        for match in _TOOL.finditer(message.text) if message.role == "system" else ():
            try:
                parameters = load_json(match["args"])
                check_schema(parameters, "Tool Args")
            except ValueError:
                continue  # described, but not in a way that says how to call it
            tools.append(Tool(match["name"].strip(), match["description"].strip(), parameters))
    return tuple(tools)


def is_observation(message: Message) -> bool:
    """Whether a message brings a tool's result rather than a user's words."""
    return message.role in ("user", "tool") and message.text.startswith(_OBSERVATION)


def observation(message: Message) -> str:
    """What the tool said."""
    return message.text.removeprefix(_OBSERVATION).strip()


def action_text(call: PlannedCall) -> str:
    """The turn that asks for a tool."""
    return (
        "Thought: The current language of the user is: English. I need to use a tool to help me answer the question.\n"
        f"Action: {call.name}\nAction Input: {compact_json(call.arguments)}"
    )


def answer_text(answer: str) -> str:
    """The turn that ends the loop."""
    return (
        f"Thought: I can answer without using any more tools. I'll use the user's language to answer\nAnswer: {answer}"
    )
