"""The model as a provider meets it: whole answers, streams that add up to them, tools, structure, usage, limits."""

import asyncio
import itertools
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.moments import instead
from zg_core.localnet.model.engine import RuleModel, UpstreamReply
from zg_core.localnet.model.tokens import count_tokens

MODEL = RuleModel(model="rules", created=1_700_000_000)


def tool(name, description="", required=None, /, **properties):
    required = list(properties) if required is None else required
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


STRING, INTEGER = {"type": "string"}, {"type": "integer"}
MULTIPLY = tool("multiply", "Multiply two numbers", a=INTEGER, b=INTEGER)
ADD = tool("add", "Add two numbers", a=INTEGER, b=INTEGER)
WEATHER = tool("get_weather", "Get the weather at a place.", location=STRING)
NOTHING = tool("get_time", "Get the current time")
CUSTOMER = tool("create_customer", "Create a customer", customer_name=STRING, description=STRING)


def request(*turns, **options):
    messages = [{"role": "user", "content": turn} if isinstance(turn, str) else turn for turn in turns]
    return json.dumps({"model": "rules", "messages": messages, **options}).encode()


async def ask(*turns, model=MODEL, **options):
    reply = await model.complete("/chat/completions", request(*turns, **options))
    return reply.status, json.loads(reply.body)


async def answer(*turns, model=MODEL, **options):
    status, document = await ask(*turns, model=model, **options)
    assert status == 200, document
    return document


async def message(*turns, **options):
    return (await answer(*turns, **options))["choices"][0]["message"]


async def calls(*turns, **options):
    made = (await message(*turns, **options)).get("tool_calls", [])
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in made]


async def stream(*turns, model=MODEL, **options):
    body = request(*turns, stream=True, **options)
    return [event async for event in model.stream("/chat/completions", body)]


def documents(events):
    """The chunks of a stream; every event must be one line and a blank one."""
    assert all(re.fullmatch(rb"data: [^\n]+\n\n", event) for event in events), events
    assert events[-1] == b"data: [DONE]\n\n"
    return [json.loads(event.removeprefix(b"data: ")) for event in events[:-1]]


def merged(chunks):
    """What a client makes of a stream, as a message of the other form."""
    whole = {"role": None, "content": None}
    finish = None
    made = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            delta = choice["delta"]
            whole["role"] = delta.get("role", whole["role"])
            for key in ("content", "reasoning_content"):
                if delta.get(key) is not None:
                    whole[key] = (whole.get(key) or "") + delta[key]
            for piece in delta.get("tool_calls", ()):
                known = made.setdefault(piece["index"], {"function": {"arguments": ""}})
                known.update({key: piece[key] for key in ("id", "type") if key in piece})
                known["function"]["name"] = piece["function"].get("name", known["function"].get("name"))
                known["function"]["arguments"] += piece["function"]["arguments"]
            finish = choice["finish_reason"] or finish
    if made:
        whole["tool_calls"] = [made[index] for index in sorted(made)]
    return whole, finish


# Shape.


async def test_a_whole_answer_has_the_shape_of_openai():
    document = await answer("2+2", model=MODEL)
    assert re.fullmatch(r"chatcmpl-[0-9a-f]{32}", document.pop("id"))
    assert document == {
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "rules",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "2+2 = 4"},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 6,
            "total_tokens": 16,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


