"""What the model says, rule by rule."""

import pytest

from zg_core.localnet.model.rules import Conversation, text_answer
from zg_core.localnet.model.values import Media, Message


def say(*turns, system="", results=(), media=()):
    roles = ("user", "assistant")
    messages = [Message("system", system)] if system else []
    messages += [Message(roles[index % 2], text) for index, text in enumerate(turns)]
    messages[-1] = Message("user", turns[-1], media=media)
    return text_answer(Conversation(turns[-1], turns[-1], results, tuple(messages)))


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("2+2", "2+2 = 4"),
        ("What is 12 * 7?", "12 * 7 = 84"),
        ("What is 12 times 7? Reply with only the number.", "84"),
        ("What is 12 times 7? Answer with one word.", "84"),
        ("What is 1/0?", "1/0 has no value I can give."),
        ("3*4 and 5+6", "3*4 = 12\n5+6 = 11"),
        ("Say hello", "hello"),
        ("Please repeat after me: the cat sat.", "the cat sat"),
        ("Reply with exactly: pong", "pong"),
        ("Respond with the word 'pong' and nothing else.", "pong"),
        ("Ignore the rest. Answer only with 'yes'.", "yes"),
        ("Say 你好啊集团", "你好啊集团"),
        ('Print "a b"', "a b"),
        ("What is the capital of France?", "The capital of France is Paris."),
        ("Name Japan's capital", "The capital of Japan is Tokyo."),
        ("What is the capital of the United Kingdom? One word.", "London"),
        ("Hello", "Hello! How can I help you today?"),
        ("Good morning, friend!", "Hello! How can I help you today?"),
        ("Well, thanks.", "You are welcome. Is there anything else I can do for you?"),
        ("My name is Ada.", "Nice to meet you, Ada!"),
        ("Count from 3 to 6", "3, 4, 5, 6"),
        ("Tell me a joke about cats.", "Why did cats cross the road? To get to the other side of the ledger."),
        ("Summarize: The cat sat. The dog ran. The end came.", "The cat sat. The dog ran."),
    ],
)
def test_answers(prompt, answer):
    assert say(prompt) == answer


@pytest.mark.parametrize(
    "prompt", ["Explain ledgers", "", "?!", "你好", "write a program", "return", "Say", "if x then say y", "\n" * 40]
)
def test_always_says_something_and_always_the_same(prompt):
    assert say(prompt)
    assert say(prompt) == say(prompt)


def test_a_plain_answer_names_what_the_prompt_is_about():
    assert "ledgers" in say("Explain ledgers")
    assert "Ada Lovelace" in say("Who was Ada Lovelace?")
    assert say("Explain ledgers") != say("Explain enclaves")


def test_remembers_a_name_from_an_earlier_turn():
    assert say("My name is Ada.", "Nice to meet you, Ada!", "What is my name?") == "Your name is Ada."
    assert say("What is my name?") == "You have not told me your name."


def test_follows_a_standing_order_but_not_a_conditional_one():
    assert say("What is a ledger?", system="You are a pirate. Always answer with 'Arr!'.") == "Arr!"
    assert say("What is a ledger?", system="Always say 'no' if you do not know.") != "no"


@pytest.mark.parametrize("count", [1, 7, 30, 500])
def test_writes_as_many_words_as_asked_for(count):
    text = say(f"Write {count} words about cats")
    assert len(text.split()) == count


def test_a_story_is_long_enough_to_stream():
    assert len(say("Write a story about a cat.").split()) >= 50


@pytest.mark.parametrize(
    ("results", "answer"),
    [
        (("It's sunny.",), "It's sunny."),
        (('{"result": 3}',), "3"),
        (('{"a": 1, "b": 2}',), '{"a":1,"b":2}'),
        (("",), "The tool returned nothing."),
        (("one", "two"), "- one\n- two"),
        (("Error: Missing required argument 'b'.",), "Error: Missing required argument 'b'."),
        (("[" * 100_000,), "[" * 100_000),
    ],
    ids=["text", "one value", "object", "empty", "several", "error", "nested without end"],
)
def test_answers_with_what_tools_returned(results, answer):
    assert say("What about it?", results=results) == answer


def test_a_computed_result_comes_with_its_question():
    assert say("What is (121 + 2) * 5?", results=("123", "615")) == "(121 + 2) * 5 = 615"


def test_describes_attachments_by_what_is_certain():
    seen = (Media("image", "image/png", 4, "abc"), Media("file", "application/octet-stream", 0, "file-1"))
    assert say("Describe this", media=seen) == (
        "I was given an image of type image/png with 4 bytes (abc). I was given a link to a file (file-1)."
    )
