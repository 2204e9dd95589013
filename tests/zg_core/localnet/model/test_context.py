"""Answers from text in the prompt, in the templates the frameworks use."""

import json

import pytest

from zg_core.localnet.model.context import context_answer, most_alike, summary

CONTEXT = "Zero Gravity was founded in 2023.\nIts capital is called Poseidonis. It has 7 gates."
QA = (
    "Context information is below.\n---------------------\n{context}\n---------------------\n"
    "Given the context information and not prior knowledge, answer the query.\nQuery: {question}\nAnswer: "
)
REFINE_CHAT = (
    "You are an expert Q&A system that strictly operates in two modes when refining existing answers:\n"
    "New Context: {context}\nQuery: {question}\nOriginal Answer: {answer}\nNew Answer: "
)
REFINE = (
    "The original query is as follows: {question}\nWe have provided an existing answer: {answer}\n"
    "We have the opportunity to refine the existing answer (only if needed) with some more context below.\n"
    "------------\n{context}\n------------\nGiven the new context, refine the original answer."
)


@pytest.mark.parametrize(
    ("query", "system"),
    [
        (QA.format(context=CONTEXT, question="What is its capital called?"), ""),
        (f"Context:\n{CONTEXT}\n\nQuestion: What is its capital called?\nAnswer:", ""),
        (f"<context>{CONTEXT}</context> What is its capital called?", ""),
        (
            f"Use these pieces of context.\n\n{CONTEXT}\n\nQuestion: What is its capital called?\nHelpful Answer:",
            "",
        ),
        ("What is its capital called?", f"Context information is below.\n-----\n{CONTEXT}\n-----\n"),
        ("What is its capital called?", f"Here are the relevant documents for the context:\n\n{CONTEXT}\n\n"),
    ],
    ids=["llama-index", "plain", "tags", "LangChain", "system", "system prose"],
)
def test_answers_with_the_sentence_that_shares_most_words(query, system):
    assert context_answer(query, system) == "Its capital is called Poseidonis."


def test_says_so_if_the_context_does_not_know():
    answer = context_answer(QA.format(context=CONTEXT, question="Who wrote Hamlet?"), "")
    assert answer == "I don't know: the context does not say."


def test_a_question_for_a_number_prefers_a_sentence_with_one():
    assert most_alike("How many gates has it?", ["The gates are old.", "There are 7 gates."]) == "There are 7 gates."


@pytest.mark.parametrize("template", [REFINE_CHAT, REFINE])
def test_refines_an_answer_only_if_the_new_context_is_better(template):
    question = "When was Zero Gravity founded?"
    known = template.format(context=CONTEXT, question=question, answer="I don't know.")
    better = template.format(context="Cats sleep.", question=question, answer="Zero Gravity was founded in 2023.")
    assert context_answer(known, "") == "Zero Gravity was founded in 2023."
    assert context_answer(better, "") == "Zero Gravity was founded in 2023."


def test_a_follow_up_becomes_the_standalone_question():
    query = "Chat History:\nuser: hi\nFollow Up Input: And the gates?\nStandalone question:"
    assert context_answer(query, "") == "And the gates?"


def test_documents_are_ranked():
    query = (
        "A list of documents is shown below.\nDoc: 9, Relevance: 7\nLet's try this now: \n\n"
        "Document 1:\nCats sleep.\n\nDocument 2:\nOld gates of Atlantis.\nQuestion: What gates has Atlantis?\nAnswer:\n"
    )
    assert context_answer(query, "") == "Doc: 2, Relevance: 6"


CHOICES = (
    "Some choices are given below. It is provided in a numbered list (1 to 2).\n---------------------\n"
    "(1) Useful for summaries\n\n(2) Useful for facts about Atlantis\n---------------------\n"
    "Using only the choices above, return the choice most relevant to the question: 'Where is Atlantis?'\n"
)


def test_chooses_among_numbered_choices():
    assert context_answer(CHOICES, "") == "ANSWER: 2"
    assert json.loads(context_answer(CHOICES + "The output should be ONLY JSON formatted.", ""))[0]["choice"] == 2


def test_extracts_keywords():
    query = (
        "Given the text, extract up to 2 keywords from the text.---------------------\nThe cat sat on the ledger.\n"
        "---------------------\nProvide keywords in the following comma-separated format: 'KEYWORDS: <keywords>'\n"
    )
    assert context_answer(query, "") == "KEYWORDS: cat, sat"


def test_a_summary_leaves_metadata_out():
    assert summary("file_path: a.txt\n\nOne. Two. Three.") == "One. Two."
    assert (
        context_answer('Write a summary of the following. Try hard.\n\n\nOne. Two.\n\n\nSUMMARY:"""\n', "") is not None
    )


@pytest.mark.parametrize("query", ["Hello", "What is context?", "", "Query: x", "-----"])
def test_stays_silent_where_no_context_is_given(query):
    assert context_answer(query, "You are helpful.") is None