async def test_a_stream_has_a_role_then_pieces_then_a_finish_then_usage_then_done():
    chunks = documents(await stream("2+2", stream_options={"include_usage": True}))
    assert {(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in chunks} == {
        (chunks[0]["id"], "chat.completion.chunk", 1_700_000_000, "rules")
    }
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert [delta["content"] for delta in deltas[1:-1]] == ["2", "+", "2", " ", "=", " 4"]
    assert (deltas[-1], chunks[-2]["choices"][0]["finish_reason"]) == ({}, "stop")
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == (await answer("2+2"))["usage"]
    assert all("usage" not in chunk for chunk in chunks[:-1])


async def test_usage_is_streamed_only_if_asked_for():
    for options in ({}, {"stream_options": {"include_usage": False}}):
        chunks = documents(await stream("2+2", **options))
        assert all("usage" not in chunk for chunk in chunks)
        assert all(chunk["choices"] for chunk in chunks)


async def test_the_model_of_the_request_is_echoed():
    body = json.dumps({"model": "another", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    assert json.loads((await MODEL.complete("/chat/completions", body)).body)["model"] == "another"


async def test_json_is_compact_and_in_real_utf8():
    reply = await MODEL.complete("/chat/completions", request("Say 你好啊集团"))
    assert "你好啊集团".encode() in reply.body
    assert b'", "' not in reply.body
    assert reply.headers["content-type"] == "application/json"


async def test_equal_requests_get_equal_answers_with_different_ids():
    first, second = await answer("Explain ledgers"), await answer("Explain ledgers")
    assert first.pop("id") != second.pop("id")
    assert first == second


async def test_two_models_made_alike_answer_alike():
    bodies = [
        (await RuleModel(model="m", created=5).complete("/chat/completions", request("Hello"))).body for _ in range(2)
    ]
    assert bodies[0] == bodies[1]


async def test_created_comes_from_the_clock():
    class Clock:
        def now(self):
            return 1234.9

    assert (await answer("Hi", model=RuleModel(model="m", clock=Clock())))["created"] == 1234


# Stream and whole answer.

PROMPTS = st.text(max_size=200) | st.sampled_from(
    [
        "Write 60 words about cats",
        "What is 12 * 7?",
        "Say 你好啊集团 🙂",
        "3*4 and 5+6",
        "What is the weather in Paris and London?",
        "Create a customer named 'こんにちは株式会社'",
        "get_time()",
    ]
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "tools": st.just([MULTIPLY, ADD, WEATHER, NOTHING, CUSTOMER]),
        "stop": st.sampled_from([["you"], ["a", " "], "e", []]),
        "max_tokens": st.integers(1, 40),
        "reasoning_effort": st.sampled_from(["low", "medium", "high"]),
        "response_format": st.sampled_from(
            [
                {"type": "json_object"},
                {"type": "json_schema", "json_schema": {"name": "x", "schema": WEATHER["function"]["parameters"]}},
            ]
        ),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PROMPTS, OPTIONS, st.sampled_from(["auto", "required", "none"]))
def test_a_stream_adds_up_to_the_whole_answer(prompt, options, choice):
    if "tools" in options:
        options = {**options, "tool_choice": choice}
    whole = asyncio.run(answer(prompt, **options))
    chunks = documents(asyncio.run(stream(prompt, **options, stream_options={"include_usage": True})))
    told, finish = merged(chunks)
    assert told == whole["choices"][0]["message"]
    assert finish == whole["choices"][0]["finish_reason"]
    assert chunks[-1]["usage"] == whole["usage"]
    assert whole["usage"]["completion_tokens"] <= options.get("max_tokens", 10**9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_usage_adds_up(turns):
    usage = asyncio.run(answer(*turns))["usage"]
    assert usage["prompt_tokens"] == 3 + sum(4 + count_tokens(turn) for turn in turns)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_completion_tokens_are_the_tokens_of_the_answer():
    document = await answer("Write 60 words about cats")
    assert document["usage"]["completion_tokens"] == count_tokens(document["choices"][0]["message"]["content"])


# Limits.


async def test_stops_before_a_stop_sequence():
    choice = (await answer("hi", stop=["you", "never"]))["choices"][0]
    assert choice["message"]["content"] == "Hello! How can I help "
    assert choice["finish_reason"] == "stop"


async def test_the_earliest_stop_sequence_counts():
    assert (await message("Say one two three", stop=["three", "two"]))["content"] == "one "


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_ends_at_the_token_limit(name):
    document = await answer("Write a story about a cat.", **{name: 5})
    assert document["choices"][0]["finish_reason"] == "length"
    assert document["usage"]["completion_tokens"] == 5
    assert count_tokens(document["choices"][0]["message"]["content"]) == 5


async def test_a_tool_call_is_cut_at_the_limit_too():
    document = await answer("What is 12 * 7?", tools=[MULTIPLY], max_tokens=4)
    call = document["choices"][0]["message"]["tool_calls"][0]["function"]
    assert document["choices"][0]["finish_reason"] == "length"
    assert '{"a":12,"b":7}'.startswith(call["arguments"])
    assert call["arguments"] != '{"a":12,"b":7}'


async def test_a_prompt_that_leaves_no_room_is_refused():
    small = RuleModel(model="m", context_length=50)
    status, document = await ask("word " * 60, model=small)
    assert (status, document["error"]["code"]) == (400, "context_length_exceeded")
    assert "maximum context length is 50 tokens" in document["error"]["message"]
    assert document["error"]["type"] == "invalid_request_error"


async def test_an_answer_fills_the_context_at_most():
    small = RuleModel(model="m", context_length=40)
    document = await answer("Write 500 words about cats", model=small)
    assert document["usage"]["total_tokens"] == 40
    assert document["choices"][0]["finish_reason"] == "length"


async def test_an_unknown_path_is_404():
    reply = await MODEL.complete("/images/variations", b"{}")
    assert (reply.status, json.loads(reply.body)["error"]["type"]) == (404, "invalid_request_error")


async def test_a_refused_stream_is_one_reply():
    items = [item async for item in MODEL.stream("/chat/completions", request("Hi", stream=True, n=2))]
    assert len(items) == 1
    assert isinstance(items[0], UpstreamReply)
    assert (items[0].status, json.loads(items[0].body)["error"]["param"]) == (400, "n")


# Tools.


async def test_calls_a_tool_after_a_user_turn_and_answers_after_its_result():
    question = {"role": "user", "content": "What is the weather in San Francisco, CA?"}
    first = await answer(question, tools=[WEATHER])
    assert first["choices"][0]["finish_reason"] == "tool_calls"
    call = first["choices"][0]["message"]
    assert call["content"] is None
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"location": "San Francisco, CA"}
    result = {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "It's sunny."}
    assert await message(question, call, result, tools=[WEATHER]) == {"role": "assistant", "content": "It's sunny."}
    again = await calls(
        question,
        call,
        result,
        {"role": "assistant", "content": "Sunny."},
        "And in Oslo, what weather?",
        tools=[WEATHER],
    )
    assert again == [("get_weather", {"location": "Oslo"})]


async def loop(question, tools, functions, **options):
    """An agent's loop."""
    messages, rounds = [{"role": "user", "content": question}], []
    for _ in range(8):
        told = await message(*messages, tools=tools, **options)
        messages.append(told)
        if "tool_calls" not in told:
            return rounds, told["content"], messages
        rounds.append(len(told["tool_calls"]))
        for call in told["tool_calls"]:
            value = functions[call["function"]["name"]](**json.loads(call["function"]["arguments"]))
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": str(value)})
    pytest.fail(f"the loop did not end: {messages}")


FUNCTIONS = {"multiply": lambda a, b: a * b, "add": lambda a, b: a + b}


@pytest.mark.parametrize(
    ("question", "options", "rounds", "ending"),
    [
        ("What is (121 + 2) * 5?", {}, [1, 1], "(121 + 2) * 5 = 615"),
        ("3*4 and 5+6", {}, [2], "- 12\n- 11"),
        ("3*4 and 5+6", {"parallel_tool_calls": False}, [1, 1], "- 12\n- 11"),
        ("Hello", {}, [], "Hello! How can I help you today?"),
    ],
)
async def test_an_agent_loop_makes_every_call_once_and_ends(question, options, rounds, ending):
    made, text, messages = await loop(question, [MULTIPLY, ADD], FUNCTIONS, **options)
    assert (made, text) == (rounds, ending)
    ids = [call["id"] for told in messages for call in told.get("tool_calls", ())]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"call_[0-9a-f]{24}", call_id) for call_id in ids)


async def test_call_ids_are_the_same_for_the_same_conversation_only():
    async def ids(*turns):
        return [call["id"] for call in (await message(*turns, tools=[MULTIPLY, ADD]))["tool_calls"]]

    assert await ids("3*4 and 5+6") == await ids("3*4 and 5+6")
    assert set(await ids("3*4 and 5+6")).isdisjoint(await ids({"role": "system", "content": "x"}, "3*4 and 5+6"))


@pytest.mark.parametrize(
    ("choice", "prompt", "expected"),
    [
        ("none", "What is 3 * 4?", []),
        ("auto", "Hello!", []),
        ("required", "Hello!", [("multiply", {"a": 1, "b": 1})]),
        ({"type": "function", "function": {"name": "get_time"}}, "What is 3 * 4?", [("get_time", {})]),
        ({"type": "function", "function": {"name": "multiply"}}, "with 5 and 6", [("multiply", {"a": 5, "b": 6})]),
    ],
    ids=["none", "auto", "required", "named", "named with arguments"],
)
async def test_tool_choice(choice, prompt, expected):
    assert await calls(prompt, tools=[MULTIPLY, NOTHING], tool_choice=choice) == expected


async def test_a_required_choice_moves_on_to_the_tool_that_takes_the_answer():
    report = tool("WeatherReport", "Final report", summary=STRING)
    first = await message("What is the weather in Paris?", tools=[WEATHER, report], tool_choice="required")
    assert first["tool_calls"][0]["function"]["name"] == "get_weather"
    result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "21 degrees"}
    made = await calls("What is the weather in Paris?", first, result, tools=[WEATHER, report], tool_choice="required")
    assert made == [("WeatherReport", {"summary": "21 degrees"})]


