"""What a prompt offers for a form."""

import pytest

from zg_core.localnet.model.evidence import Evidence


def first(text, name, **options):
    return next(Evidence(text, **options).strings(name))


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("title: The Ledger, year: 1979", "title", "The Ledger"),
        ("the artist is Joni Mitchell.", "artist", "Joni Mitchell"),
        ("a customer named 'Ada'", "customer_name", "Ada"),
        ("a customer named 「你好」", "customerName", "你好"),
        ("artist 'Ada', album 'Blue'", "album", "Blue"),
        ("from Oslo to Bergen", "city", "Oslo"),
        ("pay 0x" + "a1" * 20, "wallet_address", "0x" + "a1" * 20),
        ("see https://example.com/x?y=1 now", "url", "https://example.com/x?y=1"),
        ("at 2024-01-02T03:04:05Z", "timestamp", "2024-01-02T03:04:05Z"),
        ("call at 09:30", "time", "09:30"),
        ("What is it?", "question", "What is it?"),
        ("compute 1 + 2", "expression", "1 + 2"),
        ("about cats", "setup", "Why did cats cross the road?"),
        ("about cats", "reason", "Reason for cats"),
    ],
)
def test_the_best_text_for_a_field(text, name, value):
    assert first(text, name) == value


def test_a_question_is_taken_whole_even_if_the_form_is_about_a_part():
    assert first("London?", "input", whole="What of Paris and London?") == "What of Paris and London?"


def test_answers_come_from_tool_results():
    assert first("What is it?", "answer", results=["one", "two"]) == "one\ntwo"


@pytest.mark.parametrize(
    "text", ["no punchline", "without the punchline", "do not include punchlines", "skip the punchline"]
)
def test_declined(text):
    assert Evidence(f"A joke, {text}.").declines("punchline")
    assert not Evidence(f"A joke, {text}.").declines("setup")


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("it is not active", True),
        ("disable active mode", True),
        ("active: false", True),
        ("active is off", True),
        ("it is active", False),
        ("it is not blue but active", False),
        ("", False),
    ],
)
def test_denied(text, denied):
    assert Evidence(text).denies("is_active") is denied


def test_numbers_go_to_their_label_first_and_only_once():
    evidence = Evidence("1 and 2, size 3")
    taken = [evidence.take_number(name, integer=True) for name in ("size", "x", "y", "z")]
    assert taken == [3, 1, 2, None]


def test_an_integer_field_prefers_whole_numbers():
    assert Evidence("2.5 or 4").take_number("x", integer=True) == 4
    assert Evidence("2.5").take_number("x", integer=True) == 2
    assert Evidence("2.5 or 4").take_number("x", integer=False) == 2.5


def test_counts_how_many_are_asked_for():
    evidence = Evidence("3 short songs and 2 films")
    assert (evidence.take_count("songs"), evidence.take_count("films"), evidence.take_count("books")) == (3, 2, None)
    assert evidence.number_count() == 0


def test_the_best_of_numbered_choices_is_the_first_number():
    text = (
        "Some choices are given below. It is a numbered list (1 to 2).\n-----\n(1) for cats\n\n(2) for ledgers\n-----\n"
        "Return the choice for the question: 'What are ledgers?'"
    )
    assert Evidence(text).take_number("index", integer=True) == 2
