"""The ReAct text protocol, as llama-index formats it and parses it back."""

import json

import pytest
from llama_index.core.agent.react.formatter import ReActChatFormatter
from llama_index.core.agent.react.output_parser import ReActOutputParser
from llama_index.core.agent.react.types import ObservationReasoningStep
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool

from zg_core.localnet.model.engine import RuleModel
from zg_core.localnet.model.forms.react import is_react, read_tools
from zg_core.localnet.model.values import Message


def multiply(a: int, b: int) -> int:
    """Multiply two numbers"""
    return a * b


def add(a: int, b: int) -> int:
    """Add two numbers"""
    return a + b


def greet(name: str) -> str:
    """Greet somebody by name"""
    return f"Hello {name}, 你好"


TOOLS = [FunctionTool.from_defaults(function) for function in (multiply, add, greet)]


async def run(question):
    """An agent's loop, reduced to what the protocol needs: what it called, and what it said in the end."""
    formatter = ReActChatFormatter.from_defaults()
    model = RuleModel(model="m", created=1)
    steps, called = [], []
    for _ in range(6):
        chat = formatter.format(TOOLS, [ChatMessage(role="user", content=question)], steps)
        messages = [{"role": message.role.value, "content": message.content} for message in chat]
        reply = await model.complete("/chat/completions", json.dumps({"model": "m", "messages": messages}).encode())
        step = ReActOutputParser().parse(json.loads(reply.body)["choices"][0]["message"]["content"])
        steps.append(step)
        if step.is_done:
            return called, step.response
        tool = next(tool for tool in TOOLS if tool.metadata.name == step.action)
        called.append((step.action, step.action_input))
        steps.append(ObservationReasoningStep(observation=tool(**step.action_input).content))
    pytest.fail(f"the loop did not end: {called}")


@pytest.mark.parametrize(
    ("question", "calls", "answer"),
    [
        ("What is (121 + 2) * 5?", [("add", {"a": 121, "b": 2}), ("multiply", {"a": 123, "b": 5})], "615"),
        ("3*4 and 5+6", [("multiply", {"a": 3, "b": 4}), ("add", {"a": 5, "b": 6})], "11"),
        ("Greet 'José'", [("greet", {"name": "José"})], "Hello José, 你好"),
        ("Hello", [], "How can I help"),
    ],
)
async def test_the_loop_of_an_agent_ends_with_the_answer(question, calls, answer):
    called, response = await run(question)
    assert called == calls
    assert answer in response


def test_reads_the_tools_a_system_prompt_describes():
    chat = ReActChatFormatter.from_defaults().format(TOOLS, [ChatMessage(role="user", content="x")])
    messages = [Message(message.role.value, message.content) for message in chat]
    assert is_react(messages)
    assert [tool.name for tool in read_tools(messages)] == ["multiply", "add", "greet"]
    assert read_tools(messages)[0].parameters["required"] == ["a", "b"]


def test_an_ordinary_system_prompt_is_not_the_protocol():
    assert not is_react([Message("system", "Write down your Thought: then act.")])


def test_a_tool_described_wrongly_is_left_out():
    text = (
        '> Tool Name: a\nTool Description: b\nTool Args: {"type": 5}\n> Tool Name: c\nTool Description: d\nTool Args: {'
    )
    assert read_tools([Message("system", text)]) == ()
