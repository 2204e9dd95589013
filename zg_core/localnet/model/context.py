"""Answering from text that is in the prompt: the templates of llama-index and LangChain, and plain `Context: …`.

Nothing is understood; the sentence that shares most words with the question is the answer. That is enough to prove that
the right context reached the model.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from zg_core.localnet.model.json import compact_json
from zg_core.localnet.model.words import keywords, sentences, words

_RULE: Final = r"-{5,}"
_FENCED: Final = re.compile(rf"{_RULE}\n(.*?)\n{_RULE}(.*)", re.DOTALL)
_TAGGED: Final = re.compile(r"<(context|document|documents|text|article)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_LABELLED: Final = re.compile(r"(?:^|\n)\s*Context:\s*\n?(.*?)(?=\n\s*(?:Question|Query)\s*:|\Z)", re.DOTALL)
_QUESTION: Final = re.compile(
    r"(?:^|\n)\s*(?:Question|Query)\s*:\s*(.*?)(?=\n\s*(?:Helpful )?(?:Original )?Answer\s*:|\Z)", re.DOTALL
)
_REFINE_CHAT: Final = re.compile(
    r"New Context:(.*?)\n\s*Query:(.*?)\n\s*Original Answer:(.*?)\n\s*New Answer:", re.DOTALL
)
_REFINE: Final = re.compile(
    r"original query is as follows:(.*?)\nWe have provided an existing answer:(.*?)\nWe have the opportunity.*?"
    rf"{_RULE}\n(.*?)\n{_RULE}",
    re.DOTALL,
)
_FOLLOW_UP: Final = re.compile(
    r"(?:Follow[ -]?Up (?:Input|Question|Message)\s*:\s*(.*?)\n\s*Standalone question\s*:"
    r"|<Follow Up Message>\s*(.*?)\s*<Standalone question>)",
    re.DOTALL | re.IGNORECASE,
)
_SUMMARY: Final = re.compile(
    r"(?:write|give|provide|create)?\s*(?:me )?(?:a |an )?(?:\w+ )?(?:summary of|summari[sz]e)\b[^:\n]{0,120}[:\n](.*)",
    re.DOTALL | re.IGNORECASE,
)
_DOCUMENT: Final = re.compile(r"Document (\d+):\s*(.*?)(?=\n\s*Document \d+:|\Z)", re.DOTALL)
_CHOICE: Final = re.compile(r"^\((\d+)\)\s*(.*?)(?=^\(\d+\)|\Z)", re.DOTALL | re.MULTILINE)
_MENTION: Final = re.compile(
    r"\b(?:context|documents|passages|excerpts|sources)\b[^\n]*\n(.+)", re.DOTALL | re.IGNORECASE
)
_WANTS_FIGURE: Final = re.compile(
    r"\b(?:how (?:many|much|old|long|far)|when|what (?:year|date|number))\b", re.IGNORECASE
)
_METADATA: Final = re.compile(r"^[\w ]{1,40}: \S+$")
_SUMMARY_SENTENCES: Final = 2
_KEYWORD_LIMIT: Final = re.compile(r"up to (\d+)\s+keywords")


def context_answer(query: str, system: str) -> str | None:
    """The answer to a prompt that brings its own context, None if it brings none."""
    for rule in _RULES:
        answer = rule(query)
        if answer is not None:
            return answer
    found = context_of(query)
    if found is not None:
        question = _QUESTION.search(query)
        return from_context(found, question.group(1).strip() if question else _without(query, found))
    found = context_of(system)
    if found is not None:
        return from_context(found, query)
    return _from_prose(query, system)


def _from_prose(query: str, system: str) -> str | None:
    """The answer from text that follows a line about context or documents, if it really holds one."""
    question = _QUESTION.search(query)
    if question and (match := _MENTION.search(query[: question.start()])):
        return most_alike(question.group(1), sentences(match.group(1)))
    if match := _MENTION.search(system):
        return most_alike(query, sentences(match.group(1)))
    return None


def context_of(text: str) -> str | None:
    """The context `text` carries: between rules or tags, or after `Context:`."""
    for pattern, group, mark in ((_FENCED, 1, "-----"), (_TAGGED, 2, "</"), (_LABELLED, 1, "Context:")):
        match = pattern.search(text) if mark in text else None
        if match and match.group(group).strip():
            return match.group(group).strip()
    return None


def from_context(context: str, question: str) -> str:
    """The sentence of `context` that shares most words with `question`; says so if none does."""
    if re.search(r"\bsummar", question, re.IGNORECASE):
        return summary(context)
    best = most_alike(question, sentences(context))
    return best if best is not None else "I don't know: the context does not say."


def most_alike(question: str, candidates: Sequence[str]) -> str | None:
    """The candidate that shares most keywords with `question`, the first of equals; None if none shares any."""
    ranked = rank(question, candidates)
    return candidates[ranked[0][0]] if ranked else None


def rank(question: str, candidates: Sequence[str]) -> list[tuple[int, int]]:
    """Index and number of shared keywords of every candidate that shares any, best first.

    Among equals a candidate with a figure comes first if the question is how many or when.
    """
    asked = set(keywords(question))
    wants_figure = _WANTS_FIGURE.search(question) is not None
    shared = [(index, len(asked.intersection(keywords(text)))) for index, text in enumerate(candidates)]

    def order(item: tuple[int, int]) -> tuple[int, bool, int]:
        lacks_figure = wants_figure and not any(char.isdigit() for char in candidates[item[0]])
        return -item[1], lacks_figure, item[0]

    return sorted((item for item in shared if item[1]), key=order)


def best_choice(text: str) -> int | None:
    """The number of the best of the numbered choices in `text` (llama-index's selectors), None if it has none."""
    fenced = _FENCED.search(text)
    if "Some choices are given below" not in text or fenced is None:
        return None
    found = _CHOICE.findall(fenced.group(1))
    if not found:
        return None
    ranked = rank(fenced.group(2).partition("ONLY JSON")[0], [choice for _, choice in found])
    return int(found[ranked[0][0]][0]) if ranked else 1


def summary(text: str) -> str:
    """The first sentences of `text`, metadata lines left out."""
    told = [sentence for sentence in sentences(text) if not _METADATA.match(sentence)]
    return " ".join(told[:_SUMMARY_SENTENCES]) or "There is nothing to summarize."


def _without(query: str, context: str) -> str:
    return query.replace(context, " ")


def _refined(query: str) -> str | None:
    if "New Answer:" in query and (match := _REFINE_CHAT.search(query)):
        context, question, answer = (part.strip() for part in match.groups())
    elif "We have provided an existing answer:" in query and (match := _REFINE.search(query)):
        question, answer, context = (part.strip() for part in match.groups())
    else:
        return None
    better = most_alike(question, [answer, *sentences(context)])
    return better or answer


def _standalone(query: str) -> str | None:
    match = _FOLLOW_UP.search(query) if "standalone question" in query.lower() else None
    return (match.group(1) or match.group(2)).strip() if match else None


def _relevant_documents(query: str) -> str | None:
    if "Relevance:" not in query or "Let's try this now" not in query:
        return None
    asked = query.rpartition("Let's try this now")[2]
    documents, _, question = asked.rpartition("Question:")
    found = _DOCUMENT.findall(documents)
    ranked = rank(question.replace("Answer:", ""), [text for _, text in found])
    lines = [f"Doc: {found[index][0]}, Relevance: {min(10, 4 + shared)}" for index, shared in ranked]
    return "\n".join(lines) or (f"Doc: {found[0][0]}, Relevance: 1" if found else None)


def _chosen(query: str) -> str | None:
    number = best_choice(query)
    if number is None:
        return None
    if "JSON" in query:
        return compact_json([{"choice": number, "reason": "It shares most words with the question."}])
    return f"ANSWER: {number}"


def _keyword_list(query: str) -> str | None:
    if "KEYWORDS:" not in query:
        return None
    fenced = _FENCED.search(query)
    limit = _KEYWORD_LIMIT.search(query)
    stems: dict[str, str] = {}
    for word in words(fenced.group(1) if fenced else query):
        for root in keywords(word):
            stems.setdefault(root, word.lower())
    return "KEYWORDS: " + ", ".join(list(stems.values())[: int(limit.group(1)) if limit else 10])


def _summarised(query: str) -> str | None:
    match = _SUMMARY.match(query.strip())
    body = match.group(1).replace('SUMMARY:"""', "").strip() if match else ""
    return summary(body.removeprefix("information provided.")) if body else None


_RULES: Final[tuple[Callable[[str], str | None], ...]] = (
    _refined,
    _standalone,
    _relevant_documents,
    _chosen,
    _keyword_list,
    _summarised,
)
