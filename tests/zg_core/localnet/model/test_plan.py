"""Which tools are called, with what, and when it is enough."""

import pytest

from zg_core.localnet.model.plan import best_tool, plan_calls
from zg_core.localnet.model.request import Tool


def tool(name, description="", required=None, **properties):
    required = list(properties) if required is None else required
    return Tool(name, description, {"type": "object", "properties": properties, "required": required})


STRING, INTEGER = {"type": "string"}, {"type": "integer"}
ADD = tool("add", "Add two numbers", a=INTEGER, b=INTEGER)
MULTIPLY = tool("multiply", "Multiply two numbers", a=INTEGER, b=INTEGER)
WEATHER = tool("get_weather", "Get the weather at a place.", location=STRING)
TIME = tool("get_time", "Get the current time")
MAGIC = tool("magic_function", "Applies a magic function to an input.", input=INTEGER)
CALCULATOR = tool("calculator", "Computes", expression=STRING)
ALL = (ADD, MULTIPLY, WEATHER, TIME, MAGIC)


def plan(text, tools=ALL, **options):
    return [[(call.name, dict(call.arguments)) for call in step] for step in plan_calls(text, tools, **options)]


def one(name, **arguments):
    return [[(name, arguments)]]


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("What is the weather in San Francisco, CA?", one("get_weather", location="San Francisco, CA")),
        ("What time is it?", one("get_time")),
        ("What is the value of magic_function(3)? Use the tool.", one("magic_function", input=3)),
        ("Use magic_function with 7", one("magic_function", input=7)),
        ("What is 1 + 2", one("add", a=1, b=2)),
        ("What is 12 times 7?", one("multiply", a=12, b=7)),
        (
            "What is the weather in Paris and London?",
            [[("get_weather", {"location": "Paris"}), ("get_weather", {"location": "London"})]],
        ),
        (
            "Tell me the time and the weather in Paris",
            [[("get_time", {}), ("get_weather", {"location": "Paris"})]],
        ),
        ("3*4 and 5+6", [[("multiply", {"a": 3, "b": 4}), ("add", {"a": 5, "b": 6})]]),
        (
            "magic_function(1), magic_function(input=2)",
            [[("magic_function", {"input": 1}), ("magic_function", {"input": 2})]],
        ),
        ('get_weather("Oslo")', one("get_weather", location="Oslo")),
        ("get_weather(Oslo)", one("get_weather", location="Oslo")),
        ("Hello!", []),
        ("", []),
        ("Tell me a joke", []),
        ("What is the weather in Paris? Answer without using tools.", []),
    ],
)
def test_plans(text, calls):
    assert plan(text) == calls


def test_what_needs_a_result_waits_for_it():
    assert plan("What is (121 + 2) * 5?") == [
        [("add", {"a": 121, "b": 2})],
        [("multiply", {"a": 123, "b": 5})],
    ]
    assert plan("What is (1+2)*(3+4)?") == [
        [("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})],
        [("multiply", {"a": 3, "b": 7})],
    ]


def test_a_calculator_gets_whole_expressions():
    assert plan("What is (3 + 4) * 2?", (WEATHER, CALCULATOR)) == one("calculator", expression="(3 + 4) * 2")


def test_arithmetic_without_a_tool_for_it_is_not_called():
    assert plan("What is 3 - 4?", (ADD, MULTIPLY)) == []
    assert plan("What is 3 * 4?", (WEATHER,)) == []


def test_calls_that_do_not_fit_the_tool_are_not_taken_literally():
    assert plan("What does magic_function(x=1, y=2) do with 5?") == one("magic_function", input=1)


def test_a_name_weighs_more_than_a_description():
    described = tool("lookup", "Look up the weather at a place", place=STRING)
    assert best_tool("the weather in Paris", (described, WEATHER)) is WEATHER
    assert best_tool("nothing in common", (described, WEATHER)) is None


def test_the_first_of_equals_is_taken():
    twin = tool("weather_report", "Report.", location=STRING)
    assert best_tool("the weather", (WEATHER, twin)) is WEATHER
    assert best_tool("the weather", (twin, WEATHER)) is twin


def test_optional_arguments_are_left_out_unless_spoken_of():
    search = tool("search", "Search the web", ["query"], query=STRING, limit=INTEGER)
    assert plan("search for 'llamas'", (search,)) == one("search", query="llamas")
    assert plan("search for 'llamas', limit 5", (search,)) == one("search", query="llamas", limit=5)


def test_a_plan_is_bounded():
    text = " and ".join(f"{number}+1" for number in range(1, 100))
    assert sum(map(len, plan(text, (CALCULATOR,)))) <= 16