async def test_a_required_choice_ends_with_the_last_tool_if_no_other_fits():
    report = tool("Report", "Final", summary=STRING)
    tools = [ADD, WEATHER, report]
    first = await message("What is 3 + 4?", tools=tools, tool_choice="required")
    assert first["tool_calls"][0]["function"]["name"] == "add"
    result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "7"}
    made = await calls("What is 3 + 4?", first, result, tools=tools, tool_choice="required")
    assert made == [("Report", {"summary": "7"})]


async def test_a_tool_that_never_works_ends_the_loop_too():
    rounds, text, _ = await loop("What is 3 * 4?", [MULTIPLY], {"multiply": lambda a, b: "Error: out of order"})
    assert (rounds, text) == ([1], "Error: out of order")


@pytest.mark.parametrize("name", ["你好啊集团", "こんにちは株式会社", 'O"Neil', "a\\b"])
async def test_arguments_keep_their_characters(name):
    quote = "「{}」"
    made = await calls(f"Create a customer named {quote.format(name)}", tools=[CUSTOMER], tool_choice="required")
    assert made[0][1]["customer_name"] == name
    body = request(f"Create a customer named {quote.format(name)}", tools=[CUSTOMER], tool_choice="required")
    raw = (await MODEL.complete("/chat/completions", body)).body
    assert b"\\u" not in raw


