"""Forms that frameworks ask for in words: what comes back is what their parsers take."""

import json

import pytest

from zg_core.localnet.model.forms.spoken import spoken_answer

FACTS = "The capital of France is Paris. Ada is 36 years old."
TOOLS = '<Tools>\n```json\n{"people": "ages of people such as Ada", "places": "capitals of countries"}\n```\n\n'
EXAMPLE = (
    '# Example 1\n<Tools>\n```json\n{"uber": "x"}\n```\n\n<User Question>\nCompare.\n\n<Output>\n```json\n{}\n```\n\n'
)
ASKED = "output a list of relevant sub-questions in json markdown\n\n" + EXAMPLE


@pytest.mark.parametrize(
    ("question", "items"),
    [
        (
            "What is the capital of France and how old is Ada?",
            [("What is the capital of France?", "places"), ("How old is Ada?", "people")],
        ),
        ("How old is Ada?", [("How old is Ada?", "people")]),
        ("Salt and pepper prices", [("Salt and pepper prices?", "people")]),
    ],
)
def test_a_question_is_taken_apart_for_the_tools_that_know(question, items):
    prompt = f"{ASKED}# Example 2\n{TOOLS}<User Question>\n{question}\n\n<Output>\n"
    answer = spoken_answer(prompt, "")
    assert answer.startswith("```json\n")
    made = json.loads(answer.removeprefix("```json").removesuffix("```"))["items"]
    assert [(item["sub_question"], item["tool_name"]) for item in made] == items


YES_NO = "You need to answer with either YES or NO.\nInformation: Pies.\nContext: None.\nAnswer: NO\n"


@pytest.mark.parametrize(
    ("claim", "answer"),
    [("Paris is the capital of France.", "YES"), ("Bananas cure headaches quickly.", "NO"), ("", "NO")],
)
def test_a_claim_is_supported_by_its_context_or_not(claim, answer):
    assert spoken_answer(f"{YES_NO}Information: {claim}\nContext: {FACTS}\nAnswer: ", "") == answer
    pair = f"Either YES/ NO.\nQuery and Response: \n Question: q?\nResponse: {claim}\nContext: \n {FACTS}\nAnswer: "
    assert spoken_answer(pair, "") == answer


@pytest.mark.parametrize(
    ("before", "claim", "answer"), [("YES", "x", "YES"), ("NO", "Ada", "YES"), ("NO", "Bob", "NO")]
)
def test_a_judgement_is_refined(before, claim, answer):
    prompt = (
        f"is present in the context information: {claim}\nWe have provided an existing YES/NO answer: {before}\n"
        f"------------\n{FACTS}\n------------\nOtherwise answer NO.\nAnswer YES if so."
    )
    assert spoken_answer(prompt, "") == answer


def test_a_score_stands_where_it_is_looked_for():
    asked = (
        "1. Does it?\n2. Can it?\nEach question above is worth 2 points\n'[RESULT] followed by the float number'\n\n"
    )
    answer = spoken_answer(f"{asked}Query: \n What is the capital of France?\nContext: \n {FACTS}\nFeedback:", "")
    assert answer.endswith("[RESULT] 4.0")
    none = spoken_answer(f"{asked}Query: \n How do bananas ripen?\nContext: \n {FACTS}\nFeedback:", "")
    assert none.endswith("[RESULT] 0.0")
    system = "Output a single score that represents a holistic evaluation."
    first, why = spoken_answer("## Reference Answer\nParis\n\n## Generated Answer\nParis it is", system).split("\n", 1)
    assert (float(first), bool(why)) == (5.0, True)
    assert spoken_answer("## Reference Answer\nParis\n\n## Generated Answer\nRome", system).startswith("1.0\n")


@pytest.mark.parametrize(
    ("one", "other", "verdict"), [("Paris", "Rome", "[[A]]"), ("x", "Paris", "[[B]]"), ("x", "y", "[[C]]")]
)
def test_two_answers_are_compared(one, other, verdict):
    prompt = (
        "[User Question]\nWhat is the capital of France?\n\n[The Start of Reference]\nParis\n[The End of Reference]\n\n"
        f"[The Start of Assistant A\u2019s Answer]\n{one}\n[The End of Assistant A\u2019s Answer]\n\n"
        f"[The Start of Assistant B\u2019s Answer]\n{other}\n[The End of Assistant B\u2019s Answer]"
    )
    assert verdict in spoken_answer(prompt, "'[[A]]' if assistant A is better, '[[B]]' …")


def test_keywords_are_separated_by_commas():
    prompt = f"{FACTS}. Give 3 unique keywords for this document. Format as comma separated. Keywords: "
    assert spoken_answer(prompt, "") == "capital, France, Paris"


@pytest.mark.parametrize("text", ["", "What is 2 + 3?", "Answer YES or NO: is it late?", "Query: a\nContext: b", FACTS])
def test_other_prompts_ask_for_none_of_these(text):
    assert spoken_answer(text, "You are helpful.") is None