async def test_arguments_are_streamed_in_pieces_with_id_and_name_in_the_first_only():
    chunks = documents(await stream("3*4 and 5+6", tools=[MULTIPLY, ADD]))
    pieces = [
        piece for chunk in chunks for choice in chunk["choices"] for piece in choice["delta"].get("tool_calls", ())
    ]
    for index, name in enumerate(["multiply", "add"]):
        first, *rest = [piece for piece in pieces if piece["index"] == index]
        assert first["function"] == {"name": name, "arguments": ""}
        assert first["id"].startswith("call_")
        assert first["type"] == "function"
        assert len(rest) > 2
        assert all(set(piece) == {"index", "function"} and set(piece["function"]) == {"arguments"} for piece in rest)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_no_arguments_are_an_empty_object_streamed_or_not():
    prompt = "What is the value of get_time()? Use the tool."
    assert await calls(prompt, tools=[NOTHING]) == [("get_time", {})]
    told, _ = merged(documents(await stream(prompt, tools=[NOTHING])))
    assert told["tool_calls"][0]["function"]["arguments"] == "{}"


async def test_an_unfillable_schema_is_refused():
    bad = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "$ref": "#/nowhere"}}}
    status, document = await ask("Hi", tools=[bad], tool_choice="required")
    assert (status, document["error"]["code"]) == (400, "invalid_schema")


# Structured answers.


async def test_json_schema_is_filled():
    schema = {"type": "object", "properties": {"name": STRING, "age": INTEGER}, "required": ["name", "age"]}
    answer_format = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    told = await message("Ada Lovelace is 36 years old", response_format=answer_format)
    assert json.loads(told["content"]) == {"name": "Ada Lovelace", "age": 36}


async def test_json_schema_after_tools_uses_their_results():
    schema = {"type": "object", "properties": {"summary": STRING}, "required": ["summary"]}
    answer_format = {"type": "json_schema", "json_schema": {"name": "report", "schema": schema}}
    question = "What is the weather in Paris?"
    first = await message(question, tools=[WEATHER], response_format=answer_format)
    result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "sunny"}
    told = await message(question, first, result, tools=[WEATHER], response_format=answer_format)
    assert json.loads(told["content"]) == {"summary": "sunny"}


async def test_json_object_has_the_keys_quoted_in_the_prompt():
    prompt = "Tell me a joke about cats. Return the result as a JSON with 'setup' and 'punchline' keys."
    told = json.loads((await message(prompt, response_format={"type": "json_object"}))["content"])
    assert set(told) == {"setup", "punchline"}
    assert all(told.values())


async def test_json_object_without_keys_holds_the_answer():
    told = await message("What is 2+2? Answer in JSON.", response_format={"type": "json_object"})
    assert json.loads(told["content"]) == {"answer": "2+2 = 4"}


async def test_a_schema_in_the_prompt_is_followed():
    schema = {"properties": {"name": STRING, "year": INTEGER}, "required": ["name", "year"], "type": "object"}
    prompt = f"A film 'Alien' of 1979\n\nHere's a JSON schema to follow:\n{json.dumps(schema)}\n"
    assert json.loads((await message(prompt))["content"]) == {"name": "Alien", "year": 1979}


async def test_a_prompt_of_brackets_is_just_a_prompt():
    told = await message('JSON schema "properties" ' + "{" * 20_000)
    assert told["content"]


# Reasoning, logprobs, caching, delays, models.


@pytest.mark.parametrize("effort", ["medium", "high"])
async def test_reasoning_is_shown_and_counted(effort):
    document = await answer("Explain ledgers", reasoning_effort=effort)
    told, usage = document["choices"][0]["message"], document["usage"]
    spent = usage["completion_tokens_details"]["reasoning_tokens"]
    assert "ledgers" in told["reasoning_content"]
    assert spent == count_tokens(told["reasoning_content"])
    assert usage["completion_tokens"] == spent + count_tokens(told["content"])


async def test_little_effort_shows_no_reasoning():
    document = await answer("Explain ledgers", reasoning_effort="low")
    assert "reasoning_content" not in document["choices"][0]["message"]
    assert document["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


async def test_reasoning_can_use_the_whole_limit():
    document = await answer("Explain ledgers", reasoning_effort="high", max_tokens=3)
    assert document["choices"][0]["message"]["content"] == ""
    assert document["choices"][0]["finish_reason"] == "length"
    assert document["usage"]["completion_tokens"] == 3


async def test_logprobs_cover_every_token():
    choice = (await answer("Say 你好", logprobs=True, top_logprobs=1))["choices"][0]
    entries = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == choice["message"]["content"]
    assert all(entry["logprob"] <= 0 and bytes(entry["bytes"]).decode() == entry["token"] for entry in entries)
    assert all(entry["top_logprobs"][0]["token"] == entry["token"] for entry in entries)
    chunks = documents(await stream("Say 你好", logprobs=True, top_logprobs=1))
    streamed = [chunk["choices"][0]["logprobs"]["content"][0] for chunk in chunks if chunk["choices"][0]["logprobs"]]
    assert streamed == entries


async def test_a_long_system_prompt_is_cached_from_its_second_use_if_the_model_caches():
    system = {"role": "system", "content": "Answer well. " * 100}

    async def cached(model, *turns):
        return (await answer(*turns, model=model))["usage"]["prompt_tokens_details"]["cached_tokens"]

    caching = RuleModel(model="m", cached_prefix=True)
    assert await cached(caching, system, "Hi") == 0
    hit = await cached(caching, system, "Something else")
    assert hit == 4 + count_tokens(system["content"])
    assert await cached(caching, {"role": "system", "content": "short"}, "Hi") == 0
    assert await cached(caching, {"role": "system", "content": "short"}, "Hi") == 0
    assert [await cached(MODEL, system, "Hi") for _ in range(2)] == [0, 0]


@pytest.fixture
def slept(monkeypatch):
    """The delays asked for, none of them waited for."""
    delays = []

    async def record(seconds):
        delays.append(seconds)

    instead(monkeypatch, "zg_core.localnet.model.engine.asyncio", sleep=record)
    return delays


async def test_delays_come_before_the_first_token_and_between_tokens(slept):
    slow = RuleModel(model="m", first_token_delay=2.0, token_delay=0.5)
    chunks = documents(await stream("2+2", model=slow))
    tokens = sum(bool(chunk["choices"][0]["delta"].get("content")) for chunk in chunks)
    assert slept == [2.0] + [0.5] * (tokens - 1)
    slept.clear()
    await answer("2+2", model=slow)
    assert slept == [2.0 + 0.5 * (tokens - 1)]


async def test_no_delay_never_sleeps(slept):
    await stream("2+2")
    await answer("2+2")
    assert slept == []


async def test_the_model_was_created_once():
    class Clock:
        def __init__(self):
            self.moments = itertools.count(1234)

        def now(self):
            return next(self.moments)

    model = RuleModel(model="m", clock=Clock())
    assert [(await model.models())[0]["created"] for _ in range(2)] == [1234, 1234]


async def test_the_model_says_what_it_can_do():
    entry = (await RuleModel(model="qwen", context_length=4096, created=7).models())[0]
    assert (entry["id"], entry["object"], entry["created"], entry["type"]) == ("qwen", "model", 7, "chatbot")
    assert (entry["context_length"], entry["max_completion_tokens"]) == (4096, 4096)
    assert {"tools", "tool_choice", "response_format", "structured_outputs", "stop"} <= set(
        entry["supported_parameters"]
    )
    assert entry["architecture"]["input_modalities"] == ["text", "image", "audio", "file"]
    assert "pricing" not in entry
